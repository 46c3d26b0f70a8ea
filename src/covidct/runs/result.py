"""What a cross-validation found, read from its folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import compress
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from .._files import json_ready, write_json
from ..datasets.canvases import make_canvases
from ..datasets.registry import dataset_info
from ..errors import InvalidFileError
from ..evaluation import published
from ..evaluation.calibration import cross_fit
from ..inference import infer
from ..models.classifier import CTClassifier
from ..models.registry import model_info
from ..models.weights import load_state
from ..training.recipe import Recipe
from ..training.trainer import EpochRecord
from .external_test import ExternalEvaluation
from .out_of_distribution import TrainingReference, layout, seen_by_any
from .recalibration import CalibratedFolds
from .scores import ScoredFolds
from .splits import Fold
from .storage import PREDICTION_FIELDS, RunDirectory

if TYPE_CHECKING:
    from ..datasets.ct_dataset import CTDataset

__all__ = ["CrossValidationResult"]

_LOG = logging.getLogger(__name__)


class CrossValidationResult(ScoredFolds):
    """The folds of a run: tables, out-of-fold predictions, fitted networks.

    Made by :meth:`covidct.CrossValidator.run`, or read by :meth:`load`. Printing it gives the
    table of folds in percent.

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
        folds = tuple(
            Fold(**{part: np.array(index, dtype=np.int64) for part, index in fold.items()})
            for fold in spec["folds"]
        )
        super().__init__(
            model_name=spec["model"],
            dataset_name=spec["dataset"]["name"],
            content_hash=spec["dataset"]["content_hash"],
            classes=tuple(spec["dataset"]["classes"]),
            protocol=spec["protocol"],
            folds=folds,
            predictions=np.concatenate(
                [directory.read_predictions(k, fold.test) for k, fold in enumerate(folds)]
            ),
            group_kind=spec.get("group_kind"),
        )
        self.run = spec
        self.run_dir = directory.path
        self.recipe = Recipe.from_dict(spec["recipe"])
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
            raise FileNotFoundError(f"{str(run_dir)!r} holds no run: there is no run.json in it")
        missing = [k for k in range(len(spec["folds"])) if not directory.is_finished(k)]
        if missing:
            raise ValueError(
                f"the run in {str(run_dir)!r} is not finished: folds {missing} of "
                f"{len(spec['folds'])} are missing; start it again with the same run_dir"
            )
        return cls(directory, spec)

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

    @property
    def settings(self) -> dict[str, object]:
        """What else was chosen than network, dataset and protocol: weights, folds, recipe."""
        weights, _, digest = (self.run["weights"] or "none").partition(" (sha256 ")
        return {
            "weights": f"{weights} ({digest[:8]})" if digest else weights,
            "folds": len(self.folds),
            "seed": self.run["seed"],
            "precision": self.run["precision"],
            **self.recipe.options(),
        }

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
            If its weights are missing or were damaged.
        """
        if not 0 <= fold < len(self.folds):
            raise IndexError(
                f"fold {fold} does not exist; the run has folds 0 to {len(self.folds) - 1}"
            )
        info = model_info(self.model_name)
        model = CTClassifier(info, input_size=self.recipe.canvas_size(info))
        load_state(model, self._directory.kept(fold, "model.safetensors"), info=info)
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

    def fold_reference(self, fold: int) -> TrainingReference:
        """Return what the slices of a fold look like, to compare new ones with.

        Parameters
        ----------
        fold
            Number of the fold; the first is 0.

        Returns
        -------
        TrainingReference
            Means, deviations and limits.

        Raises
        ------
        InvalidFileError
            If its file is missing or damaged.
        """
        path = self._directory.kept(fold, "reference.safetensors")
        reference = TrainingReference.load(path)
        width, known = len(reference.mean["features"]), model_info(self.model_name).feature_dim
        if width != known:
            raise InvalidFileError(
                f"{str(path)!r} is of another network: it has {width} features, not {known}"
            )
        return reference

    def calibrate(self, sensitivity: float = 0.95) -> CalibratedFolds:
        """Calibrate the probabilities, and find thresholds for a wished sensitivity.

        Where the split has a validation part, as the official one, each fold is fitted on it, and
        else on the out-of-fold predictions of the other folds: never on slices that it is judged
        on. Metrics of the run, at the threshold 0.5, stay as they are.

        Parameters
        ----------
        sensitivity
            The share of COVID-19 slices to be found, in (0, 1].

        Returns
        -------
        CalibratedFolds
            Temperatures, thresholds, and what they achieve.

        Raises
        ------
        ValueError
            If there is nothing to fit on: one fold without a validation part, or repeats of it.
        InvalidFileError
            If the predictions of the validation part were damaged.

        Examples
        --------
        >>> import covidct
        >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
        >>> recipe = covidct.Recipe.demo().scaled(1)
        >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
        >>> cv.run(slices).calibrate(sensitivity=0.9).fitted_on
        'the other folds'
        """
        rows, known = self.predictions, None
        if all(fold.validation.size for fold in self.folds):
            parts = [
                self._directory.read_predictions(k, fold.validation, name="validation.csv")
                for k, fold in enumerate(self.folds)
            ]
            validation = np.concatenate(parts)
            known = validation["logit"], validation["target"], validation["fold"]
        return CalibratedFolds(
            sensitivity=sensitivity,
            fitted_on="the other folds" if known is None else "the validation part",
            targets=rows["target"],
            probabilities=rows["probability"],
            fit=cross_fit(
                rows["logit"],
                rows["target"],
                folds=rows["fold"],
                slices=rows["index"],
                sensitivity=sensitivity,
                fitted_on=known,
            ),
        )

    def compare_published(self) -> published.Comparison:
        """Hold the run against what the paper reports of its network on its dataset.

        Returns
        -------
        Comparison
            Ours beside theirs, with the difference in their standard deviations; printing it
            gives a table. It says in what the run is another experiment, such as protocol,
            weights, canvas or epochs, so that the rows are not comparable.

        Raises
        ------
        UnknownNameError
            If the paper has no such network or dataset.
        """
        return published.compare(
            self.summary(),
            self.model_name,
            self.dataset_name,
            protocol=self.protocol,
            deviations=self._deviations(),
            notes=self._doubts(),
        )

    def _deviations(self) -> Iterator[str]:
        """Say in what the run is not the paper's experiment, the protocol aside."""
        slices = self.run["dataset"]["slices"]
        complete = sum(dataset_info(self.dataset_name).counts or ())
        if slices != complete:
            yield f"{slices} slices instead of {complete}"
        if self.protocol != "official" and len(self.folds) != 5:
            yield f"{len(self.folds)} folds instead of 5"
        if self.run["weights"] is None:
            yield "random weights instead of ImageNet's"
        if self.recipe.epochs != Recipe().epochs:
            yield f"{self.recipe.epochs} epochs instead of {Recipe().epochs}"
        ours = self.recipe.options()
        for option, value in Recipe().scaled(self.recipe.epochs).options().items():
            if ours[option] != value:
                yield f"{option} {ours[option]} instead of {value}"

    def _doubts(self) -> Iterator[str]:
        weights = self.run["weights"]
        if weights not in (None, "imagenet"):
            yield f"Our weights are from {weights}; comparable if they are ImageNet's."

    def evaluate(self, dataset: CTDataset, *, device: str = "auto") -> ExternalEvaluation:
        """Score the fitted folds on slices of another source.

        Parameters
        ----------
        dataset
            The other slices.
        device
            As in :func:`covidct.devices.resolve_device`.

        Returns
        -------
        ExternalEvaluation
            What each fold, and their mean probability, make of them. It names slices that a fold
            was fitted to, and a warning says how many there are.

        Raises
        ------
        ValueError
            If these are the slices that the run was made of.
        InvalidFileError
            If a file of the run was damaged.
        """
        if dataset.content_hash() == self.content_hash:
            raise ValueError(
                f"{dataset.name!r} has the very slices that the run in {str(self.run_dir)!r} was "
                "trained on; what it makes of them out of fold is in its own tables, and an "
                "external test needs slices of another source"
            )
        models = [self.fold_model(k) for k in range(len(self.folds))]
        references = [self.fold_reference(k) for k in range(len(self.folds))]
        canvases = make_canvases(dataset, models[0].input_size, resize=self.recipe.resize)
        rows = [infer(m, canvases, device=device, progress=True).probabilities for m in models]
        seen = seen_by_any(references, layout(canvases))
        evaluation = ExternalEvaluation(
            trained_on=self.dataset_name,
            tested_on=dataset.name,
            probabilities=np.stack(rows),
            targets=dataset.targets,
            groups=dataset.groups,
            group_kind=dataset.group_kind,
            seen=tuple(compress(dataset.names, seen)),
        )
        if evaluation.caveat:
            _LOG.warning(evaluation.caveat)
        return evaluation

    def write_summary(self) -> None:
        """Write ``predictions.csv`` and ``metrics.json`` of the whole run."""
        self._directory.write_table(
            self.run_dir / "predictions.csv", PREDICTION_FIELDS.names or (), self.predictions
        )
        write_json(self.run_dir / "metrics.json", self.to_dict())

    def __repr__(self) -> str:
        return f"<CrossValidationResult {self.model_name} on {self.dataset_name}: {self.run_dir}>"
