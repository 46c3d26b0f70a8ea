"""Plots of the predictions of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..evaluation.calibration import Method
from ..evaluation.decision_rule import Unit
from .decisions import Decisions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Plots"]


class Plots(Decisions):
    """Predictions of a run, with methods that plot them."""

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
            Number of a fold. None: mean over the folds.

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
            Unit of the predictions.
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
