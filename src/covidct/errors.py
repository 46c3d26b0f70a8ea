"""Exceptions of covidct, each derived from a built-in exception.

For example, ``except ValueError`` also catches the error of a damaged file.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["InvalidFileError", "InvalidSliceError", "TrainingDivergedError", "UnknownNameError"]


class InvalidFileError(ValueError):
    """A file is damaged or not of the expected kind; the message names the file."""


class InvalidSliceError(InvalidFileError):
    """A slice cannot be read; ``on_error="skip"`` leaves it out where slices are loaded."""


class TrainingDivergedError(RuntimeError):
    """The loss of a training became NaN or infinite; the message names the epoch and batch."""


class UnknownNameError(ValueError):
    """A name is not registered; the message lists similar names."""

    @classmethod
    def among(cls, kind: str, name: str, candidates: Iterable[str]) -> UnknownNameError:
        """Create an error whose message lists the most similar candidates.

        Parameters
        ----------
        kind : str
            Kind of the named object, such as ``"model"``.
        name : str
            The unknown name.
        candidates : iterable of str
            Valid names.

        Returns
        -------
        UnknownNameError
            The error, to be raised by the caller.

        Examples
        --------
        >>> from covidct.errors import UnknownNameError
        >>> print(UnknownNameError.among("model", "resnet1", ["resnet18", "xception"]))
        unknown model 'resnet1'; did you mean 'resnet18'?
        """
        candidates = sorted(candidates)
        if not candidates:
            return cls(f"unknown {kind} {name!r}; there are no names to choose from")
        near = get_close_matches(str(name), candidates, n=3, cutoff=0.5)
        offer = ", ".join(map(repr, near or candidates))
        ending = f"did you mean {offer}?" if near else f"choose from {offer}"
        return cls(f"unknown {kind} {name!r}; {ending}")
