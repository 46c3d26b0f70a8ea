"""The public names: documented, typed, and public on purpose."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

import covidct

PACKAGE = Path(covidct.__file__).parent
MODULES = sorted(
    ".".join(("covidct", *file.with_suffix("").parts)).removesuffix(".__init__")
    for file in (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    if file.name == "__init__.py"
    or not (file.parts[0] == "cli" or any(part.startswith("_") for part in file.parts))
)
PUBLIC = [name for name in covidct.__all__ if not name.startswith("__")]
# What the reference lists: each public name, and the parts behind them that stand for themselves.
PAGES = sorted((Path(__file__).parents[1] / "docs/reference").glob("*.rst"))
LISTS = "\n".join(page.read_text("utf-8").partition(":hidden:")[0] for page in PAGES)
REFERENCE = re.findall(r"^   ([a-zA-Z][\w.]*)$", LISTS, re.M)
NAMES = sorted({*PUBLIC, *REFERENCE})
# What numpydoc may find: summaries, every parameter described and none invented, returns, examples.
REQUIRED = {
    *("GL03", "GL05", "GL06", "GL07", "GL08", "SS01", "SS02", "SS03", "SS06"),
    *("PR01", "PR02", "PR03", "PR07", "PR08", "PR09", "RT01", "RT04", "RT05"),
    *("YD01", "EX01"),
}
MEMBERS = (FunctionType, classmethod, staticmethod, property, cached_property)
INTERNAL = {"Refusal"}  # reaches no caller: an InvalidFileError that names the file takes its place
Documented = tuple[str, Any, type | None]  # import path, object, the class that it is a member of


def find(name: str) -> object:
    """Import what a name below ``covidct`` stands for, a module or something in one."""
    head, _, last = f"covidct.{name}".rpartition(".")
    return getattr(import_module(head), last, None) or import_module(f"covidct.{name}")


def documented(value: object) -> Iterator[Documented]:
    """Yield what a public name stands for: itself, a module's names, a class's members."""
    if isinstance(value, ModuleType):
        for name in value.__all__:
            yield from documented(getattr(value, name))
    elif inspect.isclass(value) or inspect.isfunction(value):
        path = f"{value.__module__}.{value.__qualname__}"
        yield path, value, None
        for name, member in vars(value).items() if inspect.isclass(value) else ():
            if not name.startswith("_") and isinstance(member, MEMBERS):
                yield f"{path}.{name}", member, value


def written(value: Any) -> list[Callable[..., Any]]:
    """List the functions whose hints and errors the docstring of ``value`` answers for."""
    if inspect.isclass(value):
        names = ("__init__", "__post_init__", "__call__")
        return [f for name in names if (f := vars(value).get(name)) and f.__module__ != "typing"]
    for wrapped in ("__func__", "fget", "func"):
        value = getattr(value, wrapped, value)
    return [inspect.unwrap(value)]


def raised(function: Callable[..., Any]) -> set[str]:
    """Name the exceptions that a function raises by itself."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except OSError:  # made by dataclass, not written
        return set()
    calls = (node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise))
    made = (ast.unparse(call.func) for call in calls if isinstance(call, ast.Call))
    names = {name.removesuffix(".among").rpartition(".")[2] for name in made}
    return {name for name in names if not name.startswith("_")}  # functions that make an error


def problems(path: str, value: Any, owner: type | None) -> Iterator[str]:
    found = {code: text for code, text in validate(path)["errors"] if code in REQUIRED}
    doc = NumpyDocString(inspect.getdoc(value) or "")
    excused: tuple[str, ...] = ()
    if owner is not None:
        excused = ("EX",)  # the class shows its use
        inherited = (vars(base) for base in owner.__mro__[1:])
        if any(path.rpartition(".")[2] in names for names in inherited):
            excused += ("PR", "RT")  # the base class documents them
    elif inspect.isclass(value) and issubclass(value, BaseException):
        excused = ("PR", "EX")
    elif dataclasses.is_dataclass(value) or (inspect.isclass(value) and issubclass(value, tuple)):
        fields = {name for entry in doc["Attributes"] for name in entry.name.split(", ")}
        if fields >= set(inspect.signature(value).parameters):
            excused = ("PR01", "EX")  # a record lists its fields; what returns it shows its use
    yield from (text for code, text in found.items() if not code.startswith(excused or "none"))
    told = INTERNAL | {(error.type or error.name).rpartition(".")[2] for error in doc["Raises"]}
    for function in written(value):
        yield from (f"{name} not under Raises" for name in sorted(raised(function) - told))


@pytest.mark.parametrize("name", MODULES)
def test_all_is_sorted_and_complete(name: str) -> None:
    module = import_module(name)
    assert module.__doc__, "the module says nothing of itself"
    public = getattr(module, "__all__", [])
    assert public == sorted(public, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    assert all(hasattr(module, n) for n in public)
    defined_here = {
        n
        for n, value in vars(module).items()
        if not n.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == name
    }
    assert defined_here <= set(public), "public by accident"


@pytest.mark.parametrize("name", NAMES)
def test_docstrings(name: str) -> None:
    found = [
        f"{path}: {problem}"
        for path, value, owner in documented(find(name))
        for problem in problems(path, value, owner)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", NAMES)
def test_type_hints_are_complete(name: str) -> None:
    missing = []
    for path, value, _ in documented(find(name)):
        for function in written(value):
            signature = inspect.signature(function)
            hints = {p.name: p.annotation for p in signature.parameters.values()}
            hints = {k: v for k, v in hints.items() if k not in ("self", "cls", "_cls")}
            hints["return"] = signature.return_annotation
            missing += [f"{path}: {k}" for k, v in hints.items() if v is inspect.Signature.empty]
    assert not missing


def test_the_reference_has_every_public_name() -> None:
    listed = {path for name in REFERENCE for path, *_ in documented(find(name))}
    public = {path for name in PUBLIC for path, *_ in documented(find(name))}
    assert sorted(public - listed) == []


def test_the_package_lists_its_public_names() -> None:
    assert dir(covidct) == sorted(covidct.__all__)
    for name in covidct.__all__:
        assert getattr(covidct, name) is not None
    with pytest.raises(AttributeError, match="'covidct' has no attribute 'creat_model'"):
        covidct.creat_model  # noqa: B018  # to look it up is the test


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("pass", "torch numpy PIL scipy sklearn matplotlib jinja2 joblib importlib.metadata"),
        ("covidct.list_models(), covidct.model_info('resnet18')", "torch torchvision timm"),
        ("covidct.list_datasets(), covidct.dataset_info('covid19-ct')", "torch torchvision timm"),
        ("covidct.evaluation, covidct.published, covidct.errors", "torch torchvision timm"),
        ("import covidct.cli", "torch torchvision timm sklearn matplotlib"),
    ],
)
def test_a_light_call_imports_nothing_heavy(statement: str, absent: str) -> None:
    code = f"import sys, covidct\n{statement}\nprint(set({absent.split()}) & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("find", [covidct.create_model, covidct.model_info, covidct.dataset_info])
@pytest.mark.parametrize("name", [None, 18, Path("resnet18.pth")])
def test_a_value_of_another_type_is_an_unknown_name(find, name):
    with pytest.raises(
        covidct.errors.UnknownNameError, match=rf"unknown \w+ {re.escape(repr(name))}"
    ):
        find(name)
