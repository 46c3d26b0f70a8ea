"""A picture of one new slice and its map."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from PIL import Image

from ..runs.predictor import Prediction, Predictor
from . import figures
from ._layout import below_common_folder
from .fold import mean_maps, save_figure

__all__ = ["draw_map"]


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
    >>> from covidct.explain.each import draw_map
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> result = cv.run(slices)
    >>> predictor = covidct.Predictor.from_run(result.run_dir)
    >>> folder = tempfile.mkdtemp()
    >>> slices.subset([0]).save(folder)
    >>> (prediction,) = predictor(f"{folder}/COVID")
    >>> draw_map(predictor, prediction, slices[0][0], f"{folder}/map.png").name
    'map.png'
    """
    if prediction.canvas is None:
        raise ValueError(
            f"{prediction.path!r} could not be read, so that there is nothing to explain"
        )
    drawing = figures.saliency_maps(
        [image],
        mean_maps(predictor, prediction.canvas[None], layer=layer),
        probabilities=[prediction.probability],
        names=below_common_folder([prediction.path]),
        resize=predictor.resize,
    )
    return save_figure(drawing, Path(path))
