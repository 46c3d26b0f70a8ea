"""Script that mutates the source: the rewritten code, and the sorting of the mutants."""

from __future__ import annotations

import importlib.util
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
        "covidct.runs.splits.x__torn__mutmut_12": "covidct.runs.splits._torn",
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


def test_survivors_are_run_again_and_others_are_not(mutate):
    unit = mutate.Unit.named("evaluation/metrics.py")
    assert unit.modules == ("src/covidct/evaluation/metrics.py",)
    meta = unit.folder / "mutants/src/covidct/evaluation/metrics.py.meta"
    meta.parent.mkdir(parents=True)
    meta.write_text('{"exit_code_by_key": {"a": 0, "b": 1, "c": 33, "d": 36, "e": null}}')
    unit.forget_survivors()
    codes = {name: code for _, name, code in unit.results()}
    assert codes == {"a": None, "b": 1, "c": None, "d": 36, "e": None}


def test_an_unknown_package_or_module_is_refused(mutate):
    with pytest.raises(SystemExit, match="no package 'metrics'; choose from audit, "):
        mutate.Unit.named("metrics")
    with pytest.raises(SystemExit, match=r"no module src/covidct/evaluation/metric\.py"):
        mutate.Unit.named("evaluation/metric")
