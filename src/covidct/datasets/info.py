"""What a user wants to know of a dataset before fetching it."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["DatasetInfo"]


@dataclass(frozen=True)
class DatasetInfo:
    """An entry of the dataset registry.

    Parameters
    ----------
    name
        Name for :func:`covidct.load_dataset`: lower-case letters, digits, ``-``, ``_`` and ``.``.
    title
        The name in full.
    classes
        Names of class 0 and class 1.
    counts
        Slices of class 0 and of class 1; None where it depends on what is loaded.
    license
        Under which terms the images may be used.
    home
        Web page of the authors.
    citation
        The publication to cite.
    known_faults
        What is wrong with the data, as far as known: read before believing a score.
    loader
        ``"module:function"``, imported on use. It is called with the root, and by keyword with
        whichever of ``info``, ``download``, ``verify`` and ``on_error`` its signature names; its
        further keywords are the options of :func:`covidct.load_dataset`. It returns a
        :class:`covidct.CTDataset`.
    layout
        Which files are expected below the root.
    how_to_get
        How to come by the files.
    source
        Where ``download=True`` fetches: ``"https://.../"`` (a folder of ``archives``) or
        ``"kaggle:owner/dataset"``; empty where nothing can be fetched.
    archives
        Names of the archives below ``source``.
    manifest
        File of published names and hashes: one of covidct's own, or an absolute path.
    group_kind
        What ``groups`` are, such as ``"patient"``; empty where the dataset ships none.

    Raises
    ------
    ValueError
        If a field is malformed.

    Examples
    --------
    >>> import covidct
    >>> info = covidct.dataset_info("covid19-ct")
    >>> info.counts
    (397, 349)
    >>> mine = covidct.DatasetInfo("ward-7", "Slices of ward 7")    # class folders
    >>> mine.loader
    'covidct.datasets.folder:load'
    """

    name: str
    title: str
    classes: tuple[str, str] = ("non-COVID", "COVID")
    counts: tuple[int, int] | None = None
    license: str = ""
    home: str = ""
    citation: str = ""
    known_faults: tuple[str, ...] = ()
    loader: str = "covidct.datasets.folder:load"
    layout: str = ""
    how_to_get: str = ""
    source: str = ""
    archives: tuple[str, ...] = ()
    manifest: str = ""
    group_kind: str = ""

    def __post_init__(self) -> None:
        self._require(
            re.fullmatch(r"[a-z0-9][a-z0-9._-]*", self.name) is not None,
            "name must be lower-case letters, digits, '-', '_' or '.'",
            self.name,
        )
        self._require(bool(self.title.strip()), "title must not be empty", self.title)
        self._require(
            re.fullmatch(r"\w+(\.\w+)*:\w+", self.loader) is not None,
            "loader must be 'module:function'",
            self.loader,
        )
        self._require(
            not isinstance(self.classes, str)
            and len(self.classes) == 2
            and self.classes[0] != self.classes[1],
            "classes must be two different names",
            self.classes,
        )
        self._require(
            self.counts is None or (len(self.counts) == 2 and min(self.counts) >= 0),
            "counts must be two numbers, of class 0 and class 1, or None",
            self.counts,
        )
        self._require(
            not isinstance(self.known_faults, str),
            "known_faults must be a tuple of sentences",
            self.known_faults,
        )
        self._require(
            re.fullmatch(r"(https?://.+/|kaggle:[^/]+/[^/]+)?", self.source) is not None,
            "source must be 'https://.../' with a closing slash, 'kaggle:owner/dataset' or ''",
            self.source,
        )

    def _require(self, right: bool, rule: str, value: object) -> None:
        if not right:
            raise ValueError(f"dataset {self.name!r}: {rule}, got {value!r}")

    def __str__(self) -> str:
        """Return a description of several lines."""
        facts = {
            "classes": " / ".join(self.classes),
            "slices": "depends on what is loaded"
            if self.counts is None
            else " + ".join(f"{count:,}" for count in self.counts),
            "license": self.license,
            "home": self.home,
            "citation": self.citation,
            "layout": self.layout,
            "to get it": self.how_to_get,
        }
        lines = [f"{self.name}: {self.title}"]
        lines += [f"  {key}: {value}" for key, value in facts.items() if value]
        lines += [f"  known fault: {fault}" for fault in self.known_faults]
        return "\n".join(lines)
