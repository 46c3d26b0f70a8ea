"""Predictions of the slices of the test folds, by fold, slice and patient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..evaluation import metrics
from .columns import label_column
from .protocol import Protocol, group_unit
from .splits import Fold, repeat_numbers

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FoldPredictions", "per_patient"]


def per_patient(rows: pd.DataFrame) -> pd.DataFrame:
    """Average the predictions of each group of slices, such as a patient, in each fold.

    Parameters
    ----------
    rows : DataFrame
        Predictions of slices with the columns ``fold``, ``group``, ``target`` and ``probability``.

    Returns
    -------
    DataFrame
        Columns ``fold``, ``group``, ``target`` (1 if any slice of the group in `rows` is 1),
        ``probability`` (mean over the slices in the fold), ``slices`` and ``positive_slices``
        (numbers of slices in the fold).

    Examples
    --------
    >>> import pandas as pd
    >>> from covidct.runs.fold_predictions import per_patient
    >>> rows = pd.DataFrame({"fold": 0, "group": ["a", "a", "b"], "target": [0, 1, 0],
    ...                      "probability": [0.5, 0.75, 0.25]})
    >>> per_patient(rows)["probability"].tolist()
    [0.625, 0.25]
    """
    named = rows.astype({"group": str})
    positive = named.groupby("group")["target"].max()
    found = (
        named.groupby(["fold", "group"])
        .agg(
            probability=("probability", "mean"),
            slices=("target", "size"),
            positive_slices=("target", "sum"),
        )
        .reset_index()
    )
    found.insert(2, "target", found["group"].map(positive))
    return found


class FoldPredictions:
    """Out-of-fold predictions of a run, with its folds and the groups of its slices.

    The parameters are those of :class:`covidct.runs.ScoredFolds`, which adds metrics.
    """

    def __init__(
        self,
        model_name: str,
        dataset_name: str,
        content_hash: str,
        classes: tuple[str, str],
        protocol: Protocol,
        folds: tuple[Fold, ...],
        predictions: pd.DataFrame,
        *,
        group_kind: str | None = None,
        labels: tuple[str, ...] = (),
    ) -> None:
        self.model_name = model_name
        self.dataset_name = dataset_name
        self.content_hash = content_hash
        self.classes = classes
        self.protocol = protocol
        self.folds = folds
        self.predictions = predictions
        self.group_kind = group_kind
        self.labels = labels

    @property
    def fold_names(self) -> tuple[str, ...]:
        """Names of the folds: the tested source if sources are left out, else the number."""
        return tuple(fold.name or str(k) for k, fold in enumerate(self.folds))

    @property
    def repeat_numbers(self) -> tuple[int, ...]:
        """Number of the repeat of each fold; 0 if no slice is tested twice."""
        return repeat_numbers(self.folds)

    @property
    def has_groups(self) -> bool:
        """True if the group of every slice is known."""
        return bool((self.predictions["group"] != "").all())

    @property
    def unit(self) -> str:
        """Noun for one group of slices, such as ``"patient"``."""
        return group_unit(self.group_kind or self.protocol.group_kind)

    @property
    def resampled_unit(self) -> str:
        """Noun for the resampled unit: :attr:`unit`, or ``"slice"`` if groups are unknown."""
        return self.unit if self.has_groups else "slice"

    @property
    def has_patients(self) -> bool:
        """True if groups are known that are not near-duplicates."""
        return self.has_groups and self.unit != group_unit("near-duplicate")

    @property
    def columns(self) -> pd.DataFrame | None:
        """Further columns of the slices, one row per slice of the dataset; None if unknown."""
        return None

    @property
    def _n_slices(self) -> int:
        """Number of slices of the dataset, as far as the folds use them."""
        parts = (part for f in self.folds for part in (f.train, f.test, f.validation))
        return 1 + max(int(part.max(initial=0)) for part in parts)

    def fold_predictions(self, fold: int) -> pd.DataFrame:
        """Return the predictions of one fold.

        Parameters
        ----------
        fold : int
            Number of the fold; the first is 0.

        Returns
        -------
        DataFrame
            Rows of `predictions`, numbered from 0.
        """
        rows = self.predictions["fold"] == fold
        return self.predictions[rows].reset_index(drop=True)

    def pooled_predictions(self) -> pd.DataFrame:
        """Return one row per slice, averaged over the folds that tested it.

        Returns
        -------
        DataFrame
            The columns of `predictions`, in the order of the dataset. Probabilities and logit are
            means; the other columns are those of the first fold that tested the slice.
        """
        rows = self.predictions.sort_values("index", kind="stable")
        _, first, inverse, counts = np.unique(
            rows["index"], return_index=True, return_inverse=True, return_counts=True
        )
        pooled = rows.iloc[first].reset_index(drop=True)
        for column in ("probability", "logit", *map(label_column, self.labels)):
            pooled[column] = np.bincount(inverse, weights=rows[column]) / counts
        return pooled

    def patient_predictions(self) -> pd.DataFrame | None:
        """Return one row per group, such as a patient, of each test fold.

        The probability of a patient is the mean over the slices of the fold. A patient with any
        COVID-19 slice, in this or another test fold, is a COVID-19 patient: other slices of the
        same patient may show no lesion.

        Returns
        -------
        DataFrame or None
            Columns ``fold``, ``repeat``, ``group``, ``target`` (of the patient), ``probability``,
            ``slices`` and ``positive_slices`` (numbers of slices in the fold); None if groups are
            unknown.

        Examples
        --------
        >>> import covidct
        >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
        >>> recipe = covidct.Recipe.demo().scaled(1)
        >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
        >>> int(cv.run(slices).patient_predictions()["slices"].sum())
        16
        """
        if not self.has_groups:
            return None
        found = per_patient(self.predictions)
        found.insert(1, "repeat", np.asarray(self.repeat_numbers)[found["fold"]])
        return found

    def validation_predictions(self) -> pd.DataFrame | None:
        """Return the predictions of the validation part of each fold.

        Returns
        -------
        DataFrame or None
            The columns of `predictions`; None if the folds have no validation part.
        """
        return None

    def confusion_matrix(self, fold: int | None = None) -> npt.NDArray[np.float64]:
        """Count slices by true and predicted class.

        Parameters
        ----------
        fold : int or None, default=None
            Number of a fold. None: mean over the folds, as in Figs. 9 and 10 of the paper.

        Returns
        -------
        ndarray of shape (2, 2)
            [[true negatives, false positives], [false negatives, true positives]].
        """
        numbers = range(len(self.folds)) if fold is None else [fold]
        parts = map(self.fold_predictions, numbers)
        counts = [metrics.confusion_matrix(p["target"], p["probability"]) for p in parts]
        return np.asarray(np.mean(counts, axis=0))

    def shared_groups(self) -> float | None:
        """Compute the share of test slices whose group also has slices in the training part.

        Returns
        -------
        float or None
            Share over all folds, in [0, 1]; None if the group of a slice is unknown.
        """
        import pandas as pd

        if not self.has_groups:
            return None
        codes = np.full(self._n_slices, -1)
        codes[self.predictions["index"]] = pd.factorize(self.predictions["group"])[0]
        if any((codes[fold.train] < 0).any() for fold in self.folds):
            return None
        shared = [np.isin(codes[fold.test], codes[fold.train]) for fold in self.folds]
        return float(np.concatenate(shared).mean())

    def group_notes(self) -> list[str]:
        """Return a sentence about the groups with slices of both classes.

        Returns
        -------
        list of str
            Empty if there are no such groups.
        """
        classes = self.predictions.groupby("group")["target"].nunique()
        if not (classes > 1).any():
            return []
        sentence = (
            f"{(classes > 1).sum():,} of {len(classes):,} {self.unit}s have slices of both "
            f"classes; a {self.unit} with any {self.classes[1]} slice counts as {self.classes[1]}."
        )
        return [sentence]

    def _units(self) -> pd.Series[Any]:
        """Return the units to resample: the group of each row, or its slice."""
        return self.predictions["group" if self.has_groups else "index"]
