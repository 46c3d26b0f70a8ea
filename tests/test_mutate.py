"""Script that mutates the source: the rewritten code, and the sorting of the mutants."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "tools/mutate.py"
SOURCE = '''
from functools import cached_property, lru_cache, wraps

def doubled(function):
    @wraps(function)
    def twice(*arguments):
        return 2 * function(*arguments)
    return twice

@doubled
@lru_cache(maxsize=2)
def three() -> int:
    """Return 3, twice."""
    return 3

class Square:
    def __init__(self, side):
        self.side = side

    @property
    def area(self): return self.side**2

    @cached_property
    def border(
        self,
    ):
        return 4 * self.side

    @staticmethod
    def corners():
        return 4

    @property
    def half(self):
        return self.side / 2

    @half.setter
    def half(self, value):
        self.side = 2 * value
'''


@pytest.fixture
def mutate(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("mutate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mutate", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "WORK", tmp_path)
    return module


def test_decorators_become_assignments_that_do_the_same(mutate):
    rewritten = mutate.undecorated(SOURCE)
    assert "three = doubled(lru_cache(maxsize=2)(three))" in rewritten
    assert "    border = cached_property(border)" in rewritten
    assert rewritten.count("@") == 2  # of the static method and of the setter
    names: dict[str, object] = {}
    exec(rewritten, names)
    square = names["Square"](3)
    assert names["three"]() == 6
    assert (square.area, square.border, square.corners()) == (9, 12, 4)
    assert "border" in vars(square)
    square.half = 5
    assert (square.side, square.half) == (10, 5)


def test_mutants_are_named_by_their_function(mutate):
    names = {
        "covidct.training.lamb.xǁLambǁstep__mutmut_3": "covidct.training.lamb.Lamb.step",
        "covidct.runs.splits.x__shared_groups__mutmut_12": "covidct.runs.splits._shared_groups",
    }
    for name, function in names.items():
        assert mutate.Mutant(name, "survived").function == function


def test_a_rule_names_one_function_and_one_change(mutate):
    mutant = mutate.Mutant("covidct.m.x_half__mutmut_1", "survived", "return a / 2", "return a * 2")
    exact = {"function": "m.half", "before": "return a / 2", "after": ["return a * 2"]}
    assert mutate.matches(exact, mutant)
    assert not mutate.matches(exact | {"function": "m.third"}, mutant)
    assert not mutate.matches(exact | {"after": ["return a / 3"]}, mutant)
    assert mutate.matches({"pattern": r"/ 2 -> .*\* 2$"}, mutant)
    assert not mutate.matches({"pattern": r"/ 3"}, mutant)


def test_every_equivalent_mutant_has_its_reason():
    rules = tomllib.loads(SCRIPT.with_name("equivalent_mutants.toml").read_text("utf-8"))["mutant"]
    for rule in rules:
        assert rule["reason"].endswith(".")
        assert ("pattern" in rule) != ("before" in rule and "after" in rule)


def test_survivors_are_run_again_and_others_are_not(mutate, monkeypatch):
    changes = {
        "a": ("x + 1", "x - 1"),
        "c": ("x < 1", "x > 1"),
        "f": ("zip(a, strict=True)", "zip(a)"),
    }
    monkeypatch.setattr(mutate, "changed_lines", lambda unit, path, name: changes[name])
    monkeypatch.setattr(mutate, "matches", lambda rule, mutant: "zip" in mutant.removed)
    unit = mutate.Unit.named("evaluation/metrics.py")
    assert unit.modules == ("src/covidct/evaluation/metrics.py",)
    meta = unit.folder / "mutants/src/covidct/evaluation/metrics.py.meta"
    meta.parent.mkdir(parents=True)
    meta.write_text('{"exit_code_by_key": {"a": 0, "b": 1, "c": 33, "d": 36, "e": null, "f": 0}}')
    unit.forget_survivors()
    codes = {name: code for _, name, code in unit.results()}
    assert codes == {"a": None, "b": 1, "c": None, "d": 36, "e": None, "f": 0}


def test_an_unknown_package_or_module_is_refused(mutate):
    with pytest.raises(SystemExit, match="no package 'metrics'; choose from audit, "):
        mutate.Unit.named("metrics")
    with pytest.raises(SystemExit, match=r"no module src/covidct/evaluation/metric\.py"):
        mutate.Unit.named("evaluation/metric")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="mutants are forked")
def test_mutants_are_forked_from_one_session(mutate, tmp_path):
    """A session of pytest with stand-ins for mutmut: its files, and the choice of the mutant."""
    name = "package.module.x_half__mutmut_{}"
    files = {
        "mutmut/__init__.py": "",
        "mutmut/mutation/__init__.py": "",
        "mutmut/mutation/trampoline.py": (
            "import os\ndef set_mutant_under_test(name): os.environ['MUTANT'] = name\n"
        ),
        "setproctitle.py": "def setproctitle(title): pass\n",
        "pyproject.toml": "[tool.pytest.ini_options]\nmarkers = ['slow']\n",
        "test_half.py": (
            "import os, sys\n"
            "def half(n):\n"
            "    mutant = os.environ.get('MUTANT', '')\n"
            "    if mutant == 'fail': raise RuntimeError\n"
            "    return {'1': n * 2, '2': n / 2 + 0, '3': sys.exit}.get(mutant[-1:], n / 2)\n"
            "def test_slow(): assert half(8) == 4\n"
            "def test_fast(tmp_path): assert half(0) == 0\n"
            "def test_of_another_function(): assert 'MUTANT' in os.environ\n"
        ),
        "mutmut-stats.json": json.dumps(
            {
                "duration_by_test": {
                    "test_half.py::test_slow": 1.0,
                    "test_half.py::test_fast": 0.1,
                },
                "tests_by_mangled_function_name": {
                    "package.module.x_half": ["test_half.py::test_slow", "test_half.py::test_fast"]
                },
            }
        ),
        "src/module.py.meta": json.dumps(
            {
                "exit_code_by_key": {
                    **{name.format(number): None for number in range(1, 4)},
                    "package.module.x_other__mutmut_1": None,
                    "package.module.x_half__mutmut_4": 36,
                }
            }
        ),
    }
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    paths = os.pathsep.join(map(str, (tmp_path, SCRIPT.parent)))
    environment = os.environ | {"PYTHONPATH": paths, "COVIDCT_MUTANTS_AT_A_TIME": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *mutate.PYTEST, "test_half.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    codes = json.loads((tmp_path / "src/module.py.meta").read_text("utf-8"))["exit_code_by_key"]
    assert list(codes.values()) == [1, 0, 1, 33, 36], done.stdout + done.stderr
