"""Reading and writing files of weights.

Files are read as tensors only: safetensors, or PyTorch's format with ``weights_only=True``.
Pickles, which can run any code when they are loaded, are refused.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from functools import cache
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .._files import atomic_path, placeholder_reason
from .._text import some
from ..errors import InvalidFileError
from .catalogue import BUILT_IN
from .info import ArchitectureInfo
from .parts import build_backbone

__all__ = ["BACKBONE", "fill", "load_state", "read_state", "save_state"]

# Missing in weights files from before 2018, and not needed.
_OPTIONAL = "num_batches_tracked"

# First component of the names of the backbone's tensors in the file of a fitted model.
BACKBONE = "backbone."

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
    fill(model, read_state(path), info=info, origin=str(path))


def fill(
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
    shapes = {name.removeprefix(BACKBONE): tensor.shape for name, tensor in state.items()}
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
