"""Figs. 9 to 16 of the paper, drawn from the finished runs of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from ..datasets.ct_dataset import CTDataset
from ..datasets.slices import Found, FoundVolume, find_slices
from ..errors import UnknownNameError
from ..evaluation.figures import confusion_matrices
from ..models.registry import model_info
from ..runs.predictor import Predictor
from ..runs.result import CrossValidationResult
from ..runs.sweep import SweepResult
from .figures import save_figure
from .new_slices import explain_predictions
from .tested_slices import explain_fold

__all__ = ["draw_paper_figures"]

_SLICES_PER_FIGURE = 8

_Slice = tuple[Path, int]  # file and frame


@dataclass(frozen=True)
class _PaperFigures:
    """The paper's figures of a dataset: the explained network and the figure numbers."""

    network: str = ""
    confusion: str = ""
    tsne: str = ""
    maps: str = ""
    external: tuple[str, str] = ("", "")


_PAPER_FIGURES = {
    "sars-cov-2-ct": _PaperFigures(
        "inception_v3", "Fig. 9: ", "Fig. 11: ", "Fig. 13: ", ("Fig. 15: ", "Fig. 16: ")
    ),
    "covid19-ct": _PaperFigures("densenet169", "Fig. 10: ", "Fig. 12: ", "Fig. 14: "),
}


def draw_paper_figures(
    done: SweepResult,
    datasets: Mapping[str, CTDataset],
    folder: str | PathLike[str],
    *,
    variant: str = "paper",
    images: Sequence[str | PathLike[str]] = (),
    fold: int = 0,
    seed: int = 0,
) -> dict[str, Path]:
    """Draw the figures of the paper for each dataset of a sweep.

    For each dataset, these are confusion matrices of all networks (Figs. 9 and 10) and, for one
    network, t-SNE of the features of one fold (Figs. 11 and 12), Grad-CAM of its test slices with
    measures of faithfulness (Figs. 13 and 14), and Grad-CAM of slices of another source (Figs. 15
    and 16). The network is that of the paper if its run is finished, otherwise the first one. From
    another source, sixteen COVID-19 slices are taken at equal intervals, regardless of their
    predictions.

    Parameters
    ----------
    done : SweepResult
        The sweep.
    datasets : mapping of str to CTDataset
        Slices of the sweep, by the dataset names of its runs. For a dataset that is not given, only
        confusion matrices are drawn.
    folder : str or path-like
        Folder for the figures: ``DATASET/confusion.png``, ``DATASET/NETWORK/`` and
        ``DATASET/NETWORK/on-OTHER-1/``.
    variant : str, default="paper"
        Variant of the networks to show.
    images : sequence of str or path-like, default=()
        Images of another source, or folders of them. By default, the other datasets are used.
    fold : int, default=0
        Fold to explain.
    seed : int, default=0
        Random seed.

    Returns
    -------
    dict of str to Path
        Files by the title of the figure, with its number in the paper if it has one.

    Raises
    ------
    ValueError
        If the sweep has no finished run.
    UnknownNameError
        If no finished run has the variant `variant`.

    Examples
    --------
    >>> import tempfile
    >>> import covidct
    >>> from covidct.explain import draw_paper_figures
    >>> from covidct.runs.sweep import PlannedRun, run_sweep
    >>> slices = {"phantom": covidct.load_dataset("phantom", n=16, seed=0)}
    >>> run = PlannedRun(dataset="phantom", model="shufflenet", variant="grouped", weights=None,
    ...                  recipe=covidct.Recipe.demo().scaled(1), protocol="grouped")
    >>> done = run_sweep([run], tempfile.mkdtemp(), datasets=slices, folds=2)
    >>> for title in draw_paper_figures(done, slices, tempfile.mkdtemp(), variant="grouped"):
    ...     print(title)
    confusion matrices, phantom
    t-SNE, shufflenet on phantom
    Grad-CAM, shufflenet on phantom
    """
    runs: dict[str, dict[str, CrossValidationResult]] = {}
    for cell, result in done.results.items():
        if cell.variant == variant:
            runs.setdefault(cell.dataset, {})[cell.model] = result
    if not done.results:
        raise ValueError("the sweep has no finished run to draw; run covidct sweep first")
    if not runs:
        kind = "finished variant"
        raise UnknownNameError.among(kind, variant, {cell.variant for cell in done.results})
    drawn: dict[str, Path] = {}
    for dataset, networks in runs.items():
        place, paper = Path(folder) / dataset, _PAPER_FIGURES.get(dataset, _PaperFigures())
        matrices = {
            model_info(name).title: result.confusion_matrix() for name, result in networks.items()
        }
        classes = next(iter(networks.values())).classes
        drawn[f"{paper.confusion}confusion matrices, {dataset}"] = save_figure(
            confusion_matrices(matrices, classes=classes), place / "confusion.png"
        )
        if dataset not in datasets:
            continue
        network = paper.network if paper.network in networks else next(iter(networks))
        result, place = networks[network], place / network.replace(":", "-")
        explain_fold(result, datasets[dataset], place, fold=fold, seed=seed)
        drawn[f"{paper.tsne}t-SNE, {network} on {dataset}"] = place / "tsne.png"
        drawn[f"{paper.maps}Grad-CAM, {network} on {dataset}"] = place / "grad_cam.png"
        others = {name: other for name, other in datasets.items() if name != dataset}
        for source, number, files in _other_sources(others, images):
            path = _draw_external(result, files, place / f"on-{source}-{number + 1}")
            of_paper = paper.external[number]
            drawn[f"{of_paper}Grad-CAM, {network} of {dataset} on {source}, {number + 1}"] = path
    return drawn


def _other_sources(
    others: Mapping[str, CTDataset], images: Sequence[str | PathLike[str]]
) -> Iterator[tuple[str, int, list[_Slice]]]:
    """Yield the name of each other source, the number of the figure (0 or 1) and its slices."""
    sources = {name: _covid_slices(other) for name, other in others.items()}
    if images:
        found = find_slices(images)
        of_volumes = [pair for v in found.volumes for pair in zip(v.paths, v.frames, strict=True)]
        sources = {"images": [*((path, 0) for path in found.images), *of_volumes]}
    for name, slices in sources.items():
        files = _spread(slices)
        for number in range(2):
            part = files[number * _SLICES_PER_FIGURE : (number + 1) * _SLICES_PER_FIGURE]
            if part:
                yield name, number, part


def _covid_slices(dataset: CTDataset) -> list[_Slice]:
    """Return the COVID-19 slices; phantoms have no files."""
    rows = zip(dataset.paths, dataset.frames.tolist(), dataset.targets, strict=True)
    return [(path, frame) for path, frame, target in rows if target == 1 and path.is_file()]


def _spread(files: Sequence[_Slice]) -> list[_Slice]:
    """Select the slices of two figures, at equal intervals."""
    count = min(2 * _SLICES_PER_FIGURE, len(files))
    return [files[i] for i in np.linspace(0, len(files) - 1, count).astype(int)] if files else []


def _draw_external(result: CrossValidationResult, slices: Sequence[_Slice], place: Path) -> Path:
    predictor = Predictor.from_run(result.run_dir)
    # Each slice is a volume of its own, even if several are in one file.
    volumes = [
        FoundVolume(str(path), (path,), (frame,), np.array([np.nan]), (np.nan, np.nan), None, False)
        for path, frame in slices
    ]
    explain_predictions(predictor, predictor.predict(Found(volumes, [], [], {})), place)
    return place / "grad_cam.png"
