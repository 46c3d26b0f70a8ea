"""Figures show the numbers they were given, in one light style, without pyplot."""

from __future__ import annotations

import io
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy.integrate import trapezoid
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from covidct.errors import UnknownNameError
from covidct.evaluation import figures
from covidct.evaluation.decision_curve import net_benefit


def fold(seed: int, n: int = 60, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % 2
    return targets, 1 / (1 + np.exp(-rng.normal(shift * (2 * targets - 1), 1)))


FOLDS = [fold(seed) for seed in range(5)]
HISTORY = {
    "epoch": [0, 1, 2, 3],
    "learning_rate": [3e-4, 3e-4, 1e-4, 1e-4],
    "loss": [0.7, 0.5, 0.4, 0.3],
    "accuracy": [0.5, 0.7, 0.8, 0.9],
}
DRAWINGS = {
    "confusion_matrices": lambda: figures.confusion_matrices({"a": [[5, 1], [2, 7]]}),
    "roc_curves": lambda: figures.roc_curves({"a": FOLDS}),
    "precision_recall_curves": lambda: figures.precision_recall_curves(
        {"a": FOLDS, "b": FOLDS[:1]}
    ),
    "reliability_diagrams": lambda: figures.reliability_diagrams({"a": FOLDS[0], "b": FOLDS[1]}),
    "learning_curves": lambda: figures.learning_curves([HISTORY, HISTORY]),
    "decision_curves": lambda: figures.decision_curves({"a": CURVE}),
    "forest": lambda: figures.forest({"a": (0.9, (0.8, 0.95))}, published={"a": (0.85, 0.02)}),
}

TARGETS, PROBABILITIES = (np.concatenate(part) for part in zip(*FOLDS, strict=True))
NUMBERS = np.repeat(np.arange(5), 60)
CURVE = net_benefit(TARGETS, PROBABILITIES)
PLOTS = {
    "net_benefit": lambda ax=None: figures.net_benefit(CURVE, ax=ax),
    "roc": lambda ax=None: figures.roc(TARGETS, PROBABILITIES, folds=NUMBERS, ax=ax),
    "precision_recall": lambda ax=None: figures.precision_recall(TARGETS, PROBABILITIES, ax=ax),
    "reliability": lambda ax=None: figures.reliability(TARGETS, PROBABILITIES, ax=ax),
    "confusion": lambda ax=None: figures.confusion([[5, 1], [2, 7]], ax=ax),
    "learning_curve": lambda ax=None: figures.learning_curve([HISTORY, HISTORY], ax=ax),
}


def texts(figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_every_figure_can_be_saved_and_says_what_it_shows(draw):
    figure = draw()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=40)
    assert file.getvalue().startswith(b"\x89PNG")
    assert figure.get_label().endswith(".")
    assert len(figure.get_label()) > 25


def test_every_public_drawing_is_tried_here():
    assert set(DRAWINGS) | set(PLOTS) == set(figures.__all__) - {"Folds"}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_style_is_light_whatever_the_users_is_and_left_as_it_was(draw):
    with mpl.rc_context():
        mpl.rcParams.update(
            {"figure.facecolor": "black", "axes.facecolor": "black", "text.color": "white"}
        )
        before = dict(mpl.rcParams)
        figure = draw()
        assert dict(mpl.rcParams) == before
    assert to_hex(figure.get_facecolor()) == "#ffffff"
    for ax in figure.axes:
        assert to_hex(ax.get_facecolor()) == "#ffffff"
        assert to_hex(ax.xaxis.label.get_color()) == "#222222"


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_plots_draw_into_the_given_axes_or_a_new_figure(plot):
    import matplotlib.pyplot as plt

    ax = Figure().subplots()
    assert plot(ax) is ax
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert not plt.get_fignums()
    new = plot()
    assert plt.get_fignums() == [new.figure.number]
    plt.close(new.figure)


def test_plots_of_arrays_and_figures_of_runs_have_the_same_numbers():
    of_arrays, of_runs = PLOTS["roc"](Figure().subplots()), DRAWINGS["roc_curves"]()
    assert f"a: {of_arrays.get_legend().get_texts()[0].get_text()}" == legend(of_runs)[0]
    np.testing.assert_array_equal(
        of_arrays.lines[5].get_ydata(), of_runs.axes[0].lines[5].get_ydata()
    )
    single = figures.roc(*FOLDS[0], ax=Figure().subplots())
    auc = roc_auc_score(*FOLDS[0])
    assert single.get_legend().get_texts()[0].get_text() == f"AUC {auc:.3f}"
    assert not single.collections  # no band of a single curve


def test_plots_take_tensors_and_add_to_each_other():
    ax = Figure().subplots()
    for name, (targets, probabilities) in zip("ab", FOLDS, strict=False):
        figures.roc(
            torch.tensor(targets),
            torch.tensor(probabilities, requires_grad=True),
            name=name,
            ax=ax,
        )
    assert [text.get_text()[:2] for text in ax.get_legend().get_texts()] == ["a:", "b:"]


def test_confusion_of_scikit_learn_is_accepted():
    matrix = confusion_matrix([0, 1, 1, 0, 1], [0, 1, 0, 0, 1])
    ax = figures.confusion(matrix, classes=("no", "yes"), ax=Figure().subplots())
    assert [text.get_text() for text in ax.texts] == ["2", "100.0 %", "0", "0.0 %", "1", "33.3 %",
                                                     "2", "66.7 %"]  # fmt: skip
    with pytest.raises(ValueError, match="the confusion matrix must be 2 x 2 counts"):
        figures.confusion(np.eye(3))


def test_learning_curve_of_an_unknown_metric():
    with pytest.raises(ValueError, match="metric must be 'loss' or 'accuracy', got 'auc'"):
        figures.learning_curve([HISTORY], metric="auc")


def test_pyplot_is_never_loaded():
    code = (
        "import sys; from covidct.evaluation import figures\n"
        "figures.confusion_matrices({'a': [[5, 1], [2, 7]]})\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class TestConfusionMatrices:
    def test_counts_and_shares_of_the_true_class(self):
        figure = figures.confusion_matrices({"ResNet18": [[70.4, 9], [4.8, 65]]})
        assert texts(figure) == [
            "70.4", "88.7 %", "9.0", "11.3 %", "4.8", "6.9 %", "65.0", "93.1 %",
        ]  # fmt: skip
        assert figure.axes[0].get_title() == "ResNet18"

    def test_whole_counts_have_no_decimals_and_an_empty_class_no_share(self):
        figure = figures.confusion_matrices({"a": [[1234, 0], [0, 0]]})
        assert texts(figure)[::2] == ["1,234", "0", "0", "0"]
        assert "0 of 0 COVID were predicted as COVID" in figure.get_label()

    def test_grid_names_classes_at_its_edges_only(self):
        figure = figures.confusion_matrices({str(i): np.eye(2) for i in range(5)}, columns=3)
        shown = [
            ("".join(t.get_text() for t in ax.get_xticklabels()) != "") for ax in figure.axes[:5]
        ]
        assert shown == [False, False, True, True, True]
        assert not figure.axes[5].axison

    @pytest.mark.parametrize("matrix", [[[1, 2, 3], [4, 5, 6]], [[1, -2], [3, 4]], [1, 2]])
    def test_what_is_no_matrix_of_counts_is_named(self, matrix):
        with pytest.raises(ValueError, match="confusion matrix of 'mine' must be 2 x 2"):
            figures.confusion_matrices({"mine": matrix})


class TestFoldCurves:
    def test_mean_curve_and_auc_are_those_of_the_folds(self):
        figure = figures.roc_curves({"SqueezeNet": FOLDS})
        *thin, mean, _chance = figure.axes[0].lines
        assert len(thin) == len(FOLDS)
        x = mean.get_xdata()
        expected = np.mean([np.interp(x, *roc_curve(*f)[:2]) for f in FOLDS], axis=0)
        np.testing.assert_allclose(mean.get_ydata()[1:], expected[1:])
        areas = [roc_auc_score(*f) for f in FOLDS]
        told = f"SqueezeNet: AUC {np.mean(areas):.3f} ± {np.std(areas, ddof=1):.3f}"
        assert legend(figure) == [told]
        assert figure.get_label() == f"ROC curves. {told}."
        # The grid keeps the area of the mean.
        assert trapezoid(mean.get_ydata(), x) == pytest.approx(np.mean(areas), abs=0.005)

    def test_precision_is_what_some_threshold_has(self):
        targets, probabilities = [1, 0, 1, 0, 1], [0.9, 0.8, 0.7, 0.6, 0.5]
        figure = figures.precision_recall_curves({"a": [(targets, probabilities)]})
        line = figure.axes[0].lines[-1]
        at = dict(zip(line.get_xdata().round(3), line.get_ydata(), strict=True))
        # One positive found with no error; two with one; all three with two.
        assert at[0.0] == at[0.332] == 1
        assert at[0.334] == at[0.666] == pytest.approx(2 / 3)
        assert at[0.668] == at[1.0] == pytest.approx(3 / 5)

    def test_several_runs_differ_by_more_than_color(self):
        figure = figures.roc_curves(dict.fromkeys("abcde", FOLDS))
        looks = [
            (line.get_color(), line.get_linestyle())
            for line in figure.axes[0].lines
            if line.get_linewidth() > 1
        ]
        assert len(set(looks)) == 5
        assert len({style for _, style in looks}) == 4

    def test_fold_without_a_curve_is_left_out(self):
        lonely = (np.zeros(5, dtype=int), np.linspace(0, 1, 5))
        figure = figures.roc_curves({"a": [*FOLDS, lonely]})
        assert legend(figure) == legend(figures.roc_curves({"a": FOLDS}))
        with pytest.raises(ValueError, match="AUC needs a fold with both classes, but 'a'"):
            figures.roc_curves({"a": [lonely]})

    def test_one_fold_has_no_deviation(self):
        (told,) = legend(figures.roc_curves({"a": FOLDS[:1]}))
        assert "±" not in told


class TestReliability:
    def test_points_are_the_bins_that_are_filled(self):
        figure = figures.reliability_diagrams({"a": ([0, 1, 1], [0.05, 0.92, 0.98])})
        line = figure.axes[0].lines[-1]
        np.testing.assert_allclose(line.get_xdata(), [0.05, 0.95])
        np.testing.assert_allclose(line.get_ydata(), [0, 1])
        assert legend(figure) == ["a: ECE 0.050"]


class TestLearningCurves:
    def test_mean_over_folds_and_steps_of_the_learning_rate(self):
        other = {**HISTORY, "loss": [0.9, 0.7, 0.6, 0.5]}
        figure = figures.learning_curves([HISTORY, other])
        loss = figure.axes[0]
        by_label = {line.get_label(): line for line in loss.lines}
        np.testing.assert_allclose(
            by_label["training, mean of 2 folds"].get_ydata(), [0.8, 0.6, 0.5, 0.4]
        )
        assert by_label["learning rate changed"].get_xdata() == [3, 3]
        assert legend(figure) == ["training, mean of 2 folds", "learning rate changed"]

    def test_watched_slices_are_drawn_where_there_are_any(self):
        unwatched = {**HISTORY, "monitor_loss": [np.nan] * 4, "monitor_accuracy": [np.nan] * 4}
        assert legend(figures.learning_curves([unwatched])) == ["training", "learning rate changed"]
        watched = {**HISTORY, "monitor_loss": [1.0] * 4, "monitor_accuracy": [0.5] * 4}
        assert "test fold" in legend(figures.learning_curves([watched]))

    @pytest.mark.parametrize(("scored", "marker"), [([1.0, 0.5], "None"), ([np.nan, 0.5], ".")])
    def test_epochs_between_which_nothing_was_watched_are_joined(self, scored, marker):
        sparse = [np.nan, scored[0], np.nan, scored[1]]
        history = {**HISTORY, "monitor_loss": sparse, "monitor_accuracy": sparse}
        loss = figures.learning_curves([history]).axes[0]
        (line,) = [line for line in loss.lines if line.get_label() == "test fold"]
        assert line.get_ydata().tolist() == [value for value in scored if value == value]
        assert line.get_marker() == marker

    def test_gradual_schedule_has_no_steps(self):
        epochs = np.arange(40)
        flat = dict.fromkeys(("loss", "accuracy"), np.ones(40))
        gradual = {"epoch": epochs, "learning_rate": np.cos(epochs / 40), **flat}
        assert legend(figures.learning_curves([gradual])) == ["training"]


class TestForest:
    def test_numbers_stand_beside_their_run(self):
        rows = {"random": (0.907, (0.88, 0.93)), "grouped": (0.75, (0.69, 0.81))}
        figure = figures.forest(rows, metric="auc", published={"random": (0.9, 0.02)})
        assert texts(figure) == ["0.907 [0.880, 0.930]", "0.750 [0.690, 0.810]"]
        ax = figure.axes[0]
        assert [t.get_text() for t in ax.get_yticklabels()] == ["random", "grouped"]
        assert ax.get_xlabel() == "AUC"
        np.testing.assert_allclose(ax.lines[1].get_xdata(), [0.88, 0.9, 0.92])
        assert legend(figure) == ["confidence interval", "published, mean ± sd over folds"]

    def test_strangers_are_refused(self):
        with pytest.raises(ValueError, match="published results of unknown run 'b'"):
            figures.forest({"a": (0.9, (0.8, 1))}, published={"b": (0.9, 0.1)})
        with pytest.raises(UnknownNameError, match="unknown metric"):
            figures.forest({"a": (0.9, (0.8, 1))}, metric="acc")


@pytest.mark.parametrize(
    "draw",
    [figures.confusion_matrices, figures.roc_curves, figures.precision_recall_curves,
     figures.reliability_diagrams, figures.learning_curves, figures.forest],
)  # fmt: skip
def test_nothing_to_draw_is_an_error(draw):
    with pytest.raises(ValueError, match=r"needs at least one \w+, got 0"):
        draw({})


def test_long_names_of_runs_neither_leave_the_figure_nor_crowd_it_out():
    name = "efficientnet_lite0, covid19-ct, grouped by patient, strategy feature-extraction"
    roc = figures.roc_curves({name: FOLDS, f"{name}, seed 1": FOLDS})
    forest = figures.forest({name: (0.9, (0.8, 0.95)), "b": (0.8, (0.7, 0.85))})
    for figure in (roc, forest):
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert figure.axes[0].get_position().width > 0.3
