"""Predictions of slices or patients, with those on which thresholds and calibration are fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..evaluation.calibration import Method, cross_fit
from ..evaluation.decision_curve import THRESHOLDS, DecisionCurve, net_benefit
from ..evaluation.decision_rule import (
    Criterion,
    DecisionRule,
    Unit,
    fit_rule,
    probability_logit,
)
from ..evaluation.operating_points import OperatingPoints, operating_point
from .fold_predictions import FoldPredictions, per_patient

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UnitPredictions"]


@dataclass(frozen=True, eq=False)
class UnitPredictions:
    """Predictions of slices or patients in the test folds.

    Parameters
    ----------
    per : {"slice", "patient"}
        Unit of the predictions.
    rows : DataFrame
        Columns ``target``, ``probability``, ``fold``, ``unit`` (identity of the slice or patient)
        and ``group`` (resampled by the intervals).
    validation : DataFrame or None
        Predictions of the validation part by the network of each fold; None without this part.
    group : str
        Noun for a group, such as ``"patient"``.
    """

    per: Unit
    rows: pd.DataFrame
    validation: pd.DataFrame | None
    group: str

    @classmethod
    def of(cls, result: FoldPredictions, per: Unit) -> UnitPredictions:
        """Collect the predictions of slices or patients.

        Parameters
        ----------
        result : FoldPredictions
            Predictions of a run.
        per : {"slice", "patient"}
            Unit of the predictions.

        Returns
        -------
        UnitPredictions

        Raises
        ------
        ValueError
            If `per` is unknown, or is ``"patient"`` and patients are unknown.
        """
        if per not in ("slice", "patient"):
            raise ValueError(f"per must be 'slice' or 'patient', got {per!r}")
        if per == "patient" and not result.has_patients:
            known = f"; the groups are {result.unit}s" if result.has_groups else ""
            raise ValueError(f"per='patient' needs the patient of every slice{known}")

        def collected(part: pd.DataFrame) -> pd.DataFrame:
            if per == "patient":
                part = per_patient(part)
                return part.assign(unit=part["group"])
            group = part["group" if result.has_groups else "index"]
            return part.assign(unit=part["index"], group=group)

        validation = result.validation_predictions()
        return cls(
            per,
            collected(result.predictions),
            None if validation is None else collected(validation),
            result.resampled_unit,
        )

    @property
    def fitted_on(self) -> str:
        """Description of the predictions on which thresholds and calibration are fitted."""
        return "the other folds" if self.validation is None else "the validation part"

    def _fitted(self, *columns: str) -> tuple[npt.NDArray[np.generic], ...] | None:
        if self.validation is None:
            return None
        return tuple(self.validation[column].to_numpy() for column in columns)

    def operating_points(
        self, criteria: Sequence[Criterion], *, prevalences: Sequence[float] = ()
    ) -> OperatingPoints:
        """Evaluate thresholds that are chosen without the predictions of their fold.

        Parameters
        ----------
        criteria : sequence of Criterion
            Criteria of the thresholds.
        prevalences : sequence of float, default=()
            Shares of COVID-19 for predictive values.

        Returns
        -------
        OperatingPoints
        """
        fitted_on = self._fitted("target", "probability", "fold", "group")
        points = tuple(
            operating_point(
                self.rows["target"].to_numpy(),
                self.rows["probability"].to_numpy(),
                criterion,
                folds=self.rows["fold"].to_numpy(),
                groups=self.rows["group"],
                units=self.rows["unit"].to_numpy(),
                fitted_on=fitted_on,  # type: ignore[arg-type]  # four columns
                prevalences=prevalences,
            )
            for criterion in criteria
        )
        groups = self.rows["group"].nunique()
        return OperatingPoints(points, self.per, self.group, groups, self.fitted_on)

    def net_benefit(
        self,
        thresholds: npt.ArrayLike | None = None,
        *,
        calibrate: Method | None = "platt",
        prevalence: float | None = None,
    ) -> DecisionCurve:
        """Compute the decision curve, with each fold calibrated on other predictions.

        Parameters
        ----------
        thresholds : array-like of float, optional
            Threshold probabilities, in (0, 1); by default 0.01 to 0.99.
        calibrate : {"temperature", "platt"} or None, default="platt"
            Calibration of each fold. None: the predicted probabilities are used.
        prevalence : float, optional
            Share of COVID-19; by default, that of the predictions.

        Returns
        -------
        DecisionCurve
        """
        targets = self.rows["target"].to_numpy()
        probabilities = self.rows["probability"].to_numpy()
        if calibrate is not None:
            fitted_on = self._fitted("probability", "target", "fold")
            if fitted_on is not None:
                fitted_on = (probability_logit(fitted_on[0]), *fitted_on[1:])
            probabilities = cross_fit(
                probability_logit(probabilities),
                targets,
                folds=self.rows["fold"].to_numpy(),
                slices=self.rows["unit"].to_numpy(),
                method=calibrate,
                fitted_on=fitted_on,  # type: ignore[arg-type]  # three columns
            ).probabilities
        if prevalence is not None:
            # Probabilities are calibrated to the prevalence of the predictions used for the fit.
            known = self.rows if calibrate is None or self.validation is None else self.validation
            fitted = DecisionRule(prevalence=float(known["target"].mean()))
            probabilities = fitted.at_prevalence(prevalence).calibrate(probabilities)
        curve = net_benefit(
            targets,
            probabilities,
            thresholds=THRESHOLDS if thresholds is None else thresholds,
            groups=self.rows["group"],
            prevalence=prevalence,
        )
        return replace(curve, unit=self.per)

    def rule(self, **options: float | bool | Method | None) -> DecisionRule:
        """Fit a rule for new cases.

        Parameters
        ----------
        **options
            Options of :func:`covidct.evaluation.decision_rule.fit_rule`.

        Returns
        -------
        DecisionRule
            Rule fitted on the validation part if there is one, otherwise on all test folds. The
            predictions of a case by several networks are averaged first, as in
            :class:`covidct.Predictor`.
        """
        rows = self.rows if self.validation is None else self.validation
        cases = rows.groupby("unit").agg({"target": "max", "probability": "mean"})
        # mypy does not take a Series for an array.
        return fit_rule(cases["target"], cases["probability"], per=self.per, **options)  # type: ignore[arg-type]
