"""The directive ``overview``: the accuracies of all networks, datasets and protocols in one table.

It reads the files that ``measured`` shows. The key ``"overview"`` of a file lists cells: the
network, the dataset, the column, and where the accuracy and its interval are in the table of the
file, each as [row, column]. A file with the key ``"version"`` was made with an earlier version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import isnan
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import covidct
from covidct.evaluation import published

COLUMNS = {
    "paper": "random split",
    "grouped": "grouped split",
    "official": "official split",
    "external": "another source",
}
DATASETS = {"covid19-ct": "COVID19-CT", "sars-cov-2-ct": "SARS-CoV-2 CT"}


def cell_of(table: dict[str, Any], place: list[Any]) -> str:
    row, column = place
    return str(table["rows"][row][table["columns"].index(column)])


def read_cells(folder: Path) -> dict[tuple[str, str, str], str]:
    """Return the text of each cell by network, dataset and column."""
    cells: dict[tuple[str, str, str], str] = {}
    for path in sorted(folder.glob("*.json")):
        table = json.loads(path.read_text("utf-8"))
        for entry in table.get("overview", ()):
            place = entry["network"], entry["dataset"], entry["column"]
            if place in cells:
                raise ValueError(f"{path.name} gives another value for {', '.join(place)}")
            value, interval = (cell_of(table, entry[key]) for key in ("value", "interval"))
            mark = " [#earlier]_" if "version" in table else ""
            cells[place] = f"| :ref:`{value} <{path.stem}>`{mark}\n| {interval}"
    return cells


def printed(network: str, dataset: str) -> str:
    """Return the accuracy that the paper gives."""
    for result in published.results(dataset=dataset, network=network):
        if result.comparable:
            mean, sd = result.metrics["accuracy"]
            return f"{100 * mean:.1f}" + ("" if isnan(sd) else f" ± {100 * sd:.1f}")
    return ""


def lines_of(folder: Path) -> Iterator[str]:
    cells = read_cells(folder)
    yield ".. list-table:: Accuracy in percent: mean ± standard deviation, and 95 % interval"
    yield "   :header-rows: 1"
    yield "   :class: measured overview"
    yield ""
    rows = [["network", "dataset", "printed in the paper", *COLUMNS.values()]]
    for dataset, title in DATASETS.items():
        for network in covidct.list_models():
            own = [cells.get((network, dataset, column), "") for column in COLUMNS]
            paper = printed(network, dataset)
            if paper or any(own):
                rows.append([covidct.model_info(network).title, title, paper, *own])
    for row in rows:
        for k, text in enumerate(row):
            first, *others = text.splitlines() or [""]
            yield f"   {'* -' if k == 0 else '  -'} {first}"
            yield from (f"{'':7}{line}" for line in others)
    yield ""


class Overview(SphinxDirective):
    """The folder of the files is the argument."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.srcdir) / self.arguments[0]
        for path in folder.glob("*.json"):
            self.env.note_dependency(str(path))
        lines = StringList(list(lines_of(folder)), source=self.arguments[0])
        return self.parse_text_to_nodes(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("overview", Overview)
    return {"parallel_read_safe": True}
