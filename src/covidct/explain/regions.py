"""Share of a saliency map in the regions of a canvas: lesion, lung, padding and border."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ..transforms import AspectPreservingPad, Geometry

__all__ = ["EnergyShare", "canvas_regions", "energy_share", "hits", "peaks", "to_slice", "widen"]

#: Boolean masks of a slice, (height, width), by name.
Masks = Mapping[str, npt.NDArray[np.bool_]]


class EnergyShare(NamedTuple):
    """Share of the energy of maps, the sum of their values, that lies in a region.

    Attributes
    ----------
    share : float
        Mean share of the energy in the region, in [0, 1]; NaN if `n` is 0.
    area : float
        Mean share of the canvas that the region covers, which is the share of a uniform map.
    n : int
        Number of slices in the means: those where the region is not empty and the map is not zero
        everywhere.
    """

    share: float
    area: float
    n: int


def canvas_regions(
    sizes: Sequence[Sequence[int]],
    canvas_size: tuple[int, int],
    *,
    masks: Sequence[Masks | None] | None = None,
    border: float = 0.05,
    resize: Literal["pad", "stretch"] = "pad",
) -> dict[str, Tensor]:
    """Compute masks of the slice, its border, the padding and given regions on each canvas.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Height and width of each of N original slices, in pixels.
    canvas_size : tuple of (int, int)
        Height and width of the canvas, in pixels.
    masks : sequence of mapping of str to ndarray, optional
        For each slice, boolean masks of its original size by name, or None if unknown.
    border : float, default=0.05
        Width of the band along the border of the slice, as a fraction of the slice's shorter side;
        between 0 and 0.5.
    resize : {"pad", "stretch"}, default="pad"
        Resizing method of the canvases.

    Returns
    -------
    dict of str to torch.Tensor of bool of shape (N, H, W)
        ``"slice"``, ``"padding"``, ``"border"`` and the given masks, by name. A region is empty
        where a slice does not have it.

    Raises
    ------
    ValueError
        If the number of masks differs from the number of slices, if a mask differs in size from its
        slice or is named ``"slice"``, ``"padding"`` or ``"border"``, or if `border` is not between
        0 and 0.5.

    Examples
    --------
    >>> from covidct.explain import faithfulness
    >>> regions = faithfulness.canvas_regions([(50, 100)], (100, 100))
    >>> regions["padding"].float().mean().item()
    0.5
    """
    if not 0 < border < 0.5:
        raise ValueError(f"border must be between 0 and 0.5 (of the shorter side), got {border}")
    if masks is not None and len(masks) != len(sizes):
        raise ValueError(
            f"expected masks or None for each of {len(sizes)} slices, got {len(masks)}"
        )
    known: list[Masks] = [mask or {} for mask in masks or [None] * len(sizes)]
    names = ["slice", "padding", "border", *sorted({name for mask in known for name in mask})]
    if len(names) != len(set(names)):
        raise ValueError(f"masks cannot be named 'slice', 'padding' or 'border', got {names[3:]}")
    regions = {name: torch.zeros(len(sizes), *canvas_size, dtype=torch.bool) for name in names}
    pad = AspectPreservingPad(canvas_size)
    for i, (size, mask) in enumerate(zip(sizes, known, strict=True)):
        place = pad.geometry(size) if resize == "pad" else Geometry(0, 0, *canvas_size)
        _box(regions["slice"][i], place).fill_(value=True)
        regions["border"][i] = regions["slice"][i]
        _box(regions["border"][i], place, margin=border).fill_(value=False)
        for name, values in mask.items():
            if values.shape != tuple(size):
                raise ValueError(
                    f"slice {i} has shape {tuple(size)}, "
                    f"but its mask {name!r} has shape {values.shape}"
                )
            _box(regions[name][i], place).copy_(_resized(values, place))
    regions["padding"] = ~regions["slice"]
    return regions


def to_slice(
    saliency: Tensor,
    size: Sequence[int],
    *,
    resize: Literal["pad", "stretch"] = "pad",
) -> Tensor:
    """Transfer a saliency map from the canvas to the original slice.

    Parameters
    ----------
    saliency : torch.Tensor of shape (..., H, W)
        Map on the canvas.
    size : sequence of two ints
        Height and width of the original slice, in pixels.
    resize : {"pad", "stretch"}, default="pad"
        Resizing method of the canvas.

    Returns
    -------
    torch.Tensor of shape (..., height, width)
        Map on the original slice.

    Examples
    --------
    >>> import torch
    >>> from covidct.explain import to_slice
    >>> to_slice(torch.rand(253, 349), (512, 512)).shape
    torch.Size([512, 512])
    """
    if resize == "pad":
        return AspectPreservingPad(saliency.shape[-2:]).invert(saliency, size)
    flat = saliency.reshape(-1, 1, *saliency.shape[-2:])
    resized = functional.interpolate(flat, tuple(size), mode="bilinear")
    return resized.reshape(*saliency.shape[:-2], *size)


def energy_share(maps: Tensor, region: Tensor) -> EnergyShare:
    """Compute the share of the energy of maps that lies in a region.

    Parameters
    ----------
    maps : torch.Tensor of shape (N, H, W)
        Maps without negative values.
    region : torch.Tensor of bool of shape (N, H, W)
        The region on each canvas.

    Returns
    -------
    EnergyShare
        Means over the slices where the region is not empty and the map is not zero everywhere.

    Raises
    ------
    ValueError
        If a map has a negative value.

    Examples
    --------
    >>> import torch
    >>> from covidct.explain import faithfulness
    >>> region = torch.tensor([[[True, False, False, False]]])
    >>> faithfulness.energy_share(torch.tensor([[[3.0, 1.0, 0.0, 0.0]]]), region)
    EnergyShare(share=0.75, area=0.25, n=1)
    """
    if maps.min() < 0:
        raise ValueError("maps must not have negative values; compute them with relu=True")
    total = maps.sum(dim=(1, 2), dtype=torch.float64)
    counts = (total > 0) & region.any(dim=2).any(dim=1)
    inside = (maps * region).sum(dim=(1, 2), dtype=torch.float64)
    return EnergyShare(
        float((inside / total)[counts].mean()),
        float(region[counts].float().mean()),
        int(counts.sum()),
    )


def peaks(maps: Tensor) -> Tensor:
    """Find the position of the largest value of each map.

    Parameters
    ----------
    maps : torch.Tensor of shape (N, H, W)
        Saliency maps.

    Returns
    -------
    torch.Tensor of int of shape (N, 2)
        Row and column; (-1, -1) for a map without positive values.

    Examples
    --------
    >>> import torch
    >>> from covidct.explain import faithfulness
    >>> faithfulness.peaks(torch.tensor([[[0.0, 1.0], [2.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]))
    tensor([[ 1,  0],
            [-1, -1]])
    """
    largest, where = maps.flatten(1).max(dim=1)
    width = maps.shape[2]
    points = torch.stack([where // width, where % width], dim=1)
    return points.where(largest[:, None] > 0, -1)


def hits(points: Tensor, region: Tensor) -> Tensor:
    """Test which points lie in their regions, as in the pointing game (Zhang et al. 2018).

    Parameters
    ----------
    points : torch.Tensor of int of shape (N, 2)
        Rows and columns, as returned by `peaks`.
    region : torch.Tensor of bool of shape (N, H, W)
        The region on each canvas, extended by the tolerance with `widen`.

    Returns
    -------
    torch.Tensor of bool of shape (N,)
        True where the point lies in the region; a point at (-1, -1) does not.

    References
    ----------
    J. Zhang et al., "Top-Down Neural Attention by Excitation Backprop", IJCV 126, 2018.

    Examples
    --------
    >>> import torch
    >>> from covidct.explain import faithfulness
    >>> region = torch.tensor([[[True, False]], [[True, False]]])
    >>> faithfulness.hits(torch.tensor([[0, 0], [0, 1]]), region)
    tensor([ True, False])
    """
    rows, columns = points.unbind(1)
    return region[torch.arange(len(region)), rows, columns] & (rows >= 0)


def widen(region: Tensor, by: tuple[int, int]) -> Tensor:
    """Extend a region by a number of rows and columns in each direction.

    Parameters
    ----------
    region : torch.Tensor of bool of shape (N, H, W)
        The region on each canvas.
    by : tuple of (int, int)
        Rows and columns.

    Returns
    -------
    torch.Tensor of bool of shape (N, H, W)
        The extended region.

    Examples
    --------
    >>> import torch
    >>> from covidct.explain import faithfulness
    >>> faithfulness.widen(torch.tensor([[[True, False, False, False]]]), (0, 1))
    tensor([[[ True,  True, False, False]]])
    """
    # The maximum over a rectangle is computed along its height, then along its width.
    grown = region.float()[:, None]
    for kernel, padding in (((2 * by[0] + 1, 1), (by[0], 0)), ((1, 2 * by[1] + 1), (0, by[1]))):
        grown = functional.max_pool2d(grown, kernel, stride=1, padding=padding)
    return grown[:, 0] > 0


def _box(canvas: Tensor, place: Geometry, *, margin: float = 0.0) -> Tensor:
    """Return a view of the part of a canvas that the slice covers, without a margin."""
    band = max(1, round(margin * min(place.height, place.width))) if margin else 0
    return canvas[
        place.top + band : place.top + place.height - band,
        place.left + band : place.left + place.width - band,
    ]


def _resized(mask: npt.NDArray[np.bool_], place: Geometry) -> Tensor:
    values = torch.from_numpy(np.array(mask, dtype=np.float32))[None, None]
    resized = functional.interpolate(values, (place.height, place.width), mode="nearest-exact")
    return resized[0, 0] > 0
