from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    threads = torch.get_num_threads()

    def load(name: str) -> ModuleType:
        if name == "grad_cam":
            pytest.importorskip("pytorch_grad_cam", reason="needs the extra benchmark")
        spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    yield load
    sys.modules.pop("_common", None)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_shows_a_command_and_json(script, load, capsys):
    with pytest.raises(SystemExit) as end:
        load(script).main(["--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0
    assert f"python benchmarks/{script}.py" in shown
    assert "--json FILE" in shown


@pytest.mark.parametrize(
    "script",
    sorted(
        set(SCRIPTS)
        - {"audit", "demo", "export", "intervals_and_tests", "operating_points", "retraining"}
        - {"subgroups"}
    ),
)
def test_fewer_than_three_turns_are_refused(script, load, capsys):
    with pytest.raises(SystemExit):
        load(script).main(["--rounds", "2"])
    assert "must be at least 3, got 2" in capsys.readouterr().err


def test_turns_are_interleaved_and_the_first_is_not_counted(load):
    order: list[str] = []
    runs = {name: lambda name=name: order.append(name) for name in "ab"}
    wall, processor = load("_common").take_turns(runs, 3)
    assert order == ["a", "b"] * 4
    assert [len(times[name]) for times in (wall, processor) for name in "ab"] == [3] * 4


def test_ratio_compares_within_turns(load):
    loaded = {"ours": [1.0, 10.0, 2.0], "theirs": [2.0, 20.0, 5.0]}
    assert load("_common").ratio(loaded, "ours", "theirs") == 2.0


def test_lamb_writes_what_it_prints(load, tmp_path, capsys):
    file = tmp_path / "lamb.json"
    arguments = ["--models", "squeezenet", "--steps", "1", "--rounds", "3", "--threads", "1"]
    assert load("lamb").main([*arguments, "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    (result,) = report["results"]
    assert result["largest difference after 3 steps"] < 1e-5
    assert f"{result['ratio']:.2f}" in capsys.readouterr().out
    assert report["options"]["threads"] == 1
    assert set(report["machine"]["versions"]) == {"covidct", "torch", "torch-optimizer"}
