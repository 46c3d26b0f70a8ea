"""Comparison table of several runs, such as networks, datasets or protocols."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from ..evaluation import metrics, published
from ..evaluation.tables import Table, percent, percent_range
from .result import CrossValidationResult
from .scores import ScoredFolds

__all__ = ["distinctions", "per_patient", "published_comparison", "side_by_side"]


def side_by_side(
    results: Sequence[ScoredFolds],
    *,
    metric: str = "accuracy",
    variants: Sequence[str] | None = None,
) -> Table:
    """Compare runs in a table with metrics per slice and, if patients are known, per patient.

    Parameters
    ----------
    results : sequence of ScoredFolds
        Runs.
    metric : str, default="accuracy"
        Name of a metric in ``covidct.evaluation.metrics.METRICS``.
    variants : sequence of str or None, default=None
        Label of each run, shown in an additional column if any label is not empty. None: the labels
        of :func:`distinctions`.

    Returns
    -------
    Table
        One row per run, in percent: means and standard deviations over the folds, and 95 %
        confidence intervals of the means (:meth:`ScoredFolds.intervals`; per patient,
        :meth:`ScoredFolds.patient_intervals`). Groups of near-duplicates do not count as patients.

    Raises
    ------
    UnknownNameError
        If `metric` is unknown.
    ValueError
        If `variants` and `results` differ in length.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.comparison_table import side_by_side
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> side_by_side([cv.run(slices)]).header[:2]
    ('network', 'dataset')
    """
    metric = metrics.find_metric(metric).name
    title = metrics.METRICS[metric].title.lower()
    units = {result.unit for result in results if result.has_patients}
    unit = units.pop() if len(units) == 1 else "group" if units else "patient"
    header = [
        "network",
        "dataset",
        "protocol",
        f"{title} per slice",
        "95 % interval",
        f"{title} per {unit}",
        "95 % interval",
        "AUC per slice",
    ]
    rows = [_row(result, metric) for result in results]
    if variants is None:
        variants = distinctions(results)
    if any(variants):
        header.insert(2, "variant")
        for row, variant in zip(rows, variants, strict=True):
            row.insert(2, variant)
    return Table(header, rows)


def distinctions(results: Sequence[ScoredFolds]) -> list[str]:
    """List the options in which runs of one network, dataset and protocol differ.

    Parameters
    ----------
    results : sequence of ScoredFolds
        Runs.

    Returns
    -------
    list of str
        For each run, its values of the options that differ between runs of the same network,
        dataset and protocol; an empty string if no option differs.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.comparison_table import distinctions
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> def run(recipe):
    ...     options = {"cv": 2, "groups": "patient", "weights": None}
    ...     return covidct.CrossValidator("shufflenet", recipe, **options).run(slices)
    >>> distinctions([run(recipe), run(recipe.replace(resize="stretch"))])
    ['resize pad', 'resize stretch']
    """
    alike = defaultdict(list)
    for result in results:
        alike[_key(result)].append(result.settings)
    return [_distinct(result.settings, alike[_key(result)]) for result in results]


def _key(result: ScoredFolds) -> tuple[object, ...]:
    return result.model_name, result.dataset_name, result.protocol


def _distinct(settings: Mapping[str, object], alike: Sequence[Mapping[str, object]]) -> str:
    """Format the options that differ; an option that a run lacks (an ensemble) does not differ."""
    distinct = {
        option: value
        for option, value in settings.items()
        if any(other.get(option, value) != value for other in alike)
    }
    if _milestones_follow_epochs(alike):
        distinct.pop("milestones", None)
    return ", ".join(f"{option} {value}" for option, value in distinct.items())


def _milestones_follow_epochs(alike: Sequence[Mapping[str, object]]) -> bool:
    """Return True if runs of equal epochs have equal milestones, which are then redundant."""
    schedules = {(other.get("epochs"), str(other.get("milestones"))) for other in alike}
    return len(schedules) == len({epochs for epochs, _ in schedules})


def per_patient(result: ScoredFolds, metric: str) -> tuple[str, str]:
    """Format a metric per patient in percent.

    Parameters
    ----------
    result : ScoredFolds
        Run.
    metric : str
        Name of a metric in ``covidct.evaluation.metrics.METRICS``.

    Returns
    -------
    mean : str
        Mean ± standard deviation over the folds, or a dash if patients are unknown.
    interval : str
        95 % confidence interval of the mean, or a dash.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.comparison_table import per_patient
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> mean, interval = per_patient(cv.run(slices), "accuracy")
    >>> "±" in mean, "to" in interval
    (True, True)
    """
    patients, ends = result.patient_metrics, result.patient_intervals()
    if not (patients and ends and result.has_patients):
        return "–", "–"
    return percent(*metrics.summarize(patients)[metric]), percent_range(*ends[metric])


def _row(result: ScoredFolds, metric: str) -> list[str]:
    summary = result.summary()
    return [
        result.model_name,
        result.dataset_name,
        result.protocol.label,
        percent(*summary[metric]),
        percent_range(*result.intervals()[metric]),
        *per_patient(result, metric),
        percent(*summary["auc"]),
    ]


def published_comparison(result: CrossValidationResult) -> published.Comparison | None:
    """Compare a run with the paper's results of its network and dataset.

    Parameters
    ----------
    result : CrossValidationResult
        Run.

    Returns
    -------
    Comparison or None
        As :meth:`CrossValidationResult.compare_published`; None if the paper has no such result.
    """
    known = published.results(
        dataset=result.dataset_name, network=result.model_name, comparable=True
    )
    return result.compare_published() if known else None
