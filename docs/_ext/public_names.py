"""Link names under any of their import paths, and shorten signatures."""

from __future__ import annotations

import re
from importlib import import_module
from types import ModuleType

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

PACKAGES = (
    *("", ".datasets", ".models", ".training", ".evaluation", ".audit", ".runs", ".explain"),
    ".report",
)


def aliases() -> dict[str, tuple[str, ...]]:
    """Map each import path of a public object to all its import paths.

    Annotations name the module that defines a class, and pages name the package that re-exports
    it; the reference documents it under one of them.
    """
    groups: dict[int, list[str]] = {}
    for name in PACKAGES:
        path = f"covidct{name}"
        package = import_module(path)
        for public in package.__all__:
            value = getattr(package, public)
            paths = groups.setdefault(id(value), [])
            paths.append(f"{path}.{public}")
            if hasattr(value, "__qualname__"):
                paths.append(f"{value.__module__}.{value.__qualname__}")
            elif isinstance(value, ModuleType):
                paths.append(value.__name__)
    return {path: tuple(paths) for paths in groups.values() for path in paths}


_ALIASES = aliases()

# NumPy's names of types arrive spelled out; these are their names again.
_ARRAYS = (
    (
        r"~?numpy\._typing\._array_like\._Buffer \|.*?_NestedSequence\[complex \| bytes \| str\]",
        "~numpy.typing.ArrayLike",
    ),
    (
        r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[([^\[\]]+)\]\]",
        r"~numpy.typing.NDArray[\1]",
    ),
)


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Link a name, or a member of it, that is documented under another of its paths."""
    domain = env.domains["py"]
    target = node.get("reftarget", "")
    owner, _, member = target.rpartition(".")
    found = [*_ALIASES.get(target, ()), *(f"{path}.{member}" for path in _ALIASES.get(owner, ()))]
    for path in found:
        link = domain.resolve_xref(
            env, node["refdoc"], app.builder, node["reftype"], path, node, content
        )
        if link is not None:
            return link
    return None


def skip(app: Sphinx, kind: str, name: str, member: object, leave: bool, options: object) -> bool:
    """Skip the fields of named tuples, whose docstrings are "Alias for field number 0"."""
    return leave or (getattr(member, "__doc__", None) or "").startswith("Alias for field number")


def shorten(
    app: Sphinx,
    kind: str,
    name: str,
    value: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Name types as the source does; write a factory's default in a way that Sphinx can parse."""

    def short(text: str | None) -> str | None:
        for spelled_out, name in _ARRAYS if text else ():
            text = re.sub(spelled_out, name, text)
        return text and text.replace("<factory>", "...")

    return short(signature), short(returns)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("missing-reference", resolve)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", shorten)
    return {"parallel_read_safe": True}
