"""A fitted model as a folder to hand on: its tensors, and a card that says what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Literal

from torch import nn

from .._files import write_json
from .._version import __version__
from ..errors import InvalidFileError, UnknownNameError
from .registry import model_info
from .weights import save_state

__all__ = ["ModelCard", "check_shared", "read_card", "save_model"]

_TENSORS = "model.safetensors"
_CARD = "card.json"


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What whoever gets a fitted model has to know.

    Parameters
    ----------
    model
        The network's name.
    input_size
        (height, width) of its canvases.
    resize
        How slices come onto the canvas: ``"pad"`` keeps their aspect ratio, ``"stretch"`` doesn't.
    training_data
        What it was fitted on.
    protocol
        How it was scored: random slices, patients kept apart, official split, another hospital.
    metrics
        The scores under that protocol, as fractions; anything that JSON can hold.
    intended_use
        What it may, and may not, be used for.
    covidct
        Version that wrote it.

    Raises
    ------
    ValueError
        If the network is unknown, or the size or the way of resizing is none.

    Examples
    --------
    >>> from covidct.models.sharing import ModelCard
    >>> card = ModelCard(model="resnet18", input_size=(253, 349), protocol="grouped by patient")
    >>> card.intended_use
    'Research only; not a medical device.'
    """

    model: str
    input_size: tuple[int, int]
    resize: Literal["pad", "stretch"] = "pad"
    training_data: str = ""
    protocol: str = ""
    metrics: Mapping[str, object] = field(default_factory=dict, hash=False)
    intended_use: str = "Research only; not a medical device."
    covidct: str = __version__

    def __post_init__(self) -> None:
        model_info(self.model)
        size = tuple(self.input_size)
        if len(size) != 2 or not all(isinstance(n, int) and n > 0 for n in size):
            raise ValueError(
                f"input_size must be (height, width) in pixels, got {self.input_size!r}"
            )
        object.__setattr__(self, "input_size", size)  # JSON gives a list
        if self.resize not in ("pad", "stretch"):
            raise ValueError(f"resize must be one of 'pad', 'stretch', got {self.resize!r}")

    @classmethod
    def filled(
        cls, model: str, input_size: tuple[int, int], others: Mapping[str, object]
    ) -> ModelCard:
        """Add what its owner says of a model to what it says of itself.

        Parameters
        ----------
        model, input_size
            The model's own.
        others
            Any fields but those two and ``covidct``.

        Returns
        -------
        ModelCard
            The whole card.

        Raises
        ------
        UnknownNameError
            If a card has no such field.
        ValueError
            If a field is malformed.
        """
        free = [f.name for f in fields(cls) if f.name not in ("model", "input_size", "covidct")]
        for name in others:
            if name not in free:
                error = UnknownNameError.among("field of a model card", name, free)
                raise error
        return cls(model=model, input_size=input_size, **others)  # type: ignore[arg-type]  # checked on the way in


def save_model(model: nn.Module, folder: str | PathLike[str], *, card: ModelCard) -> None:
    """Do what :meth:`covidct.CTClassifier.save` says.

    Parameters
    ----------
    model
        The model.
    folder
        Gets ``model.safetensors`` and ``card.json``; made if it isn't there.
    card
        Of this very model: network and canvas are read from it.
    """
    folder = Path(folder)
    save_state(model, folder / _TENSORS)
    # The hash binds the two files together, and shows a flipped bit, which no shape would.
    write_json(folder / _CARD, asdict(card) | {"sha256": _sha256(folder / _TENSORS)})


def check_shared(folder: str | PathLike[str]) -> tuple[ModelCard, Path]:
    """Find the parts of a shared model, and that they belong together.

    Parameters
    ----------
    folder
        The folder.

    Returns
    -------
    ModelCard
        The card.
    Path
        The file of the tensors that it describes.

    Raises
    ------
    FileNotFoundError
        If the folder lacks a file.
    InvalidFileError
        If the card is damaged, or the tensors are not those that it describes.
    """
    card, sha256 = _read(Path(folder))
    tensors = Path(folder) / _TENSORS
    if _sha256(tensors) != sha256:
        raise InvalidFileError(
            f"{tensors}: not the file that {_CARD} describes; copy the folder again"
        )
    return card, tensors


def read_card(folder: str | PathLike[str]) -> ModelCard:
    """Read the card of a folder that :meth:`covidct.CTClassifier.save` wrote.

    Parameters
    ----------
    folder
        The folder.

    Returns
    -------
    ModelCard
        The card.

    Raises
    ------
    FileNotFoundError
        If there is none.
    InvalidFileError
        If it is damaged, or of a network that this version of covidct doesn't know.
    """
    return _read(Path(folder))[0]


def _read(folder: Path) -> tuple[ModelCard, str]:
    path = folder / _CARD
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; a shared model is a folder with {_CARD} and {_TENSORS}"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        sha256 = content.pop("sha256")
        return ModelCard(**content), sha256
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidFileError(f"{path}: not the card of a model ({error})") from error


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
