"""Modules that the command line imports first."""

from __future__ import annotations

import sys

import pytest

import covidct
from covidct import cli

REGISTRATIONS = """
import dataclasses
import covidct

network = dataclasses.replace(covidct.model_info("shufflenet"), name="{name}-net")
covidct.register_model(network)
covidct.register_dataset(covidct.DatasetInfo("{name}-slices", "Slices of {name}"))
"""


@pytest.mark.parametrize("by_path", [True, False])
def test_imported_modules_register_networks_and_datasets(
    by_path, slice_folder, tmp_path, monkeypatch, capsys
):
    name = f"imported{by_path}".lower()
    module = tmp_path / f"{name}.py"
    module.write_text(REGISTRATIONS.format(name=name))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    option = ["--import", str(module) if by_path else name]
    assert cli.main(["models", f"{name}-*", *option]) == 0
    assert capsys.readouterr().out == f"{name}-net\n"
    assert covidct.model_info(f"{name}-net").title == "ShuffleNet"
    assert cli.main(["audit", "--dataset", f"{name}-slices={slice_folder}", *option]) == 0
    assert "12 slices" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("no_such_module_here", "--import cannot import 'no_such_module_here'"),
        ("nowhere.py", "the file 'nowhere.py' does not exist"),
        ("json.py", "another module is already called 'json'"),
    ],
)
def test_wrong_imports_are_wrong_calls(module, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "json.py").write_text("")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    assert cli.main(["models", "--import", module]) == 2
    assert message in capsys.readouterr().err
