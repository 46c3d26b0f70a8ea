"""The directive ``command-help``: what ``covidct VERB --help`` prints."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from unittest import mock

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from covidct.cli import main


class CommandHelp(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        text = io.StringIO()
        plain = {"COLUMNS": "76", "NO_COLOR": "1"}
        with mock.patch.dict(os.environ, plain), redirect_stdout(text):
            try:
                main([self.arguments[0], "--help"])
            except SystemExit as end:
                if end.code:
                    raise self.error(f"covidct {self.arguments[0]} --help failed") from end
        block = nodes.literal_block(text.getvalue(), text.getvalue())
        block["language"] = "text"
        return [block]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": False}
