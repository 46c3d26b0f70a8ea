"""t-SNE embeddings of the features of a network, and measures of their reliability."""

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
    """Separation of the classes among the features and in their embedding.

    Attributes
    ----------
    trustworthiness : float
        Agreement of the neighbors in the embedding with those among the features, in [0, 1] (Venna
        and Kaski 2001). It is low if the embedding shows clusters that the features do not have.
    silhouette_features, silhouette_embedding : float
        Mean silhouette of the classes (Rousseeuw 1987), in [-1, 1]; 0 if they overlap.
    knn_features, knn_embedding : float
        Accuracy of a leave-one-out nearest-neighbor classifier, in [0, 1].
    chance : float
        Accuracy of always predicting the larger class, in [0, 1].
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
    """Embed features in two dimensions by t-SNE (van der Maaten and Hinton 2008).

    If the features have more than `pca_dims` dimensions, they are first projected on their
    principal components. Distances between clusters, and the sizes of clusters, have no meaning in
    the result.

    Parameters
    ----------
    features : array-like of shape (N, D)
        Finite features, such as those of the penultimate layer, of at least three slices.
    perplexity : float, default=30.0
        Approximate number of neighbors that each slice has; above 0 and below N.
    seed : int, default=0
        Random seed. The same features and seed give the same embedding.
    pca_dims : int, default=50
        Number of principal components to keep; at least 2.

    Returns
    -------
    ndarray of float32 of shape (N, 2)
        Positions of the slices.

    Raises
    ------
    ValueError
        If `features` is not of shape (N, D) with at least three slices, contains NaN or infinite
        values, or is the same for all slices; if `perplexity` is not between 0 and N; or if
        `pca_dims` is below 2.

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
            f"perplexity must be above 0 and below the number of slices, {len(points)}, "
            f"got {perplexity:g}; try {max(1, (len(points) - 1) // 3)}"
        )
    if pca_dims < 2:
        raise ValueError(f"pca_dims must be at least 2, got {pca_dims}")
    if np.ptp(points, axis=0).max() == 0:
        raise ValueError(
            f"all {len(points)} slices have the same features, so they cannot be embedded"
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
    """Measure how well an embedding separates the classes.

    A network separates its training slices in any case, so pass those of the test fold only:
    ``separation(features[test], embedding[test], targets[test])``. If patients have several
    slices, the nearest neighbors of a slice may be slices of the same patient.

    Parameters
    ----------
    features : array-like of shape (N, D)
        Features of the slices.
    embedding : array-like of shape (N, 2)
        Embedding of these features, as returned by `embed`.
    targets : array-like of shape (N,)
        Classes as numbers, such as 1 for COVID-19 and 0 otherwise; two or more, with at least two
        slices of each.
    n_neighbors : int, default=5
        Number of neighbors; odd, so that a majority vote cannot be tied, and below N / 2.

    Returns
    -------
    Separation
        Measures among the features and in the embedding.

    Raises
    ------
    ValueError
        If the arrays differ in length or contain NaN or infinite values, if a class has fewer than
        two slices, or if `n_neighbors` is even or not between 0 and N / 2.

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
            "features, embedding and targets must have the same length, "
            f"got shapes {points.shape}, {plane.shape} and {labels.shape}"
        )
    values, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(values) < 2 or counts.min() < 2:
        raise ValueError(
            "targets must be of two classes or more, with at least two slices of each, "
            f"got the values {values.tolist()} with {counts.tolist()} slices"
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
    # Called without points, kneighbors() excludes each point from its own neighbors.
    neighbors = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
    votes = (labels[neighbors][:, :, None] == np.arange(labels.max() + 1)).sum(axis=1)
    return float(np.mean(votes.argmax(axis=1) == labels))


def _check_points(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    if hasattr(values, "detach"):  # a tensor, on any device and with a gradient
        values = values.detach().cpu()
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2 or len(points) < 3 or not points.shape[1]:
        raise ValueError(
            f"{name} must be of shape (N, D) with at least three slices, got shape {points.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if bad.size:
        rows = ", ".join(map(str, bad[:10])) + (", ..." if bad.size > 10 else "")
        raise ValueError(f"{name} must be finite, but rows {rows} contain NaN or infinite values")
    return points
