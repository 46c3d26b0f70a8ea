"""Pixels made comparable, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["blocks", "standardized"]


def standardized(images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Take brightness and contrast out of images: the sum of a product is then the correlation.

    Parameters
    ----------
    images
        (N, H, W).

    Returns
    -------
    ndarray of float32, shape (N, H, W)
        Each image has mean 0 and length 1; blank ones are 0 throughout.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.pixels import standardized
    >>> first, second, blank = standardized(np.array([[[0, 100]], [[50, 70]], [[9, 9]]]))
    >>> bool(np.allclose(first, second)), blank.tolist()
    (True, [[0.0, 0.0]])
    """
    values = images.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt(np.einsum("ijk,ijk->i", values, values))[:, None, None]
    # Rounding leaves a blank image with a length of a few thousandths.
    values *= np.divide(1, length, out=np.zeros_like(length), where=length > 1)
    return values


def blocks(n: int, size: int) -> Iterator[slice]:
    """Cut ``range(n)`` into slices of at most ``size``: what bounds the memory."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
