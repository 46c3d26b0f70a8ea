"""A run on disk: what stands where, and how it is read back with suspicion."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._files import clear_remains, write_json, write_text
from ..errors import InvalidFileError
from ..training.checkpoint import CheckpointStore
from ..training.recipe import Recipe

__all__ = ["PREDICTION_FIELDS", "RunDirectory", "software_versions"]

_FORMAT = 1
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

PREDICTION_FIELDS = np.dtype(
    [
        ("index", np.int64),
        ("path", object),
        ("target", np.int64),
        ("fold", np.int64),
        ("probability", np.float64),
        ("logit", np.float64),
        ("group", object),
    ]
)


class RunDirectory:
    """The files of one run.

    Parameters
    ----------
    path
        The folder. It holds ``run.json``, ``metrics.json``, ``predictions.csv`` and, for each
        fold K, ``folds/K/`` with ``model.safetensors``, ``history.csv``, where a split has a
        validation part ``validation.csv``, and ``predictions.csv``, which is written last: a fold
        that has it is finished.

    Examples
    --------
    >>> from covidct.runs.storage import RunDirectory
    >>> RunDirectory("runs/x").fold(2).as_posix()
    'runs/x/folds/2'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def fold(self, number: int) -> Path:
        """Return the folder of a fold."""
        return self.path / "folds" / str(number)

    def is_finished(self, number: int) -> bool:
        """Say whether a fold has been trained and scored."""
        return (self.fold(number) / "predictions.csv").exists()

    def kept(self, number: int, name: str) -> Path:
        """Return a file that a finished fold has, whose absence is an error."""
        path = self.fold(number) / name
        if not path.is_file():
            raise InvalidFileError(
                f"{str(path)!r} is missing; remove 'predictions.csv' beside it and start the run "
                "again, which fits the fold anew"
            )
        return path

    def tidy(self, n_folds: int) -> None:
        """Remove what killed processes left of a run whose folds are all finished."""
        for folder in (self.path, *map(self.fold, range(n_folds))):
            clear_remains(folder)
            CheckpointStore(folder).clear()

    def write_spec(self, spec: Mapping[str, Any]) -> None:
        """Write ``run.json``."""
        write_json(self.path / "run.json", {"format": _FORMAT, **spec})

    def read_spec(self) -> dict[str, Any] | None:
        """Read and check ``run.json``; None where there is none.

        Raises
        ------
        InvalidFileError
            If the file is not what a run writes; the message says what is wrong with it.
        """
        path = self.path / "run.json"
        if not path.exists():
            return None
        try:
            spec: Any = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InvalidFileError(f"{str(path)!r} cannot be read as JSON: {error}") from error
        fault = _find_fault(spec)
        if fault is None and self.fold(len(spec["folds"])).exists():
            fault = f"was damaged or edited: it has {len(spec['folds'])} folds, the folder has more"
        if fault is not None:
            raise InvalidFileError(f"{str(path)!r} {fault}")
        return dict(spec)

    def write_table(self, path: Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
        """Write a CSV file; floats keep all their digits."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
        write_text(path, text.getvalue())

    def read_predictions(
        self, number: int, index: npt.NDArray[np.int64], *, name: str = "predictions.csv"
    ) -> npt.NDArray[np.void]:
        """Read the predictions of a fold as a structured array of `PREDICTION_FIELDS`.

        ``index`` are the slices that the file must hold, in this order.

        Raises
        ------
        InvalidFileError
            If the file is not what a run writes, or has other slices than those to test on.
        """
        path = self.fold(number) / name
        rows = [tuple(row) for row in _read_table(path, PREDICTION_FIELDS.names or ())]
        try:
            table = np.array(rows, dtype=PREDICTION_FIELDS)
        except ValueError as error:
            raise InvalidFileError(f"{str(path)!r} was damaged or edited: {error}") from error
        if not np.array_equal(table["index"], index):
            raise InvalidFileError(
                f"{str(path)!r} was damaged or edited: it lacks slices of the fold"
            )
        wrong = np.flatnonzero(~_is_sound(table, number))
        if wrong.size:
            raise InvalidFileError(
                f"{str(path)!r} was damaged or edited: its line {wrong[0] + 2} cannot be"
            )
        return table

    def read_history(self, number: int, columns: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """Read the history of a fold, a column each.

        Raises
        ------
        InvalidFileError
            If the file is not what a run writes.
        """
        path = self.kept(number, "history.csv")
        rows = _read_table(path, columns)
        try:
            table = np.array(rows, dtype=np.float64).reshape(-1, len(columns))
        except ValueError as error:
            raise InvalidFileError(f"{str(path)!r} was damaged or edited: {error}") from error
        return {name: table[:, i] for i, name in enumerate(columns)}


def software_versions() -> dict[str, str]:
    """Name the versions that a run's bits depend on."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("covidct", "numpy", "scikit-learn", "timm", "torch", "torchvision"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    return versions


def _is_sound(table: npt.NDArray[np.void], fold: int) -> npt.NDArray[np.bool_]:
    sound: npt.NDArray[np.bool_] = (
        np.isin(table["target"], (0, 1))
        & (table["fold"] == fold)
        & (table["probability"] >= 0)
        & (table["probability"] <= 1)
        & np.isfinite(table["logit"])
    )
    return sound


def _read_table(path: Path, columns: Sequence[str]) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise InvalidFileError(f"{str(path)!r} cannot be read as CSV: {error}") from error
    if tuple(header) != tuple(columns) or any(len(row) != len(columns) for row in rows):
        raise InvalidFileError(
            f"{str(path)!r} was damaged or edited: it must have the columns {', '.join(columns)}"
        )
    return rows


def _find_fault(spec: object) -> str | None:
    """Say what is wrong with the content of a ``run.json``; None if nothing is."""
    if not isinstance(spec, dict) or spec.get("format") != _FORMAT:
        found = spec.get("format") if isinstance(spec, dict) else type(spec).__name__
        return f"has format {found!r}, this covidct reads {_FORMAT}; run it anew"
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
