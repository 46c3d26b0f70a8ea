"""Files of a run: the description of the run, its folds, predictions, histories and checksums.

A run folder may come from another computer or another person, or may have been edited, so every
file is checked when it is read. This module is the only one that reads or writes ``run.json``,
``folds.safetensors``, the CSV files and ``SHA256SUMS``.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from .._files import atomic_path, remove_temporary_files, sha256_of_file, write_json, write_text
from .._text import some
from ..errors import InvalidFileError
from ..models.outputs import Outputs
from ..training.checkpoint import CheckpointStore
from .columns import PREDICTION_COLUMNS, prediction_columns
from .run_spec import RunSpec
from .subgroups import MOST_SUBGROUPS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RunDirectory", "runs_near"]

_FORMAT = 2
_PARTS = ("train", "test", "validation")  # as the arguments of Fold
_CHECKSUMS = "SHA256SUMS"
_COLUMNS = "columns.csv"
_MOST_COLUMNS = 50
_DAMAGED = "was damaged or edited"


def runs_near(folder: Path) -> str:
    """Name the runs above and below a folder that is not a run, as the end of a message.

    Parameters
    ----------
    folder : Path
        Folder or file that was given as a run.

    Returns
    -------
    str
        "" if there are no runs.
    """
    above = [parent for parent in list(folder.parents)[:3] if (parent / "run.json").is_file()]
    below = [*sorted(folder.glob("*/run.json")), *sorted(folder.glob("*/*/run.json"))]
    found = some(map(str, (*above, *(path.parent for path in below))))
    return found and f"; runs near it: {found}"


class RunDirectory:
    """Files of one run.

    ``run.json`` and ``folds.safetensors`` describe the run. Each fold K has the folder
    ``folds/K`` with ``model.safetensors``, ``history.csv``, ``reference.safetensors``,
    ``validation.csv`` (if the split has a validation part) and ``predictions.csv``, which is
    written last: a fold that has it is finished. A finished run also has ``predictions.csv`` and
    ``metrics.json`` of all folds, ``columns.csv`` if the dataset has further columns, and
    ``SHA256SUMS`` with the checksums of all these files (``sha256sum --check SHA256SUMS``
    verifies them as well).

    Parameters
    ----------
    path : str or path-like
        The folder of the run.

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
        """Return True if a fold has been trained and scored."""
        return (self.fold(number) / "predictions.csv").exists()

    def kept(self, number: int, name: str) -> Path:
        """Return the path of a file of a finished fold after verifying its checksum.

        Raises
        ------
        InvalidFileError
            If the file is missing, or its checksum is not the recorded one.
        """
        path = self.fold(number) / name
        if not path.is_file():
            raise InvalidFileError(
                f"{str(path)!r} is missing; remove 'predictions.csv' from the same folder and "
                "start the run again, which trains the fold again"
            )
        self._verify(path, self._checksums())
        return path

    def tidy(self, n_folds: int) -> None:
        """Remove temporary files and checkpoints of killed processes from a finished run."""
        for folder in (self.path, *map(self.fold, range(n_folds))):
            remove_temporary_files(folder)
            CheckpointStore(folder).clear()

    def write_columns(self, columns: pd.DataFrame) -> None:
        """Write ``columns.csv`` with the columns of the dataset's table that may define subgroups.

        Parameters
        ----------
        columns : DataFrame
            One row per slice of the dataset. Columns without values, and text columns with more
            than 50 different values, such as identifiers, are left out. At most 50 columns are
            written.
        """
        import pandas as pd

        kept = [
            name
            for name, values in columns.items()
            if values.notna().any()
            and (pd.api.types.is_numeric_dtype(values) or values.nunique() <= MOST_SUBGROUPS)
        ][:_MOST_COLUMNS]
        if kept:
            table = columns[kept].to_csv(index=False, na_rep="", lineterminator="\n")
            write_text(self.path / _COLUMNS, table)

    def read_columns(self) -> pd.DataFrame | None:
        """Read ``columns.csv``.

        Returns
        -------
        DataFrame or None
            One row per slice of the dataset; None if there is no such file.

        Raises
        ------
        InvalidFileError
            If the file cannot be read.
        """
        import pandas as pd

        path = self.path / _COLUMNS
        if not path.exists():
            return None
        try:
            # A cell of a single column without a value is an empty line.
            return pd.read_csv(path, keep_default_na=False, na_values=[""], skip_blank_lines=False)
        except (OSError, ValueError, pd.errors.ParserError) as error:
            raise InvalidFileError(f"{str(path)!r} cannot be read as CSV: {error}") from error

    def write_spec(self, spec: RunSpec) -> None:
        """Write ``folds.safetensors`` and ``run.json``, in this order."""
        tensors = {
            f"{number}.{part}": getattr(fold, part).astype(np.int32)
            for number, fold in enumerate(spec.folds)
            for part in _PARTS
        }
        with atomic_path(self._folds, failures=(SafetensorError,)) as temporary:
            save_file(tensors, temporary)
        write_json(self.path / "run.json", {"format": _FORMAT, **spec.to_dict()})

    def read_spec(self) -> RunSpec | None:
        """Read and check the description of the run.

        Returns
        -------
        RunSpec or None
            None if the folder has no ``run.json``.

        Raises
        ------
        InvalidFileError
            If ``run.json`` or ``folds.safetensors`` cannot be read, or was not written by a run;
            the message names the entry.
        """
        path = self.path / "run.json"
        if not path.exists():
            return None
        try:
            content: Any = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InvalidFileError(f"{str(path)!r} cannot be read as JSON: {error}") from error
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        if not isinstance(content, dict) or found != _FORMAT:
            raise InvalidFileError(
                f"{str(path)!r} has format {found!r}, this version of covidct reads format "
                f"{_FORMAT}; run the cross-validation again in a new folder"
            )
        try:
            return RunSpec.from_dict(content, self._read_folds)
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            if isinstance(error, InvalidFileError):
                raise
            raise InvalidFileError(f"{str(path)!r} {_DAMAGED}: {error}") from error

    def _read_folds(self, number: int, slices: int) -> list[tuple[npt.NDArray[np.int64], ...]]:
        """Read the positions of the training, test and validation part of each fold."""
        if self.fold(number).exists():
            raise ValueError(f"'folds' is {number}, but the folder has more folds")
        path = self._folds
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError, ValueError) as error:
            raise InvalidFileError(f"{str(path)!r} cannot be read: {error}") from error
        reason = next(_invalid_folds(tensors, number, slices), None)
        if reason is not None:
            raise InvalidFileError(f"{str(path)!r} {_DAMAGED}: {reason}")
        return [
            tuple(tensors[f"{k}.{part}"].astype(np.int64) for part in _PARTS) for k in range(number)
        ]

    @property
    def _folds(self) -> Path:
        return self.path / "folds.safetensors"

    def write_table(self, path: Path, table: pd.DataFrame) -> None:
        """Write a CSV file; floats keep all their digits."""
        write_text(path, table.to_csv(index=False, na_rep="nan", lineterminator="\n"))

    def read_predictions(
        self,
        number: int,
        index: npt.NDArray[np.int64],
        *,
        outputs: Outputs,
        name: str = "predictions.csv",
    ) -> pd.DataFrame:
        """Read the predictions of a fold.

        Parameters
        ----------
        number : int
            Number of the fold.
        index : ndarray of shape (n_slices,)
            Positions of the slices that the file must have, in this order.
        outputs : Outputs
            Meaning of the network's outputs.
        name : str, default="predictions.csv"
            Name of the file in the folder of the fold.

        Returns
        -------
        DataFrame
            One row per slice, with the columns of :func:`covidct.runs.columns.prediction_columns`.

        Raises
        ------
        InvalidFileError
            If the file cannot be read, has other columns or slices than the fold, or a row has a
            target other than 0 and 1, another fold, a probability outside [0, 1] or a logit that
            is not finite.
        """
        path = self.fold(number) / name
        columns = prediction_columns(outputs)
        table = _read_table(path, columns)
        chances = ["probability", *(c for c in columns if c not in PREDICTION_COLUMNS)]
        if not np.array_equal(table["index"], index):
            raise InvalidFileError(
                f"{str(path)!r} {_DAMAGED}: its slices are not those of fold {number}"
            )
        valid = (
            table["target"].isin((0, 1))
            & (table["fold"] == number)
            & ((table[chances] >= 0) & (table[chances] <= 1)).all(axis=1)
            & np.isfinite(table["logit"])
        )
        if not valid.all():
            line = int(np.flatnonzero(~valid)[0]) + 2
            raise InvalidFileError(f"{str(path)!r} {_DAMAGED}: line {line} has an invalid value")
        return table

    def read_history(self, number: int, columns: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """Read the learning curve of a fold.

        Parameters
        ----------
        number : int
            Number of the fold.
        columns : sequence of str
            Columns that the file must have.

        Returns
        -------
        dict of str to ndarray of shape (n_epochs,)
            The values of each column.

        Raises
        ------
        InvalidFileError
            If the file is missing, cannot be read, or has other columns.
        """
        table = _read_table(self.kept(number, "history.csv"), dict.fromkeys(columns, "float64"))
        return {name: table[name].to_numpy() for name in columns}

    def seal(self, n_folds: int) -> None:
        """Write ``SHA256SUMS`` with the checksums of all files of the finished run."""
        names = ["run.json", self._folds.name, "predictions.csv", "metrics.json"]
        names += [_COLUMNS] if (self.path / _COLUMNS).exists() else []
        for k in range(n_folds):
            files = sorted(self.fold(k).glob("[!.]*.*"))
            names += [path.relative_to(self.path).as_posix() for path in files]
        lines = [f"{sha256_of_file(self.path / name)}  {name}\n" for name in names]
        write_text(self.path / _CHECKSUMS, "".join(lines))

    def unseal(self) -> None:
        """Remove ``SHA256SUMS`` before files of the run change."""
        (self.path / _CHECKSUMS).unlink(missing_ok=True)

    def verify(self, *, networks: bool = False) -> None:
        """Compare the files of a finished run with their checksums.

        Missing files are not reported here: required files are reported when they are read, and
        other files are written again when the run is started again.

        Parameters
        ----------
        networks : bool, default=False
            Compare also the networks and references of the folds. They are large, and are compared
            when they are read in any case.

        Raises
        ------
        InvalidFileError
            If the checksum of a file is not the recorded one.
        """
        checksums = self._checksums()
        for path in checksums:
            is_large = path.parent != self.path and path.suffix == ".safetensors"
            if path.exists() and (networks or not is_large):
                self._verify(path, checksums)

    def _checksums(self) -> dict[Path, str]:
        """Read the recorded checksums; empty if the run is not finished."""
        path = self.path / _CHECKSUMS
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidFileError(f"{str(path)!r} cannot be read: {error}") from error
        entries = [re.fullmatch(r"([0-9a-f]{64})  (.+)", line) for line in lines]
        found = {self.path / entry[2]: entry[1] for entry in entries if entry}
        if len(found) < len(lines):
            raise InvalidFileError(
                f"{str(path)!r} {_DAMAGED}; remove it and start the run again, which writes it"
            )
        return found

    def _verify(self, path: Path, checksums: Mapping[Path, str]) -> None:
        expected = checksums.get(path)
        if expected is None or sha256_of_file(path) == expected:
            return
        if path.parent == self.path and path.name in ("metrics.json", "predictions.csv"):
            remedy = "remove it and start the run again, which writes it from the folds"
        elif path.parent == self.path:
            remedy = "restore it from a copy"
        else:
            remedy = (
                "restore it from a copy, or remove 'predictions.csv' from the same folder and "
                "start the run again, which trains the fold again"
            )
        raise InvalidFileError(
            f"{str(path)!r} {_DAMAGED} after the run was finished (its SHA-256 differs from the "
            f"one in {_CHECKSUMS}); {remedy}"
        )


def _invalid_folds(
    tensors: Mapping[str, npt.NDArray[Any]], number: int, slices: int
) -> Iterator[str]:
    """Yield the reasons why the file of the folds is invalid, in the order of the checks."""
    # A run that was killed while it was extended has the new folds here, before run.json has them.
    known = len(tensors) // len(_PARTS)
    if known < number or set(tensors) != {f"{k}.{part}" for k in range(known) for part in _PARTS}:
        yield f"it must have {', '.join(_PARTS)} of {number} folds"
        return
    for name, index in tensors.items():
        if index.ndim != 1 or index.dtype.kind != "i":
            yield f"{name!r} must be a list of integers"
        elif index.size and (index.min() < 0 or index.max() >= slices):
            yield f"{name!r} must be positions from 0 to {slices - 1}"
    for k in range(number):
        train, test = tensors[f"{k}.train"], tensors[f"{k}.test"]
        if not train.size or not test.size or len(np.unique(test)) < len(test):
            yield f"fold {k} must have slices to train on, and each slice to test on once"
        if np.intersect1d(train, test).size:
            yield f"fold {k} has slices in both the training and the test part"


def _read_table(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Read a CSV file with these columns.

    The cells are read as text and converted afterwards, which rounds floats correctly in every
    version of pandas, and keeps texts such as "NA" as they are.
    """
    import pandas as pd

    try:
        content = path.read_bytes()
        cells = pd.read_csv(
            io.BytesIO(content),
            header=None,
            dtype=str,
            keep_default_na=False,
            lineterminator="\n",
            skip_blank_lines=False,
        )
    except (OSError, ValueError, pd.errors.ParserError, csv.Error) as error:
        raise InvalidFileError(f"{str(path)!r} cannot be read as CSV: {error}") from error
    if cells.iloc[0].tolist() != list(columns) or not content.endswith(b"\n"):
        raise InvalidFileError(
            f"{str(path)!r} {_DAMAGED}: it must have the columns {', '.join(columns)}, and a "
            "newline at its end"
        )
    try:
        table = cells[1:].set_axis(list(columns), axis=1).astype(dict(columns))
    except (OverflowError, ValueError) as error:
        raise InvalidFileError(f"{str(path)!r} {_DAMAGED}: {error}") from error
    return table.reset_index(drop=True)
