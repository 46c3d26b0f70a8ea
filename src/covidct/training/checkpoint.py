"""The state of a training between two epochs, on disk, twice."""

from __future__ import annotations

import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from .._files import atomic_path

__all__ = ["CheckpointStore"]

_LOG = logging.getLogger(__name__)


class CheckpointStore:
    """Keep the newest checkpoint of a fold and the one before it.

    A checkpoint is a zip archive whose members carry checksums: one that was cut short or
    damaged is recognized, and the one before it is used.

    Parameters
    ----------
    folder
        Where ``checkpoint.pt`` and ``checkpoint.previous.pt`` lie.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from covidct.training.checkpoint import CheckpointStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = CheckpointStore(Path(folder))
    ...     store.save({"epoch": 3})
    ...     store.load()
    {'epoch': 3}
    """

    def __init__(self, folder: Path) -> None:
        self.newest = folder / "checkpoint.pt"
        self.previous = folder / "checkpoint.previous.pt"

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint; at any moment one whole checkpoint is on disk."""
        # PyTorch makes a RuntimeError of a full disk.
        with atomic_path(self.newest, failures=(RuntimeError,)) as temporary:
            torch.save(state, temporary)
            if self.newest.exists():
                self.newest.replace(self.previous)

    def load(self) -> dict[str, Any] | None:
        """Read the newest checkpoint that is whole; None where there is none."""
        for path in (self.newest, self.previous):
            if path.exists():
                try:
                    return _read(path)
                except (
                    OSError,
                    RuntimeError,
                    ValueError,
                    EOFError,
                    pickle.UnpicklingError,
                ) as error:
                    _LOG.warning("%s is damaged and left aside: %s", path, error)
        return None

    def clear(self) -> None:
        """Remove the checkpoints of a training that is finished."""
        for path in (self.newest, self.previous):
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error
    if damaged is not None:
        raise ValueError(f"its member {damaged} fails its checksum")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
