from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

import covidct
from covidct.explain import GradCAM, faithfulness
from covidct.explain.randomization import signed_maps


@pytest.fixture(scope="module")
def model() -> covidct.CTClassifier:
    torch.manual_seed(1)
    return covidct.create_model("shufflenet", weights=None)


@pytest.fixture(scope="module")
def canvases() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 96, 128), dtype=np.uint8)


def changed(a: nn.Module, b: nn.Module) -> list[bool]:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return [not torch.equal(p, q) for p, q in pairs if p.ndim > 1]


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (1.0, None)])
def test_layers_are_randomized_from_the_last_backwards(
    model: covidct.CTClassifier, share: float, expected: int | None
) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    copy = faithfulness.randomize(model, share=share)
    flags = changed(model, copy)
    assert sum(flags) == (expected or len(flags))
    assert flags[-1]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert copy.training == model.training


def test_randomization_is_a_function_of_its_seed(model: covidct.CTClassifier) -> None:
    first, again, other = (faithfulness.randomize(model, seed=seed) for seed in (0, 0, 1))
    assert not any(changed(first, again))
    assert all(changed(first, other))


def test_a_layer_that_cannot_reset_itself_is_shuffled() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.arange(100.0).view(10, 10))

    scale = Scale()
    copy = faithfulness.randomize(scale)
    assert not torch.equal(copy.factor, scale.factor)
    assert torch.equal(copy.factor.flatten().sort().values, scale.factor.flatten())


def test_maps_of_the_same_network_are_equal(
    model: covidct.CTClassifier, canvases: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covidct.explain.randomization.randomize", lambda model, **_: model)
    test = faithfulness.randomization_test(model, canvases, shares=(0.0, 1.0))
    np.testing.assert_allclose(test.correlations, 1)
    assert test.reference.max() < 1


def test_maps_of_a_randomized_network_do_not_correlate(
    model: covidct.CTClassifier, canvases: np.ndarray
) -> None:
    test = faithfulness.randomization_test(model, canvases, shares=(0.0, 0.5, 1.0))
    assert test.shares == (0.0, 0.5, 1.0)
    assert test.correlations.shape == (3, 4)
    assert test.correlations[-1].mean() < 0.8
    assert (test.correlations >= 0).all()


def test_rank_correlation_is_spearmans() -> None:
    a, b = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    b[0, :2] = 0  # ties
    expected = [spearmanr(x.flatten(), y.flatten()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(faithfulness.rank_correlation(a, b), expected, rtol=1e-6)


def test_a_constant_map_has_no_correlation() -> None:
    correlations = faithfulness.rank_correlation(torch.ones(1, 2, 2), torch.rand(1, 2, 2))
    assert correlations.tolist() == [0]


def test_bad_arguments(model: covidct.CTClassifier, canvases: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\], got 1.5"):
        faithfulness.randomize(model, share=1.5)
    with pytest.raises(ValueError, match="at least two canvases"):
        faithfulness.randomization_test(model, canvases[:1])


@pytest.mark.parametrize(
    ("share", "number"), [(0.0, 1), (0.1, 1), (0.25, 2), (0.5, 4), (0.9, 7), (1.0, 8)]
)
def test_share_of_the_layers(share: float, number: int) -> None:
    network = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3), nn.ReLU()) for _ in range(8)))
    copy = faithfulness.randomize(network, share=share)
    assert changed(network, copy) == [False] * (8 - number) + [True] * number
    assert not any(
        changed(faithfulness.randomize(network), faithfulness.randomize(network, seed=0))
    )


@pytest.mark.parametrize("layer", [None, "backbone.stage4"])
def test_similarities_are_spearmans_of_the_signed_maps(
    model: covidct.CTClassifier, canvases: np.ndarray, layer: str | None
) -> None:
    test = faithfulness.randomization_test(model, canvases, shares=(0.25, 1.0), layer=layer, seed=2)

    def maps(network: nn.Module) -> np.ndarray:
        options = {"relu": False, "normalize": False, "upsample": False, "layer": layer}
        return GradCAM(network, **options).over(canvases).maps.flatten(1).numpy()

    before = maps(model)
    assert (before < 0).any()
    for share, found in zip((0.25, 1.0), test.correlations, strict=True):
        after = maps(faithfulness.randomize(model, share=share, seed=2))
        expected = [abs(spearmanr(a, b).statistic) for a, b in zip(before, after, strict=True)]
        np.testing.assert_allclose(found, expected, atol=1e-6)
    expected = [abs(spearmanr(before[i], before[i - 1]).statistic) for i in range(len(canvases))]
    np.testing.assert_allclose(test.reference, expected, atol=1e-6)


def test_signed_maps(model: covidct.CTClassifier, canvases: np.ndarray) -> None:
    maps = signed_maps(model, canvases)
    options = {"relu": False, "normalize": False, "upsample": False}
    torch.testing.assert_close(maps, GradCAM(model, **options).over(canvases).maps)
    torch.testing.assert_close(signed_maps(model, canvases, target="non-covid"), -maps)
    torch.testing.assert_close(signed_maps(model, canvases, batch_size=1), maps)
    assert signed_maps(model, canvases, layer="backbone.stage2").shape[1:] > maps.shape[1:]


def test_four_shares_with_seed_0_are_the_default(
    model: covidct.CTClassifier, canvases: np.ndarray
) -> None:
    found = faithfulness.randomization_test(model, canvases[:2])
    assert found.shares == (0.0, 0.25, 0.5, 1.0)
    named = faithfulness.randomization_test(model, canvases[:2], shares=(1.0,), seed=0)
    np.testing.assert_array_equal(found.correlations[-1:], named.correlations)
