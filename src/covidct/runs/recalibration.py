"""Calibration of the folds of a run: temperatures, thresholds, and the resulting metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._display import Displayed
from .._files import json_ready
from .._text import capitalized
from ..evaluation import calibration, metrics
from ..evaluation.calibration import TEMPERATURE_BOUNDS
from ..evaluation.decision_rule import probability_logit
from ..evaluation.tables import Table, percent

__all__ = ["CalibratedFolds"]

_AT_BOUND = (
    " Some temperatures are at a bound of the search, {:g} or {:g}; probabilities of these folds "
    "may still be uncalibrated.".format(*TEMPERATURE_BOUNDS)
)


@dataclass(frozen=True, eq=False, repr=False)
class CalibratedFolds(Displayed):
    """Calibrated folds of a run, each evaluated on slices on which it was not fitted.

    Returned by :meth:`covidct.CrossValidationResult.calibrate`; printed as a table with a row per
    fold, and the calibration errors before and after calibration.

    Attributes
    ----------
    sensitivity : float
        Target sensitivity, in (0, 1].
    method : {"temperature", "platt"}
        Method of calibration.
    fitted_on : str
        ``"the validation part"`` or ``"the other folds"``.
    targets : ndarray of shape (n_slices,)
        Classes of the test slices of all folds.
    logits : ndarray of shape (n_slices,)
        Logits of these slices before calibration.
    groups : ndarray of shape (n_slices,)
        Groups of these slices, for the intervals of the slopes.
    probabilities : ndarray of shape (n_slices,)
        Probabilities of these slices before calibration.
    fit : CrossFit
        Temperature, threshold, sensitivity and specificity of each fold, and the calibrated
        probabilities.
    """

    sensitivity: float
    method: calibration.Method
    fitted_on: str
    targets: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float64]
    groups: npt.NDArray[np.generic]
    probabilities: npt.NDArray[np.float64]
    fit: calibration.CrossFit

    def errors(self) -> dict[str, tuple[float, float]]:
        """Return the calibration errors before and after calibration.

        Returns
        -------
        dict of str to tuple of (float, float)
            ``"expected calibration error"`` (ten bins) and ``"Brier score"``, each before and
            after calibration, as fractions.
        """
        measures: dict[str, Callable[[Any, Any], float]] = {
            "expected calibration error": calibration.expected_calibration_error,
            "Brier score": metrics.METRICS["brier"],
        }
        return {
            name: (
                measure(self.targets, self.probabilities),
                measure(self.targets, self.fit.probabilities),
            )
            for name, measure in measures.items()
        }

    def slopes(self) -> dict[str, calibration.LogisticCalibration]:
        """Return calibration slope and intercept before and after calibration.

        Returns
        -------
        dict of str to LogisticCalibration
            ``"uncalibrated"`` and ``"calibrated"``, over the test slices of all folds.
        """
        stages = {
            "uncalibrated": self.logits,
            "calibrated": probability_logit(self.fit.probabilities),
        }
        return {
            name: calibration.logistic_calibration(self.targets, logits, groups=self.groups)
            for name, logits in stages.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values for JSON.

        Returns
        -------
        dict
            Undefined values are None.
        """
        content = {
            "sensitivity": self.sensitivity,
            "method": self.method,
            "fitted_on": self.fitted_on,
            "slopes": self.fit.slopes.tolist(),
            "intercepts": self.fit.intercepts.tolist(),
            "temperatures": self.fit.temperatures.tolist(),
            "thresholds": self.fit.thresholds.tolist(),
            "sensitivities": self.fit.sensitivities.tolist(),
            "specificities": self.fit.specificities.tolist(),
            "errors": {
                name: {"uncalibrated": before, "calibrated": after}
                for name, (before, after) in self.errors().items()
            },
            "logistic_calibration": {
                name: {
                    "slope": found.slope,
                    "slope_interval_95": found.slope_interval,
                    "intercept": found.intercept,
                    "intercept_interval_95": found.intercept_interval,
                }
                for name, found in self.slopes().items()
            },
        }
        ready: dict[str, Any] = json_ready(content)
        return ready

    def table(self) -> Table:
        """Return temperature, threshold, sensitivity and specificity of each fold.

        Returns
        -------
        Table
            One row per fold, with the means below, and the calibration errors as a note.
        """
        fit = self.fit
        achieved = fit.sensitivities, fit.specificities
        platt = self.method == "platt"
        lines = (fit.slopes, fit.intercepts) if platt else (fit.temperatures,)
        titles = ("slope", "intercept") if platt else ("temperature",)
        columns = (fit.folds, *lines, fit.thresholds, *achieved)
        rows = [
            [
                str(fold),
                *(f"{value:.2f}" for value in line),
                f"{threshold:.3f}",
                percent(sensitivity),
                percent(specificity),
            ]
            for fold, *line, threshold, sensitivity, specificity in zip(*columns, strict=True)
        ]
        means = [percent(*_mean_and_sd(shares)) for shares in achieved]
        errors = ", ".join(
            f"{name} {before:.3f} before, {after:.3f} after calibration"
            for name, (before, after) in self.errors().items()
        )
        at_bound = np.isclose(fit.temperatures[:, None], TEMPERATURE_BOUNDS, rtol=1e-3).any()
        return Table(
            ["fold", *titles, "threshold", "sensitivity, %", "specificity, %"],
            rows,
            footer=[["mean ± sd", *("" for _ in titles), "", *means]],
            caption=f"Calibrated on {self.fitted_on}; thresholds of the calibrated probability for "
            f"a sensitivity of {percent(self.sensitivity)} %",
            notes=[
                f"{capitalized(errors)}.{_AT_BOUND if at_bound else ''}",
                *(f"{name.capitalize()}: {found}." for name, found in self.slopes().items()),
                (
                    "A slope of 1 and an intercept of 0 are ideal; a slope below 1 means that "
                    "probabilities are too extreme, a negative intercept that they are too high."
                ),
            ],
        )

    def __str__(self) -> str:
        return str(self.table())


def _mean_and_sd(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    return metrics.summarize([{"value": float(value)} for value in values])["value"]
