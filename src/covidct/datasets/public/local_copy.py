"""Local copy of a public dataset: its files, label files, and missing parts."""

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
    """Files below the folder into which a public dataset was unpacked.

    Parameters
    ----------
    root : str or path-like
        Folder of the dataset.
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
                f"{os.fspath(root)!r} is not a folder; it should contain {self.expected}"
            )

    @property
    def expected(self) -> str:
        """Layout of the dataset and how to get it, for messages."""
        return f"{self.info.layout}. To get {self.info.name}: {self.info.how_to_get}"

    def missing(self, what: str) -> FileNotFoundError:
        """Return the error for a copy in which something is missing."""
        held = sorted({name.partition("/")[0] for name in self.files})
        there = f"it contains {some(held, limit=6)}" if held else "it is empty"
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
        """Paths of pictures, by their suffix."""
        return [name for name in self.files if is_picture(name)]

    @cached_property
    def volumes(self) -> list[str]:
        """Paths of NIfTI, MHA, MHD and NRRD files, by their suffix."""
        return [name for name in self.files if volume_suffix(PurePosixPath(name))]

    def file(self, *patterns: str) -> Path | None:
        """Find a file by its name.

        The first pattern that a file matches is used, and of several files the one in the fewest
        folders.

        Parameters
        ----------
        *patterns : str
            Shell-style wildcards, which ignore case.

        Returns
        -------
        Path or None
            Path of the file; None if no file matches.
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
        """Read a label file that is found as in :meth:`file`.

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
        """Return the path of each file by its name without folders."""
        return {name.rpartition("/")[2]: name for name in names}

    def by_class(self, names: Iterable[str], labels: Mapping[str, str]) -> pd.DataFrame:
        """Return the label of each file by its class folder.

        Parameters
        ----------
        names : iterable of str
            Paths of some of `files`.
        labels : mapping of str to str
            Label by the name of the class folder, simplified by :func:`plain`.

        Returns
        -------
        DataFrame
            Files below a class folder (the innermost, if there are several): the columns ``path``,
            ``label``, and ``above`` and ``below`` for the folders above and below the class folder.

        Raises
        ------
        FileNotFoundError
            If no file is in a class folder.
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
        """Search files or folders for slices."""
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
        """Create the dataset of listed pictures without opening them; see `dataset_of_table`."""
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
        """Create the dataset of listed volumes; see `dataset_of_table`."""
        there = set(self.volumes)
        missing = [name for name in table["path"] if name not in there]
        if missing and on_error == "raise":  # before all volumes are read, which takes minutes
            raise InvalidFileError(
                f"{len(missing):,} of {len(table):,} listed volumes are not in "
                f"{str(self.root)!r}: {some(missing)}; load the others with "
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
