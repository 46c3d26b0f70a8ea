"""Where on the canvas a map lies: in the lesion, in the lung, on the padding, along the border."""

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

Masks = Mapping[str, npt.NDArray[np.bool_]]


class EnergyShare(NamedTuple):
    """How much of the maps lies in a region.

    Attributes
    ----------
    share
        Mean share of a map's sum that lies in the region, in [0, 1]; NaN for no slice.
    area
        Mean share of the canvas that the region covers: what an even map would have.
    n
        Slices that count: those with such a region and a map that is not zero everywhere.
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
    """Place masks on the canvases, beside what is slice, padding and border of each.

    Parameters
    ----------
    sizes
        (height, width) of each of N original slices.
    canvas_size
        (H, W).
    masks
        For each slice boolean masks of its original size by name, or None where unknown.
    border
        Width of the band along the border of the slice, as a fraction of its shorter side.
    resize
        How the canvases were made.

    Returns
    -------
    dict
        ``"slice"``, ``"padding"``, ``"border"`` and the names of the masks, each (N, H, W) bool;
        empty where a slice has no such region.

    Raises
    ------
    ValueError
        For masks that are not one per slice, not of its size or named as another region is, and
        for a border that is not between 0 and 0.5.

    Examples
    --------
    >>> from covidct.explain import faithfulness
    >>> regions = faithfulness.canvas_regions([(50, 100)], (100, 100))
    >>> regions["padding"].float().mean().item()
    0.5
    """
    if not 0 < border < 0.5:
        raise ValueError(f"border must lie between 0 and 0.5 of the shorter side, got {border}")
    if masks is not None and len(masks) != len(sizes):
        raise ValueError(f"give masks, or None, for each of {len(sizes)} slices, got {len(masks)}")
    known: list[Masks] = [mask or {} for mask in masks or [None] * len(sizes)]
    names = ["slice", "padding", "border", *sorted({name for mask in known for name in mask})]
    if len(names) != len(set(names)):
        raise ValueError(f"masks must not be named 'slice', 'padding' or 'border', got {names[3:]}")
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
                    f"slice {i} is {tuple(size)}, but its mask {name!r} is {values.shape}"
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
    """Bring a map from the canvas back onto the original slice, as the radiologist knows it.

    Parameters
    ----------
    saliency
        (..., H, W) on the canvas.
    size
        (height, width) of the original slice.
    resize
        How the canvas was made.

    Returns
    -------
    Tensor
        (..., height, width).

    Examples
    --------
    >>> import torch
    >>> from covidct.explain.regions import to_slice
    >>> to_slice(torch.rand(253, 349), (512, 512)).shape
    torch.Size([512, 512])
    """
    if resize == "pad":
        return AspectPreservingPad(saliency.shape[-2:]).invert(saliency, size)
    flat = saliency.reshape(-1, 1, *saliency.shape[-2:])
    resized = functional.interpolate(flat, tuple(size), mode="bilinear")
    return resized.reshape(*saliency.shape[:-2], *size)


def energy_share(maps: Tensor, region: Tensor) -> EnergyShare:
    """Measure which share of the maps lies in a region, and of the canvas, which is chance.

    Parameters
    ----------
    maps
        (N, H, W), not negative.
    region
        (N, H, W) bool.

    Returns
    -------
    EnergyShare
        Means over the slices that count.

    Raises
    ------
    ValueError
        For a negative map.

    Examples
    --------
    >>> import torch
    >>> from covidct.explain import faithfulness
    >>> region = torch.tensor([[[True, False, False, False]]])
    >>> faithfulness.energy_share(torch.tensor([[[3.0, 1.0, 0.0, 0.0]]]), region)
    EnergyShare(share=0.75, area=0.25, n=1)
    """
    if maps.min() < 0:
        raise ValueError(
            "energy is counted in maps that are not negative: compute them with relu=True"
        )
    total = maps.sum(dim=(1, 2), dtype=torch.float64)
    counts = (total > 0) & region.any(dim=2).any(dim=1)
    inside = (maps * region).sum(dim=(1, 2), dtype=torch.float64)
    return EnergyShare(
        float((inside / total)[counts].mean()),
        float(region[counts].float().mean()),
        int(counts.sum()),
    )


def peaks(maps: Tensor) -> Tensor:
    """Find the largest value of each map.

    Parameters
    ----------
    maps
        (N, H, W).

    Returns
    -------
    Tensor
        (N, 2) rows and columns; (-1, -1) for a map that is nowhere positive, and so points nowhere.

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
    """Say which points lie in their regions, as the pointing game counts (Zhang et al. 2018).

    Parameters
    ----------
    points
        (N, 2) rows and columns, as `peaks` finds them.
    region
        (N, H, W) bool, widened by the tolerance with `widen`.

    Returns
    -------
    Tensor
        (N,) bool; a point at (-1, -1) misses.

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
    """Add to a region what lies within some rows and columns of it.

    Parameters
    ----------
    region
        (N, H, W) bool.
    by
        Rows and columns.

    Returns
    -------
    Tensor
        (N, H, W) bool.

    Examples
    --------
    >>> import torch
    >>> from covidct.explain import faithfulness
    >>> faithfulness.widen(torch.tensor([[[True, False, False, False]]]), (0, 1))
    tensor([[[ True,  True, False, False]]])
    """
    # A maximum over a rectangle is one over its height of maxima over its width.
    grown = region.float()[:, None]
    for kernel, padding in (((2 * by[0] + 1, 1), (by[0], 0)), ((1, 2 * by[1] + 1), (0, by[1]))):
        grown = functional.max_pool2d(grown, kernel, stride=1, padding=padding)
    return grown[:, 0] > 0


def _box(canvas: Tensor, place: Geometry, *, margin: float = 0.0) -> Tensor:
    """View the part of a canvas where the slice lies, without a margin of its shorter side."""
    band = max(1, round(margin * min(place.height, place.width))) if margin else 0
    return canvas[
        place.top + band : place.top + place.height - band,
        place.left + band : place.left + place.width - band,
    ]


def _resized(mask: npt.NDArray[np.bool_], place: Geometry) -> Tensor:
    values = torch.from_numpy(np.array(mask, dtype=np.float32))[None, None]
    resized = functional.interpolate(values, (place.height, place.width), mode="nearest-exact")
    return resized[0, 0] > 0
