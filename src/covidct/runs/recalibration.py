"""What calibration makes of a run: temperatures, thresholds, and what they achieve."""

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

_AT_END = " A temperature of {:g} or {:g} is where its search ends.".format(*TEMPERATURE_BOUNDS)


@dataclass(frozen=True)
class CalibratedFolds:
    """The folds of a run, each calibrated on slices that it is not judged on.

    Made by :meth:`covidct.CrossValidationResult.calibrate`. Printing it gives a row for each fold,
    and the errors before and after.

    Attributes
    ----------
    sensitivity
        The one wished for.
    fitted_on
        ``"the validation part"`` or ``"the other folds"``.
    targets, probabilities
        (N,), of the test slices of all folds, as trained.
    fit
        Temperatures and thresholds of the K folds, what they achieve there, and the calibrated
        probabilities, (N,).
    """

    sensitivity: float
    fitted_on: str
    targets: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    fit: calibration.CrossFit

    def errors(self) -> dict[str, tuple[float, float]]:
        """Return how far probabilities are from frequencies, as trained and calibrated.

        Returns
        -------
        dict
            ``"expected calibration error"`` (in ten bins) and ``"Brier score"`` to (as trained,
            calibrated), as fractions.
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
        """Collect the numbers for JSON.

        Returns
        -------
        dict
            Plain values; what is undefined is None.
        """
        content = {
            "sensitivity": self.sensitivity,
            "fitted_on": self.fitted_on,
            "temperatures": self.fit.temperatures.tolist(),
            "thresholds": self.fit.thresholds.tolist(),
            "sensitivities": self.fit.sensitivities.tolist(),
            "specificities": self.fit.specificities.tolist(),
            "errors": {
                name: {"as trained": before, "calibrated": after}
                for name, (before, after) in self.errors().items()
            },
        }
        ready: dict[str, Any] = json_ready(content)
        return ready

    def __str__(self) -> str:
        fit = self.fit
        achieved = fit.sensitivities, fit.specificities
        columns = (fit.folds, fit.temperatures, fit.thresholds, *achieved)
        rows = [
            [str(fold), f"{temperature:.2f}", f"{threshold:.3f}", *map(percent, shares)]
            for fold, temperature, threshold, *shares in zip(*columns, strict=True)
        ]
        means = [percent(*_mean_and_sd(shares)) for shares in achieved]
        header = ["fold", "temperature", "threshold", "sensitivity, %", "specificity, %"]
        errors = ", ".join(
            f"{name} {before:.3f} as trained, {after:.3f} calibrated"
            for name, (before, after) in self.errors().items()
        )
        at_end = np.isclose(fit.temperatures[:, None], TEMPERATURE_BOUNDS, rtol=1e-3).any()
        return (
            f"Calibrated on {self.fitted_on}; thresholds, of the calibrated probability, for a "
            f"sensitivity of {percent(self.sensitivity)} %\n"
            f"{Table(header, [*rows, ['mean ± sd', '', '', *means]]).render()}\n"
            f"{errors[:1].upper()}{errors[1:]}.{_AT_END if at_end else ''}"
        )


def _mean_and_sd(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    return metrics.summarize([{"value": float(value)} for value in values])["value"]
