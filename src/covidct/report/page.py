"""The HTML page: from runs to its contents, and from these to HTML."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from itertools import compress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined

from .._files import write_text
from .._reasons import value_or_reason
from .._text import capitalized
from .._version import __version__
from ..datasets.canvases import make_canvases
from ..errors import InvalidFileError
from ..evaluation import figures, metrics
from ..evaluation.decision_rule import Unit
from ..evaluation.tables import Table, percent, percent_range
from ..models.registry import model_info
from ..runs.comparison_table import distinctions, published_comparison
from ..runs.protocol import leakage_warning
from ..runs.recalibration import CalibratedFolds
from ..runs.result import CrossValidationResult
from ..runs.run_spec import WeightsSpec
from .commands import command_line, replacement_note
from .gallery import GallerySlice, draw_embedding, draw_gallery
from .pictures import Picture, evidence_gradient, plain, vector
from .result_tables import (
    calibration_table,
    comparison_table,
    difference_table,
    fold_table,
    group_table,
    subgroup_tables,
)

if TYPE_CHECKING:
    from ..audit import AuditReport, Finding
    from ..datasets.ct_dataset import CTDataset

__all__ = [
    "ClinicalUse",
    "Notice",
    "Page",
    "RunSection",
    "Tile",
    "find_notices",
    "make_page",
    "render",
    "write_report",
]

_TILES = ("accuracy", "recall", "specificity", "auc")
_GALLERY_SIZE = 48  # slices per page, which keeps the file small
_TARGETS = {
    "covid": "COVID-19 against the rest, one logit",
    "label": "one output per label; COVID-19 against the rest from their probabilities",
}
_LONGEST_NUMBER = 24  # characters of a cell, such as "100.0 (100.0 to 100.0)"
_NO_DATASET = (
    "Not shown, because the report was written without the slices. To include it, name the "
    "dataset: covidct report RUN --dataset NAME=FOLDER."
)


class Notice(NamedTuple):
    """Notice at the top of the page.

    Attributes
    ----------
    severity : {"fatal", "warning", "note"}
        Severity.
    title, detail : str
        The notice in a few words, and in full.
    """

    severity: str
    title: str
    detail: str


class Tile(NamedTuple):
    """Metric in large print.

    Attributes
    ----------
    title : str
        Name of the metric.
    value, interval : str
        Mean over the folds and its 95 % interval, in percent.
    """

    title: str
    value: str
    interval: str


@dataclass(frozen=True)
class ClinicalUse:
    """Contents of the part about the use of a network at a threshold.

    Attributes
    ----------
    tables : tuple of Table, default=()
        Operating points, predictive values and calibration; empty if no threshold can be chosen.
    sentences : tuple of str, default=()
        The operating points in words.
    decision : Picture or None, default=None
        Decision curve.
    decision_sentence : str, default=""
        The decision curve in words.
    missing : str, default=""
        Reason why this part is left out.
    """

    tables: tuple[Table, ...] = ()
    sentences: tuple[str, ...] = ()
    decision: Picture | None = None
    decision_sentence: str = ""
    missing: str = ""


@dataclass(frozen=True)
class RunSection:
    """Contents of the section about one run.

    Attributes
    ----------
    key : str
        Prefix of the anchors in the page.
    title : str
        Network, dataset and protocol.
    classes : tuple of (str, str)
        Names of class 0 and class 1.
    tiles : tuple of Tile
        Metrics in large print.
    facts, recipe : tuple of (str, str)
        Facts about the run and options of its recipe, as pairs of name and value.
    command : str or None
        Command that reproduces the run, or None if there is none.
    replacement_note : str
        Sentence about the paths to replace in the command; may be empty.
    tables : tuple of Table
        Metrics per fold, per patient if patients are known, and by label, source and properties of
        the files if there are several.
    confusion, learning : Picture
        Confusion matrices and learning curves.
    label_confusion : tuple of Picture
        Confusion matrix of the labels; empty if the network was not trained on labels.
    curves : tuple of Picture
        ROC, precision-recall and calibration.
    use : ClinicalUse
        Operating points, predictive values, calibration and decision curve.
    skipped : tuple of (str, str)
        Skipped files, with the reasons.
    tsne : Picture or None, default=None
        t-SNE embedding; None without the slices.
    gallery : tuple of GallerySlice, default=()
        Correct and wrong predictions of each class; empty without the slices.
    missing : mapping of str to str
        Reasons why ``"tsne"`` or ``"gallery"`` is left out.
    layer : str or None, default=None
        Layer that Grad-CAM explains; None for the default.
    """

    key: str
    title: str
    classes: tuple[str, str]
    tiles: tuple[Tile, ...]
    facts: tuple[tuple[str, str], ...]
    recipe: tuple[tuple[str, str], ...]
    command: str | None
    replacement_note: str
    tables: tuple[Table, ...]
    confusion: Picture
    label_confusion: tuple[Picture, ...]
    curves: tuple[Picture, ...]
    use: ClinicalUse
    learning: Picture
    skipped: tuple[tuple[str, str], ...]
    tsne: Picture | None = None
    gallery: tuple[GallerySlice, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    layer: str | None = None


@dataclass(frozen=True)
class Page:
    """Contents of the page.

    Attributes
    ----------
    title : str
        Heading.
    notices : tuple of Notice
        Notices about the validity of the results, the most severe first.
    findings : tuple of Finding
        Findings of the audit; empty without an audit.
    verdict : str
        Verdict of the audit; ``""`` without an audit.
    sections : tuple of RunSection
        Runs.
    comparison, tests : Table or None, default=None
        Comparison of several runs and tests of their differences; None if there are none.
    pictures : tuple of Picture, default=()
        Figures that compare several runs.
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
        The slices that the runs were trained on. If given, the page shows correct and
        wrong predictions of each class with their Grad-CAM maps, and a t-SNE embedding of the
        features of a fold.
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


def make_page(
    results: Sequence[CrossValidationResult],
    *,
    dataset: CTDataset | None = None,
    audit: AuditReport | None = None,
    layer: str | None = None,
) -> Page:
    """Collect the contents of the page.

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
    Page
        Contents without layout.

    Raises
    ------
    ValueError
        If `results` is empty, or if `dataset` is given and no run was trained on it.
    UnknownNameError
        If the network has no layer named `layer`.
    """
    if not results:
        raise ValueError("expected at least one run to report, got none")
    differences = distinctions(results)
    named = _named(results, differences)
    matching = [r for r in results if dataset is not None and _was_trained_on(r, dataset)]
    if dataset is not None and not matching:
        raise ValueError(
            f"no run was trained on the given slices of {dataset.name!r}; their names, labels or "
            "contents differ, so give the dataset that a run was trained on"
        )
    per_kind = max(1, _GALLERY_SIZE // (4 * max(1, len(matching))))
    sections = tuple(
        _section(
            f"run-{k}",
            result,
            dataset if result in matching else None,
            options,
            per_kind=per_kind,
            layer=layer,
            properties=audit.properties if audit and result in matching else None,
        )
        for k, (result, options) in enumerate(zip(results, differences, strict=True), start=1)
    )
    several = len(results) > 1
    return Page(
        title=_title(results) if several else sections[0].title,
        notices=tuple(find_notices(named, audit)),
        findings=audit.findings if audit else (),
        verdict=audit.verdict if audit else "",
        sections=sections,
        comparison=comparison_table(results) if several else None,
        tests=difference_table(named) if several else None,
        pictures=_compared(named) if several else (),
    )


def find_notices(
    named: Mapping[str, CrossValidationResult], audit: AuditReport | None = None
) -> Iterator[Notice]:
    """Find limits to the validity of the results: leakage, skipped files, findings of an audit.

    Parameters
    ----------
    named : mapping of str to CrossValidationResult
        Runs by name.
    audit : AuditReport, optional
        Audit of the slices.

    Yields
    ------
    Notice
        Fatal findings and warnings of the audit first.
    """
    for finding in audit.findings if audit else ():
        if finding.severity != "note":
            yield Notice(finding.severity, finding.title, finding.detail)
    for name, result in named.items():
        where = f"{name}: " if len(named) > 1 else ""
        unit, share = result.unit, result.shared_groups()
        random = result.protocol.id == "paper"
        if share:
            yield Notice(
                "warning",
                f"{where}Slices of the same {unit} are in training and test",
                f"{_sentence(leakage_warning(unit, random=random))} This concerns "
                f"{100 * share:.0f} % of the test slices. A network can recognize the {unit} "
                "instead of the disease. Use covidct train --protocol grouped to keep all slices "
                f"of a {unit} in one part.",
            )
        elif random and not result.has_groups:
            yield Notice("note", f"{where}Patients are unknown", _sentence(leakage_warning(None)))
        n_skipped = len(result.spec.dataset.skipped)
        if n_skipped:
            yield Notice(
                "note",
                f"{where}{n_skipped:,} file{'s were' if n_skipped > 1 else ' was'} skipped",
                "The files and the reasons are listed under “Run details”.",
            )


def _title(results: Sequence[CrossValidationResult]) -> str:
    """Name the networks and datasets of several runs, or count them if there are many."""
    networks = dict.fromkeys(model_info(result.model_name).title for result in results)
    datasets = dict.fromkeys(result.dataset_name for result in results)
    subject = f"{_listed(networks, 'networks')} on {_listed(datasets, 'datasets')}"
    return f"{subject}: comparison of {len(results)} runs"


def _listed(names: Collection[str], noun: str) -> str:
    return f"{len(names)} {noun}" if len(names) > 3 else " and ".join(names)


def _sentence(text: str) -> str:
    return f"{capitalized(text)}."


def _section(
    key: str,
    result: CrossValidationResult,
    dataset: CTDataset | None,
    options: str,
    *,
    per_kind: int,
    layer: str | None,
    properties: Mapping[str, npt.ArrayLike] | None,
) -> RunSection:
    repeated = max(result.repeat_numbers) > 0
    calibrated = value_or_reason(result.calibrate)
    tables = (
        fold_table(result),
        result.interval_table(),
        result.variance_components().table() if repeated else None,
        group_table(result),
        None if result.label_scores is None else result.label_scores.table(),
        *subgroup_tables(result, properties),
    )
    network = model_info(result.model_name).title
    details = filter(None, (result.protocol.label, options))
    return RunSection(
        key=key,
        title=f"{network} on {result.dataset_name} (protocol: {'; '.join(details)})",
        classes=result.classes,
        tiles=tuple(_tiles(result)),
        facts=tuple(_facts(result)),
        recipe=tuple((n, str(v)) for n, v in result.recipe.options().items()),
        command=command_line(result),
        replacement_note=replacement_note(result),
        tables=tuple(table for table in tables if table is not None),
        confusion=_confusion(result),
        label_confusion=tuple(_label_confusion(result)),
        curves=_curves(result, calibrated),
        use=_clinical_use(result, calibrated),
        learning=vector(
            figures.learning_curves([result.history(k) for k in range(len(result.folds))])
        ),
        skipped=result.spec.dataset.skipped,
        layer=layer,
        **_shown(result, dataset, per_kind=per_kind, layer=layer),
    )


def _shown(
    result: CrossValidationResult, dataset: CTDataset | None, *, per_kind: int, layer: str | None
) -> dict[str, Any]:
    """Collect the parts that need the slices."""
    if dataset is None:
        return {"missing": {"gallery": _NO_DATASET, "tsne": _NO_DATASET}}
    size = result.fold_model(0).input_size
    canvases = make_canvases(dataset, size, resize=result.recipe.resize)
    gallery = tuple(
        draw_gallery(result, dataset, canvases=canvases, per_kind=per_kind, layer=layer)
    )
    try:
        plane = vector(draw_embedding(result, dataset, canvases=canvases))
    except ValueError as error:
        return {"gallery": gallery, "missing": {"tsne": f"Not shown: {error}."}}
    return {"gallery": gallery, "tsne": plane}


def _tiles(result: CrossValidationResult) -> Iterator[Tile]:
    summary, intervals = result.summary(), result.intervals()
    for name in _TILES:
        title = metrics.METRICS[name].title
        yield Tile(title, percent(summary[name][0]), percent_range(*intervals[name]))


def _facts(result: CrossValidationResult) -> Iterator[tuple[str, str]]:
    spec, info = result.spec, model_info(result.model_name)
    counts = np.bincount(result.pooled_predictions()["target"], minlength=2)
    yield "network", f"{info.title} ({result.model_name}), {info.parameters:.1f} million parameters"
    yield "initial weights", _full_name(spec.weights)
    yield "dataset", f"{result.dataset_name}, {spec.dataset.slices:,} slices"
    tested = ", ".join(f"{counts[k]:,} {result.classes[k]}" for k in (1, 0))
    yield "test slices", tested
    yield "dataset hash (SHA-256)", spec.dataset.content_hash
    yield "protocol", f"{result.protocol}: {result.protocol.description}"
    yield "target", _TARGETS[spec.target]
    yield "folds", str(len(result.folds))
    yield "evaluated network", "last epoch of each fold; no setting was chosen on a test fold"
    if spec.repeats > 1:
        yield "repeats", f"each slice is tested {spec.repeats} times"
    if spec.split_seed != spec.seed:
        yield "seed of the split", str(spec.split_seed)
    for name in ("seed", "threads", "device", "precision"):
        yield name, str(getattr(spec, name))
    yield "run folder", result.run_dir.name
    yield "versions", ", ".join(f"{name} {number}" for name, number in spec.versions.items())


def _full_name(weights: WeightsSpec | None) -> str:
    if weights is None:
        return "random"
    return weights.name if weights.sha256 is None else f"{weights.name} (SHA-256 {weights.sha256})"


def _confusion(result: CrossValidationResult) -> Picture:
    repeats = result.spec.repeats
    pooled = len(result.folds) / repeats * result.confusion_matrix()
    matrices = {"all folds" if repeats == 1 else "all folds, per repeat": pooled}
    matrices |= {
        result.folds[k].name or f"fold {k}": result.confusion_matrix(k)
        for k in range(len(result.folds))
    }
    classes = (plain(result.classes[0]), plain(result.classes[1]))
    columns = 6 if len(matrices) in (5, 6) else 4
    return vector(figures.confusion_matrices(matrices, classes=classes, columns=columns))


def _label_confusion(result: CrossValidationResult) -> Iterator[Picture]:
    scores = result.label_scores
    if scores is not None:
        names = tuple(plain(name) for name in scores.classes)
        matrices = {"labels, mean of folds": scores.confusion_matrix()}
        yield vector(figures.confusion_matrices(matrices, classes=names))


def _curves(
    result: CrossValidationResult, calibrated: CalibratedFolds | str
) -> tuple[Picture, ...]:
    folds = {"test folds": _folds(result)}
    return (
        vector(figures.roc_curves(folds)),
        vector(figures.precision_recall_curves(folds)),
        vector(figures.reliability_diagrams(_stages(result, calibrated))),
    )


# Shares of COVID-19 for which the page shows predictive values, from screening to a fever clinic.
_PREVALENCES = (0.02, 0.1, 0.3)


def _clinical_use(result: CrossValidationResult, calibrated: CalibratedFolds | str) -> ClinicalUse:
    """Collect operating points, predictive values, calibration and decision curve."""
    if isinstance(calibrated, str):  # thresholds lack predictions to be fitted on as well
        return ClinicalUse(missing=f"Not shown: {calibrated}.")
    units: tuple[Unit, ...] = ("slice", "patient") if result.has_patients else ("slice",)
    per = units[-1]
    try:
        points = [result.operating_points(per=unit) for unit in units]
        values = result.predictive_values(_PREVALENCES, sensitivity=0.95, per=per)
        curve = result.net_benefit(per=per)
    except InvalidFileError:
        raise
    except ValueError as error:
        return ClinicalUse(missing=f"Not shown: {error}.")
    tables = (*(found.table() for found in points), values.table(), calibration_table(calibrated))
    return ClinicalUse(
        tables=tuple(_without_repeated_notes(tables)),
        sentences=(*points[-1].sentences(), *values.sentences()),
        decision=vector(figures.decision_curves({f"per {per}": curve})),
        decision_sentence=curve.sentence,
    )


def _without_repeated_notes(tables: Iterable[Table]) -> Iterator[Table]:
    seen: set[str] = set()
    for table in tables:
        yield replace(table, notes=[note for note in table.notes if note not in seen])
        seen.update(table.notes)


def _stages(
    result: CrossValidationResult, calibrated: CalibratedFolds | str
) -> dict[str, tuple[npt.ArrayLike, npt.ArrayLike]]:
    """Return targets and probabilities before and, if possible, after calibration."""
    rows = result.predictions
    stages: dict[str, tuple[npt.ArrayLike, npt.ArrayLike]] = {
        "uncalibrated": (rows["target"], rows["probability"])
    }
    if not isinstance(calibrated, str):
        name = f"calibrated on {calibrated.fitted_on}"
        stages[name] = calibrated.targets, calibrated.fit.probabilities
    return stages


def _compared(named: Mapping[str, CrossValidationResult]) -> tuple[Picture, ...]:
    found = {name: published_comparison(result) for name, result in named.items()}
    published = {
        plain(name): comparison.published.metrics["accuracy"]
        for name, comparison in found.items()
        if comparison is not None and comparison.comparable
    }
    rows = {
        plain(name): (result.summary()["accuracy"][0], result.intervals()["accuracy"])
        for name, result in named.items()
    }
    folds = {plain(name): _folds(result) for name, result in named.items()}
    return (vector(figures.forest(rows, published=published)), vector(figures.roc_curves(folds)))


def _folds(result: CrossValidationResult) -> figures.Folds:
    tables = map(result.fold_predictions, range(len(result.folds)))
    return [(table["target"], table["probability"]) for table in tables]


def _named(
    results: Sequence[CrossValidationResult], options: Sequence[str]
) -> dict[str, CrossValidationResult]:
    """Name runs by their differences, and number them where names are equal."""
    named: dict[str, CrossValidationResult] = {}
    rows = [
        (result.model_name, result.dataset_name, result.protocol.label, own)
        for result, own in zip(results, options, strict=True)
    ]
    informative = [len(set(column)) > 1 for column in zip(*rows, strict=True)]
    for number, (result, row) in enumerate(zip(results, rows, strict=True), start=1):
        name = ", ".join(filter(None, compress(row, informative))) or result.model_name
        named[f"{name} (run {number})" if name in named else name] = result
    return named


def _was_trained_on(result: CrossValidationResult, dataset: CTDataset) -> bool:
    same: bool = result.spec.dataset.content_hash == dataset.content_hash()
    return same


def _word_columns(table: Table) -> set[int]:
    """Return the columns with sentences, which are aligned to the left and wrapped."""
    columns = zip(*table.rows, *table.footer, strict=True)
    return {k for k, cells in enumerate(columns) if max(map(len, cells)) > _LONGEST_NUMBER}


def _asset(name: str) -> str:
    return (files(__package__ or "covidct.report") / "templates" / name).read_text("utf-8")
