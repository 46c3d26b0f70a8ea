"""Link names to where users import them from, leave out what says nothing, name arrays shortly."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import covidct

# Annotations name the module that defines a class; the reference has it under ``covidct``.
_PUBLIC = {
    f"{value.__module__}.{value.__qualname__}": f"covidct.{name}"
    for name in covidct.__all__
    if hasattr(value := getattr(covidct, name), "__qualname__")
} | {"covidct.published": covidct.published.__name__}


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
    """Link a name that is documented under its public path."""
    target = _PUBLIC.get(node.get("reftarget", ""))
    if target is None:
        return None
    domain = env.domains["py"]
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, node["reftype"], target, node, content
    )


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
