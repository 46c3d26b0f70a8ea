"""Explanations of the predictions for new slices, written to a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from .._files import atomic_path
from .._text import printable
from ..datasets.geometry import VolumeGrid, read_grid, write_nifti
from ..errors import InvalidFileError
from ..models.classifier import CTClassifier
from ..runs.predictions import Prediction, VolumePrediction, by_volume, with_images
from ..runs.predictor import Predictor
from . import faithfulness, figures
from .faithfulness import Faithfulness
from .grad_cam import GradCAM
from .perturbation import Baseline
from .regions import to_slice

__all__ = ["draw_map", "explain_predictions", "mean_maps", "save_maps"]

_SLICES_PER_PAGE = 24  # six rows of four
_PERTURBED = 32  # slices, divided among the folds of a run


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
    """Draw the saliency maps of new slices and measure their faithfulness.

    By default, the slices of a volume that count for its probability are drawn: those that show
    lung.

    Parameters
    ----------
    predictor : Predictor
        Networks of the folds; the maps are averaged over them.
    predictions : sequence of Prediction
        Predictions for the slices, as returned by `covidct.Predictor.predict`. Slices that could
        not be read are left out.
    folder : str or path-like
        Folder for ``grad_cam.png`` (as in Figs. 15 and 16 of the paper), ``faithfulness.txt`` and
        ``faithfulness.json``. More than 24 slices are drawn in several files,
        ``grad_cam-001.png`` and so on.
    layer : str, optional
        Name of the layer to explain, as in `covidct.explain.GradCAM`.
    slices : array-like of int, optional
        Indices of the predictions to explain, in this order; `covidct.explain.slices_with_names`
        and `covidct.explain.slices_of_volumes` find them by name and by position in a volume.
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
        raise ValueError("no slice to explain: none of the chosen slices could be read")
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
        figures.save_figure(drawing, Path(folder) / name)
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
    table = faithfulness.average(tables)
    table.save(folder)
    return table


def draw_map(
    predictor: Predictor,
    prediction: Prediction,
    image: Image.Image,
    path: str | PathLike[str],
    *,
    layer: str | None = None,
) -> Path:
    """Draw a slice and its saliency map, and save the figure.

    Parameters
    ----------
    predictor : Predictor
        Networks of the folds; the map is averaged over them.
    prediction : Prediction
        Prediction for the slice.
    image : PIL.Image.Image
        The slice, gray and in its original size.
    path : str or path-like
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
        raise ValueError(f"cannot explain {prediction.path!r}, since the slice could not be read")
    drawing = figures.saliency_maps(
        [image],
        mean_maps(predictor, predictor.canvas(image)[None], layer=layer),
        probabilities=[prediction.probability],
        names=figures.below_common_folder([prediction.name]),
        resize=predictor.resize,
    )
    return figures.save_figure(drawing, Path(path))


def mean_maps(
    predictor: Predictor, canvases: npt.NDArray[np.uint8], *, layer: str | None = None
) -> Tensor:
    """Average the saliency maps of the networks of all folds.

    Parameters
    ----------
    predictor : Predictor
        Networks of the folds.
    canvases : ndarray of uint8 of shape (N, H, W)
        Canvases to explain.
    layer : str, optional
        Name of the layer to explain, as in `covidct.explain.GradCAM`.

    Returns
    -------
    torch.Tensor of shape (N, H, W)
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
    folder : str or path-like
        Folder for the files, which are numbered and named after the volumes: ``00001-scan.npz``.
    file_format : {"npz", "nifti"}, default="npz"
        With ``"npz"``, each file can be read by :func:`numpy.load`. It contains ``maps`` of shape
        (n_slices, height, width) and type float16, in [0, 1], in the orientation in which slices
        are shown (the patient's right on the left, anterior up), from the feet to the head; and the
        ``paths``, ``frames``, ``positions`` (mm) and ``probabilities`` of these slices. With
        ``"nifti"``, each file is a volume of type float32 on the grid of the source, for overlays
        in a viewer; slices that are not explained are 0.
    slices : array-like of int, optional
        Indices of the predictions to explain. By default, all slices that could be read.
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
        and a slice is a picture, or belongs to a DICOM series that is not evenly spaced.
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
    """Return the name of a volume without folders and suffixes, shortened for a file name."""
    return printable(Path(name).name).split(".")[0][:60] or "volume"


def _grid(volume: VolumePrediction) -> VolumeGrid:
    """Read the grid of a volume."""
    try:
        return read_grid([(Path(p.path), p.frame) for p in volume.slices])
    except InvalidFileError:
        raise
    except ValueError as error:
        raise ValueError(f"cannot write maps as NIfTI: {error}; write them as npz") from None


def _on_slices(
    predictor: Predictor, predictions: Sequence[Prediction], *, layer: str | None
) -> Iterator[tuple[Prediction, npt.NDArray[np.float32]]]:
    """Compute the map of each slice, in the size of the slice."""
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
