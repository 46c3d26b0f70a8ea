"""What ``run.json`` must say: it may come from an older covidct, an editor or a stranger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..training.recipe import Recipe

__all__ = ["FORMAT", "find_fault"]

FORMAT = 1
_Kinds = Mapping[str, tuple[type, ...]]
_RUN: _Kinds = {
    "model": (str,),
    "weights": (str, type(None)),
    "recipe": (dict,),
    "dataset": (dict,),
    "protocol": (str,),
    "folds": (list,),
    "seed": (int,),
    "threads": (int,),
    "precision": (str,),
    "versions": (dict,),
}
_ALSO: _Kinds = {"group_kind": (str, type(None)), "device": (str,)}  # not in every run
_DATASET: _Kinds = {
    "name": (str,),
    "classes": (list,),
    "slices": (int,),
    "content_hash": (str,),
    "skipped": (list,),
}
_PARTS = {"train", "test", "validation"}


def find_fault(spec: object) -> str | None:
    """Say what is wrong with the content of a ``run.json``; None if nothing is."""
    if not isinstance(spec, dict) or spec.get("format") != FORMAT:
        found = spec.get("format") if isinstance(spec, dict) else type(spec).__name__
        return f"has format {found!r}, this covidct reads {FORMAT}; run it anew"
    fault = next(_faults(spec), None)
    return None if fault is None else f"was damaged or edited: {fault}"


def _faults(spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield faults, each check resting on those before it."""
    yield from _wrong_kinds(spec, _RUN)
    yield from _wrong_kinds(spec, {key: kinds for key, kinds in _ALSO.items() if key in spec})
    dataset = spec["dataset"]
    yield from _wrong_kinds(dataset, _DATASET, place="dataset.")
    classes = dataset["classes"]
    if not _are(str, classes) or len(set(classes)) != 2 or len(classes) != 2:
        yield f"'dataset.classes' is {classes!r}, not two names"
    if not all(type(entry) is list and _are(str, entry) for entry in dataset["skipped"]):
        yield "'dataset.skipped' must list names and reasons"
    if not _are(str, spec["versions"].values()):
        yield "'versions' must be words"
    if not spec["folds"]:
        yield "'folds' is empty"
    for number, fold in enumerate(spec["folds"]):
        yield from _faults_of_fold(fold, f"folds.{number}", dataset["slices"])
    try:
        Recipe.from_dict(spec["recipe"])
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        yield f"'recipe': {error}"


def _faults_of_fold(fold: object, place: str, slices: int) -> Iterator[str]:
    if not isinstance(fold, dict) or set(fold) != _PARTS:
        yield f"{place!r} must hold {', '.join(sorted(_PARTS))}"
        return
    for part, index in fold.items():
        if not isinstance(index, list) or not _are(int, index) or not _within(index, slices):
            yield f"'{place}.{part}' must list slices from 0 to {slices - 1}"
            return
    test = set(fold["test"])
    if not fold["train"] or not test or len(test) < len(fold["test"]):
        yield f"{place!r} must list slices to train on, and others to test on, each once"
    if test.intersection(fold["train"]):
        yield f"{place!r} tests slices that it trains on"


def _wrong_kinds(values: Mapping[str, Any], kinds: _Kinds, *, place: str = "") -> Iterator[str]:
    for key, allowed in kinds.items():
        if key not in values:
            yield f"'{place}{key}' is missing"
        elif type(values[key]) not in allowed:  # exact, since True is an int as well
            yield f"'{place}{key}' is {values[key]!r}"


def _are(kind: type, values: Any) -> bool:
    return all(type(value) is kind for value in values)


def _within(index: list[int], slices: int) -> bool:
    return not index or (min(index) >= 0 and max(index) < slices)
