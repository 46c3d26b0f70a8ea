from __future__ import annotations

import subprocess
import sys

import pytest


def modules_after(code: str) -> set[str]:
    """Return what a new interpreter has imported after the code."""
    code = f"import sys\n{code}\nprint(' '.join(sys.modules), file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stderr.split())


def test_import_is_lazy():
    assert {"torch", "numpy"}.isdisjoint(modules_after("import covidct"))
    assert "torch" in modules_after("import covidct; covidct.Recipe; covidct.Lamb")


@pytest.mark.parametrize("arguments", [["models"], ["models", "resnet18"], ["datasets"]])
def test_lists_need_no_torch(arguments):
    modules = modules_after(f"from covidct.cli import main\nassert main({arguments}) == 0")
    assert "covidct.cli" in modules
    assert "torch" not in modules


def test_help_needs_no_torch():
    code = "from covidct.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert "torch" not in modules_after(code)
