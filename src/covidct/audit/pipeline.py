"""Is a dataset, and a split of it, fit to be believed? Asked before any network is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..datasets.ct_dataset import CTDataset
from .checks import (
    are_sources,
    check_duplicates,
    check_leakage,
    check_records,
    check_shortcuts,
    check_unmeasured,
)
from .duplicates import find_pairs, group_labels
from .file_order import file_blocks, file_order
from .findings import AuditReport
from .leakage import probe_leakage
from .measurements import measure_slices
from .shortcuts import measure_shortcuts

__all__ = ["audit_dataset"]

_Groups = npt.NDArray[Any]
_GRAVITY = {"fatal": 0, "warning": 1, "note": 2}
# Files per run of neighbors by name: about a scan of few slices, and one of many.
_RUNS = (10, 40)
_LARGEST_GROUPS = 20


def audit_dataset(dataset: CTDataset, *, seed: int = 0) -> AuditReport:
    """Look for what would make a score on this dataset worth less than it looks.

    Duplicates (:mod:`covidct.audit.duplicates`), shortcuts (:mod:`covidct.audit.shortcuts`), leaks
    of a random split (:mod:`covidct.audit.leakage`), and what labels and patients say. Every slice
    is read once.

    Parameters
    ----------
    dataset
        The slices.
    seed
        Seed of folds and resampling.

    Returns
    -------
    AuditReport
        Print it, or take it apart.

    Raises
    ------
    InvalidFileError
        If a slice cannot be read.

    Examples
    --------
    >>> import covidct
    >>> slices = covidct.load_dataset("phantom", n=24, seed=0)
    >>> report = covidct.audit_dataset(slices)
    >>> [row["split"] for row in report.tables["leakage"]]  # doctest: +NORMALIZE_WHITESPACE
    ['random slices', 'slices of one patient kept together', 'near-duplicates kept together']
    """
    measurements = measure_slices(dataset)
    pairs = find_pairs(measurements, dataset.names)
    groups = group_labels(pairs, len(dataset))
    together = groups if dataset.groups is None or are_sources(dataset) else dataset.groups
    shortcuts = measure_shortcuts(measurements, dataset.targets, groups=together, seed=seed)
    probes = probe_leakage(
        measurements.canvases, dataset.targets, groupings=_groupings(dataset, groups), seed=seed
    )
    findings = (
        *check_records(dataset),
        *check_duplicates(dataset, pairs, groups),
        *check_leakage(probes, advice=_advice(dataset)),
        *check_shortcuts(shortcuts),
        *check_unmeasured(dataset, shortcuts, probes),
    )
    return AuditReport(
        dataset=dataset.name,
        subject=repr(dataset),
        findings=tuple(sorted(findings, key=lambda finding: _GRAVITY[finding.severity])),
        groups=groups,
        tables={
            "shortcuts": tuple(
                shortcut._asdict() | {"sees": list(shortcut.sees)} for shortcut in shortcuts
            ),
            "leakage": tuple(probe._asdict() for probe in probes),
            "patients": tuple(_patients(dataset)),
            "near-duplicate groups": tuple(_largest(dataset, groups)),
        },
    )


def _groupings(dataset: CTDataset, groups: _Groups) -> dict[str, _Groups | None]:
    """Return the splits to probe; the second is the one that the random split is held against."""
    near = {"near-duplicates kept together": groups}
    if dataset.groups is not None:
        known = {f"slices of one {dataset.group_kind} kept together": dataset.groups}
        return {"random slices": None, **known, **near}
    runs = {
        f"runs of {length} files kept together": file_blocks(
            dataset.names, dataset.targets, length=length
        )
        for length in _RUNS
    }
    return {"random slices": None, **near, **runs}


def _advice(dataset: CTDataset) -> str:
    if dataset.groups is not None:
        return 'Split with groups="patient".'
    return 'Split with groups="near-duplicate", and find out which slices are of one patient.'


def _patients(dataset: CTDataset) -> Iterator[dict[str, Any]]:
    """Yield for each class how many patients it has, and how many slices they have."""
    for target, name in enumerate(dataset.classes):
        chosen = dataset.targets == target
        row: dict[str, Any] = {"class": name, "slices": int(chosen.sum())}
        if dataset.groups is not None and chosen.any():
            _, sizes = np.unique(dataset.groups[chosen], return_counts=True)
            row |= {
                "groups": len(sizes),
                "median slices": int(np.median(sizes)),
                "most slices": int(sizes.max()),
            }
        yield row


def _largest(dataset: CTDataset, groups: _Groups) -> Iterator[dict[str, Any]]:
    """Yield the largest groups of near-duplicates and their files."""
    sizes = np.bincount(groups)
    for label in np.argsort(-sizes, kind="stable")[:_LARGEST_GROUPS]:
        if sizes[label] > 1:
            names = [dataset.names[i] for i in np.flatnonzero(groups == label)]
            first, *_, last = (names[i] for i in file_order(names))
            yield {"slices": len(names), "first": first, "last": last, "files": names}
