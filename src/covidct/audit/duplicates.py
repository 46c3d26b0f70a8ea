"""Slices that are the same, or nearly.

A pair of *near-duplicates* is found in two steps.

1. *Which could be.* Slices with near fingerprints (``covidct.audit.candidates``: the lowest
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

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..datasets.ct_dataset import CTDataset
from .candidates import candidate_pairs, fingerprints
from .facts import SliceFacts, gather_facts
from .file_order import file_order
from .pixels import blocks, standardized

__all__ = [
    "NEAR",
    "NEAR_NEIGHBORS",
    "SAME",
    "Pairs",
    "find_pairs",
    "group_labels",
    "near_duplicate_groups",
    "similarities",
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
    facts = gather_facts(dataset)
    return group_labels(find_pairs(facts, dataset.names), len(dataset))


def find_pairs(facts: SliceFacts, names: Sequence[str]) -> Pairs:
    """Find the pairs of identical slices and of near-duplicates.

    Parameters
    ----------
    facts
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
    >>> from covidct.audit.facts import gather_facts
    >>> slices = covidct.load_dataset("phantom", n=6, seed=0, slices_per_patient=1)
    >>> twice = slices.subset([0, 1, 2, 3, 1])
    >>> find_pairs(gather_facts(twice), twice.names).index.tolist()
    [[1, 4]]
    """
    _, first, inverse = np.unique(facts.digests, return_index=True, return_inverse=True)
    equal_to = first[inverse]
    repeats = np.flatnonzero(equal_to != np.arange(len(names)))
    firsts = np.sort(first)  # Identical slices are searched once: thousands may be blank.

    alike = firsts[candidate_pairs(fingerprints(facts.canvases[firsts]))]
    beside = _neighbors(firsts[file_order([names[i] for i in firsts])])
    searched = np.unique(np.vstack([alike, beside]), axis=0)
    similarity = similarities(facts.canvases, searched)
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
    graph = coo_array((np.ones(len(rows), np.bool_), (rows, columns)), shape=(n, n))
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
