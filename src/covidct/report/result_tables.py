"""Tables of the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._text import capitalized
from ..evaluation import metrics
from ..evaluation.intervals import Interval
from ..evaluation.metrics import TABLE_METRICS
from ..evaluation.tables import Table, percent, percent_range
from ..runs.comparison_table import published_comparison, side_by_side
from ..runs.paired_tests import compare_runs
from ..runs.recalibration import CalibratedFolds
from ..runs.result import CrossValidationResult
from ..runs.subgroups import MOST_SUBGROUPS, subgroup_count, subgroup_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "calibration_table",
    "comparison_table",
    "difference_table",
    "fold_table",
    "group_table",
    "subgroup_tables",
]

Row = tuple[str, ...]


def fold_table(result: CrossValidationResult) -> Table:
    """Build the table of the metrics of each fold, their mean, intervals and published values.

    Parameters
    ----------
    result : CrossValidationResult
        The run.

    Returns
    -------
    Table
        Metrics in percent. Published values are included if the paper reports the network and
        dataset.
    """
    intervals = result.intervals()
    footer = [
        _mean_row(result.fold_metrics),
        _interval_row(intervals),
    ]
    notes = [
        f"sd: sample standard deviation over folds. Interval of the mean: {result.resampling}.",
        *result.interval_notes(),
        *_undefined(result.fold_metrics),
    ]
    comparison = published_comparison(result)
    if comparison is not None:
        reported = {row.metric: row for row in comparison.rows}
        published = (
            percent(*reported[n].published) if n in reported else "–" for n in TABLE_METRICS
        )
        differences = (
            f"{100 * reported[n].difference:+.1f}" if n in reported else "–" for n in TABLE_METRICS
        )
        footer += [("published", *published), ("difference", *differences)]
        notes += [f"Published: {comparison.published.citation}.", *comparison.caveats]
    return Table(
        _header("fold"),
        _fold_rows(result.fold_metrics, result.fold_names),
        footer,
        caption="Metrics of each fold on its test slices, in percent",
        notes=notes,
    )


def group_table(result: CrossValidationResult) -> Table | None:
    """Build the table of the metrics per patient, or per near-duplicate group.

    Parameters
    ----------
    result : CrossValidationResult
        The run.

    Returns
    -------
    Table or None
        Metrics in percent; None if groups are unknown.
    """
    scores, intervals = result.patient_metrics, result.patient_intervals()
    if scores is None or intervals is None:
        return None
    unit = result.unit
    number = result.predictions["group"].nunique()
    tested = set(zip(result.predictions["group"], result.predictions["fold"], strict=True))
    often = "once" if len(tested) == number else "in every fold that tests its slices"
    caption = f"Metrics per {unit}, in percent"
    notes = (
        (
            f"The probability of a {unit} is the mean over its slices. "
            f"There are {number:,} {unit}s, each scored {often}."
        ),
        *result.group_notes(),
    )
    return Table(
        _header(unit),
        [_mean_row(scores), _interval_row(intervals)],
        caption=caption,
        notes=notes,
    )


def subgroup_tables(
    result: CrossValidationResult, properties: Mapping[str, npt.ArrayLike] | None = None
) -> Iterator[Table]:
    """Build the tables of subgroups: labels, sources, and properties that an audit measured.

    Parameters
    ----------
    result : CrossValidationResult
        The run.
    properties : mapping of str to array-like of shape (n_slices,), optional
        Values of each slice by name, such as the `properties` of an audit.

    Yields
    ------
    Table
        Metrics in percent, for each column with several subgroups. The labels are left out if there
        are only two, since recall and specificity describe these.
    """
    import pandas as pd

    rows = result.predictions
    columns: list[str | pd.Series[Any]] = []
    if rows["label"].nunique() > 2:
        columns.append("label")
    if rows["source"].nunique() > 1:
        columns.append("source")
    for name, values in (properties or {}).items():
        column = pd.Series(np.asarray(values), name=name)
        if 1 < subgroup_count(column) <= MOST_SUBGROUPS:
            columns.append(column)
    for chosen in columns:
        yield subgroup_table(
            result.by(chosen),
            result.gaps(chosen),
            unit=result.resampled_unit,
            groups_known=result.has_groups,
        )


def calibration_table(calibrated: CalibratedFolds) -> Table:
    """Build the table of calibration slope, intercept and errors, before and after calibration.

    Parameters
    ----------
    calibrated : CalibratedFolds
        Calibration of a run.

    Returns
    -------
    Table
        One row before and one after calibration.
    """
    errors = calibrated.errors()
    rows = [
        (name, found.slope_text, found.intercept_text, *(f"{v[k]:.3f}" for v in errors.values()))
        for k, (name, found) in enumerate(calibrated.slopes().items())
    ]
    titles = list(map(capitalized, errors))
    return Table(
        ("probabilities", "Calibration slope", "Intercept", *titles),
        rows,
        caption=f"Calibration on the test slices, fitted on {calibrated.fitted_on}",
        notes=(_calibration_sentence(calibrated),),
    )


def _calibration_sentence(calibrated: CalibratedFolds) -> str:
    """Describe the calibration slope for readers who are not statisticians."""
    found = calibrated.slopes()["uncalibrated"]
    ideal = (
        "In brackets: 95 % interval. A slope of 1 (probabilities are neither too extreme nor too "
        "moderate) and an intercept of 0 (they are right on average) are ideal."
    )
    low, high = found.slope_interval
    if high < 1:
        verdict = "probabilities near 0 % and 100 % are too extreme"
    elif low > 1:
        verdict = "probabilities are too moderate"
    else:
        return ideal
    return f"{ideal} Here, {verdict}: use calibrated probabilities."


def comparison_table(results: Sequence[CrossValidationResult]) -> Table:
    """Build the table that compares several runs.

    Parameters
    ----------
    results : sequence of CrossValidationResult
        The runs.

    Returns
    -------
    Table
        One row per run, in percent. The dataset and the protocol are left out if all runs share
        them, since they are in the titles of the runs.
    """
    table = side_by_side(results)
    columns = zip(table.header, *table.rows, strict=True)
    header, *rows = zip(*filter(_is_informative, columns), strict=True)
    notes = (
        (
            "Mean ± sd over folds. Interval: 95 % interval of the mean over folds, by a bootstrap, "
            "or Wilson's for proportions if fewer than ten patients (or slices) have errors."
        ),
        "Values of different protocols are not comparable: they measure different things.",
    )
    caption = "Comparison of the runs, in percent"
    return Table(header, rows, caption=caption, notes=notes)


def _is_informative(column: Row) -> bool:
    return column[0] not in ("dataset", "protocol") or len(set(column[1:])) > 1


def difference_table(results: Mapping[str, CrossValidationResult]) -> Table | None:
    """Build the table of tests of the differences between pairs of runs.

    Parameters
    ----------
    results : mapping of str to CrossValidationResult
        Runs by name.

    Returns
    -------
    Table or None
        Result of :func:`covidct.runs.paired_tests.compare_runs`; None if no two runs have the same
        folds, or differ only in their split.
    """
    tests = compare_runs(results)
    if not tests.tests:
        return None
    table = tests.table()
    note = "Only runs with the same folds, and runs that differ only in their split, are tested."
    return replace(table, notes=(*table.notes, note))


def _header(first: str) -> Row:
    return (first, *(metrics.METRICS[name].title for name in TABLE_METRICS))


def _fold_rows(scores: Iterable[Mapping[str, float]], names: Sequence[str]) -> tuple[Row, ...]:
    return tuple(
        (name, *(percent(fold[n]) for n in TABLE_METRICS))
        for name, fold in zip(names, scores, strict=True)
    )


def _mean_row(scores: Sequence[Mapping[str, float]]) -> Row:
    summary = metrics.summarize(scores)
    return ("mean ± sd", *(percent(*summary[name]) for name in TABLE_METRICS))


def _interval_row(intervals: Mapping[str, Interval]) -> Row:
    return ("95 % interval", *(percent_range(*intervals[name]) for name in TABLE_METRICS))


def _undefined(scores: Sequence[Mapping[str, float]]) -> list[str]:
    return metrics.undefined_notes(
        [{name: fold[name] for name in TABLE_METRICS} for fold in scores]
    )
