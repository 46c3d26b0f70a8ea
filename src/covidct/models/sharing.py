"""Folders for sharing fitted models: the tensors, and a card that describes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Literal

from torch import nn

from .._files import sha256_of_file, write_json
from .._version import __version__
from ..errors import InvalidFileError, UnknownNameError
from .outputs import CovidOutput, Outputs
from .registry import model_info
from .weights import save_state

__all__ = ["ModelCard", "check_shared", "read_card", "save_model"]

_TENSORS = "model.safetensors"
_CARD = "card.json"


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Description of a fitted model for its users.

    Parameters
    ----------
    model : str
        Name of the network.
    input_size : tuple of (int, int)
        Height and width of the canvases.
    outputs : Outputs, default=CovidOutput()
        Meaning of the outputs: the classes, and those that mean COVID-19.
    resize : {"pad", "stretch"}, default="pad"
        Resizing of slices to the canvas: ``"pad"`` keeps their aspect ratio, ``"stretch"``
        does not.
    training_data : str, default=""
        Data that the model was fitted on.
    protocol : str, default=""
        Split of the evaluation, such as random, grouped by patient, official split, or another
        hospital.
    metrics : mapping of str to object, default={}
        Scores under that protocol, as fractions; any value that JSON can represent.
    intervals : mapping of str to object, default={}
        Ends of the 95 % confidence intervals of the scores, as fractions; None for an undefined
        end.
    patients : mapping of str to int, default={}
        Numbers of patients in the parts ``"training"`` and ``"test"``, if known.
    prevalence : mapping of str to float, default={}
        Shares of COVID-19 slices in the same parts.
    shortcuts : tuple of str or None, default=None
        Properties of the training images that predict the class, as found by an audit; None if the
        data were not audited.
    rule : mapping of str to object or None, default=None
        Calibration and threshold: the fields of :class:`covidct.evaluation.DecisionRule`. None if
        no threshold was chosen.
    intended_use : str, default="Research only; not a medical device."
        Permitted and excluded uses.
    covidct : str, default=this version
        Version of covidct that wrote the card.

    Raises
    ------
    ValueError
        If the network is unknown, ``input_size`` is not two positive integers, or ``resize`` is
        neither ``"pad"`` nor ``"stretch"``.

    Examples
    --------
    >>> from covidct.models import ModelCard
    >>> card = ModelCard(model="resnet18", input_size=(253, 349), protocol="grouped by patient")
    >>> card.intended_use
    'Research only; not a medical device.'
    """

    model: str
    input_size: tuple[int, int]
    outputs: Outputs = field(default_factory=CovidOutput)
    resize: Literal["pad", "stretch"] = "pad"
    training_data: str = ""
    protocol: str = ""
    metrics: Mapping[str, object] = field(default_factory=dict, hash=False)
    intervals: Mapping[str, object] = field(default_factory=dict, hash=False)
    patients: Mapping[str, int] = field(default_factory=dict, hash=False)
    prevalence: Mapping[str, float] = field(default_factory=dict, hash=False)
    shortcuts: tuple[str, ...] | None = None
    rule: Mapping[str, object] | None = field(default=None, hash=False)
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
        if self.shortcuts is not None:
            object.__setattr__(self, "shortcuts", tuple(self.shortcuts))
        if self.resize not in ("pad", "stretch"):
            raise ValueError(f"resize must be one of 'pad', 'stretch', got {self.resize!r}")

    @classmethod
    def filled(
        cls,
        model: str,
        input_size: tuple[int, int],
        details: Mapping[str, object],
        *,
        outputs: Outputs | None = None,
    ) -> ModelCard:
        """Create a card from the properties of a model and further details.

        Parameters
        ----------
        model : str
            Name of the network.
        input_size : tuple of (int, int)
            Height and width of the canvases.
        details : mapping of str to object
            Further fields, except ``covidct``.
        outputs : Outputs or None, default=None
            Meaning of the outputs. None: one logit of COVID-19 against the rest.

        Returns
        -------
        ModelCard
            The complete card.

        Raises
        ------
        UnknownNameError
            If a model card does not have one of the fields.
        ValueError
            If a field is not valid.
        """
        given = ("model", "input_size", "outputs", "covidct")
        free = [f.name for f in fields(cls) if f.name not in given]
        for name in details:
            if name not in free:
                raise UnknownNameError.among("field of a model card", name, free)
        outputs = CovidOutput() if outputs is None else outputs
        return cls(model=model, input_size=input_size, outputs=outputs, **details)  # type: ignore[arg-type]  # checked by __post_init__


def save_model(model: nn.Module, folder: str | PathLike[str], *, card: ModelCard) -> None:
    """Write a model and its card to a folder; see :meth:`covidct.CTClassifier.save`.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    folder : str or path-like
        Folder for ``model.safetensors`` and ``card.json``; created if necessary.
    card : ModelCard
        Card of this model.
    """
    folder = Path(folder)
    save_state(model, folder / _TENSORS)
    # The hash links the two files, and detects damage that does not change the shapes.
    content = asdict(card) | {"outputs": card.outputs.to_dict()}
    write_json(folder / _CARD, content | {"sha256": _sha256(folder / _TENSORS)})


def check_shared(folder: str | PathLike[str]) -> tuple[ModelCard, Path]:
    """Read the card of a shared model and check that it belongs to the tensors in the folder.

    Parameters
    ----------
    folder : str or path-like
        The folder.

    Returns
    -------
    card : ModelCard
        The card.
    tensors : Path
        The file of tensors.

    Raises
    ------
    FileNotFoundError
        If the folder lacks ``model.safetensors`` or ``card.json``.
    InvalidFileError
        If the card is damaged, or does not belong to the tensors.
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
    folder : str or path-like
        The folder.

    Returns
    -------
    ModelCard
        The card.

    Raises
    ------
    FileNotFoundError
        If the folder has no ``card.json``.
    InvalidFileError
        If the card is damaged, or describes a network that this version of covidct does not have.
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
        content["outputs"] = Outputs.from_dict(content["outputs"])
        return ModelCard(**content), sha256
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidFileError(f"{path}: not the card of a model ({error})") from error


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return sha256_of_file(path)
