from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from covidct.explain import GradCAM, faithfulness, perturbation
from covidct.models import LabelOutputs

Spots = tuple[npt.NDArray[np.uint8], list[dict[str, npt.NDArray[np.bool_]]]]


@pytest.fixture
def maps(brightness: nn.Module, spots: Spots) -> Tensor:
    return GradCAM(brightness, relu=False).over(spots[0]).maps


@pytest.mark.parametrize("baseline", ["blur", "black", "mean"])
def test_the_curves_run_from_slice_to_baseline(
    brightness: nn.Module, spots: Spots, maps: Tensor, baseline: str
) -> None:
    curves = faithfulness.perturb(brightness, spots[0], maps, steps=4, baseline=baseline)
    whole = torch.sigmoid(GradCAM(brightness).over(spots[0]).logits).numpy()
    assert curves.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    np.testing.assert_allclose(curves.deletion[:, 0], whole, rtol=1e-5)
    np.testing.assert_allclose(curves.insertion[:, -1], whole, rtol=1e-5)
    np.testing.assert_array_equal(curves.deletion[:, -1], curves.insertion[:, 0])


def test_rise_deletes_to_the_mean_and_inserts_into_the_blur(
    brightness: nn.Module, spots: Spots, maps: Tensor
) -> None:
    both, mean, blur = (
        faithfulness.perturb(brightness, spots[0], maps, steps=4, baseline=name)
        for name in ("rise", "mean", "blur")
    )
    np.testing.assert_array_equal(both.deletion, mean.deletion)
    np.testing.assert_array_equal(both.insertion, blur.insertion)
    assert not np.array_equal(mean.deletion, blur.deletion)


def test_a_faithful_map_beats_a_random_and_a_reversed_one(
    brightness: nn.Module, spots: Spots, maps: Tensor
) -> None:
    random = torch.rand(maps.shape, generator=torch.Generator().manual_seed(0))
    areas = [
        faithfulness.perturb(brightness, spots[0], saliency, steps=8, baseline="black")
        for saliency in (maps, random, -maps)
    ]
    faithful, chance, wrong = (curves.deletion_area.mean() for curves in areas)
    assert faithful < chance - 0.1 < wrong - 0.2
    faithful, chance, wrong = (curves.insertion_area.mean() for curves in areas)
    assert faithful > chance + 0.1 > wrong + 0.2


def test_areas_under_piecewise_linear_curves() -> None:
    rising = np.array([[0.0, 0.5, 1.0], [0.0, 0.0, 1.0]])
    curves = faithfulness.Curves(np.array([0.0, 0.5, 1.0]), rising[:, ::-1], rising)
    np.testing.assert_allclose(curves.deletion_area, [0.5, 0.25])
    np.testing.assert_allclose(curves.insertion_area, [0.5, 0.25])


def test_the_two_targets_mirror_each_other(
    brightness: nn.Module, spots: Spots, maps: Tensor
) -> None:
    for_, against = (
        faithfulness.perturb(brightness, spots[0], maps, steps=2, target=target)
        for target in ("covid", "non-covid")
    )
    np.testing.assert_allclose(for_.deletion, 1 - against.deletion)


def test_ties_are_broken_by_the_seed_and_not_by_position(
    brightness: nn.Module, spots: Spots
) -> None:
    flat = torch.zeros(spots[0].shape)
    first, again, other = (
        faithfulness.perturb(brightness, spots[0], flat, steps=4, baseline="black", seed=seed)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.deletion, again.deletion)
    assert not np.array_equal(first.deletion, other.deletion)
    # In the order of the rows, the squares near the top would go first.
    assert np.ptp(first.deletion_area) < 0.02


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"baseline": "white"},
            "baseline must be one of blur, black, mean, rise, got 'white'",
        ),
        ({"target": "lung"}, "target must be one of 'covid', 'non-covid'"),
        ({"steps": 0}, "and 0 steps"),
    ],
)
def test_bad_options(
    brightness: nn.Module, spots: Spots, maps: Tensor, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        faithfulness.perturb(brightness, spots[0], maps, **options)


def test_maps_of_another_size(brightness: nn.Module, spots: Spots, maps: Tensor) -> None:
    with pytest.raises(ValueError, match=r"maps \(6, 8, 12\), canvases \(6, 64, 96\)"):
        faithfulness.perturb(brightness, spots[0], maps[:, ::8, ::8])
    with pytest.raises(ValueError, match="at least one canvas"):
        faithfulness.perturb(brightness, spots[0][:0], maps[:0])


def by_loops(
    model: nn.Module, canvas: npt.NDArray[np.uint8], saliency: Tensor, names: tuple[str, str]
) -> list[list[float]]:
    """Deletion and insertion of a slice at each quarter, pixel by pixel in the order of the map."""
    height, width = canvas.shape
    sigma = min(height, width) / 16
    baselines = {
        "black": np.zeros_like(canvas),
        "mean": np.full_like(canvas, round(canvas.mean())),
        # SciPy calls "mirror" what PyTorch calls "reflect".
        "blur": np.rint(
            ndimage.gaussian_filter(
                canvas.astype(np.float64), sigma, radius=round(2 * sigma), mode="mirror"
            )
        ),
    }
    removed, start = (baselines[name].astype(np.uint8) for name in names)
    order = np.argsort(-saliency.numpy(), axis=None)
    curves: list[list[float]] = [[], []]
    for quarter in range(5):
        chosen = order[: round(quarter / 4 * canvas.size)]
        for curve, before, after in ((0, canvas, removed), (1, start, canvas)):
            image = before.flatten()
            image[chosen] = after.flatten()[chosen]
            batch = torch.from_numpy(image.reshape(1, 1, height, width))
            curves[curve].append(float(model(batch).sigmoid().detach()))
    return curves


@pytest.mark.parametrize(
    ("baseline", "names"),
    [
        ("blur", ("blur", "blur")),
        ("black", ("black", "black")),
        ("mean", ("mean", "mean")),
        ("rise", ("mean", "blur")),
    ],
)
def test_the_curves_by_loops(
    brightness: nn.Module, spots: Spots, baseline: str, names: tuple[str, str]
) -> None:
    canvases = spots[0][:2, :, 8:]
    rng = np.random.default_rng(0)
    canvases = np.maximum(canvases, rng.integers(0, 90, canvases.shape, dtype=np.uint8))
    saliency = torch.from_numpy(rng.permuted(np.arange(canvases[0].size * 2.0)))
    saliency = saliency.view(2, *canvases.shape[1:]) - 5000  # signed, without ties
    # Every pixel counts differently, and not in proportion to its gray.
    weights = torch.from_numpy(rng.normal(size=canvases.shape[1:]).astype(np.float32))
    brightness.feature_maps = lambda x: brightness.cells((x.float() / 255).square() * weights)
    brightness.last.weight.data.fill_(200.0)
    brightness.last.bias.data.fill_(0.0)
    options = {"steps": 4, "baseline": baseline}
    curves = faithfulness.perturb(brightness, canvases, saliency, **options)
    for i in range(2):
        deletion, insertion = by_loops(brightness, canvases[i], saliency[i], names)
        assert 0.02 < min(deletion + insertion) < max(deletion + insertion) < 0.98
        np.testing.assert_allclose(curves.deletion[i], deletion, atol=1e-3)
        np.testing.assert_allclose(curves.insertion[i], insertion, atol=1e-3)
    for size in (1, 3, 100):
        again = faithfulness.perturb(brightness, canvases, saliency, **options, batch_size=size)
        np.testing.assert_allclose(again.deletion, curves.deletion, rtol=1e-5)


def test_options_reach_the_network(
    brightness: nn.Module, spots: Spots, maps: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, infer = [], perturbation.infer

    def watched(*args: object, **options: object) -> object:
        given.append(options)
        return infer(*args, **options)

    monkeypatch.setattr(perturbation, "infer", watched)
    options = {"batch_size": 3, "precision": "bfloat16"}
    faithfulness.perturb(brightness, spots[0][:1], maps[:1], steps=1, **options)
    assert given == [options]
    brightness.outputs = LabelOutputs(("COVID", "flu"), ("COVID",))
    with pytest.raises(ValueError, match="'flu'"):
        faithfulness.perturb(brightness, spots[0], maps, target="fever")


def test_ten_steps_into_the_blur_with_seed_0_are_the_default(
    brightness: nn.Module, spots: Spots
) -> None:
    flat, canvases = torch.zeros(spots[0][:1].shape), spots[0][:1]
    default = faithfulness.perturb(brightness, canvases, flat)
    named = faithfulness.perturb(brightness, canvases, flat, steps=10, baseline="blur", seed=0)
    assert default.fractions.tolist() == pytest.approx([k / 10 for k in range(11)])
    np.testing.assert_array_equal(default.deletion, named.deletion)
    np.testing.assert_array_equal(default.insertion, named.insertion)
    once = faithfulness.perturb(brightness, canvases, flat, steps=1)
    assert once.fractions.tolist() == [0, 1]
