"""Initial weights of a network: those of ImageNet, found or downloaded, or those of a file."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from pkgutil import resolve_name
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from .._text import some
from ..errors import InvalidFileError
from .info import ArchitectureInfo
from .parts import build_network
from .weights import BACKBONE, fill, read_state

__all__ = ["imagenet_state", "load_weights"]

logger = logging.getLogger(__name__)


def imagenet_state(info: ArchitectureInfo) -> tuple[dict[str, Tensor], str]:
    """Find the ImageNet weights of a network in a folder, in a package or by download.

    Parameters
    ----------
    info : ArchitectureInfo
        The network.

    Returns
    -------
    state : dict of str to torch.Tensor
        Tensors under the names that they have in the network's source.
    origin : str
        Path of the file, or the source of the download.

    Raises
    ------
    ConnectionError
        If the weights are not on this machine and cannot be downloaded.
    FileNotFoundError
        If ``COVIDCT_WEIGHTS`` does not name a folder.
    InvalidFileError
        If the file that was found is damaged.

    Notes
    -----
    Three places are searched. First, the folder named by the environment variable
    ``COVIDCT_WEIGHTS``, for a file with the name of the network in covidct or in its source
    library, with or without the hash that torchvision appends, and with the suffix
    ``.safetensors``, ``.pth`` or ``.pt``. Second, the package of ``info.package`` if it is
    installed. Third, torchvision or timm download the file and keep it in their own cache.
    """
    if (path := _file_in_folder(info)) is not None:
        return read_state(path), str(path)
    if (path := _file_in_package(info)) is not None:
        return _rename_in_order(read_state(path), info), str(path)
    return _download(info), info.source


def load_weights(model: nn.Module, weights: str | PathLike[str], *, info: ArchitectureInfo) -> None:
    """Load the weights that were given to :func:`covidct.create_model`.

    Parameters
    ----------
    model : CTClassifier
        The model to load into; it does not change if an error is raised.
    weights : str or path-like
        ``"imagenet"``, found by :func:`imagenet_state`; or a file, which contains weights of the
        network's source (loaded without their classifier) or a fitted model (with its head).
    info : ArchitectureInfo
        Network of the model.

    Raises
    ------
    ConnectionError
        If ImageNet weights are not on this machine and cannot be downloaded.
    FileNotFoundError
        If the file does not exist.
    InvalidFileError
        If the file is damaged, has NaN or infinite values, or belongs to a different network.
    """
    if weights == "imagenet":
        state, origin = imagenet_state(info)
    else:
        state, origin = read_state(weights), str(weights)
    state = _without_prefix(_renamed(state, info), model, origin=origin)
    if any(name.startswith(BACKBONE) for name in state):
        fill(model, state, info=info, origin=origin)
        return
    kept = {name: tensor for name, tensor in state.items() if not _in_classifier(name, info)}
    fill(model.get_submodule("backbone"), kept, info=info, origin=origin)
    if len(kept) < len(state):
        logger.info("%s: its classifier is not used; the head is new", origin)


def _renamed(state: Mapping[str, Tensor], info: ArchitectureInfo) -> dict[str, Tensor]:
    """Convert the tensor names of old weights files to those of the current source library."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in info.renamed:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def _in_classifier(name: str, info: ArchitectureInfo) -> bool:
    return any(f"{name}.".startswith(f"{part}.") for part in info.classifier)


def _without_prefix(
    state: dict[str, Tensor], model: nn.Module, *, origin: str
) -> dict[str, Tensor]:
    """Remove the prefix of most tensor names, if the names without it belong to the network.

    Such prefixes come from wrappers: ``module.`` (DataParallel), ``model.`` (Lightning),
    ``_orig_mod.`` (:func:`torch.compile`), or the attribute of a user's class. Tensors of the
    wrapper itself, such as ``n_averaged`` of AveragedModel or the weights of a loss, are left out.
    """
    expected = {*model.state_dict(), *model.get_submodule("backbone").state_dict()}
    found, prefix = dict(state), ""
    while found and not expected.intersection(found):
        firsts = Counter(name.partition(".")[0] + "." for name in found)
        first = firsts.most_common(1)[0][0]
        prefix += first
        found = {
            name.removeprefix(first): tensor
            for name, tensor in found.items()
            if name.startswith(first)
        }
    if not found or not prefix:
        return state
    logger.info("%s: the prefix %r of the tensor names is removed", origin, prefix)
    if unused := [name for name in state if not name.startswith(prefix)]:
        logger.warning("%s: tensors without this prefix are left out: %s", origin, some(unused))
    return found


def _file_in_folder(info: ArchitectureInfo) -> Path | None:
    folder = os.environ.get("COVIDCT_WEIGHTS")
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"COVIDCT_WEIGHTS={folder!r} is not a folder")
    names = "|".join(re.escape(name) for name in (info.name, info.source.split()[-1]))
    pattern = re.compile(rf"({names})(-[0-9a-f]{{8,}})?\.(?i:safetensors|pth|pt)")
    found = sorted(path for path in Path(folder).iterdir() if pattern.fullmatch(path.name))
    if not found:
        logger.info("no weights of %s in COVIDCT_WEIGHTS=%s", info.name, folder)
        return None
    logger.info("ImageNet weights of %s: %s", info.name, found[0])
    return found[0]


def _file_in_package(info: ArchitectureInfo) -> Path | None:
    if info.package is None:
        return None
    if find_spec(info.package.partition(":")[0]) is None:
        return None
    return Path(resolve_name(info.package)())


def _rename_in_order(state: Mapping[str, Tensor], info: ArchitectureInfo) -> dict[str, Tensor]:
    with torch.device("meta"):
        names = build_network(info.builder, info.options).state_dict()
    # Not strict: a different number of tensors is reported when names and shapes are checked.
    return dict(zip(names, state.values(), strict=False))


def _download(info: ArchitectureInfo) -> dict[str, Tensor]:
    advice = (
        f"get the file of {info.source} on another machine, and pass it as weights=PATH or copy it "
        f"as {info.source.split()[-1]}.pth to the folder named by COVIDCT_WEIGHTS; or train from "
        "random weights with weights=None"
    )
    if not info.pretrained:
        raise ConnectionError(f"{info.name} has no ImageNet weights to download; {advice}")
    try:
        return build_network(info.builder, {**info.options, **info.pretrained}).state_dict()
    except Exception as error:
        if (path := _damaged_download(info)) is not None:
            raise InvalidFileError(
                f"{path}: the cached ImageNet weights of {info.name} cannot be read "
                f"({type(error).__name__}: {error}); the file may be incomplete; delete it to "
                "download it again"
            ) from error
        if not isinstance(error, OSError | RuntimeError):
            raise
        raise ConnectionError(
            f"the ImageNet weights of {info.name} could not be downloaded ({error}); {advice}"
        ) from error


def _damaged_download(info: ArchitectureInfo) -> Path | None:
    """Return the damaged file in the cache of torchvision or timm, or None."""
    library, *_, name = info.source.split()
    files: list[Path] = []
    urls: list[str] = []
    if library == "torchvision":
        from torchvision.models import get_model_weights

        urls = [weights.url for weights in get_model_weights(name)]
    elif library == "timm":
        import timm
        from huggingface_hub import try_to_load_from_cache

        config = timm.get_pretrained_cfg(name)
        urls = [str(config.url)] if config and config.url else []
        if config and config.hf_hub_id:
            names = ("model.safetensors", "pytorch_model.bin")
            found = (try_to_load_from_cache(config.hf_hub_id, name) for name in names)
            files = [Path(path) for path in found if isinstance(path, str)]
    folder = Path(torch.hub.get_dir(), "checkpoints")
    files += [folder / Path(urlsplit(url).path).name for url in urls]
    return next((file for file in files if file.is_file() and not _is_readable(file)), None)


def _is_readable(path: Path) -> bool:
    try:
        read_state(path)
    except InvalidFileError:
        return False
    return True
