from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from covidct import AspectPreservingPad
from covidct.explain import faithfulness
from covidct.explain.regions import to_slice

side = st.integers(8, 60)


@settings(deadline=None, max_examples=50)
@given(size=st.tuples(side, side), canvas=st.tuples(side, side), border=st.floats(0.01, 0.49))
def test_slice_and_padding_make_up_the_canvas(
    size: tuple[int, int], canvas: tuple[int, int], border: float
) -> None:
    regions = faithfulness.canvas_regions([size], canvas, border=border)
    height, width = AspectPreservingPad(canvas).geometry(size)[2:]
    assert (regions["slice"] ^ regions["padding"]).all()
    assert regions["slice"].sum() == height * width
    assert not (regions["border"] & regions["padding"]).any()
    assert regions["border"].any()


def test_the_border_band_is_as_wide_as_asked() -> None:
    border = faithfulness.canvas_regions([(100, 200)], (100, 300), border=0.1)["border"][0]
    # The slice is 200 wide and lies 50 from the left; the band is 10.
    assert border[50].nonzero().flatten().tolist() == [*range(50, 60), *range(240, 250)]
    assert border[:, 150].nonzero().flatten().tolist() == [*range(10), *range(90, 100)]


@pytest.mark.parametrize("resize", ["pad", "stretch"])
def test_masks_are_placed_like_their_slices(resize: str) -> None:
    mask = np.zeros((40, 60), dtype=bool)
    mask[10:20, 30:60] = True
    regions = faithfulness.canvas_regions(
        [(40, 60), (40, 60)], (80, 80), masks=[{"lesion": mask}, None], resize=resize
    )
    back = to_slice(regions["lesion"][0].float(), (40, 60), resize=resize) > 0.5
    assert (back.numpy() == mask).mean() > 0.98
    assert not regions["lesion"][1].any()
    assert regions["padding"].any() == (resize == "pad")


# Padded, the slice is scaled to 30 x 60 and lies below a margin of 15; stretched, to 60 x 60.
@pytest.mark.parametrize(("resize", "row"), [("pad", 15.5 / 30), ("stretch", 30.5 / 60)])
def test_a_map_returns_to_its_place_on_the_slice(resize: str, row: float) -> None:
    saliency = torch.zeros(3, 60, 60)
    saliency[:, 30, 45] = 1.0
    back = to_slice(saliency, (200, 400), resize=resize)
    assert back.shape == (3, 200, 400)
    expected = pytest.approx((row * 200, 45.5 / 60 * 400), abs=4)
    assert tuple(faithfulness.peaks(back)[0].tolist()) == expected


def test_energy_counts_maps_and_regions_that_are_not_empty() -> None:
    maps = torch.tensor([[[1.0, 3.0]], [[0.0, 0.0]], [[2.0, 0.0]], [[1.0, 1.0]]])
    region = torch.tensor([[[True, False]], [[True, False]], [[True, True]], [[False, False]]])
    share, area, n = faithfulness.energy_share(maps, region)
    assert share == pytest.approx((0.25 + 1) / 2)
    assert area == pytest.approx((0.5 + 1) / 2)
    assert n == 2


def test_a_uniform_map_has_the_share_of_the_area() -> None:
    regions = faithfulness.canvas_regions([(50, 90), (70, 20)], (64, 96))
    for region in regions.values():
        share, area, _ = faithfulness.energy_share(torch.ones(2, 64, 96), region)
        assert share == pytest.approx(area)


def test_energy_of_signed_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="relu=True"):
        faithfulness.energy_share(-torch.ones(1, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool))


@settings(deadline=None, max_examples=50)
@given(by=st.tuples(st.integers(0, 3), st.integers(0, 3)), seed=st.integers(0, 99))
def test_widen_reaches_as_far_as_the_tolerance(by: tuple[int, int], seed: int) -> None:
    region = torch.rand(1, 9, 11, generator=torch.Generator().manual_seed(seed)) > 0.95
    rows, columns = torch.meshgrid(torch.arange(9), torch.arange(11), indexing="ij")
    expected = torch.zeros(9, 11, dtype=torch.bool)
    for _, row, column in region.nonzero().tolist():
        expected |= ((rows - row).abs() <= by[0]) & ((columns - column).abs() <= by[1])
    assert torch.equal(faithfulness.widen(region, by)[0], expected)


def test_a_map_without_evidence_misses() -> None:
    points = faithfulness.peaks(torch.zeros(1, 3, 3))
    assert points.tolist() == [[-1, -1]]
    assert not faithfulness.hits(points, torch.ones(1, 3, 3, dtype=torch.bool)).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"border": 0.0}, "border must be between 0 and 0.5"),
        ({"border": 0.5}, "border must be between 0 and 0.5"),
        ({"masks": []}, "for each of 1 slices, got 0"),
        (
            {"masks": [{"lung": np.ones((3, 4), bool)}]},
            r"shape \(4, 5\).*'lung' has shape \(3, 4\)",
        ),
        ({"masks": [{"border": np.ones((4, 5), bool)}]}, "masks cannot be named"),
    ],
)
def test_bad_regions(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        faithfulness.canvas_regions([(4, 5)], (8, 8), **options)
