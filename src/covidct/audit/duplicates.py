"""Identical slices and near-duplicates.

The search for near-duplicates has three steps, since the time to compare every slice with every
other one would grow with the square of their number.

1. *Candidates.* Each slice is reduced to a fingerprint: the lowest 8 x 8 spatial frequencies of its
   64 x 64 canvas, without mean and contrast. The discrete cosine transform is orthonormal, so two
   slices whose fingerprints are far apart differ at least as much in their pixels. Candidates are
   slices with near fingerprints, and slices whose files are at most five apart in the order of
   their names. Up to 4,096 slices, all fingerprints are compared. Larger datasets use
   locality-sensitive hashing with random hyperplanes [1]_: a fingerprint becomes 32 words of 16
   bits, where a bit is the side of a hyperplane on which the fingerprint lies. Near fingerprints
   share at least one word with high probability, so only slices with equal words are compared.
   Within equal words, the slices are sorted by the next word, and each is compared with the
   following 16 only. The 32 nearest candidates of each slice are kept. The time therefore grows as
   N log N, even if all slices are similar.
2. *Verification.* The similarity of two candidates is the correlation of the gradient magnitudes of
   their canvases. Gray levels are not suitable, since all chest CTs are similar in them due to the
   outline of the body. Edges coincide only in slices of one patient. Two slices are near-duplicates
   from a similarity of 0.80, or from 0.65 if their files are neighbors.

These thresholds were measured on the two public datasets, without use of the file names:

==========  ===========================================  =====================================
similarity  SARS-CoV-2 CT (2,481 slices)                 COVID19-CT (746 slices)
==========  ===========================================  =====================================
0.65        5,011 pairs, 908 across classes; chains to   113 pairs; largest group 8
            one group of 1,318
0.78        850 pairs, 6 across classes (different       44 pairs; largest group 3
            patients by eye); largest group 34
**0.80**    649 pairs, 0 across classes; 291 groups      41 pairs, 2 across classes, both really
            with 844 slices, largest group 26            the same slice; largest group 3
**0.90**    104 pairs, 83 groups, largest 4              14 pairs; largest group 3
==========  ===========================================  =====================================

Among neighbors by name, 2,195 pairs of SARS-CoV-2 CT reach 0.65; the rate among files 200 apart
predicts 20 by chance. In COVID19-CT, 105 pairs do, 98 of them of one patient; 0 are expected by
chance.

3. *Changed copies.* The search is repeated on canvases without uniform margins (air around the body
   counts as a margin), also for mirrored and inverted slices, whose fingerprints are those of the
   original with other signs. The four nearest candidates of each slice are compared again after an
   affine alignment (`covidct.audit.alignment`), with a threshold of 0.92.

The alignment adds 1,300 pairs to SARS-CoV-2 CT, 0 of them across classes (2 at a threshold of 0.90,
66 at 0.85), and 0 pairs of different patients to COVID19-CT. In neither set are two different
slices near-duplicates by mirroring or inversion.

Share of changed copies of 200 slices each that are found, without and with this third step:

============================  =============  =============  =============
change                        SARS-CoV-2 CT  COVID19-CT     phantoms
============================  =============  =============  =============
2 % cropped on each side      0.10 → 1.00    0.04 → 0.98    0.00 → 0.97
black margin                  0.00 → 1.00    0.00 → 1.00    0.00 → 1.00
shifted by 4 pixels, x and y  0.48 → 1.00    0.50 → 0.89    0.02 → 0.96
rotated by 3 degrees          0.02 → 0.78    0.57 → 0.92    0.94 → 1.00
mirrored                      0.00 → 1.00    0.00 → 1.00    0.02 → 1.00
mirrored and cropped          0.00 → 1.00    0.00 → 0.96    0.00 → 0.97
inverted                      0.00 → 1.00    0.00 → 1.00    0.00 → 1.00
JPEG at quality 50            1.00 → 1.00    1.00 → 1.00    1.00 → 1.00
half the size                 1.00 → 1.00    1.00 → 1.00    1.00 → 1.00
============================  =============  =============  =============

A shift by one pixel of the file lowers the similarity without alignment to 0.98 in the median and
0.90 at worst. The search does **not** find copies that are cropped by more than about 5 % on one
side, rotated by more than about 5 degrees, by 90 or by 180 degrees, or have a large overlay, or a
margin of more than a few percent with letters that prevent its removal. It does not find slices of
the same patient that look different, either. Groups of near-duplicates are therefore a lower bound
on the slices that a split must keep together.

References
----------
.. [1] Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, sparse
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import NearestNeighbors
from tqdm import tqdm

from ..datasets._cache import remembered_arrays
from ..datasets.canvases import canvas_folder
from ..datasets.ct_dataset import CTDataset
from .alignment import aligned_similarities, chunks, edge_strengths, standardize
from .file_order import file_order
from .measurements import CANVAS, SliceMeasurements, measure_slices

__all__ = [
    "CHANGES",
    "NEAR",
    "NEAR_ALIGNED",
    "NEAR_NEIGHBORS",
    "SAME",
    "SAME_ALIGNED",
    "Pairs",
    "candidate_pairs",
    "changed_candidates",
    "equal_pixel_groups",
    "find_pairs",
    "fingerprints",
    "group_labels",
    "near_duplicate_groups",
    "near_duplicate_pairs",
    "similarities",
]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Canvases = npt.NDArray[np.uint8]

#: Similarity from which two slices are near-duplicates.
NEAR = 0.80
#: Similarity from which two slices are near-duplicates if their files are neighbors.
NEAR_NEIGHBORS = 0.65
#: Similarity from which two slices are near-duplicates after an alignment.
NEAR_ALIGNED = 0.92
#: Similarity from which two files are considered copies of one slice.
SAME = 0.90
#: Similarity from which two files are considered copies of one slice after an alignment.
SAME_ALIGNED = 0.96
#: Changes of one slice of a pair: mirrored left to right, inverted, and both.
CHANGES = ("", "mirrored", "inverted", "mirrored and inverted")

# Largest distance of neighboring files, in the order of their names.
_FILES_APART = 5
# Name and version of the whole rule, to be raised if the same slices give different pairs.
_RULE = "near-duplicate pairs 3"
# Frequencies in a fingerprint, in each direction.
_FREQUENCIES = 8
# Largest distance between the fingerprints of candidates. In SARS-CoV-2 CT, 646 of 649 pairs of
# near-duplicates are within this distance, and 0.3 % of all pairs.
_REACH = 0.30
# Up to this number of slices, comparing all fingerprints is faster than hashing and misses no pair.
_COMPARE_ALL_UP_TO = 4096
_WORDS, _WORD_BITS, _WINDOW = 32, 16, 16
# Number of words for changed slices: smaller, since there are four of each slice and copies are
# near.
_WORDS_OF_CHANGED = 8
# Largest number of candidates of a slice that are aligned, the nearest ones.
_ALIGNED = 4
# Number of pairs of fingerprints, and of canvases, processed at once, which limits the memory.
_CHUNK, _BLOCK = 8192, 1024
# Size of all edges, in bytes, above which they are stored in a file.
_MOST_IN_MEMORY = 256_000_000
# Number of pairs per slice that hashing keeps, the nearest ones; and number of collected pairs per
# slice from which these are selected.
_MOST_CANDIDATES, _COLLECTED = 32, 96


@dataclass(frozen=True)
class Pairs:
    """Pairs of similar slices.

    Attributes
    ----------
    index : ndarray of int64 of shape (n_pairs, 2)
        Positions in the dataset, the lower one first.
    similarity : ndarray of float32 of shape (n_pairs,)
        Similarity in [0.65, 1]; 1 for slices with equal pixels.
    identical : ndarray of bool of shape (n_pairs,)
        True if all pixels are equal at full size. Of k equal slices, the k - 1 pairs of the first
        with each other one are listed.
    change : ndarray of int64 of shape (n_pairs,)
        Change of one slice of the pair, as a position in `CHANGES`.
    aligned : ndarray of bool of shape (n_pairs,)
        True if the similarity was reached after an alignment.
    """

    index: Ints
    similarity: Floats
    identical: npt.NDArray[np.bool_]
    change: Ints
    aligned: npt.NDArray[np.bool_]

    @property
    def same(self) -> npt.NDArray[np.bool_]:
        """True if the two files are considered copies of one slice, shape (n_pairs,)."""
        copies: npt.NDArray[np.bool_] = self.similarity >= np.where(
            self.aligned, SAME_ALIGNED, SAME
        )
        return copies


def near_duplicate_groups(dataset: CTDataset) -> Ints:
    """Label each slice with its group of near-duplicates.

    Groups are connected components: two slices of a group may be linked by a chain of
    near-duplicates without being similar themselves. A split that keeps these groups together leaks
    less than a random split, and more than a split by patient.

    Parameters
    ----------
    dataset : CTDataset
        Dataset of n_slices slices; each is read once. The pairs are cached by the dataset's
        content.

    Returns
    -------
    ndarray of int64 of shape (n_slices,)
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
    return group_labels(near_duplicate_pairs(dataset), len(dataset))


def near_duplicate_pairs(dataset: CTDataset) -> Pairs:
    """Find the pairs of near-duplicates of a dataset; they are cached by its content.

    Parameters
    ----------
    dataset : CTDataset
        Dataset of n_slices slices.

    Returns
    -------
    Pairs
        Pairs, as returned by :func:`find_pairs`.

    Raises
    ------
    InvalidFileError
        If a slice cannot be read.

    Examples
    --------
    >>> import covidct
    >>> from covidct.audit.duplicates import near_duplicate_pairs
    >>> slices = covidct.load_dataset("phantom", n=4, seed=0, slices_per_patient=1)
    >>> near_duplicate_pairs(slices.subset([0, 1, 0])).index.tolist()
    [[0, 2]]
    """

    def compute() -> dict[str, npt.NDArray[Any]]:
        pairs = find_pairs(measure_slices(dataset), dataset.names)
        return {field.name: getattr(pairs, field.name) for field in fields(pairs)}

    return Pairs(**remembered_arrays(_RULE, dataset.content_hash(), compute))


def equal_pixel_groups(dataset: CTDataset) -> Ints:
    """Label each slice with its group of slices whose gray pixels are equal at full size.

    Parameters
    ----------
    dataset : CTDataset
        Dataset of n_slices slices; its measurements are cached by the dataset's content.

    Returns
    -------
    ndarray of int64 of shape (n_slices,)
        Group of each slice.

    Raises
    ------
    InvalidFileError
        If a slice cannot be read.

    Examples
    --------
    >>> import covidct
    >>> from covidct.audit.duplicates import equal_pixel_groups
    >>> slices = covidct.load_dataset("phantom", n=4, seed=0)
    >>> groups = equal_pixel_groups(slices.subset([0, 1, 0]))
    >>> bool(groups[0] == groups[2]), bool(groups[0] == groups[1])
    (True, False)
    """
    codes: Ints = np.unique(measure_slices(dataset).digests, return_inverse=True)[1]
    return codes.astype(np.int64)


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
        Pairs by decreasing similarity. A slice that equals an earlier one is paired with that one
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

    # Positions are used instead of copies of canvases, which may be mapped from a large file.
    plain = candidate_pairs(fingerprints(measurements.canvases)[firsts])
    adjacent = _neighbors(file_order([names[i] for i in firsts]))
    plain, adjacent = firsts[_merged(plain, adjacent)], firsts[adjacent]
    similarity = similarities(measurements.canvases, plain)
    near = (similarity >= NEAR) | ((similarity >= NEAR_NEIGHBORS) & _is_row_of(adjacent, plain))
    zeros = np.zeros(int(near.sum()), np.int64)
    found = [(plain[near], similarity[near], zeros, zeros > 0)]
    found += _changed_pairs(measurements.trimmed, firsts, plain)

    index, likeness, change, aligned = map(np.concatenate, zip(*found, strict=True))
    # A pair may be found in several ways; the one with the highest similarity is kept.
    order = np.lexsort((aligned, change, -likeness))
    _, best = np.unique(index[order] @ [len(names), 1], return_index=True)
    best = order[best]
    n_equal, n_near = len(repeats), len(best)
    index = np.vstack([np.stack([equal_to[repeats], repeats], axis=1), index[best]])
    likeness = np.concatenate([np.ones(n_equal, np.float32), likeness[best]])
    change = np.concatenate([np.zeros(n_equal, np.int64), change[best]])
    aligned = np.concatenate([np.zeros(n_equal, np.bool_), aligned[best]])
    identical = np.arange(n_equal + n_near) < n_equal
    order = np.lexsort((index[:, 1], index[:, 0], ~identical, -likeness))
    return Pairs(index[order], likeness[order], identical[order], change[order], aligned[order])


_Found = tuple[Ints, Floats, Ints, npt.NDArray[np.bool_]]


def _changed_pairs(canvases: Canvases, firsts: Ints, plain: Ints) -> Iterator[_Found]:
    """Yield pairs of trimmed canvases that are near-duplicates if one is changed or moved."""
    prints = fingerprints(canvases)
    candidates = changed_candidates(prints[firsts])
    candidates[:, :2] = firsts[candidates[:, :2]]
    edges: _Edges | None = None
    for change, name in enumerate(CHANGES):
        pairs = candidates[candidates[:, 2] == change, :2]
        if not name:
            pairs = _merged(pairs, plain)
        if not len(pairs):
            continue
        edges = edges or _Edges(canvases)
        similarity = edges.similarities(pairs, change)
        # Mirrored copies are nearly equal, while a body is similar to the mirror image of another.
        near = similarity >= (SAME if change else NEAR)
        yield _found(pairs[near], similarity[near], change, aligned=False)
        pairs = pairs[similarity < SAME]
        distance = _distances(prints, prints * _signs(change), pairs)
        close = distance <= _REACH
        pairs = pairs[close][_nearest(pairs[close], distance[close], len(canvases), _ALIGNED)]
        similarity = aligned_similarities(
            canvases, canvases, pairs, change=partial(_change, change=change)
        )
        near = similarity >= NEAR_ALIGNED
        yield _found(pairs[near], similarity[near], change, aligned=True)


def _found(pairs: Ints, similarity: Floats, change: int, *, aligned: bool) -> _Found:
    return pairs, similarity, np.full(len(pairs), change), np.full(len(pairs), aligned)


def _change(canvases: Canvases, change: int) -> Canvases:
    if change & 1:
        canvases = np.ascontiguousarray(canvases[:, :, ::-1])
    return 255 - canvases if change & 2 else canvases


def _signs(change: int) -> Floats:
    """Return the factors that convert a fingerprint into that of the changed slice."""
    odd = np.tile(np.arange(_FREQUENCIES) % 2, _FREQUENCIES)[1:]
    mirror = 1 - 2 * odd if change & 1 else np.ones(len(odd))
    return (-mirror if change & 2 else mirror).astype(np.float32)


def _distances(left: Floats, right: Floats, pairs: Ints) -> Floats:
    distances = np.empty(len(pairs), np.float32)
    for part in chunks(len(pairs), _CHUNK):
        difference = left[pairs[part, 0]] - right[pairs[part, 1]]
        distances[part] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return distances


def _nearest(pairs: Ints, distance: Floats, n: int, most: int) -> npt.NDArray[np.bool_]:
    """Return a mask of the pairs that are among the nearest ones of one of their slices."""
    chosen = np.zeros(len(pairs), np.bool_)
    for column in pairs.T:
        order = np.lexsort((distance, column))
        starts = np.searchsorted(column[order], np.arange(n))
        chosen[order] |= np.arange(len(order)) - starts[column[order]] < most
    return chosen


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
    ndarray of int64 of shape (n,)
        Group of each slice, numbered from 0 in the order of first appearance.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.duplicates import Pairs, group_labels
    >>> index, zeros = np.array([[0, 2], [2, 3]]), np.zeros(2, int)
    >>> pairs = Pairs(index, np.ones(2), zeros > 0, zeros, zeros > 0)
    >>> group_labels(pairs, 5)
    array([0, 1, 0, 0, 2])
    """
    rows, columns = pairs.index.T
    graph = sparse.coo_array((np.ones(len(rows), np.bool_), (rows, columns)), shape=(n, n))
    labels: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def similarities(canvases: Canvases, pairs: Ints) -> Floats:
    """Compute the correlation of the edges in pairs of canvases.

    Parameters
    ----------
    canvases : ndarray of uint8 of shape (n_slices, 64, 64)
        Gray canvases.
    pairs : ndarray of int64 of shape (n_pairs, 2)
        Positions of the canvases to compare.

    Returns
    -------
    ndarray of float32 of shape (n_pairs,)
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
    return _Edges(canvases).similarities(pairs) if len(pairs) else np.empty(0, np.float32)


class _Edges:
    """Standardized edges of all canvases, in memory or, above 256 MB, in a temporary file.

    A slice occurs in many pairs, in arbitrary order. Therefore, its edges are computed once and
    looked up for each pair. The file has half precision, which changes correlations by 1e-4 at
    most.
    """

    def __init__(self, canvases: Canvases) -> None:
        n, size = len(canvases), CANVAS**2
        blocks = (
            standardize(edge_strengths(canvases[part])).reshape(-1, size)
            for part in chunks(n, _BLOCK)
        )
        progress = tqdm(blocks, "Edges of slices", -(-n // _BLOCK), disable=None, leave=False)
        if n * size * 4 <= _MOST_IN_MEMORY:
            self._edges = np.concatenate([np.empty((0, size), np.float32), *progress])
            return
        folder = canvas_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            # Written instead of mapped: on a full disk, storing into a map kills the process.
            file.writelines(block.astype(np.float16).data for block in progress)
            file.flush()
            self._edges = np.memmap(file, np.float16, "r", shape=(n, size))

    def similarities(self, pairs: Ints, change: int = 0) -> Floats:
        """Return the correlations, with the second slice of each pair changed by `change`.

        Inverting a slice does not change its edges.
        """
        values = np.empty(len(pairs), np.float32)
        with tqdm(
            total=len(pairs), desc="Comparing slices", unit="pair", disable=None, leave=False
        ) as progress:
            for part in chunks(len(pairs), _BLOCK):
                left, right = (self._edges[k].astype(np.float32) for k in pairs[part].T)
                if change & 1:
                    right = right.reshape(-1, CANVAS, CANVAS)[:, :, ::-1].reshape(len(right), -1)
                values[part] = np.einsum("ij,ij->i", left, right)
                progress.update(len(left))
        return values


def fingerprints(canvases: npt.NDArray[np.uint8]) -> Floats:
    """Compute the lowest 8 x 8 spatial frequencies of canvases, without mean and contrast.

    The common 64-bit perceptual hash keeps one bit of each of these numbers. With the numbers
    themselves, the same pairs are found among a tenth of the candidates.

    Parameters
    ----------
    canvases : ndarray of uint8 of shape (n_slices, height, width)
        Gray canvases of at least 8 x 8 pixels.

    Returns
    -------
    ndarray of float32 of shape (n_slices, 63)
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
        # A copy, since a view would keep all frequencies in memory.
        fft.dctn(standardize(canvases[part]), axes=(1, 2), norm="ortho")[
            :, :_FREQUENCIES, :_FREQUENCIES
        ].copy()
        for part in chunks(len(canvases), _BLOCK)
    ]
    return np.concatenate(low).reshape(len(canvases), -1)[:, 1:]


def candidate_pairs(prints: Floats) -> Ints:
    """Find the pairs of slices whose fingerprints are at most 0.30 apart.

    Up to 4,096 slices, all pairs are compared. Above this number, hashing finds more than 99 % of
    the pairs at a distance of 0.15, which is typical of neighboring slices, and about 90 % at 0.25;
    see `covidct.audit.duplicates` for the method.

    Parameters
    ----------
    prints : ndarray of float32 of shape (n_slices, n_features)
        Fingerprints of the slices.

    Returns
    -------
    ndarray of int64 of shape (n_pairs, 2)
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


def changed_candidates(prints: Floats) -> Ints:
    """Find the pairs of slices whose fingerprints are at most 0.30 apart if one slice is changed.

    The discrete cosine transforms of mirrored and of inverted slices have the same numbers with
    other signs, so that changed slices need not be computed.

    Parameters
    ----------
    prints : ndarray of float32 of shape (n_slices, 63)
        Fingerprints of the slices. Blank slices have no candidates.

    Returns
    -------
    ndarray of int64 of shape (n_pairs, 3)
        Positions of each pair, the lower one first, and the position of the change in `CHANGES`.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.duplicates import changed_candidates, fingerprints
    >>> canvas = np.add.outer(np.arange(64), 2 * np.arange(64))[None].astype(np.uint8)
    >>> changed_candidates(fingerprints(np.concatenate([canvas, canvas[:, :, ::-1]]))).tolist()
    [[0, 1, 1]]
    """
    shown = np.flatnonzero(np.einsum("ij,ij->i", prints, prints) > 1e-6)
    prints = prints[shown]
    n = len(prints)
    variants = [prints * _signs(change) for change in range(len(CHANGES))]
    found = [np.empty((0, 3), np.int64)]
    if n > _COMPARE_ALL_UP_TO:
        left, right = _hashed_pairs(np.concatenate(variants), n, words=_WORDS_OF_CHANGED).T
        # Two changed slices are near if one of the slices and the other one, changed twice, are
        # near.
        change = (left // n) ^ (right // n)
        low, high = np.sort([left % n, right % n], axis=0)
        found.append(np.stack([shown[low], shown[high], change], axis=1)[low < high])
    elif n:
        for change, variant in enumerate(variants):
            search = NearestNeighbors(radius=_REACH, algorithm="brute").fit(variant)
            graph = search.radius_neighbors_graph(prints)
            left, right = sparse.triu(graph, k=1).nonzero()
            kinds = np.full(len(left), change)
            found.append(np.stack([shown[left], shown[right], kinds], axis=1))
    rows = np.concatenate(found)
    return rows[np.lexsort(rows.T[::-1])] if n <= _COMPARE_ALL_UP_TO else np.unique(rows, axis=0)


def _hashed_pairs(prints: Floats, n_first: int | None = None, *, words: int = _WORDS) -> Ints:
    n = len(prints)
    # Pairs are encoded as single numbers, of which np.unique drops those found by several words.
    keys = np.empty(0, np.int64)
    for found in _pairs_by_words(prints, n_first, words):
        keys = np.unique(np.concatenate([keys, found]))
        if len(keys) > _COLLECTED * n:
            keys = _nearest_keys(keys, prints)
    return np.stack(np.divmod(_nearest_keys(keys, prints), n), axis=1)


def _nearest_keys(keys: Ints, prints: Floats) -> Ints:
    """Keep the pairs that are among the nearest of one of their slices."""
    if len(keys) <= _MOST_CANDIDATES:
        return keys
    pairs = np.stack(np.divmod(keys, len(prints)), axis=1)
    distance = _distances(prints, prints, pairs)
    return keys[_nearest(pairs, distance, len(prints), _MOST_CANDIDATES)]


def _pairs_by_words(prints: Floats, n_first: int | None, n_words: int) -> Iterator[Ints]:
    """Yield the encoded near pairs of each word."""
    n = len(prints)
    words = list(_words(prints, n_first, n_words))
    following = words[1:] + words[:1]
    for word, then in tqdm(
        zip(words, following, strict=True),
        "Searching near-duplicates",
        n_words,
        disable=None,
        leave=False,
    ):
        # Sort equal words together, and among them slices that also agree in the next word.
        order = np.lexsort((then, word))
        ranked = word[order]
        found = []
        for step in range(1, _WINDOW + 1):
            agree = np.flatnonzero(ranked[step:] == ranked[:-step])
            for part in chunks(len(agree), _CHUNK):
                left, right = order[agree[part]], order[agree[part] + step]
                difference = prints[left] - prints[right]
                near = np.einsum("ij,ij->i", difference, difference) <= _REACH**2
                low, high = np.minimum(left, right)[near], np.maximum(left, right)[near]
                found.append(low * n + high)
        yield np.concatenate([np.empty(0, np.int64), *found])


def _words(prints: Floats, n_first: int | None, n_words: int) -> Iterator[npt.NDArray[np.uint16]]:
    rng = np.random.default_rng(0)
    places = (1 << np.arange(_WORD_BITS)).astype(np.uint16)
    for _ in range(n_words):
        normals = rng.standard_normal((prints.shape[1], _WORD_BITS), dtype=np.float32)
        side = prints @ normals
        # The median splits the unchanged slices in half, which maximizes the information of a bit.
        yield (side > np.median(side[:n_first], axis=0)) @ places


def _neighbors(order: Ints) -> Ints:
    """Pair each position in `order` with the next few, the lower position first."""
    pairs = [
        np.stack([order[:-step], order[step:]], axis=1)
        for step in range(1, min(_FILES_APART, len(order) - 1) + 1)
    ]
    return np.sort(np.concatenate([np.empty((0, 2), np.int64), *pairs]), axis=1)


def _merged(*pairs: Ints) -> Ints:
    """Return the distinct rows of several arrays (n, 2), in ascending order."""
    rows = np.concatenate(pairs)
    base = rows.max(initial=0) + 1
    return np.stack(np.divmod(np.unique(rows @ [base, 1]), base), axis=1)


def _is_row_of(rows: Ints, candidates: Ints) -> npt.NDArray[np.bool_]:
    """Return a mask of the candidates (n, 2) that occur in `rows`."""
    base = candidates.max(initial=0) + 1
    found: npt.NDArray[np.bool_] = np.isin(candidates @ [base, 1], rows @ [base, 1])
    return found
