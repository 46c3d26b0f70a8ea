"""Check of the folder of a run that is started, resumed or extended."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from .run_spec import RunSpec
from .storage import RunDirectory

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["claim_folder"]

_LOG = logging.getLogger(__name__)

# A run may be resumed with other values of these settings, but its results may then differ in their
# last digits.
_ENVIRONMENT = ("versions", "threads", "device")


def claim_folder(
    directory: RunDirectory, spec: RunSpec, columns: pd.DataFrame, *, resume: bool
) -> None:
    """Write the description of a run into its folder, or check that the folder has the same run.

    A run with additional folds, such as one with more repeats, extends the run in the folder.

    Parameters
    ----------
    directory : RunDirectory
        Folder of the run; it is created if needed.
    spec : RunSpec
        Description of the run.
    columns : DataFrame
        Columns of the dataset's table that may define subgroups.
    resume : bool
        Allow a folder that contains the run already.

    Raises
    ------
    ValueError
        If the folder contains another run, or any run and `resume` is false.
    OSError
        If the folder is not writable.
    """
    with _explained_write_errors(directory.path):
        directory.path.mkdir(parents=True, exist_ok=True)
        with FileLock(directory.path / ".lock"):
            found = directory.read_spec()
            if found is None:
                directory.write_columns(columns)
                directory.write_spec(spec)
                return
            if not resume:
                raise ValueError(
                    f"{str(directory.path)!r} contains a run; choose another run_dir, or "
                    "resume=True"
                )
            _continue(directory, found, spec)
    for key in _ENVIRONMENT:
        before, now = getattr(found, key), getattr(spec, key)
        if before != now:
            _LOG.warning(
                "the run in %s is resumed with other %s, so its results may differ in their "
                "last digits: %s",
                directory.path,
                key,
                _change(before, now, key),
            )


def _continue(directory: RunDirectory, found: RunSpec, spec: RunSpec) -> None:
    """Extend the run in the folder if `spec` has more folds; raise if it is another run."""
    extended = _extended(found, spec)
    if changes := _changes(extended, spec):
        has_more = found.repeats > spec.repeats and not _changes(_extended(spec, found), found)
        advice = f"Give repeats={found.repeats}, or choose" if has_more else "Choose"
        raise ValueError(
            f"{str(directory.path)!r} contains another run: {'; '.join(changes)}. "
            f"{advice} another run_dir"
        )
    if extended is not found:
        directory.verify(networks=True)
        directory.unseal()
        directory.write_spec(extended)
        _LOG.info(
            "%s: extended from %d to %d folds; it can be read again when all are finished",
            directory.path.name,
            len(found.folds),
            len(spec.folds),
        )


def _extended(found: RunSpec, spec: RunSpec) -> RunSpec:
    """Return the run in the folder, extended by the additional folds of `spec` if it has any."""
    number = len(found.folds)
    if len(spec.folds) == number or spec.folds[:number] != found.folds:
        return found
    return replace(found, folds=(*found.folds, *spec.folds[number:]), repeats=spec.repeats)


def _changes(found: RunSpec, spec: RunSpec) -> list[str]:
    """Describe the differences of `spec` from the run in the folder, except the environment."""
    before, now = ({**s.to_dict(), "protocol": s.protocol} for s in (found, spec))
    same_number = len(found.folds) == len(spec.folds)
    ignored = _ENVIRONMENT if same_number else (*_ENVIRONMENT, "fold_names")
    changes = [
        _change(before[key], now[key], key)
        for key in now
        if key not in ignored and before[key] != now[key]
    ]
    if same_number and found.folds != spec.folds:
        changes.append("the folds have other slices (a scikit-learn splitter needs a random_state)")
    return changes


def _change(before: object, now: object, key: str) -> str:
    """Describe the difference between two values of an entry of run.json."""
    if isinstance(before, dict) and isinstance(now, dict):
        other = [name for name in now if before.get(name) != now[name]]
        return "; ".join(_change(before.get(name), now[name], f"{key}.{name}") for name in other)
    return f"{key} was {before}, is {now}"


@contextmanager
def _explained_write_errors(run_dir: Path) -> Iterator[None]:
    """Add advice to the error that is raised if a run folder is not writable."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR):
            raise
        raise OSError(
            error.errno,
            f"{error.strerror}: the folder of a run must be writable; choose another folder, or "
            "read a finished run with CrossValidationResult.load (covidct evaluate)",
            str(run_dir),
        ) from error
