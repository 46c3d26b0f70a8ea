"""Result of a cross-validation, read from its folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from itertools import compress
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from .._files import json_ready, write_json
from .._text import counted
from ..datasets._overlap import refuse_overlap
from ..datasets.canvases import make_canvases
from ..datasets.ct_dataset import check_dataset
from ..datasets.registry import dataset_info
from ..errors import InvalidFileError
from ..evaluation import intervals, published
from ..evaluation.calibration import Method, cross_fit
from ..inference import infer
from ..models.classifier import CTClassifier
from ..models.registry import model_info
from ..models.weights import load_state
from ..training.recipe import Recipe
from ..training.trainer import EpochRecord
from .external_test import ExternalEvaluation
from .out_of_distribution import TrainingReference, layout, seen_by_any
from .recalibration import CalibratedFolds
from .run_spec import RunSpec
from .scores import ScoredFolds
from .splits import resampled_groups
from .storage import RunDirectory, runs_near

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from ..audit import AuditReport
    from ..datasets.ct_dataset import CTDataset
    from ..evaluation.decision_rule import DecisionRule
    from .exported import PredictorCard

__all__ = ["CrossValidationResult"]

_LOG = logging.getLogger(__name__)


class CrossValidationResult(ScoredFolds):
    """Result of a cross-validation: tables, out-of-fold predictions and fitted networks.

    Returned by :meth:`covidct.CrossValidator.run`, or read by :meth:`load`. It is printed as a
    table of the folds, in percent.

    Parameters
    ----------
    directory : RunDirectory
        Files of the run.
    spec : RunSpec
        Description of the run.

    Attributes
    ----------
    spec : RunSpec
        Description of the run: network, weights, recipe, dataset, protocol, seed, versions.
    run_dir : Path
        Folder of the run.
    recipe : Recipe
        Training recipe.
    predictions : DataFrame
        One row per slice of each test fold: ``index``, ``path``, ``frame``, ``target``, ``label``,
        ``source``, ``group`` and ``volume`` (empty if unknown), ``fold``, ``repeat``,
        ``probability`` (of COVID-19) and ``logit``. A network that was trained on labels adds
        ``p_LABEL``, the probability of each label.

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

    def __init__(self, directory: RunDirectory, spec: RunSpec) -> None:
        import pandas as pd

        parts = [
            directory.read_predictions(k, fold.test, outputs=spec.outputs)
            for k, fold in enumerate(spec.folds)
        ]
        super().__init__(
            model_name=spec.model,
            dataset_name=spec.dataset.name,
            content_hash=spec.dataset.content_hash,
            classes=spec.dataset.classes,
            protocol=spec.protocol,
            folds=spec.folds,
            predictions=pd.concat(parts, ignore_index=True),
            group_kind=spec.group_kind,
            labels=spec.outputs.labels,
        )
        self.spec = spec
        self.run_dir = directory.path
        self.recipe = spec.recipe
        self._directory = directory
        self._temporary: TemporaryDirectory[str] | None = None

    @classmethod
    def load(cls, run_dir: str | PathLike[str]) -> Self:
        """Read a finished run.

        Parameters
        ----------
        run_dir : str or path-like
            Folder of the run.

        Returns
        -------
        CrossValidationResult
            The run.

        Raises
        ------
        FileNotFoundError
            If the folder has no ``run.json``.
        InvalidFileError
            If a file of the run was damaged or edited.
        ValueError
            If folds are not finished; the message lists them.
        """
        directory = RunDirectory(Path(run_dir))
        spec = directory.read_spec()
        if spec is None:
            raise FileNotFoundError(
                f"no run found in {str(run_dir)!r}: it has no run.json{runs_near(directory.path)}"
            )
        missing = [k for k in range(len(spec.folds)) if not directory.is_finished(k)]
        if missing:
            raise ValueError(
                f"the run in {str(run_dir)!r} is not finished: folds {missing} of "
                f"{len(spec.folds)} are missing; start it again with the same run_dir"
            )
        result = cls(directory, spec)
        directory.verify()
        return result

    def history(self, fold: int) -> dict[str, npt.NDArray[np.float64]]:
        """Return the learning curve of a fold.

        Parameters
        ----------
        fold : int
            Number of the fold; the first is 0.

        Returns
        -------
        dict of str to ndarray of shape (n_epochs,)
            Values of each field of :class:`covidct.training.trainer.EpochRecord`.
        """
        return self._directory.read_history(fold, EpochRecord._fields)

    def plot_learning_curves(
        self, ax: Axes | None = None, *, metric: Literal["loss", "accuracy"] = "loss"
    ) -> Axes:
        """Draw loss or accuracy of the training over the epochs, for each fold and their mean.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; by default those of a new figure.
        metric : {"loss", "accuracy"}, default="loss"
            Value to draw.

        Returns
        -------
        matplotlib.axes.Axes
            The Axes, as drawn by :func:`covidct.evaluation.figures.learning_curve`.
        """
        from ..evaluation import figures

        histories = [self.history(k) for k in range(len(self.folds))]
        return figures.learning_curve(histories, metric=metric, ax=ax)

    @cached_property
    def columns(self) -> pd.DataFrame | None:
        """Columns of the dataset's `metadata` and official split, for :meth:`by`.

        Text columns with more than 50 different values are not stored. None if there are no
        columns.
        """
        return self._directory.read_columns()

    @property
    def _n_slices(self) -> int:
        return self.spec.dataset.slices

    @property
    def settings(self) -> dict[str, object]:
        """Settings other than network, dataset and protocol: weights, folds, seeds, recipe."""
        return {
            "weights": "none" if self.spec.weights is None else str(self.spec.weights),
            "folds": self.spec.folds_per_repeat,
            "repeats": self.spec.repeats,
            "seed": self.spec.seed,
            "split_seed": self.spec.split_seed,
            "target": self.spec.target,
            "precision": self.spec.precision,
            **self.recipe.options(),
        }

    def fold_model(self, fold: int) -> CTClassifier:
        """Return the fitted network of a fold.

        Parameters
        ----------
        fold : int
            Number of the fold; the first is 0.

        Returns
        -------
        CTClassifier
            The network in evaluation mode, on the CPU.

        Raises
        ------
        IndexError
            If the run does not have this fold.
        InvalidFileError
            If the weights are missing or were damaged.
        """
        self._check_fold(fold)
        info = model_info(self.model_name)
        size = self.recipe.canvas_size(info)
        model = CTClassifier(info, input_size=size, outputs=self.spec.outputs)
        load_state(model, self._directory.kept(fold, "model.safetensors"), info=info)
        return model.eval()

    def _check_fold(self, fold: int) -> None:
        if not 0 <= fold < len(self.folds):
            raise IndexError(
                f"fold {fold} does not exist; the run has folds 0 to {len(self.folds) - 1}"
            )

    def model_card(
        self, fold: int, *, rule: DecisionRule | None = None, audit: AuditReport | None = None
    ) -> dict[str, Any]:
        """Return the content of the model card of a fold.

        Parameters
        ----------
        fold : int
            Number of the fold; the first is 0.
        rule : DecisionRule, optional
            Calibration and threshold, from :meth:`decision_rule`.
        audit : AuditReport, optional
            Audit of the slices, whose shortcuts the card lists.

        Returns
        -------
        dict
            The option ``card`` of ``CTClassifier.save``: training data, patients, prevalence,
            protocol, metrics with intervals, resizing, rule and shortcuts; see
            :class:`covidct.models.ModelCard`.
        """
        from .exported import count_parts

        self._check_fold(fold)
        rows = self.fold_predictions(fold)
        ends = intervals.bootstrap(
            rows["target"],
            rows["probability"],
            groups=rows["group"] if self.has_groups else None,
        )
        return {
            "resize": self.recipe.resize,
            "training_data": f"{self.dataset_name} ({self.content_hash}), "
            f"without fold {fold} of {len(self.folds)}",
            "protocol": self.protocol.label,
            "metrics": json_ready(self.fold_metrics[fold]),
            "intervals": json_ready({name: list(found) for name, found in ends.items()}),
            **count_parts(self, [fold])._asdict(),
            "shortcuts": None if audit is None else audit.known_shortcuts,
            "rule": None if rule is None else asdict(rule),
        }

    def export(
        self,
        folder: str | PathLike[str],
        *,
        folds: Sequence[int] | None = None,
        rule: DecisionRule | None = None,
        thumbnails: bool = False,
        audit: AuditReport | None = None,
    ) -> PredictorCard:
        """Export the fitted networks to a folder that ``Predictor.load`` reads.

        Parameters
        ----------
        folder : str or path-like
            Folder for the networks, their references, and ``card.json``; created if necessary.
        folds : sequence of int, optional
            Folds to write; all by default.
        rule : DecisionRule, optional
            Calibration and threshold for new slices or patients, from :meth:`decision_rule`.
        thumbnails : bool, default=False
            Store layouts of the training slices (gray images of 12 x 16 pixels) with the
            references, by which a predictor recognizes its training slices.
        audit : AuditReport, optional
            Result of :func:`covidct.audit_dataset` on the slices of the run. The card then lists
            the properties of the images that predict the class.

        Returns
        -------
        PredictorCard
            The card in the folder.

        Raises
        ------
        IndexError
            If the run does not have one of the folds.
        ValueError
            If `folds` is empty.
        InvalidFileError
            If a file of the run was damaged.

        Examples
        --------
        >>> import covidct
        >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
        >>> recipe = covidct.Recipe.demo().scaled(1)
        >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
        >>> result = cv.run(slices)
        >>> result.export("to-share", rule=result.decision_rule(calibrate=True)).classes
        ('non-COVID', 'COVID')
        >>> len(covidct.Predictor.load("to-share").models)
        2
        """
        from .exported import write_export

        return write_export(
            self, folder, folds=folds, rule=rule, thumbnails=thumbnails, audit=audit
        )

    def fold_reference(self, fold: int) -> TrainingReference:
        """Return the statistics of a fold's training slices, with which new slices are compared.

        Parameters
        ----------
        fold : int
            Number of the fold; the first is 0.

        Returns
        -------
        TrainingReference
            Means, standard deviations and limits of features and gray levels.

        Raises
        ------
        InvalidFileError
            If the file is missing or damaged, or belongs to another network.
        """
        path = self._directory.kept(fold, "reference.safetensors")
        reference = TrainingReference.load(path)
        width, known = len(reference.mean["features"]), model_info(self.model_name).feature_dim
        if width != known:
            raise InvalidFileError(
                f"{str(path)!r} belongs to another network: it has {width} features, not {known}"
            )
        return reference

    def calibrate(
        self, sensitivity: float = 0.95, *, method: Method = "temperature"
    ) -> CalibratedFolds:
        """Calibrate the probabilities, and find the thresholds for a target sensitivity.

        If the split has a validation part, as the official one has, each fold is fitted on it, and
        otherwise on the out-of-fold predictions of the other folds: never on slices on which it is
        evaluated. The metrics of the run, at the threshold 0.5, do not change.

        Parameters
        ----------
        sensitivity : float, default=0.95
            Target sensitivity, in (0, 1].
        method : {"temperature", "platt"}, default="temperature"
            Calibration by a factor of the logit, or by a factor and a constant; see
            :func:`covidct.evaluation.calibration.fit_recalibration`.

        Returns
        -------
        CalibratedFolds
            Temperatures and thresholds, and the resulting sensitivities and specificities.

        Raises
        ------
        ValueError
            If there are no slices for the fit, since the run has one fold, or repeats of one fold,
            without a validation part; or if `sensitivity` or `method` is invalid.
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
        rows, validation = self.predictions, self.validation_predictions()
        known = None
        if validation is not None:
            logits, targets, folds = (validation[c].to_numpy() for c in ("logit", "target", "fold"))
            known = logits, targets, folds
        return CalibratedFolds(
            sensitivity=sensitivity,
            method=method,
            fitted_on="the other folds" if known is None else "the validation part",
            targets=rows["target"].to_numpy(),
            logits=rows["logit"].to_numpy(),
            groups=self._units().to_numpy(),
            probabilities=rows["probability"].to_numpy(),
            fit=cross_fit(
                rows["logit"].to_numpy(),
                rows["target"].to_numpy(),
                folds=rows["fold"].to_numpy(),
                slices=rows["index"].to_numpy(),
                sensitivity=sensitivity,
                method=method,
                fitted_on=known,
            ),
        )

    def validation_predictions(self) -> pd.DataFrame | None:
        """Return the predictions of the validation part of each fold.

        Returns
        -------
        DataFrame or None
            The columns of `predictions`; None if the folds have no validation part.

        Raises
        ------
        InvalidFileError
            If a file was damaged.
        """
        import pandas as pd

        if not all(fold.validation.size for fold in self.folds):
            return None
        parts = [
            self._directory.read_predictions(
                k, fold.validation, name="validation.csv", outputs=self.spec.outputs
            )
            for k, fold in enumerate(self.folds)
        ]
        return pd.concat(parts, ignore_index=True)

    def compare_published(self) -> published.Comparison:
        """Compare the run with the paper's result of the same network on the same dataset.

        Returns
        -------
        Comparison
            Means and standard deviations of both, and their differences; printing it gives a
            table. It lists the deviations of the run from the paper's experiment, such as
            protocol, weights, canvas or epochs, which make the two not comparable.

        Raises
        ------
        UnknownNameError
            If the paper does not have this network or dataset.
        """
        return published.compare(
            self.summary(),
            self.model_name,
            self.dataset_name,
            protocol=self.protocol.label,
            deviations=self._deviations(),
            notes=self._doubts(),
        )

    def _deviations(self) -> Iterator[str]:
        """Yield the deviations from the paper's experiment, except the protocol."""
        complete = sum(dataset_info(self.dataset_name).counts or ())
        if self.spec.dataset.slices != complete:
            yield f"{self.spec.dataset.slices} slices instead of {complete}"
        folds = self.spec.folds_per_repeat
        if self.protocol.id != "official" and folds != 5:
            yield f"{folds} folds instead of 5"
        if self.spec.weights is None:
            yield "random weights instead of ImageNet's"
        if self.recipe.epochs != Recipe().epochs:
            yield f"{counted(self.recipe.epochs, 'epoch')} instead of {Recipe().epochs}"
        options = self.recipe.options()
        for option, value in Recipe().scaled(self.recipe.epochs).options().items():
            if options[option] != value:
                yield f"{option} {options[option]} instead of {value}"

    def _doubts(self) -> Iterator[str]:
        """Yield a caveat for weights from a file, which may or may not be ImageNet's."""
        weights = self.spec.weights
        if weights is not None and weights.name != "imagenet":
            yield f"The weights of the run are from {weights}; comparable if they are ImageNet's."

    def evaluate(self, dataset: CTDataset, *, device: str = "auto") -> ExternalEvaluation:
        """Evaluate the networks of all folds on slices of another source.

        Parameters
        ----------
        dataset : CTDataset
            Slices of another source.
        device : str, default="auto"
            Device, as in :func:`covidct.devices.resolve_device`.

        Returns
        -------
        ExternalEvaluation
            Metrics of each fold's network and of their mean probability. It lists slices that were
            used for training; if there are any, a warning is logged.

        Raises
        ------
        ValueError
            If `dataset` has the content of the run's dataset, or the two share slices or patients
            according to the registry (`contains` in :func:`covidct.dataset_info`).
        InvalidFileError
            If a file of the run was damaged.
        """
        check_dataset(dataset)
        refuse_overlap(
            self.spec.dataset.registry_names,
            dataset.registry_names,
            f"{self.dataset_name!r} and {dataset.name!r} cannot be training and test",
        )
        if dataset.content_hash() == self.content_hash:
            raise ValueError(
                f"{dataset.name!r} has the same slices as the run in {str(self.run_dir)!r}, which "
                "its networks were trained on; use slices of another source, or see the "
                "out-of-fold predictions of the run"
            )
        models = [self.fold_model(k) for k in range(len(self.folds))]
        references = [self.fold_reference(k) for k in range(len(self.folds))]
        canvases = make_canvases(dataset, models[0].input_size, resize=self.recipe.resize)
        rows = [infer(m, canvases, device=device, progress=True).probabilities for m in models]
        seen = seen_by_any(references, layout(canvases))
        groups, kind = resampled_groups(dataset)
        evaluation = ExternalEvaluation(
            trained_on=self.dataset_name,
            tested_on=dataset.name,
            probabilities=np.stack(rows),
            targets=dataset.targets,
            groups=groups,
            group_kind=kind or dataset.group_kind,
            seen=tuple(compress(dataset.names, seen)),
            columns=dataset.table,
        )
        if evaluation.caveat:
            _LOG.warning(evaluation.caveat)
        return evaluation

    def write_summary(self) -> None:
        """Write ``predictions.csv`` and ``metrics.json`` of all folds."""
        self._directory.write_table(self.run_dir / "predictions.csv", self.predictions)
        write_json(self.run_dir / "metrics.json", self.to_dict())
