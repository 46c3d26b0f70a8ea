"""Plots of explanations: functions that draw into Axes, and functions that return a Figure.

:func:`plot_maps` and :func:`plot_tsne` draw into the Axes given as ``ax``, or into those of a new
figure of ``matplotlib.pyplot``, and return them. The other functions return a new figure and use
neither ``matplotlib.pyplot`` nor a backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from PIL import Image
from torch import Tensor

from .._colors import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILLION
from .._files import atomic_path
from .._text import printable, shortened
from ..evaluation.tables import percent
from .perturbation import Curves
from .regions import Masks, to_slice
from .tsne import Separation

Palette = Literal["paper", "color-blind"]

__all__ = [
    "below_common_folder",
    "embedding",
    "perturbation_curves",
    "plot_maps",
    "plot_tsne",
    "saliency_maps",
    "save_figure",
    "volume_profile",
]

_SMALL = 8  # points
_LONGEST_NAME = 24  # characters; longer titles would overlap
# (class, in the test fold) -> color.
_PALETTES = {
    "paper": {(1, 0): "red", (1, 1): "blue", (0, 0): "gold", (0, 1): "green"},
    "color-blind": {(1, 0): ORANGE, (1, 1): VERMILLION, (0, 0): SKY_BLUE, (0, 1): BLUE},
}
# Further classes of both palettes.
_FURTHER = {
    (2, 0): "0.75",
    (2, 1): "0.2",
    (3, 0): "#E5C4D6",
    (3, 1): PURPLE,
    (4, 0): "#A6DBC8",
    (4, 1): GREEN,
    (5, 0): "#F7F3B0",
    (5, 1): "#B8A800",
    (6, 0): "#D8C3AC",
    (6, 1): "#7B4A12",
    (7, 0): "#CFC4E8",
    (7, 1): "#5B3FA8",
}
_MARKERS = "^osDvPX*"
MOST_CLASSES = len(_MARKERS)  # of an embedding
_OUTLINES = {"lesion": SKY_BLUE, "lung": "white", "finding": GREEN}


def plot_maps(
    images: Sequence[Image.Image | npt.NDArray[np.uint8]],
    maps: Tensor | npt.NDArray[np.floating],
    *,
    titles: Sequence[str] | None = None,
    masks: Sequence[Masks | None] | None = None,
    columns: int = 4,
    resize: Literal["pad", "stretch"] = "pad",
    ax: Axes | Sequence[Axes] | npt.NDArray[np.object_] | None = None,
) -> npt.NDArray[np.object_]:
    """Draw slices with their saliency maps, each into its own Axes.

    Parameters
    ----------
    images : sequence of PIL.Image.Image or ndarray
        N original gray slices.
    maps : Tensor or ndarray of shape (N, H, W)
        Saliency maps on the canvases, as returned by `covidct.explain.GradCAM`.
    titles : sequence of str, optional
        Title of each slice.
    masks : sequence of mapping of str to ndarray, optional
        For each slice, boolean masks of its original size to outline, by name, or None.
    columns : int, default=4
        Maximum number of slices per row of a new figure.
    resize : {"pad", "stretch"}, default="pad"
        Resizing method that the canvases were made with.
    ax : Axes or array of N Axes, optional
        Axes to draw into; by default those of a new figure.

    Returns
    -------
    ndarray of N matplotlib.axes.Axes
        The Axes. All share one color scale: that of maps in [0, 1], or [-1, 1] if a value is
        negative.

    Raises
    ------
    ValueError
        If `images` is empty, or another sequence differs from it in length.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from covidct.explain import plot_maps
    >>> slices = [np.zeros((50, 70), np.uint8), np.zeros((60, 60), np.uint8)]
    >>> axes = plot_maps(slices, np.ones((2, 40, 56)), ax=Figure().subplots(1, 2))
    >>> axes.shape
    (2,)
    """
    maps = torch.as_tensor(maps)
    _check_lengths(len(images), maps=maps, titles=titles, masks=masks)
    axes = _axes_for(len(images), ax, columns)
    colors, norm = _colors(signed=bool(maps.min() < 0))
    for i, each in enumerate(axes):
        pixels = np.asarray(images[i])
        each.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        on_slice = to_slice(maps[i], pixels.shape, resize=resize)
        each.imshow(on_slice.numpy(force=True), cmap=colors, norm=norm)
        for name, mask in ((masks and masks[i]) or {}).items():
            _outline(each, mask, name)
        if titles is not None:
            each.set_title(titles[i], fontsize=_SMALL, parse_math=False)
        each.set_axis_off()
    return axes


def _axes_for(
    n: int, ax: Axes | Sequence[Axes] | npt.NDArray[np.object_] | None, columns: int
) -> npt.NDArray[np.object_]:
    """Return the given Axes, or those of a new figure of pyplot, as an array of length n."""
    if ax is not None:
        given = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
        if len(given) != n:
            raise ValueError(f"ax must have one Axes for each of {n} slices, got {len(given)}")
        return given
    import matplotlib.pyplot as plt  # imported here, since it selects a backend

    columns = max(1, min(columns, n))
    rows = -(-n // columns)
    size = (2.4 * columns, 2.2 * rows)
    _, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for unused in grid.flat[n:]:
        unused.set_axis_off()
    return np.asarray(grid.ravel()[:n])


def plot_tsne(
    points: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    test: npt.ArrayLike | None = None,
    classes: tuple[str, ...] = ("non-COVID", "COVID"),
    palette: Palette = "color-blind",
    ax: Axes | None = None,
) -> Axes:
    """Draw an embedding of the features of slices.

    Parameters
    ----------
    points : array-like of shape (N, 2)
        Positions, as returned by :func:`covidct.explain.tsne.embed`.
    targets : array-like of shape (N,)
        True classes as positions in `classes`.
    test : array-like of bool of shape (N,), optional
        True for slices of the test fold, which get larger markers and a color of their own.
    classes : tuple of str, default=("non-COVID", "COVID")
        Names of the classes, at most eight.
    palette : {"color-blind", "paper"}, default="color-blind"
        Colors, as in :func:`embedding`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into; by default those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes, without ticks, because positions have no meaning in an embedding.

    Raises
    ------
    ValueError
        If there are no points, if the arrays differ in length, if `palette` is unknown, or if
        there are more than eight classes.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from covidct.explain import plot_tsne
    >>> points = np.random.default_rng(0).normal(size=(20, 2))
    >>> ax = plot_tsne(points, np.arange(20) % 2, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['COVID (10)', 'non-COVID (10)']
    """
    if ax is None:
        import matplotlib.pyplot as plt  # imported here, since it selects a backend

        ax = plt.subplots()[1]
    _draw_points(ax, points, targets, test=test, classes=classes, palette=palette)
    ax.legend(fontsize=_SMALL)
    return ax


def saliency_maps(
    images: Sequence[Image.Image | npt.NDArray[np.uint8]],
    maps: Tensor,
    *,
    probabilities: Sequence[float] | None = None,
    targets: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    masks: Sequence[Masks | None] | None = None,
    classes: tuple[str, str] = ("non-COVID", "COVID"),
    columns: int = 4,
    resize: Literal["pad", "stretch"] = "pad",
) -> Figure:
    """Draw slices and, below each, the slice with its saliency map, as in Figs. 13 to 16.

    The overlay is transparent where a map is zero. Maps with negative values are drawn in red for
    evidence for the target and blue for evidence against it.

    Parameters
    ----------
    images : sequence of PIL.Image.Image or ndarray
        N original gray slices.
    maps : torch.Tensor of shape (N, H, W)
        Saliency maps on the canvases, as returned by `covidct.explain.GradCAM`. They are mapped
        back onto the original slices.
    probabilities : sequence of float, optional
        Probabilities of COVID-19.
    targets : sequence of int, optional
        True classes, 1 for COVID-19.
    names : sequence of str, optional
        Names of the slices.
    masks : sequence of mapping of str to ndarray, optional
        For each slice, boolean masks of its original size to outline, by name, or None.
    classes : tuple of (str, str), default=("non-COVID", "COVID")
        Names of class 0 and class 1.
    columns : int, default=4
        Maximum number of slices per row.
    resize : {"pad", "stretch"}, default="pad"
        Resizing method that the canvases were made with.

    Returns
    -------
    matplotlib.figure.Figure
        The figure; save it with ``figure.savefig("maps.png")``.

    Raises
    ------
    ValueError
        If `images` is empty, if another sequence differs from it in length, or if `columns` is
        below 1.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from covidct.explain import figures
    >>> slices = [np.zeros((50, 70), np.uint8), np.zeros((60, 60), np.uint8)]
    >>> figure = figures.saliency_maps(slices, torch.rand(2, 40, 56), probabilities=[0.9, 0.4])
    >>> len(figure.axes)  # two slices, two maps, one color bar
    5
    """
    optional = {"probabilities": probabilities, "targets": targets, "names": names, "masks": masks}
    _check_lengths(len(images), maps=maps, **optional)
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    pixels = [np.asarray(image) for image in images]
    columns = min(columns, len(pixels))
    blocks = -(-len(pixels) // columns)
    figure, grid = _grid_of_slices(
        columns, blocks, pixels, lines=sum(x is not None for x in (names, targets, probabilities))
    )
    colors, norm = _colors(signed=bool(maps.min() < 0))
    for i, image in enumerate(pixels):
        row, column = 3 * (i // columns) + 1, i % columns
        above, below = (figure.add_subplot(grid[row + k, column], anchor="SN"[k]) for k in (0, 1))
        for ax in (above, below):
            ax.imshow(image, cmap="gray", vmin=0, vmax=255)
            ax.set_axis_off()
        overlay = below.imshow(
            to_slice(maps[i], image.shape, resize=resize).numpy(force=True), cmap=colors, norm=norm
        )
        for name, mask in ((masks and masks[i]) or {}).items():
            _outline(below, mask, name)
        title = _heading(i, names, targets, probabilities, classes)
        above.set_title(title, fontsize=_SMALL, pad=3, parse_math=False)
    _color_bar(figure, overlay, grid)
    _mask_legend(figure, masks)
    return figure


@mpl.rc_context({"text.parse_math": False})  # dollar signs in names do not start formulas
def embedding(
    points: npt.NDArray[np.floating],
    targets: npt.ArrayLike,
    *,
    test: npt.ArrayLike,
    palette: Palette = "paper",
    classes: tuple[str, ...] = ("non-COVID", "COVID"),
    separation: Separation | None = None,
) -> Figure:
    """Draw an embedding of training and test slices of both classes, as in Figs. 11 and 12.

    Parameters
    ----------
    points : ndarray of shape (N, 2)
        Positions, as returned by :func:`covidct.explain.tsne.embed`.
    targets : array-like of shape (N,)
        True classes as positions in `classes`.
    test : array-like of bool of shape (N,)
        True for slices of the test fold.
    palette : {"paper", "color-blind"}, default="paper"
        ``"paper"`` uses the red, blue, yellow and green of the paper; ``"color-blind"`` uses colors
        that can be told apart with color blindness. The kinds of slices also differ in the shape
        and size of their markers.
    classes : tuple of str, default=("non-COVID", "COVID")
        Names of the classes, at most eight.
    separation : Separation, optional
        Measures to print below, as returned by `covidct.explain.tsne.separation`.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, without ticks, because positions have no meaning in an embedding.

    Raises
    ------
    ValueError
        If there are no points, if the arrays differ in length, if `palette` is unknown, or if
        there are more than eight classes.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.explain import figures
    >>> points = np.random.default_rng(0).normal(size=(20, 2))
    >>> figure = figures.embedding(points, np.arange(20) % 2, test=np.arange(20) < 4)
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['COVID, train (8)', 'COVID, test (2)', 'non-COVID, train (8)', 'non-COVID, test (2)']
    """
    figure = Figure(figsize=(4.6, 4.4), dpi=200, layout="constrained")
    ax = figure.subplots()
    _draw_points(ax, points, targets, test=test, classes=classes, palette=palette)
    figure.legend(loc="outside upper center", ncols=2, fontsize=_SMALL, frameon=False)
    if separation is not None:
        figure.supxlabel(
            f"trustworthiness {separation.trustworthiness:.2f}   "
            f"silhouette {separation.silhouette_embedding:.2f} "
            f"(features {separation.silhouette_features:.2f})\n"
            f"nearest-neighbor accuracy {percent(separation.knn_embedding)} % "
            f"(features {percent(separation.knn_features)} %, "
            f"chance {percent(separation.chance)} %)",
            fontsize=_SMALL,
        )
    return figure


def _draw_points(
    ax: Axes,
    points: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    test: npt.ArrayLike | None,
    classes: tuple[str, ...],
    palette: Palette,
) -> None:
    """Draw the points of an embedding by class and part."""
    if palette not in _PALETTES:
        raise ValueError(
            f"palette must be one of {', '.join(map(repr, _PALETTES))}, got {palette!r}"
        )
    if len(classes) > MOST_CLASSES:
        raise ValueError(f"expected at most {MOST_CLASSES} classes, got {len(classes)}")
    places, labels = np.asarray(points), np.asarray(targets)
    held_out = np.zeros(len(labels), bool) if test is None else np.asarray(test, dtype=bool)
    _check_lengths(len(places), targets=labels, test=held_out)
    for (target, part), color in (_PALETTES[palette] | _FURTHER).items():
        if target >= len(classes) or (test is None and part):
            continue
        chosen = (labels == target) & (held_out == part)
        share = "" if test is None else f", {'test' if part else 'train'}"
        name = f"{classes[target]}{share} ({np.count_nonzero(chosen)})"
        ax.plot(
            *places[chosen].T,
            linestyle="none",
            marker=_MARKERS[target],
            markersize=5.5 if part else 3.5,
            markerfacecolor=color,
            markeredgecolor="black" if part else "0.4",
            markeredgewidth=0.7 if part else 0.3,
            label=name,
            zorder=2 + part,
        )
    ax.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    ax.spines[:].set_color("0.8")


def perturbation_curves(curves: Curves, *, chance: Curves | None = None) -> Figure:
    """Draw deletion and insertion curves.

    Parameters
    ----------
    curves : Curves
        Curves of the maps, as returned by :func:`covidct.explain.faithfulness.perturb`.
    chance : Curves, optional
        Curves of random maps.

    Returns
    -------
    matplotlib.figure.Figure
        Means over the slices, with bands from the 25th to the 75th percentile.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.explain import faithfulness, figures
    >>> falling = np.array([[1.0, 0.4, 0.1], [0.9, 0.5, 0.0]])
    >>> curves = faithfulness.Curves(np.array([0.0, 0.5, 1.0]), falling, falling[:, ::-1])
    >>> figure = figures.perturbation_curves(curves)
    >>> [ax.get_title().split(":")[0] for ax in figure.axes]
    ['deletion', 'insertion']
    """
    figure = Figure(figsize=(6.0, 2.7), dpi=200, layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, kind in zip(axes, ("deletion", "insertion"), strict=True):
        if chance is not None:
            _curve(ax, chance, kind, color="0.45", label="random map", linestyle="--")
        _curve(ax, curves, kind, color=BLUE, label="Grad-CAM", linestyle="-")
        area = getattr(curves, f"{kind}_area").mean()
        reference = f", random {getattr(chance, f'{kind}_area').mean():.2f}" if chance else ""
        ax.set_title(f"{kind}: area {area:.2f}{reference}", fontsize=_SMALL + 1)
        ax.set_xlabel(f"share of pixels after {kind}", fontsize=_SMALL)
        ax.set(xlim=(0, 1), ylim=(0, 1.02))
        ax.tick_params(labelsize=_SMALL)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("probability of the target class", fontsize=_SMALL)
    axes[1].legend(fontsize=_SMALL, frameon=False)
    return figure


def volume_profile(
    positions: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    spreads: npt.ArrayLike,
    *,
    aggregate: float | None = None,
    counted: npt.ArrayLike | None = None,
    rule: str | None = None,
    covid: str = "COVID",
) -> Figure:
    """Draw the probability of COVID-19 of each slice of a volume against its position.

    Parameters
    ----------
    positions : array-like of shape (N,)
        Positions of the slices in mm, ascending, from the feet to the head. If one is NaN, the
        slices are numbered instead.
    probabilities, spreads : array-like of shape (N,)
        Means and standard deviations over the folds.
    aggregate : float, optional
        Probability of the volume, drawn as a horizontal line.
    counted : array-like of bool of shape (N,), optional
        Slices that count for the probability of the volume; the markers of the rest are hollow. By
        default all.
    rule : str, optional
        Computation of `aggregate` in words, such as "mean over the 40 slices that show lung".
    covid : str, default="COVID"
        Name of class 1.

    Returns
    -------
    matplotlib.figure.Figure
        Means over the folds, with a band of one standard deviation.

    Raises
    ------
    ValueError
        If there are no slices, or if the arrays differ in length.

    Examples
    --------
    >>> from covidct.explain import figures
    >>> figure = figures.volume_profile(
    ...     [0, 5, 10], [0.1, 0.8, 0.4], [0.1, 0.1, 0.0], aggregate=0.6,
    ...     counted=[False, True, True], rule="mean over the 2 slices that show lung",
    ... )
    >>> figure.axes[0].get_xlabel()
    'position along the body (mm)'
    """
    z, mean, sd = (np.asarray(x, np.float64) for x in (positions, probabilities, spreads))
    used = np.ones(len(z), bool) if counted is None else np.asarray(counted, bool)
    _check_lengths(len(z), probabilities=mean, spreads=sd, counted=used)
    placed = bool(np.isfinite(z).all())
    z = z if placed else np.arange(1.0, len(z) + 1)
    figure = Figure(figsize=(6.0, 3.0), dpi=200, layout="constrained")
    ax = figure.subplots()
    low, high = np.clip([mean - sd, mean + sd], 0, 1)
    ax.fill_between(z, low, high, color=BLUE, alpha=0.2, lw=0, label="± sd over folds")
    ax.plot(z, mean, color=BLUE, lw=0.8, alpha=0.6)
    points: dict[str, Any] = {"color": BLUE, "marker": "o", "markersize": 3, "lw": 0}
    ax.plot(z[used], mean[used], **points, label="slices" if used.all() else "counted slices")
    if not used.all():
        ax.plot(z[~used], mean[~used], **points, mfc="white", label="other slices")
    if aggregate is not None:
        words = f"volume, {rule}: {aggregate:.3f}" if rule else f"volume: {aggregate:.3f}"
        ax.axhline(aggregate, color=VERMILLION, lw=1, ls="--", label=words)
    ax.set(ylim=(-0.02, 1.02))
    ax.set_xlabel(
        "position along the body (mm)" if placed else "slice (positions unknown)", fontsize=_SMALL
    )
    if placed:
        for x, end, side in ((0, "← feet", "left"), (1, "head →", "right")):
            ax.text(x, -0.16, end, transform=ax.transAxes, ha=side, va="center", fontsize=_SMALL)
    ax.set_ylabel(f"P({covid})", fontsize=_SMALL)
    ax.tick_params(labelsize=_SMALL)
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, fontsize=_SMALL, frameon=False)
    return figure


def below_common_folder(paths: Sequence[str]) -> list[str]:
    """Remove the folders that all paths have in common.

    Parameters
    ----------
    paths : sequence of str
        Paths of the slices.

    Returns
    -------
    list of str
        Paths relative to the common folder, with forward slashes.

    Examples
    --------
    >>> from covidct.explain.figures import below_common_folder
    >>> below_common_folder(["COVID/p1/0.png", "COVID/p2/0.png"])
    ['p1/0.png', 'p2/0.png']
    """
    parts = [PurePath(path).parts for path in paths]
    while all(len(each) > 1 for each in parts) and len({each[0] for each in parts}) == 1:
        parts = [each[1:] for each in parts]
    return ["/".join(each) for each in parts]


def _heading(
    i: int,
    names: Sequence[str] | None,
    targets: Sequence[int] | None,
    probabilities: Sequence[float] | None,
    classes: tuple[str, str],
) -> str:
    """Return the title of slice `i`: its name, true class and probability, if known."""
    lines = [shortened(printable(names[i]), _LONGEST_NAME)] if names is not None else []
    if targets is not None:
        lines.append(f"true class {classes[targets[i]]}")
    if probabilities is not None:
        lines.append(f"P({classes[1]}) = {probabilities[i]:.3f}")
    return "\n".join(lines)


def _grid_of_slices(
    columns: int, blocks: int, pixels: Sequence[npt.NDArray[np.uint8]], *, lines: int
) -> tuple[Figure, GridSpec]:
    """Create a figure with blocks of three rows: titles, slices and maps.

    All sizes are in inches. The last column is for the color bar.
    """
    width, bar, gap, below = 1.8, 0.12, 0.04, 0.3
    height = width * float(np.median([image.shape[0] / image.shape[1] for image in pixels]))
    widths = [width] * columns + [bar]
    heights = [0.08 + 0.15 * lines, height, height] * blocks
    across = sum(widths) + gap * columns + 0.65  # label of the color bar
    down = sum(heights) + gap * (len(heights) - 1) + below
    figure = Figure(figsize=(across, down), dpi=200)
    grid = figure.add_gridspec(
        len(heights),
        len(widths),
        width_ratios=widths,
        height_ratios=heights,
        left=gap / across,
        right=1 - 0.65 / across,
        bottom=below / down,
        top=1.0,
        wspace=gap / float(np.mean(widths)),
        hspace=gap / float(np.mean(heights)),
    )
    return figure, grid


def _curve(ax: Axes, curves: Curves, kind: str, *, color: str, label: str, linestyle: str) -> None:
    values = getattr(curves, kind)
    ax.fill_between(
        curves.fractions, *np.quantile(values, [0.25, 0.75], axis=0), color=color, alpha=0.15, lw=0
    )
    ax.plot(curves.fractions, values.mean(axis=0), color=color, linestyle=linestyle, label=label)


def _colors(*, signed: bool) -> tuple[Colormap, Normalize]:
    """Return a color map that is transparent at zero, and its norm."""
    values = np.linspace(-1 if signed else 0, 1, 256)
    # The ends of inferno (black, pale yellow) are left out: they are invisible on lung and chest
    # wall.
    name, ends = ("RdBu_r", (0.0, 1.0)) if signed else ("inferno", (0.25, 0.85))
    shades = mpl.colormaps[name](np.linspace(*ends, 256))
    shades[:, 3] = 0.85 * np.abs(values) ** 0.9
    return ListedColormap(shades), Normalize(values[0], values[-1])


def _outline(ax: Axes, mask: npt.NDArray[np.bool_], name: str) -> None:
    if mask.any() and not mask.all():
        color = _OUTLINES.get(name, ORANGE)
        ax.contour(mask.astype(float), levels=[0.5], colors=[color], linewidths=0.7)


def _color_bar(figure: Figure, overlay: AxesImage, grid: GridSpec) -> None:
    bar = figure.colorbar(overlay, cax=figure.add_subplot(grid[1:, -1]))
    bar.ax.set_facecolor("0.35")
    bar.ax.tick_params(labelsize=_SMALL - 1)
    bar.set_label("evidence, relative to the maximum of the map", fontsize=_SMALL - 1)


def _mask_legend(figure: Figure, masks: Sequence[Masks | None] | None) -> None:
    names = sorted({name for mask in masks or () for name, m in (mask or {}).items() if m.any()})
    if names:
        lines = [Line2D([], [], color=_OUTLINES.get(name, ORANGE), lw=1.2) for name in names]
        legend = figure.legend(
            lines, names, loc="lower left", ncols=len(names), fontsize=_SMALL, borderaxespad=0.2
        )
        legend.get_frame().set(facecolor="0.35", edgecolor="none")
        for text in legend.get_texts():
            text.set_color("white")


def _check_lengths(n: int, **lists: object) -> None:
    lengths = {name: len(values) for name, values in lists.items() if values is not None}  # type: ignore[arg-type]  # all are sequences
    if not n or any(length != n for length in lengths.values()):
        raise ValueError(
            "expected at least one slice, and sequences of the same length; "
            f"got {n} slices and {lengths}"
        )


def save_figure(figure: Figure, path: Path) -> Path:
    """Save a figure as PNG, atomically.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    path : Path
        File to write.

    Returns
    -------
    Path
        The written file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from matplotlib.figure import Figure
    >>> from covidct.explain.figures import save_figure
    >>> save_figure(Figure(), Path(tempfile.mkdtemp(), "empty.png")).name
    'empty.png'
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return path
