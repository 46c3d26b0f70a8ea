"""The example notebook runs from beginning to end in Jupyter, and shows what it says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

EXAMPLE = Path(__file__).parents[1] / "examples/in_a_notebook.py"


SHORTER = {"n=96": "n=16", "cv=3": "cv=2", "scaled(6)": "scaled(1)", "(96, 128)": "(48, 64)"}


def cells() -> list[str]:
    """Return the code of the cells, with few slices and epochs."""
    text = EXAMPLE.read_text("utf-8")
    for long, short in SHORTER.items():
        assert long in text
        text = text.replace(long, short)
    return [cell.strip() for cell in re.split(r"^# %%.*$", text, flags=re.M)[1:]]


def test_the_cells_run_and_show_what_they_end_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names: dict[str, object] = {}
    shown = []
    for cell in cells():
        tree = ast.parse(cell)
        last = tree.body[-1]
        if isinstance(last, ast.Expr):
            tree.body[-1] = ast.Assign([ast.Name("_", ast.Store())], last.value)
        exec(compile(ast.fix_missing_locations(tree), str(EXAMPLE), "exec"), names)
        if isinstance(last, ast.Expr):
            shown.append(names["_"])
    pages = [page for page in (getattr(value, "_repr_html_", str)() for value in shown) if page]
    assert len(pages) >= 5  # dataset, audit, model, result, ...
    assert len(plt.get_fignums()) == 3
    plt.close("all")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_notebook_runs_in_jupyter(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="needs Jupyter")
    nbclient = pytest.importorskip("nbclient", reason="needs Jupyter")
    pytest.importorskip("ipykernel", reason="needs Jupyter")
    made = [nbformat.v4.new_code_cell(cell) for cell in cells()]
    notebook = nbformat.v4.new_notebook(cells=made)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=250, resources=resources).execute()
    kinds = [{kind for out in cell.outputs for kind in out.get("data", ())} for cell in made]
    assert sum("text/html" in found for found in kinds) >= 5
    assert sum("image/png" in found for found in kinds) == 3
    assert not [out for cell in made for out in cell.outputs if out.output_type == "error"]
