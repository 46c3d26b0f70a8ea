"""Explanations of a fold of a run, or of the predictions for new slices, written to a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy import special
from torch import Tensor

from .._files import atomic_path, write_json, write_text
from .._text import printable
from ..datasets.canvases import make_canvases
from ..datasets.ct_dataset import CTDataset
from ..datasets.geometry import VolumeGrid, read_grid, write_nifti
from ..devices import resolve_device
from ..errors import InvalidFileError
from ..inference import infer
from ..models.classifier import CTClassifier
from ..runs.predictions import Prediction, VolumePrediction, by_volume, with_images
from ..runs.predictor import Predictor
from ..runs.result import CrossValidationResult
from . import faithfulness, figures, tsne
from .faithfulness import Faithfulness, Measure
from .grad_cam import GradCAM
from .perturbation import Baseline
from .regions import to_slice

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "draw_map",
    "embed_fold",
    "explain_fold",
    "explain_predictions",
    "mean_maps",
    "save_figure",
    "save_maps",
]

_SLICES_PER_PAGE = 24  # six rows of four
_NEIGHBORS = 5
_PERTURBED = 32  # slices, divided among the folds of a run


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
    """Draw and measure what the network of a fold looks at.

    Parameters
    ----------
    result : CrossValidationResult
        The run.
    dataset : CTDataset
        The slices that the run was trained on.
    folder : str or Path
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
        Indices of the slices of the test fold, of any class, that ``grad_cam.png`` shows, in this
        order; `covidct.explain.slices_with_names` finds them by name. The other files do not
        depend on it.
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
        If `dataset` is not the one that the run was trained on, if `target` is not a class of the
        network, if one of `slices` is not in the test fold, or if the test fold has fewer than two
        slices of `target`.

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
    save_figure(maps, folder / "grad_cam.png")
    plane, separation = embed_fold(
        result, dataset, model, canvases, fold=fold, palette=palette, seed=seed
    )
    save_figure(plane, folder / "tsne.png")
    if separation is not None:
        separated = _separation_rows(separation, len(split.test))
        table = replace(table, measures=(*table.measures, *separated))
    return _write(table, folder)


def explain_predictions(
    predictor: Predictor,
    predictions: Sequence[Prediction],
    folder: str | PathLike[str],
    *,
    layer: str | None = None,
    slices: Sequence[int] | npt.NDArray[np.integer] | None = None,
    baseline: Baseline = "blur",
    seed: int = 0,
) -> Faithfulness | None:
    """Draw and measure the maps of new slices, as in the external test of the paper.

    By default, the slices of a volume that count for its probability are drawn: those that show
    lung.

    Parameters
    ----------
    predictor : Predictor
        Networks of the folds; the maps are averaged over them.
    predictions : sequence of Prediction
        Predictions for the slices, as returned by `covidct.Predictor.predict`. Slices that could
        not be read are left out.
    folder : str or Path
        Folder for ``grad_cam.png`` (as in Figs. 15 and 16 of the paper), ``faithfulness.txt`` and
        ``faithfulness.json``. More than 24 slices are drawn in several files,
        ``grad_cam-001.png`` and so on.
    layer : str, optional
        Name of the layer to explain, as in `covidct.explain.GradCAM`.
    slices : array-like of int, optional
        Indices of the predictions to explain, in this order; `covidct.explain.slices_with_names`
        and `covidct.explain.slices_of_volumes` find them by name and by place.
    baseline : {"blur", "black", "mean", "rise"}, default="blur"
        Replacement of deleted pixels, as in `covidct.explain.faithfulness.perturb`.
    seed : int, default=0
        Random seed.

    Returns
    -------
    Faithfulness or None
        Faithfulness of the maps of all explained slices predicted as COVID-19, averaged over the
        networks; None if there are fewer than two such slices.

    Raises
    ------
    ValueError
        If no slice could be read.

    Examples
    --------
    >>> import tempfile
    >>> import covidct
    >>> from covidct.explain import explain_predictions
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> result = cv.run(slices)
    >>> predictor = covidct.Predictor.from_run(result.run_dir)
    >>> folder = tempfile.mkdtemp()
    >>> slices.subset([0, 1]).save(folder)
    >>> table = explain_predictions(predictor, predictor.predict(f"{folder}/COVID"), folder)
    """
    if slices is None:
        readable = [p for volume in by_volume(predictions) for p in volume.counted]
    else:
        readable = [predictions[int(i)] for i in slices if predictions[int(i)].readable]
    if not readable:
        raise ValueError("no slice to explain: no slice was chosen that could be read")
    pages = [readable[i : i + _SLICES_PER_PAGE] for i in range(0, len(readable), _SLICES_PER_PAGE)]
    covid: list[Prediction] = []
    canvases: list[npt.NDArray[np.uint8]] = []  # of the slices predicted as COVID-19
    for number, page in enumerate(pages, start=1):
        pairs = with_images(page, window=predictor.window)
        images = [image for _, image in pairs if image is not None]
        drawn = np.stack([predictor.canvas(image) for image in images])
        positive = [i for i, p in enumerate(page) if p.probability >= 0.5]
        covid += [page[i] for i in positive]
        canvases.extend(drawn[positive])
        name = f"grad_cam-{number:03d}.png" if len(pages) > 1 else "grad_cam.png"
        drawing = figures.saliency_maps(
            images,
            mean_maps(predictor, drawn, layer=layer),
            probabilities=[p.probability for p in page],
            names=figures.below_common_folder([p.name for p in page]),
            resize=predictor.resize,
        )
        save_figure(drawing, Path(folder) / name)
    if len(covid) < 2:
        return None
    tables = [
        faithfulness.table(
            model,
            np.stack(canvases),
            sizes=[p.size for p in covid],
            layer=layer,
            resize=predictor.resize,
            n_perturbed=max(2, _PERTURBED // len(predictor.models)),
            precision=predictor.precision,
            baseline=baseline,
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
    """Draw a slice and, below it, the slice under its saliency map, and save the figure.

    Parameters
    ----------
    predictor : Predictor
        Networks of the folds; the map is averaged over them.
    prediction : Prediction
        Prediction for the slice.
    image : PIL.Image.Image
        The slice, gray and in its original size.
    path : str or Path
        PNG file to write.
    layer : str, optional
        Name of the layer to explain, as in `covidct.explain.GradCAM`.

    Returns
    -------
    Path
        The written file.

    Raises
    ------
    ValueError
        If the slice of `prediction` could not be read.
    UnknownNameError
        If the network has no layer named `layer`.

    Examples
    --------
    >>> import tempfile
    >>> import covidct
    >>> from covidct.explain import draw_map
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
        raise ValueError(f"cannot explain {prediction.path!r}, because the slice could not be read")
    drawing = figures.saliency_maps(
        [image],
        mean_maps(predictor, predictor.canvas(image)[None], layer=layer),
        probabilities=[prediction.probability],
        names=figures.below_common_folder([prediction.name]),
        resize=predictor.resize,
    )
    return save_figure(drawing, Path(path))


def mean_maps(
    predictor: Predictor, canvases: npt.NDArray[np.uint8], *, layer: str | None = None
) -> Tensor:
    """Average the saliency maps of the networks of all folds.

    Parameters
    ----------
    predictor : Predictor
        Networks of the folds.
    canvases : ndarray of shape (N, H, W), uint8
        Canvases to explain.
    layer : str, optional
        Name of the layer to explain, as in `covidct.explain.GradCAM`.

    Returns
    -------
    Tensor of shape (N, H, W)
        Mean maps, in [0, 1].

    Raises
    ------
    ValueError
        If the networks are in an ONNX file, which has no feature maps.

    Examples
    --------
    >>> import covidct
    >>> from covidct.datasets.canvases import make_canvases
    >>> from covidct.explain import mean_maps
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> result = cv.run(slices)
    >>> predictor = covidct.Predictor.from_run(result.run_dir)
    >>> canvases = make_canvases(slices, predictor.models[0].input_size)
    >>> len(mean_maps(predictor, canvases[:2]))
    2
    """
    if not all(isinstance(model, CTClassifier) for model in predictor.models):
        raise ValueError("an ONNX file has no feature maps to explain; use the run or its folder")
    maps = [GradCAM(model, layer=layer).over(canvases).maps for model in predictor.models]
    return torch.stack(maps).mean(dim=0)


def save_maps(
    predictor: Predictor,
    predictions: Sequence[Prediction],
    folder: str | PathLike[str],
    *,
    file_format: Literal["npz", "nifti"] = "npz",
    slices: Sequence[int] | npt.NDArray[np.integer] | None = None,
    layer: str | None = None,
) -> list[Path]:
    """Write the saliency maps of slices as arrays, one file for each volume or image.

    Parameters
    ----------
    predictor : Predictor
        Networks of the folds; the maps are averaged over them.
    predictions : sequence of Prediction
        Predictions for the slices, as returned by `covidct.Predictor.predict`.
    folder : str or Path
        Folder for the files, which are numbered and named as the volumes: ``00001-scan.npz``.
    file_format : {"npz", "nifti"}, default="npz"
        With ``"npz"``, each file, which :func:`numpy.load` reads, has ``maps``, of shape (n_slices,
        height, width) and type float16, in [0, 1], on the pixels of the slices as the library shows
        them (the patient's right on the left, anterior up), from the feet to the head; and
        ``paths``, ``frames``, ``positions`` (mm) and ``probabilities`` of these slices. With
        ``"nifti"``, each file is a volume of type float32 on the grid of the source, so that a
        viewer overlays them; slices that are not explained are 0.
    slices : array-like of int, optional
        Indices of the predictions to explain. By default all that could be read.
    layer : str, optional
        Name of the layer to explain, as in `covidct.explain.GradCAM`.

    Returns
    -------
    list of Path
        The written files, in the order of the volumes.

    Raises
    ------
    ValueError
        If the networks are in an ONNX file, if `file_format` is unknown, or if it is ``"nifti"``
        and a slice is a picture, or of a DICOM series without an even grid.
    ModuleNotFoundError
        If `file_format` is ``"nifti"`` and SimpleITK is not installed.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import covidct
    >>> from covidct.explain import save_maps
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> result = cv.run(slices)
    >>> predictor = covidct.Predictor.from_run(result.run_dir)
    >>> folder = tempfile.mkdtemp()
    >>> slices.subset([0]).save(folder)
    >>> (path,) = save_maps(predictor, predictor.predict(f"{folder}/COVID"), folder)
    >>> np.load(path)["maps"].shape == (1, *slices[0][0].size[::-1])
    True
    """
    if file_format not in ("npz", "nifti"):
        raise ValueError(f"file_format must be 'npz' or 'nifti', got {file_format!r}")
    chosen = range(len(predictions)) if slices is None else {int(i) for i in slices}
    jobs: list[tuple[Path, list[Prediction], VolumeGrid | None]] = []
    first = 0
    for number, volume in enumerate(by_volume(predictions), start=1):
        explained = [p for i, p in enumerate(volume.slices, first) if i in chosen and p.readable]
        first += len(volume)
        if explained:
            name = f"{number:05d}-{_stem(volume.name)}"
            grid = _grid(volume) if file_format == "nifti" else None
            jobs.append((Path(folder) / name, explained, grid))
    return [
        _save_npz(predictor, explained, path, layer=layer)
        if grid is None
        else _save_nifti(predictor, explained, path, grid, layer=layer)
        for path, explained, grid in jobs
    ]


def _stem(name: str) -> str:
    """Return the name of a volume without folders and suffixes, short enough for a file name."""
    return printable(Path(name).name).split(".")[0][:60] or "volume"


def _grid(volume: VolumePrediction) -> VolumeGrid:
    """Read the grid of a volume before any map is computed."""
    try:
        return read_grid([(Path(p.path), p.frame) for p in volume.slices])
    except InvalidFileError:
        raise
    except ValueError as error:
        raise ValueError(f"cannot write maps as NIfTI: {error}; write them as npz") from None


def _on_slices(
    predictor: Predictor, predictions: Sequence[Prediction], *, layer: str | None
) -> Iterator[tuple[Prediction, npt.NDArray[np.float32]]]:
    """Compute the map of each slice, on the pixels of the slice."""
    for p, image in with_images(predictions, window=predictor.window):
        if image is not None:
            on_canvas = mean_maps(predictor, predictor.canvas(image)[None], layer=layer)[0]
            on_slice = to_slice(on_canvas, image.size[::-1], resize=predictor.resize)
            yield p, on_slice.numpy(force=True)


def _save_npz(
    predictor: Predictor, predictions: Sequence[Prediction], path: Path, *, layer: str | None
) -> Path:
    maps = [m.astype(np.float16) for _, m in _on_slices(predictor, predictions, layer=layer)]
    path = path.with_name(f"{path.name}.npz")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            maps=np.stack(maps),
            paths=np.array([p.path for p in predictions]),
            frames=np.array([p.frame for p in predictions]),
            positions=np.array([p.position for p in predictions]),
            probabilities=np.array([p.probability for p in predictions]),
        )
    return path


def _save_nifti(
    predictor: Predictor,
    predictions: Sequence[Prediction],
    path: Path,
    grid: VolumeGrid,
    *,
    layer: str | None,
) -> Path:
    array = np.zeros(grid.shape, np.float32)
    for p, saliency in _on_slices(predictor, predictions, layer=layer):
        grid.slice_view(array, Path(p.path), p.frame)[...] = saliency
    path = path.with_name(f"{path.name}.nii.gz")
    write_nifti(path, array, grid)
    return path


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
    """Draw a t-SNE embedding of the features that the network of a fold computes.

    Parameters
    ----------
    result : CrossValidationResult
        The run.
    dataset : CTDataset
        The slices that the run was trained on.
    model : CTClassifier
        The network of the fold.
    canvases : ndarray of shape (N, H, W), uint8
        Canvases of all slices.
    fold : int
        Number of the fold.
    palette : {"paper", "color-blind"}, default="paper"
        Colors, as in `covidct.explain.figures.embedding`.
    max_slices : int, optional
        Maximum number of slices; if the fold has more, they are drawn at random. By default all
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
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return path


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
        f"{dataset.names[index]!r} is not a test slice of fold {fold}, so that its map would be "
        f"that of a network that may have been trained on it; it is tested by fold "
        f"{', '.join(testing) or 'none'}"
    )


def _evidence(target: str, rows: pd.DataFrame) -> pd.Series:
    """Return the log odds of the explained class."""
    odds = {"covid": rows["logit"], "non-covid": -rows["logit"]}
    return odds[target] if target in odds else special.logit(rows[f"p_{target}"])


def _recognized(target: str, rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """Choose the slices with the highest probabilities, correct predictions only if any.

    `rows` are the predictions for the slices of the class `target`.
    """
    surest = rows.assign(evidence=_evidence(target, rows))
    surest = surest.sort_values("evidence", ascending=False, kind="stable")
    recognized = surest[surest["evidence"] >= 0]
    return (recognized if len(recognized) else surest)[:count]


def _draw(
    result: CrossValidationResult,
    dataset: CTDataset,
    cam: GradCAM,
    canvases: npt.NDArray[np.uint8],
    rows: pd.DataFrame,
    codes: npt.NDArray[np.integer],
) -> Figure:
    """Draw the slices of some predictions under their maps."""
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


def _write(table: Faithfulness, folder: Path) -> Faithfulness:
    write_text(folder / "faithfulness.txt", f"{table}\n")
    write_json(folder / "faithfulness.json", table.to_dict())
    return table
