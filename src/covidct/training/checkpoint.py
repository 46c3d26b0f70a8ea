"""Checkpoints of a training, from which it is resumed after an interruption."""

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
    """Storage of the newest checkpoint of a training and the one before it.

    A checkpoint is a ZIP archive whose members have checksums. If the newest checkpoint is
    incomplete or damaged, the one before it is used.

    Parameters
    ----------
    folder : Path
        Folder of ``checkpoint.pt`` and ``checkpoint.previous.pt``.

    Attributes
    ----------
    newest, previous : Path
        The two files.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from covidct.training import CheckpointStore
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
        """Write a checkpoint; a complete checkpoint is on disk at any moment."""
        # PyTorch raises a RuntimeError if the disk is full.
        with atomic_path(self.newest, failures=(RuntimeError,)) as temporary:
            torch.save(state, temporary)
            if self.newest.exists():
                self.newest.replace(self.previous)

    def load(self) -> dict[str, Any] | None:
        """Read the newest checkpoint that is not damaged, or return None."""
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
                    _LOG.warning("%s is damaged and not used: %s", path, error)
        return None

    def clear(self) -> None:
        """Remove the checkpoints of a finished training."""
        for path in (self.newest, self.previous):
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error
    if damaged is not None:
        raise ValueError(f"the checksum of the member {damaged} is wrong")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
