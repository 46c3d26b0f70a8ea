"""Operating points, net benefit and decision rules from the predictions of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..evaluation.calibration import Method
from ..evaluation.decision_curve import DecisionCurve
from ..evaluation.decision_rule import Criterion, DecisionRule, Unit
from ..evaluation.operating_points import OperatingPoints
from .fold_predictions import FoldPredictions
from .unit_predictions import UnitPredictions

__all__ = ["Decisions"]


class Decisions(FoldPredictions):
    """Predictions of a run, with methods about decisions at thresholds."""

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
        has one, and never on the predictions to which it is applied. The confusion matrices of the
        folds are added.

        Parameters
        ----------
        sensitivity, specificity : float or sequence of float, optional
            Target values, in (0, 1]. The other of the two quantities is then as large as possible.
        threshold : float or sequence of float, optional
            Fixed thresholds, in [0, 1]. If neither these nor targets are given, the targets are a
            sensitivity and a specificity of 0.95.
        per : {"slice", "patient"}, default="slice"
            Unit of the predictions. The probability of a patient is the mean over its slices.

        Returns
        -------
        OperatingPoints
            Values with intervals that resample whole patients, if these are known; printed as a
            table.

        Raises
        ------
        ValueError
            If patients are unknown and `per` is ``"patient"``, a target is outside its range, or
            there are no other predictions on which a threshold can be chosen.

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
        """Return predictive values and likelihood ratios at a given prevalence of COVID-19.

        Parameters
        ----------
        prevalence : float or sequence of float
            Shares of COVID-19, in (0, 1).
        sensitivity, specificity, threshold, per
            See :meth:`operating_points`.

        Returns
        -------
        OperatingPoints
            PPV, NPV and likelihood ratios with intervals. They assume that sensitivity and
            specificity do not depend on the prevalence.

        Raises
        ------
        ValueError
            If a prevalence is outside (0, 1), or for the reasons of :meth:`operating_points`.
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
            Probabilities of COVID-19 from which one would act, in (0, 1); by default 0.01 to 0.99.
        per : {"slice", "patient"}, default="slice"
            Unit of the predictions.
        calibrate : {"temperature", "platt"} or None, default="platt"
            Calibration of each fold, fitted on the other folds or on the validation part. None: the
            predicted probabilities are used.
        prevalence : float, optional
            Share of COVID-19 for which the probabilities are recalibrated. By default, that of the
            dataset, which is rarely that of a clinic.

        Returns
        -------
        DecisionCurve
            Net benefit of the model, of treating all and of treating none.

        Raises
        ------
        ValueError
            If patients are unknown and `per` is ``"patient"``, a value is outside its range, or
            there are no other predictions on which the calibration can be fitted.
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
        networks. Its performance is close to that of :meth:`operating_points`, where the threshold
        of every fold is chosen in the same way without that fold.

        Parameters
        ----------
        per : {"slice", "patient"} or None, default=None
            Unit of the predictions. None: patients if they are known, otherwise slices.
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

    def _per(self, per: Unit | None) -> UnitPredictions:
        """Collect the predictions per slice or patient; None means patients if they are known."""
        return UnitPredictions.of(self, per or ("patient" if self.has_patients else "slice"))


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
