"""Rendering of the page as HTML."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from .._files import write_text
from .._version import __version__
from ..evaluation.tables import Table
from ..runs.result import CrossValidationResult
from .pictures import evidence_gradient

if TYPE_CHECKING:
    from ..audit import AuditReport
    from ..datasets.ct_dataset import CTDataset

from .contents import make_page

__all__ = ["render", "write_report"]

_LONGEST_NUMBER = 24  # characters of a cell that is not wrapped, such as "100.0 (100.0 to 100.0)"


def write_report(
    results: CrossValidationResult | Sequence[CrossValidationResult],
    path: str | PathLike[str],
    *,
    dataset: CTDataset | None = None,
    audit: AuditReport | None = None,
    layer: str | None = None,
) -> Path:
    """Write a self-contained HTML page that reports one run, or compares several.

    The page loads no other files, and can be read offline. File names, class names and group names
    are escaped, and the content security policy of the page allows no script but its own.

    Parameters
    ----------
    results : CrossValidationResult or sequence of CrossValidationResult
        The runs.
    path : str or path-like
        File to write. Missing folders are created.
    dataset : CTDataset, optional
        Slices that the runs were trained on. If given, the page shows correct and wrong predictions
        of each class with their Grad-CAM maps, and a t-SNE embedding of the features of a fold.
    audit : AuditReport, optional
        Result of :func:`covidct.audit_dataset` on these slices. Its fatal findings and warnings are
        shown above the metrics.
    layer : str, optional
        Name of the layer that Grad-CAM explains, as in :class:`covidct.explain.GradCAM`. None: the
        last feature maps of the network.

    Returns
    -------
    Path
        The written file.

    Raises
    ------
    ValueError
        If `results` is empty, or `dataset` is given and no run was trained on it.
    UnknownNameError
        If the network has no layer named `layer`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import covidct
    >>> from covidct.report import write_report
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> page = write_report(cv.run(slices), Path(tempfile.mkdtemp()) / "report.html")
    >>> page.read_text(encoding="utf-8").splitlines()[0]
    '<!doctype html>'
    """
    runs = [results] if isinstance(results, CrossValidationResult) else list(results)
    html = render(runs, dataset=dataset, audit=audit, layer=layer)
    # A file name that is not valid UTF-8 contains surrogates, which UTF-8 cannot encode.
    write_text(Path(path), html, errors="backslashreplace")
    return Path(path)


def render(
    results: Sequence[CrossValidationResult],
    *,
    dataset: CTDataset | None = None,
    audit: AuditReport | None = None,
    layer: str | None = None,
) -> str:
    """Render the page as a string.

    Parameters
    ----------
    results : sequence of CrossValidationResult
        The runs.
    dataset : CTDataset, optional
        The slices that the runs were trained on, as in `write_report`.
    audit : AuditReport, optional
        Audit of these slices, as in `write_report`.
    layer : str, optional
        Name of the layer that Grad-CAM explains, as in `write_report`.

    Returns
    -------
    str
        The HTML page.

    Raises
    ------
    ValueError
        If `results` is empty, or if `dataset` is given and no run was trained on it.
    UnknownNameError
        If the network has no layer named `layer`.
    """
    page = make_page(results, dataset=dataset, audit=audit, layer=layer)
    environment = Environment(
        loader=PackageLoader(__package__ or "covidct.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["word_columns"] = _word_columns
    style, script = _asset("report.css"), _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    html = environment.get_template("report.html").render(
        page=page,
        version=__version__,
        style=style,
        script=script,
        evidence=evidence_gradient(),
        script_hash=f"'sha256-{digest}'",
    )
    return f"{html}\n"


def _word_columns(table: Table) -> set[int]:
    """Return the indices of columns with sentences, which are aligned to the left and wrapped."""
    columns = zip(*table.rows, *table.footer, strict=True)
    return {k for k, cells in enumerate(columns) if max(map(len, cells)) > _LONGEST_NUMBER}


def _asset(name: str) -> str:
    return (files(__package__ or "covidct.report") / "templates" / name).read_text("utf-8")
