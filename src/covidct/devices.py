"""Where a network runs, and in which arithmetic."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

__all__ = ["Precision", "autocast", "resolve_device", "resolve_precision"]

Precision = Literal["auto", "float32", "bfloat16"]


def resolve_device(device: str | torch.device | None = "auto") -> torch.device:
    """Turn a device's name into the device.

    Parameters
    ----------
    device
        Anything that :class:`torch.device` takes, or ``"auto"`` (or None) for the first CUDA
        device where there is one and the CPU elsewhere.

    Returns
    -------
    torch.device
        The device, known to exist.

    Raises
    ------
    ValueError
        If PyTorch knows no such device, or this machine has none.

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
        here = torch.cuda.device_count()
        raise ValueError(f"device {device!r} is not here: PyTorch sees {here} CUDA devices")
    return resolved


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """Choose the arithmetic of forward and backward passes.

    Parameters
    ----------
    precision
        ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 where the device computes it
        natively (CPUs with AVX512_BF16 or AMX, CUDA from compute capability 8.0), float32
        elsewhere.
    device
        The device that will compute.

    Returns
    -------
    torch.dtype
        ``torch.float32`` or ``torch.bfloat16``.

    Raises
    ------
    ValueError
        If ``precision`` is none of the three.

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
    """Compute in ``dtype`` where that is safe; nothing to do in float32.

    Parameters
    ----------
    device
        The device that computes.
    dtype
        What :func:`resolve_precision` chose.

    Returns
    -------
    context manager
        ``torch.autocast``, or one that does nothing.

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
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # PyTorch has no public query for these that its oldest supported version knows.
    queries = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, q, bool)() for q in queries)
