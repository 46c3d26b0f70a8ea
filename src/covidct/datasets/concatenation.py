"""Concatenation of datasets from several sources."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from ._overlap import refuse_overlap
from .ct_dataset import CTDataset, check_dataset
from .gray import WindowChoice

__all__ = ["ConcatDataset", "concat"]

logger = logging.getLogger(__name__)


class ConcatDataset(CTDataset):
    """Dataset of the slices of several datasets, as returned by :func:`covidct.concat`.

    Every slice is read by its original dataset, with the window and the masks of that dataset.

    Parameters
    ----------
    parts : sequence of CTDataset
        The datasets.
    names : sequence of str
        Names of the datasets, as prefixes of the names of slices, patients and volumes.

    Attributes
    ----------
    parts : tuple of CTDataset
        The datasets.

    Examples
    --------
    >>> import covidct
    >>> a, b = (covidct.load_dataset("phantom", n=4, seed=seed) for seed in (0, 1))
    >>> both = covidct.concat([a, b], names=["a", "b"])
    >>> both.subset([0, 7]).names
    ('a/COVID/patient-0000/slice-0.png', 'b/non-COVID/patient-0001/slice-1.png')
    """

    def __init__(self, parts: Sequence[CTDataset], names: Sequence[str]) -> None:
        # The constructor of CTDataset is not called: it would check every file again, and the
        # slices of a part need not be files.
        sizes = [len(part) for part in parts]
        self.parts = tuple(parts)
        self._part = np.repeat(np.arange(len(parts)), sizes)
        self._row = np.concatenate([np.arange(size) for size in sizes])
        self._part_names = tuple(names)

        self.paths = tuple(path for part in parts for path in part.paths)
        self.targets = np.concatenate([part.targets for part in parts])
        self.frames = np.concatenate([part.frames for part in parts])
        self.labels = np.concatenate([part.labels for part in parts])
        self.names = self._prefixed(lambda part: part.names)
        self.file_names = self._prefixed(lambda part: part.file_names)
        self.sources = np.concatenate(
            [
                np.repeat(name, len(part))
                if part.sources is None
                else np.asarray([f"{name}/{source}" for source in part.sources])
                for name, part in zip(names, parts, strict=True)
            ]
        )
        self.groups = self._joined_groups()
        self.volumes = self._joined_volumes()
        self.positions = None
        if any(part.positions is not None for part in parts):
            self.positions = np.concatenate(
                [np.full(len(p), np.nan) if p.positions is None else p.positions for p in parts]
            )
        splits = [part.official_split for part in parts if part.official_split is not None]
        self.official_split = np.concatenate(splits) if len(splits) == len(parts) else None
        self.metadata = _joined_metadata(parts)
        self.mask_files: dict[str, tuple[Any, ...]] = {
            kind: tuple(
                file for part in parts for file in part.mask_files.get(kind, (None,) * len(part))
            )
            for kind in dict.fromkeys(kind for part in parts for kind in part.mask_files)
        }
        kinds = dict.fromkeys(part.group_kind for part in parts)
        self.group_kind = " or ".join(kinds)
        classes = {part.classes for part in parts}
        self.classes = classes.pop() if len(classes) == 1 else ("non-COVID", "COVID")
        self.name = "+".join(names)
        self.root = None
        self.window = self._shared_window()
        self.skipped = tuple(
            (f"{name}/{file}", reason)
            for name, part in zip(names, parts, strict=True)
            for file, reason in part.skipped
        )
        self.registry_names = tuple(dict.fromkeys(n for part in parts for n in part.registry_names))
        self._digests = None

    def read(self, index: int) -> Image.Image:
        """Read one slice, as in its original dataset."""
        return self._part_of(index).read(int(self._row[index]))

    def masks(self, index: int) -> dict[str, npt.NDArray[np.bool_]] | None:
        """Read the masks of one slice, as in its original dataset."""
        return self._part_of(index).masks(int(self._row[index]))

    def subset(self, index: npt.ArrayLike) -> Self:
        """Return the dataset of the chosen slices, in the order of `index`."""
        chosen = self._positions(index)
        part = super().subset(index)
        part._part, part._row = self._part[chosen], self._row[chosen]
        return part

    def content_hash(self) -> str:
        """Return a SHA-256 of the contents of the parts, their names and the order of slices."""
        total = hashlib.sha256(np.ascontiguousarray(self._part, np.int64).tobytes())
        for number in np.unique(self._part):
            rows = self._row[self._part == number]
            content = self.parts[number].subset(rows).content_hash()
            total.update(f"{number}\0{self._part_names[number]}\0{content}\n".encode())
        return total.hexdigest()

    def _part_of(self, index: int) -> CTDataset:
        part: CTDataset = self.parts[self._part[index]]
        return part

    def _prefixed(self, names: Callable[[CTDataset], tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(
            f"{name}/{own}"
            for name, part in zip(self._part_names, self.parts, strict=True)
            for own in names(part)
        )

    def _joined_groups(self) -> npt.NDArray[np.str_] | None:
        without = [
            name
            for name, part in zip(self._part_names, self.parts, strict=True)
            if part.groups is None
        ]
        if without:
            if len(without) < len(self.parts):
                logger.warning(
                    "the patients of %s are unknown, so those of the joined dataset are unknown "
                    "too; the patients of the other sources are not used",
                    ", ".join(map(repr, without)),
                )
            return None
        return np.asarray(self._prefixed(lambda part: tuple(part.groups)))  # type: ignore[arg-type]  # none is None

    def _joined_volumes(self) -> npt.NDArray[np.str_] | None:
        if all(part.volumes is None for part in self.parts):
            return None
        return np.asarray(
            [
                f"{name}/{volume}" if volume else ""
                for name, part in zip(self._part_names, self.parts, strict=True)
                for volume in ([""] * len(part) if part.volumes is None else part.volumes)
            ]
        )

    def _shared_window(self) -> WindowChoice:
        windows = {n: part.window for n, part in zip(self._part_names, self.parts, strict=True)}
        first = self.parts[0].window
        if len(set(windows.values())) > 1:
            logger.warning(
                "the sources are shown through different windows (%s), which a network may "
                "recognize; new slices are shown through the first, %s",
                ", ".join(f"{name}: {window}" for name, window in windows.items()),
                first,
            )
        return first


def concat(datasets: Sequence[CTDataset], names: Sequence[str] | None = None) -> CTDataset:
    """Join datasets of several sources, such as hospitals, into one.

    Names, patients and volumes are prefixed with the name of their dataset, so that patients of two
    sources with the same id remain two patients. The `sources` of the result are the names of the
    datasets, followed by the original source of the slice if its dataset has sources.

    Parameters
    ----------
    datasets : sequence of CTDataset
        At least two datasets, of any loader.
    names : sequence of str, optional
        Names of the datasets. By default, their attribute `name`.

    Returns
    -------
    CTDataset
        All slices, in the order given. Labels, masks, positions and the columns of `metadata` are
        kept, and each slice is read through the window of its dataset. Patients are known if they
        are known in every dataset; so is the official split. If the names of the two
        classes differ, they are ``("non-COVID", "COVID")``.

    Raises
    ------
    ValueError
        If there are fewer than two datasets, the names are not distinct and not empty, or two
        datasets are known to share slices (`contains` in :func:`covidct.dataset_info`).
    TypeError
        If a dataset is not a CTDataset.

    See Also
    --------
    covidct.CrossValidator : ``cv="source"`` leaves out one source at a time.

    Examples
    --------
    >>> import covidct
    >>> a, b = (covidct.load_dataset("phantom", n=8, seed=seed) for seed in (0, 1))
    >>> covidct.concat([a, b], names=["ward-7", "site-b"])
    ConcatDataset 'ward-7+site-b': 16 slices (8 COVID, 8 non-COVID), 4 patients, 2 sources
    """
    parts = list(datasets)
    for part in parts:
        check_dataset(part)
    if len(parts) < 2:
        raise ValueError(f"concat joins at least two datasets, got {len(parts)}")
    chosen = [part.name for part in parts] if names is None else [str(name) for name in names]
    if len(chosen) != len(parts):
        raise ValueError(f"names has {len(chosen)} names for {len(parts)} datasets")
    twice = [name for name, count in Counter(chosen).items() if count > 1]
    if twice or "" in chosen:
        raise ValueError(
            f"the datasets need different names, got {chosen}; give one for each with names=[...]"
        )
    for (one, a), (other, b) in combinations(zip(chosen, parts, strict=True), 2):
        refuse_overlap(
            a.registry_names, b.registry_names, f"{one!r} and {other!r} cannot be joined"
        )
    return ConcatDataset(parts, chosen)


def _joined_metadata(parts: Sequence[CTDataset]) -> Any:
    import pandas as pd

    if all(part.metadata is None for part in parts):
        return None
    return pd.concat(
        [
            pd.DataFrame(index=range(len(part)))
            if part.metadata is None
            else part.metadata.reset_index(drop=True)
            for part in parts
        ],
        ignore_index=True,
    )
