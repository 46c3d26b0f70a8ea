"""What a cross-validation found, read from its folder."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from .._files import json_ready, write_json
from ..errors import InvalidFileError
from ..evaluation import intervals, metrics
from ..evaluation.intervals import Interval
from ..models.classifier import CTClassifier
from ..models.registry import model_info
from ..models.weights import load_state
from ..training.recipe import Recipe
from ..training.trainer import EpochRecord
from .novelty import Reference
from .run_directory import PREDICTION_FIELDS, RunDirectory
from .splits import Fold
from .tables import percent, render_table

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset
    from .external import ExternalEvaluation

__all__ = ["CrossValidationResult"]

_SHOWN = (*metrics.PAPER_METRICS, "auc", "balanced_accuracy", "mcc")


class CrossValidationResult:
    """The folds of a run: tables, out-of-fold predictions, fitted networks.

    Made by :meth:`covidct.CrossValidator.run`, or read by :meth:`load`. Printing it gives the
    table of folds in per cent.

    Parameters
    ----------
    directory
        The folder of the run.
    spec
        What its ``run.json`` says.

    Attributes
    ----------
    run : dict
        What ``run.json`` says.
    predictions : structured array
        One row for each slice of each test fold: ``index``, ``path``, ``target``, ``fold``,
        ``probability`` (of COVID-19), ``logit`` and ``group`` ("" where unknown).
    fold_metrics : list of dict
        The metrics of each fold, as fractions; NaN where one is undefined.

    Examples
    --------
    >>> import covidct
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> result = cv.run(slices)
    >>> mean, sd = result.summary()["accuracy"]
    >>> 0 <= mean <= 1
    True
    """

    def __init__(self, directory: RunDirectory, spec: dict[str, Any]) -> None:
        self.run = spec
        self.run_dir = directory.path
        self.recipe = Recipe.from_dict(spec["recipe"])
        self.model_name: str = spec["model"]
        self.dataset_name: str = spec["dataset"]["name"]
        self.classes: tuple[str, str] = tuple(spec["dataset"]["classes"])
        self.protocol: str = spec["protocol"]
        self.folds = tuple(
            Fold(**{part: np.array(index, dtype=np.int64) for part, index in fold.items()})
            for fold in spec["folds"]
        )
        tables = [directory.read_predictions(k, fold.test) for k, fold in enumerate(self.folds)]
        self.predictions: npt.NDArray[np.void] = np.concatenate(tables)
        self.fold_metrics = [metrics.score(t["target"], t["probability"]) for t in tables]
        self._directory = directory
        self._temporary: TemporaryDirectory[str] | None = None

    @classmethod
    def load(cls, run_dir: str | PathLike[str]) -> Self:
        """Read a finished run.

        Parameters
        ----------
        run_dir
            Its folder.

        Returns
        -------
        CrossValidationResult
            The run.

        Raises
        ------
        FileNotFoundError
            If there is no run in the folder.
        InvalidFileError
            If a file of it was damaged or edited.
        ValueError
            If folds are missing; the message says which.
        """
        directory = RunDirectory(Path(run_dir))
        spec = directory.read_spec()
        if spec is None:
            msg = f"{str(run_dir)!r} holds no run: there is no run.json in it"
            raise FileNotFoundError(msg)
        missing = [k for k in range(len(spec["folds"])) if not directory.is_finished(k)]
        if missing:
            msg = (
                f"the run in {str(run_dir)!r} is not finished: folds {missing} of "
                f"{len(spec['folds'])} are missing; start it again with the same run_dir"
            )
            raise ValueError(msg)
        try:
            return cls(directory, spec)
        except (KeyError, TypeError) as error:
            msg = f"'{run_dir}/run.json' was damaged or edited: {error}"
            raise InvalidFileError(msg) from error

    def summary(self) -> dict[str, tuple[float, float]]:
        """Average each metric over the folds.

        Returns
        -------
        dict
            Metric to (mean, sample standard deviation over folds), as fractions. The deviation
            is no confidence interval; see :meth:`intervals`.
        """
        return metrics.summarize(self.fold_metrics)

    def intervals(self, *, level: float = 0.95) -> dict[str, Interval]:
        """Bootstrap confidence intervals of the metrics of the out-of-fold predictions.

        Whole groups are drawn where groups are known, since their slices are alike, and single
        slices elsewhere.

        Parameters
        ----------
        level
            Coverage of the intervals.

        Returns
        -------
        dict
            Metric to (low, high), as fractions.
        """
        pooled = self.pooled_predictions()
        groups = pooled["group"] if self.has_groups else None
        return intervals.bootstrap(
            pooled["target"], pooled["probability"], groups=groups, level=level
        )

    @property
    def has_groups(self) -> bool:
        """Whether it is known which slices belong together."""
        return bool((self.predictions["group"] != "").all())

    def pooled_predictions(self) -> npt.NDArray[np.void]:
        """Return one row for each slice: its mean over the folds that tested it.

        Returns
        -------
        structured array
            With the fields of ``predictions``, in the order of the dataset.
        """
        order = np.argsort(self.predictions["index"], kind="stable")
        rows = self.predictions[order]
        _, first, inverse, counts = np.unique(
            rows["index"], return_index=True, return_inverse=True, return_counts=True
        )
        pooled = rows[first].copy()
        for field in ("probability", "logit"):
            pooled[field] = np.bincount(inverse, weights=rows[field]) / counts
        return pooled

    def patient_metrics(self) -> list[dict[str, float]] | None:
        """Score groups instead of slices, fold by fold: the mean probability of their slices.

        Returns
        -------
        list of dict or None
            As ``fold_metrics``; None where groups are unknown, or one has slices of both classes.
        """
        pooled = self.pooled_predictions()
        pairs = {(row["group"], row["target"]) for row in pooled}
        if not self.has_groups or len(pairs) > len({group for group, _ in pairs}):
            return None
        scores = []
        for k in range(len(self.folds)):
            part = self.predictions[self.predictions["fold"] == k]
            targets, probabilities, _ = metrics.per_group(
                part["target"], part["probability"], part["group"].astype(np.str_)
            )
            scores.append(metrics.score(targets, probabilities))
        return scores

    def confusion_matrix(self, fold: int | None = None) -> npt.NDArray[np.float64]:
        """Count slices by true and predicted class.

        Parameters
        ----------
        fold
            One fold; by default the average over the folds, as in Figs. 9 and 10 of the paper.

        Returns
        -------
        ndarray
            [[true negatives, false positives], [false negatives, true positives]].
        """
        numbers = range(len(self.folds)) if fold is None else [fold]
        parts = [self.predictions[self.predictions["fold"] == k] for k in numbers]
        counts = [metrics.confusion_matrix(p["target"], p["probability"]) for p in parts]
        return np.asarray(np.mean(counts, axis=0), dtype=np.float64)

    def history(self, fold: int) -> dict[str, npt.NDArray[np.float64]]:
        """Return the learning curve of a fold.

        Parameters
        ----------
        fold
            Number of the fold; the first is 0.

        Returns
        -------
        dict
            One column for each field of ``EpochRecord``.
        """
        return self._directory.read_history(fold, EpochRecord._fields)

    def fold_model(self, fold: int) -> CTClassifier:
        """Return the fitted network of a fold.

        Parameters
        ----------
        fold
            Number of the fold; the first is 0.

        Returns
        -------
        CTClassifier
            In evaluation mode, on the CPU.

        Raises
        ------
        IndexError
            If there is no such fold.
        InvalidFileError
            If its weights were damaged.
        """
        from .fold import canvas_size

        if not 0 <= fold < len(self.folds):
            msg = f"fold {fold} does not exist; the run has folds 0 to {len(self.folds) - 1}"
            raise IndexError(msg)
        info = model_info(self.model_name)
        model = CTClassifier(info, input_size=canvas_size(info, self.recipe))
        load_state(model, self._directory.fold(fold) / "model.safetensors")
        return model.eval()

    def model_card(self, fold: int) -> dict[str, Any]:
        """Collect what whoever gets the network of a fold has to know.

        Parameters
        ----------
        fold
            Number of the fold; the first is 0.

        Returns
        -------
        dict
            The ``card`` of ``CTClassifier.save``.
        """
        return {
            "resize": self.recipe.resize,
            "training_data": f"{self.dataset_name} ({self.run['dataset']['content_hash']}), "
            f"without fold {fold} of {len(self.folds)}",
            "protocol": self.protocol,
            "metrics": json_ready(self.fold_metrics[fold]),
        }

    def fold_reference(self, fold: int) -> Reference:
        """Return what the slices of a fold look like, to compare new ones with.

        Parameters
        ----------
        fold
            Number of the fold; the first is 0.

        Returns
        -------
        Reference
            Means, deviations and limits.

        Raises
        ------
        InvalidFileError
            If its file is missing or damaged.
        """
        return Reference.load(self._directory.fold(fold) / "reference.safetensors")

    def evaluate(self, dataset: CTDataset) -> ExternalEvaluation:
        """Score the fitted folds on slices of another source.

        Parameters
        ----------
        dataset
            The other slices.

        Returns
        -------
        ExternalEvaluation
            What each fold, and their mean probability, make of them.
        """
        from .external import evaluate_externally

        return evaluate_externally(self, dataset)

    def table(self, style: str = "text") -> str:
        """Lay out the metrics of all folds in per cent, with mean ± standard deviation.

        Parameters
        ----------
        style
            ``"text"``, ``"markdown"``, ``"latex"`` or ``"csv"``.

        Returns
        -------
        str
            The table.
        """
        rows = [
            [str(k), *(percent(scores[name]) for name in _SHOWN)]
            for k, scores in enumerate(self.fold_metrics)
        ]
        summary = self.summary()
        mean = [percent(*summary[name]) for name in _SHOWN]
        header = ["fold", *(metrics.METRICS[name].title for name in _SHOWN)]
        return render_table(header, [*rows, ["mean ± sd", *mean]], style=style)

    def write_summary(self) -> None:
        """Write ``predictions.csv`` and ``metrics.json`` of the whole run."""
        self._directory.write_table(
            self.run_dir / "predictions.csv", PREDICTION_FIELDS.names or (), self.predictions
        )
        write_json(self.run_dir / "metrics.json", self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Collect the metrics for JSON.

        Returns
        -------
        dict
            Plain values; what is undefined is None.
        """
        summary = {name: {"mean": m, "sd": sd} for name, (m, sd) in self.summary().items()}
        content = {
            "model": self.model_name,
            "dataset": self.dataset_name,
            "protocol": self.protocol,
            "summary": summary,
            "folds": self.fold_metrics,
            "intervals_95": self.intervals(),
            "patients": self.patient_metrics(),
        }
        ready: dict[str, Any] = json_ready(content)
        return ready

    def __str__(self) -> str:
        title = f"{self.model_name} on {self.dataset_name}, protocol: {self.protocol} (per cent)"
        notes = [
            f"In {count} of {len(self.folds)} folds {name} is undefined (–) and left out."
            for name, count in metrics.count_undefined(self.fold_metrics).items()
        ]
        return "\n".join([title, self.table(), "sd: sample standard deviation.", *notes])

    def __repr__(self) -> str:
        return f"<CrossValidationResult {self.model_name} on {self.dataset_name}: {self.run_dir}>"
