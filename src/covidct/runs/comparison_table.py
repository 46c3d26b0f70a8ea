"""Several runs in one table: protocols, networks or datasets side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from ..evaluation import metrics, published
from ..evaluation.tables import Table, percent, percent_range
from .result import CrossValidationResult
from .scores import ScoredFolds

__all__ = ["distinctions", "per_patient", "published_of", "side_by_side"]


def side_by_side(
    results: Sequence[ScoredFolds],
    *,
    metric: str = "accuracy",
    variants: Sequence[str] | None = None,
) -> Table:
    """Lay out runs in rows, per slice and per patient where ids are known, with intervals.

    Parameters
    ----------
    results
        The runs.
    metric
        A name out of ``covidct.evaluation.metrics.METRICS``.
    variants
        What to call each run in a column of its own, where network, dataset and protocol do not
        tell them apart; by default :func:`distinctions`.

    Returns
    -------
    Table
        In percent: means and standard deviations over the folds, and 95 % confidence
        intervals of the means, by :meth:`ScoredFolds.intervals` and, per patient,
        :meth:`ScoredFolds.patient_intervals`. Near-duplicates are no patients.

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
    title = metrics.find_metric(metric).title.lower()
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
    """Say in what runs differ that have network, dataset and protocol in common.

    Parameters
    ----------
    results
        The runs.

    Returns
    -------
    list of str
        For each run its options that another has otherwise; empty where nothing is to be told
        apart.

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
        alike[_known_by(result)].append(result.settings)
    return [_own(result.settings, alike[_known_by(result)]) for result in results]


def _known_by(result: ScoredFolds) -> tuple[str, ...]:
    return result.model_name, result.dataset_name, result.protocol


def _own(settings: Mapping[str, object], alike: Sequence[Mapping[str, object]]) -> str:
    """Write the options that another run has otherwise; what it has not, as an ensemble, aside."""
    own = {
        option: value
        for option, value in settings.items()
        if any(other.get(option, value) != value for other in alike)
    }
    if _moved_by_epochs(alike):
        own.pop("milestones", None)
    return ", ".join(f"{option} {value}" for option, value in own.items())


def _moved_by_epochs(alike: Sequence[Mapping[str, object]]) -> bool:
    """Whether runs of equal epochs have equal milestones too, so that the epochs say it all."""
    schedules = {(other.get("epochs"), str(other.get("milestones"))) for other in alike}
    return len(schedules) == len({epochs for epochs, _ in schedules})


def per_patient(result: ScoredFolds, metric: str) -> tuple[str, str]:
    """Write a metric per patient in percent: mean ± sd over folds, and its 95 % interval.

    Parameters
    ----------
    result
        The run.
    metric
        A key of :data:`covidct.evaluation.metrics.METRICS`.

    Returns
    -------
    tuple of str
        Dashes where patients are unknown.

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
    patients, ends = result.patient_metrics(), result.patient_intervals()
    if not (patients and ends and result.has_patients):
        return "–", "–"
    return percent(*metrics.summarize(patients)[metric]), percent_range(*ends[metric])


def _row(result: ScoredFolds, metric: str) -> list[str]:
    return [
        result.model_name,
        result.dataset_name,
        result.protocol,
        percent(*result.summary()[metric]),
        percent_range(*result.intervals()[metric]),
        *per_patient(result, metric),
        percent(*result.summary()["auc"]),
    ]


def published_of(result: CrossValidationResult) -> published.Comparison | None:
    """Hold a run against what the paper reports of its network and dataset; None where nothing."""
    known = published.results(
        dataset=result.dataset_name, network=result.model_name, comparable=True
    )
    return result.compare_published() if known else None
