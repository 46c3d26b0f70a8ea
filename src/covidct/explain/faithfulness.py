"""Is the explanation to be believed? Each answer stands beside what chance would give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..devices import Precision
from ..models.classifier import CTClassifier
from .grad_cam import upsample
from .perturbation import Curves, perturb
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
    """One figure, beside what it has to be compared with.

    Attributes
    ----------
    name
        What was measured.
    value
        The figure; all lie in [0, 1], except silhouettes, in [-1, 1].
    references
        What chance, or a map that knows nothing, gives.
    n
        Number of slices that it is the mean of.
    """

    name: str
    value: float
    references: Mapping[str, float]
    n: int


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """The table of a fitted network; ``str()`` gives it as text.

    Attributes
    ----------
    measures
        The rows.
    settings
        What they depend on.
    """

    measures: tuple[Measure, ...]
    settings: Mapping[str, str | int | float]

    def __getitem__(self, name: str) -> Measure:
        """Return the row whose name begins so."""
        for measure in self.measures:
            if measure.name.startswith(name):
                return measure
        raise KeyError(name)

    def to_dict(self) -> dict[str, object]:
        """Write the table as plain values.

        Returns
        -------
        dict
            Fit for JSON; a figure that is undefined is None.
        """
        rows = [asdict(measure) for measure in self.measures]
        for row in rows:
            row["value"] = _plain(row["value"])
            row["references"] = {name: _plain(x) for name, x in row["references"].items()}
        return {"measures": rows, "settings": dict(self.settings)}

    def __str__(self) -> str:
        width = max(len(measure.name) for measure in self.measures)
        lines = [f"{'measure':<{width}}  value  slices  beside it"]
        for measure in self.measures:
            beside = "; ".join(f"{x:.3f} {name}" for name, x in measure.references.items())
            line = f"{measure.name:<{width}}  {measure.value:.3f}  {measure.n:>6}  {beside}"
            lines.append(line.rstrip())
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        return "\n".join([*lines, f"({settings})"])


def table(
    model: CTClassifier,
    canvases: npt.NDArray[np.uint8],
    *,
    sizes: Sequence[Sequence[int]],
    masks: Sequence[Masks | None] | None = None,
    point_at: str = "lesion",
    layer: str | None = None,
    target: Literal["covid", "non-covid"] = "covid",
    resize: Literal["pad", "stretch"] = "pad",
    border: float = 0.05,
    baseline: Literal["blur", "black", "mean"] = "blur",
    steps: int = 10,
    n_perturbed: int = 32,
    batch_size: int = 32,
    precision: Precision = "float32",
    seed: int = 0,
) -> Faithfulness:
    """Measure how far the Grad-CAM maps of a fitted network can be believed.

    Give it the slices that it makes sense to explain: for evidence of COVID-19 the COVID-19
    slices of the test fold.

    Parameters
    ----------
    model
        The fitted network; it is left as it was found.
    canvases
        (N, H, W) uint8, at least two.
    sizes
        (height, width) of each original slice.
    masks
        For each slice boolean masks of its original size by name, such as
        `covidct.CTDataset.masks` gives, or None where unknown.
    point_at
        Name of the masks that the pointing game is about.
    layer
        Name of the layer to explain, as in `covidct.explain.GradCAM`. An earlier one than the
        default has a finer grid; on a grid of few cells any map hits within one cell.
    target
        Explain the evidence for ``"covid"`` or ``"non-covid"``.
    resize
        How the canvases were made.
    border
        Width of the band along the border of the slice, as a fraction of its shorter side.
    baseline
        What stands for a deleted pixel, as in `perturb`.
    steps
        Steps of the deletion and insertion curves.
    n_perturbed
        For the curves and the randomization test, which take many passes, so many slices at most
        are drawn.
    batch_size
        Canvases in one pass.
    precision
        Arithmetic of the passes, as in :func:`covidct.devices.resolve_precision`.
    seed
        Of all that is drawn.

    Returns
    -------
    Faithfulness
        Shares of the energy in each region; the pointing game, strictly and within one cell of
        the map's grid; areas under the deletion and the insertion curve; rank correlations with
        the maps of the randomized network. Rows that would be the mean of no slice are left out.

    Raises
    ------
    ValueError
        For fewer than two canvases, for sizes or masks that do not belong to them, and for options
        that `canvas_regions` or `perturb` refuse.

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
            f"give at least two canvases and a size for each, got {len(canvases)}, {len(sizes)}"
        )
    size = canvases.shape[1:]
    regions = canvas_regions(sizes, size, masks=masks, border=border, resize=resize)
    passes: _Passes = {"batch_size": batch_size, "precision": precision}
    cells, blind = (
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
        *_pointing_rows(cells, blind, regions, point_at),
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
    """Average the tables of several networks, such as the folds of a run.

    Parameters
    ----------
    tables
        At least one.

    Returns
    -------
    Faithfulness
        Of each row the mean over the tables that have it, in which each counts the same. Numbers
        of slices are added, so that a slice counts once for each network that explained it. Of
        the settings those that all share.

    Raises
    ------
    ValueError
        For no table.

    Examples
    --------
    >>> from covidct.explain.faithfulness import Faithfulness, Measure, average
    >>> rows = [Measure(name="x", value=v, references={"chance": 0.5}, n=4) for v in (0.7, 0.9)]
    >>> print(average([Faithfulness(measures=(row,), settings={}) for row in rows]))
    measure  value  slices  beside it
    x        0.800       8  0.500 chance
    (networks 2)
    """
    if not tables:
        raise ValueError("give at least one table")
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
    cells: Tensor, blind: Tensor, regions: Mapping[str, Tensor], point_at: str
) -> Iterator[Measure]:
    if point_at not in regions:
        return
    counts = regions[point_at].flatten(1).any(dim=1)
    height, width = regions[point_at].shape[1:]
    points, blind_points = (peaks(upsample(m, (height, width)))[counts] for m in (cells, blind))
    center = torch.tensor([height // 2, width // 2]).expand_as(points)
    one_cell = round(height / cells.shape[1]), round(width / cells.shape[2])
    for tolerance, by in (("strictly", (0, 0)), ("within one cell", one_cell)):
        region = widen(regions[point_at][counts], by)
        rates = {
            "center of the slice": hits(center, region),
            _RANDOMIZED: hits(blind_points, region),
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
    """Share of each region that another covers: how often a random point of it hits."""
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
        forgotten = f"last {share:.0%} of the layers" if share else "last layer"
        yield Measure(
            name=f"rank correlation, {forgotten} randomized",
            value=float(correlations.mean()),
            references={"map of another slice": float(test.reference.mean())},
            n=len(correlations),
        )


def _mean(values: Tensor) -> float:
    return float(values.float().mean())


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
