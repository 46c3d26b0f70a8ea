"""One self-contained HTML page about finished runs, to open in a browser and to send on."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from .._files import write_text

if TYPE_CHECKING:
    from ..audit import AuditReport
    from ..datasets.ct_dataset import CTDataset
    from ..runs.result import CrossValidationResult

__all__ = ["write_report"]


def write_report(
    results: CrossValidationResult | Sequence[CrossValidationResult],
    path: str | PathLike[str],
    *,
    dataset: CTDataset | None = None,
    audit: AuditReport | None = None,
    layer: str | None = None,
) -> Path:
    """Write a page about one run, or one that compares several.

    The page needs no network and no other file. What comes from file names, classes and groups is
    escaped, and the page's own policy lets the browser run nothing but its own script.

    Parameters
    ----------
    results
        The runs.
    path
        Where the page goes.
    dataset
        The slices that a run was made of: shows the most confident of them with Grad-CAM, and the
        features of a fold by t-SNE.
    audit
        What `covidct.audit_dataset` said of them; what undermines the figures stands on top.
    layer
        Name of the layer that Grad-CAM explains, as in `covidct.explain.GradCAM`.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ValueError
        If there is no run, none of them was made of the slices in ``dataset``, or the networks
        lack the layer.

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
    # Drawing and explaining need matplotlib and PyTorch, which an import must not load.
    from ..runs.result import CrossValidationResult
    from .page import render

    runs = [results] if isinstance(results, CrossValidationResult) else list(results)
    page = Path(path)
    # A name that is not valid UTF-8 holds surrogates, which no UTF-8 file may.
    html = render(runs, dataset=dataset, audit=audit, layer=layer).encode(
        "utf-8", "backslashreplace"
    )
    write_text(page, html.decode("utf-8"))
    return page
