"""Whether a new slice looks like those that a network was fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from .._files import atomic_path
from ..errors import InvalidFileError

__all__ = ["Reference", "grey_levels"]

Array = npt.NDArray[np.float64]
_QUANTILE = 0.99
_KINDS = ("features", "grey")


@dataclass(frozen=True)
class Reference:
    """What the slices of a fold look like, and how far from them a slice may lie.

    A slice's distance is the root mean square of its standardised coordinates, with means and
    standard deviations of the training slices: once over the penultimate features, once over the
    grey levels of its canvas. The limit of each is the 99 % quantile over the fold's test slices,
    which the network has not seen either; one slice in a hundred of the same source exceeds it.

    Attributes
    ----------
    mean, sd
        For each kind of coordinates, (D,).
    limit
        For each kind, the largest usual distance.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.runs.novelty import Reference
    >>> rng = np.random.default_rng(0)
    >>> def draw(n, shift=0):
    ...     return {"features": rng.normal(shift, 1, (n, 8)), "grey": rng.normal(0, 1, (n, 3))}
    >>> reference = Reference.fit(draw(200), draw(200))
    >>> reference.unusual(draw(1, shift=9))["features"].tolist()
    [True]
    """

    mean: dict[str, Array]
    sd: dict[str, Array]
    limit: dict[str, float]

    @classmethod
    def fit(cls, train: dict[str, Array], test: dict[str, Array]) -> Self:
        """Describe the training slices by mean and deviation, and set limits on the test slices.

        Parameters
        ----------
        train, test
            For each kind of coordinates, (N, D).

        Returns
        -------
        Reference
            The description.
        """
        mean = {kind: train[kind].mean(axis=0) for kind in _KINDS}
        # A coordinate that never changed would make every slice that changes it infinitely far.
        sd = {kind: train[kind].std(axis=0) + 1e-3 for kind in _KINDS}
        unlimited = cls(mean, sd, dict.fromkeys(_KINDS, np.inf))
        distances = {kind: unlimited.distance(kind, test[kind]) for kind in _KINDS}
        limit = {kind: float(np.quantile(distances[kind], _QUANTILE)) for kind in _KINDS}
        return cls(mean, sd, limit)

    def distance(self, kind: str, coordinates: npt.NDArray[np.floating]) -> Array:
        """Return the (N,) distances of (N, D) coordinates."""
        z = (coordinates - self.mean[kind]) / self.sd[kind]
        return np.asarray(np.sqrt((z**2).mean(axis=1)))

    def unusual(self, slices: dict[str, Array]) -> dict[str, npt.NDArray[np.bool_]]:
        """Say for each kind which of N slices lie beyond the limit."""
        return {kind: self.distance(kind, slices[kind]) > self.limit[kind] for kind in _KINDS}

    def save(self, path: Path) -> None:
        """Write the reference as safetensors."""
        arrays = {
            f"{kind}.{part}": np.asarray(getattr(self, part)[kind], dtype=np.float64)
            for kind in _KINDS
            for part in ("mean", "sd", "limit")
        }
        with atomic_path(path, failures=(SafetensorError,)) as temporary:
            save_file(arrays, temporary)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a reference.

        Raises
        ------
        InvalidFileError
            If the file is missing or damaged.
        """
        try:
            arrays = load_file(path)
            mean, sd = (
                {kind: arrays[f"{kind}.{part}"] for kind in _KINDS} for part in ("mean", "sd")
            )
            return cls(mean, sd, {kind: float(arrays[f"{kind}.limit"]) for kind in _KINDS})
        except (OSError, SafetensorError, KeyError, TypeError) as error:
            msg = f"{str(path)!r} cannot be read: {error}; run the fold again to make it anew"
            raise InvalidFileError(msg) from error


def grey_levels(canvases: npt.NDArray[np.uint8]) -> Array:
    """Describe (N, H, W) canvases by deciles of their grey levels, (N, 9) in [0, 1]."""
    flat = canvases.reshape(len(canvases), -1)
    deciles = [np.quantile(row, np.linspace(0.1, 0.9, 9)) for row in flat]
    return np.asarray(deciles, dtype=np.float64).reshape(-1, 9) / 255
