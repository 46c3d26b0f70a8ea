"""The errors that covidct raises beside Python's own.

Each derives from the built-in that a caller would catch anyway, so ``except ValueError`` works.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["InvalidFileError", "TrainingDivergedError", "UnknownNameError"]


class InvalidFileError(ValueError):
    """A file cannot be read, or is not what it claims to be; the message names it."""


class TrainingDivergedError(RuntimeError):
    """A loss became NaN or infinite; the message says in which epoch and batch."""


class UnknownNameError(ValueError):
    """A name is in no registry; the message lists what was probably meant."""

    @classmethod
    def among(cls, kind: str, name: str, candidates: Iterable[str]) -> UnknownNameError:
        """Build the error that proposes the nearest of ``candidates``.

        Parameters
        ----------
        kind
            What the name should have named, such as ``"model"``.
        name
            The name that is unknown.
        candidates
            The names that exist.

        Returns
        -------
        UnknownNameError
            Ready to be raised.

        Examples
        --------
        >>> from covidct.errors import UnknownNameError
        >>> print(UnknownNameError.among("model", "resnet1", ["resnet18", "xception"]))
        unknown model 'resnet1'; did you mean 'resnet18'?
        """
        candidates = sorted(candidates)
        near = get_close_matches(name, candidates, n=3, cutoff=0.5)
        offer = ", ".join(map(repr, near or candidates))
        ending = f"did you mean {offer}?" if near else f"choose from {offer}"
        return cls(f"unknown {kind} {name!r}; {ending}")
