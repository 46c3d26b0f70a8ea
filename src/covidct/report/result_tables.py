"""The tables of the page, as text ready to be laid out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..evaluation import metrics
from ..evaluation.metrics import TABLE_METRICS
from ..evaluation.tables import Table, percent, percent_range
from ..runs.comparison_table import published_comparison, side_by_side
from ..runs.paired_tests import compare_runs
from ..runs.result import CrossValidationResult

__all__ = [
    "comparison_table",
    "difference_table",
    "fold_table",
    "group_table",
]

Row = tuple[str, ...]


def fold_table(result: CrossValidationResult) -> Table:
    """Lay out the metrics of all folds, with intervals and the published figures below."""
    intervals = result.intervals()
    footer = [
        _mean_row(result.fold_metrics),
        ("95 % interval", *(percent_range(*intervals[name]) for name in TABLE_METRICS)),
    ]
    notes = [
        f"sd: sample standard deviation over folds. Interval of the mean: {result.resampling}.",
        *_undefined(result.fold_metrics),
    ]
    beside = published_comparison(result)
    if beside is not None:
        both = {row.metric: row for row in beside.rows}
        published = (percent(*both[n].published) if n in both else "–" for n in TABLE_METRICS)
        differences = (
            f"{100 * both[n].difference:+.1f}" if n in both else "–" for n in TABLE_METRICS
        )
        footer += [("published", *published), ("difference", *differences)]
        notes += [f"Published: {beside.published.citation}.", *beside.caveats]
    return Table(
        _header("fold"),
        _fold_rows(result.fold_metrics),
        footer,
        caption="Each fold on its test slices, in percent",
        notes=notes,
    )


def group_table(result: CrossValidationResult) -> Table | None:
    """Lay out the metrics of groups, such as patients; None where they are unknown."""
    scores = result.patient_metrics
    if scores is None:
        return None
    unit = result.unit
    number = result.predictions["group"].nunique()
    tested = set(zip(result.predictions["group"], result.predictions["fold"], strict=True))
    often = "once" if len(tested) == number else "in every fold that tests slices of it"
    caption = f"Each {unit} scored {often}, in percent"
    note = f"The probability of a {unit} is the mean over its slices; there are {number:,} {unit}s."
    notes = (note, *_undefined(scores))
    return Table(
        _header("fold"), _fold_rows(scores), [_mean_row(scores)], caption=caption, notes=notes
    )


def comparison_table(results: Sequence[CrossValidationResult]) -> Table:
    """Lay several runs side by side; a dataset or protocol of all stands in their titles."""
    table = side_by_side(results)
    columns = zip(table.header, *table.rows, strict=True)
    header, *rows = zip(*filter(_tells, columns), strict=True)
    notes = (
        "Mean ± sd over folds. The interval: 95 % bootstrap of the mean over folds.",
        "Figures of different protocols answer different questions.",
    )
    caption = "The runs side by side, in percent"
    return Table(header, rows, caption=caption, notes=notes)


def _tells(column: Row) -> bool:
    return column[0] not in ("dataset", "protocol") or len(set(column[1:])) > 1


def difference_table(results: Mapping[str, CrossValidationResult]) -> Table | None:
    """Test the differences of all pairs of runs on the same folds, or with another split alone.

    Parameters
    ----------
    results
        Name to run.

    Returns
    -------
    Table or None
        Of :func:`covidct.runs.paired_tests.compare_runs`; None if no two runs are comparable.
    """
    tests = compare_runs(results)
    if not tests.tests:
        return None
    table = tests.table()
    note = "Tested are runs with the same folds, and runs that differ only in their split."
    return replace(table, notes=(*table.notes, note))


def _header(first: str) -> Row:
    return (first, *(metrics.METRICS[name].title for name in TABLE_METRICS))


def _fold_rows(scores: Iterable[Mapping[str, float]]) -> tuple[Row, ...]:
    return tuple(
        (str(k), *(percent(fold[n]) for n in TABLE_METRICS)) for k, fold in enumerate(scores)
    )


def _mean_row(scores: Sequence[Mapping[str, float]]) -> Row:
    summary = metrics.summarize(scores)
    return ("mean ± sd", *(percent(*summary[name]) for name in TABLE_METRICS))


def _undefined(scores: Sequence[Mapping[str, float]]) -> list[str]:
    return metrics.undefined_notes(
        [{name: fold[name] for name in TABLE_METRICS} for fold in scores]
    )
