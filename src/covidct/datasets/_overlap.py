"""Registered datasets that are known to share slices or patients."""

from __future__ import annotations

from collections.abc import Sequence

from .registry import dataset_info, list_datasets


class OverlapError(ValueError):
    """Error that two datasets are known to share slices or patients."""


def refuse_overlap(a: Sequence[str], b: Sequence[str], subject: str) -> None:
    """Raise OverlapError if registered datasets are known to share slices.

    A dataset does not overlap with itself, since two subsets of it may have no slice in common.

    Parameters
    ----------
    a, b : sequence of str
        Registry names of the datasets on each side; unknown names do not overlap with others.
    subject : str
        Beginning of the message, such as ``"'a' and 'b' cannot be joined"``.
    """
    known = list_datasets()
    contained = {name: dataset_info(name).contains for name in (*a, *b) if name in known}
    found = [
        f"{one!r} shares slices or patients with {two!r}"
        for one in a
        for two in b
        if one != two and (two in contained.get(one, ()) or one in contained.get(two, ()))
    ]
    if found:
        raise OverlapError(
            f"{subject}: {'; '.join(found)}. If the common slices were "
            'removed, load the files with covidct.load_dataset("folder", ...) or "table"'
        )
