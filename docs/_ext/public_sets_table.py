"""The directive ``public-sets``: a table of the public sets out of the registry."""

from __future__ import annotations

from collections.abc import Iterator

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import covidct

OWN = ("folder", "table", "phantom")
HEADER = ("name", "units", "COVID-19", "others", "patients", "split", "license", "tested on")


def cells(info: covidct.DatasetInfo) -> list[str]:
    others, covid = ("–", "–") if info.counts is None else (f"{n:,}" for n in info.counts)
    return [
        f"`{info.name} <{info.home}>`__",
        info.unit,
        covid,
        others,
        "–" if info.patients is None else f"{info.patients:,}",
        info.split.partition(";")[0] or "–",
        info.license.partition(";")[0],
        info.tested_on,
    ]


def lines_of(caption: str) -> Iterator[str]:
    yield f".. list-table:: {caption}"
    yield "   :header-rows: 1"
    yield "   :class: measured"
    yield ""
    names = [name for name in covidct.list_datasets() if covidct.dataset_info(name).tested_on]
    rows = [cells(covidct.dataset_info(name)) for name in names if name not in OWN]
    for row in [list(HEADER), *rows]:
        yield from (f"   {'* -' if k == 0 else '  -'} {text}" for k, text in enumerate(row))
    yield ""


class PublicSets(SphinxDirective):
    """The content is the caption."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        lines = list(lines_of(" ".join(self.content)))
        return self.parse_text_to_nodes(StringList(lines, source="covidct.list_datasets"))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("public-sets", PublicSets)
    return {"parallel_read_safe": True}
