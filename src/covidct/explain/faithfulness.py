"""Measures of the faithfulness of saliency maps to a network, compared with chance.

:func:`table` computes all measures for a network; the single measures are public functions, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .._display import Displayed
from .._files import write_json, write_text
from ..devices import Precision
from ..evaluation.tables import Table
from ..models.classifier import CTClassifier
from .grad_cam import upsample
from .perturbation import Baseline, Curves, perturb
from .randomization import (
    RandomizationTest,
    randomization_test,
    randomize,
    rank_correlation,
    signed_maps,
)
from .regions import EnergyShare, Masks, canvas_regions, energy_share, hits, peaks, widen

__all__ = [
    "Curves",
    "EnergyShare",
    "Faithfulness",
    "Measure",
    "RandomizationTest",
    "average",
    "canvas_regions",
    "energy_share",
    "hits",
    "peaks",
    "perturb",
    "randomization_test",
    "randomize",
    "rank_correlation",
    "table",
    "widen",
]

_RANDOMIZED = "randomized network"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Value of one measure, with reference values for comparison.

    Attributes
    ----------
    name : str
        Measured quantity, such as ``"energy in lesion"``.
    value : float
        Mean over the slices. Silhouettes lie in [-1, 1], all other values in [0, 1].
    references : mapping of str to float
        Values of chance or of uninformative maps, by name.
    n : int
        Number of slices.
    """

    name: str
    value: float
    references: Mapping[str, float]
    n: int


@dataclass(frozen=True, kw_only=True, repr=False)
class Faithfulness(Displayed):
    """Faithfulness of the saliency maps of a network, printed as a table.

    Attributes
    ----------
    measures : tuple of Measure
        Measures, in the order of the table.
    settings : mapping of str to str, int or float
        Options on which the values depend.
    """

    measures: tuple[Measure, ...]
    settings: Mapping[str, str | int | float]

    def __getitem__(self, name: str) -> Measure:
        """Return the first measure whose name starts with `name`."""
        for measure in self.measures:
            if measure.name.startswith(name):
                return measure
        raise KeyError(name)

    def to_dict(self) -> dict[str, object]:
        """Return the measures and settings as plain Python values.

        Returns
        -------
        dict
            Values for JSON; NaN and infinity become None.
        """
        rows = [asdict(measure) for measure in self.measures]
        for row in rows:
            row["value"] = _plain(row["value"])
            row["references"] = {name: _plain(x) for name, x in row["references"].items()}
        return {"measures": rows, "settings": dict(self.settings)}

    def save(self, folder: str | PathLike[str]) -> None:
        """Write ``faithfulness.txt`` and ``faithfulness.json``.

        Parameters
        ----------
        folder : str or path-like
            Folder for the files; created if necessary.
        """
        write_text(Path(folder, "faithfulness.txt"), f"{self}\n")
        write_json(Path(folder, "faithfulness.json"), self.to_dict())

    def table(self) -> Table:
        """Return the measures as a table, with reference values indented below each measure.

        Returns
        -------
        Table
            One row for each measure and each reference value.
        """
        rows = []
        for measure in self.measures:
            rows.append((measure.name, f"{measure.value:.3f}", str(measure.n)))
            rows += [(f"  {name}", f"{x:.3f}", "") for name, x in measure.references.items()]
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        notes = (f"Settings: {settings}.",) if settings else ()
        return Table(("measure", "value", "slices"), rows, notes=notes)

    def __str__(self) -> str:
        return self.table().render()


def table(
    model: CTClassifier,
    canvases: npt.NDArray[np.uint8],
    *,
    sizes: Sequence[Sequence[int]],
    masks: Sequence[Masks | None] | None = None,
    point_at: str = "lesion",
    layer: str | None = None,
    target: str = "covid",
    resize: Literal["pad", "stretch"] = "pad",
    border: float = 0.05,
    baseline: Baseline = "blur",
    steps: int = 10,
    n_perturbed: int = 32,
    batch_size: int = 32,
    precision: Precision = "float32",
    seed: int = 0,
) -> Faithfulness:
    """Measure the faithfulness of the Grad-CAM maps of a network.

    Use slices of the explained class: for evidence of COVID-19, the COVID-19 slices of the test
    fold.

    Parameters
    ----------
    model : CTClassifier
        The fitted network; it is left unchanged.
    canvases : ndarray of uint8 of shape (N, H, W)
        At least two canvases.
    sizes : sequence of (int, int)
        Height and width of each original slice, in pixels.
    masks : sequence of mapping of str to ndarray, optional
        For each slice, boolean masks of its original size by name, as returned by
        `covidct.CTDataset.masks`, or None if unknown.
    point_at : str, default="lesion"
        Name of the mask for the pointing game.
    layer : str, optional
        Name of the layer to explain, as in `covidct.explain.GradCAM`. Earlier layers than the
        default have a finer grid. On a grid of few cells, any map hits within one cell.
    target : str, default="covid"
        Class whose evidence is explained.
    resize : {"pad", "stretch"}, default="pad"
        Resizing method of the canvases.
    border : float, default=0.05
        Width of the band along the border of the slice, as a fraction of the slice's shorter side;
        between 0 and 0.5.
    baseline : {"blur", "black", "mean", "rise"}, default="blur"
        Replacement of deleted pixels, as in `perturb`.
    steps : int, default=10
        Number of steps of the deletion and insertion curves.
    n_perturbed : int, default=32
        Maximum number of slices for the curves and the randomization test, which need many forward
        passes; if there are more, they are drawn at random.
    batch_size : int, default=32
        Number of canvases per batch.
    precision : {"auto", "float32", "bfloat16"}, default="float32"
        Data type of the passes, as in :func:`covidct.devices.resolve_precision`.
    seed : int, default=0
        Random seed.

    Returns
    -------
    Faithfulness
        Shares of the energy in each region; the pointing game, exact and within one cell of the
        grid of the map; areas under the deletion and insertion curves; and rank correlations with
        the maps of the randomized network. Measures without any slice are left out.

    Raises
    ------
    ValueError
        If there are fewer than two canvases, if the number of sizes or masks differs from the
        number of canvases, or if an option of `canvas_regions` or `perturb` is invalid.

    Examples
    --------
    >>> import numpy as np, covidct
    >>> from covidct.explain import faithfulness
    >>> model = covidct.create_model("shufflenet", weights=None)
    >>> canvases = np.random.default_rng(0).integers(0, 256, (2, 64, 96), dtype=np.uint8)
    >>> table = faithfulness.table(model, canvases, sizes=[(64, 80)] * 2, steps=2)
    >>> len(table.measures) > 0
    True
    """
    if len(canvases) < 2 or len(sizes) != len(canvases):
        raise ValueError(
            "expected at least two canvases and one size for each, "
            f"got {len(canvases)} canvases and {len(sizes)} sizes"
        )
    size = canvases.shape[1:]
    regions = canvas_regions(sizes, size, masks=masks, border=border, resize=resize)
    passes: _Passes = {"batch_size": batch_size, "precision": precision}
    cells, untrained = (
        signed_maps(network, canvases, layer=layer, target=target, **passes)
        for network in (model, randomize(model, seed=seed))
    )
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.permutation(len(canvases))[:n_perturbed])
    random = torch.from_numpy(rng.random(cells.shape, dtype=np.float32))
    curves, chance = (
        perturb(
            model,
            canvases[drawn],
            upsample(maps[drawn], size),
            target=target,
            steps=steps,
            baseline=baseline,
            seed=seed,
            **passes,
        )
        for maps in (cells, random)
    )
    measures = [
        *_energy_rows(upsample(cells.relu(), size), regions),
        *_pointing_rows(cells, untrained, regions, point_at),
        _curve_row("deletion", curves.deletion_area, chance.deletion_area),
        _curve_row("insertion", curves.insertion_area, chance.insertion_area),
        *_randomization_rows(
            randomization_test(model, canvases[drawn], layer=layer, seed=seed, **passes)
        ),
    ]
    settings: dict[str, str | int | float] = {
        "evidence for": target,
        "layer": str(layer or getattr(model, "cam_layer", "last")),
        "grid": " x ".join(map(str, cells.shape[1:])),
        "border": border,
        "baseline": baseline,
        "steps": steps,
        "seed": seed,
    }
    return Faithfulness(measures=tuple(m for m in measures if m.n), settings=settings)


def average(tables: Sequence[Faithfulness]) -> Faithfulness:
    """Average the measures of several networks, such as those of the folds of a run.

    Parameters
    ----------
    tables : sequence of Faithfulness
        At least one.

    Returns
    -------
    Faithfulness
        For each measure, the unweighted mean over the networks that have it. The numbers of slices
        are added up, so a slice counts once for each network that explained it. Only settings that
        all networks share are kept.

    Raises
    ------
    ValueError
        If `tables` is empty.

    Examples
    --------
    >>> from covidct.explain.faithfulness import Faithfulness, Measure, average
    >>> rows = [Measure(name="x", value=v, references={"chance": 0.5}, n=4) for v in (0.7, 0.9)]
    >>> print(average([Faithfulness(measures=(row,), settings={}) for row in rows]))
    measure   value  slices
    x         0.800       8
      chance  0.500
    Settings: networks 2.
    """
    if not tables:
        raise ValueError("expected at least one table to average, got 0")
    if len(tables) == 1:
        return tables[0]
    rows: dict[str, list[Measure]] = {}
    for measure in (measure for table in tables for measure in table.measures):
        rows.setdefault(measure.name, []).append(measure)
    settings = {
        name: value
        for name, value in tables[0].settings.items()
        if all(table.settings.get(name) == value for table in tables)
    }
    return Faithfulness(
        measures=tuple(map(_averaged, rows.values())),
        settings={"networks": len(tables), **settings},
    )


def _averaged(rows: Sequence[Measure]) -> Measure:
    names = [name for name in rows[0].references if all(name in row.references for row in rows)]
    return Measure(
        name=rows[0].name,
        value=float(np.mean([row.value for row in rows])),
        references={name: float(np.mean([row.references[name] for row in rows])) for name in names},
        n=sum(row.n for row in rows),
    )


class _Passes(TypedDict):
    batch_size: int
    precision: Precision


def _energy_rows(maps: Tensor, regions: Mapping[str, Tensor]) -> Iterator[Measure]:
    for name in (name for name in regions if name != "slice"):
        share, area, n = energy_share(maps, regions[name])
        yield Measure(
            name=f"energy in {name}", value=share, references={"share of the area": area}, n=n
        )


def _pointing_rows(
    cells: Tensor, untrained: Tensor, regions: Mapping[str, Tensor], point_at: str
) -> Iterator[Measure]:
    if point_at not in regions:
        return
    counts = regions[point_at].flatten(1).any(dim=1)
    height, width = regions[point_at].shape[1:]
    points, random_points = (
        peaks(upsample(m, (height, width)))[counts] for m in (cells, untrained)
    )
    center = torch.tensor([height // 2, width // 2]).expand_as(points)
    one_cell = round(height / cells.shape[1]), round(width / cells.shape[2])
    for tolerance, by in (("exact", (0, 0)), ("within one cell", one_cell)):
        region = widen(regions[point_at][counts], by)
        rates = {
            "center of the slice": hits(center, region),
            _RANDOMIZED: hits(random_points, region),
            **{
                f"random point of the {name}": _share_of(regions[name][counts], region)
                for name in ("slice", "lung")
                if name in regions
            },
        }
        yield Measure(
            name=f"pointing game, {point_at}, {tolerance}",
            value=_mean(hits(points, region)),
            references={name: _mean(values) for name, values in rates.items()},
            n=len(region),
        )


def _share_of(whole: Tensor, part: Tensor) -> Tensor:
    """Return the share of `whole` that `part` covers: the hit rate of a random point in `whole`."""
    return (whole & part).float().sum(dim=(1, 2)) / whole.sum(dim=(1, 2))


def _curve_row(
    name: str, areas: npt.NDArray[np.float64], chance: npt.NDArray[np.float64]
) -> Measure:
    return Measure(
        name=f"{name}, area under the curve",
        value=float(areas.mean()),
        references={"random map": float(chance.mean())},
        n=len(areas),
    )


def _randomization_rows(test: RandomizationTest) -> Iterator[Measure]:
    for share, correlations in zip(test.shares, test.correlations, strict=True):
        layers = f"last {100 * share:.0f} % of the layers" if share else "last layer"
        yield Measure(
            name=f"rank correlation, {layers} randomized",
            value=float(correlations.mean()),
            references={"map of another slice": float(test.reference.mean())},
            n=len(correlations),
        )


def _mean(values: Tensor) -> float:
    return float(values.float().mean())


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
