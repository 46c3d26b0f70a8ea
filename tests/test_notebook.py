"""The example notebook runs from beginning to end in Jupyter, and shows what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs Jupyter")
nbclient = pytest.importorskip("nbclient", reason="needs Jupyter")
pytest.importorskip("ipykernel", reason="needs Jupyter")

SLOW = r"n=96|cv=3|scaled\(20\)|\(96, 128\)"
EXAMPLE = Path(__file__).parents[1] / "examples/in_a_notebook.py"


@pytest.mark.timeout(180)
def test_the_example_notebook_runs(tmp_path):
    cells = [
        nbformat.v4.new_code_cell(
            re.sub(r"n=96|cv=3|scaled\(20\)|\(96, 128\)", _shorter, text.strip())
        )
        for text in re.split(r"^# %%.*$", EXAMPLE.read_text("utf-8"), flags=re.M)[1:]
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=150, resources=resources).execute()
    kinds = [{kind for out in cell.outputs for kind in out.get("data", ())} for cell in cells]
    assert sum("text/html" in found for found in kinds) >= 5  # dataset, audit, model, result, ...
    assert sum("image/png" in found for found in kinds) == 3
    assert not [out for cell in cells for out in cell.outputs if out.output_type == "error"]


def _shorter(match: re.Match[str]) -> str:
    shorter = {"n=96": "n=16", "cv=3": "cv=2", "scaled(20)": "scaled(1)", "(96, 128)": "(48, 64)"}
    return shorter[match[0]]
