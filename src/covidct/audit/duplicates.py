"""Identical slices and near-duplicates.

The search for near-duplicates has two steps, since comparing every slice with every other would
grow with the square of their number.

1. *Candidates.* Each slice is reduced to a fingerprint: the lowest 8 x 8 spatial frequencies of its
   64 x 64 canvas, without mean and contrast. The discrete cosine transform is orthonormal, so two
   slices whose fingerprints are far apart differ at least as much in their pixels. Candidates are
   slices with near fingerprints, and slices whose files are at most five apart in the order of
   their names. Up to 4,096 slices, all fingerprints are compared. Larger datasets use
   locality-sensitive hashing with random hyperplanes [1]_: a fingerprint becomes 32 words of 16
   bits, where a bit tells on which side of a hyperplane the fingerprint lies. Near fingerprints
   share at least one word with high probability, so only slices with equal words are compared.
   Within equal words the slices are sorted by the next word, and each is compared with the
   following 16 only. The time therefore grows as N log N, even if all slices are alike.
2. *Verification.* The similarity of two candidates is the correlation of the gradient magnitudes of
   their canvases. Gray levels are no use here, since the outline of the body makes all chest CTs
   alike. Edges coincide only in slices of one patient. Two slices are near-duplicates from a
   similarity of 0.80, or from 0.65 if their files are neighbors.

These thresholds were measured on the two public datasets, without use of the file names:

==========  ==========================================  =====================================
similarity  SARS-CoV-2 CT (2,481 slices)                COVID19-CT (746 slices)
==========  ==========================================  =====================================
0.65        5,011 pairs, 908 across classes; chains to  113 pairs; largest group 8
            one group of 1,318
0.78        850 pairs, 6 across classes (different      44 pairs; largest group 3
            patients by eye); largest group 34
**0.80**    649 pairs, 0 across classes; 291 groups     41 pairs, 2 across classes, both really
            with 844 slices, largest group 26           the same slice; largest group 3
**0.90**    104 pairs, 83 groups, largest 4             14 pairs; largest group 3
==========  ==========================================  =====================================

Among neighbors by name, 2,195 pairs of SARS-CoV-2 CT reach 0.65; the rate among files 200 apart
predicts 20 by chance. In COVID19-CT, 105 pairs do, 98 of them of one patient; 0 are expected by
chance.

Modified copies of real slices were tested too. JPEG at quality 20, half the size, a shift by one
pixel or noise give a similarity of at least 0.98. An added arrow or another gray window gives more
than 0.95 in most cases, and a crop by 1 % on each side 0.82 to 0.92. A copy that was cropped by 3 %
or more, rotated or mirrored is **not** found, nor is a different-looking slice of the same patient.
Groups of near-duplicates are therefore a lower bound on the slices that a split must keep together.

References
----------
.. [1] Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, sparse
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import NearestNeighbors

from ..datasets._cache import remembered_of
from ..datasets.ct_dataset import CTDataset
from .file_order import file_order
from .measurements import SliceMeasurements, measure_slices

__all__ = [
    "NEAR",
    "NEAR_NEIGHBORS",
    "SAME",
    "Pairs",
    "candidate_pairs",
    "chunks",
    "find_pairs",
    "fingerprints",
    "group_labels",
    "near_duplicate_groups",
    "similarities",
    "standardize",
]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: Similarity from which two slices are near-duplicates.
NEAR = 0.80
#: Similarity from which two slices are near-duplicates if their files are neighbors.
NEAR_NEIGHBORS = 0.65
#: Similarity from which two files are taken as copies of one slice.
SAME = 0.90

# Largest distance of neighboring files, in the order of their names.
_FILES_APART = 5
# Name and version of the whole rule: to be raised when the same slices would form other groups.
_RULE = "near-duplicate groups 1"
# Frequencies in a fingerprint, in each direction.
_FREQUENCIES = 8
# Largest distance between the fingerprints of candidates. In SARS-CoV-2 CT, 646 of 649 pairs of
# near-duplicates are within it, and 0.3 % of all pairs.
_REACH = 0.30
# Up to this number of slices, comparing all fingerprints is faster than hashing and misses no pair.
_COMPARE_ALL_UP_TO = 4096
_WORDS, _WORD_BITS, _WINDOW = 32, 16, 16
# Pairs or slices that are processed at once, which limits the memory.
_CHUNK = 8192


@dataclass(frozen=True)
class Pairs:
    """Pairs of similar slices.

    Attributes
    ----------
    index : ndarray of int64, shape (n_pairs, 2)
        Positions in the dataset, the lower one first.
    similarity : ndarray of float32, shape (n_pairs,)
        Similarity in [0.65, 1]; 1 for slices with equal pixels.
    identical : ndarray of bool, shape (n_pairs,)
        True if all pixels are equal at full size. Of k equal slices, the k - 1 pairs of the first
        with each other one are listed.
    """

    index: Ints
    similarity: Floats
    identical: npt.NDArray[np.bool_]


def near_duplicate_groups(dataset: CTDataset) -> Ints:
    """Label each slice with its group of near-duplicates.

    Groups are connected components: two slices of a group may be linked by a chain of
    near-duplicates without being similar themselves. A split that keeps these groups together leaks
    less than a random split, and more than a split by patient.

    Parameters
    ----------
    dataset : CTDataset
        Dataset of n_slices slices; each is read once. The groups are kept in covidct's cache
        folder, by the dataset's content.

    Returns
    -------
    ndarray of int64, shape (n_slices,)
        Group of each slice, numbered from 0 in the order of first appearance. A slice without
        near-duplicates forms its own group.

    Raises
    ------
    InvalidFileError
        If a slice cannot be read.

    Examples
    --------
    >>> import covidct
    >>> from covidct.audit.duplicates import near_duplicate_groups
    >>> slices = covidct.load_dataset("phantom", n=4, seed=0, slices_per_patient=1)
    >>> near_duplicate_groups(slices.subset([0, 1, 2, 0, 3])).tolist()
    [0, 1, 2, 0, 3]
    """

    def compute() -> list[int]:
        measurements = measure_slices(dataset)
        labels: list[int] = group_labels(
            find_pairs(measurements, dataset.names), len(dataset)
        ).tolist()
        return labels

    return np.array(remembered_of(_RULE, dataset.content_hash(), compute), np.int64)


def find_pairs(measurements: SliceMeasurements, names: Sequence[str]) -> Pairs:
    """Find the pairs of identical slices and of near-duplicates.

    Parameters
    ----------
    measurements : SliceMeasurements
        Measurements of n_slices slices.
    names : sequence of str
        File names of the slices.

    Returns
    -------
    Pairs
        Pairs by falling similarity. A slice that equals an earlier one is paired with that one
        only.

    Examples
    --------
    >>> import covidct
    >>> from covidct.audit.duplicates import find_pairs
    >>> from covidct.audit.measurements import measure_slices
    >>> slices = covidct.load_dataset("phantom", n=6, seed=0, slices_per_patient=1)
    >>> repeated = slices.subset([0, 1, 2, 3, 1])
    >>> find_pairs(measure_slices(repeated), repeated.names).index.tolist()
    [[1, 4]]
    """
    _, first, inverse = np.unique(measurements.digests, return_index=True, return_inverse=True)
    equal_to = first[inverse]
    repeats = np.flatnonzero(equal_to != np.arange(len(names)))
    # Identical slices are searched once, since thousands of them may be blank.
    firsts = np.sort(first)

    alike = firsts[candidate_pairs(fingerprints(measurements.canvases[firsts]))]
    adjacent = _neighbors(firsts[file_order([names[i] for i in firsts])])
    candidates = np.unique(np.vstack([alike, adjacent]), axis=0)
    similarity = similarities(measurements.canvases, candidates)
    near = (similarity >= NEAR) | (
        (similarity >= NEAR_NEIGHBORS) & _is_row_of(adjacent, candidates)
    )

    index = np.vstack([np.stack([equal_to[repeats], repeats], axis=1), candidates[near]])
    likeness = np.concatenate([np.ones(len(repeats), np.float32), similarity[near]])
    identical = np.arange(len(index)) < len(repeats)
    order = np.lexsort((index[:, 1], index[:, 0], ~identical, -likeness))
    return Pairs(index[order], likeness[order], identical[order])


def group_labels(pairs: Pairs, n: int) -> Ints:
    """Convert pairs to groups, the connected components of the graph of the pairs.

    Parameters
    ----------
    pairs : Pairs
        Pairs of similar slices.
    n : int
        Number of slices.

    Returns
    -------
    ndarray of int64, shape (n,)
        Group of each slice, numbered from 0 in the order of first appearance.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.duplicates import Pairs, group_labels
    >>> pairs = Pairs(np.array([[0, 2], [2, 3]]), np.ones(2), np.zeros(2, bool))
    >>> group_labels(pairs, 5)
    array([0, 1, 0, 0, 2])
    """
    rows, columns = pairs.index.T
    graph = sparse.coo_array((np.ones(len(rows), np.bool_), (rows, columns)), shape=(n, n))
    labels: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def similarities(canvases: npt.NDArray[np.uint8], pairs: Ints) -> Floats:
    """Compute the correlation of the edges in pairs of canvases.

    Parameters
    ----------
    canvases : ndarray of uint8, shape (n_slices, 64, 64)
        Gray canvases.
    pairs : ndarray of int64, shape (n_pairs, 2)
        Positions of the canvases to compare.

    Returns
    -------
    ndarray of float32, shape (n_pairs,)
        Pearson correlation of the gradient magnitudes, after a Gaussian filter of 1 pixel, in
        [-1, 1]; 0 if a canvas is blank.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.duplicates import similarities
    >>> canvases = np.random.default_rng(0).integers(0, 256, (2, 64, 64), np.uint8)
    >>> similarities(canvases, np.array([[0, 0], [0, 1]])).round().tolist()
    [1.0, 0.0]
    """
    used, positions = np.unique(pairs, return_inverse=True)
    if not used.size:
        return np.empty(0, np.float32)
    edges = np.concatenate([_edges(canvases[used[part]]) for part in chunks(len(used), _CHUNK)])
    left, right = positions.reshape(-1, 2).T
    return np.concatenate(
        [
            np.einsum("ij,ij->i", edges[left[part]], edges[right[part]])
            for part in chunks(len(pairs), _CHUNK)
        ]
    )


def fingerprints(canvases: npt.NDArray[np.uint8]) -> Floats:
    """Compute the lowest 8 x 8 spatial frequencies of canvases, without mean and contrast.

    The common 64-bit perceptual hash keeps one bit of each of these numbers. The numbers
    themselves find the same pairs with a tenth of the candidates.

    Parameters
    ----------
    canvases : ndarray of uint8, shape (n_slices, height, width)
        Gray canvases of at least 8 x 8 pixels.

    Returns
    -------
    ndarray of float32, shape (n_slices, 63)
        Fingerprints of length 1 at most. The distance of two fingerprints never exceeds that of the
        standardized canvases, since the discrete cosine transform is orthonormal.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.duplicates import fingerprints
    >>> canvas = np.random.default_rng(0).integers(0, 100, (1, 64, 64), np.uint8)
    >>> first, brighter = fingerprints(np.concatenate([canvas, canvas + 50]))
    >>> first.shape, bool(np.allclose(first, brighter, atol=1e-6))
    ((63,), True)
    """
    low = [
        fft.dctn(standardize(canvases[part]), axes=(1, 2), norm="ortho")[
            :, :_FREQUENCIES, :_FREQUENCIES
        ]
        for part in chunks(len(canvases), _CHUNK)
    ]
    return np.concatenate(low).reshape(len(canvases), -1)[:, 1:]


def candidate_pairs(prints: Floats) -> Ints:
    """Find the pairs of slices whose fingerprints are at most 0.30 apart.

    Up to 4,096 slices, all pairs are compared. Above, hashing finds more than 99 % of the pairs at
    a distance of 0.15, which is typical of neighboring slices, and about 90 % at 0.25; see
    `covidct.audit.duplicates` for the method.

    Parameters
    ----------
    prints : ndarray of float32, shape (n_slices, n_features)
        Fingerprints of the slices.

    Returns
    -------
    ndarray of int64, shape (n_pairs, 2)
        Positions of each pair, the lower one first, in ascending order.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.duplicates import candidate_pairs
    >>> candidate_pairs(np.float32([[0.0, 0.9], [0.8, 0.0], [0.1, 0.9]])).tolist()
    [[0, 2]]
    """
    if len(prints) <= _COMPARE_ALL_UP_TO:
        search = NearestNeighbors(radius=_REACH, algorithm="brute").fit(prints)
        graph = search.radius_neighbors_graph()
        left, right = sparse.triu(graph, k=1).nonzero()
        order = np.lexsort((right, left))
        return np.stack([left, right], axis=1)[order].astype(np.int64)
    return _hashed_pairs(prints)


def standardize(images: npt.NDArray[Any]) -> Floats:
    """Remove brightness and contrast, so that the sum of a product is the Pearson correlation.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width)
        Gray images.

    Returns
    -------
    ndarray of float32, shape (n_images, height, width)
        Images with mean 0 and Euclidean length 1; blank images are all 0.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.duplicates import standardize
    >>> first, second, blank = standardize(np.array([[[0, 100]], [[50, 70]], [[9, 9]]]))
    >>> bool(np.allclose(first, second)), blank.tolist()
    (True, [[0.0, 0.0]])
    """
    values = images.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt(np.einsum("ijk,ijk->i", values, values))[:, None, None]
    # Rounding leaves a blank image with a length of a few thousandths.
    values *= np.divide(1, length, out=np.zeros_like(length), where=length > 1)
    return values


def chunks(n: int, size: int) -> Iterator[slice]:
    """Split ``range(n)`` into consecutive Python slices, to limit the memory of a computation.

    Parameters
    ----------
    n : int
        Number of items.
    size : int
        Largest number of items in a slice.

    Returns
    -------
    iterator of slice

    Examples
    --------
    >>> from covidct.audit.duplicates import chunks
    >>> list(chunks(5, 3))
    [slice(0, 3, None), slice(3, 5, None)]
    """
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _hashed_pairs(prints: Floats) -> Ints:
    empty = np.empty(0, np.int64)
    # Pairs are encoded as single numbers, so that np.unique drops those found by several words.
    keys = np.unique(np.concatenate([empty, *_pairs_by_words(prints)]))
    return np.stack(np.divmod(keys, len(prints)), axis=1)


def _pairs_by_words(prints: Floats) -> Iterator[Ints]:
    n = len(prints)
    words = list(_words(prints))
    for word, following in zip(words, words[1:] + words[:1], strict=True):
        # Sort equal words together, and among them slices that also agree in the next word.
        order = np.lexsort((following, word))
        ranked = word[order]
        for step in range(1, _WINDOW + 1):
            agree = np.flatnonzero(ranked[step:] == ranked[:-step])
            for part in chunks(len(agree), _CHUNK):
                left, right = order[agree[part]], order[agree[part] + step]
                difference = prints[left] - prints[right]
                near = np.einsum("ij,ij->i", difference, difference) <= _REACH**2
                low, high = np.minimum(left, right)[near], np.maximum(left, right)[near]
                yield low * n + high


def _words(prints: Floats) -> Iterator[npt.NDArray[np.uint16]]:
    rng = np.random.default_rng(0)
    places = (1 << np.arange(_WORD_BITS)).astype(np.uint16)
    for _ in range(_WORDS):
        normals = rng.standard_normal((prints.shape[1], _WORD_BITS), dtype=np.float32)
        side = prints @ normals
        # The median splits the slices in half, which maximizes the information of a bit.
        yield (side > np.median(side, axis=0)) @ places


def _neighbors(order: Ints) -> Ints:
    """Pair each position in `order` with the next few, the lower position first."""
    pairs = [
        np.stack([order[:-step], order[step:]], axis=1)
        for step in range(1, min(_FILES_APART, len(order) - 1) + 1)
    ]
    return np.sort(np.concatenate([np.empty((0, 2), np.int64), *pairs]), axis=1)


def _is_row_of(rows: Ints, candidates: Ints) -> npt.NDArray[np.bool_]:
    """Return a mask of the candidates (n, 2) that occur in `rows`."""
    base = candidates.max(initial=0) + 1
    found: npt.NDArray[np.bool_] = np.isin(candidates @ [base, 1], rows @ [base, 1])
    return found


def _edges(canvases: npt.NDArray[np.uint8]) -> Floats:
    smooth = ndimage.gaussian_filter(canvases.astype(np.float32), (0, 1, 1))
    down, across = np.gradient(smooth, axis=(1, 2))
    return standardize(np.hypot(down, across)).reshape(len(canvases), -1)
