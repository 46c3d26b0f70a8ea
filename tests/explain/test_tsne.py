from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from covidct.explain import tsne

Floats = npt.NDArray[np.float64]


@pytest.fixture
def targets() -> npt.NDArray[np.int64]:
    return np.repeat([0, 1], 20)


@pytest.fixture
def features(targets: npt.NDArray[np.int64]) -> Floats:
    return np.random.default_rng(0).normal(size=(40, 64)) + 3 * targets[:, None]


def test_embedding_is_a_function_of_features_and_seed(features: Floats) -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002  # the test checks the global state
    plane = tsne.embed(features, perplexity=10, seed=3)
    assert plane.shape == (40, 2)
    assert plane.dtype == np.float32
    assert np.isfinite(plane).all()
    np.testing.assert_array_equal(plane, tsne.embed(features, perplexity=10, seed=3))
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002  # the test checks the global state


@pytest.mark.parametrize("shape", [(3, 1), (6, 2), (12, 300)])
def test_few_slices_and_short_features(shape: tuple[int, int]) -> None:
    plane = tsne.embed(np.random.default_rng(0).normal(size=shape), perplexity=2)
    assert plane.shape == (shape[0], 2)
    assert np.isfinite(plane).all()


def test_separate_classes(features: Floats, targets: npt.NDArray[np.int64]) -> None:
    plane = tsne.embed(features, perplexity=10)
    apart = tsne.separation(features, plane, targets)
    assert apart.knn_features == apart.knn_embedding == 1
    assert apart.silhouette_embedding > 0.5
    assert apart.trustworthiness > 0.8
    assert apart.chance == 0.5


def test_classes_without_a_difference(features: Floats) -> None:
    labels = np.random.default_rng(1).permutation(np.repeat([0, 1], 20))
    plane = tsne.embed(features, perplexity=10)
    mixed = tsne.separation(features, plane, labels)
    assert abs(mixed.silhouette_embedding) < 0.1
    assert 0.2 < mixed.knn_embedding < 0.8


def test_an_embedding_with_false_neighbors_is_not_trustworthy(
    features: Floats, targets: npt.NDArray[np.int64]
) -> None:
    plane = tsne.embed(features, perplexity=10)
    shuffled = np.random.default_rng(0).permutation(plane)
    honest, false = (tsne.separation(features, p, targets) for p in (plane, shuffled))
    assert false.trustworthiness < honest.trustworthiness - 0.2


def test_each_slice_is_left_out_of_its_neighbors() -> None:
    # Nearest neighbors are of the other class; a slice that counted itself would be correct.
    points = np.array([[0.0], [1], [10], [11], [20], [21]])
    labels = np.array([0, 1, 0, 1, 0, 1])
    result = tsne.separation(points, np.hstack([points, points]), labels, n_neighbors=1)
    assert result.knn_features == result.knn_embedding == 0


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda f: f, {"perplexity": 40}, r"perplexity .* slices, 40, got 40; try 13"),
        (lambda f: f, {"perplexity": 0}, "perplexity must be above 0"),
        (lambda f: f, {"perplexity": float("nan")}, "perplexity must be above 0"),
        (lambda f: f, {"pca_dims": 1}, "pca_dims must be at least 2, got 1"),
        (lambda f: f[:2], {}, r"at least three slices, got shape \(2, 64\)"),
        (lambda f: f[0], {}, r"must be of shape \(N, D\)"),
        (lambda f: np.where(np.arange(40)[:, None] == 7, np.nan, f), {}, "rows 7 contain NaN"),
        (lambda f: f * np.inf, {}, r"rows 0, 1, .*, 9, \.\.\. contain"),
        (lambda f: f * 0, {}, "all 40 slices have the same features"),
    ],
)
def test_bad_features(
    features: Floats, change: object, options: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tsne.embed(change(features), **options)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 1], {}, r"the same length, got shapes \(40, 64\), \(40, 2\) and \(2,\)"),
        ([0] * 40, {}, r"at least two slices of each, got the values \[0\]"),
        ([0] * 39 + [1], {}, r"targets must be of two classes.*got the values \[0, 1\]"),
        ([0, 1] * 20, {"n_neighbors": 4}, "must be odd and below N / 2 = 20, got 4"),
        ([0, 1] * 20, {"n_neighbors": 21}, "must be odd and below N / 2 = 20, got 21"),
    ],
)
def test_bad_separation(
    features: Floats, labels: list[int], options: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tsne.separation(features, features[:, :2], labels, **options)


def test_features_with_a_gradient_are_taken() -> None:
    values = torch.arange(12.0, requires_grad=True).reshape(6, 2)
    expected = tsne.embed(values.detach().numpy(), perplexity=2)
    np.testing.assert_array_equal(tsne.embed(values, perplexity=2), expected)
