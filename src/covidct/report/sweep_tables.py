"""Tables of a sweep as JSON files, for pages of documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

from .._files import write_json
from ..evaluation import metrics
from ..evaluation.tables import Table, percent, percent_range
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
    """Write the tables of a sweep as JSON, one or two files per dataset.

    Parameters
    ----------
    done : SweepResult
        The sweep.
    folder : str or path-like
        Folder for ``DATASET-sweep.json`` and, if runs were compared, ``DATASET-tests.json``. Each
        has the keys ``"title"``, ``"command"``, ``"machine"``, ``"date"``, ``"columns"``,
        ``"rows"`` and ``"notes"``, with all cells as text. The commands, machine and date are those
        of the runs.
    tests : PairedTests, optional
        Tests of the differences between runs.

    Returns
    -------
    list of Path
        The written files.

    Examples
    --------
    >>> import tempfile
    >>> from covidct.report import write_sweep_tables
    >>> from covidct.runs.sweep import SweepResult
    >>> write_sweep_tables(SweepResult({}), tempfile.mkdtemp())
    []
    """
    written = []
    for dataset in dict.fromkeys(planned.dataset for planned in done.results):
        runs = {planned: run for planned, run in done.results.items() if planned.dataset == dataset}
        tables = {"sweep": _results_table(dataset, runs)}
        selected = [t for t in tests.tests if t.a.startswith(f"{dataset}/")] if tests else []
        if tests and selected:
            tests_of_dataset = PairedTests(tests.metric, tests.unit, tuple(selected))
            tables["tests"] = _tests_table(dataset, runs, tests_of_dataset, len(tests.tests))
        for kind, table in tables.items():
            path = Path(folder) / f"{dataset}-{kind}.json"
            content = {
                "title": table.caption,
                "columns": table.header,
                "rows": table.rows,
                "notes": table.notes,
            }
            write_json(path, {**content, **_origin(runs.values())})
            written.append(path)
    return written


def _results_table(dataset: str, runs: Mapping[PlannedRun, CrossValidationResult]) -> Table:
    rows, deviations = [], []
    for planned, run in runs.items():
        summary, (low, high) = run.summary(), run.intervals()["accuracy"]
        comparison = published_comparison(run)
        published = ["", ""]
        if comparison is not None:
            texts = comparison.rows[0].texts()
            published = [texts[2], texts[-1]]
            if not comparison.comparable:
                published = [f"({text})" for text in published]
                reasons = "; ".join(comparison.deviations)
                deviations.append(f"{run.model_name}, {planned.variant}: {reasons}.")
        rows.append(
            [
                run.model_name,
                planned.variant,
                run.protocol.label,
                *(percent(*summary[name]) for name in _SHOWN),
                percent_range(low, high),
                *per_patient(run, "accuracy"),
                *published,
            ]
        )
    notes = ["± is the sample standard deviation over folds. Intervals are those of the mean."]
    if deviations:
        notes.append(
            "Values in parentheses are from a different experiment than the run, for the reasons "
            "below."
        )
    header = [
        *("network", "variant", "protocol", *(metrics.METRICS[name].title for name in _SHOWN)),
        *("accuracy, 95 % interval", "accuracy per patient", "95 % interval"),
        *("published accuracy", "difference in published sd"),
    ]
    return Table(header, rows, caption=f"{dataset}, in percent", notes=[*notes, *deviations])


def _tests_table(dataset: str, runs: Iterable[PlannedRun], tests: PairedTests, total: int) -> Table:
    table = tests.table()
    short = {str(planned): f"{planned.model} {planned.variant}" for planned in runs}
    names = [f"{short[test.a]} minus {short[test.b]}" for test in tests.tests]
    return replace(
        table,
        caption=f"{dataset}: differences of {tests.metric} on the same folds, percentage points",
        rows=[[name, *row[1:]] for name, row in zip(names, table.rows, strict=True)],
        # The last note states the number of tests, here that of all datasets.
        notes=[
            *table.notes[:-1],
            f"Holm: p-value corrected for the number of tests in the sweep, {total}.",
        ],
    )


def _origin(runs: Iterable[CrossValidationResult]) -> dict[str, Any]:
    """Return the commands, machines and dates of runs."""
    listed: Sequence[CrossValidationResult] = list(runs)
    commands = [command_line(run) or f"# defined in Python: {run.run_dir.name}" for run in listed]
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
