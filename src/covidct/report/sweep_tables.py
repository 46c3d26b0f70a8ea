"""The tables of a sweep as JSON, ready for a page of documentation that shows measured numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

from .._files import write_json
from ..evaluation import metrics
from ..evaluation.tables import percent, percent_range
from ..runs.comparison_table import per_patient, published_comparison
from ..runs.paired_tests import PairedTests
from ..runs.result import CrossValidationResult
from ..runs.sweep import PlannedRun, SweepResult
from .commands import command_line

__all__ = ["write_sweep_tables"]

_SHOWN = (*metrics.PAPER_METRICS, "auc")


def write_sweep_tables(
    done: SweepResult, folder: str | PathLike[str], *, tests: PairedTests | None = None
) -> list[Path]:
    """Write what is finished of a sweep, a file for each dataset.

    Parameters
    ----------
    done
        The sweep.
    folder
        Where ``DATASET-sweep.json``, and ``DATASET-tests.json`` where cells were compared, go:
        ``{"title", "command", "machine", "date", "columns", "rows", "notes"}``, with all cells as
        text. What made and when is read from the runs.
    tests
        The tests of differences between cells.

    Returns
    -------
    list of Path
        The files.

    Examples
    --------
    >>> import tempfile
    >>> from covidct.report.sweep_tables import write_sweep_tables
    >>> from covidct.runs.sweep import SweepResult
    >>> write_sweep_tables(SweepResult({}), tempfile.mkdtemp())
    []
    """
    written = []
    for dataset in dict.fromkeys(cell.dataset for cell in done.results):
        cells = {cell: run for cell, run in done.results.items() if cell.dataset == dataset}
        tables = {"sweep": _results_table(dataset, cells)}
        mine = [t for t in tests.tests if t.a.startswith(f"{dataset}/")] if tests else []
        if tests and mine:
            of_dataset = PairedTests(tests.metric, tests.unit, tuple(mine))
            tables["tests"] = _tests_table(dataset, cells, of_dataset, len(tests.tests))
        for kind, table in tables.items():
            path = Path(folder) / f"{dataset}-{kind}.json"
            write_json(path, {**table, **_origin(cells.values())})
            written.append(path)
    return written


def _results_table(
    dataset: str, cells: Mapping[PlannedRun, CrossValidationResult]
) -> dict[str, Any]:
    titles = [metrics.METRICS[name].title for name in _SHOWN]
    rows, notes = [], ["± is the sample standard deviation over folds, the interval a bootstrap."]
    for cell, run in cells.items():
        summary, (low, high) = run.summary(), run.intervals()["accuracy"]
        beside = published_comparison(run)
        theirs = ["", ""]
        if beside is not None:
            row = beside.rows[0]
            theirs = [row.texts()[2], row.texts()[-1]]
            if not beside.comparable:
                theirs = [f"({text})" for text in theirs]
                notes.append(f"{run.model_name}, {cell.variant}: {'; '.join(beside.deviations)}.")
        rows.append(
            [
                run.model_name,
                cell.variant,
                run.protocol.label,
                *(percent(*summary[name]) for name in _SHOWN),
                percent_range(low, high),
                *per_patient(run, "accuracy"),
                *theirs,
            ]
        )
    if any(row[-1].startswith("(") for row in rows):
        notes.insert(1, "In brackets: another experiment than the paper's, in what is said below.")
    return {
        "title": f"{dataset}, in percent",
        "columns": [
            *("network", "variant", "protocol", *titles),
            *("accuracy, 95 % interval", "accuracy per patient", "95 % interval"),
            *("paper's accuracy", "difference in its sd"),
        ],
        "rows": rows,
        "notes": notes,
    }


def _tests_table(
    dataset: str, cells: Iterable[PlannedRun], tests: PairedTests, total: int
) -> dict[str, Any]:
    table = tests.table()
    short = {str(cell): f"{cell.model} {cell.variant}" for cell in cells}
    names = [f"{short[test.a]} minus {short[test.b]}" for test in tests.tests]
    return {
        "title": f"{dataset}: differences of {tests.metric} on the same folds, percentage points",
        "columns": table.header,
        "rows": [[name, *row[1:]] for name, row in zip(names, table.rows, strict=True)],
        "notes": [
            *table.notes[:-1],
            f"Holm: p-value corrected for the number of tests in the sweep, {total}.",
        ],
    }


def _origin(runs: Iterable[CrossValidationResult]) -> dict[str, Any]:
    """Say how, on what and when runs were made, as their folders tell it."""
    listed: Sequence[CrossValidationResult] = list(runs)
    commands = [command_line(run) or f"# only from Python: {run.run_dir.name}" for run in listed]
    days = sorted(
        datetime.fromtimestamp((run.run_dir / "run.json").stat().st_mtime, UTC).date().isoformat()
        for run in listed
    )
    return {
        "command": "\n".join(commands),
        "machine": "; ".join(dict.fromkeys(map(_machine, listed))),
        "date": " to ".join(dict.fromkeys((days[0], days[-1]))),
    }


def _machine(run: CrossValidationResult) -> str:
    spec = run.spec
    threads = "1 thread" if spec.threads == 1 else f"{spec.threads} threads"
    system = spec.versions.get("platform", "?").partition("-")[0]  # without the kernel's name
    return (
        f"{spec.device} with {threads}, {spec.precision}, "
        f"torch {spec.versions.get('torch', '?')}, {system}"
    )
