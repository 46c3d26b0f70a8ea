"""Natural order of file names, in which slices of one scan are usually consecutive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..datasets._listing import natural_key

__all__ = ["file_blocks", "file_order"]

Ints = npt.NDArray[np.int64]


def file_order(names: Sequence[str]) -> Ints:
    """Return the positions that sort names in natural order, with 9 before 10.

    Parameters
    ----------
    names : sequence of str
        File names.

    Returns
    -------
    ndarray of int64 of shape (n_names,)
        Positions of the sorted names.

    Examples
    --------
    >>> from covidct.audit.file_order import file_order
    >>> file_order(["Covid (10).png", "Covid (9).png", "Covid (1).png"]).tolist()
    [2, 1, 0]
    """
    return np.array(sorted(range(len(names)), key=lambda i: natural_key(names[i])), dtype=np.int64)


def file_blocks(names: Sequence[str], targets: Ints, *, length: int) -> Ints:
    """Label blocks of neighboring files of one class.

    Parameters
    ----------
    names : sequence of str
        File names.
    targets : ndarray of int64 of shape (n_names,)
        Class of each file, 0 or 1.
    length : int
        Number of files in a block.

    Returns
    -------
    ndarray of int64 of shape (n_names,)
        Block of each file; the labels of different blocks differ.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.audit.file_order import file_blocks
    >>> file_blocks(["a9", "a10", "a1", "b"], np.array([0, 0, 0, 1]), length=2).tolist()
    [0, 2, 0, 1]
    """
    order = file_order(names)
    labels = np.empty(len(names), np.int64)
    for target in (0, 1):
        of_class = order[targets[order] == target]
        labels[of_class] = 2 * (np.arange(len(of_class)) // length) + target
    return labels
