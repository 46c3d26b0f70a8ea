"""A user's copy of a public set: its files, its label files, and what is missing from it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath

import pandas as pd

from ..._text import some
from ...errors import InvalidFileError
from .._listing import is_picture, natural_key, volume_suffix, walk
from ..ct_dataset import CTDataset, OnError, StrPath
from ..gray import WindowChoice
from ..info import DatasetInfo
from ..rows import SliceChoice
from ..slices import Found, find_slices
from ..table import dataset_of_table
from ..tabular import read_table

__all__ = ["LocalCopy", "plain"]


def plain(name: str) -> str:
    """Reduce a name to its letters and digits in lower case."""
    return re.sub(r"[\W_]+", "", name.casefold())


class LocalCopy:
    """Files below the folder that a user unpacked a public set into.

    Parameters
    ----------
    root : str or path-like
        The folder.
    info : DatasetInfo
        Entry of the registry.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    """

    def __init__(self, root: StrPath, info: DatasetInfo) -> None:
        self.root = Path(root)
        self.info = info
        if not self.root.is_dir():
            raise FileNotFoundError(
                f"{os.fspath(root)!r} is not a folder; it should hold {self.expected}"
            )

    @property
    def expected(self) -> str:
        """The layout and the way to get it, for messages."""
        return f"{self.info.layout}. To get {self.info.name}: {self.info.how_to_get}"

    def missing(self, what: str) -> FileNotFoundError:
        """Return the error for a copy that lacks something."""
        held = sorted({name.partition("/")[0] for name in self.files})
        there = f"it holds {some(held, limit=6)}" if held else "it is empty"
        return FileNotFoundError(
            f"{os.fspath(self.root)!r} has no {what} ({there}). Expected: {self.expected}"
        )

    @cached_property
    def files(self) -> list[str]:
        """Paths of all files relative to the root, in natural order within each folder."""
        prefix = len(os.fspath(self.root / "_")) - 1
        names = [os.fspath(path)[prefix:].replace(os.sep, "/") for path in walk(self.root)]
        by_folder: dict[str, list[str]] = {}
        for name in names:
            folder, _, file = name.rpartition("/")
            by_folder.setdefault(folder, []).append(file)
        return [
            f"{folder}/{file}" if folder else file
            for folder in sorted(by_folder, key=natural_key)
            for file in sorted(by_folder[folder], key=natural_key)
        ]

    @cached_property
    def pictures(self) -> list[str]:
        """Those of `files` that are pictures, by their suffix."""
        return [name for name in self.files if is_picture(name)]

    @cached_property
    def volumes(self) -> list[str]:
        """Those of `files` that are NIfTI, MHA, MHD or NRRD files, by their suffix."""
        return [name for name in self.files if volume_suffix(PurePosixPath(name))]

    def file(self, *patterns: str) -> Path | None:
        """Find a file by patterns of its name, in any case; the first pattern, then the least deep.

        Parameters
        ----------
        *patterns : str
            Shell-style wildcards.

        Returns
        -------
        Path or None
            The file.
        """
        for pattern in patterns:
            found = [
                name
                for name in self.files
                if fnmatchcase(name.rpartition("/")[2].casefold(), pattern.casefold())
            ]
            if found:
                return self.root / min(found, key=lambda name: (name.count("/"), name))
        return None

    def table(self, *patterns: str) -> pd.DataFrame:
        """Read a label file, found by patterns of its name.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        """
        path = self.file(*patterns)
        if path is None:
            raise self.missing(f"file {patterns[0]!r}")
        return read_table(path)

    def by_name(self, names: Iterable[str]) -> dict[str, str]:
        """Map the names of files, without folders, to their paths."""
        return {name.rpartition("/")[2]: name for name in names}

    def by_class(self, names: Iterable[str], labels: Mapping[str, str]) -> pd.DataFrame:
        """Sort files by the folder of their class.

        Parameters
        ----------
        names : iterable of str
            Some of `files`.
        labels : mapping of str to str
            Label of each class folder, whose name is reduced by :func:`plain`.

        Returns
        -------
        DataFrame
            Files below one of these folders (the innermost counts): the columns ``path`` and
            ``label``, with ``above`` and ``below``, the folders around the class folder.

        Raises
        ------
        FileNotFoundError
            If there are none.
        """
        places: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]] | None] = {}
        rows = []
        for name in names:
            folder = name.rpartition("/")[0]
            if folder not in places:
                places[folder] = _class_folder(folder, labels)
            place = places[folder]
            if place is not None:
                rows.append((name, *place))
        if not rows:
            raise self.missing(f"slices in class folders (one of {some(labels, limit=8)})")
        return pd.DataFrame(rows, columns=["path", "label", "above", "below"])

    def find(self, names: Iterable[str], *, on_error: OnError) -> Found:
        """Search some of the files, or folders, for slices."""
        return find_slices([self.root / name for name in names], root=self.root, on_error=on_error)

    def dataset_of_pictures(
        self,
        table: pd.DataFrame,
        *,
        origin: str,
        positive: object,
        negative: object,
        window: WindowChoice,
        on_error: OnError,
    ) -> CTDataset:
        """Make the dataset of listed pictures, without opening them; see `dataset_of_table`."""
        there = set(self.pictures)
        names = [name for name in dict.fromkeys(table["path"]) if name in there]
        return dataset_of_table(
            table,
            self.root,
            info=self.info,
            origin=origin,
            found=Found([], [self.root / name for name in names], [], {}),
            positive=positive,
            negative=negative,
            window=window,
            on_error=on_error,
        )

    def dataset_of_volumes(
        self,
        table: pd.DataFrame,
        *,
        origin: str,
        positive: object,
        negative: object,
        slices: SliceChoice,
        window: WindowChoice,
        on_error: OnError,
        masks: tuple[str, ...] = (),
    ) -> CTDataset:
        """Make the dataset of listed volumes; see `dataset_of_table`."""
        there = set(self.volumes)
        missing = [name for name in table["path"] if name not in there]
        if missing and on_error == "raise":  # before minutes are spent on reading volumes
            raise InvalidFileError(
                f"{len(missing):,} of {len(table):,} listed volumes are not in "
                f"{str(self.root)!r}: {some(missing)}; load those that are there with "
                "on_error='skip' (--on-error skip)"
            )
        return dataset_of_table(
            table,
            self.root,
            info=self.info,
            origin=origin,
            found=self.find((name for name in table["path"] if name in there), on_error=on_error),
            positive=positive,
            negative=negative,
            slices=slices,
            window=window,
            on_error=on_error,
            masks=masks,
        )


def _class_folder(
    folder: str, labels: Mapping[str, str]
) -> tuple[str, tuple[str, ...], tuple[str, ...]] | None:
    parts = tuple(folder.split("/"))
    for i in reversed(range(len(parts))):
        if plain(parts[i]) in labels:
            return labels[plain(parts[i])], parts[:i], parts[i + 1 :]
    return None
