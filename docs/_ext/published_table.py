"""The directive ``published``: what others printed for a dataset, out of `covidct.published`."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from covidct import published
from covidct.evaluation.metrics import METRICS, PAPER_METRICS


def cell(spread: published.Spread | None) -> str:
    if spread is None:
        return "–"
    return f"{100 * spread.mean:.1f}" + ("" if isnan(spread.sd) else f" ± {100 * spread.sd:.1f}")


def source(result: published.PublishedResult) -> str:
    return "the paper" if result.comparable else result.citation.partition(", quoted")[0]


def lines_of(caption: str, results: list[published.PublishedResult]) -> Iterator[str]:
    yield f".. list-table:: {caption}"
    yield "   :header-rows: 1"
    yield "   :class: measured"
    yield ""
    header = ["network", *(METRICS[name].title for name in PAPER_METRICS), "source"]
    rows = [
        [r.network, *(cell(r.metrics.get(name)) for name in PAPER_METRICS), source(r)]
        for r in results
    ]
    for row in [header, *rows]:
        yield from (f"   {'* -' if k == 0 else '  -'} {text}" for k, text in enumerate(row))
    yield ""


class Published(SphinxDirective):
    """The dataset is the argument; the content is the caption."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        results = published.results(dataset=self.arguments[0])
        if not results:
            raise self.error(f"nothing published on {self.arguments[0]!r}")
        lines = list(lines_of(" ".join(self.content), list(results)))
        return self.parse_text_to_nodes(StringList(lines, source="covidct.published"))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("published", Published)
    return {"parallel_read_safe": True}
