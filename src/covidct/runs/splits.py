"""Splits of a dataset into folds, with checks for leakage."""

from __future__ import annotations

import logging
import typing
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedKFold, check_cv

from .._checks import whole
from ..audit.duplicates import equal_pixel_groups, near_duplicate_groups
from ..datasets.concatenation import ConcatDataset
from ..datasets.ct_dataset import CTDataset
from ..errors import InvalidFileError
from ..evaluation._inputs import check_targets, group_names
from .group_folds import GroupFolds, most_folds
from .protocol import Protocol, default_repeats, group_unit, leakage_warning

__all__ = [
    "Fold",
    "LeakageWarning",
    "Split",
    "Splitter",
    "make_split",
    "repeat_numbers",
    "resampled_groups",
    "resolve_groups",
]

Index = npt.NDArray[np.int64]
Labels = npt.NDArray[np.str_]

_LOG = logging.getLogger(__name__)


class LeakageWarning(UserWarning):
    """Warning that slices of one group are in the training and the test part of a fold."""


@typing.runtime_checkable
class Splitter(typing.Protocol):
    """Interface of scikit-learn's cross-validation splitters."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterable[tuple[Any, Any]]:
        """Yield pairs of training and test positions."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Positions of the training, test and validation slices of a fold.

    Folds with the same positions in the same order are equal, even if their names differ.

    Parameters
    ----------
    train : ndarray of shape (n_train,)
        Positions of the training slices, dtype int64.
    test : ndarray of shape (n_test,)
        Positions of the test slices, none of which is in `train`.
    validation : ndarray of shape (n_validation,)
        Positions of the validation slices of an official split, none of which is in `train` or
        `test`, for the fit of temperature and threshold; empty in other protocols.
    name : str, default=""
        Source that the fold tests, if one source is left out at a time.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.runs.splits import Fold
    >>> fold = Fold(train=np.array([0, 1]), test=np.array([2]), validation=np.array([], int))
    >>> len(fold.train), len(fold.test)
    (2, 1)
    """

    train: Index
    test: Index
    validation: Index
    name: str = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Fold):
            return NotImplemented
        return self._bytes() == other._bytes()

    def __hash__(self) -> int:
        return hash(self._bytes())

    def _bytes(self) -> tuple[bytes, ...]:
        return self.train.tobytes(), self.test.tobytes(), self.validation.tobytes()


@dataclass(frozen=True)
class Split:
    """Folds of a dataset.

    Parameters
    ----------
    protocol : Protocol
        Division of the slices into folds.
    folds : tuple of Fold
        The folds.
    groups : ndarray of shape (n_slices,) or None
        Group of each slice, which intervals resample, also if the split does not keep groups
        together: the given groups, those of the dataset, or near-duplicates found by their pixels.
        None if no groups are known or found.
    group_kind : str or None
        Kind of the groups, such as ``"patient"``; None if no groups are known or found.

    Examples
    --------
    >>> from covidct.runs.splits import make_split
    >>> split = make_split([0, 1, 0, 1], 2)
    >>> split.protocol.id, len(split.folds), split.repeats
    ('paper', 2, (0, 0))
    """

    protocol: Protocol
    folds: tuple[Fold, ...]
    groups: npt.NDArray[np.str_] | None
    group_kind: str | None

    @property
    def repeats(self) -> tuple[int, ...]:
        """Number of the repeat of each fold; the first is 0."""
        return repeat_numbers(self.folds)


def repeat_numbers(folds: Sequence[Fold]) -> tuple[int, ...]:
    """Return the number of the repeat of each fold: how often its slices were tested before.

    Parameters
    ----------
    folds : sequence of Fold
        The folds, repeat by repeat.

    Returns
    -------
    tuple of int
        Number of the repeat of each fold; the first is 0.

    Examples
    --------
    >>> from covidct.runs.splits import make_split, repeat_numbers
    >>> repeat_numbers(make_split([0, 1, 0, 1], 2, repeats=2).folds)
    (0, 0, 1, 1)
    """
    tested = np.zeros(1 + max(int(fold.test.max()) for fold in folds))
    numbers = []
    for fold in folds:
        numbers.append(int(tested[fold.test].max()))
        tested[fold.test] += 1
    return tuple(numbers)


def make_split(
    data: CTDataset | npt.ArrayLike,
    cv: int | str | Splitter | Iterable[tuple[Any, Any]] = 5,
    *,
    groups: str | Sequence[object] | npt.NDArray[Any] | None = None,
    seed: int = 0,
    repeats: int | None = None,
) -> Split:
    """Split a dataset into folds.

    Parameters
    ----------
    data : CTDataset or array-like of shape (n_slices,)
        The dataset, or its targets (0 or 1), which do not allow splits by patient, near-duplicate,
        source or official split.
    cv : int, "official", "source", splitter or iterable of (train, test), default=5
        Number of stratified folds; ``"official"``, the split of the dataset's authors;
        ``"source"``, one fold per source, which tests it with a network trained on all others; a
        scikit-learn splitter; or pairs of training and test positions.
    groups : str, array-like of shape (n_slices,) or None, default=None
        Groups of slices that are kept in one part of each fold: ``"patient"``, the groups of the
        dataset; ``"near-duplicate"``, groups found by their pixels, of which a patient may have
        several; ``"patient+near-duplicate"``, patients, joined if they share near-duplicates; or
        one label per slice. None: slices are split at random, as in the paper.
    seed : int, default=0
        Random seed of the split. The first repeat uses it, further repeats use seeds derived from
        it.
    repeats : int or None, default=None
        Number of repeats. If `cv` is a number of folds, each repeat has a different split; the
        official split and left-out sources are the same in each. Folds are numbered consecutively:
        fold k of repeat r is number ``r * cv + k``. None: 5 for ``cv="official"``, 1 otherwise.

    Returns
    -------
    Split
        Folds whose training and test parts have no slice in common and, if `groups` is given, no
        group in common.

    Raises
    ------
    ValueError
        If the groups, the sources or the official split are unknown, the classes have too few
        slices (or groups) for the folds, a part of a fold has slices of one class only, the parts
        of a fold overlap, slices of two sources with equal pixels are in the training and the test
        part of a fold (if sources are left out, or were joined by :func:`covidct.concat`), a
        patient has slices in two sources that are left out in turn, or `repeats` is above 1 for a
        splitter or given folds.

    Warns
    -----
    LeakageWarning
        If a random split separates slices of a group (a group of the dataset or, if these are
        unknown, near-duplicates), a split by patient separates near-duplicates, or a source that is
        left out has near-duplicates in another one.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.splits import make_split
    >>> slices = covidct.load_dataset("phantom", n=40, seed=0)
    >>> split = make_split(slices, 5, groups="patient")
    >>> str(split.protocol), [len(fold.test) for fold in split.folds]
    ('grouped by patient', [8, 8, 8, 8, 8])
    """
    dataset = data if isinstance(data, CTDataset) else _Targets(data)
    labels, kind = resolve_groups(dataset, groups)
    times = _repeats(cv, repeats)
    if isinstance(cv, str) and cv == "official":
        if groups is not None:
            raise ValueError(
                "cv='official' does not take groups, since the split of the authors cannot be "
                "changed; leave groups=None"
            )
        return _official(dataset, times)
    if isinstance(cv, str) and cv == "source":
        if groups is not None:
            raise ValueError(
                "cv='source' does not take groups, since sources are kept together with all their "
                "patients; leave groups=None"
            )
        return _leave_one_source_out(dataset, times)
    splitters, protocol = _splitters(dataset, cv, labels, kind, _split_seeds(seed, times))
    folds = tuple(
        Fold(_positions(train, len(dataset)), _positions(test, len(dataset)), np.empty(0, np.int64))
        for splitter in splitters
        for train, test in splitter.split(np.zeros(len(dataset)), dataset.targets, labels)
    )
    for number, fold in enumerate(folds):
        _check_fold(number, fold, dataset, labels)
    if isinstance(dataset, ConcatDataset):
        _refuse_copies(folds, dataset)
    if labels is not None and (dataset.groups is None or not isinstance(groups, str)):
        return Split(protocol, folds, labels, kind)
    split = Split(protocol, folds, *resampled_groups(dataset))
    _warn_about_shared_groups(split, dataset)
    return split


class _Targets:
    """Targets without a dataset, with the attributes of a dataset without further information."""

    groups = official_split = sources = None
    group_kind = "patient"
    classes = ("0", "1")
    name = "targets"

    def __init__(self, targets: npt.ArrayLike) -> None:
        self.targets = check_targets(targets)

    def __len__(self) -> int:
        return len(self.targets)


def resampled_groups(dataset: CTDataset | _Targets) -> tuple[Labels | None, str | None]:
    """Find the groups of slices that confidence intervals resample as a whole.

    Parameters
    ----------
    dataset : CTDataset
        Slices.

    Returns
    -------
    groups : ndarray of str of shape (n_slices,), or None
        Groups of the dataset, such as patients; if they are unknown, near-duplicates found by their
        pixels. None if every slice is a group of its own.
    kind : str or None
        Kind of the groups, such as ``"patient"`` or ``"near-duplicate"``; None without groups.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.splits import resampled_groups
    >>> groups, kind = resampled_groups(covidct.load_dataset("phantom", n=16, seed=0))
    >>> len(groups), kind
    (16, 'patient')
    """
    if dataset.groups is not None:
        return dataset.groups, dataset.group_kind
    return _near_duplicates(dataset)


def _near_duplicates(dataset: CTDataset | _Targets) -> tuple[Labels | None, str | None]:
    """Return the groups of near-duplicates; None if every slice is a group of its own."""
    if isinstance(dataset, _Targets):
        return None, None
    groups = near_duplicate_groups(dataset)
    if groups.max() == len(groups) - 1:
        return None, None
    return groups.astype(np.str_), "near-duplicate"


def _repeats(cv: object, repeats: int | None) -> int:
    """Return the checked number of repeats."""
    if repeats is None:
        return default_repeats(cv)
    number = whole("repeats", repeats)
    kind = cv if isinstance(cv, str) else None
    if number > 1 and kind not in ("official", "source") and not isinstance(cv, Integral):
        raise ValueError(
            f"repeats={number} needs a number of folds, cv='official' or cv='source', got "
            f"cv={cv!r}; pass a splitter with repeats, such as "
            "sklearn.model_selection.RepeatedStratifiedKFold, or the folds of all repeats"
        )
    return number


def _split_seeds(seed: int, repeats: int) -> list[int]:
    """Return the seed of each repeat's shuffling; that of the first repeat is `seed` itself."""
    derived = (np.random.SeedSequence((seed, r)).generate_state(1) for r in range(1, repeats))
    return [seed, *(int(state[0]) for state in derived)]


def _splitters(
    dataset: CTDataset | _Targets,
    cv: object,
    groups: npt.NDArray[np.str_] | None,
    kind: str,
    seeds: Sequence[int],
) -> tuple[list[Splitter], Protocol]:
    """Return the splitter that yields the folds of each repeat, and the protocol."""
    if isinstance(cv, Integral):
        protocol = Protocol.paper() if groups is None else Protocol.grouped(kind)
        return _stratified(dataset, whole("cv", cv, least=2), groups, kind, seeds), protocol
    if isinstance(cv, str) or not isinstance(cv, Splitter | Iterable):
        raise ValueError(
            "cv must be an integer, 'official', 'source', a scikit-learn splitter or pairs of "
            f"training and test positions, got {cv!r}"
        )
    kept = None if groups is None else kind
    if isinstance(cv, Splitter):
        return [cv], Protocol("splitter", type(cv).__name__, kept)
    return [check_cv(cv)], Protocol("given", "given folds", kept)


def _positions(index: npt.ArrayLike, count: int) -> Index:
    """Return positions, given as integers or as a mask, after checking that they exist."""
    given = np.asarray(index)
    positions = np.flatnonzero(given) if given.dtype == bool else given.astype(np.int64)
    if (outside := positions[(positions < 0) | (positions >= count)]).size:
        raise ValueError(
            f"cv has the position {outside[0]}, but the positions of {count} slices are 0 to "
            f"{count - 1}"
        )
    return positions


def resolve_groups(
    dataset: CTDataset | _Targets, groups: str | Sequence[object] | npt.NDArray[Any] | None
) -> tuple[Labels | None, str]:
    """Find the labels of the groups that a split keeps together, and their kind.

    Parameters
    ----------
    dataset : CTDataset
        The slices.
    groups : str, array-like of shape (n_slices,) or None
        As in :func:`make_split`.

    Returns
    -------
    labels : ndarray of shape (n_slices,) or None
        Group of each slice; None for a random split.
    kind : str
        Kind of the groups, such as ``"patient"``; empty for a random split.
    """
    if groups is None:
        return None, ""
    if isinstance(groups, str):
        if groups not in ("patient", "near-duplicate", "patient+near-duplicate"):
            raise ValueError(
                "groups must be 'patient', 'near-duplicate', 'patient+near-duplicate' or one label "
                f"per slice, got {groups!r}"
            )
        if groups != "near-duplicate" and dataset.groups is None:
            raise ValueError(
                f"the patients of dataset {dataset.name!r} are unknown; pass one label per slice, "
                "or groups='near-duplicate'"
            )
        if groups == "patient":
            return dataset.groups, dataset.group_kind
        if isinstance(dataset, _Targets):
            raise ValueError(f"groups={groups!r} needs a CTDataset, since it compares pixels")
        found = near_duplicate_groups(dataset)
        if dataset.groups is None or groups == "near-duplicate":
            return found.astype(np.str_), groups
        return _joined(dataset.groups, found, dataset.group_kind), (
            f"{dataset.group_kind}+near-duplicate"
        )
    if len(groups) != len(dataset):
        raise ValueError(
            f"groups has {len(groups)} labels for {len(dataset)} slices; give one per slice"
        )
    labels = group_names(np.asarray(groups, dtype=object), len(dataset))
    unknown = np.flatnonzero(labels == "")
    if unknown.size:
        raise ValueError(
            f"groups has no label (None, NaN or '') for {unknown.size} slices, the first at "
            f"position {unknown[0]}; give each of these slices its own label"
        )
    return labels, "given groups"


def _joined(groups: Labels, found: Index, kind: str) -> Labels:
    """Join groups that share near-duplicates; a joined group has the name of its first member."""
    names, codes = np.unique(groups, return_inverse=True)
    links = coo_array((np.ones(len(codes)), (codes, found))).tocsr()
    number, component = connected_components(links @ links.T)
    if number < len(names):
        _LOG.info(
            "%d of %d groups (%s) share near-duplicates with others and are kept together: %d "
            "groups are left",
            int((np.bincount(component)[component] > 1).sum()),
            len(names),
            kind,
            number,
        )
    first = np.full(number, len(names))
    np.minimum.at(first, component, np.arange(len(names)))
    joined: Labels = names[first[component]][codes]
    return joined


def _stratified(
    dataset: CTDataset | _Targets,
    n_splits: int,
    groups: Labels | None,
    kind: str,
    seeds: Sequence[int],
) -> list[Splitter]:
    if groups is None:
        for target, name in enumerate(dataset.classes):
            slices = int((dataset.targets == target).sum())
            if slices < n_splits:
                raise ValueError(
                    f"class {name!r} has {slices} slices, fewer than the {n_splits} folds; add "
                    "slices of this class or use fewer folds"
                )
        return [StratifiedKFold(n_splits, shuffle=True, random_state=seed) for seed in seeds]
    most = most_folds(dataset.targets, groups)
    if most < n_splits:
        units = [len(np.unique(groups[dataset.targets == target])) for target in (0, 1)]
        counts = " and ".join(
            f"{n} of {name!r}" for n, name in zip(units, dataset.classes, strict=True)
        )
        advice = f"use at most {most} folds" if most > 1 else "a split is impossible"
        raise ValueError(
            f"both classes cannot be in each of {n_splits} folds: groups ({kind}) with slices of "
            f"each class are {counts}; {advice}, or add groups of the rarer class"
        )
    return [GroupFolds(n_splits, seed=seed) for seed in seeds]


def _official(dataset: CTDataset | _Targets, repeats: int) -> Split:
    if dataset.official_split is None:
        raise ValueError(
            f"dataset {dataset.name!r} has no official split; use cv=5, with groups='patient' if "
            "patients are known"
        )
    train, validation, test = (
        np.flatnonzero(dataset.official_split == part) for part in ("train", "val", "test")
    )
    fold = Fold(train, test, validation)
    _check_fold(0, fold, dataset, dataset.groups)
    return Split(Protocol.official(), (fold,) * repeats, *resampled_groups(dataset))


def _leave_one_source_out(dataset: CTDataset | _Targets, repeats: int) -> Split:
    """Return a fold for each source, in the order of their first slices, `repeats` times."""
    if isinstance(dataset, _Targets) or dataset.sources is None:
        raise ValueError(
            f"the sources of dataset {dataset.name!r} are unknown; join datasets with "
            "covidct.concat, or name the column of the sources of a table"
        )
    names = list(dict.fromkeys(dataset.sources.tolist()))
    if len(names) < 2:
        raise ValueError(
            f"all slices of dataset {dataset.name!r} are of the source {names[0]!r}; cv='source' "
            "needs at least two sources"
        )
    folds = []
    for name in names:
        test = dataset.sources == name
        fold = Fold(np.flatnonzero(~test), np.flatnonzero(test), np.empty(0, np.int64), name)
        for part, index in (("source", fold.test), ("other sources of", fold.train)):
            present = np.unique(dataset.targets[index])
            if len(present) < 2:
                raise ValueError(
                    f"the {part} {name!r} {'has' if part == 'source' else 'have'} slices of class "
                    f"{dataset.classes[present[0]]!r} only; cv='source' needs both classes in the "
                    "source that is left out and in the others"
                )
        if dataset.groups is not None:
            shared = np.intersect1d(dataset.groups[fold.train], dataset.groups[fold.test])
            if shared.size:
                raise ValueError(
                    f"{len(shared)} {group_unit(dataset.group_kind)}s have slices in source "
                    f"{name!r} and in another one, such as {str(shared[0])!r}; leave their "
                    "slices of one source out with dataset.subset(...)"
                )
        folds.append(fold)
    _refuse_copies(folds, dataset)
    groups, kind = resampled_groups(dataset)
    _warn_of_similar_sources(folds, dataset)
    return Split(Protocol.source(), tuple(folds) * repeats, groups, kind)


def _refuse_copies(folds: Sequence[Fold], dataset: CTDataset) -> None:
    """Raise if slices with equal pixels from two sources are in training and test of a fold."""
    if dataset.sources is None:
        return
    pixels, sources = equal_pixel_groups(dataset), dataset.sources
    for number, fold in enumerate(folds):
        found = []
        for code in np.intersect1d(pixels[fold.train], pixels[fold.test]):
            train = fold.train[pixels[fold.train] == code]
            test = fold.test[pixels[fold.test] == code]
            if len({*sources[train].tolist(), *sources[test].tolist()}) > 1:
                found.append((dataset.names[train[0]], dataset.names[test[0]]))
        if found:
            raise ValueError(
                f"{len(found)} slices have the same pixels in two sources and are in the training "
                f"and the test part of fold {number}, such as {found[0][0]!r} and {found[0][1]!r}; "
                "leave one copy of each out with dataset.subset(...)"
            )


def _warn_of_similar_sources(folds: Sequence[Fold], dataset: CTDataset) -> None:
    try:
        groups = near_duplicate_groups(dataset)
    except (OSError, InvalidFileError) as error:
        _LOG.warning("near-duplicates in other sources were not searched: %s", error)
        return
    counts = {
        fold.name: int(np.isin(groups[fold.test], groups[fold.train]).sum()) for fold in folds
    }
    if any(counts.values()):
        listed = ", ".join(f"{count} of {name!r}" for name, count in counts.items() if count)
        warnings.warn(
            f"slices have near-duplicates in another source, on which the network is trained: "
            f"{listed}; covidct.audit_dataset lists the pairs",
            LeakageWarning,
            stacklevel=5,
        )


def _check_fold(
    number: int, fold: Fold, dataset: CTDataset | _Targets, groups: npt.NDArray[np.str_] | None
) -> None:
    parts = {"training": fold.train, "validation": fold.validation, "test": fold.test}
    for (one, a), (other, b) in combinations(parts.items(), 2):
        if np.intersect1d(a, b).size:
            raise ValueError(f"fold {number} has slices in both the {one} and the {other} part")
        if groups is not None and (shared := np.intersect1d(groups[a], groups[b])).size:
            raise ValueError(
                f"fold {number} has slices of group {str(shared[0])!r} in both the {one} and the "
                f"{other} part; move all slices of a group to one part"
            )
    for part, index in (("training", fold.train), ("test", fold.test)):
        present = np.unique(dataset.targets[index])
        if len(present) < 2:
            only = "no slice" if not len(present) else f"only class {dataset.classes[present[0]]!r}"
            raise ValueError(
                f"the {part} part of fold {number} has {only}; use fewer folds or other groups, or "
                "correct the given split"
            )


def _warn_about_shared_groups(split: Split, dataset: CTDataset | _Targets) -> None:
    """Warn if the folds separate slices of groups or near-duplicates, with a remedy."""
    if split.groups is None or split.protocol.group_kind == "near-duplicate":
        return
    if shared := _shared_groups(split.folds, split.groups):
        unit = group_unit(split.group_kind)
        sizes = np.unique(split.groups, return_counts=True)[1]
        found = split.group_kind == "near-duplicate"
        total = (sizes > 1).sum() if found else len(sizes)
        largest = f", the largest with {sizes.max()} slices" if found else ""
        remedy = "near-duplicate" if found else "patient+near-duplicate"
        warnings.warn(
            f"{leakage_warning(unit)} ({len(shared)} of {total} {unit}s{largest}); use "
            f"groups={remedy!r} for an unbiased estimate",
            LeakageWarning,
            stacklevel=4,
        )
    elif split.protocol.group_kind == dataset.group_kind:
        try:
            groups, _ = _near_duplicates(dataset)
        except (OSError, InvalidFileError) as error:
            _LOG.warning("near-duplicates of other patients were not searched: %s", error)
            return
        if groups is None or not _shared_groups(split.folds, groups):
            return
        torn_slices = [
            fold.test[np.isin(groups[fold.test], groups[fold.train])] for fold in split.folds
        ]
        tested = len(np.unique(np.concatenate(torn_slices)))  # once for all repeats
        warnings.warn(
            f"{tested} of {len(dataset)} slices have near-duplicates of another "
            f"{group_unit(split.group_kind)} in the training part of their fold; use "
            "groups='patient+near-duplicate' to keep these together",
            LeakageWarning,
            stacklevel=4,
        )


def _shared_groups(folds: Sequence[Fold], groups: Labels) -> set[str]:
    return {str(g) for fold in folds for g in np.intersect1d(groups[fold.train], groups[fold.test])}
