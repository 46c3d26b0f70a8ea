"""Link each name to where users import it from, and leave out members that say nothing."""

from __future__ import annotations

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


def show_defaults(
    app: Sphinx,
    kind: str,
    name: str,
    value: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str, str | None] | None:
    """Write defaults that a factory makes in a way that Sphinx can parse."""
    if signature is None or "<factory>" not in signature:
        return None
    return signature.replace("<factory>", "..."), returns


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("missing-reference", resolve)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", show_defaults)
    return {"parallel_read_safe": True}
