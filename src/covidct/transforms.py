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
    """Position of the scaled slice on the canvas, in pixels.

    Attributes
    ----------
    top, left : int
        Row and column of its first pixel.
    height, width : int
        Its size, at least 1.
    """

    top: int
    left: int
    height: int
    width: int


class AspectPreservingPad(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Scale a slice to fit a canvas, preserving its aspect ratio, and pad the rest.

    The slice is scaled up or down by the largest factor with which it fits, so that one of its
    sides has the length of the canvas. It is centered; if the margin is odd, the additional pixel
    is on the right or at the bottom. Each scaled side is rounded to the nearest pixel (halves are
    rounded up) and at least 1.

    Like every torchvision v2 transform, it accepts PIL images, ``tv_tensors`` (images, videos,
    masks, bounding boxes, key points) in any nesting, or one plain tensor of shape (..., H, W). All
    inputs of one call must have the same size and share one geometry. Masks are scaled by the
    nearest neighbor and padded with 0. Boxes and key points of integer type are truncated, as
    everywhere in torchvision; pass them as floats to keep fractions.

    Parameters
    ----------
    size : int or sequence of two int
        Height and width of the canvas; an integer makes it square.
    fill : number, sequence of numbers, None or mapping, default=0
        Value of the margin: a number, one number per channel, or a mapping of types to either,
        with ``"others"`` for types that are not listed, as in
        :class:`torchvision.transforms.v2.Pad`. For an input of several of the listed types, the
        most specific applies; types that are neither listed nor covered by ``"others"`` get 0.
    interpolation : InterpolationMode, default=InterpolationMode.BILINEAR
        Interpolation of images.
    antialias : bool, default=True
        Apply antialiasing when images are scaled down. PIL images are always antialiased.

    Raises
    ------
    ValueError
        If `size` is not one or two positive integers, `fill` is not one of the types above or
        `interpolation` is not an interpolation mode; when called, if the inputs differ in size.

    Notes
    -----
    Alshazly et al. (2020) scale each slice to a canvas chosen for the network, preserve its aspect
    ratio and pad the rest. They do not state the position of the slice on the canvas; centering it
    is a choice of this library.

    Examples
    --------
    >>> from PIL import Image
    >>> from covidct import AspectPreservingPad
    >>> pad = AspectPreservingPad((253, 349))
    >>> pad(Image.new("L", (512, 416))).size  # PIL gives width, height
    (349, 253)
    >>> pad.geometry((416, 512))
    Geometry(top=0, left=19, height=253, width=311)
    >>> AspectPreservingPad(224)(Image.new("L", (512, 416))).size
    (224, 224)
    """

    def __init__(
        self,
        size: int | Sequence[int],
        *,
        fill: Fill | Mapping[type | str, Fill] = 0,
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        antialias: bool = True,
    ) -> None:
        super().__init__()
        self.size = checked_size(_both_sides(size))
        self.fill: Fill | dict[type | str, Fill] = _checked_fill(fill)
        self.interpolation = _checked_interpolation(interpolation)
        self.antialias = bool(antialias)

    def geometry(self, size: Sequence[int]) -> Geometry:
        """Return the position on the canvas of a slice of a given size.

        Parameters
        ----------
        size : sequence of two int
            Height and width of the slice.

        Returns
        -------
        Geometry
            Position and scaled size.

        Raises
        ------
        ValueError
            If ``size`` is not two positive integers.
        """
        height, width = checked_size(size)
        canvas_height, canvas_width = self.size
        # Integer arithmetic only: the rounding of a quotient could move a side by one pixel.
        if canvas_height * width <= canvas_width * height:
            scaled = canvas_height, _scaled(width, canvas_height, height)
        else:
            scaled = _scaled(height, canvas_width, width), canvas_width
        top, left = (canvas_height - scaled[0]) // 2, (canvas_width - scaled[1]) // 2
        return Geometry(top, left, *scaled)

    def invert(self, map: FloatMap, size: Sequence[int]) -> FloatMap:  # noqa: A002  # the usual term
        """Transfer a map on the canvas, such as a saliency map, to the original slice.

        The margin is removed and the rest is resized bilinearly.

        Parameters
        ----------
        map : torch.Tensor or ndarray of shape (..., H, W)
            Floating-point map with the height and width of the canvas.
        size : sequence of two int
            Height and width of the original slice.

        Returns
        -------
        torch.Tensor or ndarray of shape (..., height, width)
            Map on the original slice, of the type of ``map``.

        Raises
        ------
        TypeError
            If ``map`` is not a floating-point tensor or array.
        ValueError
            If ``map`` does not have the size of the canvas, or ``size`` is not two positive
            integers.

        Examples
        --------
        >>> import numpy as np
        >>> pad = AspectPreservingPad((4, 6))
        >>> pad.invert(np.ones((4, 6), np.float32), (20, 20)).shape
        (20, 20)
        """
        if isinstance(map, np.ndarray):
            # Copied, since torch warns about read-only arrays.
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
        """Compute the geometry of a sample; called by torchvision before :meth:`transform`.

        Raises
        ------
        TypeError
            If the sample contains no image.
        """
        try:
            size = v2.query_size(flat_inputs)
        except TypeError as error:
            raise TypeError(
                "the sample contains no image; pass a PIL image or a tensor (convert a NumPy array "
                "by PIL.Image.fromarray(array) or torch.from_numpy(array))"
            ) from error
        return {"geometry": self.geometry(size)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Scale and pad one input of a sample; called by torchvision."""
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
        """Return the parameters of the transform, for ``repr``."""
        return (
            f"size={self.size}, fill={self.fill}, "
            f"interpolation={self.interpolation}, antialias={self.antialias}"
        )


def checked_size(size: Sequence[int]) -> tuple[int, int]:
    """Validate a size and return it as two Python integers.

    Parameters
    ----------
    size : sequence of two int
        Height and width in pixels, of any integer type.

    Returns
    -------
    tuple of (int, int)
        Height and width.

    Raises
    ------
    ValueError
        If ``size`` is not two positive integers.

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


def _both_sides(size: int | Sequence[int]) -> Sequence[int]:
    if isinstance(size, int | np.integer) and not isinstance(size, bool):
        return int(size), int(size)
    return size  # type: ignore[return-value]  # checked_size raises for anything else


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
    """Return ``side * numerator / denominator``, rounded half up, at least 1."""
    return max(1, (2 * side * numerator + denominator) // (2 * denominator))


def _with_channel(function: Any, inpt: Any, *args: Any) -> Any:
    """Add a channel to a plain (H, W) tensor, which torchvision's kernels require."""
    if F.is_pure_tensor(inpt) and inpt.ndim == 2:
        return function(inpt[None], *args)[0]
    return function(inpt, *args)
