"""A list of chest-CT slices with their labels: what every other part of covidct works on."""

from __future__ import annotations

import copy
import hashlib
import logging
import operator
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from .._text import printable
from ._parallel import map_in_threads, sha256_of_file, some

__all__ = ["CTDataset"]

logger = logging.getLogger(__name__)

StrPath = str | os.PathLike[str]
OnError = Literal["raise", "skip"]
_SPLITS = ("train", "val", "test")


class CTDataset:
    """Slices on disk, one label each, and the groups that must not be torn apart.

    Map-style by duck typing: ``len(dataset)`` and ``dataset[i]`` suffice for PyTorch, and labels
    are known without opening an image.

    Parameters
    ----------
    paths
        One image file per slice: PNG, JPEG, TIFF, DICOM, ...
    targets
        One label per slice: 1 is COVID-19, 0 is not.
    groups
        One label per slice naming what the slice shares with others, such as the patient; None
        where that is unknown.
    classes
        Names of class 0 and class 1.
    name
        What to call the dataset in tables and in files.
    root
        Folder that ``names`` are relative to; without it a name is the path as given.
    official_split
        ``"train"``, ``"val"`` or ``"test"`` per slice, where the authors published a split.
    group_kind
        What a group is: ``"patient"``, ``"series"``, ...
    skipped
        ``(name, reason)`` of every image that was left out.

    Attributes
    ----------
    paths : tuple of Path
    targets : ndarray of int64, shape (N,)
    groups : ndarray of str, shape (N,), or None
    classes : tuple of two str
    name : str
    names : tuple of str
        With forward slashes: what ``predictions.csv`` calls ``path``. A byte that is no UTF-8 is
        written out in hexadecimal digits.
    root : Path or None
    official_split : ndarray of str, shape (N,), or None
    group_kind : str
    skipped : tuple of (str, str)

    Raises
    ------
    ValueError
        If the list is empty, lengths differ, a target is neither 0 nor 1, or a group is missing.
    TypeError
        If ``paths`` is a single path.
    FileNotFoundError
        If a path is no file.

    Notes
    -----
    A subclass whose images are not files overrides :meth:`read`, :meth:`masks`,
    :meth:`content_hash`, :meth:`subset` and ``_check_files``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from covidct import CTDataset
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a.png", "b.png"):
    ...     Image.new("L", (60, 40)).save(folder / name)
    >>> dataset = CTDataset([folder / "a.png", folder / "b.png"], [1, 0], ["p1", "p2"])
    >>> dataset
    CTDataset 'custom': 2 slices (1 COVID, 1 non-COVID), 2 patients
    >>> image, target = dataset[0]
    >>> image.size, image.mode, target
    ((60, 40), 'L', 1)
    """

    def __init__(
        self,
        paths: Iterable[StrPath],
        targets: npt.ArrayLike,
        groups: Iterable[object] | None = None,
        *,
        classes: Sequence[str] = ("non-COVID", "COVID"),
        name: str = "custom",
        root: StrPath | None = None,
        official_split: Iterable[str] | None = None,
        group_kind: str = "patient",
        skipped: Iterable[tuple[str, str]] = (),
    ) -> None:
        if isinstance(paths, str | os.PathLike):
            raise TypeError(
                f"paths must list image files, got the single path {os.fspath(paths)!r}; "
                'a folder is loaded by covidct.load_dataset("folder", root)'
            )
        self.paths = tuple(Path(path) for path in paths)
        if not self.paths:
            raise ValueError(f"dataset {name!r} is empty: paths lists no image")
        self.targets = _as_targets(targets, len(self.paths))
        self.groups = None if groups is None else _as_groups(groups, len(self.paths))
        self.official_split = (
            None if official_split is None else _as_split(official_split, len(self.paths))
        )
        self.classes = _as_classes(classes)
        self.name = name
        self.root = None if root is None else Path(root)
        self.names = _names(self.paths, self.root)
        self.group_kind = group_kind
        self.skipped = tuple(skipped)
        self._digests: tuple[str, ...] | None = None
        self._check_files()
        if repeated := [path for path, count in Counter(self.names).items() if count > 1]:
            logger.warning(
                "%d paths are listed more than once, and may stand on both sides of a split: %s",
                len(repeated),
                some(repeated),
            )

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Return one slice as 8-bit gray (PIL mode "L"), and its target."""
        # Loading and auditing need no PyTorch, which the transforms bring along.
        from ..transforms import to_grayscale

        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"index {position} is out of range for {len(self)} slices")
        position %= len(self)
        return to_grayscale(self.read(position)), int(self.targets[position])

    def __repr__(self) -> str:
        counts = np.bincount(self.targets, minlength=2)
        held = ", ".join(f"{counts[k]:,} {self.classes[k]}" for k in (1, 0))
        parts = [f"{type(self).__name__} {self.name!r}: {len(self):,} slices ({held})"]
        if self.groups is not None:
            number = len(np.unique(self.groups))
            plural = "" if number == 1 or self.group_kind.endswith("s") else "s"
            parts.append(f"{number:,} {self.group_kind}{plural}")
        if self.skipped:
            parts.append(f"{len(self.skipped):,} skipped")
        return ", ".join(parts)

    def read(self, index: int) -> Image.Image:
        """Return one slice as it is stored.

        Parameters
        ----------
        index
            Position of the slice.

        Returns
        -------
        PIL.Image.Image
            In any mode.

        Raises
        ------
        covidct.errors.InvalidFileError
            If the file cannot be decoded.
        """
        from .reading import read_image

        return read_image(self.paths[index])

    def masks(self, index: int) -> dict[str, npt.NDArray[np.bool_]] | None:
        """Return what is known of where things lie in one slice.

        Parameters
        ----------
        index
            Position of the slice.

        Returns
        -------
        dict of str to bool ndarray, shape (height, width), or None
            None where nothing is known, as for all slices from files.
        """
        del index  # Files carry no masks; phantoms do.
        return None

    def subset(self, index: npt.ArrayLike) -> Self:
        """Return the dataset of the chosen slices, in the order of ``index``.

        Parameters
        ----------
        index
            Positions (integers), or one boolean per slice.

        Returns
        -------
        CTDataset
            Of the same kind.

        Raises
        ------
        IndexError
            If a position is out of range, or a boolean index has another length.
        TypeError
            If ``index`` holds neither integers nor booleans.
        ValueError
            If nothing is chosen.
        """
        chosen = self._positions(index)
        part = copy.copy(self)
        part.paths = tuple(self.paths[i] for i in chosen)
        part.names = tuple(self.names[i] for i in chosen)
        part.targets = self.targets[chosen]
        part.groups = None if self.groups is None else self.groups[chosen]
        part.official_split = None if self.official_split is None else self.official_split[chosen]
        part._digests = None if self._digests is None else tuple(self._digests[i] for i in chosen)
        return part

    def content_hash(self) -> str:
        """Return a SHA-256 of the slices' names, targets and bytes, in their order.

        Where the files lie does not enter, as long as ``root`` was given. Files are read once per
        object, and none is decoded.

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        if self._digests is None:
            digests = map_in_threads(sha256_of_file, self.paths, description="Hashing slices")
            self._digests = tuple(digests)
        total = hashlib.sha256()
        for name, target, digest in zip(self.names, self.targets, self._digests, strict=True):
            total.update(f"{name}\0{target}\0{digest}\n".encode())
        return total.hexdigest()

    def _positions(self, index: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Turn positions or a boolean mask into checked, non-negative positions."""
        array = np.atleast_1d(np.asarray(index))
        if array.ndim != 1:
            raise IndexError(f"index must be one-dimensional, got shape {array.shape}")
        if array.dtype == np.bool_:
            if len(array) != len(self):
                raise IndexError(f"a boolean index needs {len(self)} values, got {len(array)}")
            array = np.flatnonzero(array)
        if not array.size:
            raise ValueError(f"the subset of dataset {self.name!r} would be empty")
        if not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"index must hold integers or booleans, got dtype {array.dtype}")
        outside = array[(array < -len(self)) | (array >= len(self))]
        if outside.size:
            raise IndexError(f"index {outside[0]} is out of range for {len(self)} slices")
        return array.astype(np.int64) % len(self)

    def _check_files(self) -> None:
        """Raise unless every path is a file."""
        missing = [os.fspath(path) for path in self.paths if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(self)} paths are no files: {some(missing)}"
            )


def _check_length(what: str, got: int, wanted: int) -> None:
    if got != wanted:
        raise ValueError(f"{what} must have one value per path: got {got} for {wanted} paths")


def _as_targets(targets: npt.ArrayLike, length: int) -> npt.NDArray[np.int64]:
    array = np.asarray(targets)
    if array.ndim != 1:
        raise ValueError(f"targets must be one-dimensional, got shape {array.shape}")
    _check_length("targets", len(array), length)
    wrong = [value for value in array.tolist() if value not in (0, 1)]
    if wrong:
        raise ValueError(f"targets must be 0 or 1 (1 is COVID-19), got {wrong[0]!r}")
    return array.astype(np.int64)


def _as_groups(groups: Iterable[object], length: int) -> npt.NDArray[Any]:
    values = list(groups)
    _check_length("groups", len(values), length)
    missing = [
        i for i, value in enumerate(values) if value is None or value != value or value == ""
    ]
    if missing:
        raise ValueError(
            f"{len(missing)} slices have no group (None, NaN or ''), the first at {missing[0]}; "
            "give each a group of its own, or pass groups=None"
        )
    return np.asarray([str(value) for value in values])


def _as_split(split: Iterable[str], length: int) -> npt.NDArray[Any]:
    values = [str(value) for value in split]
    _check_length("official_split", len(values), length)
    wrong = sorted(set(values) - set(_SPLITS))
    if wrong:
        raise ValueError(f"official_split must be one of {_SPLITS}, got {wrong[0]!r}")
    return np.asarray(values)


def _as_classes(classes: Sequence[str]) -> tuple[str, str]:
    if isinstance(classes, str) or len(classes) != 2 or classes[0] == classes[1]:
        raise ValueError(
            f"classes must be two different names, of class 0 and class 1, got {classes!r}"
        )
    return str(classes[0]), str(classes[1])


def _names(paths: tuple[Path, ...], root: Path | None) -> tuple[str, ...]:
    if root is None:
        return tuple(printable(path.as_posix()) for path in paths)
    outside = [os.fspath(path) for path in paths if not path.is_relative_to(root)]
    if outside:
        raise ValueError(
            f"{len(outside)} paths do not lie below root {os.fspath(root)!r}: {some(outside)}"
        )
    return tuple(printable(path.relative_to(root).as_posix()) for path in paths)
