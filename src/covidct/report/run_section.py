"""Contents of the section of the page about one run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from .._reasons import value_or_reason
from ..datasets.canvases import make_canvases
from ..errors import InvalidFileError
from ..evaluation import figures, metrics
from ..evaluation.decision_rule import Unit
from ..evaluation.tables import Table, percent, percent_range
from ..models.registry import model_info
from ..runs.recalibration import CalibratedFolds
from ..runs.result import CrossValidationResult
from ..runs.run_spec import WeightsSpec
from .commands import command_line, replacement_note
from .gallery import GallerySlice, draw_embedding, draw_gallery
from .pictures import Picture, vector
from .result_tables import calibration_table, fold_table, group_table, subgroup_tables

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset

__all__ = ["ClinicalUse", "RunSection", "Tile", "make_section", "predictions_by_fold"]

_TILES = ("accuracy", "recall", "specificity", "auc")

_TARGETS = {
    "covid": "COVID-19 against the rest, one logit",
    "label": "one output per label; COVID-19 against the rest from their probabilities",
}

# Prevalences for which the page shows predictive values, from screening to a fever clinic.
_PREVALENCES = (0.02, 0.1, 0.3)

_NO_DATASET = (
    "Not shown, because the report was written without the slices. To include it, name the "
    "dataset: covidct report RUN --dataset NAME=FOLDER."
)


class Tile(NamedTuple):
    """Metric at the top of the section.

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
        Metrics at the top of the section.
    facts, recipe : tuple of (str, str)
        Facts about the run and options of its recipe, as pairs of name and value.
    command : str or None
        Command that reproduces the run; None if it cannot be run from a shell.
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


def make_section(
    key: str,
    result: CrossValidationResult,
    dataset: CTDataset | None,
    options: str,
    *,
    per_kind: int,
    layer: str | None,
    properties: Mapping[str, npt.ArrayLike] | None,
) -> RunSection:
    """Collect the contents of the section about a run.

    Parameters
    ----------
    key : str
        Prefix of the anchors in the page.
    result : CrossValidationResult
        The run.
    dataset : CTDataset or None
        The slices that the run was trained on.
    options : str
        Options by which the run differs from the other runs of the page.
    per_kind : int
        Maximum number of slices of each kind in the gallery.
    layer : str or None
        Name of the layer that Grad-CAM explains.
    properties : mapping of str to array-like of shape (n_slices,) or None
        Properties of the slices that an audit measured.

    Returns
    -------
    RunSection
        Contents without layout.
    """
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
    shown = _shown(result, dataset, per_kind=per_kind, layer=layer)
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
        tsne=shown.tsne,
        gallery=shown.gallery,
        missing=shown.missing,
    )


class _SliceParts(NamedTuple):
    """Parts that need the slices, or the reasons why they are missing."""

    gallery: tuple[GallerySlice, ...]
    tsne: Picture | None
    missing: Mapping[str, str]


def _shown(
    result: CrossValidationResult, dataset: CTDataset | None, *, per_kind: int, layer: str | None
) -> _SliceParts:
    if dataset is None:
        return _SliceParts((), None, {"gallery": _NO_DATASET, "tsne": _NO_DATASET})
    size = result.fold_model(0).input_size
    canvases = make_canvases(dataset, size, resize=result.recipe.resize)
    gallery = draw_gallery(result, dataset, canvases=canvases, per_kind=per_kind, layer=layer)
    figure = value_or_reason(lambda: draw_embedding(result, dataset, canvases=canvases))
    if isinstance(figure, str):
        return _SliceParts(tuple(gallery), None, {"tsne": f"Not shown: {figure}."})
    return _SliceParts(tuple(gallery), vector(figure), {})


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
    columns = 6 if len(matrices) in (5, 6) else 4
    return vector(figures.confusion_matrices(matrices, classes=result.classes, columns=columns))


def _label_confusion(result: CrossValidationResult) -> Iterator[Picture]:
    scores = result.label_scores
    if scores is not None:
        matrices = {"labels, mean of folds": scores.confusion_matrix()}
        yield vector(figures.confusion_matrices(matrices, classes=scores.classes))


def _curves(
    result: CrossValidationResult, calibrated: CalibratedFolds | str
) -> tuple[Picture, ...]:
    folds = {"test folds": predictions_by_fold(result)}
    return (
        vector(figures.roc_curves(folds)),
        vector(figures.precision_recall_curves(folds)),
        vector(figures.reliability_diagrams(_stages(result, calibrated))),
    )


def _clinical_use(result: CrossValidationResult, calibrated: CalibratedFolds | str) -> ClinicalUse:
    """Collect operating points, predictive values, calibration and decision curve."""
    if isinstance(calibrated, str):  # there are no predictions to fit thresholds on either
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


def predictions_by_fold(result: CrossValidationResult) -> figures.Folds:
    """Return targets and probabilities of each test fold."""
    tables = map(result.fold_predictions, range(len(result.folds)))
    return [(table["target"], table["probability"]) for table in tables]
