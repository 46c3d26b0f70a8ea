"""Registry of networks by name. Listing the built-in networks does not import PyTorch."""

from __future__ import annotations

from fnmatch import fnmatchcase

from ..errors import UnknownNameError
from .catalogue import BUILT_IN
from .info import ArchitectureInfo

__all__ = ["ArchitectureInfo", "list_models", "model_info", "register_model"]

_TIMM = "timm:"
_REGISTRY = {info.name: info for info in BUILT_IN}


def list_models(pattern: str = "*") -> list[str]:
    """List the names of the registered networks.

    Parameters
    ----------
    pattern : str, default="*"
        Shell-style pattern that the names must match.

    Returns
    -------
    list of str
        Names in the order of the paper's Table 1, followed by the networks registered since.

    Notes
    -----
    In addition, ``"timm:NAME"`` names any convolutional network of timm.

    Examples
    --------
    >>> import covidct
    >>> covidct.list_models("densenet*")
    ['densenet121', 'densenet169', 'densenet201']
    """
    return [name for name in _REGISTRY if fnmatchcase(name, pattern)]


def model_info(name: str) -> ArchitectureInfo:
    """Return the registry entry of a network.

    Parameters
    ----------
    name : str
        One of :func:`list_models`, or ``"timm:NAME"``.

    Returns
    -------
    ArchitectureInfo
        The entry. For a network of timm it is created from timm's configuration. `feature_dim`,
        `parameters` and `size_mb` are measured on the first call if they were not given to
        :func:`register_model`.

    Raises
    ------
    UnknownNameError
        If the name is not registered and not known to timm; the message lists similar names.
    ValueError
        If a network of timm does not return feature maps with rows and columns (a transformer,
        for example), or the measured output of a registered network is not of shape (B, C, h, w).

    Examples
    --------
    >>> import covidct
    >>> covidct.model_info("squeezenet").custom_size  # (height, width)
    (255, 335)
    """
    if str(name).startswith(_TIMM):
        from .timm_networks import timm_info  # imports PyTorch

        return timm_info(name.removeprefix(_TIMM))
    if name not in _REGISTRY:
        raise UnknownNameError.among("model", name, _REGISTRY)
    info = _REGISTRY[name]
    if not info.is_measured:
        from .parts import measured  # imports PyTorch

        info = _REGISTRY[name] = measured(info)
    return info


def register_model(info: ArchitectureInfo, *, overwrite: bool = False) -> None:
    """Add a network to the registry of the current process.

    Parameters
    ----------
    info : ArchitectureInfo
        The entry. `name`, `builder` and `cam_layer` are sufficient; `feature_dim`, `parameters`
        and `size_mb` are measured when the entry is first looked up.
    overwrite : bool, default=False
        Replace an entry of the same name.

    Raises
    ------
    ValueError
        If the name is registered already and ``overwrite`` is False, or starts with ``"timm:"``.

    Examples
    --------
    >>> import covidct, torchvision
    >>> vgg16 = covidct.ArchitectureInfo(
    ...     name="vgg16",
    ...     builder=torchvision.models.vgg16,
    ...     cam_layer="features",
    ...     classifier=("classifier",),
    ...     pretrained={"weights": "IMAGENET1K_V1"},
    ... )
    >>> covidct.register_model(vgg16)
    >>> info = covidct.model_info("vgg16")
    >>> info.feature_dim, info.parameters, info.size_mb
    (512, 14.72, 58.9)
    """
    if info.name.startswith(_TIMM):
        raise ValueError(
            f"the model name {info.name!r} is reserved for timm; choose a name without {_TIMM!r}"
        )
    if info.name in _REGISTRY and not overwrite:
        raise ValueError(
            f"the model name {info.name!r} is taken; choose another name or pass overwrite=True"
        )
    _REGISTRY[info.name] = info
