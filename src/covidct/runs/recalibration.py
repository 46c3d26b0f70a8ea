"""Calibration of the folds of a run: temperatures, thresholds, and the resulting metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._files import json_ready
from ..evaluation import calibration, metrics
from ..evaluation.calibration import TEMPERATURE_BOUNDS
from ..evaluation.tables import Table, percent

__all__ = ["CalibratedFolds"]

_AT_BOUND = (
    " Some temperatures are at a bound of the search, {:g} or {:g}; probabilities of these folds "
    "may still be uncalibrated.".format(*TEMPERATURE_BOUNDS)
)


@dataclass(frozen=True)
class CalibratedFolds:
    """Calibrated folds of a run, each evaluated on slices on which it was not fitted.

    Returned by :meth:`covidct.CrossValidationResult.calibrate`. Printing it gives a row for each
    fold, and the calibration errors before and after.

    Attributes
    ----------
    sensitivity : float
        Target sensitivity, in (0, 1].
    fitted_on : str
        ``"the validation part"`` or ``"the other folds"``.
    targets : ndarray of shape (n_slices,)
        Classes of the test slices of all folds.
    probabilities : ndarray of shape (n_slices,)
        Their probabilities before calibration.
    fit : CrossFit
        Temperature, threshold, sensitivity and specificity of each fold, and the calibrated
        probabilities.
    """

    sensitivity: float
    fitted_on: str
    targets: npt.NDArray[np.int64]
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

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values for JSON.

        Returns
        -------
        dict
            Undefined values are None.
        """
        content = {
            "sensitivity": self.sensitivity,
            "fitted_on": self.fitted_on,
            "temperatures": self.fit.temperatures.tolist(),
            "thresholds": self.fit.thresholds.tolist(),
            "sensitivities": self.fit.sensitivities.tolist(),
            "specificities": self.fit.specificities.tolist(),
            "errors": {
                name: {"uncalibrated": before, "calibrated": after}
                for name, (before, after) in self.errors().items()
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
        columns = (fit.folds, fit.temperatures, fit.thresholds, *achieved)
        rows = [
            [str(fold), f"{temperature:.2f}", f"{threshold:.3f}", *map(percent, shares)]
            for fold, temperature, threshold, *shares in zip(*columns, strict=True)
        ]
        means = [percent(*_mean_and_sd(shares)) for shares in achieved]
        errors = ", ".join(
            f"{name} {before:.3f} before, {after:.3f} after calibration"
            for name, (before, after) in self.errors().items()
        )
        at_bound = np.isclose(fit.temperatures[:, None], TEMPERATURE_BOUNDS, rtol=1e-3).any()
        return Table(
            ["fold", "temperature", "threshold", "sensitivity, %", "specificity, %"],
            rows,
            footer=[["mean ± sd", "", "", *means]],
            caption=f"Calibrated on {self.fitted_on}; thresholds of the calibrated probability for "
            f"a sensitivity of {percent(self.sensitivity)} %",
            notes=[f"{errors[:1].upper()}{errors[1:]}.{_AT_BOUND if at_bound else ''}"],
        )

    def __str__(self) -> str:
        return str(self.table())


def _mean_and_sd(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    return metrics.summarize([{"value": float(value)} for value in values])["value"]
