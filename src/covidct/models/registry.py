"""Networks by name. Nothing here imports PyTorch, so that listing them stays cheap."""

from __future__ import annotations

from fnmatch import fnmatchcase

from ..errors import UnknownNameError
from .catalogue import BUILT_IN
from .info import ArchitectureInfo

__all__ = ["ArchitectureInfo", "list_models", "model_info", "register_model"]

_TIMM = "timm:"
_REGISTRY = {info.name: info for info in BUILT_IN}


def list_models(pattern: str = "*") -> list[str]:
    """List the networks.

    Parameters
    ----------
    pattern
        A shell-style pattern that the names must match.

    Returns
    -------
    list of str
        The names, in the order of the paper's Table 1, then what was added.

    Notes
    -----
    Beside these, ``"timm:NAME"`` stands for any convolutional network of timm.

    Examples
    --------
    >>> import covidct
    >>> covidct.list_models("densenet*")
    ['densenet121', 'densenet169', 'densenet201']
    """
    return [name for name in _REGISTRY if fnmatchcase(name, pattern)]


def model_info(name: str) -> ArchitectureInfo:
    """Look a network up.

    Parameters
    ----------
    name
        One of :func:`list_models`, or ``"timm:NAME"``.

    Returns
    -------
    ArchitectureInfo
        The entry; for a network of timm it is made from timm's own configuration.

    Raises
    ------
    UnknownNameError
        If there is no such network; the message proposes the nearest.
    ValueError
        If a network of timm has no feature maps with rows and columns, as transformers have none.

    Examples
    --------
    >>> import covidct
    >>> covidct.model_info("squeezenet").custom_size    # (height, width)
    (255, 335)
    """
    if name.startswith(_TIMM):
        from .timm_networks import timm_info  # brings PyTorch

        return timm_info(name.removeprefix(_TIMM))
    if name not in _REGISTRY:
        error = UnknownNameError.among("model", name, _REGISTRY)
        raise error
    return _REGISTRY[name]


def register_model(info: ArchitectureInfo, *, overwrite: bool = False) -> None:
    """Add a network, under its name, for the rest of the process.

    Parameters
    ----------
    info
        The entry.
    overwrite
        Whether to replace an entry of the same name.

    Raises
    ------
    ValueError
        If the name is taken and ``overwrite`` is False, or is one of timm's.

    Examples
    --------
    >>> import covidct
    >>> vgg16 = covidct.ArchitectureInfo(
    ...     name="vgg16", title="VGG16", source="torchvision vgg16",
    ...     builder="torchvision.models:vgg16", pretrained={"weights": "IMAGENET1K_V1"},
    ...     cam_layer="features", classifier=("classifier",), feature_dim=512,
    ...     parameters=14.72, size_mb=58.9, layers=16,
    ... )
    >>> covidct.register_model(vgg16)
    >>> covidct.model_info("vgg16").title
    'VGG16'
    """
    if info.name.startswith(_TIMM) or (info.name in _REGISTRY and not overwrite):
        raise ValueError(
            f"the model name {info.name!r} is taken; choose another, or pass overwrite=True"
        )
    _REGISTRY[info.name] = info
