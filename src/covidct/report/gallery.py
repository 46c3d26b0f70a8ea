"""What needs the slices themselves: the most confident of them, and the features of a fold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from ..datasets.ct_dataset import CTDataset
from ..devices import resolve_device
from ..explain.fold import embed_fold
from ..explain.grad_cam import GradCAM
from ..explain.regions import to_slice
from ..runs.result import CrossValidationResult
from .pictures import Picture, overlay, slice_picture

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Exhibit", "choose", "embedding", "exhibits"]

Canvases = npt.NDArray[np.uint8]
_Target = Literal["covid", "non-covid"]

_MOST_EMBEDDED = 1000


class Exhibit(NamedTuple):
    """A slice on show.

    Attributes
    ----------
    name, group
        The file, and the patient, the near-duplicate group with its number, or "".
    true, called
        Its class, and the one that the network named: 0 or 1.
    probability
        Of COVID-19, by the network of the fold that tested the slice.
    fold
        That fold.
    picture
        The slice.
    overlay
        What spoke for the class that was named, to lay upon the slice: a ``data:`` address.
    """

    name: str
    group: str
    true: int
    called: int
    probability: float
    fold: int
    picture: Picture
    overlay: str

    @property
    def verdict(self) -> str:
        """``"right"`` or ``"wrong"``."""
        return "right" if self.true == self.called else "wrong"


def choose(predictions: pd.DataFrame, *, each: int) -> pd.DataFrame:
    """Choose the most confident slices of both classes, called rightly and wrongly.

    Parameters
    ----------
    predictions
        As `CrossValidationResult.predictions`.
    each
        How many at most of each of the four kinds. A slice that several folds tested is shown once.

    Returns
    -------
    DataFrame
        The wrong ones first, and of each kind the most confident.

    Examples
    --------
    >>> import pandas as pd
    >>> from covidct.report.gallery import choose
    >>> rows = pd.DataFrame({"index": [0, 1, 2], "target": 1, "probability": [0.9, 0.1, 0.8],
    ...                      "logit": [2.2, -2.2, 1.4]})
    >>> choose(rows, each=1)["index"].tolist()
    [1, 0]
    """
    import pandas as pd

    sure = predictions.sort_values("logit", key=lambda logit: -logit.abs(), kind="stable")
    once = sure.drop_duplicates("index")
    right = (once["probability"] >= 0.5) == (once["target"] == 1)
    kinds = [(verdict, target) for verdict in (False, True) for target in (1, 0)]
    chosen = [once[(right == v) & (once["target"] == t)][:each] for v, t in kinds]
    return pd.concat(chosen, ignore_index=True)


def exhibits(
    result: CrossValidationResult,
    dataset: CTDataset,
    *,
    canvases: Canvases,
    each: int,
    layer: str | None = None,
) -> list[Exhibit]:
    """Draw the most confident slices of a run, each explained by the network that tested it.

    Parameters
    ----------
    result
        The run.
    dataset
        Its slices.
    canvases
        (N, H, W), theirs.
    each
        As in `choose`.
    layer
        As in `covidct.explain.GradCAM`.

    Returns
    -------
    list of Exhibit
        In the order of `choose`.
    """
    chosen = choose(result.predictions, each=each)
    shown: dict[int, Exhibit] = {}
    for fold in np.unique(chosen["fold"]):
        model = result.fold_model(int(fold)).to(resolve_device("auto"))
        for target, called in (("covid", 1), ("non-covid", 0)):
            rows = np.flatnonzero(
                (chosen["fold"] == fold) & ((chosen["probability"] >= 0.5) == called)
            )
            if rows.size:
                cam = GradCAM(model, layer=layer, target=cast("_Target", target))
                maps = cam.over(canvases, index=chosen["index"][rows]).maps
                for row, saliency in zip(rows, maps, strict=True):
                    shown[int(row)] = _exhibit(result, dataset, chosen.iloc[row], saliency)
    return [shown[row] for row in sorted(shown)]


def embedding(
    result: CrossValidationResult, dataset: CTDataset, *, canvases: Canvases, fold: int = 0
) -> Figure:
    """Draw the features that the network of a fold gives its slices, by t-SNE.

    Of more than 1,000 slices as many are drawn at random, by a fixed seed.

    Parameters
    ----------
    result
        The run.
    dataset
        Its slices.
    canvases
        (N, H, W), theirs.
    fold
        The fold.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the slices are too few, or the network gives all the same features.
    """
    model = result.fold_model(fold).to(resolve_device("auto"))
    figure, _ = embed_fold(
        result,
        dataset,
        model,
        canvases,
        fold=fold,
        palette="color-blind",
        max_slices=_MOST_EMBEDDED,
    )
    return figure


def _exhibit(
    result: CrossValidationResult, dataset: CTDataset, row: pd.Series[Any], saliency: torch.Tensor
) -> Exhibit:
    index, true, probability = int(row["index"]), int(row["target"]), float(row["probability"])
    image, _ = dataset[index]
    heat = to_slice(saliency, image.size[::-1], resize=result.recipe.resize).numpy(force=True)
    called = int(probability >= 0.5)
    words = (
        f"CT slice {row['path']}: {result.classes[true]}, called {result.classes[called]} with "
        f"probability {probability:.3f} of {result.classes[1]}. {_place(heat)}"
    )
    return Exhibit(
        name=str(row["path"]),
        group=_group(result, str(row["group"])),
        true=true,
        called=called,
        probability=probability,
        fold=int(row["fold"]),
        picture=slice_picture(image, alt=words),
        overlay=overlay(heat, dataset.masks(index)),
    )


def _group(result: CrossValidationResult, name: str) -> str:
    """Patients have names; what looks alike has only a number, which says nothing alone."""
    return name if result.has_patients or not name else f"{result.unit} {name}"


def _place(heat: npt.NDArray[np.float32]) -> str:
    """Say in words where a map is strongest."""
    if not heat.max() > 0:
        return "The map is empty: nothing spoke for that class."
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    names = (("upper", "middle", "lower"), ("left", "center", "right"))
    thirds = (3 * int(row) // heat.shape[0], 3 * int(column) // heat.shape[1])
    return "The map is strongest at the {} {}.".format(*_named(names, thirds))


def _named(names: tuple[tuple[str, ...], ...], places: tuple[int, ...]) -> Iterator[str]:
    return (words[place] for words, place in zip(names, places, strict=True))
