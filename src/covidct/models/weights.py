"""Reading, writing and finding weights.

Files are read as tensors only: safetensors, or PyTorch's format with ``weights_only=True``.
Pickles, which can run any code when they are loaded, are refused.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from pkgutil import resolve_name
from urllib.parse import urlsplit

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .._files import atomic_path, placeholder_reason
from .._text import some
from ..errors import InvalidFileError
from .catalogue import BUILT_IN
from .info import ArchitectureInfo
from .parts import build_backbone, build_network

__all__ = ["imagenet_state", "load_state", "load_weights", "read_state", "save_state"]

logger = logging.getLogger(__name__)

# Missing in weights files from before 2018, and not needed.
_OPTIONAL = "num_batches_tracked"
# First component of the names of the backbone's tensors in the file of a fitted model.
_BACKBONE = "backbone."
# Usual names of the weights in a checkpoint; the first that is found is used.
_STATE_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights")


def read_state(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors of a weights file without running any code in it.

    Parameters
    ----------
    path : str or path-like
        A ``.safetensors`` file; or a file written by :func:`torch.save` that contains a state
        dict, either directly or as an entry of a checkpoint with a usual name, such as
        ``"state_dict"`` or ``"model"``. The format is recognized by the content. For a folder,
        its ``model.safetensors`` is read.

    Returns
    -------
    dict of str to torch.Tensor
        Tensors by name, on the CPU; all values are finite.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    InvalidFileError
        If the file is damaged, or contains anything but tensors, or NaN or infinite values.

    Examples
    --------
    >>> import torch
    >>> from covidct.models import read_state
    >>> torch.save({"weight": torch.ones(2)}, "weights.pth")
    >>> read_state("weights.pth")
    {'weight': tensor([1., 1.])}
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such weights file")
    if path.is_dir():
        path = _file_of_folder(path)
    state = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    for name, tensor in state.items():
        if (defect := _defect(tensor)) is not None:
            raise InvalidFileError(f"{path}: {name!r} {defect}")
    return state


def _file_of_folder(folder: Path) -> Path:
    file = folder / "model.safetensors"
    if file.is_file():
        return file
    folds = sorted(path.parent for path in folder.glob("folds/*/model.safetensors"))
    advice = (
        f"it is a run with {len(folds)} fitted networks, choose one: {str(folds[0])!r}"
        if folds
        else "give the path of a file"
    )
    raise InvalidFileError(f"{folder}: a folder, not a weights file; {advice}")


def _defect(tensor: Tensor) -> str | None:
    """Return the reason why a tensor cannot be a weight, or None.

    The check of the size rejects expanded tensors: a file of a few bytes may describe a tensor of
    10**12 values.
    """
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.is_quantized or tensor.is_complex():
        return "is not a dense tensor of real numbers; save dense real numbers"
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        return "has more values than the file contains; save tensor.contiguous()"
    return None if tensor.isfinite().all() else "has NaN or infinite values"


def save_state(model: nn.Module, path: str | PathLike[str]) -> None:
    """Write the tensors of a model as safetensors, atomically.

    Parameters
    ----------
    model : torch.nn.Module
        The model, on any device and in any memory format.
    path : str or path-like
        The file, to be read by :func:`load_state`.
    """
    # safetensors requires contiguous rows, which channels_last tensors do not have.
    state = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(Path(path), failures=(SafetensorError,)) as temporary:
        save_file(state, temporary)


def load_state(model: nn.Module, path: str | PathLike[str], *, info: ArchitectureInfo) -> None:
    """Load all tensors of a fitted model, head included.

    Parameters
    ----------
    model : torch.nn.Module
        The model to load into. Its device does not change, and its weights do not change if an
        error is raised.
    path : str or path-like
        A file that :func:`save_state` wrote.
    info : ArchitectureInfo
        Network of the model.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    InvalidFileError
        If the file is damaged, has NaN or infinite values, or belongs to a different network.

    Examples
    --------
    >>> import covidct
    >>> from covidct.models import load_state, save_state
    >>> model = covidct.create_model("shufflenet", weights=None)
    >>> save_state(model, "model.safetensors")
    >>> load_state(model, "model.safetensors", info=model.info)
    """
    _fill(model, read_state(path), info=info, origin=str(path))


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
    if any(name.startswith(_BACKBONE) for name in state):
        _fill(model, state, info=info, origin=origin)
        return
    kept = {name: tensor for name, tensor in state.items() if not _in_classifier(name, info)}
    _fill(model.get_submodule("backbone"), kept, info=info, origin=origin)
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


def _fill(
    module: nn.Module, state: Mapping[str, Tensor], *, info: ArchitectureInfo, origin: str
) -> None:
    """Load a state dict if its names, shapes and kinds of numbers are exactly the module's."""
    differences = list(_differences(module.state_dict(), state))
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        other = _recognize(state)
        guess = "" if other in (None, info.name) else f"; the file looks like {other!r}"
        raise InvalidFileError(
            f"{origin}: not weights of {info.name!r}: {', '.join(differences[:3])}{more}{guess}"
        )
    module.load_state_dict(state, strict=False)


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Iterable[str]:
    """Yield each difference that prevents loading ``found`` in place of ``expected``."""
    for name, tensor in expected.items():
        if name not in found:
            if not name.endswith(_OPTIONAL):
                yield f"{name!r} is missing"
        elif found[name].shape != tensor.shape:
            yield f"{name!r} is {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        elif found[name].is_floating_point() != tensor.is_floating_point():
            yield f"{name!r} is {found[name].dtype} instead of {tensor.dtype}"
    yield from (f"{name!r} is unknown" for name in found if name not in expected)


def _recognize(state: Mapping[str, Tensor]) -> str | None:
    """Return the name of the built-in network whose backbone has these tensors, or None."""
    shapes = {name.removeprefix(_BACKBONE): tensor.shape for name, tensor in state.items()}
    for info in BUILT_IN:
        if _backbone_shapes(info).items() <= shapes.items():
            return info.name
    return None


@cache
def _backbone_shapes(info: ArchitectureInfo) -> dict[str, torch.Size]:
    """Return the shapes of the tensors that every weights file of the network has."""
    with torch.device("meta"):
        state = build_backbone(info).state_dict()
    return {name: tensor.shape for name, tensor in state.items() if not name.endswith(_OPTIONAL)}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        if (reason := placeholder_reason(path)) is not None:
            raise InvalidFileError(f"{path}: {reason}") from None
        raise InvalidFileError(
            f"{path}: cannot be read as safetensors ({error}); the file may be incomplete"
        ) from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        _refuse_compressed(path)
        with path.open("rb") as file:  # given a path, PyTorch chooses the format by the suffix
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if (reason := placeholder_reason(path)) is not None:
            raise InvalidFileError(f"{path}: {reason}") from None
        raise InvalidFileError(
            f"{path}: refused, since it contains more than tensors, and loading other objects can "
            "run code; save model.state_dict() with torch.save or safetensors"
        ) from error
    except Exception as error:
        # The type of the exception depends on the place of the damage.
        raise InvalidFileError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); the file may be incomplete"
        ) from error
    inner = (loaded.get(key) for key in _STATE_KEYS) if isinstance(loaded, dict) else ()
    state = next((value for value in inner if isinstance(value, dict)), loaded)
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        content = f" but has the keys {some(map(str, state))}" if isinstance(state, dict) else ""
        raise InvalidFileError(
            f"{path}: not a state dict, which maps names to tensors{content}; save "
            "model.state_dict()"
        )
    return dict(state)


def _is_safetensors(path: Path) -> bool:
    """Recognize safetensors by the JSON header after the 8 bytes of its length, or by the name."""
    with path.open("rb") as file:
        head = file.read(9)
    is_zip = head.startswith(b"PK")
    return head[8:] == b"{" or (path.suffix.lower() == ".safetensors" and not is_zip)


def _refuse_compressed(path: Path) -> None:
    """Refuse a compressed ZIP archive, which may be a bomb; torch.save does not compress."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > path.stat().st_size:
            raise ValueError(
                f"the file is compressed, {size:,} bytes uncompressed; save it with torch.save"
            )


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
    """Return the damaged file in the cache of torchvision or timm; None if there is none."""
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
