"""Where weights come from, and the checks between a file and a model.

Reading is safe: safetensors, or PyTorch files with ``weights_only=True``; never pickled code.
"""

from __future__ import annotations

import os
import re
from importlib import import_module, util
from operator import attrgetter
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor

from covidct.errors import InvalidFileError

if TYPE_CHECKING:
    from .classifier import CTClassifier
    from .registry import ArchitectureInfo

__all__ = ["load_state", "load_weights", "read_state"]

State = dict[str, Tensor]
_SUFFIXES = (".safetensors", ".pth", ".pt")


def load_weights(model: CTClassifier, weights: str | PathLike[str] | None) -> None:
    """Load what ``weights`` of :func:`covidct.create_model` names into ``model``."""
    if weights is None:
        return
    if weights != "imagenet":
        path = Path(weights)
        state = read_state(path)
        if any(name.startswith("head.") for name in state):
            _load(model, state, path)
        else:
            _load_backbone(model, state, path)
    elif (path_found := _find_file(model.info)) is not None:
        _load_backbone(model, read_state(path_found), path_found)
    elif (packaged := _packaged_file(model.info)) is not None:
        state = read_state(packaged)
        names = [*_source_state_names(model.info)]
        _load_backbone(model, dict(zip(names, state.values(), strict=True)), packaged)
    else:
        _load_backbone(model, _download(model.info), Path(model.info.source))


def load_state(model: CTClassifier, path: str | PathLike[str]) -> None:
    """Load a fitted model's tensors into a model of the same network."""
    _load(model, read_state(path), Path(path))


def read_state(path: str | PathLike[str]) -> State:
    """Read a weights file safely."""
    path = Path(path)
    if path.suffix == ".safetensors":
        return load_file(path)
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _find_file(info: ArchitectureInfo) -> Path | None:
    folder = os.environ.get("COVIDCT_WEIGHTS")
    if not folder:
        return None
    stems = (info.name, info.source.split()[-1])
    for stem in stems:
        for suffix in _SUFFIXES:
            if (path := Path(folder, stem + suffix)).is_file():
                return path
    return None


def _packaged_file(info: ArchitectureInfo) -> Path | None:
    if info.package is None:
        return None
    module, _, function = info.package.partition(":")
    if util.find_spec(module) is None:
        return None
    return Path(attrgetter(function)(import_module(module))())


def _build_source(info: ArchitectureInfo, **options: object) -> torch.nn.Module:
    module, _, function = info.builder.partition(":")
    network: torch.nn.Module = getattr(import_module(module), function)(
        **{**info.options, **options}
    )
    return network


def _source_state_names(info: ArchitectureInfo) -> list[str]:
    with torch.device("meta"):
        return list(_build_source(info).state_dict())


def _download(info: ArchitectureInfo) -> State:
    return _build_source(info, **info.pretrained).state_dict()


def _load_backbone(model: CTClassifier, state: State, path: Path) -> None:
    for pattern, replacement in model.info.renamed:
        state = {re.sub(pattern, replacement, name): tensor for name, tensor in state.items()}
    wanted = model.backbone.state_dict()
    missing = [name for name in wanted if name not in state]
    if missing:
        msg = f"{path}: not weights of {model.info.source}: no tensor {missing[0]!r}"
        raise InvalidFileError(msg)
    model.backbone.load_state_dict({name: state[name] for name in wanted})


def _load(model: CTClassifier, state: State, path: Path) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        msg = f"{path}: {error}"
        raise InvalidFileError(msg) from error
