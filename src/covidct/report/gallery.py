"""Parts of the page that need the slices: gallery with Grad-CAM maps, and t-SNE of a fold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from ..datasets.ct_dataset import CTDataset
from ..devices import resolve_device
from ..explain.grad_cam import GradCAM
from ..explain.regions import to_slice
from ..explain.tested_slices import embed_fold
from ..runs.columns import label_column
from ..runs.result import CrossValidationResult
from .pictures import Picture, overlay, slice_picture

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GallerySlice", "draw_embedding", "draw_gallery", "select_examples"]

Canvases = npt.NDArray[np.uint8]
_Target = Literal["covid", "non-covid"]

_MAX_EMBEDDED = 1000


class GallerySlice(NamedTuple):
    """Slice in the gallery, with its prediction and saliency map.

    Attributes
    ----------
    name : str
        File name.
    group : str
        Patient, or near-duplicate group with its number; ``""`` if unknown.
    true, predicted : int
        True and predicted class, 0 or 1.
    probability : float
        Probability of COVID-19 from the network that had the slice in its test fold.
    fold : int
        Number of that fold.
    picture : Picture
        The slice.
    overlay : str
        Saliency map of the predicted class, as a ``data:`` URL of a transparent PNG.
    label, called : str, default=""
        True and predicted label with the label's probability; ``""`` without labels.
    """

    name: str
    group: str
    true: int
    predicted: int
    probability: float
    fold: int
    picture: Picture
    overlay: str
    label: str = ""
    called: str = ""

    @property
    def verdict(self) -> str:
        """``"correct"`` or ``"wrong"``."""
        return "correct" if self.true == self.predicted else "wrong"


def select_examples(predictions: pd.DataFrame, *, per_kind: int) -> pd.DataFrame:
    """Select correct and wrong predictions of both classes, from the most to the least confident.

    The slices of each of the four kinds are taken at equal steps from the order by confidence, so
    that they are not only the easiest cases.

    Parameters
    ----------
    predictions : DataFrame
        Predictions, as in `covidct.CrossValidationResult.predictions`. If several folds tested a
        slice, its most confident prediction is used.
    per_kind : int
        Maximum number of slices of each of the four kinds.

    Returns
    -------
    DataFrame
        The selected rows, wrong predictions first, each kind in the order of confidence. The most
        confident prediction of each kind is among them.

    Examples
    --------
    >>> import pandas as pd
    >>> from covidct.report.gallery import select_examples
    >>> rows = pd.DataFrame({"index": [0, 1, 2], "target": 1, "probability": [0.9, 0.1, 0.8],
    ...                      "logit": [2.2, -2.2, 1.4]})
    >>> select_examples(rows, per_kind=1)["index"].tolist()
    [1, 0]
    """
    import pandas as pd

    sure = predictions.sort_values("logit", key=lambda logit: -logit.abs(), kind="stable")
    once = sure.drop_duplicates("index")
    correct = (once["probability"] >= 0.5) == (once["target"] == 1)
    kinds = [(is_correct, target) for is_correct in (False, True) for target in (1, 0)]
    found = [once[(correct == c) & (once["target"] == t)] for c, t in kinds]
    chosen = [rows.iloc[_spread(len(rows), per_kind)] for rows in found]
    return pd.concat(chosen, ignore_index=True)


def _spread(count: int, most: int) -> npt.NDArray[np.int64]:
    """Return at most `most` positions at equal steps in range(count), from 0."""
    number = min(count, most)
    return np.arange(number) * count // max(1, number)


def draw_gallery(
    result: CrossValidationResult,
    dataset: CTDataset,
    *,
    canvases: Canvases,
    per_kind: int,
    layer: str | None = None,
) -> list[GallerySlice]:
    """Draw predictions of a run with Grad-CAM maps.

    Each slice is explained by the network that had it in its test fold.

    Parameters
    ----------
    result : CrossValidationResult
        The run.
    dataset : CTDataset
        The slices that the run was trained on.
    canvases : ndarray of uint8 of shape (N, H, W)
        Canvases of all slices.
    per_kind : int
        Maximum number of slices of each kind, as in `select_examples`.
    layer : str, optional
        Name of the layer to explain, as in `covidct.explain.GradCAM`.

    Returns
    -------
    list of GallerySlice
        Slices in the order of `select_examples`.
    """
    chosen = select_examples(result.predictions, per_kind=per_kind)
    shown: dict[int, GallerySlice] = {}
    for fold in np.unique(chosen["fold"]):
        model = result.fold_model(int(fold)).to(resolve_device("auto"))
        for target, predicted in (("covid", 1), ("non-covid", 0)):
            rows = np.flatnonzero(
                (chosen["fold"] == fold) & ((chosen["probability"] >= 0.5) == predicted)
            )
            if rows.size:
                cam = GradCAM(model, layer=layer, target=cast("_Target", target))
                maps = cam.over(canvases, index=chosen["index"].to_numpy()[rows]).maps
                for row, saliency in zip(rows, maps, strict=True):
                    shown[int(row)] = _gallery_slice(result, dataset, chosen.iloc[row], saliency)
    return [shown[row] for row in sorted(shown)]


def draw_embedding(
    result: CrossValidationResult, dataset: CTDataset, *, canvases: Canvases
) -> Figure:
    """Draw a t-SNE embedding of the features that the network of the first fold computes.

    At most 1,000 slices are shown; if there are more, they are drawn at random with a fixed seed.

    Parameters
    ----------
    result : CrossValidationResult
        The run.
    dataset : CTDataset
        The slices that the run was trained on.
    canvases : ndarray of uint8 of shape (N, H, W)
        Canvases of all slices.

    Returns
    -------
    matplotlib.figure.Figure
        The embedding.

    Raises
    ------
    ValueError
        If there are too few slices for an embedding, or if all have the same features.
    """
    model = result.fold_model(0).to(resolve_device("auto"))
    figure, _ = embed_fold(
        result,
        dataset,
        model,
        canvases,
        fold=0,
        palette="color-blind",
        max_slices=_MAX_EMBEDDED,
    )
    return figure


def _gallery_slice(
    result: CrossValidationResult, dataset: CTDataset, row: pd.Series[Any], saliency: torch.Tensor
) -> GallerySlice:
    index, true, probability = int(row["index"]), int(row["target"]), float(row["probability"])
    image, _ = dataset[index]
    heat = to_slice(saliency, image.size[::-1], resize=result.recipe.resize).numpy(force=True)
    predicted = int(probability >= 0.5)
    alt = (
        f"CT slice {row['path']}: true class {result.classes[true]}, predicted "
        f"{result.classes[predicted]}, P({result.classes[1]}) = {probability:.3f}. {_place(heat)}"
    )
    return GallerySlice(
        name=str(row["path"]),
        group=_group(result, str(row["group"])),
        true=true,
        predicted=predicted,
        probability=probability,
        fold=int(row["fold"]),
        picture=slice_picture(image, alt=alt),
        overlay=overlay(heat, dataset.masks(index)),
        **_labels(result, row),
    )


def _labels(result: CrossValidationResult, row: pd.Series[Any]) -> dict[str, str]:
    """Return the true label, and the most probable one with its probability, if there are some."""
    chances = {name: float(row[label_column(name)]) for name in result.labels}
    if not chances:
        return {}
    called = max(chances, key=lambda name: chances[name])
    return {"label": str(row["label"]), "called": f"{called} ({chances[called]:.3f})"}


def _group(result: CrossValidationResult, name: str) -> str:
    """Return the text for a group; numbers of near-duplicate groups are preceded by the unit."""
    return name if result.has_patients or not name else f"{result.unit} {name}"


def _place(heat: npt.NDArray[np.float32]) -> str:
    """Describe the position of the maximum of a map."""
    if not heat.max() > 0:
        return "The map is empty: it shows no evidence for the predicted class."
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    rows, columns = ("upper", "middle", "lower"), ("left", "center", "right")
    third = (3 * int(row) // heat.shape[0], 3 * int(column) // heat.shape[1])
    return f"The map is strongest in the {rows[third[0]]} {columns[third[1]]}."
