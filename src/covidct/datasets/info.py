"""Entries of the dataset registry."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from .._display import definition_list, paragraphs

__all__ = ["DatasetInfo"]


@dataclass(frozen=True, repr=False)
class DatasetInfo:
    """Entry of the dataset registry.

    Parameters
    ----------
    name : str
        Name for :func:`covidct.load_dataset`: lower-case letters, digits, ``-``, ``_`` and ``.``.
    title : str
        Full name.
    classes : tuple of (str, str), optional
        Labels of class 0 and class 1; None if they are found when the dataset is loaded.
    positive : tuple of str, default=()
        Labels of COVID-19, if `classes` does not name them, as for a set of more than two labels.
    negative : tuple of str, default=()
        Labels of class 0. By default, all labels that are not in `positive`. Slices with other
        labels are left out.
    counts : tuple of (int, int), optional
        Numbers of units of class 0 and class 1; None if they depend on the loaded files.
    unit : {"slices", "volumes"}, default="slices"
        Unit of `counts`.
    patients : int, optional
        Number of patients, if known.
    values : str, default=""
        File format and meaning of the pixels, such as ``"NIfTI, Hounsfield units"``.
    split : str, default=""
        The official split, if there is one.
    license : str, default=""
        Terms of use of the images.
    home : str, default=""
        Web page of the authors.
    citation : str, default=""
        Publication to cite.
    known_faults : tuple of str, default=()
        Known faults of the data, which may make scores too optimistic.
    contains : tuple of str, default=()
        Registered datasets that share slices or patients with this one, so that one of them must
        not be used to test a network that was trained on the other.
    tested_on : str, default=""
        Files on which the reader was tested: ``"real files"``, ``"a sample of the real files"`` or
        ``"generated files"`` of the published layout.
    loader : callable or str, default="covidct.datasets.folder:load"
        Function that returns a :class:`covidct.CTDataset`, or its location ``"module:function"``,
        imported on first use. It is called with the root and, by keyword, with those of ``info``,
        ``download``, ``verify`` and ``on_error`` that are in its signature; its other keywords are
        the options of :func:`covidct.load_dataset`.
    layout : str, default=""
        Files that are expected below the root.
    how_to_get : str, default=""
        Instructions to obtain the files.
    source : str, default=""
        Location for ``download=True``: ``"https://.../"`` (a folder of `archives`) or
        ``"kaggle:owner/dataset"``; empty if the dataset cannot be downloaded.
    archives : tuple of str, default=()
        Names of the archives below `source`.
    manifest : str, default=""
        File of published names and hashes: the name of a file in covidct, or an absolute path.
    group_kind : str, default=""
        Kind of the groups, such as ``"patient"``; empty for a dataset without groups.
    ids_per_class : bool, default=False
        True if folders of the same name in two classes belong to two patients.

    Raises
    ------
    ValueError
        If a field is not valid.

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
    classes: tuple[str, str] | None = None
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    counts: tuple[int, int] | None = None
    unit: str = "slices"
    patients: int | None = None
    values: str = ""
    split: str = ""
    license: str = ""
    home: str = ""
    citation: str = ""
    known_faults: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()
    tested_on: str = ""
    loader: Callable[..., Any] | str = "covidct.datasets.folder:load"
    layout: str = ""
    how_to_get: str = ""
    source: str = ""
    archives: tuple[str, ...] = ()
    manifest: str = ""
    group_kind: str = ""
    ids_per_class: bool = False

    def __post_init__(self) -> None:
        self._require(
            re.fullmatch(r"[a-z0-9][a-z0-9._-]*", self.name) is not None,
            "name must be lower-case letters, digits, '-', '_' or '.'",
            self.name,
        )
        self._require(bool(self.title.strip()), "title must not be empty", self.title)
        self._require(
            callable(self.loader) or re.fullmatch(r"\w+(\.\w+)*:\w+", self.loader) is not None,
            "loader must be a function or 'module:function'",
            self.loader,
        )
        self._require(
            self.classes is None
            or (
                not isinstance(self.classes, str)
                and len(self.classes) == 2
                and self.classes[0] != self.classes[1]
            ),
            "classes must be two different names, or None",
            self.classes,
        )
        self._require(
            self.counts is None or (len(self.counts) == 2 and min(self.counts) >= 0),
            "counts must be two numbers, of class 0 and class 1, or None",
            self.counts,
        )
        self._require(
            self.unit in ("slices", "volumes"), "unit must be 'slices' or 'volumes'", self.unit
        )
        for name in ("positive", "negative", "contains"):
            value = getattr(self, name)
            self._require(not isinstance(value, str), f"{name} must be a tuple of names", value)
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

    @property
    def size(self) -> str:
        """Number of units of class 0 and class 1 in words."""
        if self.counts is None:
            return "depends on the loaded files"
        return " + ".join(f"{count:,}" for count in self.counts) + f" {self.unit}"

    @property
    def _labels(self) -> str:
        """Labels of class 0 and class 1 in words."""
        if self.classes is not None:
            return " / ".join(self.classes)
        if not self.positive:
            return "found in the loaded files"
        rest = ", ".join(self.negative) or "all others"
        return f"{rest} / {', '.join(self.positive)}"

    def __repr__(self) -> str:
        return f"DatasetInfo {self.name!r}: {self.title}, {self.size}"

    def _repr_html_(self) -> str:
        title = f"<p><strong>{escape(self.title)}</strong> ({escape(self.name)})</p>"
        faults = [f"Known fault: {fault}" for fault in self.known_faults]
        return title + definition_list(self._facts()) + paragraphs(faults)

    def _facts(self) -> dict[str, str]:
        return {
            "classes": self._labels,
            "size": self.size,
            "patients": "" if self.patients is None else f"{self.patients:,}",
            "values": self.values,
            "official split": self.split,
            "license": self.license,
            "home": self.home,
            "citation": self.citation,
            "layout": self.layout,
            "to get it": self.how_to_get,
            "shares slices with": ", ".join(self.contains),
            "reader tested on": self.tested_on,
        }

    def __str__(self) -> str:
        """Return a description of several lines."""
        facts = self._facts()
        lines = [f"{self.name}: {self.title}"]
        lines += [f"  {key}: {value}" for key, value in facts.items() if value]
        lines += [f"  known fault: {fault}" for fault in self.known_faults]
        return "\n".join(lines)
