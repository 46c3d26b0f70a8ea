"""Measurements become findings: each function below words some, by the rules of their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..datasets.ct_dataset import CTDataset
from .duplicates import NEAR, SAME, Pairs
from .findings import RULES, Finding
from .leakage import Probe
from .shortcuts import Shortcut

__all__ = [
    "are_sources",
    "check_duplicates",
    "check_leakage",
    "check_records",
    "check_shortcuts",
    "check_unmeasured",
]

Labels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

# Pairs or names that a finding lists; its value gives their number too.
_LISTED = 50
_TORN = "What is tested there was partly seen in training."


def check_records(dataset: CTDataset) -> Iterator[Finding]:
    """Word what labels, patients, official split and skipped files say.

    Parameters
    ----------
    dataset
        The slices.

    Yields
    ------
    Finding
    """
    counts = np.bincount(dataset.targets, minlength=2)
    yield from _finding(
        "one class",
        int((counts == 0).sum()),
        title=f"All slices are of one class: {dataset.classes[int(counts.argmax())]}",
        detail="There is nothing to tell apart, and neither shortcuts nor leaks can be measured.",
        counts=counts.tolist(),
    )
    sizes = ", ".join(f"{n:,} {name}" for n, name in zip(counts, dataset.classes, strict=True))
    share = float(counts.max() / counts.sum())
    yield from _finding(
        "imbalance",
        share,
        title=f"Always naming the larger class is right for {share:.1%} of slices",
        detail=f"{sizes}. That is the base rate, below which an accuracy means nothing.",
        counts=counts.tolist(),
    )
    yield from _skipped_finding(dataset)
    if dataset.groups is None:
        yield from _finding(
            "unknown patients",
            1,
            title="Which slices are of one patient is not known",
            detail='No split can be trusted to part patients. groups="near-duplicate" keeps '
            "together what looks alike: the least that belongs together.",
        )
        return
    one, several = dataset.group_kind, _plural(dataset.group_kind)
    yield from _names_finding(
        "both labels",
        [] if are_sources(dataset) else _spread(dataset.groups, dataset.targets),
        subject=(f"{one} has", f"{several} have"),
        predicate="slices of both labels",
        detail="Right where disease came or went between scans; else a label is wrong.",
    )
    if dataset.official_split is not None:
        yield from _names_finding(
            "torn patients",
            _spread(dataset.groups, dataset.official_split),
            subject=(f"{one} lies", f"{several} lie"),
            predicate="in two parts of the official split",
            detail=_TORN,
        )


def are_sources(dataset: CTDataset) -> bool:
    """Tell whether every group has slices of both labels: hospitals have, patients have not."""
    groups = np.asarray(dataset.groups)
    return len(_spread(groups, dataset.targets)) == len(np.unique(groups))


def check_duplicates(dataset: CTDataset, pairs: Pairs, groups: Labels) -> Iterator[Finding]:
    """Word what identical slices and near-duplicates mean.

    Parameters
    ----------
    dataset
        The slices.
    pairs
        Of :func:`covidct.audit.duplicates.find_pairs`.
    groups
        (N,), the groups of near-duplicates.

    Yields
    ------
    Finding
    """
    negative, positive = dataset.classes
    cross = _differs(dataset.targets, pairs)
    same = cross & (pairs.similarity >= SAME)
    yield from _pairs_finding(
        "contradiction",
        (dataset, pairs, same),
        subject=("pair of files shows", "pairs of files show"),
        predicate="one slice under both labels",
        detail=f"One of them is called {positive}, the other {negative}, so one label is wrong. "
        "Find out which, and remove that file.",
    )
    yield from _pairs_finding(
        "likeness",
        (dataset, pairs, cross & ~same & (pairs.similarity >= NEAR)),
        subject=("pair of similar slices bears", "pairs of similar slices bear"),
        predicate="opposite labels",
        detail="They may be neighboring slices of one patient, or two patients who look alike: "
        "compare them by eye.",
    )
    yield from _pairs_finding(
        "repetition",
        (dataset, pairs, pairs.identical & ~cross),
        subject=("file repeats", "files repeat"),
        predicate="another of the same class, pixel by pixel",
        detail="They count twice, and a random split may put one into training and the other into "
        "the test. Remove them.",
    )
    yield from _groups_finding(dataset, groups)
    if dataset.groups is not None:
        apart, kinds = _differs(dataset.groups, pairs), _plural(dataset.group_kind)
        yield from _pairs_finding(
            "strangers",
            (dataset, pairs, apart & (pairs.similarity >= SAME)),
            subject=("pair of files shows", "pairs of files show"),
            predicate=f"one slice in different {kinds}",
            detail=f"A split by {dataset.group_kind} may still tear them apart. Either the ids are "
            "not right, or one figure was published twice.",
        )
        yield from _pairs_finding(
            "look-alikes",
            (dataset, pairs, apart & (pairs.similarity < SAME)),
            subject=("pair of similar slices lies", "pairs of similar slices lie"),
            predicate=f"in different {kinds}",
            detail="People may look alike, or the ids be wrong: compare them by eye.",
        )
    if dataset.official_split is not None:
        yield from _pairs_finding(
            "torn duplicates",
            (dataset, pairs, _differs(dataset.official_split, pairs)),
            subject=("pair of near-duplicates lies", "pairs of near-duplicates lie"),
            predicate="in two parts of the official split",
            detail=_TORN,
        )


def check_leakage(probes: Sequence[Probe], *, advice: str) -> Iterator[Finding]:
    """Word what recognizing siblings scores.

    Parameters
    ----------
    probes
        Of :func:`covidct.audit.leakage.probe_leakage`: first the random split, then the split
        that it is held against, then any others.
    advice
        What to do about a leak.

    Yields
    ------
    Finding
        One, or none where less than two splits were possible.
    """
    if len(probes) < 2:
        return
    random, grouped, *others = probes
    gap = random.accuracy - grouped.accuracy
    leaks = RULES["leak"].severity(gap) != "note"
    meaning = [
        "That is the accuracy of one nearest neighbor on raw pixels, which knows no disease.",
        *(f"With {other.split} it is {other.accuracy:.1%}." for other in others),
        *(["A random split overstates what is learnt.", advice] if leaks else []),
    ]
    yield from _finding(
        "leak",
        gap,
        title=f"The most similar slice alone gives {random.accuracy:.1%} under random folds, "
        f"{grouped.accuracy:.1%} with {grouped.split}",
        detail=" ".join(meaning),
        probes=[probe._asdict() for probe in probes],
    )


def check_shortcuts(shortcuts: Sequence[Shortcut]) -> Iterator[Finding]:
    """Word what a classifier scores that sees only properties of the files.

    Parameters
    ----------
    shortcuts
        Of :func:`covidct.audit.shortcuts.measure_shortcuts`.

    Yields
    ------
    Finding
        One, led by the strongest.
    """
    if not shortcuts:
        return
    worst, *others = sorted(shortcuts, key=_skill, reverse=True)
    above = "; ".join(_scored(shortcut) for shortcut in others if _skill(shortcut) > 0)
    meaning = [
        f"The 95 % interval is {worst.low:.0%} to {worst.high:.0%}.",
        *([f"Also above the base rate: {above}."] if above else []),
        "A network may use it in place of lungs; a good score does not show that it does not.",
    ]
    yield from _finding(
        "shortcut",
        max(_skill(worst), 0),
        title=f"A classifier that sees only {_enumerated(worst.sees)} scores "
        f"{worst.accuracy:.0%} (base rate {worst.base_rate:.0%})",
        detail=" ".join(meaning),
        shortcuts=[shortcut._asdict() | {"sees": list(shortcut.sees)} for shortcut in shortcuts],
    )


def check_unmeasured(
    dataset: CTDataset, shortcuts: Sequence[Shortcut], probes: Sequence[Probe]
) -> Iterator[Finding]:
    """Say of slices of two classes what could not be measured.

    Parameters
    ----------
    dataset
        The slices.
    shortcuts, probes
        As for the other judgments.

    Yields
    ------
    Finding
        One, or none.
    """
    measured = {"shortcuts": bool(shortcuts), "leaks of a random split": len(probes) > 1}
    missing = [what for what, found in measured.items() if not found]
    if missing and len(np.unique(dataset.targets)) > 1:
        yield from _finding(
            "unmeasured",
            len(missing),
            title=f"Not measured: {_enumerated(missing)}",
            detail="There are too few slices of a class, or groups of them, to divide.",
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
        title=f"{_counted(number, subject)} {predicate}",
        detail=detail,
        pairs=[
            {
                "files": [dataset.names[i] for i in pairs.index[k]],
                "labels": [dataset.classes[dataset.targets[i]] for i in pairs.index[k]],
                "similarity": float(pairs.similarity[k]),
                "identical": bool(pairs.identical[k]),
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
        title=f"{_counted(len(names), subject)} {predicate}",
        detail=f"{detail} The first: {', '.join(names[:5])}.",
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
        title=f"{slices:,} slices ({slices / len(groups):.0%}) form "
        f"{_counted(number, ('group', 'groups'))} of near-duplicates",
        detail=f"The largest has {largest:,} slices, {example!r} among them. Neighboring slices "
        "of one patient look like that. The groups are a lower bound on what a split must keep "
        "together.",
        groups=number,
        slices=slices,
        largest=largest,
    )


def _skipped_finding(dataset: CTDataset) -> Iterator[Finding]:
    number = len(dataset.skipped)
    yield from _finding(
        "skipped",
        number / (number + len(dataset)),
        title=f"{_counted(number, ('file was', 'files were'))} left out",
        detail="; ".join(f"{name}: {reason}" for name, reason in dataset.skipped[:3]),
        files=[list(entry) for entry in dataset.skipped[:_LISTED]],
    )


def _skill(shortcut: Shortcut) -> float:
    """Return how far the interval's lower end lies on the way from the base rate to 1."""
    return (shortcut.low - shortcut.base_rate) / (1 - shortcut.base_rate)


def _differs(labels: Labels, pairs: Pairs) -> Mask:
    left, right = pairs.index.T
    differs: Mask = labels[left] != labels[right]
    return differs


def _spread(groups: Labels, labels: Labels) -> list[str]:
    """Return the groups that have more than one label."""
    distinct = set(zip(groups.tolist(), labels.tolist(), strict=True))
    numbers = Counter(group for group, _ in distinct)
    return sorted(group for group, number in numbers.items() if number > 1)


def _scored(shortcut: Shortcut) -> str:
    return (
        f"{_enumerated(shortcut.sees)} {shortcut.accuracy:.0%} "
        f"({shortcut.low:.0%} to {shortcut.high:.0%})"
    )


def _counted(number: int, forms: tuple[str, str]) -> str:
    return f"{number:,} {forms[number != 1]}"


def _plural(noun: str) -> str:
    return noun if noun.endswith("s") else f"{noun}s"


def _enumerated(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
