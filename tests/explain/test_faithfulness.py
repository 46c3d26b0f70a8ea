from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage
from torch import nn

import covidct
from covidct.explain import faithfulness
from covidct.explain.faithfulness import Faithfulness, Measure
from covidct.explain.grad_cam import upsample
from covidct.explain.randomization import signed_maps

Spots = tuple[npt.NDArray[np.uint8], list[dict[str, npt.NDArray[np.bool_]]]]


@pytest.fixture
def table(brightness: nn.Module, spots: Spots) -> Faithfulness:
    canvases, masks = spots
    return faithfulness.table(
        brightness, canvases, sizes=[(64, 96)] * 6, masks=masks, baseline="black", steps=8
    )


def test_a_network_that_looks_at_the_lesion(table: Faithfulness) -> None:
    strict, tolerant = table["pointing game, lesion, exact"], table["pointing game, lesion, within"]
    assert strict.value == tolerant.value == 1
    assert strict.n == 6
    # A square of 16 x 16; extended by one cell of 8 x 8 it has 32 x 32, minus what is outside.
    assert strict.references["random point of the slice"] == pytest.approx(256 / (64 * 96))
    assert 0.1 < tolerant.references["random point of the slice"] <= 1024 / (64 * 96)
    energy = table["energy in lesion"]
    assert energy.references["share of the area"] == pytest.approx(256 / (64 * 96))
    assert energy.value > 4 * energy.references["share of the area"]
    deletion, insertion = table["deletion"], table["insertion"]
    assert deletion.value < deletion.references["random map"] - 0.1
    assert insertion.value > insertion.references["random map"] + 0.1


def test_a_network_that_looks_elsewhere(brightness: nn.Module, spots: Spots) -> None:
    canvases, masks = spots
    elsewhere = [{"lesion": np.roll(mask["lesion"], 40, axis=1)} for mask in masks]
    table = faithfulness.table(brightness, canvases, sizes=[(64, 96)] * 6, masks=elsewhere, steps=1)
    assert table["pointing game, lesion, within"].value == 0
    energy = table["energy in lesion"]
    assert energy.value < energy.references["share of the area"]


def test_evidence_on_the_padding_is_measured(brightness: nn.Module) -> None:
    canvases = np.zeros((2, 64, 96), dtype=np.uint8)
    canvases[:, :, :16] = 255  # the slices span columns 16 to 80
    table = faithfulness.table(brightness, canvases, sizes=[(50, 50)] * 2, steps=1)
    assert table["energy in padding"].value > 0.9
    assert table["energy in padding"].references["share of the area"] == pytest.approx(1 / 3)
    names = [measure.name for measure in table.measures]
    assert not any("pointing" in name or "lesion" in name for name in names)


def test_measures_without_slices_are_left_out(brightness: nn.Module, spots: Spots) -> None:
    masks = [{"lesion": np.zeros((64, 96), dtype=bool)}] * 6
    table = faithfulness.table(brightness, spots[0], sizes=[(64, 96)] * 6, masks=masks, steps=1)
    names = [measure.name for measure in table.measures]
    assert "energy in border" in names
    assert not any("lesion" in name or "padding" in name for name in names)


def test_chance_is_higher_in_the_lung(brightness: nn.Module, spots: Spots) -> None:
    canvases, masks = spots
    lesions = torch.from_numpy(np.stack([mask["lesion"] for mask in masks]))
    wider = faithfulness.widen(lesions, (9, 9)).numpy()
    lungs = [mask | {"lung": lung} for mask, lung in zip(masks, wider, strict=True)]
    table = faithfulness.table(brightness, canvases, sizes=[(64, 96)] * 6, masks=lungs, steps=1)
    chance = table["pointing game, lesion, exact"].references
    assert chance["random point of the lung"] > 2 * chance["random point of the slice"]


def test_the_model_is_left_as_it_was(brightness: nn.Module, spots: Spots) -> None:
    brightness.train()
    before = [p.clone() for p in brightness.parameters()]
    faithfulness.table(brightness, spots[0], sizes=[(64, 96)] * 6, steps=1)
    assert all(module.training for module in brightness.modules())
    assert all(map(torch.equal, before, brightness.parameters()))
    assert all(p.grad is None and p.requires_grad for p in brightness.parameters())


def test_a_layer_of_a_finer_grid() -> None:
    torch.manual_seed(0)
    model = covidct.create_model("resnet18", weights=None)
    canvases = np.random.default_rng(0).integers(0, 256, (2, 64, 96), dtype=np.uint8)
    options = {"sizes": [(64, 96)] * 2, "steps": 1}
    default = faithfulness.table(model, canvases, **options)
    finer = faithfulness.table(model, canvases, layer="backbone.layer3", **options)
    assert (default.settings["layer"], default.settings["grid"]) == ("backbone", "2 x 3")
    assert (finer.settings["layer"], finer.settings["grid"]) == ("backbone.layer3", "4 x 6")


def test_at_most_so_many_slices_are_perturbed(brightness: nn.Module, spots: Spots) -> None:
    options = {"sizes": [(64, 96)] * 6, "steps": 1, "n_perturbed": 3}
    table = faithfulness.table(brightness, spots[0], **options)
    assert table["deletion"].n == table["rank correlation, last layer"].n == 3
    assert table["energy in border"].n == 6


def test_the_table_as_json_and_as_text(table: Faithfulness) -> None:
    plain = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    assert plain["settings"]["baseline"] == "black"
    assert [row["name"] for row in plain["measures"]] == [m.name for m in table.measures]
    lines = str(table).splitlines()
    assert len(lines) == 2 + sum(1 + len(measure.references) for measure in table.measures)
    below = next(i for i, line in enumerate(lines) if line.startswith("energy in lesion")) + 1
    assert lines[below].split() == ["share", "of", "the", "area", "0.042"]
    with pytest.raises(KeyError):
        table["unknown"]


def test_undefined_values_become_none() -> None:
    row = Measure(name="x", value=math.nan, references={"y": math.inf}, n=1)
    plain = Faithfulness(measures=(row,), settings={}).to_dict()
    assert plain["measures"] == [{"name": "x", "value": None, "references": {"y": None}, "n": 1}]


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_canvases(brightness: nn.Module, spots: Spots, n: int) -> None:
    with pytest.raises(ValueError, match=f"at least two canvases .* got {n} canvases and 6 sizes"):
        faithfulness.table(brightness, spots[0][:n], sizes=[(64, 96)] * 6)


def test_tables_of_several_networks_are_averaged() -> None:
    def of(network: int, value: float, chance: float, *more: str) -> Faithfulness:
        names = ("energy in border", *more)
        rows = (Measure(name=x, value=value, references={"even": chance}, n=2) for x in names)
        return Faithfulness(measures=tuple(rows), settings={"layer": "last", "seed": network})

    one = of(0, 0.2, 0.1)
    assert faithfulness.average([one]) is one
    both = faithfulness.average([of(0, 0.2, 0.1, "deletion"), of(1, 0.4, 0.3)])
    row, alone = both.measures
    assert (alone.name, alone.value, alone.n) == ("deletion", 0.2, 2)
    assert (row.value, row.references["even"]) == pytest.approx((0.3, 0.2))
    assert row.n == 4
    assert both.settings == {"networks": 2, "layer": "last"}
    with pytest.raises(ValueError, match="at least one table"):
        faithfulness.average([])


def test_each_measure_is_that_of_its_function(brightness: nn.Module, spots: Spots) -> None:
    canvases, masks = spots
    lung = np.zeros((64, 96), bool)
    lung[4:60, 2:90] = True
    known: list[dict[str, npt.NDArray[np.bool_]] | None]
    known = [*(mask | {"lung": lung} for mask in masks[:5]), None]
    sizes = [(64, 96)] * 6
    options = {"baseline": "mean", "steps": 3, "seed": 3}
    found = faithfulness.table(
        brightness,
        canvases,
        sizes=sizes,
        masks=known,
        border=0.1,
        n_perturbed=4,
        batch_size=2,
        **options,
    )
    rng = np.random.default_rng(3)
    drawn = np.sort(rng.permutation(6)[:4])
    random = torch.from_numpy(rng.random((6, 8, 12), dtype=np.float32))
    cells, untrained = (
        signed_maps(network, canvases)
        for network in (brightness, faithfulness.randomize(brightness, seed=3))
    )
    assert cells.shape == random.shape
    expected: dict[str, tuple[float, dict[str, float], int]] = {}

    regions = faithfulness.canvas_regions(sizes, (64, 96), masks=known, border=0.1)
    for name in ("border", "lesion", "lung", "padding"):
        maps = upsample(cells.relu(), (64, 96))
        share, area, n = faithfulness.energy_share(maps, regions[name])
        if n:
            expected[f"energy in {name}"] = share, {"share of the area": area}, n

    points, others = (
        faithfulness.peaks(upsample(maps[:5], (64, 96))).tolist() for maps in (cells, untrained)
    )
    for tolerance, by in (("exact", 0), ("within one cell", 8)):
        # A square that is extended by some pixels to each side, inside the slice.
        wide = [
            ndimage.maximum_filter(mask["lesion"].astype(int), 2 * by + 1, mode="constant") > 0
            for mask in masks[:5]
        ]
        chances = {
            "center of the slice": np.mean([mask[32, 48] for mask in wide]),
            "randomized network": np.mean(
                [m[y, x] for m, (y, x) in zip(wide, others, strict=True)]
            ),
            "random point of the slice": np.mean([mask.mean() for mask in wide]),
            "random point of the lung": np.mean([mask[lung].mean() for mask in wide]),
        }
        rate = np.mean([mask[y, x] for mask, (y, x) in zip(wide, points, strict=True)])
        expected[f"pointing game, lesion, {tolerance}"] = rate, chances, 5

    curves, chance = (
        faithfulness.perturb(brightness, canvases[drawn], upsample(m[drawn], (64, 96)), **options)
        for m in (cells, random)
    )
    for name in ("deletion", "insertion"):
        value, by_chance = (getattr(c, f"{name}_area").mean() for c in (curves, chance))
        expected[f"{name}, area under the curve"] = value, {"random map": by_chance}, 4

    test = faithfulness.randomization_test(brightness, canvases[drawn], seed=3)
    other = {"map of another slice": test.reference.mean()}
    texts = ["last layer", *(f"last {n} % of the layers" for n in (25, 50, 100))]
    for text, correlations in zip(texts, test.correlations, strict=True):
        expected[f"rank correlation, {text} randomized"] = correlations.mean(), other, 4

    assert sorted(m.name for m in found.measures) == sorted(expected)
    for measure in found.measures:
        value, references, n = expected[measure.name]
        assert measure.value == pytest.approx(value, abs=1e-6), measure.name
        assert dict(measure.references) == pytest.approx(references, abs=1e-6), measure.name
        assert measure.n == n
    assert found.settings == {
        "evidence for": "covid",
        "layer": "last",
        "grid": "8 x 12",
        "border": 0.1,
        **options,
    }


def test_options_of_the_table(brightness: nn.Module, spots: Spots) -> None:
    canvases, masks = spots
    sizes = [(64, 96)] * 6
    default = faithfulness.table(brightness, canvases, sizes=sizes)
    named = faithfulness.table(
        brightness, canvases, sizes=sizes, border=0.05, baseline="blur", steps=10, seed=0
    )
    assert default.to_dict() == named.to_dict()
    against = faithfulness.table(brightness, canvases, sizes=sizes, target="non-covid", steps=10)
    assert against.settings["evidence for"] == "non-covid"
    # The probabilities of the two classes are mirrored.
    assert abs(default["deletion"].value - against["deletion"].value) > 0.3
    spots_ = [{"spot": mask["lesion"]} for mask in masks]
    pointed = faithfulness.table(
        brightness, canvases, sizes=sizes, masks=spots_, point_at="spot", steps=1
    )
    assert pointed["pointing game, spot, exact"].value == 1
    # Stretched slices have no padding.
    narrow = [(64, 48)] * 6
    padded, stretched = (
        faithfulness.table(brightness, canvases, sizes=narrow, resize=resize, steps=1)
        for resize in ("pad", "stretch")
    )
    assert any(m.name == "energy in padding" for m in padded.measures)
    assert not any(m.name == "energy in padding" for m in stretched.measures)


def test_files(table: Faithfulness, tmp_path: Path) -> None:
    table.save(tmp_path / "new")
    assert (tmp_path / "new/faithfulness.txt").read_text() == f"{table}\n"
    assert json.loads((tmp_path / "new/faithfulness.json").read_text()) == table.to_dict()
    assert table.table().notes[0].startswith("Settings: evidence for covid, layer last, ")
    assert Faithfulness(measures=(), settings={}).table().notes == ()
