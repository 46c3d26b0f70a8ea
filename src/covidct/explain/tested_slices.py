"""Explanations of the network of a fold on its test slices, written to a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy import special

from ..datasets.canvases import make_canvases
from ..datasets.ct_dataset import CTDataset
from ..devices import resolve_device
from ..inference import infer
from ..models.classifier import CTClassifier
from ..runs.columns import label_column
from ..runs.result import CrossValidationResult
from . import faithfulness, figures, tsne
from .faithfulness import Faithfulness, Measure
from .grad_cam import GradCAM
from .perturbation import Baseline

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["embed_fold", "explain_fold"]

_NEIGHBORS = 5


def explain_fold(
    result: CrossValidationResult,
    dataset: CTDataset,
    folder: str | PathLike[str],
    *,
    fold: int = 0,
    layer: str | None = None,
    target: str = "covid",
    slices: Sequence[int] | npt.NDArray[np.integer] | None = None,
    count: int = 8,
    palette: figures.Palette = "paper",
    baseline: Baseline = "blur",
    seed: int = 0,
) -> Faithfulness:
    """Draw the saliency maps of a fold's network and measure their faithfulness.

    Parameters
    ----------
    result : CrossValidationResult
        The run.
    dataset : CTDataset
        Dataset of the run.
    folder : str or path-like
        Folder for ``grad_cam.png`` (as in Figs. 13 and 14 of the paper), ``tsne.png`` (as in Figs.
        11 and 12), ``faithfulness.txt`` and ``faithfulness.json``. ``grad_cam.png`` shows the
        slices of `target` in the test fold with the most confident correct predictions, or, if all
        predictions are wrong, those with the highest probabilities.
    fold : int, default=0
        Number of the fold.
    layer : str, optional
        Name of the layer to explain, as in `covidct.explain.GradCAM`. Earlier layers than the
        default have a finer grid.
    target : str, default="covid"
        Class whose evidence is explained, on the slices of this class: ``"covid"``,
        ``"non-covid"``, or a label that the network was trained on.
    slices : array-like of int, optional
        Indices of test slices of any class to show in ``grad_cam.png``, in this order;
        `covidct.explain.slices_with_names` finds them by name. The other files do not depend on
        this option.
    count : int, default=8
        Maximum number of slices in ``grad_cam.png``, if `slices` is not given.
    palette : {"paper", "color-blind"}, default="paper"
        Colors of ``tsne.png``, as in `covidct.explain.figures.embedding`.
    baseline : {"blur", "black", "mean", "rise"}, default="blur"
        Replacement of deleted pixels, as in `covidct.explain.faithfulness.perturb`.
    seed : int, default=0
        Random seed.

    Returns
    -------
    Faithfulness
        Faithfulness of the maps of the slices of `target` in the test fold. If the test fold has
        enough slices, it includes measures of the separation of the classes by t-SNE.

    Raises
    ------
    ValueError
        If `dataset` is not the dataset of the run, if `target` is not a class of the network, if
        one of `slices` is not in the test fold, or if the test fold has fewer than two slices of
        `target`.

    Examples
    --------
    >>> import tempfile
    >>> import covidct
    >>> from covidct.explain import explain_fold
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> table = explain_fold(cv.run(slices), slices, tempfile.mkdtemp())
    >>> len(table.measures) > 0
    True
    """
    if dataset.content_hash() != result.content_hash:
        raise ValueError(
            f"the given dataset is not the version of {result.dataset_name!r} that the run was "
            "trained on; its files, labels or options differ"
        )
    folder = Path(folder)
    model = result.fold_model(fold).to(resolve_device("auto"))
    canvases = make_canvases(dataset, model.input_size, resize=result.recipe.resize)
    split = result.folds[fold]
    _check_tested(result, dataset, slices, fold)
    members = result.spec.outputs.members(target)
    codes = result.spec.outputs.encode(dataset.labels, dataset.targets)
    shown = split.test[members[codes[split.test]]]
    table = faithfulness.table(
        model,
        canvases[shown],
        sizes=[dataset[int(i)][0].size[::-1] for i in shown],
        masks=[dataset.masks(int(i)) for i in shown],
        layer=layer,
        target=target,
        resize=result.recipe.resize,
        baseline=baseline,
        seed=seed,
    )
    predictions = result.fold_predictions(fold)
    cam = GradCAM(model, layer=layer, target=target)
    if slices is None:
        rows = _recognized(target, predictions[predictions["index"].isin(shown)], count)
    else:
        rows = predictions.set_index("index", drop=False).loc[np.asarray(slices, int)]
    maps = _draw(result, dataset, cam, canvases, rows, codes)
    figures.save_figure(maps, folder / "grad_cam.png")
    plane, separation = embed_fold(
        result, dataset, model, canvases, fold=fold, palette=palette, seed=seed
    )
    figures.save_figure(plane, folder / "tsne.png")
    if separation is not None:
        separated = _separation_rows(separation, len(split.test))
        table = replace(table, measures=(*table.measures, *separated))
    table.save(folder)
    return table


def embed_fold(
    result: CrossValidationResult,
    dataset: CTDataset,
    model: CTClassifier,
    canvases: npt.NDArray[np.uint8],
    *,
    fold: int,
    palette: figures.Palette = "paper",
    max_slices: int | None = None,
    seed: int = 0,
) -> tuple[Figure, tsne.Separation | None]:
    """Draw a t-SNE embedding of the features of a fold's network.

    Parameters
    ----------
    result : CrossValidationResult
        The run.
    dataset : CTDataset
        Dataset of the run.
    model : CTClassifier
        The network of the fold.
    canvases : ndarray of uint8 of shape (N, H, W)
        Canvases of all slices.
    fold : int
        Number of the fold.
    palette : {"paper", "color-blind"}, default="paper"
        Colors, as in `covidct.explain.figures.embedding`.
    max_slices : int, optional
        Maximum number of slices; if the fold has more, a random sample is shown. By default, all
        slices are shown.
    seed : int, default=0
        Random seed.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The embedding. Its label describes it.
    separation : Separation or None
        Separation of the classes in the test fold; None if it has too few slices of a class.

    Raises
    ------
    ValueError
        If there are too few slices for an embedding, or if all have the same features.
    """
    split = result.folds[fold]
    index = np.concatenate([split.train, split.test])
    if max_slices is not None and len(index) > max_slices:
        index = np.random.default_rng(seed).choice(index, max_slices, replace=False)
    test = np.isin(index, split.test)
    outputs = result.spec.outputs
    targets = dataset.targets[index]
    classes: tuple[str, ...] = result.classes
    if 0 < len(outputs.labels) <= figures.MOST_CLASSES:
        targets, classes = outputs.encode(dataset.labels[index], targets), outputs.labels
    features = np.asarray(infer(model, canvases, index=index, features=True).features)
    points = tsne.embed(features, perplexity=min(30.0, (len(index) - 1) / 3), seed=seed)
    counts = np.bincount(targets[test], minlength=len(classes))
    enough = counts.min() >= 2 and test.sum() > 2 * _NEIGHBORS
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
        classes=classes,
        separation=separation,
    )
    figure.set_label(
        f"t-SNE of the features of fold {fold}: {np.count_nonzero(~test)} training and "
        f"{np.count_nonzero(test)} test slices."
    )
    return figure, separation


def _check_tested(
    result: CrossValidationResult,
    dataset: CTDataset,
    slices: Sequence[int] | npt.NDArray[np.integer] | None,
    fold: int,
) -> None:
    """Raise a ValueError if a slice is not in the test fold."""
    if slices is None:
        return
    if len(slices) == 0:
        raise ValueError("no slice to explain: slices is empty")
    outside = np.setdiff1d(slices, result.folds[fold].test)
    if len(outside) == 0:
        return
    index = int(outside[0])
    if not 0 <= index < len(dataset):
        raise ValueError(f"slices has {index}, but the dataset has {len(dataset)} slices")
    testing = [str(k) for k, split in enumerate(result.folds) if index in split.test]
    raise ValueError(
        f"{dataset.names[index]!r} is not a test slice of fold {fold}, whose network may have been "
        f"trained on it; choose fold={', '.join(testing) or 'none'}, which tests it"
    )


def _evidence(target: str, rows: pd.DataFrame) -> pd.Series:
    """Return the log odds of the explained class."""
    odds = {"covid": rows["logit"], "non-covid": -rows["logit"]}
    return odds[target] if target in odds else special.logit(rows[label_column(target)])


def _recognized(target: str, rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """Choose the slices with the highest probabilities, among the correct predictions if any.

    `rows` are the predictions for the slices of the class `target`.
    """
    ordered = rows.assign(evidence=_evidence(target, rows))
    ordered = ordered.sort_values("evidence", ascending=False, kind="stable")
    recognized = ordered[ordered["evidence"] >= 0]
    return (recognized if len(recognized) else ordered)[:count]


def _draw(
    result: CrossValidationResult,
    dataset: CTDataset,
    cam: GradCAM,
    canvases: npt.NDArray[np.uint8],
    rows: pd.DataFrame,
    codes: npt.NDArray[np.integer],
) -> Figure:
    """Draw the slices of given predictions with their maps."""
    target, classes = str(cam.target), result.classes
    names = {"covid": classes, "non-covid": classes[::-1]}.get(target, (f"not {target}", target))
    members = result.spec.outputs.members(target)
    index = [int(i) for i in rows["index"]]
    return figures.saliency_maps(
        [dataset[i][0] for i in index],
        cam.over(canvases, index=np.array(index)).maps,
        probabilities=special.expit(_evidence(target, rows)).tolist(),
        targets=members[codes[index]].astype(int).tolist(),
        names=figures.below_common_folder([dataset.names[i] for i in index]),
        masks=[dataset.masks(i) for i in index],
        classes=names,
        resize=result.recipe.resize,
    )


def _separation_rows(separation: tsne.Separation, n: int) -> list[Measure]:
    """Convert the separation of the classes to measures."""
    knn_references = {
        "among the features": separation.knn_features,
        "larger class": separation.chance,
    }
    rows = {
        "trustworthiness": (separation.trustworthiness, {}),
        "accuracy of nearest neighbors": (separation.knn_embedding, knn_references),
        "silhouette": (
            separation.silhouette_embedding,
            {"among the features": separation.silhouette_features},
        ),
    }
    return [
        Measure(name=f"t-SNE, {name}", value=value, references=references, n=n)
        for name, (value, references) in rows.items()
    ]
