"""Transforms that bring slices of any size onto canvases of one size."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

__all__ = ["AspectPreservingPad", "Geometry", "checked_size"]

Fill = float | Sequence[float] | None
FloatMap = TypeVar("FloatMap", torch.Tensor, npt.NDArray[np.floating[Any]])


class Geometry(NamedTuple):
    """Where the scaled slice lies on the canvas, in pixels.

    Attributes
    ----------
    top, left
        The row and the column of its first pixel.
    height, width
        Its extent, at least 1.
    """

    top: int
    left: int
    height: int
    width: int


class AspectPreservingPad(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Scale to fit a canvas, aspect ratio kept, and pad the rest.

    The slice is scaled, up or down, by the largest factor at which it still fits; one of its sides
    then spans the canvas. It lies in the center, and where the margin is odd, the odd pixel goes to
    the right or the bottom. Each scaled side is the true one rounded to the nearest pixel (a half
    is rounded up), and at least 1.

    It takes what every torchvision v2 transform takes: PIL images, ``tv_tensors`` (images, videos,
    masks, bounding boxes, key points) in any nesting, or one plain tensor ``(..., H, W)``. All that
    goes through in one call must have one size and shares one geometry. Masks are scaled by the
    nearest neighbor and padded with 0. Boxes and key points of integer type are truncated, as
    torchvision does it; give them as floats to keep the fractions.

    Parameters
    ----------
    size
        Height and width of the canvas.
    fill
        The value of the margin: a number, one number per channel, or a mapping of types to either,
        with ``"others"`` for those not named, as in :class:`torchvision.transforms.v2.Pad`. For an
        input of several of the named types, the most specific counts. Types that are neither named
        nor covered by ``"others"`` get 0.
    interpolation
        How images are scaled.
    antialias
        Whether downscaling averages over all pixels it merges. PIL images always do.

    Raises
    ------
    ValueError
        If an argument is none of the above; when called, if the sizes within one sample differ.

    Notes
    -----
    Alshazly et al. 2020 scale each slice onto a canvas made for the network, its aspect ratio kept,
    and pad the rest. They do not say where on the canvas it lies; the center is the choice made
    here.

    Examples
    --------
    >>> from PIL import Image
    >>> from covidct import AspectPreservingPad
    >>> pad = AspectPreservingPad((253, 349))
    >>> pad(Image.new("L", (512, 416))).size  # PIL says width, height
    (349, 253)
    >>> pad.geometry((416, 512))
    Geometry(top=0, left=19, height=253, width=311)
    """

    def __init__(
        self,
        size: Sequence[int],
        *,
        fill: Fill | Mapping[type | str, Fill] = 0,
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        antialias: bool = True,
    ) -> None:
        super().__init__()
        self.size = checked_size(size)
        self.fill: Fill | dict[type | str, Fill] = _checked_fill(fill)
        self.interpolation = _checked_interpolation(interpolation)
        self.antialias = bool(antialias)

    def geometry(self, size: Sequence[int]) -> Geometry:
        """Say where a slice of this size comes to lie.

        Parameters
        ----------
        size
            Height and width of the slice.

        Returns
        -------
        Geometry
            Its place on the canvas.

        Raises
        ------
        ValueError
            If ``size`` is not two positive integers.
        """
        height, width = checked_size(size)
        canvas_height, canvas_width = self.size
        # In integers throughout: no size is so odd that a rounded quotient can put a side astray.
        if canvas_height * width <= canvas_width * height:
            scaled = canvas_height, _scaled(width, canvas_height, height)
        else:
            scaled = _scaled(height, canvas_width, width), canvas_width
        top, left = (canvas_height - scaled[0]) // 2, (canvas_width - scaled[1]) // 2
        return Geometry(top, left, *scaled)

    def invert(self, map: FloatMap, size: Sequence[int]) -> FloatMap:  # noqa: A002  # the field's word for it
        """Bring a map on the canvas, such as a saliency map, back onto the original slice.

        The margin is cut off, and the rest resized bilinearly.

        Parameters
        ----------
        map
            Floating point, ``(..., H, W)`` with the height and width of the canvas.
        size
            Height and width of the original slice.

        Returns
        -------
        torch.Tensor or numpy.ndarray
            The same kind and type as ``map``, ``(..., *size)``.

        Raises
        ------
        TypeError
            If ``map`` is not a floating-point tensor or array.
        ValueError
            If it does not have the size of the canvas.

        Examples
        --------
        >>> import numpy as np
        >>> pad = AspectPreservingPad((4, 6))
        >>> pad.invert(np.ones((4, 6), np.float32), (20, 20)).shape
        (20, 20)
        """
        if isinstance(map, np.ndarray):
            # Copied, since torch warns of arrays that it could not write to.
            inverted: npt.NDArray[Any] = self.invert(torch.from_numpy(np.array(map)), size).numpy()
            return inverted
        if not (isinstance(map, torch.Tensor) and map.is_floating_point()):
            kind = getattr(map, "dtype", type(map).__name__)
            raise TypeError(f"map must be a floating-point tensor or array, got {kind}")
        if tuple(map.shape[-2:]) != self.size:
            raise ValueError(
                f"map must end in the canvas size {self.size}, got shape {tuple(map.shape)}"
            )
        top, left, height, width = self.geometry(size)
        box = map[..., top : top + height, left : left + width]
        resized: torch.Tensor = _with_channel(F.resize, box, list(checked_size(size)))
        return resized

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Find the one geometry of the sample; torchvision calls this before :meth:`transform`."""
        return {"geometry": self.geometry(v2.query_size(flat_inputs))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Scale and pad one leaf of the sample; torchvision calls this, as users do not."""
        return _with_channel(self._scale_and_pad, inpt, params["geometry"])

    def _scale_and_pad(self, inpt: Any, geometry: Geometry) -> Any:
        top, left, height, width = geometry
        bottom, right = self.size[0] - height - top, self.size[1] - width - left
        scaled = F.resize(
            inpt, [height, width], interpolation=self.interpolation, antialias=self.antialias
        )
        return F.pad(scaled, [left, top, right, bottom], fill=self._fill_of(inpt))

    def _fill_of(self, inpt: Any) -> Fill:
        if isinstance(inpt, tv_tensors.Mask):
            return 0
        if not isinstance(self.fill, Mapping):
            return self.fill
        kinds = (*type(inpt).__mro__, "others")
        return next((self.fill[kind] for kind in kinds if kind in self.fill), 0)

    def extra_repr(self) -> str:
        """Say how the transform was made."""
        return (
            f"size={self.size}, fill={self.fill}, "
            f"interpolation={self.interpolation}, antialias={self.antialias}"
        )


def checked_size(size: Sequence[int]) -> tuple[int, int]:
    """Return a size as two plain integers.

    Parameters
    ----------
    size
        Height and width in pixels, of any integer type.

    Returns
    -------
    tuple of (int, int)
        Both positive.

    Raises
    ------
    ValueError
        If it is anything else.

    Examples
    --------
    >>> import numpy as np
    >>> checked_size(np.array([253, 349]))
    (253, 349)
    """
    integers = (int, np.integer)
    values = tuple(size) if isinstance(size, Sequence | np.ndarray) else ()
    if len(values) != 2 or not all(
        isinstance(value, integers) and not isinstance(value, bool) and value > 0
        for value in values
    ):
        raise ValueError(f"size must be two positive integers (height, width), got {size!r}")
    return int(values[0]), int(values[1])


def _checked_fill(fill: object) -> Any:
    if isinstance(fill, Mapping) and all(
        kind == "others" or isinstance(kind, type) for kind in fill
    ):
        return {kind: _checked_fill(value) for kind, value in fill.items()}
    values = fill if isinstance(fill, list | tuple) and fill else (fill,)
    if fill is None or all(isinstance(value, numbers.Real) for value in values):
        return fill
    raise ValueError(
        "fill must be a number, one number per channel, or a mapping of types (or 'others') "
        f"to either, got {fill!r}"
    )


def _checked_interpolation(interpolation: object) -> InterpolationMode:
    try:
        return InterpolationMode(interpolation)
    except ValueError:
        names = ", ".join(f"InterpolationMode.{mode.name}" for mode in InterpolationMode)
        raise ValueError(f"interpolation must be one of {names}, got {interpolation!r}") from None


def _scaled(side: int, numerator: int, denominator: int) -> int:
    """``side * numerator / denominator``, rounded half up, at least 1."""
    return max(1, (2 * side * numerator + denominator) // (2 * denominator))


def _with_channel(function: Any, inpt: Any, *args: Any, **kwargs: Any) -> Any:
    """Lend a plain (H, W) tensor, which torchvision's kernels refuse, a channel."""
    if F.is_pure_tensor(inpt) and inpt.ndim == 2:
        return function(inpt[None], *args, **kwargs)[0]
    return function(inpt, *args, **kwargs)
