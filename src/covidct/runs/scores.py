"""Metrics, intervals and tables of out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._display import Displayed
from .._files import json_ready
from ..errors import UnknownNameError
from ..evaluation import intervals, metrics
from ..evaluation.calibration import Method
from ..evaluation.decision_curve import DecisionCurve
from ..evaluation.decision_rule import Criterion, DecisionRule, Unit
from ..evaluation.intervals import Interval, describe_intervals, describe_resampling
from ..evaluation.label_scores import LabelScores
from ..evaluation.metrics import TABLE_METRICS
from ..evaluation.operating_points import OperatingPoints
from ..evaluation.tables import Table, percent, percent_range
from .protocol import Protocol, group_unit, leakage_warning
from .retraining import (
    VarianceComponents,
    interval_table,
    retraining_interval,
    variance_components,
)
from .splits import Fold, repeat_numbers
from .subgroups import Scored, compare, describe_labels, gap_frame, subgroup_frame, subgroup_names
from .unit_predictions import UnitPredictions, per_patient

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["ScoredFolds"]

_MOST_COLUMNS = 10  # folds that a table shows one by one, so that it fits on a screen


# By whether near-duplicate groups are known in place of patients.
_TOO_NARROW = {
    True: "These intervals are too narrow: they resample near-duplicate groups, of which a patient "
    "may have several; patients are unknown.",
    False: "These intervals are too narrow if patients have several slices: they resample slices; "
    "patients are unknown.",
}


class ScoredFolds(Displayed):
    """Out-of-fold predictions with their metrics, confidence intervals and tables.

    Base class of a run (:class:`covidct.CrossValidationResult`) and of an average of runs
    (:class:`covidct.runs.ensemble.Ensemble`). Printing it gives the table of folds in percent.

    Parameters
    ----------
    model_name : str
        Name of the network, or of several.
    dataset_name : str
        Name of the dataset.
    content_hash : str
        Hash of the dataset's content; runs with equal hashes predict the same slices.
    classes : tuple of (str, str)
        Names of class 0 and class 1.
    protocol : Protocol
        How slices were split.
    folds : tuple of Fold
        The folds.
    predictions : DataFrame
        One row per slice of each test fold, with the columns of
        :data:`covidct.runs.storage.PREDICTION_COLUMNS`.
    group_kind : str or None, default=None
        Kind of the known groups, such as ``"patient"``; None if groups are unknown.
    labels : tuple of str, default=()
        Labels that have a probability of their own, in the columns ``p_LABEL`` of `predictions`.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from covidct.runs.protocol import Protocol
    >>> from covidct.runs.scores import ScoredFolds
    >>> from covidct.runs.splits import Fold
    >>> first, second, none = np.array([0, 1]), np.array([2, 3]), np.empty(0, int)
    >>> predictions = pd.DataFrame({
    ...     "index": range(4), "path": ["0.png", "1.png", "2.png", "3.png"],
    ...     "target": [0, 1, 0, 1], "fold": [0, 0, 1, 1],
    ...     "probability": [0.2, 0.7, 0.2, 0.7], "logit": 0.0, "group": "", "label": "",
    ... })
    >>> scored = ScoredFolds(
    ...     "mine", "four", "", ("no", "yes"), Protocol.paper(),
    ...     (Fold(second, first, none), Fold(first, second, none)), predictions,
    ... )
    >>> scored.summary()["accuracy"]
    (1.0, 0.0)
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
        self._intervals: dict[float, dict[str, Interval]] = {}
        self._patient_intervals: dict[float, dict[str, Interval] | None] = {}

    @property
    def fold_names(self) -> tuple[str, ...]:
        """Names of the folds: the source that each tests, if sources are left out, or numbers."""
        return tuple(fold.name or str(k) for k, fold in enumerate(self.folds))

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
        rows = self.predictions.sort_values("index", kind="stable", ignore_index=True)
        _, first, inverse, counts = np.unique(
            rows["index"], return_index=True, return_inverse=True, return_counts=True
        )
        pooled = rows.iloc[first].reset_index(drop=True)
        for column in ("probability", "logit", *(f"p_{name}" for name in self.labels)):
            pooled[column] = np.bincount(inverse, weights=rows[column]) / counts
        return pooled

    @cached_property
    def fold_metrics(self) -> list[dict[str, float]]:
        """Metrics of each fold as fractions; NaN if a metric is undefined."""
        parts = map(self.fold_predictions, range(len(self.folds)))
        return [metrics.score(part["target"], part["probability"]) for part in parts]

    @cached_property
    def label_scores(self) -> LabelScores | None:
        """Confusion matrix, recall, precision and F1 of the labels; None without labels.

        The labels are those that the network was trained on with ``target="label"``.
        """
        if not self.labels:
            return None
        rows = self.predictions
        return LabelScores.of(
            rows["label"].to_numpy(dtype=str),
            {name: rows[f"p_{name}"].to_numpy() for name in self.labels},
            folds=rows["fold"].to_numpy(),
            groups=self._units().to_numpy(),
            unit=self.resampled_unit,
        )

    @cached_property
    def patient_metrics(self) -> list[dict[str, float]] | None:
        """Metrics of each fold, with groups scored instead of slices; None if groups are unknown.

        The scores are those of :meth:`patient_predictions`.
        """
        rows = self.patient_predictions()
        if rows is None:
            return None
        parts = [rows[rows["fold"] == k] for k in range(len(self.folds))]
        return [metrics.score(part["target"], part["probability"]) for part in parts]

    def summary(self) -> dict[str, tuple[float, float]]:
        """Average each metric over the folds.

        Returns
        -------
        dict of str to tuple of (float, float)
            Mean and sample standard deviation over the folds of each metric, as fractions. The
            deviation is not a confidence interval; see :meth:`intervals`.
        """
        return metrics.summarize(self.fold_metrics)

    def intervals(self, *, level: float = 0.95) -> dict[str, Interval]:
        """Return bootstrap confidence intervals of the metrics' means over the folds.

        If groups are known, whole groups are resampled, since their slices are alike; otherwise
        single slices. The networks are not trained again, so the intervals do not include the
        variation between trainings. If fewer than ten groups have errors, proportions have
        Wilson's interval and other metrics may have none; see
        :func:`covidct.evaluation.intervals.bootstrap`. They are computed once and kept.

        Parameters
        ----------
        level : float, default=0.95
            Coverage of the intervals, in (0, 1).

        Returns
        -------
        dict of str to Interval
            Low and high end of each metric's interval, as fractions.
        """
        if level not in self._intervals:
            rows = self.predictions
            self._intervals[level] = intervals.bootstrap(
                rows["target"],
                rows["probability"],
                groups=self._units(),
                folds=rows["fold"],
                level=level,
            )
        return dict(self._intervals[level])

    def retraining_interval(self, metric: str = "accuracy", *, level: float = 0.95) -> Interval:
        r"""Return a confidence interval of a metric for networks that are trained again.

        :meth:`intervals` are those of the fitted networks: only test patients vary. This interval
        is that of the mean performance of networks trained by the same recipe.

        Parameters
        ----------
        metric : str, default="accuracy"
            Name of a metric in ``covidct.evaluation.metrics.METRICS``.
        level : float, default=0.95
            Coverage of the interval, in (0, 1).

        Returns
        -------
        Interval
            Low and high end, as fractions. Its `method` is ``"corrected"`` if folds differ: the
            networks are trained on other patients of the source. It is ``"crossed"`` if all repeats
            have the same folds, as those of an official split and of left-out sources: the networks
            are trained on the same slices and tested on other patients. NaN, with the `reason`, for
            one fold.

        Raises
        ------
        UnknownNameError
            If `metric` is unknown.

        See Also
        --------
        covidct.evaluation.significance.corrected_resampled_ttest : Correction of the variance.
        covidct.evaluation.variance.crossed_interval : Interval of repeats on the same slices.

        Examples
        --------
        >>> import covidct
        >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
        >>> recipe = covidct.Recipe.demo().scaled(1)
        >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None,
        ...                             repeats=2)
        >>> low, high = interval = cv.run(slices).retraining_interval("accuracy")
        >>> low <= high, interval.method
        (True, 'corrected')
        """
        return retraining_interval(self, metrics.find_metric(metric).name, level=level)

    def variance_components(self, metric: str = "accuracy") -> VarianceComponents:
        """Separate the variance of a metric into training, split and patients.

        Parameters
        ----------
        metric : str, default="accuracy"
            Name of a metric in ``covidct.evaluation.metrics.METRICS``.

        Returns
        -------
        VarianceComponents
            Variances; printing them gives a table. A run with repeats gives training and split
            together; :func:`covidct.runs.variance_components` separates them from several runs.

        Raises
        ------
        UnknownNameError
            If `metric` is unknown.
        """
        return variance_components(self, metric=metric)

    def interval_table(self, metric: str = "accuracy") -> Table:
        """Return a table of the questions that the intervals of a metric answer.

        Parameters
        ----------
        metric : str, default="accuracy"
            Name of a metric in ``covidct.evaluation.metrics.METRICS``.

        Returns
        -------
        Table
            A row per question, with the interval in percent and its method.

        Raises
        ------
        UnknownNameError
            If `metric` is unknown.
        """
        return interval_table(self, metrics.find_metric(metric).name)

    @property
    def repeat_numbers(self) -> tuple[int, ...]:
        """Number of the repeat of each fold; 0 if no slice is tested twice."""
        return repeat_numbers(self.folds)

    def patient_intervals(self, *, level: float = 0.95) -> dict[str, Interval] | None:
        """Return confidence intervals of the means of :attr:`patient_metrics` over the folds.

        Accuracy, recall and specificity have Wilson's interval, which also holds if all patients
        are classified correctly; the other metrics have a bootstrap over patients. They are
        computed once and kept.

        Parameters
        ----------
        level : float, default=0.95
            Coverage of the intervals, in (0, 1).

        Returns
        -------
        dict of str to Interval or None
            Low and high end of each metric's interval, as fractions; None if there are no patient
            metrics.
        """
        if level not in self._patient_intervals:
            self._patient_intervals[level] = self._compute_patient_intervals(level)
        found = self._patient_intervals[level]
        return None if found is None else dict(found)

    def _compute_patient_intervals(self, level: float) -> dict[str, Interval] | None:
        rows = self.patient_predictions()
        if rows is None:
            return None
        found = intervals.bootstrap(
            rows["target"],
            rows["probability"],
            groups=rows["group"],
            folds=rows["fold"],
            level=level,
        )
        means = metrics.summarize(self.patient_metrics or [])
        patients = dict(zip(rows["group"], rows["target"], strict=True))
        negatives, positives = np.bincount(list(patients.values()), minlength=2)
        shares = {"accuracy": len(patients), "recall": positives, "specificity": negatives}
        return found | {
            name: intervals.wilson(means[name][0] * n, n, level=level)
            for name, n in shares.items()
            if not np.isnan(means[name][0])
        }

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

    @property
    def resampling(self) -> str:
        """Phrase that describes the resampling of :meth:`intervals`, for the legend of a table."""
        return describe_resampling(self.resampled_unit, self._units().nunique())

    def interval_notes(self) -> list[str]:
        """Return sentences about unusual :meth:`intervals`, for the notes of a table.

        Returns
        -------
        list of str
            Metrics with another interval or none, the simulated coverage if there are fewer than
            50 patients or other units, and a warning if patients are unknown, which makes the
            intervals too narrow; empty if there is nothing to say.
        """
        shown = {name: self.intervals()[name] for name in TABLE_METRICS}
        count = self._units().nunique()
        notes = describe_intervals(shown, unit=self.resampled_unit, count=count)
        if not self.has_patients:
            notes.append(_TOO_NARROW[self.has_groups])
        return notes

    def _units(self) -> pd.Series[Any]:
        """Return the units to resample: the group of each row, or its slice."""
        return self.predictions["group" if self.has_groups else "index"]

    @property
    def settings(self) -> dict[str, object]:
        """Settings besides network, dataset and protocol; empty for an average of runs."""
        return {}

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
        """Noun for the unit that intervals resample: :attr:`unit`, or ``"slice"`` if unknown."""
        return self.unit if self.has_groups else "slice"

    @property
    def has_patients(self) -> bool:
        """True if groups are known that are not near-duplicates."""
        return self.has_groups and self.unit != group_unit("near-duplicate")

    def shared_groups(self) -> float | None:
        """Compute the share of test slices with slices of the same group in the training part.

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

    def by(self, column: str | pd.Series[Any] | npt.ArrayLike) -> pd.DataFrame:
        """Return the metrics of subgroups of the slices.

        Parameters
        ----------
        column : str, Series or array-like of shape (n_slices,)
            Name of a column that names the subgroup of each slice: one of `predictions`, such as
            ``"label"`` (the original class) or ``"source"``, or a column of the `metadata` of the
            dataset, which the run keeps (see :attr:`columns`). Or one value for each slice of the
            dataset, such as a column of its `table` or a property that the audit measured
            (``report.properties["file format"]``). Numbers with more than six different values are
            divided at their quartiles.

        Returns
        -------
        DataFrame
            One row per subgroup: ``slices``, ``groups`` (number of patients or other units that
            the intervals resample), and for accuracy, recall, specificity and AUC the mean over
            the folds that test the subgroup, as a fraction, with the ends of its 95 % interval
            (``"recall_low"``, ``"recall_high"``). What is undefined is NaN: a subgroup of one
            class has no AUC, and either recall or specificity.

        Raises
        ------
        UnknownNameError
            If there is no such column.
        ValueError
            If the column has more than 50 different texts, or another number of values than the
            dataset has slices.

        See Also
        --------
        gaps : Largest difference between subgroups, with a test.

        Examples
        --------
        >>> import covidct
        >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
        >>> recipe = covidct.Recipe.demo().scaled(1)
        >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
        >>> cv.run(slices).by("label")["slices"].to_dict()
        {'COVID': 8, 'non-COVID': 8}
        """
        return subgroup_frame(self._scored(), *self._subgroups(column))

    def gaps(self, column: str | pd.Series[Any] | npt.ArrayLike) -> pd.DataFrame:
        """Return the largest difference of each metric between subgroups, with a test.

        Parameters
        ----------
        column : str, Series or array-like of shape (n_slices,)
            Subgroup of each slice, as in :meth:`by`.

        Returns
        -------
        DataFrame
            One row per metric with the fields of :class:`covidct.runs.subgroups.Gap`. Subgroups in
            which fewer than ten patients decide a metric are left out, and listed.

        Raises
        ------
        UnknownNameError
            If there is no such column.
        ValueError
            As in :meth:`by`.

        Examples
        --------
        >>> import covidct
        >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
        >>> recipe = covidct.Recipe.demo().scaled(1)
        >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
        >>> cv.run(slices).gaps("label").loc["accuracy", "left_out"]    # two patients of each label
        ('COVID', 'non-COVID')
        """
        names, _ = self._subgroups(column)
        return gap_frame(compare(self._scored(), names))

    @property
    def _n_slices(self) -> int:
        """Number of slices of the dataset, as far as the folds use them."""
        parts = (part for f in self.folds for part in (f.train, f.test, f.validation))
        return 1 + max(int(part.max(initial=0)) for part in parts)

    @property
    def columns(self) -> pd.DataFrame | None:
        """Further columns of the slices, one row per slice of the dataset; None if unknown."""
        return None

    def _scored(self) -> Scored:
        rows = self.predictions
        return Scored(
            rows["target"].to_numpy(),
            rows["probability"].to_numpy(),
            rows["index"].to_numpy(),
            self._units().to_numpy(),
            rows["fold"].to_numpy(),
        )

    def _subgroups(
        self, column: str | pd.Series[Any] | npt.ArrayLike
    ) -> tuple[npt.NDArray[np.str_], str]:
        """Return the subgroup of each prediction, and the name of the column."""
        index = self.predictions["index"].to_numpy()
        if not isinstance(column, str):
            name = str(getattr(column, "name", None) or "subgroup")
            return subgroup_names(column, name, count=self._n_slices)[index], name
        if column in self.predictions:
            return subgroup_names(self.predictions[column], column), column
        if self.columns is not None and column in self.columns:
            return subgroup_names(self.columns[column], column)[index], column
        known = [*self.predictions.columns, *([] if self.columns is None else self.columns.columns)]
        raise UnknownNameError.among("column", column, map(str, known))

    def _validation_predictions(self) -> pd.DataFrame | None:
        """Return the predictions of the validation part of each fold; None if there is none."""
        return None

    def _per(self, per: Unit | None) -> UnitPredictions:
        """Collect the predictions per slice or patient; None for patients if they are known."""
        return UnitPredictions.of(
            per or ("patient" if self.has_patients else "slice"),
            self.predictions,
            self._validation_predictions(),
            has_groups=self.has_groups,
            has_patients=self.has_patients,
            unit=self.unit,
        )

    def operating_points(
        self,
        *,
        sensitivity: float | Sequence[float] | None = None,
        specificity: float | Sequence[float] | None = None,
        threshold: float | Sequence[float] | None = None,
        per: Unit = "slice",
    ) -> OperatingPoints:
        """Return sensitivity, specificity and predictive values at chosen thresholds.

        The threshold of a fold is chosen on the other folds, or on the validation part if the split
        has one: never on the predictions that it is applied to. The confusion matrices of the folds
        are added.

        Parameters
        ----------
        sensitivity, specificity : float or sequence of float, optional
            Targets in (0, 1]. The other value, of the two, is then as large as the run allows.
        threshold : float or sequence of float, optional
            Fixed thresholds in [0, 1]. If no option is given, the targets are a sensitivity and a
            specificity of 0.95.
        per : {"slice", "patient"}, default="slice"
            Unit that is decided about. The probability of a patient is the mean over its slices.

        Returns
        -------
        OperatingPoints
            Values with intervals that resample whole patients, if these are known. Printing it
            gives a table.

        Raises
        ------
        ValueError
            If patients are unknown and `per` is ``"patient"``, a target is outside its range, or
            there are no other predictions to choose a threshold on.

        Examples
        --------
        >>> import covidct
        >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
        >>> recipe = covidct.Recipe.demo().scaled(1)
        >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
        >>> points = cv.run(slices).operating_points(sensitivity=[0.9, 0.95])
        >>> [str(point.criterion) for point in points], points.fitted_on
        (['sensitivity 90 %', 'sensitivity 95 %'], 'the other folds')
        """
        return self._per(per).operating_points(_criteria(sensitivity, specificity, threshold))

    def predictive_values(
        self,
        prevalence: float | Sequence[float],
        *,
        sensitivity: float | Sequence[float] | None = None,
        specificity: float | Sequence[float] | None = None,
        threshold: float | Sequence[float] | None = None,
        per: Unit = "slice",
    ) -> OperatingPoints:
        """Return predictive values and likelihood ratios where another share has COVID-19.

        Parameters
        ----------
        prevalence : float or sequence of float
            Shares of COVID-19, in (0, 1).
        sensitivity, specificity, threshold, per
            See :meth:`operating_points`.

        Returns
        -------
        OperatingPoints
            PPV, NPV and likelihood ratios with intervals. They hold if sensitivity and specificity
            are the same there.

        Raises
        ------
        ValueError
            If a prevalence is outside (0, 1), or as in :meth:`operating_points`.
        """
        return self._per(per).operating_points(
            _criteria(sensitivity, specificity, threshold), prevalences=_listed(prevalence)
        )

    def net_benefit(
        self,
        thresholds: npt.ArrayLike | None = None,
        *,
        per: Unit = "slice",
        calibrate: Method | None = "platt",
        prevalence: float | None = None,
    ) -> DecisionCurve:
        """Return the net benefit of acting on the prediction: a decision curve.

        Parameters
        ----------
        thresholds : array-like of float, optional
            Probabilities of COVID-19 at which somebody would act, in (0, 1); by default 0.01 to
            0.99.
        per : {"slice", "patient"}, default="slice"
            Unit that is decided about.
        calibrate : {"temperature", "platt"} or None, default="platt"
            Calibration of each fold, fitted on the other folds or on the validation part; None for
            the probabilities as predicted.
        prevalence : float, optional
            Share of COVID-19 to recalibrate to; by default, that of the dataset, which is seldom
            that of a clinic.

        Returns
        -------
        DecisionCurve
            Net benefit of the model, of treating all and of treating none.

        Raises
        ------
        ValueError
            If patients are unknown and `per` is ``"patient"``, a value is outside its range, or
            there are no other predictions to calibrate on.
        """
        return self._per(per).net_benefit(thresholds, calibrate=calibrate, prevalence=prevalence)

    def decision_rule(
        self,
        *,
        per: Unit | None = None,
        calibrate: bool | Method = False,
        sensitivity: float | None = None,
        specificity: float | None = None,
        threshold: float | None = None,
        prevalence: float | None = None,
    ) -> DecisionRule:
        """Fit calibration and threshold for new slices or patients.

        The rule is fitted on the validation part if the split has one, otherwise on the out-of-fold
        predictions of all folds; repeats are averaged, as :class:`covidct.Predictor` averages
        networks. Its performance is close to that of :meth:`operating_points`, where every
        fold has a threshold that was chosen in the same way without it.

        Parameters
        ----------
        per : {"slice", "patient"} or None, default=None
            Unit that is decided about; None for patients if they are known, otherwise slices.
        calibrate : bool or {"temperature", "platt"}, default=False
            Calibration; True for ``"platt"``.
        sensitivity, specificity, threshold : float, optional
            One of these: target in (0, 1], or threshold of the calibrated probability; by default,
            the threshold is 0.5.
        prevalence : float, optional
            Share of COVID-19 where the rule will be used, in (0, 1); needs `calibrate`.

        Returns
        -------
        DecisionRule
            Rule for :class:`covidct.Predictor`.

        Raises
        ------
        ValueError
            If patients are unknown and `per` is ``"patient"``, several targets are given,
            `prevalence` is given without `calibrate`, or a value is outside its range.
        """
        return self._per(per).rule(
            calibrate=calibrate,
            sensitivity=sensitivity,
            specificity=specificity,
            threshold=threshold,
            prevalence=prevalence,
        )

    def confusion_matrix(self, fold: int | None = None) -> npt.NDArray[np.float64]:
        """Count slices by true and predicted class.

        Parameters
        ----------
        fold : int or None, default=None
            Number of a fold; None averages over the folds, as Figs. 9 and 10 of the paper do.

        Returns
        -------
        ndarray of shape (2, 2)
            [[true negatives, false positives], [false negatives, true positives]].
        """
        numbers = range(len(self.folds)) if fold is None else [fold]
        parts = map(self.fold_predictions, numbers)
        counts = [metrics.confusion_matrix(p["target"], p["probability"]) for p in parts]
        return np.asarray(np.mean(counts, axis=0), dtype=np.float64)

    def plot_roc(self, ax: Axes | None = None) -> Axes:
        """Draw the ROC curve, averaged over the folds.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; by default those of a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The Axes, as drawn by :func:`covidct.evaluation.figures.roc`.
        """
        from ..evaluation import figures

        rows = self.predictions
        return figures.roc(
            rows["target"], rows["probability"], folds=rows["fold"], name=self.model_name, ax=ax
        )

    def plot_precision_recall(self, ax: Axes | None = None) -> Axes:
        """Draw the precision-recall curve, averaged over the folds.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; by default those of a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The Axes, as drawn by :func:`covidct.evaluation.figures.precision_recall`.
        """
        from ..evaluation import figures

        rows = self.predictions
        return figures.precision_recall(
            rows["target"], rows["probability"], folds=rows["fold"], name=self.model_name, ax=ax
        )

    def plot_confusion_matrix(self, ax: Axes | None = None, *, fold: int | None = None) -> Axes:
        """Draw the confusion matrix of the slices.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; by default those of a new figure.
        fold : int or None, default=None
            Number of a fold; None averages over the folds.

        Returns
        -------
        matplotlib.axes.Axes
            The Axes, as drawn by :func:`covidct.evaluation.figures.confusion`.
        """
        from ..evaluation import figures

        return figures.confusion(self.confusion_matrix(fold), classes=self.classes, ax=ax)

    def plot_calibration(self, ax: Axes | None = None, *, n_bins: int = 10) -> Axes:
        """Draw the observed share of COVID-19 against the predicted probability.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; by default those of a new figure.
        n_bins : int, default=10
            Number of bins of equal width.

        Returns
        -------
        matplotlib.axes.Axes
            The Axes, as drawn by :func:`covidct.evaluation.figures.reliability` from the
            out-of-fold predictions of all folds.
        """
        from ..evaluation import figures

        rows = self.predictions
        return figures.reliability(
            rows["target"], rows["probability"], n_bins=n_bins, name=self.model_name, ax=ax
        )

    def plot_net_benefit(
        self, ax: Axes | None = None, *, per: Unit = "slice", calibrate: Method | None = "platt"
    ) -> Axes:
        """Draw the net benefit of acting on the prediction against the threshold: a decision curve.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; by default those of a new figure.
        per : {"slice", "patient"}, default="slice"
            Unit that is decided about.
        calibrate : {"temperature", "platt"} or None, default="platt"
            Calibration of each fold, as in :meth:`net_benefit`.

        Returns
        -------
        matplotlib.axes.Axes
            The Axes, as drawn by :func:`covidct.evaluation.figures.net_benefit`.
        """
        from ..evaluation import figures

        curve = self.net_benefit(per=per, calibrate=calibrate)
        return figures.net_benefit(curve, name=self.model_name, ax=ax)

    def to_frame(self) -> pd.DataFrame:
        """Return the metrics of the folds as a table of numbers.

        Returns
        -------
        DataFrame
            One row per fold and one column per metric, as fractions. The index is the number of
            the fold, or the name of the source that it tests.
        """
        import pandas as pd

        named = any(fold.name for fold in self.folds)
        index = list(self.fold_names) if named else range(len(self.folds))
        return pd.DataFrame(self.fold_metrics, index=index).rename_axis(index="fold")

    def table(self) -> Table:
        """Return the metrics in percent: each fold, mean ± standard deviation, and interval.

        Returns
        -------
        Table
            One row per metric. With more than ten folds, the columns are the means of the repeats;
            single folds are in :meth:`to_frame`.
        """
        summary, ends = self.summary(), self.intervals()
        what, columns = self._columns()
        header = [what, *columns, "mean ± sd", "95 % interval"]
        rows = [
            [
                metrics.METRICS[name].title,
                *(percent(scores[name]) for scores in columns.values()),
                percent(*summary[name]),
                percent_range(*ends[name]),
            ]
            for name in TABLE_METRICS
        ]
        caption = f"{self.model_name} on {self.dataset_name}, protocol: {self.protocol} (percent)"
        return Table(header, rows, caption=caption, notes=tuple(self._notes()))

    def _columns(self) -> tuple[str, dict[str, dict[str, float]]]:
        """Return the metrics of the folds or, of many folds, of the repeats, by column."""
        scores = self.fold_metrics
        if len(scores) <= _MOST_COLUMNS:
            return "fold", dict(zip(self.fold_names, scores, strict=True))
        repeats = self.repeat_numbers
        number = max(repeats) + 1
        if not 1 < number <= _MOST_COLUMNS:
            return "fold", {}
        parts = [[s for s, r in zip(scores, repeats, strict=True) if r == n] for n in range(number)]
        means = [metrics.summarize(part) for part in parts]
        return "repeat", {
            str(n): {name: mean for name, (mean, _) in of_repeat.items()}
            for n, of_repeat in enumerate(means)
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as plain values for JSON.

        Returns
        -------
        dict
            Undefined values are None.
        """
        summary = {name: {"mean": m, "sd": sd} for name, (m, sd) in self.summary().items()}
        content: dict[str, Any] = {
            "model": self.model_name,
            "dataset": self.dataset_name,
            "protocol": self.protocol.label,
            "summary": summary,
            "folds": self.fold_metrics,
            "intervals_95": self.intervals(),
            "patients": self.patient_metrics,
            "patient_intervals_95": self.patient_intervals(),
        }
        if self.label_scores is not None:
            content["labels"] = self.label_scores.to_dict()
        ready: dict[str, Any] = json_ready(content)
        return ready

    def __str__(self) -> str:
        return str(self.table())

    def _notes(self) -> Iterator[str]:
        number = max(self.repeat_numbers) + 1
        over = f"the {len(self.folds)} folds of {number} repeats" if number > 1 else "folds"
        yield (
            f"sd: sample standard deviation over {over}, which is not a confidence interval. "
            f"Interval of the mean: {self.resampling}."
        )
        yield from self.interval_notes()
        if number > 1 and not np.isnan((ends := self.retraining_interval("accuracy")).low):
            yield f"95 % interval of the accuracy for retrained networks: {percent_range(*ends)}."
        patients, of_patients = self.patient_metrics, self.patient_intervals()
        if patients and of_patients and self.has_patients:
            means = metrics.summarize(patients)
            yield f"Per {self.unit}, by the mean probability of its slices: " + ", ".join(
                f"{metrics.METRICS[name].title.lower()} {percent(means[name][0])} "
                f"({percent_range(*of_patients[name])})"
                for name in ("accuracy", "recall", "specificity")
            )
            yield from self.group_notes()
        if self.label_scores is not None:
            macro, interval = self.label_scores.macro_f1, self.label_scores.macro_f1_interval
            yield (
                f"Macro F1 of the {len(self.labels)} labels, by the highest probability: "
                f"{percent(macro)} ({percent_range(*interval)}); label_scores has the table."
            )
        if self.predictions["label"].nunique() > 2:
            yield f"By label: {', '.join(describe_labels(self.by('label')))}."
        if self.protocol.group_kind == self.group_kind == "near-duplicate":
            sizes = self.pooled_predictions()["group"].value_counts()
            several = sizes[sizes > 1]
            yield (
                f"Kept together: {len(several):,} groups of near-duplicates with "
                f"{several.sum():,} slices; the largest has {0 if several.empty else several.max()}"
                " slices. Other slices of the same patients may still be in both parts."
            )
        if self.protocol.id == "paper" and self.shared_groups() != 0:
            warning = leakage_warning(self.unit if self.has_groups else None)
            yield f"{warning[:1].upper()}{warning[1:]}."
        yield from metrics.undefined_notes(self.fold_metrics)

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


def _listed(values: float | Sequence[float] | None) -> Sequence[float]:
    if values is None:
        return []
    return list(values) if isinstance(values, Sequence | np.ndarray) else [float(values)]


def _criteria(
    sensitivity: float | Sequence[float] | None,
    specificity: float | Sequence[float] | None,
    threshold: float | Sequence[float] | None,
) -> list[Criterion]:
    criteria = [
        *(Criterion("sensitivity", v) for v in _listed(sensitivity)),
        *(Criterion("specificity", v) for v in _listed(specificity)),
        *(Criterion("threshold", v) for v in _listed(threshold)),
    ]
    return criteria or [Criterion("sensitivity", 0.95), Criterion("specificity", 0.95)]
