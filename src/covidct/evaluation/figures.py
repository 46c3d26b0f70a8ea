"""Plots of predictions: functions that draw into Axes, and functions that return a Figure.

:func:`roc`, :func:`precision_recall`, :func:`reliability`, :func:`confusion`, :func:`net_benefit`
and :func:`learning_curve` draw into the Axes given as ``ax`` and return it, as the displays of
scikit-learn do. Without ``ax`` they create a figure with ``matplotlib.pyplot``, which
notebooks show.

The other functions compare several runs. They return a figure in the style of covidct, and use
neither ``matplotlib.pyplot`` nor a backend. Runs differ in color, line style and marker; the colors
are distinguishable for color-blind readers. The label of the figure (``figure.get_label()``)
describes it in words, for the ``alt`` attribute of an image.

Examples
--------
>>> from covidct.evaluation import figures
>>> figure = figures.confusion_matrices({"ResNet18": [[70.4, 9.0], [4.8, 65.0]]})
>>> print(figure.get_label())
Confusion matrices. ResNet18: 9.0 of 79.4 non-COVID and 65.0 of 69.8 COVID were predicted as COVID.
>>> figure.savefig("confusion.png")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from textwrap import fill
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from .._colors import BLUE, VERMILLION
from .._text import counted
from ._drawing import (
    BLUES,
    DOTTED,
    INK,
    PALE,
    check_not_empty,
    legend_below,
    light_style,
    line_styles,
    new_figure,
)
from ._inputs import Floats, Ints, check_labels, check_predictions
from .calibration import ReliabilityCurve, expected_calibration_error, reliability_curve
from .decision_curve import DecisionCurve
from .intervals import wilson
from .metrics import find_metric, summarize

__all__ = [
    "Folds",
    "confusion",
    "confusion_matrices",
    "decision_curves",
    "forest",
    "learning_curve",
    "learning_curves",
    "net_benefit",
    "precision_recall",
    "precision_recall_curves",
    "reliability",
    "reliability_diagrams",
    "roc",
    "roc_curves",
]

Folds = Sequence[tuple[npt.ArrayLike, npt.ArrayLike]]
"""Targets and probabilities of each fold, as a sequence of pairs."""

_CLASS_WIDTH = 13  # characters per line of a class name at a confusion matrix
_NAME_WIDTH = 32  # characters per line of the name of a run at an axis
_GRID = np.linspace(0, 1, 501)


def roc(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    folds: npt.ArrayLike | None = None,
    name: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the ROC curve of predictions, or the mean curve over folds with a band of one sd.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        Classes, 1 for COVID-19.
    probabilities : array-like of shape (n_slices,)
        Probabilities of COVID-19.
    folds : array-like of shape (n_slices,), optional
        Fold of each slice. If given, sensitivities are averaged at equal specificity, and each fold
        is drawn as a thin line. The band shows the variation between folds; it is not a confidence
        band.
    name : str, default=""
        Name in the legend.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into. None: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Axes with the curve. Further calls with the same `ax` add curves.

    Raises
    ------
    ValueError
        If the arrays are invalid or differ in length, or no fold has both classes.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from covidct.evaluation import figures
    >>> ax = figures.roc([0, 1, 0, 1], [0.1, 0.8, 0.4, 0.3], ax=Figure().subplots())
    >>> ax.get_legend().get_texts()[0].get_text()
    'AUC 0.750'
    """
    return _curve_of_arrays(_ROC, targets, probabilities, folds=folds, name=name, ax=ax)


def precision_recall(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    folds: npt.ArrayLike | None = None,
    name: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the precision-recall curve of predictions, or the mean over folds with a band of one sd.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        Classes, 1 for COVID-19.
    probabilities : array-like of shape (n_slices,)
        Probabilities of COVID-19.
    folds : array-like of shape (n_slices,), optional
        Fold of each slice. If given, precisions are averaged at equal recall, and each fold is
        drawn as a thin line.
    name : str, default=""
        Name in the legend.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into. None: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Axes with the curve.

    Raises
    ------
    ValueError
        If the arrays are invalid or differ in length, or no fold has both classes.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from covidct.evaluation import figures
    >>> ax = figures.precision_recall([0, 1, 0, 1], [0.1, 0.8, 0.4, 0.3], ax=Figure().subplots())
    >>> ax.get_legend().get_texts()[0].get_text()
    'AP 0.833'
    """
    return _curve_of_arrays(
        _PRECISION_RECALL, targets, probabilities, folds=folds, name=name, ax=ax
    )


def _curve_of_arrays(
    kind: _Curve,
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    folds: npt.ArrayLike | None,
    name: str,
    ax: Axes | None,
) -> Axes:
    labels, values = check_predictions(targets, probabilities)
    parts = [(labels, values)]
    if folds is not None:
        of_fold = check_labels("folds", folds, len(labels))
        parts = [(labels[of_fold == k], values[of_fold == k]) for k in np.unique(of_fold)]
    ax = _given_or_new(ax)
    kind.draw(ax, parts, name, thin=True)
    kind.finish(ax)
    ax.legend(loc="lower right" if kind is _ROC else "lower left")
    return ax


def reliability(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    n_bins: int = 10,
    name: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the observed share of COVID-19 against the predicted probability.

    Parameters
    ----------
    targets : array-like of shape (n_slices,)
        Classes, 1 for COVID-19.
    probabilities : array-like of shape (n_slices,)
        Probabilities of COVID-19.
    n_bins : int, default=10
        Number of bins of equal width.
    name : str, default=""
        Name in the legend, before the expected calibration error (ECE).
    ax : matplotlib.axes.Axes, optional
        Axes to draw into. None: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Axes with the curve. Vertical bars are 95 % Wilson intervals, which treat slices as
        independent.

    Raises
    ------
    ValueError
        If the arrays are invalid or differ in length, or `n_bins` is below 1.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from covidct.evaluation import figures
    >>> ax = figures.reliability([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], ax=Figure().subplots())
    >>> ax.get_legend().get_texts()[0].get_text()
    'ECE 0.175'
    """
    ax = _given_or_new(ax)
    _draw_diagonal(ax)
    _draw_reliability(ax, name, targets, probabilities, n_bins=n_bins, marker="o")
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.set(xlabel="probability of COVID-19", ylabel="share of COVID-19")
    ax.legend(loc="upper left")
    return ax


def confusion(
    matrix: npt.ArrayLike,
    *,
    classes: tuple[str, ...] = ("non-COVID", "COVID"),
    ax: Axes | None = None,
) -> Axes:
    """Draw one confusion matrix.

    Parameters
    ----------
    matrix : array-like of shape (n_classes, n_classes)
        Matrix ``[[tn, fp], [fn, tp]]``, as returned by
        :func:`covidct.evaluation.metrics.confusion_matrix` and
        :func:`sklearn.metrics.confusion_matrix`; counts or their means over folds.
    classes : tuple of str, default=("non-COVID", "COVID")
        Names of the classes.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into. None: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Axes with the matrix. Color and percentage show shares of the true class.

    Raises
    ------
    ValueError
        If `matrix` does not have a row and a column of non-negative counts for each class.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from covidct.evaluation import figures, metrics
    >>> matrix = metrics.confusion_matrix([0, 1, 0, 1], [0.1, 0.8, 0.4, 0.3])
    >>> figures.confusion(matrix, ax=Figure().subplots()).get_xlabel()
    'predicted class'
    """
    checked = _check_matrix("", matrix, len(classes))
    ax = _given_or_new(ax)
    _draw_matrix(ax, checked, _count_format([checked]))
    names = [fill(name, _CLASS_WIDTH) for name in classes]
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names, rotation=90, va="center")
    ax.set(xlabel="predicted class", ylabel="true class")
    return ax


def learning_curve(
    histories: Sequence[Mapping[str, npt.ArrayLike]],
    *,
    metric: Literal["loss", "accuracy"] = "loss",
    ax: Axes | None = None,
) -> Axes:
    """Draw the loss or accuracy of each fold, and their mean, over the epochs.

    Parameters
    ----------
    histories : sequence of mapping
        History of each fold, as in :func:`learning_curves`.
    metric : {"loss", "accuracy"}, default="loss"
        Value to draw.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into. None: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Axes with the curves. Dotted vertical lines mark changes of the learning rate.

    Raises
    ------
    ValueError
        If `histories` is empty, or `metric` is unknown.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from covidct.evaluation import figures
    >>> fold = {"epoch": [0, 1], "loss": [0.7, 0.4], "learning_rate": [3e-4, 1e-4]}
    >>> figures.learning_curve([fold], ax=Figure().subplots()).get_ylabel()
    'loss'
    """
    if metric not in ("loss", "accuracy"):
        raise ValueError(f"metric must be 'loss' or 'accuracy', got {metric!r}")
    check_not_empty("history", histories)
    ax = _given_or_new(ax)
    _draw_training(ax, _as_arrays(histories), metric)
    ax.legend()
    return ax


def net_benefit(curve: DecisionCurve, *, name: str = "model", ax: Axes | None = None) -> Axes:
    """Draw a decision curve, and those of treating all and treating none.

    Parameters
    ----------
    curve : DecisionCurve
        Result of :func:`covidct.evaluation.decision_curve.net_benefit`. The band is the 95 %
        interval at each threshold.
    name : str, default="model"
        Name in the legend.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into. None: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Axes with the curve.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from covidct.evaluation import figures
    >>> from covidct.evaluation.decision_curve import net_benefit
    >>> curve = net_benefit([0, 0, 1, 1] * 20, [0.1, 0.6, 0.7, 0.9] * 20)
    >>> figures.net_benefit(curve, ax=Figure().subplots()).get_ylabel()
    'net benefit'
    """
    ax = _given_or_new(ax)
    _draw_decision_curve(ax, curve, label=name)
    _draw_references(ax, curve)
    ax.legend()
    return ax


def _given_or_new(ax: Axes | None) -> Axes:
    """Return the given Axes, or those of a new figure of pyplot."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # imported here, since it selects a backend

    return plt.subplots()[1]


@light_style
def confusion_matrices(
    matrices: Mapping[str, npt.ArrayLike],
    *,
    classes: tuple[str, ...] = ("non-COVID", "COVID"),
    columns: int = 4,
) -> Figure:
    """Draw a confusion matrix for each network, as in Figs. 9 and 10 of the paper.

    Color and percentage show shares of the true class, so that the diagonal shows specificity and
    recall.

    Parameters
    ----------
    matrices : mapping of str to array-like of shape (n_classes, n_classes)
        Matrix of each network, ``[[tn, fp], [fn, tp]]`` for two classes; counts or their means over
        folds.
    classes : tuple of str, default=("non-COVID", "COVID")
        Names of the classes.
    columns : int, default=4
        Number of matrices in a row.

    Returns
    -------
    matplotlib.figure.Figure
        Figure with a matrix per network.

    Raises
    ------
    ValueError
        If `matrices` is empty, or a matrix does not have a row and a column of non-negative counts
        for each class.

    Examples
    --------
    >>> from covidct.evaluation import figures
    >>> means = {"ResNet18": [[70.4, 9.0], [4.8, 65.0]], "Xception": [[70.8, 8.6], [8.2, 61.6]]}
    >>> len(figures.confusion_matrices(means).axes)
    2
    """
    check_not_empty("matrix", matrices)
    checked = {name: _check_matrix(name, matrix, len(classes)) for name, matrix in matrices.items()}
    columns = min(columns, len(checked))
    rows = -(-len(checked) // columns)
    count = _count_format(checked.values())
    description = " ".join(_describe_matrix(name, m, classes, count) for name, m in checked.items())
    names = [fill(name, _CLASS_WIDTH) for name in classes]
    lines = 1 + max(name.count("\n") for name in names)
    figure = new_figure(
        (0.85 * columns) * len(classes) + 0.35 + 0.15 * lines,
        (0.85 * len(classes) + 0.2) * rows + 0.2 + 0.15 * lines,
        alt=f"Confusion matrices. {description}",
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    ticks, blank = range(len(classes)), [""] * len(classes)
    for ax in axes.flat[len(checked) :]:
        ax.set_axis_off()
    for i, (ax, (name, matrix)) in enumerate(zip(axes.flat, checked.items(), strict=False)):
        _draw_matrix(ax, matrix, count)
        ax.set_title(name)
        ax.set_xticks(ticks, names if i + columns >= len(checked) else blank)
        ax.set_yticks(ticks, blank if i % columns else names, rotation=90, va="center")
    figure.supxlabel("predicted class", fontsize=9)
    figure.supylabel("true class", fontsize=9)
    return figure


def _check_matrix(name: str, matrix: npt.ArrayLike, size: int) -> Floats:
    values = np.asarray(matrix, dtype=np.float64)
    if values.shape != (size, size) or not (values >= 0).all():
        whose = f" of {name!r}" if name else ""
        raise ValueError(
            f"the confusion matrix{whose} must be {size} x {size} counts, got {values.tolist()}"
        )
    return values


def _count_format(matrices: Iterable[Floats]) -> str:
    whole = all((matrix == matrix.round()).all() for matrix in matrices)
    return "{:,.0f}" if whole else "{:,.1f}"


def _describe_matrix(name: str, matrix: Floats, classes: tuple[str, ...], count: str) -> str:
    totals = [count.format(total) for total in matrix.sum(axis=1)]
    sentences = []
    for predicted, column in zip(classes[1:], matrix.T[1:], strict=True):
        shares = " and ".join(
            f"{count.format(cell)} of {total} {true}"
            for true, cell, total in zip(classes, column, totals, strict=True)
        )
        sentences.append(f"{shares} were predicted as {predicted}.")
    return f"{name}: {' '.join(sentences)}"


def _draw_matrix(ax: Axes, matrix: Floats, count: str) -> None:
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)
    # vmax is above 1, since dark text is unreadable on the darkest blue, also on dark pages, which
    # invert the lightness.
    ax.imshow(shares, cmap=BLUES, vmin=0, vmax=1.3)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    for edge in np.arange(1, len(matrix)) - 0.5:
        ax.axhline(edge, color="white", linewidth=2)
        ax.axvline(edge, color="white", linewidth=2)
    for (row, column), share in np.ndenumerate(shares):
        for size, side, text in (
            (11, "bottom", count.format(matrix[row, column])),
            (8, "top", f"{100 * share:.1f} %"),
        ):
            below = 0.08 * (side == "top")
            ax.text(column, row + below, text, ha="center", va=side, fontsize=size, color=INK)


def roc_curves(runs: Mapping[str, Folds]) -> Figure:
    """Draw ROC curves averaged over folds, with a band of one standard deviation.

    Parameters
    ----------
    runs : mapping of str to sequence of (targets, probabilities)
        Targets and probabilities of the folds of each run. Folds of one class are left out. For a
        single run, each fold is also drawn as a thin line.

    Returns
    -------
    matplotlib.figure.Figure
        Figure with a curve per run.

    Raises
    ------
    ValueError
        If `runs` is empty, or a run has no fold with both classes.

    Notes
    -----
    Sensitivities are averaged at equal specificity. The band shows the variation between folds; it
    is not a confidence band.

    Examples
    --------
    >>> from covidct.evaluation import figures
    >>> folds = [([0, 1, 0, 1], [0.1, 0.8, 0.4, 0.3]), ([0, 1, 0, 1], [0.2, 0.9, 0.1, 0.7])]
    >>> print(figures.roc_curves({"SqueezeNet": folds}).get_label())
    ROC curves. SqueezeNet: AUC 0.875 ± 0.177.
    """
    return _averaged("ROC curves", runs, _ROC)


def precision_recall_curves(runs: Mapping[str, Folds]) -> Figure:
    """Draw precision-recall curves averaged over folds, with a band of one standard deviation.

    Parameters
    ----------
    runs : mapping of str to sequence of (targets, probabilities)
        Targets and probabilities of the folds of each run. Folds without a positive are left out.
        For a single run, each fold is also drawn as a thin line.

    Returns
    -------
    matplotlib.figure.Figure
        Figure with a curve per run.

    Raises
    ------
    ValueError
        If `runs` is empty, or a run has no fold with a positive.

    Notes
    -----
    Precisions are averaged at equal recall. The curve of a fold is a step function, since linear
    interpolation between two thresholds would be too optimistic. AP is the average precision.

    Examples
    --------
    >>> from covidct.evaluation import figures
    >>> folds = [([0, 1, 0, 1], [0.1, 0.8, 0.4, 0.3]), ([0, 1, 0, 1], [0.2, 0.9, 0.1, 0.7])]
    >>> print(figures.precision_recall_curves({"SqueezeNet": folds}).get_label())
    Precision-recall curves. SqueezeNet: AP 0.917 ± 0.118.
    """
    return _averaged("Precision-recall curves", runs, _PRECISION_RECALL)


def _roc_curve(targets: Ints, probabilities: Floats) -> Floats:
    fall_out, sensitivity, _ = roc_curve(targets, probabilities, drop_intermediate=False)
    curve = np.asarray(np.interp(_GRID, fall_out, sensitivity))
    curve[0] = 0
    return curve


def _precision_curve(targets: Ints, probabilities: Floats) -> Floats:
    precision, recall, _ = precision_recall_curve(targets, probabilities)
    # scikit-learn returns decreasing recall, and appends a point (1, 0) without a threshold.
    precision, recall = precision[-2::-1], recall[-2::-1]
    return np.asarray(precision[np.searchsorted(recall, _GRID - 1e-9)])


@light_style
def _averaged(title: str, runs: Mapping[str, Folds], kind: _Curve) -> Figure:
    check_not_empty("run", runs)
    figure = new_figure(4.2, 4.4 + 0.16 * len(runs), alt="")
    ax = figure.subplots()
    descriptions = []
    for (name, folds), (color, line, _) in zip(runs.items(), line_styles(len(runs)), strict=True):
        drawn = kind.draw(ax, folds, name, color=color, linestyle=line, thin=len(runs) == 1)
        descriptions.append(drawn)
    kind.finish(ax)
    legend_below(figure, title="mean ± sd over folds")
    figure.set_label(f"{title}. {'; '.join(descriptions)}.")
    return figure


class _Curve(NamedTuple):
    """Kind of curve, and the metric that summarizes it."""

    curve: Callable[[Ints, Floats], Floats]
    metric: str
    short: str
    labels: tuple[str, str]
    diagonal: bool

    def draw(self, ax: Axes, folds: Folds, name: str, *, thin: bool, **look: Any) -> str:
        """Draw the mean over the folds with a band of one sd, and return the label of the curve."""
        checked = [check_predictions(*fold) for fold in folds]
        scores = [{self.metric: find_metric(self.metric)(*fold)} for fold in checked]
        usable = [f for f, s in zip(checked, scores, strict=True) if not np.isnan(s[self.metric])]
        if not usable:
            whose = f", but {name!r} has none" if name else ""
            raise ValueError(f"{self.short} needs a fold with both classes{whose}")
        curves = np.array([self.curve(*fold) for fold in usable])
        mean, sd = curves.mean(axis=0), curves.std(axis=0, ddof=min(1, len(curves) - 1))
        value = f"{self.short} {_plus_minus(*summarize(scores)[self.metric])}"
        label = f"{name}: {value}" if name else value
        if "color" not in look:
            (probe,) = ax.plot([], [])
            look["color"] = probe.get_color()
            probe.remove()
        if thin and len(usable) > 1:
            ax.plot(_GRID, curves.T, color=look["color"], linewidth=0.6, alpha=0.5)
        if len(usable) > 1:
            low, high = np.clip([mean - sd, mean + sd], 0, 1)
            ax.fill_between(_GRID, low, high, color=look["color"], alpha=0.12, linewidth=0)
        ax.plot(_GRID, mean, label=label, **look)
        return label

    def finish(self, ax: Axes) -> None:
        """Set limits and labels, and draw the diagonal for chance."""
        ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        ax.set(xlabel=self.labels[0], ylabel=self.labels[1])
        if self.diagonal:
            _draw_diagonal(ax)


_ROC = _Curve(_roc_curve, "auc", "AUC", ("1 − specificity", "sensitivity"), diagonal=True)
_PRECISION_RECALL = _Curve(
    _precision_curve, "average_precision", "AP", ("recall (sensitivity)", "precision"), False
)


def _draw_diagonal(ax: Axes) -> None:
    ax.plot([0, 1], [0, 1], color=PALE, linewidth=1, linestyle=DOTTED, zorder=1)


def _plus_minus(mean: float, sd: float) -> str:
    return f"{mean:.3f}" if np.isnan(sd) else f"{mean:.3f} ± {sd:.3f}"


@light_style
def reliability_diagrams(
    runs: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]], *, n_bins: int = 10
) -> Figure:
    """Draw a reliability diagram with a histogram of the predicted probabilities.

    Parameters
    ----------
    runs : mapping of str to (targets, probabilities)
        Targets and probabilities of each run, or of one run before and after calibration.
    n_bins : int, default=10
        Number of bins of equal width.

    Returns
    -------
    matplotlib.figure.Figure
        Vertical bars are 95 % Wilson intervals, which treat slices as independent.

    Raises
    ------
    ValueError
        If `runs` is empty, `n_bins` is below 1, the arrays differ in length, or a value is outside
        its range.

    Examples
    --------
    >>> from covidct.evaluation import figures
    >>> figure = figures.reliability_diagrams({"as trained": ([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9])})
    >>> print(figure.get_label())
    Reliability diagram. as trained: expected calibration error 0.175.
    """
    check_not_empty("run", runs)
    figure = new_figure(4.2, 5.3 + 0.16 * len(runs), alt="")
    ax, below = figure.subplots(2, height_ratios=(5, 1), sharex=True)
    _draw_diagonal(ax)
    descriptions = []
    for (name, (targets, probabilities)), (color, line, marker) in zip(
        runs.items(), line_styles(len(runs)), strict=True
    ):
        curve, error = _draw_reliability(
            *(ax, name, targets, probabilities),
            n_bins=n_bins,
            color=color,
            linestyle=line,
            marker=marker,
            linewidth=1.4,
        )
        below.stairs(curve.counts, curve.edges, color=color, linestyle=line, linewidth=1.2)
        if len(runs) == 1:
            below.stairs(curve.counts, curve.edges, color=color, alpha=0.15, fill=True)
        descriptions.append(f"{name}: expected calibration error {error:.3f}")
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), ylabel="share of COVID-19")
    below.set(xlabel="probability of COVID-19", ylabel="slices")
    figure.align_ylabels()
    legend_below(figure)
    figure.set_label(f"Reliability diagram. {'; '.join(descriptions)}.")
    return figure


def _draw_reliability(
    ax: Axes,
    name: str,
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    n_bins: int,
    **look: Any,
) -> tuple[ReliabilityCurve, float]:
    """Draw the observed share of each bin with its interval, and return the curve and the error."""
    curve = reliability_curve(targets, probabilities, n_bins=n_bins)
    error = expected_calibration_error(targets, probabilities, n_bins=n_bins)
    filled = curve.counts > 0
    x, y, counts = curve.probability[filled], curve.observed[filled], curve.counts[filled]
    ends = np.array([wilson(round(s * n), n) for s, n in zip(y, counts, strict=True)])
    label = f"{name}: ECE {error:.3f}" if name else f"ECE {error:.3f}"
    (line,) = ax.plot(x, y, markersize=4.5, label=label, **look)
    ax.vlines(x, ends[:, 0], ends[:, 1], color=line.get_color(), linewidth=1, alpha=0.7)
    return curve, error


@light_style
def decision_curves(curves: Mapping[str, DecisionCurve]) -> Figure:
    """Draw decision curves, and those of treating all and treating none.

    Parameters
    ----------
    curves : mapping of str to DecisionCurve
        Curves of runs with the same prevalence, from
        :func:`covidct.evaluation.decision_curve.net_benefit`. The band is the 95 % interval at each
        threshold.

    Returns
    -------
    matplotlib.figure.Figure
        Figure with a curve per run.

    Raises
    ------
    ValueError
        If `curves` is empty, or curves have different prevalences.

    Examples
    --------
    >>> from covidct.evaluation import figures
    >>> from covidct.evaluation.decision_curve import net_benefit
    >>> curve = net_benefit([0, 0, 1, 1] * 20, [0.1, 0.6, 0.7, 0.9] * 20)
    >>> print(figures.decision_curves({"SqueezeNet": curve}).get_label())
    Decision curves. SqueezeNet: better than treating all or none at thresholds of 0.11 to 0.90.
    """
    check_not_empty("curve", curves)
    first = next(iter(curves.values()))
    if any(not np.isclose(curve.prevalence, first.prevalence) for curve in curves.values()):
        shares = ", ".join(f"{name} {curve.prevalence:.3g}" for name, curve in curves.items())
        raise ValueError(f"curves must have one prevalence, got {shares}")
    figure = new_figure(5.2, 3.8 + 0.16 * len(curves), alt="")
    ax = figure.subplots()
    descriptions = []
    for (name, curve), (color, line, _) in zip(
        curves.items(), line_styles(len(curves)), strict=True
    ):
        _draw_decision_curve(ax, curve, label=name, color=color, linestyle=line)
        useful = curve.thresholds[curve.useful]
        where = f"at thresholds of {useful.min():.2f} to {useful.max():.2f}" if useful.size else ""
        descriptions.append(
            f"{name}: {'' if useful.size else 'nowhere '}better than treating all or none"
            f"{f' {where}' if where else ''}"
        )
    _draw_references(ax, first)
    legend_below(figure)
    figure.set_label(f"Decision curves. {'; '.join(descriptions)}.")
    return figure


def _draw_decision_curve(ax: Axes, curve: DecisionCurve, **look: Any) -> None:
    (line,) = ax.plot(curve.thresholds, curve.model, **look)
    color = line.get_color()
    ax.fill_between(curve.thresholds, curve.low, curve.high, color=color, alpha=0.12, lw=0)


def _draw_references(ax: Axes, curve: DecisionCurve) -> None:
    """Draw the net benefit of treating all and of treating none."""
    ax.plot(curve.thresholds, curve.treat_all, color=PALE, linewidth=1.2, label="treat all")
    ax.axhline(0, color=INK, linewidth=1, linestyle=DOTTED, label="treat none")
    # Values far below zero are cut off: there, treating none is better.
    # The interval may exceed the prevalence, which varies between resamples.
    ax.set(
        xlim=(0, 1),
        ylim=(-0.25 * curve.prevalence, 1.05 * np.nanmax([curve.prevalence, *curve.high])),
    )
    ax.set(xlabel="threshold probability", ylabel="net benefit")


@light_style
def learning_curves(histories: Sequence[Mapping[str, npt.ArrayLike]]) -> Figure:
    """Draw the loss and accuracy of each fold, and their means, over the epochs.

    Parameters
    ----------
    histories : sequence of mapping
        History of each fold with the keys ``epoch``, ``loss``, ``accuracy`` and
        ``learning_rate``, as returned by ``CrossValidationResult.history(k)``. If it has
        ``monitor_loss`` and ``monitor_accuracy``, these are drawn in a second color.

    Returns
    -------
    matplotlib.figure.Figure
        Dotted vertical lines mark changes of the learning rate.

    Raises
    ------
    ValueError
        If `histories` is empty.

    Examples
    --------
    >>> from covidct.evaluation import figures
    >>> fold = {"epoch": [0, 1], "loss": [0.7, 0.4], "accuracy": [0.5, 0.8],
    ...         "learning_rate": [3e-4, 1e-4]}
    >>> print(figures.learning_curves([fold]).get_label())
    Learning curves of 1 fold over 2 epochs. Training loss ends at 0.400, accuracy at 0.800.
    """
    check_not_empty("history", histories)
    folds = _as_arrays(histories)
    ends = [np.mean([fold[name][-1] for fold in folds]) for name in ("loss", "accuracy")]
    epochs = len(folds[0]["epoch"])
    figure = new_figure(
        10.4,
        3.2,
        alt=f"Learning curves of {counted(len(folds), 'fold')} over {counted(epochs, 'epoch')}. "
        f"Training loss ends at {ends[0]:.3f}, accuracy at {ends[1]:.3f}.",
    )
    for ax, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        _draw_training(ax, folds, name)
    legend_below(figure)
    return figure


def _as_arrays(histories: Sequence[Mapping[str, npt.ArrayLike]]) -> list[dict[str, Floats]]:
    return [{k: np.asarray(v, dtype=np.float64) for k, v in h.items()} for h in histories]


def _draw_training(ax: Axes, folds: Sequence[Mapping[str, Floats]], name: str) -> None:
    """Draw the loss or accuracy of the training and, if known, of the test fold over the epochs."""
    _draw_histories(ax, folds, name, color=BLUE, label="training", line="-")
    monitored = f"monitor_{name}"
    if all(monitored in fold and np.isfinite(fold[monitored]).any() for fold in folds):
        _draw_histories(ax, folds, monitored, color=VERMILLION, label="test fold", line="--")
    for k, epoch in enumerate(_changes(folds[0])):
        label = "_" if k else "learning rate changed"
        ax.axvline(epoch + 1, color=PALE, linewidth=1, linestyle=DOTTED, zorder=1, label=label)
    ax.set(xlabel="epoch", ylabel=name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _draw_histories(
    ax: Axes,
    folds: Sequence[Mapping[str, Floats]],
    name: str,
    *,
    color: str,
    label: str,
    line: str,
) -> None:
    for fold in folds:
        _draw_known(ax, fold["epoch"], fold[name], color=color, linewidth=0.6, alpha=0.45)
    shortest = min(len(fold["epoch"]) for fold in folds)
    mean = np.mean([fold[name][:shortest] for fold in folds], axis=0)
    counted = f"{label}, mean of {len(folds)} folds" if len(folds) > 1 else label
    epochs = folds[0]["epoch"][:shortest]
    _draw_known(ax, epochs, mean, color=color, linestyle=line, label=counted)


def _draw_known(ax: Axes, epochs: Floats, values: Floats, **style: Any) -> None:
    """Draw the epochs with values, which may be every tenth, with a marker if there is only one."""
    known = np.isfinite(values)
    # Readers count epochs from 1.
    ax.plot(epochs[known] + 1, values[known], marker="." if known.sum() == 1 else "None", **style)


def _changes(fold: Mapping[str, Floats]) -> Floats:
    """Return the epochs at which a step schedule changes, and no epochs for a gradual schedule."""
    changed = np.flatnonzero(np.diff(fold["learning_rate"])) + 1
    return fold["epoch"][changed] if len(changed) <= 10 else np.empty(0)


@light_style
def forest(
    rows: Mapping[str, tuple[float, tuple[float, float]]],
    *,
    metric: str = "accuracy",
    published: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """Draw a forest plot of a metric with its confidence interval for several runs.

    Parameters
    ----------
    rows : mapping of str to (float, (float, float))
        Metric of each run and its interval, from `covidct.evaluation.intervals.bootstrap`.
    metric : str, default="accuracy"
        Key in `covidct.evaluation.metrics.METRICS`; its title labels the axis.
    published : mapping of str to (float, float), default=None
        Published mean and standard deviation over folds for some of the runs, from
        `covidct.evaluation.published`. They are drawn below the run with a hollow marker, since
        they are not confidence intervals.

    Returns
    -------
    matplotlib.figure.Figure
        Figure with a row per run.

    Raises
    ------
    ValueError
        If `rows` is empty, or `published` names a run that is not in `rows`.
    UnknownNameError
        If the metric is unknown.

    Examples
    --------
    >>> from covidct.evaluation import figures
    >>> rows = {"random slices": (0.907, (0.88, 0.93)), "patients apart": (0.75, (0.69, 0.81))}
    >>> print(figures.forest(rows, published={"random slices": (0.873, 0.032)}).get_label())
    Accuracy. random slices: 0.907 [0.880, 0.930]; patients apart: 0.750 [0.690, 0.810].
    """
    check_not_empty("run", rows)
    spreads = dict(published or {})
    unknown = sorted(set(spreads) - set(rows))
    if unknown:
        raise ValueError(
            f"published results of unknown run {unknown[0]!r}; the runs are {', '.join(rows)}"
        )
    title = find_metric(metric).title
    texts = {n: f"{v:.3f} [{low:.3f}, {high:.3f}]" for n, (v, (low, high)) in rows.items()}
    descriptions = "; ".join(f"{name}: {text}" for name, text in texts.items())
    names = [fill(name, _NAME_WIDTH) for name in rows]
    lines = max(name.count("\n") for name in names) + 1
    figure = new_figure(
        6.2, (0.2 + 0.14 * lines) * len(rows) + 1.0, alt=f"{title}. {descriptions}."
    )
    ax = figure.subplots()
    for y, (name, (value, interval)) in enumerate(rows.items()):
        _draw_range(ax, y, interval, at=value, label="confidence interval", look=(BLUE, "o", BLUE))
        ax.text(1.02, y, texts[name], va="center", fontsize=8, transform=ax.get_yaxis_transform())
        if name in spreads:
            mean, sd = spreads[name]
            _draw_range(
                ax,
                y + 0.28,
                (mean - sd, mean + sd),
                at=mean,
                label="published, mean ± sd over folds",
                look=(VERMILLION, "D", "white"),
            )
    ax.set_yticks(range(len(rows)), names)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel(title)
    legend_below(figure)
    return figure


def _draw_range(
    ax: Axes,
    y: float,
    ends: tuple[float, float],
    *,
    at: float,
    label: str,
    look: tuple[str, str, str],
) -> None:
    color, marker, fill = look
    # The marker is at the estimate, which can differ from the center of the interval.
    ax.plot(
        [ends[0], at, ends[1]],
        [y] * 3,
        color=color,
        linewidth=1.4,
        marker=marker,
        markersize=5,
        markerfacecolor=fill,
        markevery=[1],
        label=label,
    )
