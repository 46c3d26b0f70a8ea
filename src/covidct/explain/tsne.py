"""Features of a network in the plane, and how far the picture can be trusted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors

__all__ = ["Separation", "embed", "separation"]


class Separation(NamedTuple):
    """How well the two classes are kept apart, among the features and in the plane.

    Attributes
    ----------
    trustworthiness
        Share, in [0, 1], of neighbors in the plane that are neighbors among the features too
        (Venna and Kaski 2001); low where the picture invents clusters.
    silhouette_features, silhouette_embedding
        Mean silhouette of the classes (Rousseeuw 1987) in [-1, 1]; 0 where they overlap.
    knn_features, knn_embedding
        Accuracy of the nearest neighbors' majority vote, each slice left out in turn.
    chance
        Accuracy of always naming the larger class.
    """

    trustworthiness: float
    silhouette_features: float
    silhouette_embedding: float
    knn_features: float
    knn_embedding: float
    chance: float


def embed(
    features: npt.ArrayLike,
    *,
    perplexity: float = 30.0,
    seed: int = 0,
    pca_dims: int = 50,
) -> npt.NDArray[np.float32]:
    """Place features in the plane by t-SNE (van der Maaten and Hinton 2008).

    Longer features are first projected on their principal components, which start the embedding
    too. Distances between clusters, and their sizes, mean nothing in such a plane.

    Parameters
    ----------
    features
        (N, D) finite numbers, such as the penultimate layer's.
    perplexity
        About how many neighbors a slice has; above 0 and below N.
    seed
        Of the randomized steps; the same features give the same embedding.
    pca_dims
        Number of principal components that are kept.

    Returns
    -------
    ndarray
        (N, 2).

    Raises
    ------
    ValueError
        For features that are not (N, D), that are NaN or infinite, that are all the same, or of
        fewer than three slices; for a perplexity that is out of range, and for ``pca_dims``
        below 2.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.explain import tsne
    >>> features = np.random.default_rng(0).normal(size=(40, 64))
    >>> tsne.embed(features, perplexity=10).shape
    (40, 2)
    """
    points = _check_points("features", features)
    if not 0 < perplexity < len(points):
        raise ValueError(
            f"perplexity must lie between 0 and the number of slices, {len(points)}; "
            f"got {perplexity:g}; try {max(1, (len(points) - 1) // 3)}"
        )
    if pca_dims < 2:
        raise ValueError(f"pca_dims must be at least 2, got {pca_dims}")
    if np.ptp(points, axis=0).max() == 0:
        raise ValueError(
            f"all {len(points)} slices have the same features: there is nothing to place apart"
        )
    if points.shape[1] > pca_dims:
        dims = min(pca_dims, len(points))
        points = PCA(dims, random_state=seed).fit_transform(points)
    start = "pca" if points.shape[1] >= 2 else "random"
    plane = TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(points)
    return np.asarray(plane, dtype=np.float32)


def separation(
    features: npt.ArrayLike,
    embedding: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    n_neighbors: int = 5,
) -> Separation:
    """Measure what the eye reads out of an embedding.

    A network keeps the slices that it was fitted to apart, whatever it learnt: give those of the
    test fold alone, ``separation(features[test], embedding[test], targets[test])``. Where one
    patient has several slices, the neighbors may be the patient's own.

    Parameters
    ----------
    features
        (N, D).
    embedding
        (N, 2), as `embed` makes it.
    targets
        (N,), 1 for COVID-19 and 0 otherwise; at least two slices of each.
    n_neighbors
        Neighbors that count; odd, so that no vote is a draw, and below N / 2.

    Returns
    -------
    Separation
        Six numbers.

    Raises
    ------
    ValueError
        For arrays that do not match, are not finite or hold one class only, and for
        ``n_neighbors`` that is even or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.explain import tsne
    >>> targets = np.repeat([0, 1], 20)
    >>> features = np.random.default_rng(0).normal(size=(40, 8)) + 9 * targets[:, None]
    >>> tsne.separation(features, tsne.embed(features, perplexity=10), targets).knn_embedding
    1.0
    """
    points, plane = _check_points("features", features), _check_points("embedding", embedding)
    labels = np.asarray(targets)
    if len(points) != len(plane) or labels.shape != (len(points),):
        raise ValueError(
            "features, embedding and targets must be of the same slices, "
            f"got shapes {points.shape}, {plane.shape} and {labels.shape}"
        )
    counts = np.array([np.count_nonzero(labels == 0), np.count_nonzero(labels == 1)])
    if counts.sum() != len(labels) or counts.min() < 2:
        raise ValueError(
            f"targets must be 0 or 1, at least two of each, got {np.unique(labels).tolist()}"
        )
    if n_neighbors % 2 == 0 or not 0 < n_neighbors < len(labels) / 2:
        raise ValueError(
            f"n_neighbors must be odd and below N / 2 = {len(labels) / 2:g}, got {n_neighbors}"
        )
    return Separation(
        float(trustworthiness(points, plane, n_neighbors=n_neighbors)),
        float(silhouette_score(points, labels)),
        float(silhouette_score(plane, labels)),
        _knn_accuracy(points, labels, n_neighbors),
        _knn_accuracy(plane, labels, n_neighbors),
        float(counts.max() / counts.sum()),
    )


def _knn_accuracy(points: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], k: int) -> float:
    # Asked about its own points, NearestNeighbors leaves each out of its neighbors.
    neighbors = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
    votes = labels[neighbors].mean(axis=1) > 0.5
    return float(np.mean(votes == labels))


def _check_points(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2 or len(points) < 3 or not points.shape[1]:
        raise ValueError(
            f"{name} must be (N, D), of at least three slices, got shape {points.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if bad.size:
        rows = ", ".join(map(str, bad[:10])) + (", ..." if bad.size > 10 else "")
        raise ValueError(f"{name} must be finite, but those of {bad.size} slices are not: {rows}")
    return points
