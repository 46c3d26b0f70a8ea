"""Conversion of original class labels to COVID-19 against the rest."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .._text import some
from ..errors import UnknownNameError
from .tabular import visible

__all__ = ["Binary", "as_spelled", "binarize", "one_spelling", "plain_label"]

logger = logging.getLogger(__name__)

# Labels in lower case, letters and digits only. These mean COVID-19 next to any other label, ...
_COVID = frozenset(
    {
        *("covid", "covid19", "covid19positive", "covidpositive", "ctcovid", "pcovid", "ncp"),
        *("positivecovid", "positivecovid19", "sarscov2", "sarscov2positive", "covidct"),
        *("covid19cases", "covid19subjects", "covidcases", "covidpatients", "covid19pneumonia"),
    }
)
# ... these mean another class, ...
_OTHER = frozenset(
    {
        *("noncovid", "noncovid19", "ctnoncovid", "normal", "healthy", "control", "controls"),
        *("cap", "cp", "pneumonia", "commonpneumonia", "communityacquiredpneumonia", "nofinding"),
        *(
            "others",
            "other",
            "negativecovid",
            "covidnegative",
            "nocovid",
            "capcases",
            "capsubjects",
        ),
        *("normalcases", "normalsubjects", "bacterialpneumonia", "viralpneumonia"),
    }
)
# ... and these mean COVID-19 only together with their opposite.
_OPPOSITES = {"1": "0", "pos": "neg", "positive": "negative", "true": "false", "yes": "no"}


class Binary(NamedTuple):
    """Targets of labels.

    Attributes
    ----------
    targets : ndarray of int64 of shape (n_slices,)
        1 for COVID-19, 0 for the rest, -1 for slices to leave out.
    classes : tuple of (str, str)
        Names of class 0 and class 1.
    """

    targets: npt.NDArray[np.int64]
    classes: tuple[str, str]


def binarize(
    labels: Sequence[str],
    *,
    positive: object = None,
    negative: object = None,
    default: Sequence[str] | None = None,
    where: str,
) -> Binary:
    """Convert labels to targets: COVID-19 (1) against the rest (0).

    Parameters
    ----------
    labels : sequence of str
        Original class of each slice.
    positive : str or sequence of str, optional
        Labels that mean COVID-19. By default, the one with a usual name, such as "COVID".
    negative : str or sequence of str, optional
        Labels of class 0. By default, all labels that are not positive. Slices with other labels
        are left out. If all labels of the slices are in `positive` or `negative`, these may
        contain further labels.
    default : pair of str, optional
        Known labels of class 0 and class 1 of the dataset; other labels are left out unless
        `positive` or `negative` names them.
    where : str
        File or folder of the labels, for messages.

    Returns
    -------
    Binary
        Targets, and the names of both classes; a class with a single label has its name.

    Raises
    ------
    ValueError
        If the label of COVID-19 cannot be recognized, or a label is both positive and negative.
    covidct.errors.UnknownNameError
        If `positive` or `negative` names a label that does not occur.

    Examples
    --------
    >>> from covidct.datasets.labels import binarize
    >>> targets, classes = binarize(["CAP", "COVID-19", "Normal"], where="slices.csv")
    >>> targets.tolist(), classes
    ([0, 1, 0], ('non-COVID-19', 'COVID-19'))
    """
    counts = Counter(labels)
    if default is not None:
        default = [as_spelled(name, counts) for name in default]
    if positive is None and default is not None and set(default) & set(counts):
        chosen = [label for label in default[1:] if label in counts]
        negative = [default[0]] if negative is None and default[0] in counts else negative
    elif positive is None:
        chosen = _recognized(counts, where=where, negative=negative)
    else:
        if negative is not None:
            positive, negative = _without_absent(_listed(positive), _listed(negative), counts)
        chosen = _matching("positive", _listed(positive), counts)
    rest = [label for label in counts if label not in chosen]
    if negative is not None:
        rest = _matching("negative", _listed(negative), counts)
        if both := sorted(set(rest) & set(chosen)):
            raise ValueError(f"{both[0]!r} is in positive and in negative; remove it from one")
    left_out = {
        label: count for label, count in counts.items() if label not in chosen and label not in rest
    }
    if left_out:
        told = ", ".join(f"{count:,} of {label!r}" for label, count in sorted(left_out.items()))
        logger.warning("%s: %s have other labels and are left out", where, told)
    if not chosen:
        logger.warning("%s: all slices are of class 0, since no label means COVID-19", where)
    target = dict.fromkeys(rest, 0) | dict.fromkeys(chosen, 1)
    return Binary(
        np.array([target.get(label, -1) for label in labels], np.int64),
        _class_names(chosen, rest, default),
    )


def _listed(names: object) -> list[str]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        names = [names]
    return [plain_label(name) for name in names]


def plain_label(value: object) -> str:
    """Write a label as text; 1, 1.0 and "1.0" are the same label."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = visible(str(value))
    # pandas writes a column of whole numbers with a gap as 1.0, 2.0, ...
    return text.partition(".")[0] if re.fullmatch(r"\d+\.0+", text) else text


def one_spelling(labels: Iterable[str], *, where: str) -> list[str]:
    """Unify labels that differ in case, blanks or hyphens to their most frequent spelling.

    Parameters
    ----------
    labels : iterable of str
        Label of each slice.
    where : str
        File or folder of the labels, for the logged warning.

    Returns
    -------
    list of str
        Label of each slice.

    Examples
    --------
    >>> from covidct.datasets.labels import one_spelling
    >>> one_spelling(["COVID-19", "covid-19", "COVID-19", "Normal"], where="slices.csv")
    ['COVID-19', 'COVID-19', 'COVID-19', 'Normal']
    """
    labels = list(labels)
    counts = Counter(labels)
    chosen: dict[str, str] = {}
    for label, _ in counts.most_common():
        chosen.setdefault(_folded(label), label)
    spelling = {label: chosen[_folded(label)] for label in counts}
    for label, usual in spelling.items():
        if label != usual:
            logger.warning("%s: label %r is taken for %r", where, label, usual)
    return [spelling[label] for label in labels]


def _folded(label: str) -> str:
    hyphens = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
    text = unicodedata.normalize("NFKC", label.translate(hyphens))
    return " ".join(text.casefold().split())


def as_spelled(name: str, labels: Iterable[str]) -> str:
    """Return a label in its spelling among `labels`, if it differs only in case."""
    labels = list(labels)
    alike = [label for label in labels if label.casefold() == name.casefold()]
    return alike[0] if name not in labels and len(alike) == 1 else name


def _without_absent(
    positive: list[str], negative: list[str], counts: Counter[str]
) -> tuple[list[str], list[str]]:
    """Drop names that do not occur if all labels that do occur are named.

    A cohort may lack one of the labels of a study, or all of COVID-19.
    """
    occurring = {label.casefold() for label in counts}
    if not occurring <= {name.casefold() for name in (*positive, *negative)}:
        return positive, negative
    kept = [[n for n in names if n.casefold() in occurring] for names in (positive, negative)]
    return kept[0], kept[1]


def _matching(option: str, names: list[str], counts: Counter[str]) -> list[str]:
    """Return the labels with these names, ignoring case if that is unambiguous."""
    folded: dict[str, list[str]] = {}
    for label in counts:
        folded.setdefault(label.casefold(), []).append(label)
    found = []
    for name in names:
        alike = [name] if name in counts else folded.get(name.casefold(), [])
        if len(alike) != 1:
            error = UnknownNameError.among(f"{option} label", name, counts)
            raise UnknownNameError(
                f"{error}; a label may be absent only if positive and negative name all that occur"
            )
        found += alike
    return list(dict.fromkeys(found))


def _recognized(counts: Counter[str], *, where: str, negative: object) -> list[str]:
    """Return the labels of COVID-19; raise an error if they are not clear."""
    if negative is not None:
        others = set(_matching("negative", _listed(negative), counts))
        if others == set(counts):
            return []
        counts = Counter({label: n for label, n in counts.items() if label not in others})
    plain = {label: re.sub(r"[\W_]+", "", label.casefold()) for label in counts}
    opposite = {text: label for label, text in plain.items()}
    covid = [
        label
        for label, text in plain.items()
        if text in _COVID or (len(counts) == 2 and _OPPOSITES.get(text) in opposite)
    ]
    if len(covid) == 1 or (not covid and all(text in _OTHER for text in plain.values())):
        return covid
    names = sorted(counts)
    raise ValueError(
        f"cannot recognize which of the labels {some(names, limit=12)} in {where} means COVID-19; "
        f"name it with positive={names[0]!r} (on the command line --positive {names[0]!r}); "
        "several may be named"
    )


def _class_names(
    positive: list[str], negative: list[str], default: Sequence[str] | None
) -> tuple[str, str]:
    usual = ("non-COVID", "COVID") if default is None else (str(default[0]), str(default[1]))
    one = positive[0] if len(positive) == 1 else usual[1]
    if len(negative) == 1 and negative[0] != one:
        return negative[0], one
    zero = usual[0] if one == usual[1] else f"non-{one}"
    return zero, one
