"""Ensembles of several runs on the same folds, or of the repeats of one split."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from .columns import label_column
from .external_test import ExternalEvaluation
from .paired_tests import check_same_folds
from .result import CrossValidationResult
from .scores import ScoredFolds
from .splits import Fold

if TYPE_CHECKING:
    import pandas as pd

    from ..datasets.ct_dataset import CTDataset

__all__ = ["Ensemble"]


class Ensemble(ScoredFolds):
    """Ensemble of several runs by the mean probability of each fold, scored like a single run.

    A slice is scored by the networks of the fold that tests it, none of which was trained on it.
    Choose the members before their scores on these folds are known: an ensemble of the best of many
    runs has been selected on the test slices.

    Parameters
    ----------
    members : sequence of CrossValidationResult
        Runs with the same slices, protocol and folds.
    siblings : bool, default=False
        Average also folds with the same training and test slices, such as the repeats of an
        official split with several seeds. The folds of a cross-validation cannot be averaged, since
        networks would score their own training slices.

    Attributes
    ----------
    members : tuple of CrossValidationResult
        The runs.

    Raises
    ------
    ValueError
        If there are fewer than two members (one with `siblings`), if members differ in slices,
        protocol or folds, or if `siblings` is True and no two folds have the same slices.

    Examples
    --------
    >>> import covidct
    >>> from covidct.runs.ensemble import Ensemble
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> def run(recipe):
    ...     options = {"cv": 2, "groups": "patient", "weights": None}
    ...     return covidct.CrossValidator("shufflenet", recipe, **options).run(slices)
    >>> both = Ensemble([run(recipe), run(recipe.replace(resize="stretch"))])
    >>> both.model_name, len(both.predictions)
    ('shufflenet + shufflenet', 16)
    """

    def __init__(self, members: Sequence[CrossValidationResult], *, siblings: bool = False) -> None:
        import pandas as pd

        if len(members) < (1 if siblings else 2):
            raise ValueError(
                "an ensemble needs at least two runs, or one with siblings=True; "
                f"got {len(members)}"
            )
        first = members[0]
        for other in members[1:]:
            check_same_folds(str(first.run_dir), first, str(other.run_dir), other)
        self.members = tuple(members)
        same = all(other.labels == first.labels for other in members)
        self.labels = first.labels if same else ()
        self._merged = _siblings(first) if siblings else [[k] for k in range(len(first.folds))]
        super().__init__(
            model_name=" + ".join(member.model_name for member in members),
            dataset_name=first.dataset_name,
            content_hash=first.content_hash,
            classes=first.classes,
            protocol=first.protocol,
            folds=tuple(first.folds[numbers[0]] for numbers in self._merged),
            predictions=pd.concat(
                [self._average(k, numbers) for k, numbers in enumerate(self._merged)],
                ignore_index=True,
            ),
            group_kind=first.group_kind,
            labels=self.labels,
        )

    def _average(self, fold: int, numbers: Sequence[int]) -> pd.DataFrame:
        """Average the predictions of all members and of the folds `numbers` as one fold."""
        parts = [member.fold_predictions(k) for member in self.members for k in numbers]
        rows = parts[0].assign(fold=fold)
        # Labels without probabilities in some of the members.
        rows = rows.drop(columns=[c for c in rows if any(c not in part for part in parts)])
        for column in ("probability", *map(label_column, self.labels)):
            rows[column] = np.mean([part[column] for part in parts], axis=0)
        tiny = np.finfo(np.float64).eps
        rows["logit"] = special.logit(np.clip(rows["probability"], tiny, 1 - tiny))
        return rows

    def evaluate(self, dataset: CTDataset, *, device: str = "auto") -> ExternalEvaluation:
        """Score slices of another source with the fitted folds of all members.

        Parameters
        ----------
        dataset : CTDataset
            Slices of another source.
        device : str, default="auto"
            Device, as in :func:`covidct.devices.resolve_device`.

        Returns
        -------
        ExternalEvaluation
            Scores of each fold, by the mean probability of the members' networks of that fold.

        Raises
        ------
        ValueError
            If `dataset` has the slices that the members were trained on.
        InvalidFileError
            If a file of a run is missing or damaged.
        """
        evaluations = [member.evaluate(dataset, device=device) for member in self.members]
        probabilities = np.mean([evaluation.probabilities for evaluation in evaluations], axis=0)
        seen = chain.from_iterable(evaluation.seen for evaluation in evaluations)
        first = evaluations[0]
        return ExternalEvaluation(
            trained_on=first.trained_on,
            tested_on=first.tested_on,
            probabilities=np.stack(
                [probabilities[numbers].mean(axis=0) for numbers in self._merged]
            ),
            targets=first.targets,
            groups=first.groups,
            group_kind=first.group_kind,
            seen=tuple(dict.fromkeys(seen)),
            columns=first.columns,
        )

    @property
    def _n_slices(self) -> int:
        return self.members[0].spec.dataset.slices

    @property
    def columns(self) -> pd.DataFrame | None:
        """Columns of the dataset, as in the first member."""
        return self.members[0].columns


def _siblings(result: CrossValidationResult) -> list[list[int]]:
    """Group the numbers of folds that train and test on the same slices."""
    alike: dict[tuple[bytes, bytes], list[int]] = {}
    for number, fold in enumerate(result.folds):
        alike.setdefault(_key(fold), []).append(number)
    if len(alike) == len(result.folds):
        raise ValueError(
            "siblings=True needs folds with the same slices, but all folds of "
            f"{str(result.run_dir)!r} differ; in their average, networks would score slices that "
            "they were trained on"
        )
    return list(alike.values())


def _key(fold: Fold) -> tuple[bytes, bytes]:
    return fold.train.tobytes(), fold.test.tobytes()
