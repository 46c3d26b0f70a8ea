"""Where ImageNet weights come from, and what stands between a file and a model.

Only tensors are ever read: safetensors, or PyTorch's format with ``weights_only=True``. A pickle,
whose loading can run any code, is refused.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from importlib import import_module, util
from operator import attrgetter
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .._files import atomic_path
from ..errors import InvalidFileError
from .catalogue import BUILT_IN
from .info import ArchitectureInfo
from .parts import build_backbone, build_network

__all__ = ["imagenet_state", "load_state", "load_weights", "read_state", "save_state"]

logger = logging.getLogger(__name__)

# The networks of before 2018 don't have this one, and none needs it.
_NEEDLESS = "num_batches_tracked"
# Begins the names of a trunk's tensors in the file of a fitted model.
_BACKBONE = "backbone."


def read_state(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors of a weights file, safely.

    Parameters
    ----------
    path
        ``.safetensors``, or a file of :func:`torch.save` with a state dict, by itself or as the
        entry ``"state_dict"`` of a checkpoint.

    Returns
    -------
    dict
        Names to tensors, on the CPU; every number is finite.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InvalidFileError
        If it is damaged, holds anything but tensors, or a NaN or infinite value.

    Examples
    --------
    >>> import torch
    >>> from covidct.models.weights import read_state
    >>> torch.save({"weight": torch.ones(2)}, "weights.pth")
    >>> read_state("weights.pth")
    {'weight': tensor([1., 1.])}
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such weights file")
    if not path.is_file():
        raise InvalidFileError(f"{path}: a folder, not a weights file")
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for name, tensor in state.items():
        if (fault := _fault(tensor)) is not None:
            raise InvalidFileError(f"{path}: {name!r} {fault}")
    return state


def _fault(tensor: Tensor) -> str | None:
    """Say why a tensor is no weight: a few bytes may claim to be a million million values."""
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.is_quantized or tensor.is_complex():
        return "is no plain tensor; save dense real numbers"
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        return "claims more values than the file holds; save tensor.contiguous()"
    return None if tensor.isfinite().all() else "has NaN or infinite values"


def save_state(model: nn.Module, path: str | PathLike[str]) -> None:
    """Write a model's tensors as safetensors, atomically.

    Parameters
    ----------
    model
        On any device, in any memory format.
    path
        The file; :func:`load_state` reads it.
    """
    # safetensors wants rows to lie one after the other, which channels_last ones don't.
    state = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(Path(path), failures=(SafetensorError,)) as temporary:
        save_file(state, temporary)


def load_state(model: nn.Module, path: str | PathLike[str], *, info: ArchitectureInfo) -> None:
    """Load a fitted model's tensors, all of them, into a model of the same network.

    Parameters
    ----------
    model
        What to fill; it stays on its device. It is left as it was if anything is wrong.
    path
        What :func:`save_state` wrote.
    info
        The model's network.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InvalidFileError
        If it is damaged, has NaN or infinite values, or is not of this network.

    Examples
    --------
    >>> import covidct
    >>> from covidct.models.weights import load_state, save_state
    >>> model = covidct.create_model("shufflenet", weights=None)
    >>> save_state(model, "model.safetensors")
    >>> load_state(model, "model.safetensors", info=model.info)
    """
    _fill(model, read_state(path), info=info, origin=str(path))


def imagenet_state(info: ArchitectureInfo) -> tuple[dict[str, Tensor], str]:
    """Find a network's ImageNet weights: in a folder, in a package, or at their publisher's.

    Parameters
    ----------
    info
        The network.

    Returns
    -------
    state : dict
        Tensors under the names that they have in the network's source.
    origin : str
        The file, or the source.

    Raises
    ------
    ConnectionError
        If they are not here and can't be downloaded.
    FileNotFoundError
        If ``COVIDCT_WEIGHTS`` names no folder.
    InvalidFileError
        If a file was found that can't be used.

    Notes
    -----
    First comes the folder that the environment variable ``COVIDCT_WEIGHTS`` names: NAME or the
    name in the source, with or without the hash that torchvision puts behind it, with the suffix
    ``.safetensors``, ``.pth`` or ``.pt``. Second comes the package of ``info.package``, where it
    is installed. Else torchvision or timm download the file, and keep it in their own cache.
    """
    if (path := _file_in_folder(info)) is not None:
        return read_state(path), str(path)
    if (path := _file_in_package(info)) is not None:
        return _rename_in_order(read_state(path), info), str(path)
    return _download(info), info.source


def load_weights(model: nn.Module, weights: str | PathLike[str], *, info: ArchitectureInfo) -> None:
    """Load what :func:`covidct.create_model` was given.

    Parameters
    ----------
    model
        What to fill, a :class:`covidct.CTClassifier`; it is left as it was if anything is wrong.
    weights
        ``"imagenet"``, as :func:`imagenet_state` finds it, or a file: weights of the network's
        source, whose classifier is left out, or those of a fitted model, head included.
    info
        The model's network.

    Raises
    ------
    ConnectionError
        If ImageNet weights are not here and can't be downloaded.
    FileNotFoundError
        If there is no such file.
    InvalidFileError
        If the file is damaged, has NaN or infinite values, or is not of this network.
    """
    if weights == "imagenet":
        state, origin = imagenet_state(info)
    else:
        state, origin = read_state(weights), str(weights)
    if any(name.startswith(_BACKBONE) for name in state):
        _fill(model, state, info=info, origin=origin)
    else:
        trunk = _trunk(state, info)
        _fill(model.get_submodule("backbone"), trunk, info=info, origin=origin)
        if len(trunk) < len(state):
            logger.info("%s: its classifier is left out; the head is new", origin)


def _trunk(state: Mapping[str, Tensor], info: ArchitectureInfo) -> dict[str, Tensor]:
    """Leave the classifier out, and give old files the names of today."""
    trunk = {}
    for name, tensor in state.items():
        for pattern, replacement in info.renamed:
            name = re.sub(pattern, replacement, name)
        if not any(f"{name}.".startswith(f"{part}.") for part in info.classifier):
            trunk[name] = tensor
    return trunk


def _fill(
    module: nn.Module, state: Mapping[str, Tensor], *, info: ArchitectureInfo, origin: str
) -> None:
    """Load a state dict if, and only if, it has the module's very names, shapes and kinds."""
    faults = list(_faults(module.state_dict(), state))
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        twin = _recognize(state)
        guess = "" if twin in (None, info.name) else f"; it looks like {twin!r}"
        raise InvalidFileError(
            f"{origin}: not weights of {info.name!r}: {', '.join(faults[:3])}{more}{guess}"
        )
    module.load_state_dict(state, strict=False)


def _faults(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Iterable[str]:
    """Name, one by one, what keeps ``found`` from being loaded into ``wanted``."""
    for name, tensor in wanted.items():
        if name not in found:
            if not name.endswith(_NEEDLESS):
                yield f"{name!r} is missing"
        elif found[name].shape != tensor.shape:
            yield f"{name!r} is {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        elif found[name].is_floating_point() != tensor.is_floating_point():
            yield f"{name!r} is {found[name].dtype} instead of {tensor.dtype}"
    yield from (f"{name!r} is unknown" for name in found if name not in wanted)


def _recognize(state: Mapping[str, Tensor]) -> str | None:
    """Return which network's trunk has these tensors, classifier or head aside."""
    shapes = {name.removeprefix(_BACKBONE): tensor.shape for name, tensor in state.items()}
    for info in BUILT_IN:
        with torch.device("meta"):
            wanted = build_backbone(info).state_dict()
        if all(
            shapes.get(name) == tensor.shape
            for name, tensor in wanted.items()
            if not name.endswith(_NEEDLESS)
        ):
            return info.name
    return None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InvalidFileError(
            f"{path}: can't be read as safetensors ({error}); is it whole?"
        ) from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        _refuse_compressed(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InvalidFileError(
            f"{path}: refused, since it is not just tensors, and loading anything else could run "
            "code; save model.state_dict() with torch.save or safetensors"
        ) from error
    except Exception as error:
        # A damaged archive fails in as many ways as there are bytes in it.
        raise InvalidFileError(
            f"{path}: can't be read ({type(error).__name__}: {error}); is it whole?"
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise InvalidFileError(f"{path}: not a state dict: names to tensors, and nothing else")
    return dict(state)


def _refuse_compressed(path: Path) -> None:
    """Refuse a ZIP archive that grows when it is read: PyTorch writes its own uncompressed."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > path.stat().st_size:
            raise ValueError(f"it would grow to {size:,} bytes; save it with torch.save")


def _file_in_folder(info: ArchitectureInfo) -> Path | None:
    folder = os.environ.get("COVIDCT_WEIGHTS")
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"COVIDCT_WEIGHTS={folder!r} is no folder")
    names = "|".join(re.escape(name) for name in (info.name, info.source.split()[-1]))
    pattern = re.compile(rf"({names})(-[0-9a-f]{{8,}})?\.(safetensors|pth|pt)")
    found = sorted(path for path in Path(folder).iterdir() if pattern.fullmatch(path.name))
    if not found:
        logger.info("no weights of %s in COVIDCT_WEIGHTS=%s", info.name, folder)
        return None
    logger.info("ImageNet weights of %s: %s", info.name, found[0])
    return found[0]


def _file_in_package(info: ArchitectureInfo) -> Path | None:
    if info.package is None:
        return None
    module, _, function = info.package.partition(":")
    if util.find_spec(module) is None:
        return None
    return Path(attrgetter(function)(import_module(module))())


def _rename_in_order(state: Mapping[str, Tensor], info: ArchitectureInfo) -> dict[str, Tensor]:
    with torch.device("meta"):
        names = build_network(info.builder, info.options).state_dict()
    # Should the numbers differ, the check of names and shapes that follows says so.
    return dict(zip(names, state.values(), strict=False))


def _download(info: ArchitectureInfo) -> dict[str, Tensor]:
    advice = (
        f"get the file of {info.source} elsewhere, and give it as weights=PATH or put it as "
        f"{info.source.split()[-1]}.pth into a folder that COVIDCT_WEIGHTS names; or train from "
        "random weights with weights=None"
    )
    if not info.pretrained:
        raise ConnectionError(f"{info.name} has no ImageNet weights to download; {advice}")
    try:
        return build_network(info.builder, {**info.options, **info.pretrained}).state_dict()
    except (OSError, RuntimeError) as error:
        raise ConnectionError(
            f"the ImageNet weights of {info.name} could not be downloaded ({error}); {advice}"
        ) from error
