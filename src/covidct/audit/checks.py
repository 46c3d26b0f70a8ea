"""Checks of a dataset, which derive findings from measurements by the rules in `RULES`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..datasets.ct_dataset import CTDataset
from ..evaluation.tables import percent
from .duplicates import CHANGES, NEAR, Pairs
from .findings import RULES, Finding
from .leakage import Probe
from .measurements import SliceMeasurements
from .shortcuts import Shortcut
from .sources import Confounding, Recognition

__all__ = [
    "check_duplicates",
    "check_leakage",
    "check_masks",
    "check_measured",
    "check_origins",
    "check_records",
    "check_shortcuts",
    "check_sources",
    "groups_are_sources",
]

Labels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

# Largest number of pairs or names in the evidence; its value is their full number.
_LISTED = 50
_SHOWN_SOURCES = 8
# Largest p-value of a leak or a shortcut that is reported as such.
_SIGNIFICANT = 0.05
# Largest probability that a label has a file format or color mode of its own by chance.
_BY_CHANCE = 0.01
_SEEN_IN_TRAINING = "Some of the test slices are also in the training part."


def check_records(dataset: CTDataset) -> Iterator[Finding]:
    """Check labels, patients, the official split and skipped files.

    Parameters
    ----------
    dataset : CTDataset
        Dataset to check.

    Yields
    ------
    Finding
    """
    counts = np.bincount(dataset.targets, minlength=2)
    yield from _finding(
        "one class",
        int((counts == 0).sum()),
        title=f"All slices are of one class: {dataset.classes[int(counts.argmax())]}",
        detail="A classifier needs two classes; shortcuts and leakage cannot be measured either.",
        counts=counts.tolist(),
    )
    sizes = ", ".join(f"{n:,} {name}" for n, name in zip(counts, dataset.classes, strict=True))
    share = float(counts.max() / counts.sum())
    yield from _finding(
        "imbalance",
        share,
        title=f"Always predicting the larger class is right for {percent(share)} % of slices",
        detail=f"{sizes}. An accuracy is useful only if it exceeds this base rate.",
        counts=counts.tolist(),
    )
    yield from _skipped_finding(dataset)
    if dataset.groups is None:
        yield from _finding(
            "unknown patients",
            1,
            title="The patients of the slices are unknown",
            detail="No split can be trusted to separate patients. Use "
            'groups="near-duplicate", which keeps similar slices together, as a minimum.',
        )
        return
    one, several = dataset.group_kind, _plural(dataset.group_kind)
    yield from _names_finding(
        "patients in both classes",
        [] if groups_are_sources(dataset) else _mixed_groups(dataset.groups, dataset.targets),
        subject=(f"{one} has", f"{several} have"),
        predicate="slices of both classes",
        detail="This is correct if the disease status changed between scans; otherwise a label is "
        "wrong.",
    )
    if dataset.official_split is not None:
        yield from _names_finding(
            "patients across split",
            _mixed_groups(dataset.groups, dataset.official_split),
            subject=(f"{one} is", f"{several} are"),
            predicate="in two parts of the official split",
            detail=_SEEN_IN_TRAINING,
        )


def groups_are_sources(dataset: CTDataset) -> bool:
    """Return True if every group has slices of both classes, like a hospital, unlike a patient."""
    groups = np.asarray(dataset.groups)
    return len(_mixed_groups(groups, dataset.targets)) == len(np.unique(groups))


def check_duplicates(dataset: CTDataset, pairs: Pairs, groups: Labels) -> Iterator[Finding]:
    """Check identical slices and near-duplicates.

    Parameters
    ----------
    dataset : CTDataset
        Dataset to check.
    pairs : Pairs
        Pairs from `covidct.audit.duplicates.find_pairs`.
    groups : ndarray of int64 of shape (n_slices,)
        Groups of near-duplicates.

    Yields
    ------
    Finding
    """
    negative, positive = dataset.classes
    cross = _differs(dataset.targets, pairs)
    same = cross & pairs.same
    yield from _pairs_finding(
        "conflicting labels",
        (dataset, pairs, same),
        subject=("pair of files shows", "pairs of files show"),
        predicate="the same slice under both labels",
        detail=f"One file is labeled {positive}, the other {negative}, so one label is wrong. "
        "Find and remove the wrong file.",
    )
    yield from _pairs_finding(
        "similar across classes",
        (dataset, pairs, cross & ~same & (pairs.similarity >= NEAR)),
        subject=("pair of similar slices is", "pairs of similar slices are"),
        predicate="in different classes",
        detail="They may be neighboring slices of one patient or similar slices of two patients; "
        "inspect them.",
    )
    yield from _pairs_finding(
        "exact duplicates",
        (dataset, pairs, pairs.identical & ~cross),
        subject=("file has", "files have"),
        predicate="the same pixels as another file of the same class",
        detail="The slice counts twice, and a random split may put one copy into training and the "
        "other into the test. Remove the copies.",
    )
    yield from _groups_finding(dataset, groups)
    if dataset.groups is not None:
        apart, kinds = _differs(dataset.groups, pairs), _plural(dataset.group_kind)
        yield from _pairs_finding(
            "same across patients",
            (dataset, pairs, apart & pairs.same),
            subject=("pair of files shows", "pairs of files show"),
            predicate=f"the same slice in different {kinds}",
            detail=f"A split by {dataset.group_kind} may still separate them. Either an id is "
            "wrong, or one image was published twice.",
        )
        yield from _pairs_finding(
            "similar across patients",
            (dataset, pairs, apart & ~pairs.same),
            subject=("pair of similar slices is", "pairs of similar slices are"),
            predicate=f"in different {kinds}",
            detail="The anatomy may be similar, or an id may be wrong; inspect them.",
        )
    if dataset.official_split is not None:
        yield from _pairs_finding(
            "duplicates across split",
            (dataset, pairs, _differs(dataset.official_split, pairs)),
            subject=("pair of near-duplicates is", "pairs of near-duplicates are"),
            predicate="in two parts of the official split",
            detail=_SEEN_IN_TRAINING,
        )


def check_leakage(probes: Sequence[Probe], *, advice: str) -> Iterator[Finding]:
    """Check the leakage of a random split.

    Parameters
    ----------
    probes : sequence of Probe
        Results of `covidct.audit.leakage.probe_leakage`: the random split, the grouped split that
        it is compared with, and further splits.
    advice : str
        Recommended action if the random split leaks.

    Yields
    ------
    Finding
        One finding, or no finding if fewer than two splits were possible.
    """
    if len(probes) < 2:
        return
    random, grouped, *further = probes
    gap = random.accuracy - grouped.accuracy
    # If all groups are single slices, there is no p-value and therefore no test.
    chance = grouped.p_value is not None and grouped.p_value > _SIGNIFICANT
    value = min(gap, 0.0) if chance else gap
    leaks = RULES["leakage"].severity(value) != "note"
    sentences = [
        "The nearest neighbor compares raw pixels and does not recognize disease.",
        *(
            [f"It classified a random {number:,} of {random.n_groups:,} slices."]
            if (number := random.n_classified or random.n_groups) < random.n_groups
            else []
        ),
        *(
            f"Its accuracy is {percent(probe.accuracy)} % with folds {probe.split}."
            for probe in further
        ),
        *(["The difference may be due to chance."] if chance and gap > 0 else []),
        *(["A score under random folds is too optimistic.", advice] if leaks else []),
    ]
    yield from _finding(
        "leakage",
        value,
        title=f"The accuracy of a nearest neighbor is {percent(random.accuracy)} % with random "
        f"folds, {percent(grouped.accuracy)} % with folds {grouped.split}",
        detail=" ".join(sentences),
        probes=[probe._asdict() for probe in probes],
    )


def check_shortcuts(shortcuts: Sequence[Shortcut]) -> Iterator[Finding]:
    """Check if image properties unrelated to the lung predict the class.

    Parameters
    ----------
    shortcuts : sequence of Shortcut
        Results of `covidct.audit.shortcuts.measure_shortcuts`.

    Yields
    ------
    Finding
        One finding about the strongest shortcut, or no finding if none exceeds the base rate by
        more than chance.
    """
    shortcuts = [shortcut for shortcut in shortcuts if shortcut.p_value <= _SIGNIFICANT]
    if not shortcuts or max(map(_skill, shortcuts)) <= 0:
        return
    best, *further = sorted(shortcuts, key=_skill, reverse=True)
    above = "; ".join(_format_accuracy(shortcut) for shortcut in further if _skill(shortcut) > 0)
    sentences = [
        f"The 95 % interval is {_percent(best.low)} to {_percent(best.high)}.",
        *([f"Also above the base rate: {above}."] if above else []),
        "A network may use this shortcut instead of the lungs, without any effect on its score.",
    ]
    yield from _finding(
        "shortcut",
        _skill(best),
        title=f"A classifier that uses only {_enumerate(best.properties)} has an accuracy of "
        f"{_percent(best.accuracy)} (base rate {_percent(best.base_rate)})",
        detail=" ".join(sentences),
        shortcuts=[
            shortcut._asdict() | {"properties": list(shortcut.properties)} for shortcut in shortcuts
        ],
    )


def check_origins(
    dataset: CTDataset,
    measurements: SliceMeasurements,
    groups: Labels,
    *,
    shortcuts: Sequence[Shortcut] = (),
) -> Iterator[Finding]:
    """Check if a label has a source, file format or color mode that no other label has.

    If all slices of a patient have the same file format, formats may separate the labels of a few
    patients by chance. A format is reported if the probability of this, given the number of groups,
    is at most 1 %.

    Parameters
    ----------
    dataset : CTDataset
        Dataset to check.
    measurements : SliceMeasurements
        Measurements of its slices.
    groups : ndarray of shape (n_slices,)
        Groups of slices that have one origin: patients or near-duplicates.
    shortcuts : sequence of Shortcut
        Measured shortcuts; formats and modes that separate the two classes are reported there.

    Yields
    ------
    Finding
        One finding for each property with such labels.
    """
    labels = [str(label) for label in dataset.labels]
    names = sorted(set(labels))
    if len(names) < 2:
        return
    columns = {
        "file format": measurements.formats,
        "color mode": measurements.modes,
    }
    if dataset.sources is not None:
        columns = {"source": dataset.sources, **columns}
    label_of = np.asarray(labels)
    n_groups = len(np.unique(groups))
    for name, column in columns.items():
        own = {}
        for label in names:
            inside = label_of == label
            values = set(column[inside].tolist())
            chance = 1 / math.comb(n_groups, len(np.unique(groups[inside])))
            by_design = name == "source" or chance <= _BY_CHANCE
            if by_design and not values & set(column[~inside].tolist()):
                own[label] = sorted(map(str, values))
        separated = not set(column[dataset.targets == 1].tolist()) & set(
            column[dataset.targets == 0].tolist()
        )
        if not own or (separated and name != "source" and shortcuts):
            continue
        listed = "; ".join(f"{label!r}: {', '.join(values[:3])}" for label, values in own.items())
        yield from _finding(
            "own origin",
            1.0 if separated else 0.5,
            title=f"{_count(len(own), ('label has', 'labels have'))} a {name} that no other label "
            f"has: {listed}",
            detail="A network may recognize the origin of a slice instead of the disease, and no "
            "split of this dataset would show it.",
            labels=own,
        )


def check_sources(
    confounding: Confounding | None, recognition: Recognition | None
) -> Iterator[Finding]:
    """Check if sources can be recognized, and if they predict the label.

    Parameters
    ----------
    confounding : Confounding or None
        Result of `covidct.audit.sources.measure_confounding`.
    recognition : Recognition or None
        Result of `covidct.audit.sources.recognize_sources`.

    Yields
    ------
    Finding
        At most one finding for each of the two; no finding if the result may be due to chance.
    """
    confounded = confounding is not None and confounding.p_value <= _SIGNIFICANT
    if confounding is not None and confounded:
        shares = "; ".join(
            f"{name!r}: {', '.join(f'{n:,} {label}' for label, n in counts.items() if n)}"
            for name, counts in list(confounding.counts.items())[:_SHOWN_SOURCES]
        )
        yield from _finding(
            "source and label",
            confounding.cramers_v,
            title=f"Sources have different shares of COVID-19 (Cramér's V "
            f"{confounding.cramers_v:.2f}): the source alone predicts the class of "
            f"{_percent(confounding.accuracy)} of slices "
            f"(base rate {_percent(confounding.base_rate)})",
            detail=f"{shares}. A network that recognizes the source can use this instead of the "
            'disease. Leave one source out (cv="source"), and look at the metrics of each source.',
            **confounding._asdict(),
        )
    if recognition is None or recognition.p_value > _SIGNIFICANT:
        return
    yield from _finding(
        "recognizable source",
        (recognition.low - recognition.base_rate) / (1 - recognition.base_rate),
        title="A classifier recognizes the source by gray levels, borders, size and format in "
        f"{_percent(recognition.accuracy)} of slices (base rate {_percent(recognition.base_rate)})",
        detail=f"The 95 % interval is {_percent(recognition.low)} to {_percent(recognition.high)}. "
        + (
            "Since the sources also differ in their share of COVID-19, this is a shortcut."
            if confounded
            else "This is not a shortcut while all sources have the same share of COVID-19, but "
            "scores on other sources may be lower."
        ),
        **recognition._asdict(),
    )


def check_masks(dataset: CTDataset, measurements: SliceMeasurements) -> Iterator[Finding]:
    """Check for segmentation masks among the slices.

    Parameters
    ----------
    dataset : CTDataset
        Dataset to check.
    measurements : SliceMeasurements
        Measurements of its slices.

    Yields
    ------
    Finding
        One finding, or no finding if all files have more than two gray levels.
    """
    names = [dataset.names[i] for i in np.flatnonzero(measurements.two_valued)]
    yield from _finding(
        "masks",
        len(names) / len(dataset),
        title=f"{_count(len(names), ('file is a mask', 'files are masks'))} (two gray levels), not "
        + ("a slice" if len(names) == 1 else "slices"),
        detail="Remove these files, or list the slices in a table without them. Examples: "
        f"{', '.join(names[:5])}.",
        names=names[:_LISTED],
    )


def check_measured(
    dataset: CTDataset, shortcuts: Sequence[Shortcut], probes: Sequence[Probe]
) -> Iterator[Finding]:
    """Check if measurements were impossible on a dataset of two classes.

    Parameters
    ----------
    dataset : CTDataset
        Dataset to check.
    shortcuts : sequence of Shortcut
        Measured shortcuts.
    probes : sequence of Probe
        Measured leakage.

    Yields
    ------
    Finding
        One finding, or no finding if all measurements were possible.
    """
    measured = {"shortcuts": bool(shortcuts), "leakage of a random split": len(probes) > 1}
    missing = [name for name, done in measured.items() if not done]
    if missing and len(np.unique(dataset.targets)) > 1:
        yield from _finding(
            "not measured",
            len(missing),
            title=f"Not measured: {_enumerate(missing)}",
            detail="There are fewer than ten patients or groups of slices, or fewer than two of a "
            "class. With so few, chance cannot be distinguished from a shortcut or a leak.",
        )


def _finding(
    rule: str, value: float, *, title: str, detail: str, **evidence: Any
) -> Iterator[Finding]:
    severity = RULES[rule].severity(value)
    if severity:
        yield Finding(severity, title, detail, {"rule": rule, "value": value, **evidence})


def _pairs_finding(
    rule: str,
    chosen: tuple[CTDataset, Pairs, Mask],
    *,
    subject: tuple[str, str],
    predicate: str,
    detail: str,
) -> Iterator[Finding]:
    dataset, pairs, mask = chosen
    number = int(mask.sum())
    yield from _finding(
        rule,
        number,
        title=f"{_count(number, subject)} {predicate}",
        detail=detail,
        pairs=[
            {
                "files": [dataset.names[i] for i in pairs.index[k]],
                "labels": [dataset.classes[dataset.targets[i]] for i in pairs.index[k]],
                "similarity": float(pairs.similarity[k]),
                "identical": bool(pairs.identical[k]),
                "change": CHANGES[pairs.change[k]],
                "aligned": bool(pairs.aligned[k]),
            }
            for k in np.flatnonzero(mask)[:_LISTED]
        ],
    )


def _names_finding(
    rule: str, names: list[str], *, subject: tuple[str, str], predicate: str, detail: str
) -> Iterator[Finding]:
    yield from _finding(
        rule,
        len(names),
        title=f"{_count(len(names), subject)} {predicate}",
        detail=f"{detail} Examples: {', '.join(names[:5])}.",
        names=names[:_LISTED],
    )


def _groups_finding(dataset: CTDataset, groups: Labels) -> Iterator[Finding]:
    sizes = np.bincount(groups)
    several = sizes[sizes > 1]
    number, slices, largest = len(several), int(several.sum()), int(sizes.max())
    example = dataset.names[int(np.flatnonzero(groups == sizes.argmax())[0])]
    yield from _finding(
        "near-duplicates",
        slices / len(groups),
        title=f"{slices:,} slices ({_percent(slices / len(groups))}) form "
        f"{_count(number, ('group', 'groups'))} of near-duplicates",
        detail=f"The largest group has {largest:,} slices, such as {example!r}. "
        "Most near-duplicates are neighboring slices of one patient. The groups are a lower bound "
        "on the slices that a split must keep together.",
        groups=number,
        slices=slices,
        largest=largest,
    )


def _skipped_finding(dataset: CTDataset) -> Iterator[Finding]:
    number = len(dataset.skipped)
    yield from _finding(
        "skipped files",
        number / (number + len(dataset)),
        title=f"{_count(number, ('file was', 'files were'))} skipped",
        detail="; ".join(f"{name}: {reason}" for name, reason in dataset.skipped[:3]),
        files=[list(entry) for entry in dataset.skipped[:_LISTED]],
    )


def _skill(shortcut: Shortcut) -> float:
    """Return the lower end of the interval on a scale from 0 (base rate) to 1 (perfect)."""
    if shortcut.accuracy == 1:
        return 1.0  # all slices are correct, and the permutation test excludes chance
    return (shortcut.low - shortcut.base_rate) / (1 - shortcut.base_rate)


def _differs(labels: Labels, pairs: Pairs) -> Mask:
    left, right = pairs.index.T
    differs: Mask = labels[left] != labels[right]
    return differs


def _mixed_groups(groups: Labels, labels: Labels) -> list[str]:
    """Return the groups that have more than one label."""
    distinct = set(zip(groups.tolist(), labels.tolist(), strict=True))
    numbers = Counter(group for group, _ in distinct)
    return sorted(group for group, number in numbers.items() if number > 1)


def _format_accuracy(shortcut: Shortcut) -> str:
    return (
        f"{_enumerate(shortcut.properties)} {_percent(shortcut.accuracy)} "
        f"({_percent(shortcut.low)} to {_percent(shortcut.high)})"
    )


def _percent(share: float) -> str:
    """Format a fraction in percent without decimals, such as "80 %"."""
    return f"{100 * share:.0f} %"


def _count(number: int, forms: tuple[str, str]) -> str:
    return f"{number:,} {forms[number != 1]}"


def _plural(noun: str) -> str:
    return noun if noun.endswith("s") else f"{noun}s"


def _enumerate(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
