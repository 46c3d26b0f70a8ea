"""Evaluation protocols: how slices are divided into training and test parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UnknownNameError

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset

__all__ = [
    "NARROW_INTERVALS",
    "PROTOCOLS",
    "Protocol",
    "default_repeats",
    "group_unit",
    "leakage_warning",
    "split_options",
]

#: Names of protocols in commands and sweeps: random slices, as in the paper; whole patients (or, if
#: patients are unknown, whole groups of near-duplicates); the split of the dataset's authors; one
#: source left out at a time.
PROTOCOLS = ("paper", "grouped", "official", "source")

_DESCRIPTIONS = {
    "paper": "slices split at random within each class, as in the paper",
    "official": "the split published by the authors of the dataset, repeated with several seeds",
    "source": "one source, such as a hospital, is tested by a network trained on all others",
    "splitter": "folds of a scikit-learn splitter",
    "given": "folds given by the user",
}
_UNITS = {
    "near-duplicate": "near-duplicate group",
    "given groups": "group",
    "patient+near-duplicate": "patient",
    "volume+near-duplicate": "volume",
}

#: Warning about intervals if patients are unknown, and near-duplicate groups (True) or slices
#: (False) are resampled.
NARROW_INTERVALS = {
    True: "These intervals are too narrow: they resample near-duplicate groups, of which a patient "
    "may have several; patients are unknown.",
    False: "These intervals are too narrow if patients have several slices: they resample slices; "
    "patients are unknown.",
}


@dataclass(frozen=True)
class Protocol:
    """Division of a dataset into training and test parts.

    Two runs can be compared fold by fold only if their protocols are equal.

    Parameters
    ----------
    id : {"paper", "grouped", "official", "source", "splitter", "given"}
        Kind of protocol: random slices, whole groups, the split of the dataset's authors, one
        source left out at a time, a scikit-learn splitter, or folds given as pairs of positions.
    label : str
        Text for tables, such as ``"grouped by patient"``.
    group_kind : str or None, default=None
        Kind of the groups that the protocol keeps together, such as ``"patient"``; None if slices
        of one group may be in both parts.

    Raises
    ------
    UnknownNameError
        If `id` is not one of the six.

    Examples
    --------
    >>> from covidct.runs.protocol import Protocol
    >>> protocol = Protocol.grouped("patient")
    >>> str(protocol), protocol.id, protocol == Protocol.paper()
    ('grouped by patient', 'grouped', False)
    """

    id: str
    label: str
    group_kind: str | None = None

    def __post_init__(self) -> None:
        known = ("grouped", *_DESCRIPTIONS)
        if self.id not in known:
            raise UnknownNameError.among("protocol id", self.id, known)

    @classmethod
    def paper(cls) -> Protocol:
        """Return the protocol of the paper: stratified random slices."""
        return cls("paper", "paper")

    @classmethod
    def grouped(cls, group_kind: str) -> Protocol:
        """Return the protocol that keeps groups of slices together.

        Parameters
        ----------
        group_kind : str
            Kind of the groups, such as ``"patient"`` or ``"near-duplicate"``.

        Returns
        -------
        Protocol
            Its label is ``"grouped by"`` and the kind.
        """
        return cls("grouped", f"grouped by {group_kind}", group_kind)

    @classmethod
    def official(cls) -> Protocol:
        """Return the protocol of the dataset's authors."""
        return cls("official", "official")

    @classmethod
    def source(cls) -> Protocol:
        """Return the protocol that leaves out one source at a time."""
        return cls("source", "leave one source out", "source")

    @property
    def description(self) -> str:
        """Explanation of the protocol for readers of a report, in one line."""
        if self.id == "grouped":
            kind = group_unit(self.group_kind)
            return f"all slices of a {kind} on the same side of every split"
        return _DESCRIPTIONS[self.id]

    def __str__(self) -> str:
        return self.label


def group_unit(kind: str | None) -> str:
    """Return the noun for one group of a kind, such as ``"patient"``, for use in sentences."""
    return "group" if kind is None else _UNITS.get(kind, kind)


def default_repeats(protocol: object) -> int:
    """Return the number of repeats where none is given.

    Parameters
    ----------
    protocol : object
        Name of the protocol, or the option ``cv`` of a cross-validation.

    Returns
    -------
    int
        5 for the official split, whose single fold is trained with several seeds, else 1.
    """
    return 5 if isinstance(protocol, str) and protocol == "official" else 1


def split_options(protocol: str, dataset: CTDataset, folds: int) -> dict[str, Any]:
    """Translate the name of a protocol into options of a cross-validation.

    Parameters
    ----------
    protocol : {"paper", "grouped", "official", "source"}
        Name of the protocol. ``"grouped"`` keeps each patient, and patients that share
        near-duplicates, together; if the dataset has no groups, it keeps near-duplicates together.
    dataset : CTDataset
        The dataset to be split.
    folds : int
        Number of folds; not used by ``"official"`` and ``"source"``.

    Returns
    -------
    dict
        The options ``cv`` and ``groups`` of :class:`covidct.CrossValidator`.

    Raises
    ------
    UnknownNameError
        If `protocol` is not one of the four.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.protocol import split_options
    >>> split_options("grouped", covidct.load_dataset("phantom", n=8), 5)
    {'cv': 5, 'groups': 'patient+near-duplicate'}
    """
    options: dict[str, dict[str, Any]] = {
        "paper": {"cv": folds},
        "grouped": {
            "cv": folds,
            "groups": "near-duplicate" if dataset.groups is None else "patient+near-duplicate",
        },
        "official": {"cv": "official"},
        "source": {"cv": "source"},
    }
    if protocol not in options:
        raise UnknownNameError.among("protocol", protocol, options)
    return options[protocol]


def leakage_warning(unit: str | None, *, random: bool = True) -> str:
    """Return the sentence that warns of leakage in a random split.

    Logs, tables and reports all use this wording.

    Parameters
    ----------
    unit : str or None
        Noun for the groups that the split separates, such as ``"patient"``; None if groups are
        unknown.
    random : bool, default=True
        Begin with the statement that slices are split at random.

    Returns
    -------
    str
        One sentence, without an initial capital letter and a full stop.

    Examples
    --------
    >>> from covidct.runs.protocol import leakage_warning
    >>> print(leakage_warning("patient"))
    slices are split at random: slices of the same patient are in the training and the test part \
of a fold, which makes the metrics too optimistic for new patients
    """
    if unit is None:
        return (
            "slices are split at random and their patients are unknown: slices of the same patient "
            "may be in the training and the test part of a fold, which would make the metrics too "
            "optimistic for new patients"
        )
    new = "patient" if unit == _UNITS["near-duplicate"] else unit
    return (
        f"{'slices are split at random: ' if random else ''}slices of the same {unit} are in the "
        "training and the test part of a fold, which makes the metrics too optimistic for new "
        f"{new}s"
    )
