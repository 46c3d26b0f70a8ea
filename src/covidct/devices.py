"""Choice of the device and the floating-point precision of a network."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

__all__ = ["Precision", "autocast", "resolve_device", "resolve_precision"]

Precision = Literal["auto", "float32", "bfloat16"]


def resolve_device(device: str | torch.device | None = "auto") -> torch.device:
    """Return the device with a given name, or choose one.

    Parameters
    ----------
    device : str, torch.device or None, default="auto"
        An argument of :class:`torch.device`; or ``"auto"`` or None for the first CUDA device if
        there is one, else the CPU.

    Returns
    -------
    torch.device
        The device. A CUDA device exists on this machine.

    Raises
    ------
    ValueError
        If PyTorch does not know the device, or this machine does not have the CUDA device.

    Examples
    --------
    >>> from covidct.devices import resolve_device
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if device in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"unknown device {device!r}; use 'auto', 'cpu', 'cuda' or 'cuda:N'"
        ) from error
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {device!r} does not exist: PyTorch finds {torch.cuda.device_count()} CUDA "
            "devices; use 'auto' or 'cpu'"
        )
    return resolved


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the data type of forward and backward passes.

    Parameters
    ----------
    precision : {"auto", "float32", "bfloat16"}
        Data type; ``"auto"`` is bfloat16 on devices with native support (CPUs with AVX512_BF16 or
        AMX, CUDA from compute capability 8.0) and float32 on other devices.
    device : torch.device
        Device of the network.

    Returns
    -------
    torch.dtype
        ``torch.float32`` or ``torch.bfloat16``.

    Raises
    ------
    ValueError
        If ``precision`` is not one of the three values above.

    Examples
    --------
    >>> import torch
    >>> from covidct.devices import resolve_precision
    >>> resolve_precision("float32", torch.device("cpu"))
    torch.float32
    """
    choices = {
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "auto": torch.bfloat16 if _computes_bfloat16(device) else torch.float32,
    }
    if precision not in choices:
        raise ValueError(
            f"precision must be one of {', '.join(map(repr, choices))}, got {precision!r}"
        )
    return choices[precision]


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Return a context manager for mixed precision.

    Parameters
    ----------
    device : torch.device
        Device of the network.
    dtype : torch.dtype
        Data type, as returned by :func:`resolve_precision`.

    Returns
    -------
    context manager
        :class:`torch.autocast`, or one that does nothing if ``dtype`` is float32.

    Examples
    --------
    >>> import torch
    >>> from covidct.devices import autocast
    >>> with autocast(torch.device("cpu"), torch.bfloat16):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.bfloat16
    """
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def _computes_bfloat16(device: torch.device) -> bool:
    """Return True if the device has native bfloat16 arithmetic."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # The oldest supported version of PyTorch has no public query for these.
    queries = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, q, bool)() for q in queries)
