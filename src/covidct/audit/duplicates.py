"""Slices that are the same, or nearly.

A pair of *near-duplicates* is found in two steps.

1. *Which could be.* Slices with near fingerprints (``covidct.audit.duplicates``: the lowest
   spatial frequencies), and slices whose files lie at most five apart in the order of names.
2. *Which are.* The correlation of the edges in the two canvases: of their gradient magnitudes.
   Body outlines make all chest CTs alike in gray, but edges coincide in one patient only. From 0.80
   on any two slices are near-duplicates, and from 0.65 on where their files are neighbors.

What the thresholds rest on, measured on the two public sets, whatever the names:

==========  ==========================================  =====================================
similarity  SARS-CoV-2 CT (2,481 slices)                COVID19-CT (746 slices)
==========  ==========================================  =====================================
0.65        5,011 pairs, 908 across classes; chains to  113 pairs; largest group 8
            one group of 1,318
0.78        850 pairs, 6 across classes (different      44 pairs; largest group 3
            patients by eye); largest group 34
**0.80**    649 pairs, none across classes; 291         41 pairs, 2 across classes, both truly
            groups with 844 slices, largest group 26    one slice; largest group 3
**0.90**    104 pairs, 83 groups, largest 4             14 pairs; largest group 3
==========  ==========================================  =====================================

Among neighbors by name, 2,195 pairs of SARS-CoV-2 CT reach 0.65, where files 200 apart let expect
20 by chance. In COVID19-CT 105 do, 98 of them of one patient; chance would give none.

Copies of real slices, changed: JPEG at quality 20, halved in size, shifted by one pixel or with
noise correlate at least 0.98; with an arrow or another gray window mostly above 0.95; cut by 1 % on
each side 0.82 to 0.92. One cut by 3 % or more, turned or mirrored is **not** found, nor is another
slice of the same patient that looks different. Groups of near-duplicates are therefore a lower
bound on what belongs together.
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

from ..datasets.ct_dataset import CTDataset
from .file_order import file_order
from .measurements import SliceMeasurements, measure_slices

__all__ = [
    "NEAR",
    "NEAR_NEIGHBORS",
    "SAME",
    "Pairs",
    "blocks",
    "candidate_pairs",
    "find_pairs",
    "fingerprints",
    "group_labels",
    "near_duplicate_groups",
    "similarities",
    "standardized",
]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: From this similarity on two slices are near-duplicates.
NEAR = 0.80
#: From this one on they are where their files are neighbors.
NEAR_NEIGHBORS = 0.65
#: From this similarity on they are taken for one slice, saved twice.
SAME = 0.90

# How far apart files may lie, in the order of their names, to be neighbors.
_FILES_APART = 5
_FREQUENCIES = 8
# How far apart the fingerprints of a pair may be. Of 649 pairs of near-duplicates in SARS-CoV-2 CT
# 646 lie within it, and so do 0.3 % of all pairs.
_REACH = 0.30
# Up to here comparing all fingerprints takes less time than hashing them, and misses nothing.
_COMPARE_ALL_UP_TO = 4096
_WORDS, _WORD_BITS, _WINDOW = 32, 16, 16
# Rows of pairs or slices worked on at once: bounds the memory.
_BLOCK = 8192


@dataclass(frozen=True)
class Pairs:
    """Pairs of slices that resemble each other.

    Attributes
    ----------
    index : ndarray of int64, shape (P, 2)
        Positions in the dataset, the lower first.
    similarity : ndarray of float32, shape (P,)
        In [0.65, 1]; 1 for slices whose pixels are equal.
    identical : ndarray of bool, shape (P,)
        Whether all pixels are equal, at full size. Of K equal slices, K - 1 pairs are listed: the
        first with each other one.
    """

    index: Ints
    similarity: Floats
    identical: npt.NDArray[np.bool_]


def near_duplicate_groups(dataset: CTDataset) -> Ints:
    """Label each slice with the group of near-duplicates that it belongs to.

    What resembles a member of a group belongs to it, even where it does not resemble the others.
    A split that keeps groups whole leaks less than a random one, and more than one by patient.

    Parameters
    ----------
    dataset
        The slices; each is read once.

    Returns
    -------
    ndarray of int64, shape (N,)
        From 0 on, in the order in which groups first appear. Most slices of most datasets are
        alone in theirs.

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
    measurements = measure_slices(dataset)
    return group_labels(find_pairs(measurements, dataset.names), len(dataset))


def find_pairs(measurements: SliceMeasurements, names: Sequence[str]) -> Pairs:
    """Find the pairs of identical slices and of near-duplicates.

    Parameters
    ----------
    measurements
        Of N slices.
    names
        (N,) names of their files.

    Returns
    -------
    Pairs
        The most similar first. A slice that equals an earlier one is paired with that one only.

    Examples
    --------
    >>> import covidct
    >>> from covidct.audit.duplicates import find_pairs
    >>> from covidct.audit.measurements import measure_slices
    >>> slices = covidct.load_dataset("phantom", n=6, seed=0, slices_per_patient=1)
    >>> twice = slices.subset([0, 1, 2, 3, 1])
    >>> find_pairs(measure_slices(twice), twice.names).index.tolist()
    [[1, 4]]
    """
    _, first, inverse = np.unique(measurements.digests, return_index=True, return_inverse=True)
    equal_to = first[inverse]
    repeats = np.flatnonzero(equal_to != np.arange(len(names)))
    firsts = np.sort(first)  # Identical slices are searched once: thousands may be blank.

    alike = firsts[candidate_pairs(fingerprints(measurements.canvases[firsts]))]
    beside = _neighbors(firsts[file_order([names[i] for i in firsts])])
    searched = np.unique(np.vstack([alike, beside]), axis=0)
    similarity = similarities(measurements.canvases, searched)
    near = (similarity >= NEAR) | ((similarity >= NEAR_NEIGHBORS) & _rows_in(searched, beside))

    index = np.vstack([np.stack([equal_to[repeats], repeats], axis=1), searched[near]])
    likeness = np.concatenate([np.ones(len(repeats), np.float32), similarity[near]])
    identical = np.arange(len(index)) < len(repeats)
    order = np.lexsort((index[:, 1], index[:, 0], ~identical, -likeness))
    return Pairs(index[order], likeness[order], identical[order])


def group_labels(pairs: Pairs, n: int) -> Ints:
    """Turn pairs into groups: the connected components of the graph that they span.

    Parameters
    ----------
    pairs
        The pairs.
    n
        The number of slices.

    Returns
    -------
    ndarray of int64, shape (n,)
        From 0 on, in the order in which groups first appear.

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
    """Correlate the edges of pairs of canvases.

    Parameters
    ----------
    canvases
        (N, 64, 64).
    pairs
        (P, 2) positions.

    Returns
    -------
    ndarray of float32, shape (P,)
        Pearson's correlation of the gradient magnitudes (after a Gaussian of 1 pixel), in
        [-1, 1]; 0 where a canvas is blank.

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
    edges = np.concatenate([_edges(canvases[used[part]]) for part in blocks(len(used), _BLOCK)])
    left, right = positions.reshape(-1, 2).T
    return np.concatenate(
        [
            np.einsum("ij,ij->i", edges[left[part]], edges[right[part]])
            for part in blocks(len(pairs), _BLOCK)
        ]
    )


def _neighbors(order: Ints) -> Ints:
    """Pair each position in ``order`` with the next few, the lower first."""
    pairs = [
        np.stack([order[:-step], order[step:]], axis=1)
        for step in range(1, min(_FILES_APART, len(order) - 1) + 1)
    ]
    return np.sort(np.concatenate([np.empty((0, 2), np.int64), *pairs]), axis=1)


def _rows_in(rows: Ints, wanted: Ints) -> npt.NDArray[np.bool_]:
    """Tell which rows (P, 2) are among those wanted."""
    base = rows.max(initial=0) + 1
    found: npt.NDArray[np.bool_] = np.isin(rows @ [base, 1], wanted @ [base, 1])
    return found


def _edges(canvases: npt.NDArray[np.uint8]) -> Floats:
    smooth = ndimage.gaussian_filter(canvases.astype(np.float32), (0, 1, 1))
    down, across = np.gradient(smooth, axis=(1, 2))
    return standardized(np.hypot(down, across)).reshape(len(canvases), -1)


def fingerprints(canvases: npt.NDArray[np.uint8]) -> Floats:
    """Return the lowest 8 x 8 spatial frequencies of each canvas, its mean and contrast removed.

    That is what the common 64-bit perceptual hash reduces to one bit each. Kept whole they find
    the same pairs with a tenth of the candidates.

    Parameters
    ----------
    canvases
        (N, H, W), at least 8 pixels each way.

    Returns
    -------
    ndarray of float32, shape (N, 63)
        Of length 1 at most. The discrete cosine transform is orthonormal, so the distance of two
        fingerprints never exceeds that of the standardized canvases.
    """
    low = [
        fft.dctn(standardized(canvases[part]), axes=(1, 2), norm="ortho")[
            :, :_FREQUENCIES, :_FREQUENCIES
        ]
        for part in blocks(len(canvases), _BLOCK)
    ]
    return np.concatenate(low).reshape(len(canvases), -1)[:, 1:]


def candidate_pairs(prints: Floats) -> Ints:
    """Find the pairs of slices whose fingerprints are near each other.

    Up to 4,096 slices all pairs are compared. Beyond, each fingerprint is hashed to 32 words of 16
    bits, each bit the side of a random hyperplane on which it lies [1]_, and slices meet only
    where they share a word; each meets at most 16 others per word, so that time grows as N log N,
    whatever the data. Of pairs at the distance that neighboring slices typically have (0.15) more
    than 99 % are found so, of pairs at 0.25 about 90 %.

    Parameters
    ----------
    prints
        (N, F), the fingerprints.

    Returns
    -------
    ndarray of int64, shape (P, 2)
        Each pair once, the lower position first, in ascending order.

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


def _hashed_pairs(prints: Floats) -> Ints:
    none = np.empty(0, np.int64)
    # A pair found twice is one number twice.
    keys = np.unique(np.concatenate([none, *_pairs_by_words(prints)]))
    return np.stack(np.divmod(keys, len(prints)), axis=1)


def _pairs_by_words(prints: Floats) -> Iterator[Ints]:
    n = len(prints)
    words = list(_words(prints))
    for word, following in zip(words, words[1:] + words[:1], strict=True):
        # Equal words come to stand together, and among them those whose next word agrees too.
        order = np.lexsort((following, word))
        ranked = word[order]
        for step in range(1, _WINDOW + 1):
            agree = np.flatnonzero(ranked[step:] == ranked[:-step])
            for part in blocks(len(agree), _BLOCK):
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
        # Halving the slices at the median makes every bit tell as much as one can.
        yield (side > np.median(side, axis=0)) @ places


def standardized(images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Take brightness and contrast out of images: the sum of a product is then the correlation.

    Parameters
    ----------
    images
        (N, H, W).

    Returns
    -------
    ndarray of float32, shape (N, H, W)
        Each image has mean 0 and length 1; blank ones are 0 throughout.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.duplicates import standardized
    >>> first, second, blank = standardized(np.array([[[0, 100]], [[50, 70]], [[9, 9]]]))
    >>> bool(np.allclose(first, second)), blank.tolist()
    (True, [[0.0, 0.0]])
    """
    values = images.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt(np.einsum("ijk,ijk->i", values, values))[:, None, None]
    # Rounding leaves a blank image with a length of a few thousandths.
    values *= np.divide(1, length, out=np.zeros_like(length), where=length > 1)
    return values


def blocks(n: int, size: int) -> Iterator[slice]:
    """Cut ``range(n)`` into slices of at most ``size``: what bounds the memory."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
