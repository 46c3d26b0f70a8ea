"""The explanations of a fitted fold, in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from .._files import atomic_path, write_json, write_text
from ..datasets.canvases import make_canvases
from ..datasets.ct_dataset import CTDataset
from ..datasets.reading import read_image
from ..inference import infer
from ..runs.predictor import Prediction, Predictor
from ..runs.result import CrossValidationResult
from ..transforms import to_grayscale
from . import faithfulness, figures, tsne
from .grad_cam import GradCAM

__all__ = ["explain_fold", "explain_predictions", "save_figure"]

Index = npt.NDArray[np.int64]


def explain_fold(
    result: CrossValidationResult,
    dataset: CTDataset,
    folder: str | PathLike[str],
    *,
    fold: int = 0,
    layer: str | None = None,
    count: int = 8,
    seed: int = 0,
) -> faithfulness.Faithfulness:
    """Draw and measure what the network of a fold looks at.

    Parameters
    ----------
    result
        The run.
    dataset
        The slices that it was made of.
    folder
        Where ``grad_cam.png`` (COVID-19 slices of the test fold that were recognised, as in
        Figs. 13 and 14 of the paper), ``tsne.png`` (as in Figs. 11 and 12), ``faithfulness.txt``
        and ``faithfulness.json`` go.
    fold
        The fold.
    layer
        Name of the layer to explain, as in `GradCAM`; an earlier one than the default has a finer
        grid.
    count
        Slices that ``grad_cam.png`` shows at most.
    seed
        Of all that is drawn.

    Returns
    -------
    Faithfulness
        How far the maps of the test fold's COVID-19 slices can be believed.

    Raises
    ------
    ValueError
        If the dataset is not the one that the run was made of, or the test fold has fewer than two
        COVID-19 slices.

    Examples
    --------
    >>> import tempfile
    >>> import covidct
    >>> from covidct.explain.fold import explain_fold
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> table = explain_fold(cv.run(slices), slices, tempfile.mkdtemp())
    >>> len(table.measures) > 0
    True
    """
    if dataset.content_hash() != result.run["dataset"]["content_hash"]:
        msg = f"the run was made of other slices of {result.dataset_name!r} than those given"
        raise ValueError(msg)
    folder = Path(folder)
    model = result.fold_model(fold)
    canvases = make_canvases(dataset, model.input_size, resize=result.recipe.resize)
    split = result.folds[fold]
    covid = split.test[dataset.targets[split.test] == 1]
    sizes = [dataset[i][0].size[::-1] for i in covid]
    masks = [dataset.masks(int(i)) for i in covid]
    table = faithfulness.table(
        model,
        canvases[covid],
        sizes=sizes,
        masks=masks,
        layer=layer,
        resize=result.recipe.resize,
        seed=seed,
    )
    write_text(folder / "faithfulness.txt", f"{table}\n")
    write_json(folder / "faithfulness.json", table.to_dict())
    scored = {int(row["index"]): row["probability"] for row in result.predictions}
    shown = sorted(covid, key=lambda i: -scored[int(i)])[:count]
    maps = GradCAM(model, layer=layer).over(canvases, index=np.array(shown)).maps
    drawing = figures.saliency_maps(
        [dataset[int(i)][0] for i in shown],
        maps,
        probabilities=[float(scored[int(i)]) for i in shown],
        targets=[1] * len(shown),
        masks=[dataset.masks(int(i)) for i in shown],
        classes=result.classes,
        resize=result.recipe.resize,
    )
    save_figure(drawing, folder / "grad_cam.png")
    index = np.concatenate([split.train, split.test])
    features = np.asarray(infer(model, canvases, index=index, features=True).features)
    test = np.arange(len(index)) >= len(split.train)
    save_figure(_embedding(features, dataset.targets[index], test, seed), folder / "tsne.png")
    return table


def explain_predictions(
    predictor: Predictor,
    predictions: Sequence[Prediction],
    folder: str | PathLike[str],
    *,
    layer: str | None = None,
) -> Path:
    """Draw the maps of slices from anywhere, as the paper's external test does (Figs. 15 and 16).

    Parameters
    ----------
    predictor
        The fitted folds; the maps are the mean over them.
    predictions
        What they said of the slices.
    folder
        Where ``grad_cam.png`` goes.
    layer
        As in `explain_fold`.

    Returns
    -------
    Path
        The picture.

    Raises
    ------
    ValueError
        If no slice could be read.
    """
    readable = [p for p in predictions if p.canvas is not None]
    if not readable:
        msg = "there is no slice to explain"
        raise ValueError(msg)
    canvases = np.stack([p.canvas for p in readable if p.canvas is not None])
    each = [GradCAM(model, layer=layer).over(canvases).maps for model in predictor.models]
    maps = torch.stack(each).mean(dim=0)
    drawing = figures.saliency_maps(
        [to_grayscale(read_image(p.path)) for p in readable],
        maps,
        probabilities=[p.probability for p in readable],
        names=[Path(p.path).name for p in readable],
        resize=predictor.resize,
    )
    return save_figure(drawing, Path(folder) / "grad_cam.png")


def _embedding(
    features: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
    test: npt.NDArray[np.bool_],
    seed: int,
) -> Figure:
    perplexity = min(30.0, (len(features) - 1) / 3)
    points = tsne.embed(features, perplexity=perplexity, seed=seed)
    enough = min(np.bincount(targets[test], minlength=2)) >= 2 and test.sum() > 10
    separation = tsne.separation(features[test], points[test], targets[test]) if enough else None
    return figures.embedding(points, targets, test=test, separation=separation)


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all.

    Parameters
    ----------
    figure
        The figure.
    path
        Where it goes.

    Returns
    -------
    Path
        The same.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return path
