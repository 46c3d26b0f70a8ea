"""The three ways of splitting that have a name, as options of a cross-validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset

__all__ = ["PROTOCOLS", "split_options"]

#: Slices at random, as in the paper; patients (or, where unknown, near-duplicates) kept together;
#: the split of the dataset's authors.
PROTOCOLS = ("paper", "grouped", "official")


def split_options(protocol: str, dataset: CTDataset, folds: int) -> dict[str, Any]:
    """Say what a protocol means for a dataset.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.protocol import split_options
    >>> split_options("grouped", covidct.load_dataset("phantom", n=8), 5)
    {'cv': 5, 'groups': 'patient'}
    """
    found = "near-duplicate" if dataset.groups is None else "patient"
    options: dict[str, dict[str, Any]] = {
        "paper": {"cv": folds},
        "grouped": {"cv": folds, "groups": found},
        "official": {"cv": "official"},
    }
    return options[protocol]
