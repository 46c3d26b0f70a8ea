"""Nested cross-validation: choice of a network or recipe in inner folds, evaluation in outer folds.

The score of the best of many runs on the same folds is too optimistic, since the run was chosen by
it. In nested cross-validation, the training part of each outer fold is split again. The candidate
with the best mean over these inner folds is trained on the whole training part, and scored on the
outer test slices, which were not used for the choice. The result estimates the performance of the
procedure, the choice included (Varma and Simon 2006).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...datasets.ct_dataset import CTDataset, check_dataset
from ...evaluation import metrics
from ...evaluation.tables import Table, percent
from ..cross_validator import CrossValidator
from ..protocol import Protocol, split_options
from ..scores import ScoredFolds
from ..splits import Fold, Split, make_split, resolve_groups
from .planning import PlannedRun

if TYPE_CHECKING:
    import pandas as pd

    from ..result import CrossValidationResult

__all__ = ["NestedResult", "run_nested"]

_LOG = logging.getLogger(__name__)

Pair = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]  # training and test positions
# Cross-validates a candidate on such pairs in a subfolder of the nested run.
Run = Callable[[PlannedRun, Sequence[Pair], Path], "CrossValidationResult"]


class NestedResult(ScoredFolds):
    """Result of a nested cross-validation: scores of the chosen candidates on the outer folds.

    Printed as a table of the outer folds, in percent, and the choices.

    Parameters
    ----------
    candidates : sequence of PlannedRun
        Networks and recipes to choose from.
    chosen : sequence of int
        Number of the candidate of each outer fold.
    inner_scores : DataFrame
        Mean of the metric over the inner folds: a row per outer fold and a column per candidate.
    metric : str
        Metric by which candidates were chosen.
    **options
        Parameters of :class:`covidct.runs.ScoredFolds`.

    Examples
    --------
    >>> import pandas as pd
    >>> import covidct
    >>> from covidct.runs import NestedResult, make_split
    >>> from covidct.runs.sweep import PlannedRun
    >>> pad, stretch = (
    ...     PlannedRun(dataset="mine", model="shufflenet", variant=name, weights=None,
    ...                recipe=covidct.Recipe(resize=name), protocol="paper")
    ...     for name in ("pad", "stretch")
    ... )
    >>> split = make_split([0, 1, 0, 1], 2)
    >>> rows = [(i, k, i % 2, 0.9) for k, fold in enumerate(split.folds) for i in fold.test]
    >>> columns = ["index", "fold", "target", "probability"]
    >>> result = NestedResult(
    ...     [pad, stretch], [1, 0], pd.DataFrame([[0.6, 0.8], [0.7, 0.5]]), "accuracy",
    ...     dataset_name="mine", content_hash="", classes=("0", "1"), protocol=split.protocol,
    ...     folds=split.folds, predictions=pd.DataFrame(rows, columns=columns), group_kind=None,
    ... )
    >>> [candidate.variant for candidate in result.chosen]
    ['stretch', 'pad']
    """

    def __init__(
        self,
        candidates: Sequence[PlannedRun],
        chosen: Sequence[int],
        inner_scores: pd.DataFrame,
        metric: str,
        **options: Any,
    ) -> None:
        super().__init__(model_name="chosen by inner folds", **options)
        self.candidates = tuple(candidates)
        self.chosen = tuple(candidates[k] for k in chosen)
        self.inner_scores = inner_scores
        self.metric = metric

    def choices(self) -> Table:
        """Return a table of the chosen candidates.

        Returns
        -------
        Table
            A row per outer fold: the chosen candidate, its mean over the inner folds, and its
            metric on the outer test slices, in percent.
        """
        title = metrics.METRICS[self.metric].title
        rows = [
            [
                str(k),
                f"{run.model}/{run.variant}",
                percent(float(self.inner_scores[f"{run.model}/{run.variant}"].iloc[k])),
                percent(self.fold_metrics[k][self.metric]),
            ]
            for k, run in enumerate(self.chosen)
        ]
        return Table(
            ["outer fold", "chosen", f"{title}, inner folds", f"{title}, outer fold"],
            rows,
            caption=f"Chosen among {len(self.candidates)} by the mean {title} over inner folds",
            notes=(
                (
                    "Inner values are those of the best candidate, and therefore too optimistic; "
                    "outer values are not."
                ),
            ),
        )

    def __str__(self) -> str:
        return f"{self.table()}\n\n{self.choices()}"


def run_nested(
    candidates: Sequence[PlannedRun],
    folder: str | PathLike[str],
    *,
    datasets: Mapping[str, CTDataset],
    folds: int = 5,
    inner_folds: int = 3,
    metric: str = "accuracy",
    seed: int = 0,
    split_seed: int | None = None,
    **options: Any,
) -> NestedResult:
    """Run a nested cross-validation of several networks or recipes.

    Candidates are compared in inner folds, and the best one is scored in outer folds. Finished
    folds are stored in `folder`, from which an interrupted call continues. A call with further
    candidates trains their inner folds, and the outer folds of candidates that are chosen for
    different folds than before.

    Parameters
    ----------
    candidates : sequence of PlannedRun
        At least two networks or recipes, on the same dataset and protocol.
    folder : str or path-like
        Folder of the runs: ``inner/NETWORK/VARIANT``, and ``outer/NETWORK/VARIANT/folds-0-2`` of a
        candidate that was chosen for the outer folds 0 and 2.
    datasets : mapping of str to CTDataset
        Datasets by the names that the candidates use.
    folds : int, default=5
        Number of outer folds.
    inner_folds : int, default=3
        Number of inner folds in the training part of each outer fold. Groups that the protocol
        keeps together are kept together in the inner folds as well.
    metric : str, default="accuracy"
        Name of a metric in :data:`covidct.evaluation.metrics.METRICS`. The candidate with the
        highest mean over the inner folds is chosen, or the lowest for a loss such as the Brier
        score.
    seed : int, default=0
        Random seed of the training.
    split_seed : int or None, default=None
        Random seed of outer and inner folds. None: `seed`.
    **options
        Other options of :class:`covidct.CrossValidator`, such as ``device`` and ``n_jobs``.

    Returns
    -------
    NestedResult
        Predictions, metrics and intervals of the outer folds, and the choices.

    Raises
    ------
    ValueError
        If there are fewer than two candidates, two have the same name, they differ in dataset or
        protocol, or the protocol is neither ``"paper"`` nor ``"grouped"``.
    UnknownNameError
        If `metric` is unknown.

    Examples
    --------
    >>> import tempfile
    >>> import covidct
    >>> from covidct.runs.sweep import PlannedRun, run_nested
    >>> slices = covidct.load_dataset("phantom", n=40, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1).replace(canvas=(64, 96))
    >>> candidates = [
    ...     PlannedRun(dataset="phantom", model="shufflenet", variant=name, weights=None,
    ...                recipe=recipe.replace(resize=name), protocol="grouped")
    ...     for name in ("pad", "stretch")
    ... ]
    >>> result = run_nested(candidates, tempfile.mkdtemp(), datasets={"phantom": slices},
    ...                     folds=2, inner_folds=2)
    >>> len(result.chosen), result.inner_scores.shape, len(result.predictions)
    (2, (2, 2), 40)
    """
    decisive = metrics.find_metric(metric)
    first = _check_candidates(candidates)
    dataset = datasets[first.dataset]
    check_dataset(dataset)
    split_seed = seed if split_seed is None else split_seed
    # Resolved once, since the search for near-duplicates takes long.
    given = split_options(first.protocol, dataset, folds).get("groups")
    labels, kind = resolve_groups(dataset, given)
    outer = make_split(dataset, folds, groups=labels, seed=split_seed)

    def run(candidate: PlannedRun, pairs: Sequence[Pair], place: Path) -> CrossValidationResult:
        validator = CrossValidator(
            candidate.model,
            candidate.recipe,
            cv=pairs,
            groups=labels,
            weights=candidate.weights,
            run_dir=Path(folder) / place,
            seed=seed,
            split_seed=split_seed,
            **options,
        )
        return validator.run(dataset)

    inner = _inner_folds(outer, dataset.targets, labels, inner_folds, seed=split_seed)
    inner_scores = _score_inner_folds(run, candidates, inner, decisive.name, folds)
    # Ties go to the first candidate; a candidate with an undefined metric is never better.
    gains = inner_scores if decisive.greater_is_better else -inner_scores
    chosen = gains.fillna(-np.inf).to_numpy().argmax(axis=1)
    none = np.empty(0, np.int64)
    return NestedResult(
        candidates,
        chosen.tolist(),
        inner_scores,
        decisive.name,
        dataset_name=dataset.name,
        content_hash=dataset.content_hash(),
        classes=dataset.classes,
        protocol=Protocol.paper() if labels is None else Protocol.grouped(kind),
        folds=tuple(Fold(fold.train, np.sort(fold.test), none) for fold in outer.folds),
        predictions=_test_choices(run, candidates, chosen, outer),
        group_kind=kind if labels is not None else outer.group_kind,
    )


def _inner_folds(
    outer: Split,
    targets: npt.NDArray[np.int64],
    groups: npt.NDArray[np.str_] | None,
    number: int,
    *,
    seed: int,
) -> list[Pair]:
    """Split the training part of each outer fold again."""
    inner = []
    for fold in outer.folds:
        kept = None if groups is None else groups[fold.train]
        part = make_split(targets[fold.train], number, groups=kept, seed=seed)
        inner += [(fold.train[one.train], fold.train[one.test]) for one in part.folds]
    return inner


def _score_inner_folds(
    run: Run, candidates: Sequence[PlannedRun], inner: Sequence[Pair], metric: str, folds: int
) -> pd.DataFrame:
    """Return the mean metric of each candidate over the inner folds of each outer fold."""
    import pandas as pd

    scores = {}
    for number, candidate in enumerate(candidates, start=1):
        _LOG.info("candidate %d of %d: %s", number, len(candidates), candidate)
        result = run(candidate, inner, Path("inner", *candidate.path.parts[1:]))
        of_folds = result.to_frame()[metric].to_numpy().reshape(folds, -1)
        scores[f"{candidate.model}/{candidate.variant}"] = pd.DataFrame(of_folds).mean(axis=1)
    return pd.DataFrame(scores).rename_axis(index="outer fold")


def _test_choices(
    run: Run, candidates: Sequence[PlannedRun], chosen: npt.NDArray[np.int64], outer: Split
) -> pd.DataFrame:
    """Return the predictions of the chosen candidates on the test slices of the outer folds."""
    import pandas as pd

    parts = []
    for number in np.unique(chosen):
        candidate = candidates[number]
        numbers = np.flatnonzero(chosen == number)
        pairs = [(outer.folds[k].train, outer.folds[k].test) for k in numbers]
        name = "-".join(["folds", *map(str, numbers)])
        rows = run(candidate, pairs, Path("outer", *candidate.path.parts[1:], name)).predictions
        parts.append(rows.assign(fold=numbers[rows["fold"]]))
    return pd.concat(parts).sort_values(["fold", "index"], ignore_index=True)


def _check_candidates(candidates: Sequence[PlannedRun]) -> PlannedRun:
    names = [run.path for run in candidates]
    if len(set(names)) < max(2, len(names)):
        raise ValueError(
            "at least two candidates with different names are needed, got "
            f"{', '.join(map(str, names)) or 'none'}"
        )
    places = {(run.dataset, run.protocol) for run in candidates}
    if len(places) > 1:
        raise ValueError(f"candidates must have one dataset and one protocol, got {sorted(places)}")
    if candidates[0].protocol not in ("paper", "grouped"):
        raise ValueError(
            f"the protocol {candidates[0].protocol!r} has fixed folds, which are not split again; "
            "choose among candidates with 'paper' or 'grouped'"
        )
    return candidates[0]
