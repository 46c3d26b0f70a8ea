"""Curves of a ranking, averaged over folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from ._drawing import DOTTED, PALE, blank, check_some, legend_below, light, looks
from ._inputs import Floats, Ints, check_predictions
from .metrics import find_metric, summarize

Folds = Sequence[tuple[npt.ArrayLike, npt.ArrayLike]]
"""Targets and probabilities of each fold."""

_GRID = np.linspace(0, 1, 501)


def roc(runs: Mapping[str, Folds]) -> Figure:
    """Draw receiver operating characteristics: the mean over folds, with a band of one sd.

    Parameters
    ----------
    runs
        For each run the targets and probabilities of its folds. A single run also shows each
        fold as a thin line. Folds with one class have no such curve and are left out.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no run, or a run has no fold with both classes.

    Notes
    -----
    Sensitivities are averaged at equal specificity. The band is how much folds differ, no
    confidence band.

    Examples
    --------
    >>> from covidct.evaluation import figures
    >>> folds = [([0, 1, 0, 1], [0.1, 0.8, 0.4, 0.3]), ([0, 1, 0, 1], [0.2, 0.9, 0.1, 0.7])]
    >>> print(figures.roc({"SqueezeNet": folds}).get_label())
    ROC curves. SqueezeNet: AUC 0.875 ± 0.177.
    """
    figure, ax = _averaged("ROC curves", runs, curve=_roc_curve, metric="auc", short="AUC")
    ax.set(xlabel="1 − specificity", ylabel="sensitivity")
    ax.plot([0, 1], [0, 1], color=PALE, linewidth=1, linestyle=DOTTED, zorder=1)
    return figure


def precision_recall(runs: Mapping[str, Folds]) -> Figure:
    """Draw precision against recall: the mean over folds, with a band of one sd.

    Parameters
    ----------
    runs
        For each run the targets and probabilities of its folds. A single run also shows each
        fold as a thin line. Folds without a positive have no such curve and are left out.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no run, or a run has no fold with a positive.

    Notes
    -----
    Precisions are averaged at equal recall, as steps: between two thresholds a precision cannot
    be had by interpolation. AP is the average precision.

    Examples
    --------
    >>> from covidct.evaluation import figures
    >>> folds = [([0, 1, 0, 1], [0.1, 0.8, 0.4, 0.3]), ([0, 1, 0, 1], [0.2, 0.9, 0.1, 0.7])]
    >>> print(figures.precision_recall({"SqueezeNet": folds}).get_label())
    Precision-recall curves. SqueezeNet: AP 0.917 ± 0.118.
    """
    figure, ax = _averaged(
        "Precision-recall curves",
        runs,
        curve=_precision_curve,
        metric="average_precision",
        short="AP",
    )
    ax.set(xlabel="recall (sensitivity)", ylabel="precision")
    return figure


def _roc_curve(targets: Ints, probabilities: Floats) -> Floats:
    fall_out, sensitivity, _ = roc_curve(targets, probabilities, drop_intermediate=False)
    curve = np.asarray(np.interp(_GRID, fall_out, sensitivity))
    curve[0] = 0
    return curve


def _precision_curve(targets: Ints, probabilities: Floats) -> Floats:
    precision, recall, _ = precision_recall_curve(targets, probabilities)
    # Both come with the recall falling, and with a point (1, 0) at the end that no threshold has.
    precision, recall = precision[-2::-1], recall[-2::-1]
    return np.asarray(precision[np.searchsorted(recall, _GRID - 1e-9)])


@light
def _averaged(
    title: str,
    runs: Mapping[str, Folds],
    *,
    curve: Callable[[Ints, Floats], Floats],
    metric: str,
    short: str,
) -> tuple[Figure, Axes]:
    check_some("run", runs)
    figure = blank(4.2, 4.4 + 0.16 * len(runs), alt="")
    ax = figure.subplots()
    told = []
    for (name, folds), (color, line, _) in zip(runs.items(), looks(len(runs)), strict=True):
        checked = [check_predictions(*fold) for fold in folds]
        scores = [{metric: find_metric(metric)(*fold)} for fold in checked]
        usable = [f for f, s in zip(checked, scores, strict=True) if not np.isnan(s[metric])]
        if not usable:
            raise ValueError(f"no fold of {name!r} has the classes that {title} need")
        curves = np.array([curve(*fold) for fold in usable])
        if len(runs) == 1:
            ax.plot(_GRID, curves.T, color=color, linewidth=0.6, alpha=0.5)
        mean, sd = curves.mean(axis=0), curves.std(axis=0, ddof=min(1, len(curves) - 1))
        low, high = np.clip([mean - sd, mean + sd], 0, 1)
        ax.fill_between(_GRID, low, high, color=color, alpha=0.12, linewidth=0)
        told.append(f"{name}: {short} {_plus_minus(*summarize(scores)[metric])}")
        ax.plot(_GRID, mean, color=color, linestyle=line, label=told[-1])
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    legend_below(figure, title="mean ± sd over folds")
    figure.set_label(f"{title}. {'; '.join(told)}.")
    return figure, ax


def _plus_minus(mean: float, sd: float) -> str:
    return f"{mean:.3f}" if np.isnan(sd) else f"{mean:.3f} ± {sd:.3f}"
