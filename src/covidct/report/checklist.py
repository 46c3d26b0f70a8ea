"""Reporting checklists TRIPOD+AI and CLAIM, with the answers of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from .._files import write_text
from ..evaluation.tables import Table
from ..models.registry import model_info
from ..runs.result import CrossValidationResult
from ._answers import Answers
from .guidelines import GUIDELINES, Guideline

if TYPE_CHECKING:
    from ..audit import AuditReport

__all__ = ["checklist_tables", "write_checklist"]

_HEADER = ("item", "topic", "from the run", "left to the author")


def checklist_tables(
    result: CrossValidationResult, *, audit: AuditReport | None = None
) -> dict[str, Table]:
    """Fill the reporting checklists TRIPOD+AI and CLAIM with what a run can answer.

    Parameters
    ----------
    result : CrossValidationResult
        The run.
    audit : AuditReport, optional
        Result of :func:`covidct.audit_dataset` on its slices, which is used for the limitations.

    Returns
    -------
    dict of str to Table
        A table per guideline, with the keys ``"tripod-ai"`` and ``"claim"`` and a row per item:
        number, topic, the answer of the run, and the part left to the author (``"–"`` for nothing).
        The last note contains the numbers of answered items.

    Examples
    --------
    >>> import covidct
    >>> from covidct.report import checklist_tables
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> tables = checklist_tables(cv.run(slices))
    >>> row = next(row for row in tables["claim"].rows if row[0] == "20")
    >>> print(*row, sep="; ")
    20; level of disjointness; All slices of a patient on the same side of every split.; –
    """
    answers = Answers(result, audit)
    return {key: _fill(guideline, answers) for key, guideline in GUIDELINES.items()}


def _fill(guideline: Guideline, answers: Answers) -> Table:
    rows = []
    for item in guideline.items:
        answer = None if item.answer is None else item.answer(answers)
        rows.append((item.number, item.topic, answer or "–", item.author or "–"))
    whole = sum(answer != "–" and author == "–" for *_, answer, author in rows)
    partly = sum("–" not in row[2:] for row in rows)
    return Table(
        _HEADER,
        rows,
        caption=f"{guideline.name} checklist of {_title(answers.result)}",
        notes=(
            f"Topics in short; full text of the items: {guideline.citation}.",
            "Check every sentence before you publish it.",
            (
                f"Of {len(rows)} items, the run answers {whole} and a part of {partly}; "
                f"{len(rows) - whole - partly} are left to the author."
            ),
        ),
        left_columns=len(_HEADER),
    )


def _title(result: CrossValidationResult) -> str:
    network = model_info(result.model_name).title
    return f"{network} on {result.dataset_name} (protocol: {result.protocol})"


def write_checklist(
    results: CrossValidationResult | Sequence[CrossValidationResult],
    path: str | PathLike[str],
    *,
    audit: AuditReport | None = None,
) -> Path:
    """Write the reporting checklists of runs as Markdown or CSV.

    Parameters
    ----------
    results : CrossValidationResult or sequence of CrossValidationResult
        The runs.
    path : str or path-like
        File to write, with the ending ``.md`` or ``.csv``. Missing folders are created.
    audit : AuditReport, optional
        Result of `covidct.audit_dataset` on the slices of the runs.

    Returns
    -------
    Path
        The written file.

    Raises
    ------
    ValueError
        If `path` has another ending.

    Examples
    --------
    >>> import tempfile
    >>> import covidct
    >>> from covidct.report import write_checklist
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> path = write_checklist(cv.run(slices), f"{tempfile.mkdtemp()}/checklist.md")
    >>> "| 23a | performance |" in path.read_text(encoding="utf-8")
    True
    """
    runs = [results] if isinstance(results, CrossValidationResult) else list(results)
    path = Path(path)
    if path.suffix not in _WRITERS:
        raise ValueError(f"a checklist ends in .md or .csv, got {str(path)!r}")
    content = _WRITERS[path.suffix]([(run, checklist_tables(run, audit=audit)) for run in runs])
    write_text(path, content, errors="backslashreplace")
    return path


_Filled = Sequence[tuple[CrossValidationResult, Mapping[str, Table]]]


def _markdown(filled: _Filled) -> str:
    """Render each table below a heading.

    :meth:`Table.render` would pad every cell to the longest sentence of its column.
    """
    parts = []
    for _, tables in filled:
        for table in tables.values():
            rows = (table.header, ["---"] * len(table.header), *table.rows)
            # A vertical bar would end the cell.
            lines = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows]
            body = "\n".join(f"| {line} |" for line in lines)
            parts.append("\n\n".join([f"# {table.caption}", body, *table.notes]))
    return "\n\n".join(parts) + "\n"


def _csv(filled: _Filled) -> str:
    rows = [
        (_title(run), GUIDELINES[key].name, *row)
        for run, tables in filled
        for key, table in tables.items()
        for row in table.rows
    ]
    return Table(("run", "guideline", *_HEADER), rows).render("csv") + "\n"


_WRITERS: Mapping[str, Callable[[_Filled], str]] = {".md": _markdown, ".csv": _csv}
