"""Lazy re-exports: a package offers public names without importing the modules that define them.

A package's ``__init__.py`` names its public objects three times: under ``TYPE_CHECKING``, where
type checkers and editors read them; in the call of :func:`attach`, which serves them at run time;
and in ``__all__``. Copy this form::

    from __future__ import annotations

    from typing import TYPE_CHECKING

    from .._lazy import attach

    if TYPE_CHECKING:
        from . import figures
        from .metrics import accuracy, auc
    else:
        __getattr__, __dir__ = attach(
            __name__,
            {"metrics": ("accuracy", "auc")},
            submodules=("figures",),
        )

    __all__ = ["accuracy", "auc", "figures"]

``from covidct.evaluation import accuracy`` then imports ``covidct.evaluation.metrics``, and
``import covidct.evaluation`` imports nothing else. A name must not equal the name of a module in
the package unless it is listed in ``submodules``, since importing the module would replace it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module

__all__ = ["attach"]


def attach(
    package: str,
    names: Mapping[str, Iterable[str]],
    *,
    submodules: Iterable[str] = (),
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Build the ``__getattr__`` and ``__dir__`` of a package (PEP 562).

    Parameters
    ----------
    package : str
        Name of the package: its ``__name__``.
    names : mapping of str to iterable of str
        Public names by the module that defines them, relative to the package:
        ``{"metrics": ("accuracy", "auc")}``.
    submodules : iterable of str, default=()
        Modules of the package that are public themselves.

    Returns
    -------
    getattr : callable
        Imports the module of a name when the name is first used, and keeps the value in the
        package. Raises AttributeError for all other names.
    dir : callable
        Returns the sorted ``__all__`` of the package.

    Examples
    --------
    >>> from covidct._lazy import attach
    >>> get, _ = attach("covidct", {"errors": ["InvalidFileError"]}, submodules=["errors"])
    >>> get("InvalidFileError").__name__, get("errors").__name__
    ('InvalidFileError', 'covidct.errors')
    """
    module_of = {name: module for module, public in names.items() for name in public}
    modules = frozenset(submodules)

    def __getattr__(name: str) -> object:
        if name in modules:
            return import_module(f"{package}.{name}")
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted(sys.modules[package].__all__)

    return __getattr__, __dir__
