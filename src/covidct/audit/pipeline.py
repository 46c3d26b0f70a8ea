"""The audit of a dataset: measurements, checks and the report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..datasets.ct_dataset import CTDataset
from .checks import (
    check_duplicates,
    check_leakage,
    check_masks,
    check_measured,
    check_origins,
    check_records,
    check_shortcuts,
    check_sources,
    groups_are_sources,
)
from .duplicates import group_labels, near_duplicate_pairs
from .file_order import file_blocks, file_order
from .findings import AuditReport
from .leakage import probe_leakage
from .measurements import SliceMeasurements, measure_slices
from .shortcuts import measure_shortcuts
from .sources import measure_confounding, recognize_sources

__all__ = ["audit_dataset"]

_Groups = npt.NDArray[Any]
_ORDER = {"fatal": 0, "warning": 1, "note": 2}
# Number of consecutive files in a block: that of a scan with few slices, and of one with many.
_BLOCK_LENGTHS = (10, 40)
_LARGEST_GROUPS = 20


def audit_dataset(dataset: CTDataset, *, seed: int = 0) -> AuditReport:
    """Check a dataset for problems that make scores on it too optimistic.

    The audit searches for duplicates (`covidct.audit.duplicates`), image properties that predict
    the class (`covidct.audit.shortcuts`), leakage of a random split (`covidct.audit.leakage`),
    sources that predict the label (`covidct.audit.sources`), and contradictions between labels,
    patients and the official split. It reads every slice once and does not train a network.

    Parameters
    ----------
    dataset : CTDataset
        Dataset to audit.
    seed : int, default=0
        Random seed of folds, permutations and bootstrap.

    Returns
    -------
    AuditReport
        Findings by severity, tables, and the groups of near-duplicates.

    Raises
    ------
    InvalidFileError
        If a slice cannot be read.

    Examples
    --------
    >>> import covidct
    >>> slices = covidct.load_dataset("phantom", n=48, seed=0)
    >>> report = covidct.audit_dataset(slices)
    >>> [row["split"] for row in report.tables["leakage"]]
    ['random', 'grouped by patient', 'grouped by near-duplicate']
    """
    measurements = measure_slices(dataset)
    pairs = near_duplicate_pairs(dataset)
    groups = group_labels(pairs, len(dataset))
    use_own_groups = dataset.groups is not None and not groups_are_sources(dataset)
    units = np.asarray(dataset.groups) if use_own_groups else groups
    shortcuts = measure_shortcuts(measurements, dataset.targets, groups=units, seed=seed)
    probes = probe_leakage(
        measurements.canvases, dataset.targets, groupings=_groupings(dataset, groups), seed=seed
    )
    confounding = recognition = None
    if dataset.sources is not None:
        labels = np.asarray(dataset.labels).astype(np.str_)
        sources = np.asarray(dataset.sources).astype(np.str_)
        confounding = measure_confounding(sources, labels, dataset.targets, units, seed=seed)
        recognition = recognize_sources(measurements, sources, units, seed=seed)
    findings = (
        *check_records(dataset),
        *check_masks(dataset, measurements),
        *check_origins(dataset, measurements, units, shortcuts=shortcuts),
        *check_duplicates(dataset, pairs, groups),
        *check_leakage(probes, advice=_advice(dataset)),
        *check_shortcuts(shortcuts),
        *check_sources(confounding, recognition),
        *check_measured(dataset, shortcuts, probes),
    )
    return AuditReport(
        dataset=dataset.name,
        subject=repr(dataset),
        findings=tuple(sorted(findings, key=lambda finding: _ORDER[finding.severity])),
        groups=groups,
        properties=_varying_properties(measurements),
        tables={
            "shortcuts": tuple(
                shortcut._asdict() | {"properties": list(shortcut.properties)}
                for shortcut in shortcuts
            ),
            "leakage": tuple(probe._asdict() for probe in probes),
            "patients": tuple(_class_sizes(dataset)),
            "sources": tuple(_source_sizes(dataset, units)),
            "source recognition": () if recognition is None else (recognition._asdict(),),
            "near-duplicate groups": tuple(_largest_groups(dataset, groups)),
        },
    )


def _varying_properties(measurements: SliceMeasurements) -> dict[str, npt.NDArray[Any]]:
    columns = {
        "file format": measurements.formats,
        "color mode": measurements.modes,
        "image size": measurements.sizes.prod(axis=1),
    }
    return {name: values for name, values in columns.items() if len(np.unique(values)) > 1}


def _groupings(dataset: CTDataset, groups: _Groups) -> dict[str, _Groups | None]:
    """Return the splits to measure; the random split is compared with the second one."""
    near = {"grouped by near-duplicate": groups}
    if dataset.groups is not None:
        return {"random": None, f"grouped by {dataset.group_kind}": dataset.groups, **near}
    blocks = {
        f"grouped by blocks of {length} files": file_blocks(
            dataset.names, dataset.targets, length=length
        )
        for length in _BLOCK_LENGTHS
    }
    return {"random": None, **near, **blocks}


def _advice(dataset: CTDataset) -> str:
    if dataset.groups is not None:
        return 'Split with groups="patient".'
    return 'Split with groups="near-duplicate", and find out the patients of the slices.'


def _class_sizes(dataset: CTDataset) -> Iterator[dict[str, Any]]:
    """Yield the numbers of slices and groups of each class or label, and the sizes of its groups.

    Labels are listed instead of classes if there are more than two.
    """
    masks = {name: dataset.targets == target for target, name in enumerate(dataset.classes)}
    labels = np.asarray(dataset.labels)
    if len(np.unique(labels)) > len(masks):
        masks = {str(label): labels == label for label in np.unique(labels)}
    for name, chosen in masks.items():
        row: dict[str, Any] = {"class": name, "slices": int(chosen.sum())}
        if dataset.groups is not None and chosen.any():
            _, sizes = np.unique(dataset.groups[chosen], return_counts=True)
            row |= {
                "groups": len(sizes),
                "median slices": int(np.median(sizes)),
                "most slices": int(sizes.max()),
            }
        yield row


def _source_sizes(dataset: CTDataset, units: _Groups) -> Iterator[dict[str, Any]]:
    """Yield the numbers of slices, groups and labels of each source, if there are several."""
    sources = np.repeat("", len(dataset)) if dataset.sources is None else dataset.sources
    names = np.unique(sources)
    for name in names if len(names) > 1 else ():
        chosen = sources == name
        labels, counts = np.unique(dataset.labels[chosen], return_counts=True)
        yield {
            "source": str(name),
            "slices": int(chosen.sum()),
            "groups": len(np.unique(units[chosen])),
            "positive share": float(dataset.targets[chosen].mean()),
            "labels": dict(zip(map(str, labels), counts.tolist(), strict=True)),
        }


def _largest_groups(dataset: CTDataset, groups: _Groups) -> Iterator[dict[str, Any]]:
    """Yield the largest groups of near-duplicates with their files."""
    sizes = np.bincount(groups)
    for label in np.argsort(-sizes, kind="stable")[:_LARGEST_GROUPS]:
        if sizes[label] > 1:
            names = [dataset.names[i] for i in np.flatnonzero(groups == label)]
            first, *_, last = (names[i] for i in file_order(names))
            yield {"slices": len(names), "first": first, "last": last, "files": names}
