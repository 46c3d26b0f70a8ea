"""From runs to what the page says of them, and into its template."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import compress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined

from .._files import write_text
from .._version import __version__
from ..datasets.canvases import make_canvases
from ..evaluation import figures, metrics
from ..evaluation.tables import Table, percent, percent_range
from ..models.registry import model_info
from ..runs.comparison_table import distinctions, published_comparison
from ..runs.result import CrossValidationResult
from ..runs.storage import WeightsSpec
from .commands import command_line
from .gallery import Exhibit, embedding, exhibits
from .pictures import Picture, plain, vector
from .result_tables import comparison_table, difference_table, fold_table, group_table

if TYPE_CHECKING:
    from ..audit import AuditReport, Finding
    from ..datasets.ct_dataset import CTDataset

__all__ = [
    "Notice",
    "Page",
    "RunSection",
    "Tile",
    "find_notices",
    "make_page",
    "render",
    "shared_groups",
    "write_report",
]

_TILES = ("accuracy", "recall", "specificity", "auc")
_EXHIBITS = 48  # on a page, so that it stays small
_NO_DATASET = (
    "Left out, since the page was written without the slices: name them, as in "
    "covidct report RUN --dataset NAME --root FOLDER."
)


class Notice(NamedTuple):
    """What a reader must know before the figures: ``"fatal"``, ``"warning"`` or ``"note"``."""

    severity: str
    title: str
    detail: str


class Tile(NamedTuple):
    """A metric in large print: mean over folds, interval below."""

    title: str
    value: str
    interval: str


@dataclass(frozen=True)
class RunSection:
    """What the page says of one run.

    Attributes
    ----------
    key
        Its anchor in the page.
    title
        Network, dataset and protocol.
    classes
        Names of class 0 and class 1.
    tiles
        The metrics in large print.
    facts, recipe
        How it was made, as pairs of words.
    command
        What repeats it, or None.
    tables
        Folds, and patients where these are known.
    confusion, curves, learning
        Figures.
    tsne, exhibits
        What needs the slices; None and empty where there are none.
    missing
        Why these two are left out, a sentence each.
    skipped
        Names of files that were left out, with the reason.
    layer
        The layer that Grad-CAM explains; None for the last with rows and columns.
    """

    key: str
    title: str
    classes: tuple[str, str]
    tiles: tuple[Tile, ...]
    facts: tuple[tuple[str, str], ...]
    recipe: tuple[tuple[str, str], ...]
    command: str | None
    tables: tuple[Table, ...]
    confusion: Picture
    curves: tuple[Picture, ...]
    learning: Picture
    skipped: tuple[tuple[str, str], ...]
    tsne: Picture | None = None
    exhibits: tuple[Exhibit, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    layer: str | None = None


@dataclass(frozen=True)
class Page:
    """What the page says.

    Attributes
    ----------
    title
        Its heading.
    notices
        What undermines the figures, the gravest first.
    findings, verdict
        All that the audit found, and its sum; empty without an audit.
    sections
        The runs.
    comparison, tests
        Tables of several runs; None where there is nothing to compare or to test.
    pictures
        Figures of several runs.
    """

    title: str
    notices: tuple[Notice, ...]
    findings: tuple[Finding, ...]
    verdict: str
    sections: tuple[RunSection, ...]
    comparison: Table | None = None
    tests: Table | None = None
    pictures: tuple[Picture, ...] = ()


def write_report(
    results: CrossValidationResult | Sequence[CrossValidationResult],
    path: str | PathLike[str],
    *,
    dataset: CTDataset | None = None,
    audit: AuditReport | None = None,
    layer: str | None = None,
) -> Path:
    """Write a self-contained HTML page that reports one run, or compares several.

    The page loads no other file and needs no network. File names, class names and group names are
    escaped, and the content security policy of the page allows no script but its own.

    Parameters
    ----------
    results : CrossValidationResult or sequence of CrossValidationResult
        The runs.
    path : str or Path
        File to write. Missing folders are created.
    dataset : CTDataset, optional
        The slices that the runs were trained on. If given, the page shows the most confident
        predictions with their Grad-CAM maps, and a t-SNE embedding of the features of a fold.
    audit : AuditReport, optional
        Result of `covidct.audit_dataset` on these slices. Its fatal findings and warnings are
        shown above the metrics.
    layer : str, optional
        Name of the layer that Grad-CAM explains, as in `covidct.explain.GradCAM`. By default the
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
    write_text(Path(path), html.encode("utf-8", "backslashreplace").decode("utf-8"))
    return Path(path)


def render(
    results: Sequence[CrossValidationResult],
    *,
    dataset: CTDataset | None = None,
    audit: AuditReport | None = None,
    layer: str | None = None,
) -> str:
    """Write the page as HTML.

    Parameters
    ----------
    results, dataset, audit, layer
        As `covidct.report.write_report` takes them.

    Returns
    -------
    str
        The page.

    Raises
    ------
    ValueError
        As `make_page` does.
    """
    page = make_page(results, dataset=dataset, audit=audit, layer=layer)
    environment = Environment(
        loader=PackageLoader(__package__ or "covidct.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _asset("report.css"), _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    html = environment.get_template("report.html").render(
        page=page,
        version=__version__,
        style=style,
        script=script,
        script_hash=f"'sha256-{digest}'",
    )
    return f"{html}\n"


def make_page(
    results: Sequence[CrossValidationResult],
    *,
    dataset: CTDataset | None = None,
    audit: AuditReport | None = None,
    layer: str | None = None,
) -> Page:
    """Collect what the page says.

    Parameters
    ----------
    results, dataset, audit, layer
        As `covidct.report.write_report` takes them.

    Returns
    -------
    Page
        All but the layout.

    Raises
    ------
    ValueError
        If there is no run, none of them was made of the slices in ``dataset``, or the networks
        lack the layer.
    """
    if not results:
        raise ValueError("there is no run to report on")
    apart = distinctions(results)
    named = _named(results, apart)
    ours = [r for r in results if dataset is not None and _is_of(r, dataset)]
    if dataset is not None and not ours:
        raise ValueError(
            f"no run was made of these slices of {dataset.name!r}: their names, labels or contents "
            "are others; give the dataset that the run was made of"
        )
    each = max(1, _EXHIBITS // (4 * max(1, len(ours))))
    sections = tuple(
        _section(
            f"run-{k}", result, dataset if result in ours else None, options, each=each, layer=layer
        )
        for k, (result, options) in enumerate(zip(results, apart, strict=True), start=1)
    )
    several = len(results) > 1
    return Page(
        title=f"{len(results)} runs compared" if several else sections[0].title,
        notices=tuple(find_notices(named, audit)),
        findings=audit.findings if audit else (),
        verdict=audit.verdict if audit else "",
        sections=sections,
        comparison=comparison_table(results) if several else None,
        tests=difference_table(named) if several else None,
        pictures=_compared(named) if several else (),
    )


def shared_groups(result: CrossValidationResult) -> float | None:
    """Measure how many test slices have company of their own group in the training part.

    Parameters
    ----------
    result
        The run.

    Returns
    -------
    float or None
        Their share, over all folds; None where the group of a slice is unknown.
    """
    group = dict(zip(result.predictions["index"], result.predictions["group"], strict=True))
    trained = set().union(*(fold.train.tolist() for fold in result.folds))
    if not result.has_groups or not trained <= group.keys():
        return None
    shared = []
    for fold in result.folds:
        seen = {group[i] for i in fold.train}
        shared += [group[i] in seen for i in fold.test]
    return float(np.mean(shared))


def find_notices(
    named: Mapping[str, CrossValidationResult], audit: AuditReport | None = None
) -> Iterator[Notice]:
    """Collect what undermines the figures of runs.

    Parameters
    ----------
    named
        Name to run.
    audit
        Of the slices.

    Yields
    ------
    Notice
        Those of the audit first.
    """
    for finding in audit.findings if audit else ():
        if finding.severity != "note":
            yield Notice(finding.severity, finding.title, finding.detail)
    for name, result in named.items():
        where = f"{name}: " if len(named) > 1 else ""
        unit, share = result.unit, shared_groups(result)
        new = unit if result.has_patients else "patient"
        if share:
            yield Notice(
                "warning",
                f"{where}{unit.capitalize()}s stand on both sides of the split",
                f"For {100 * share:.0f} % of the test slices, slices of the same {unit} were in "
                f"training. A network can recognize the {unit} instead of the disease, so the "
                f"figures are too good for new {new}s. covidct train --protocol grouped keeps "
                f"each {unit} on one side.",
            )
        elif result.protocol.id == "paper" and not result.has_groups:
            yield Notice(
                "note",
                f"{where}It is unknown which slices are of one patient",
                "Slices were split at random. If patients have several, some stand on both sides "
                "of the split, and the figures are too good for new patients.",
            )
        left_out = len(result.spec.dataset.skipped)
        if left_out:
            yield Notice(
                "note",
                f"{where}{left_out:,} file{'s were' if left_out > 1 else ' was'} left out",
                "They are listed, with the reasons, under “What was run”.",
            )


def _section(
    key: str,
    result: CrossValidationResult,
    dataset: CTDataset | None,
    options: str,
    *,
    each: int,
    layer: str | None,
) -> RunSection:
    tables = (fold_table(result), group_table(result))
    network = model_info(result.model_name).title
    said = filter(None, (result.protocol.label, options))
    return RunSection(
        key=key,
        title=f"{network} on {result.dataset_name} (protocol: {'; '.join(said)})",
        classes=result.classes,
        tiles=tuple(_tiles(result)),
        facts=tuple(_facts(result)),
        recipe=tuple((n, str(v)) for n, v in result.recipe.options().items()),
        command=command_line(result),
        tables=tuple(table for table in tables if table is not None),
        confusion=_confusion(result),
        curves=_curves(result),
        learning=vector(
            figures.learning_curves([result.history(k) for k in range(len(result.folds))])
        ),
        skipped=result.spec.dataset.skipped,
        layer=layer,
        **_shown(result, dataset, each=each, layer=layer),
    )


def _shown(
    result: CrossValidationResult, dataset: CTDataset | None, *, each: int, layer: str | None
) -> dict[str, Any]:
    """Collect what needs the slices."""
    if dataset is None:
        return {"missing": {"gallery": _NO_DATASET, "tsne": _NO_DATASET}}
    size = result.fold_model(0).input_size
    canvases = make_canvases(dataset, size, resize=result.recipe.resize)
    gallery = tuple(exhibits(result, dataset, canvases=canvases, each=each, layer=layer))
    try:
        plane = vector(embedding(result, dataset, canvases=canvases))
    except ValueError as error:
        return {"exhibits": gallery, "missing": {"tsne": f"Left out: {error}."}}
    return {"exhibits": gallery, "tsne": plane}


def _tiles(result: CrossValidationResult) -> Iterator[Tile]:
    summary, intervals = result.summary(), result.intervals()
    for name in _TILES:
        title = metrics.METRICS[name].title
        yield Tile(title, percent(summary[name][0]), percent_range(*intervals[name]))


def _facts(result: CrossValidationResult) -> Iterator[tuple[str, str]]:
    spec, info = result.spec, model_info(result.model_name)
    counts = np.bincount(result.pooled_predictions()["target"], minlength=2)
    yield "network", f"{info.title} ({result.model_name}), {info.parameters:.1f} million parameters"
    yield "starting weights", _full_name(spec.weights)
    yield "dataset", f"{result.dataset_name}, {spec.dataset.slices:,} slices"
    tested = ", ".join(f"{counts[k]:,} {result.classes[k]}" for k in (1, 0))
    yield "tested out of fold", f"{tested}"
    yield "SHA-256 of the dataset", spec.dataset.content_hash
    yield "protocol", f"{result.protocol}: {result.protocol.description}"
    yield "folds", str(len(result.folds))
    yield "scored", "the network of the last epoch; nothing was chosen on a test fold"
    for name in ("seed", "threads", "device", "precision"):
        yield name, str(getattr(spec, name))
    yield "run folder", result.run_dir.name
    yield "versions", ", ".join(f"{name} {number}" for name, number in spec.versions.items())


def _full_name(weights: WeightsSpec | None) -> str:
    if weights is None:
        return "random"
    return weights.name if weights.sha256 is None else f"{weights.name} (SHA-256 {weights.sha256})"


def _confusion(result: CrossValidationResult) -> Picture:
    matrices = {"mean of folds": result.confusion_matrix()}
    matrices |= {f"fold {k}": result.confusion_matrix(k) for k in range(len(result.folds))}
    classes = (plain(result.classes[0]), plain(result.classes[1]))
    columns = 4 if len(matrices) == 4 else 3
    return vector(figures.confusion_matrices(matrices, classes=classes, columns=columns))


def _curves(result: CrossValidationResult) -> tuple[Picture, ...]:
    folds = {"test folds": _folds(result)}
    return (
        vector(figures.roc(folds)),
        vector(figures.precision_recall(folds)),
        vector(figures.reliability(_stages(result))),
    )


def _stages(result: CrossValidationResult) -> dict[str, tuple[npt.ArrayLike, npt.ArrayLike]]:
    """Return targets and probabilities as trained, and calibrated where that is possible."""
    rows = result.predictions
    stages: dict[str, tuple[npt.ArrayLike, npt.ArrayLike]] = {
        "as trained": (rows["target"], rows["probability"])
    }
    with suppress(ValueError):
        found = result.calibrate()
        stages[f"calibrated on {found.fitted_on}"] = found.targets, found.fit.probabilities
    return stages


def _compared(named: Mapping[str, CrossValidationResult]) -> tuple[Picture, ...]:
    beside = {name: published_comparison(result) for name, result in named.items()}
    theirs = {
        plain(name): found.published.metrics["accuracy"]
        for name, found in beside.items()
        if found is not None and found.comparable
    }
    rows = {
        plain(name): (result.summary()["accuracy"][0], result.intervals()["accuracy"])
        for name, result in named.items()
    }
    folds = {plain(name): _folds(result) for name, result in named.items()}
    return (vector(figures.forest(rows, published=theirs)), vector(figures.roc(folds)))


def _folds(result: CrossValidationResult) -> figures.Folds:
    tables = map(result.fold_predictions, range(len(result.folds)))
    return [(table["target"], table["probability"]) for table in tables]


def _named(
    results: Sequence[CrossValidationResult], options: Sequence[str]
) -> dict[str, CrossValidationResult]:
    """Name runs by what tells them apart, if need be by a number."""
    named: dict[str, CrossValidationResult] = {}
    rows = [
        (result.model_name, result.dataset_name, result.protocol.label, own)
        for result, own in zip(results, options, strict=True)
    ]
    telling = [len(set(column)) > 1 for column in zip(*rows, strict=True)]
    for number, (result, row) in enumerate(zip(results, rows, strict=True), start=1):
        name = ", ".join(filter(None, compress(row, telling))) or result.model_name
        named[f"{name} (run {number})" if name in named else name] = result
    return named


def _is_of(result: CrossValidationResult, dataset: CTDataset) -> bool:
    same: bool = result.spec.dataset.content_hash == dataset.content_hash()
    return same


def _asset(name: str) -> str:
    return (files(__package__ or "covidct.report") / "templates" / name).read_text("utf-8")
