"""The explanations of a fitted fold, or of new slices, in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from .._files import atomic_path, write_json, write_text
from ..datasets.canvases import make_canvases
from ..datasets.ct_dataset import CTDataset
from ..devices import resolve_device
from ..inference import infer
from ..models.classifier import CTClassifier
from ..runs.predictor import Prediction, Predictor, with_images
from ..runs.result import CrossValidationResult
from . import faithfulness, figures, tsne
from .faithfulness import Faithfulness, Measure
from .grad_cam import GradCAM

__all__ = [
    "draw_map",
    "embed_fold",
    "explain_fold",
    "explain_predictions",
    "mean_maps",
    "save_figure",
]

_ON_A_PAGE = 24  # slices: six rows of four
_NEIGHBORS = 5
_PERTURBED = 32  # slices, shared among the folds of a run


def explain_fold(
    result: CrossValidationResult,
    dataset: CTDataset,
    folder: str | PathLike[str],
    *,
    fold: int = 0,
    layer: str | None = None,
    count: int = 8,
    palette: figures.Palette = "paper",
    seed: int = 0,
) -> Faithfulness:
    """Draw and measure what the network of a fold looks at.

    Parameters
    ----------
    result
        The run.
    dataset
        The slices that it was made of.
    folder
        Where ``grad_cam.png`` (the COVID-19 slices of the test fold that were recognized most
        surely, as in Figs. 13 and 14 of the paper; where none was, the nearest to it),
        ``tsne.png`` (as in Figs. 11 and 12), ``faithfulness.txt`` and ``faithfulness.json`` go.
    fold
        The fold.
    layer
        Name of the layer to explain, as in `GradCAM`; an earlier one than the default has a finer
        grid.
    count
        Slices that ``grad_cam.png`` shows at most.
    palette
        Colors of ``tsne.png``, as in `covidct.explain.figures.embedding`.
    seed
        Of all that is drawn.

    Returns
    -------
    Faithfulness
        How far the maps of the test fold's COVID-19 slices can be believed and, where the test
        fold has enough slices for it, how well t-SNE keeps its classes apart.

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
        raise ValueError(
            f"the run was made of other slices of {result.dataset_name!r} than those given"
        )
    folder = Path(folder)
    model = result.fold_model(fold).to(resolve_device("auto"))
    canvases = make_canvases(dataset, model.input_size, resize=result.recipe.resize)
    split = result.folds[fold]
    covid = split.test[dataset.targets[split.test] == 1]
    table = faithfulness.table(
        model,
        canvases[covid],
        sizes=[dataset[int(i)][0].size[::-1] for i in covid],
        masks=[dataset.masks(int(i)) for i in covid],
        layer=layer,
        resize=result.recipe.resize,
        seed=seed,
    )
    rows = result.fold_predictions(fold)
    maps = _recognized(result, dataset, GradCAM(model, layer=layer), canvases, rows, count)
    save_figure(maps, folder / "grad_cam.png")
    plane, separation = embed_fold(
        result, dataset, model, canvases, fold=fold, palette=palette, seed=seed
    )
    save_figure(plane, folder / "tsne.png")
    if separation is not None:
        apart = _separation_rows(separation, len(split.test))
        table = replace(table, measures=(*table.measures, *apart))
    return _write(table, folder)


def explain_predictions(
    predictor: Predictor,
    predictions: Sequence[Prediction],
    folder: str | PathLike[str],
    *,
    layer: str | None = None,
    seed: int = 0,
) -> Faithfulness | None:
    """Draw and measure the maps of slices from anywhere, as the paper's external test does.

    Parameters
    ----------
    predictor
        The fitted folds; the maps are the mean over them.
    predictions
        What they said of the slices.
    folder
        Where ``grad_cam.png`` (as in Figs. 15 and 16 of the paper), or of many slices
        ``grad_cam-001.png`` and so on, goes, and the table, as `explain_fold` writes it.
    layer
        As in `explain_fold`.
    seed
        Of all that is drawn.

    Returns
    -------
    Faithfulness or None
        How far the maps of the slices that were called COVID-19 can be believed, as the mean over
        the folds' networks. None where fewer than two were.

    Raises
    ------
    ValueError
        If no slice could be read.

    Examples
    --------
    >>> import tempfile
    >>> import covidct
    >>> from covidct.explain.fold import explain_predictions
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> result = cv.run(slices)
    >>> predictor = covidct.Predictor.from_run(result.run_dir)
    >>> folder = tempfile.mkdtemp()
    >>> slices.subset([0, 1]).save(folder)
    >>> table = explain_predictions(predictor, predictor.predict(f"{folder}/COVID"), folder)
    """
    readable = [p for p in predictions if p.readable]
    if not readable:
        raise ValueError("there is no slice to explain")
    pages = [readable[i : i + _ON_A_PAGE] for i in range(0, len(readable), _ON_A_PAGE)]
    canvases: list[npt.NDArray[np.uint8]] = []
    for number, page in enumerate(pages, start=1):
        images = [image for _, image in with_images(page) if image is not None]
        canvases += map(predictor.canvas, images)
        name = f"grad_cam-{number:03d}.png" if len(pages) > 1 else "grad_cam.png"
        drawing = figures.saliency_maps(
            images,
            mean_maps(predictor, np.stack(canvases[-len(page) :]), layer=layer),
            probabilities=[p.probability for p in page],
            names=figures.below_common_folder([p.path for p in page]),
            resize=predictor.resize,
        )
        save_figure(drawing, Path(folder) / name)
    called = [i for i, p in enumerate(readable) if p.probability >= 0.5]
    if len(called) < 2:
        return None
    tables = [
        faithfulness.table(
            model,
            np.stack([canvases[i] for i in called]),
            sizes=[readable[i].size for i in called],
            layer=layer,
            resize=predictor.resize,
            n_perturbed=max(2, _PERTURBED // len(predictor.models)),
            precision=predictor.precision,
            seed=seed,
        )
        for model in predictor.models
    ]
    return _write(faithfulness.average(tables), Path(folder))


def draw_map(
    predictor: Predictor,
    prediction: Prediction,
    image: Image.Image,
    path: str | PathLike[str],
    *,
    layer: str | None = None,
) -> Path:
    """Draw a slice and, below it, what spoke for COVID-19.

    Parameters
    ----------
    predictor
        The fitted folds; the map is the mean over them.
    prediction
        What they said of the slice.
    image
        The slice, gray, in its original size.
    path
        Where the picture goes, as PNG.
    layer
        Name of the layer to explain, as in `GradCAM`.

    Returns
    -------
    Path
        The picture.

    Raises
    ------
    ValueError
        If the slice could not be read, and for an unknown layer.

    Examples
    --------
    >>> import tempfile
    >>> import covidct
    >>> from covidct.explain.fold import draw_map
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> result = cv.run(slices)
    >>> predictor = covidct.Predictor.from_run(result.run_dir)
    >>> folder = tempfile.mkdtemp()
    >>> slices.subset([0]).save(folder)
    >>> (prediction,) = predictor.predict(f"{folder}/COVID")
    >>> draw_map(predictor, prediction, slices[0][0], f"{folder}/map.png").name
    'map.png'
    """
    if not prediction.readable:
        raise ValueError(
            f"{prediction.path!r} could not be read, so that there is nothing to explain"
        )
    drawing = figures.saliency_maps(
        [image],
        mean_maps(predictor, predictor.canvas(image)[None], layer=layer),
        probabilities=[prediction.probability],
        names=figures.below_common_folder([prediction.path]),
        resize=predictor.resize,
    )
    return save_figure(drawing, Path(path))


def mean_maps(
    predictor: Predictor, canvases: npt.NDArray[np.uint8], *, layer: str | None = None
) -> Tensor:
    """Average the maps of all folds' networks.

    Parameters
    ----------
    predictor
        The fitted folds.
    canvases
        (N, H, W) uint8.
    layer
        Name of the layer to explain, as in `GradCAM`.

    Returns
    -------
    Tensor
        (N, H, W) in [0, 1].
    """
    maps = [GradCAM(model, layer=layer).over(canvases).maps for model in predictor.models]
    return torch.stack(maps).mean(dim=0)


def embed_fold(
    result: CrossValidationResult,
    dataset: CTDataset,
    model: CTClassifier,
    canvases: npt.NDArray[np.uint8],
    *,
    fold: int,
    palette: figures.Palette = "paper",
    most: int | None = None,
    seed: int = 0,
) -> tuple[Figure, tsne.Separation | None]:
    """Draw the features that the network of a fold gives its slices, by t-SNE.

    Parameters
    ----------
    result
        The run.
    dataset
        Its slices.
    model
        The network of the fold.
    canvases
        (N, H, W), of all slices.
    fold
        The fold.
    palette
        As in `covidct.explain.figures.embedding`.
    most
        Of more slices as many are drawn at random; by default all are shown.
    seed
        Of all that is drawn.

    Returns
    -------
    figure, separation
        The picture, labelled with what it shows, and, where the test fold has enough slices of
        both classes for it, how well they are kept apart.

    Raises
    ------
    ValueError
        If the slices are too few, or the network gives all the same features.
    """
    split = result.folds[fold]
    index = np.concatenate([split.train, split.test])
    if most is not None and len(index) > most:
        index = np.random.default_rng(seed).choice(index, most, replace=False)
    test, targets = np.isin(index, split.test), dataset.targets[index]
    features = np.asarray(infer(model, canvases, index=index, features=True).features)
    points = tsne.embed(features, perplexity=min(30.0, (len(index) - 1) / 3), seed=seed)
    enough = np.bincount(targets[test], minlength=2).min() >= 2 and test.sum() > 2 * _NEIGHBORS
    separation = (
        tsne.separation(features[test], points[test], targets[test], n_neighbors=_NEIGHBORS)
        if enough
        else None
    )
    figure = figures.embedding(
        points,
        targets,
        test=test,
        palette=palette,
        classes=result.classes,
        separation=separation,
    )
    figure.set_label(
        f"t-SNE of the features of fold {fold}: {np.count_nonzero(~test)} training and "
        f"{np.count_nonzero(test)} test slices."
    )
    return figure, separation


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


def _recognized(
    result: CrossValidationResult,
    dataset: CTDataset,
    cam: GradCAM,
    canvases: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.void],
    count: int,
) -> Figure:
    """Draw the COVID-19 slices recognized most surely; failing that, the nearest to it."""
    covid = rows[rows["target"] == 1]
    surest = covid[np.argsort(-covid["logit"], kind="stable")]
    recognized = surest[surest["probability"] >= 0.5]
    shown = (recognized if len(recognized) else surest)[:count]
    index = [int(i) for i in shown["index"]]
    return figures.saliency_maps(
        [dataset[i][0] for i in index],
        cam.over(canvases, index=np.array(index)).maps,
        probabilities=shown["probability"].tolist(),
        targets=[1] * len(index),
        names=figures.below_common_folder([dataset.names[i] for i in index]),
        masks=[dataset.masks(i) for i in index],
        classes=result.classes,
        resize=result.recipe.resize,
    )


def _separation_rows(apart: tsne.Separation, n: int) -> list[Measure]:
    """Put what t-SNE shows of the test fold into rows of the table."""
    neighbors = {"among the features": apart.knn_features, "larger class": apart.chance}
    rows = {
        "trustworthiness": (apart.trustworthiness, {}),
        "nearest neighbors name the class": (apart.knn_embedding, neighbors),
        "silhouette of the classes": (
            apart.silhouette_embedding,
            {"among the features": apart.silhouette_features},
        ),
    }
    return [
        Measure(name=f"t-SNE, {name}", value=value, references=references, n=n)
        for name, (value, references) in rows.items()
    ]


def _write(table: Faithfulness, folder: Path) -> Faithfulness:
    write_text(folder / "faithfulness.txt", f"{table}\n")
    write_json(folder / "faithfulness.json", table.to_dict())
    return table
