"""The directive ``measured``: tables of numbers that runs wrote, never typed in by hand.

``.. measured:: results/lamb.json`` shows the table of one file, a pattern those of several. A file
is ``{"title", "command", "machine", "date", "columns": [...], "rows": [[...], ...],
"notes": [...]}``; ``notes`` may be left out. Cells and notes are reStructuredText. A file with
``"version"`` was made with that version and is marked. A reference to the name of the file leads to
its table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

REQUIRED = ("title", "command", "machine", "date", "columns", "rows")


def lines_of(name: str, table: dict[str, Any]) -> Iterator[str]:
    yield f".. list-table:: {table['title']}"
    yield "   :header-rows: 1"
    yield "   :class: measured"
    yield f"   :name: {name}"
    yield ""
    for row in (table["columns"], *table["rows"]):
        cells = ["" if cell is None else str(cell) for cell in row]
        yield from (f"   {'* -' if k == 0 else '  -'} {cell}" for k, cell in enumerate(cells))
    yield ""
    if "version" in table:
        yield "Made with an earlier development version; see the note at the top of this page."
        yield ""
    yield from (f"{note}\n" for note in table.get("notes", ()))
    yield ""
    yield f"Measured {table['date']} on {table['machine']}:"
    yield ""
    yield ".. code-block:: console"
    yield ""
    yield from (f"   {line}" for line in table["command"].splitlines())
    yield ""


class Measured(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.srcdir)
        paths = sorted(folder.glob(self.arguments[0]))
        if not paths:
            raise self.error(f"no file matches {self.arguments[0]}")
        text: list[str] = []
        for path in paths:
            self.env.note_dependency(str(path))
            table = json.loads(path.read_text("utf-8"))
            missing = [key for key in REQUIRED if key not in table]
            if missing:
                raise self.error(f"{path.name} lacks {', '.join(missing)}")
            text += "\n".join(lines_of(path.stem, table)).splitlines()
        return self.parse_text_to_nodes(StringList(text, source=self.arguments[0]))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("measured", Measured)
    return {"parallel_read_safe": True}
