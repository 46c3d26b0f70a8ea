from __future__ import annotations

import io
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from covidct.explain import faithfulness, figures
from covidct.explain.figures import below_common_folder
from covidct.explain.tsne import Separation


@pytest.fixture
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(40, 60), (64, 50), (30, 30)]
    return [Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)) for size in sizes]


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0))


def rendered(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=50)
    return file.getvalue()


def test_maps_lie_on_their_own_slices(images: list[Image.Image], maps: torch.Tensor) -> None:
    figure = figures.saliency_maps(images, maps, columns=2)
    assert len(figure.axes) == 7  # with the color bar
    for i, image in enumerate(images):
        pair = figure.axes[2 * i : 2 * i + 2]
        above, below = ([shown.get_array() for shown in ax.get_images()] for ax in pair)
        np.testing.assert_array_equal(above[0], np.asarray(image))
        np.testing.assert_array_equal(below[0], np.asarray(image))
        assert below[1].shape == image.size[::-1]
    columns = [round(ax.get_position().x0, 1) for ax in figure.axes[:6:2]]
    assert columns[0] == columns[2] < columns[1]
    assert rendered(figure)


def test_titles_show_name_class_and_probability(
    images: list[Image.Image], maps: torch.Tensor
) -> None:
    figure = figures.saliency_maps(
        images, maps, names=list("abc"), targets=[1, 0, 1], probabilities=[0.9, 0.25, 0.123]
    )
    assert figure.axes[2].get_title() == "b\ntrue class non-COVID\nP(COVID) = 0.250"


def test_names_are_not_parsed_as_formulas_and_are_shortened(
    images: list[Image.Image], maps: torch.Tensor
) -> None:
    names = ["$x$.png", "2020.02.10.20021584-p6-52%0.png", "caf\udce9.png"]
    figure = figures.saliency_maps(images, maps, names=names)
    titles = [ax.title for ax in figure.axes[:6:2]]
    assert [title.get_text() for title in titles] == [
        names[0],
        "2020.02.10.2…p6-52%0.png",
        "caf\\xe9.png",
    ]
    assert not any(title.get_parse_math() for title in titles)
    assert rendered(figure)


def test_masks_are_outlined_and_named(images: list[Image.Image], maps: torch.Tensor) -> None:
    lesion = np.zeros((40, 60), dtype=bool)
    lesion[5:20, 10:30] = True
    masks = [{"lesion": lesion, "finding": np.zeros((40, 60), dtype=bool)}, None, None]
    figure = figures.saliency_maps(images, maps, masks=masks)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["lesion"]
    below = figure.axes[1]
    outline = np.concatenate([path.vertices for path in below.collections[0].get_paths()])
    assert outline.min(axis=0).tolist() == [9.5, 4.5]
    assert outline.max(axis=0).tolist() == [29.5, 19.5]
    assert rendered(figure)


def test_the_overlay_is_transparent_without_evidence(
    images: list[Image.Image], maps: torch.Tensor
) -> None:
    for sign in (1, -1):
        figure = figures.saliency_maps(images, maps * sign)
        overlay = figure.axes[1].get_images()[1]
        assert overlay.to_rgba(np.zeros((1, 1)))[0, 0, 3] < 0.05
        assert overlay.to_rgba(np.ones((1, 1)) * sign)[0, 0, 3] > 0.7


@pytest.mark.parametrize("palette", ["paper", "color-blind"])
def test_the_four_kinds_differ_in_color_and_marker(palette: str) -> None:
    points = np.random.default_rng(0).normal(size=(40, 2))
    targets, test = np.arange(40) % 2, np.arange(40) < 10
    figure = figures.embedding(points, targets, test=test, palette=palette)
    lines = figure.axes[0].get_lines()
    assert sum(len(line.get_xdata()) for line in lines) == 40
    assert len({to_rgb(line.get_markerfacecolor()) for line in lines}) == 4
    assert len({(line.get_marker(), line.get_markersize()) for line in lines}) == 4
    assert rendered(figure)


def test_the_papers_colors() -> None:
    points, targets = np.zeros((4, 2)), [1, 1, 0, 0]
    figure = figures.embedding(points, targets, test=[False, True, False, True])
    colors = {line.get_label(): line.get_markerfacecolor() for line in figure.axes[0].get_lines()}
    assert colors == {
        "COVID, train (1)": "red",
        "COVID, test (1)": "blue",
        "non-COVID, train (1)": "gold",
        "non-COVID, test (1)": "green",
    }


def test_the_separation_is_printed_below_the_embedding() -> None:
    separation = Separation(0.91, 0.12, 0.34, 0.875, 0.9, 0.5)
    options = {"test": np.arange(8) < 2, "separation": separation}
    figure = figures.embedding(np.zeros((8, 2)), [0, 1] * 4, **options)
    text = figure.get_supxlabel()
    assert "trustworthiness 0.91" in text
    assert "90.0 % (features 87.5 %, chance 50.0 %)" in text


def test_titles_of_curves_show_their_areas() -> None:
    falling = np.array([[1.0, 0.5, 0.0]])
    curves = faithfulness.Curves(np.array([0.0, 0.5, 1.0]), falling, 1 - falling)
    chance = faithfulness.Curves(curves.fractions, 1 - 0 * falling, 0 * falling)
    figure = figures.perturbation_curves(curves, chance=chance)
    assert [ax.get_title() for ax in figure.axes] == [
        "deletion: area 0.50, random 1.00",
        "insertion: area 0.50, random 0.00",
    ]
    assert rendered(figure)


def test_pyplot_is_not_used(
    images: list[Image.Image], maps: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # its import now fails
    figures.saliency_maps(images, maps)
    figures.embedding(maps[0, :, :2].numpy(), [0, 1] * 24, test=[True] * 48)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i, m: figures.saliency_maps([], m[:0]), "at least one slice.*got 0 slices"),
        (lambda i, m: figures.saliency_maps(i, m[:2]), "got 3 slices and {'maps': 2}"),
        (lambda i, m: figures.saliency_maps(i, m, targets=[1]), "'targets': 1"),
        (lambda i, m: figures.saliency_maps(i, m, columns=0), "columns must be at least 1, got 0"),
        (lambda i, m: figures.embedding(m[0], [0], test=[True]), "sequences of the same length"),
        (
            lambda i, m: figures.embedding(m[0], [], test=[], palette="gray"),
            "palette must be one of 'paper', 'color-blind', got 'gray'",
        ),
    ],
)
def test_bad_arguments(
    images: list[Image.Image],
    maps: torch.Tensor,
    call: Callable[[list[Image.Image], torch.Tensor], Figure],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        call(images, maps)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["COVID/p1/0.png", "COVID/p2/0.png"], ["p1/0.png", "p2/0.png"]),
        (["/a/b/0.png"], ["0.png"]),
        (["0.png", "p/0.png"], ["0.png", "p/0.png"]),
        ([], []),
    ],
)
def test_names_stay_distinct(paths: list[str], names: list[str]) -> None:
    assert below_common_folder(paths) == names


class TestPlotsIntoAxes:
    def test_maps(self):
        images = [np.full((20, 30), 90, np.uint8), np.full((30, 20), 90, np.uint8)]
        maps = np.stack([np.eye(16, 24), -np.eye(16, 24)])
        given = Figure().subplots(1, 2)
        axes = figures.plot_maps(images, maps, titles=["a", "b"], ax=given)
        assert list(axes) == list(given)
        assert [ax.get_title() for ax in axes] == ["a", "b"]
        overlays = [ax.images[1] for ax in axes]
        assert [overlay.get_array().shape for overlay in overlays] == [(20, 30), (30, 20)]
        assert {(o.norm.vmin, o.norm.vmax) for o in overlays} == {(-1.0, 1.0)}

    def test_maps_in_a_new_figure(self):
        import matplotlib.pyplot as plt

        axes = figures.plot_maps([np.zeros((8, 8), np.uint8)] * 5, torch.ones(5, 4, 4))
        assert axes.shape == (5,)
        assert len(axes[0].figure.axes) == 8  # two rows of four, three of them empty
        plt.close(axes[0].figure)

    def test_another_number_of_axes_is_refused(self):
        with pytest.raises(ValueError, match="one Axes for each of 1 slices, got 2"):
            figures.plot_maps([np.zeros((8, 8))], torch.ones(1, 4, 4), ax=Figure().subplots(1, 2))

    def test_tsne(self):
        points, targets, test = np.random.default_rng(0).normal(size=(9, 2)), [0, 1] * 4 + [1], [1]
        ax = Figure().subplots()
        assert figures.plot_tsne(points, targets, test=test * 9, ax=ax) is ax
        assert [len(line.get_xdata()) for line in ax.lines] == [0, 5, 0, 4]
        legend = figures.plot_tsne(points, targets, ax=Figure().subplots()).get_legend()
        assert [text.get_text() for text in legend.get_texts()] == ["COVID (5)", "non-COVID (4)"]


def test_a_volume_has_feet_head_counted_slices_and_its_rule():
    figure = figures.volume_profile(
        [0, 5, 10, 15], [0.1, 0.8, 0.4, 0.2], [0.1] * 4, aggregate=0.6,
        counted=[False, True, True, False], rule="mean over the 2 slices that show lung",
    )  # fmt: skip
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.texts] == ["← feet", "head →"]
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["counted slices"].get_xdata().tolist() == [5, 10]
    assert lines["other slices"].get_xdata().tolist() == [0, 15]
    assert "volume, mean over the 2 slices that show lung: 0.600" in lines


def test_slices_of_unknown_positions_are_numbered():
    figure = figures.volume_profile([float("nan")] * 2, [0.1, 0.8], [0.1, 0.1])
    (ax,) = figure.axes
    assert ax.get_xlabel() == "slice (positions unknown)"
    assert not ax.texts
    assert [line.get_xdata().tolist() for line in ax.lines] == [[1, 2]] * 2
