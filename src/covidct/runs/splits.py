"""A dataset and a protocol become folds, checked before any training begins."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from numbers import Integral
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, check_cv

from .._checks import whole
from ..audit.duplicates import near_duplicate_groups
from ..datasets.ct_dataset import CTDataset
from ..evaluation._inputs import group_names

__all__ = ["Fold", "LeakageWarning", "Split", "Splitter", "make_split"]

Index = npt.NDArray[np.int64]


class LeakageWarning(UserWarning):
    """Slices that belong together may stand on both sides of a split."""


@runtime_checkable
class Splitter(Protocol):
    """What scikit-learn calls a cross-validation splitter."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterable[tuple[Any, Any]]:
        """Yield pairs of training and test positions."""


@dataclass(frozen=True)
class Fold:
    """One split of a dataset into positions to train on and positions to test on.

    Attributes
    ----------
    train, test
        Positions, without a common one.
    validation
        Positions that serve neither: they fit temperature and threshold of an official split.
    """

    train: Index
    test: Index
    validation: Index


@dataclass(frozen=True)
class Split:
    """The folds of a protocol.

    Attributes
    ----------
    protocol
        ``"paper"`` (random slices), ``"grouped by patient"``, ``"grouped by near-duplicate"``,
        ``"grouped by given groups"``, ``"official"``, ``"given folds"`` or the name of the
        splitter.
    folds
        The folds.
    groups
        (N,) labels of what belongs together, whether the split keeps it together or not: groups
        that were given, those that the dataset knows, or else near-duplicates, found by their
        pixels; None where nothing is known or found.
    group_kind
        What a group is, such as ``"patient"``; None where nothing is known or found.
    """

    protocol: str
    folds: tuple[Fold, ...]
    groups: npt.NDArray[np.str_] | None
    group_kind: str | None


def make_split(
    dataset: CTDataset,
    cv: int | str | Splitter | Iterable[tuple[Any, Any]] = 5,
    *,
    groups: str | Sequence[object] | npt.NDArray[Any] | None = None,
    seed: int = 0,
    repeats: int = 5,
) -> Split:
    """Split a dataset as a protocol wants it.

    Parameters
    ----------
    dataset
        The slices.
    cv
        A number of stratified folds, ``"official"`` for the split that the dataset's authors
        made, a splitter of scikit-learn, or pairs of training and test positions.
    groups
        What must not be torn apart: ``"patient"`` (the dataset's own groups), ``"near-duplicate"``
        (found by their pixels; a lower bound on leakage), one label per slice, or None: slices
        are split at random, as in the paper.
    seed
        Seed of the shuffling.
    repeats
        How often an official split is run, each time from another seed.

    Returns
    -------
    Split
        Folds whose training and test positions are disjoint, in slices and in groups.

    Raises
    ------
    ValueError
        If the dataset can't be split so: unknown groups or official split, a class with fewer
        slices (or groups) than folds, a fold with one class only.

    Warns
    -----
    LeakageWarning
        If slices are split at random and that tears groups apart: those that the dataset knows,
        or else the near-duplicates among its slices.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.splits import make_split
    >>> slices = covidct.load_dataset("phantom", n=40, seed=0)
    >>> split = make_split(slices, 5, groups="patient")
    >>> split.protocol, [len(fold.test) for fold in split.folds]
    ('grouped by patient', [8, 8, 8, 8, 8])
    """
    labels, kind = _resolve_groups(dataset, groups)
    if cv == "official":
        if groups is not None:
            raise ValueError("cv='official' has its own division of patients; leave groups=None")
        return _official(dataset, repeats)
    splitter, protocol = _splitter(dataset, cv, labels, kind, seed)
    folds = tuple(
        Fold(*(_positions(part, len(dataset)) for part in (train, test, ())))
        for train, test in splitter.split(np.zeros(len(dataset)), dataset.targets, labels)
    )
    for number, fold in enumerate(folds):
        _check_fold(number, fold, dataset, labels)
    if labels is not None:
        return Split(protocol, folds, labels, kind)
    known_or_found = _known_groups(dataset) if dataset.groups is not None else _lookalikes(dataset)
    split = Split(protocol, folds, *known_or_found)
    _warn_if_torn(split)
    return split


def _splitter(
    dataset: CTDataset,
    cv: object,
    groups: npt.NDArray[np.str_] | None,
    kind: str,
    seed: int,
) -> tuple[Splitter, str]:
    """Return what yields the folds, and the name of the protocol."""
    if isinstance(cv, Integral):
        protocol = "paper" if groups is None else f"grouped by {kind}"
        return _stratified(dataset, whole("cv", cv, least=2), groups, kind, seed), protocol
    if isinstance(cv, str) or not isinstance(cv, Splitter | Iterable):
        raise ValueError(
            "cv must be an integer, 'official', a scikit-learn splitter or pairs of training and "
            f"test positions, got {cv!r}"
        )
    if isinstance(cv, Splitter):
        return cv, type(cv).__name__
    return check_cv(cv), "given folds"


def _positions(index: npt.ArrayLike, count: int) -> Index:
    """Turn positions, or a mask, into positions that exist."""
    given = np.asarray(index)
    positions = np.flatnonzero(given) if given.dtype == bool else given.astype(np.int64)
    if (outside := positions[(positions < 0) | (positions >= count)]).size:
        raise ValueError(
            f"cv has the position {outside[0]}, but there are {count} slices, from 0 on"
        )
    return positions


def _resolve_groups(
    dataset: CTDataset, groups: str | Sequence[object] | npt.NDArray[Any] | None
) -> tuple[npt.NDArray[np.str_] | None, str]:
    if groups is None:
        return None, ""
    if isinstance(groups, str):
        if groups == "near-duplicate":
            return near_duplicate_groups(dataset).astype(np.str_), groups
        if groups != "patient":
            raise ValueError(
                f"groups must be 'patient', 'near-duplicate' or one label per slice, got {groups!r}"
            )
        if dataset.groups is None:
            raise ValueError(
                f"dataset {dataset.name!r} does not say which slices are of one patient; pass one "
                "label per slice, or groups='near-duplicate'"
            )
        return dataset.groups, dataset.group_kind
    if len(groups) != len(dataset):
        raise ValueError(
            f"groups has {len(groups)} labels for {len(dataset)} slices; give one per slice"
        )
    labels = group_names(np.asarray(groups, dtype=object), len(dataset))
    unknown = np.flatnonzero(labels == "")
    if unknown.size:
        raise ValueError(
            f"groups has no label (None, NaN or '') for {unknown.size} slices, the first at "
            f"{unknown[0]}; give each a label of its own"
        )
    return labels, "given groups"


def _stratified(
    dataset: CTDataset, n_splits: int, groups: npt.NDArray[np.str_] | None, kind: str, seed: int
) -> Splitter:
    for target, name in enumerate(dataset.classes):
        chosen = dataset.targets == target
        units, what = int(chosen.sum()), "slices"
        if groups is not None:
            units, what = len(np.unique(groups[chosen])), f"groups ({kind})"
        if units < n_splits:
            raise ValueError(
                f"class {name!r} has {units} {what}, fewer than the {n_splits} folds; add slices "
                "of it or take fewer folds"
            )
    kinds = StratifiedKFold if groups is None else StratifiedGroupKFold
    return kinds(n_splits, shuffle=True, random_state=seed)  # type: ignore[no-any-return]  # scikit-learn has no types


def _official(dataset: CTDataset, repeats: int) -> Split:
    if dataset.official_split is None:
        raise ValueError(
            f"dataset {dataset.name!r} has no official split; take folds, grouped if you can"
        )
    train, validation, test = (
        np.flatnonzero(dataset.official_split == part) for part in ("train", "val", "test")
    )
    fold = Fold(train, test, validation)
    _check_fold(0, fold, dataset, dataset.groups)
    return Split("official", (fold,) * whole("repeats", repeats), *_known_groups(dataset))


def _known_groups(dataset: CTDataset) -> tuple[npt.NDArray[np.str_] | None, str | None]:
    return dataset.groups, None if dataset.groups is None else dataset.group_kind


def _check_fold(
    number: int, fold: Fold, dataset: CTDataset, groups: npt.NDArray[np.str_] | None
) -> None:
    parts = {"training": fold.train, "validation": fold.validation, "test": fold.test}
    for (one, a), (other, b) in combinations(parts.items(), 2):
        if np.intersect1d(a, b).size:
            raise ValueError(f"fold {number} has slices in both {one} and {other} part")
        if groups is not None and (torn := np.intersect1d(groups[a], groups[b])).size:
            raise ValueError(
                f"fold {number} has group {str(torn[0])!r} in both {one} and {other} part"
            )
    for part, index in (("training", fold.train), ("test", fold.test)):
        present = np.unique(dataset.targets[index])
        if len(present) < 2:
            only = "no slice" if not len(present) else f"only class {dataset.classes[present[0]]!r}"
            raise ValueError(
                f"the {part} part of fold {number} has {only}; use fewer folds or other groups"
            )


def _lookalikes(dataset: CTDataset) -> tuple[npt.NDArray[np.str_] | None, str | None]:
    """Return the groups of near-duplicates, None where no two slices are any."""
    groups = near_duplicate_groups(dataset)
    if groups.max() == len(groups) - 1:
        return None, None
    return groups.astype(np.str_), "near-duplicate"


def _warn_if_torn(split: Split) -> None:
    """Say how many groups, known or else found, a random split tears apart."""
    if split.groups is None:
        return
    groups = split.groups
    torn = {
        g for fold in split.folds for g in np.intersect1d(groups[fold.train], groups[fold.test])
    }
    if not torn:
        return
    sizes = np.unique(groups, return_counts=True)[1]
    if split.group_kind == "near-duplicate":
        remedy = "near-duplicate"
        what = (
            f"{len(torn)} of {(sizes > 1).sum()} groups of near-duplicates, the largest of "
            f"{sizes.max()} slices,"
        )
    else:
        remedy, what = "patient", f"{len(torn)} of {len(sizes)} {split.group_kind} groups"
    msg = (
        f"slices are split at random: {what} have slices in training and test part of one fold, "
        f"which flatters the result; run it again with groups={remedy!r} for a more honest figure"
    )
    warnings.warn(msg, LeakageWarning, stacklevel=4)
