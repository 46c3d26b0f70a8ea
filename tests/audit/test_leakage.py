"""The probe for leakage and the trees for shortcuts, against loops over slices."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from covidct.audit import leakage, shortcuts
from covidct.audit.fold_assignment import assign_folds
from covidct.audit.leakage import probe_leakage
from covidct.audit.measurements import SliceMeasurements
from covidct.audit.shortcuts import measure_shortcuts, predict_with_tree
from covidct.evaluation.intervals import bootstrap

PATIENTS = np.repeat(np.arange(24), [2, 3] * 12)
TARGETS = np.array([0, 1, 1] * 8)[PATIENTS]
N = len(PATIENTS)
PERMUTATIONS = 20


def slices(seed: int = 0) -> np.ndarray:
    """Slices of one patient look alike, and a little those of one class."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 200, (24, 6, 7))[PATIENTS] + 25 * TARGETS[:, None, None]
    return (base + rng.integers(0, 30, base.shape)).astype(np.uint8)


def by_loops(
    correlation: np.ndarray, folds: np.ndarray, chosen: np.ndarray, targets: np.ndarray
) -> float:
    """Accuracy of the most similar slice of another fold."""
    right = 0
    for i in chosen:
        others = np.flatnonzero(folds != folds[i])
        right += targets[others[correlation[i, others].argmax()]] == targets[i]
    return float(right / len(chosen))


@pytest.mark.parametrize("queries", [1000, 25])
@pytest.mark.parametrize("chunk", [1000, 7])
def test_the_probe_by_loops(queries: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "_MAX_QUERIES", queries)
    monkeypatch.setattr(leakage, "_CHUNK", chunk)
    monkeypatch.setattr(leakage, "_N_PERMUTATIONS", PERMUTATIONS)
    canvases, seed = slices(), 5
    probes = probe_leakage(
        canvases, TARGETS, groupings={"random": None, "by patient": PATIENTS}, repeats=2, seed=seed
    )
    chosen = np.sort(np.random.default_rng(seed).permutation(N)[:queries])
    correlation = np.corrcoef(canvases.reshape(N, -1))
    for probe, name, groups in zip(probes, ("random", "by patient"), (None, PATIENTS), strict=True):
        folds = [assign_folds(TARGETS, groups, seed=seed + draw) for draw in range(2)]
        scores = [by_loops(correlation, fold, chosen, TARGETS) for fold in folds]
        assert (probe.split, probe.n_groups) == (name, N if groups is None else 24)
        assert probe.n_classified == len(chosen)
        found = (probe.accuracy, probe.low, probe.high)
        assert found == pytest.approx((np.mean(scores), min(scores), max(scores)))
        if groups is None:
            assert probe.p_value is None
            continue
        rng = np.random.default_rng(seed)
        as_low = 1
        for _ in range(PERMUTATIONS):
            source = np.arange(N)
            for target in (0, 1):
                members = np.flatnonzero(target == TARGETS)
                source[members] = rng.permutation(members)
            permuted = [by_loops(correlation, fold[source], chosen, TARGETS) for fold in folds]
            as_low += np.mean(permuted) <= np.mean(scores) + 1e-9
        assert probe.p_value == pytest.approx(as_low / (PERMUTATIONS + 1))


def test_three_draws_of_seed_0_are_the_default() -> None:
    canvases, groupings = slices(), {"by patient": PATIENTS}
    found = probe_leakage(canvases, TARGETS, groupings=groupings)
    assert found == probe_leakage(canvases, TARGETS, groupings=groupings, repeats=3, seed=0)
    once = probe_leakage(canvases, TARGETS, groupings=groupings, repeats=1)[0]
    assert once.low == once.high == once.accuracy != found[0].accuracy


def test_splits_that_cannot_be_are_left_out() -> None:
    one_positive = (PATIENTS == 0).astype(np.int64)
    groupings = {"by patient": PATIENTS, "few": PATIENTS % 9, "random": None}
    found = probe_leakage(slices(), one_positive, groupings=groupings, repeats=1)
    assert [probe.split for probe in found] == ["random"]
    ten = {"ten": PATIENTS % 10}
    assert [p.n_groups for p in probe_leakage(slices(), TARGETS, groupings=ten, repeats=1)] == [10]
    assert probe_leakage(slices(), one_positive, groupings={"by patient": PATIENTS}) == ()


def measured(seed: int = 0) -> SliceMeasurements:
    rng = np.random.default_rng(seed)
    noisy = np.where(rng.random(24) < 0.25, 1 - TARGETS[[0] * 24], np.array([0, 1, 1] * 8))
    kind = np.where(rng.random(24) < 0.3, 1 - noisy, np.array([0, 1, 1] * 8))[PATIENTS]
    return SliceMeasurements(
        digests=np.arange(N).astype(str),
        canvases=rng.integers(0, 256, (24, 1, 1), np.uint8)[PATIENTS] * np.ones((1, 64, 64), "u1"),
        formats=np.array(["JPEG", "PNG"])[kind],
        modes=np.full(N, "L"),
        sizes=rng.choice([[300, 400], [320, 400], [300, 512]], 24)[PATIENTS],
        bit_depths=np.array([8, 16])[rng.integers(0, 2, 24)[PATIENTS]],
        colored=np.zeros(N),
        trimmed=np.zeros((N, 64, 64), np.uint8),
        two_valued=np.zeros(N, np.bool_),
    )


@pytest.mark.parametrize("grouped", [True, False])
def test_shortcuts_by_loops(grouped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcuts, "_N_PERMUTATIONS", PERMUTATIONS)
    monkeypatch.setattr(shortcuts, "_N_RESAMPLES", 100)
    groups, seed = (PATIENTS if grouped else None), 3
    slices = measured()
    found = measure_shortcuts(slices, TARGETS, groups=groups, seed=seed)
    height, width = slices.sizes.T
    columns = {
        "file format": np.transpose([slices.formats == "JPEG", slices.formats == "PNG"]),
        "image size": np.transpose([height, width, width / height]),
        "bit depth": slices.bit_depths[:, None],
        "border gray level": slices.borders[:, None],
    }
    sets = [*((name,) for name in columns), tuple(columns)]  # format alone stands for both
    assert [shortcut.properties for shortcut in found] == sets
    folds = assign_folds(TARGETS, groups, seed=seed)
    predictions = []
    for shortcut, names in zip(found, sets, strict=True):
        features = np.hstack([columns[name].astype(float) for name in names])
        predicted = predict_with_tree(features, TARGETS, folds)
        options = {"groups": groups, "n_resamples": 100, "seed": seed, "names": ["accuracy"]}
        interval = bootstrap(TARGETS, predicted, **options)["accuracy"]
        assert shortcut.accuracy == pytest.approx(np.mean(predicted == TARGETS))
        assert (shortcut.low, shortcut.high) == pytest.approx(tuple(interval))
        assert shortcut.base_rate == pytest.approx(max(TARGETS.mean(), 1 - TARGETS.mean()))
        predictions.append(predicted)
    # Labels of whole patients are permuted; the best tree counts.
    units = PATIENTS if grouped else np.arange(N)
    labels = TARGETS[np.unique(units, return_index=True)[1]]
    rng = np.random.default_rng(seed)

    def excess(of_units: np.ndarray) -> list[float]:
        truth = of_units[units]
        base = max(truth.sum(), N - truth.sum())
        return [(predicted == truth).sum() - base for predicted in predictions]

    largest = np.array([max(excess(rng.permutation(labels))) for _ in range(PERMUTATIONS)])
    for shortcut, value in zip(found, excess(labels), strict=True):
        expected = (1 + (largest >= value).sum()) / (PERMUTATIONS + 1)
        assert shortcut.p_value == pytest.approx(expected)


def test_shortcuts_of_seed_0_are_the_default() -> None:
    assert measure_shortcuts(measured(), TARGETS) == measure_shortcuts(measured(), TARGETS, seed=0)
    assert measure_shortcuts(measured(), (PATIENTS == 0).astype(int), groups=PATIENTS) == ()
    ten = PATIENTS % 10
    assert len(measure_shortcuts(measured(), TARGETS, groups=ten)) == 5
    same = dataclasses.replace(
        measured(),
        formats=np.full(N, "PNG"),
        bit_depths=np.full(N, 8),
        sizes=np.full((N, 2), 300),
        canvases=np.zeros((N, 64, 64), np.uint8),
    )
    assert measure_shortcuts(same, TARGETS) == ()


def test_trees_are_small() -> None:
    """A slice alone on a side of a cut cannot be learned, and no more than four cuts in a row."""
    values = np.arange(80.0)
    folds = np.arange(80) % 2
    alternating = (values // 2 % 20 == 0).astype(np.int64)
    assert not predict_with_tree(values[:, None], alternating, folds).any()
    halves = (values >= 40).astype(np.int64)
    assert (predict_with_tree(values[:, None], halves, folds) != halves).sum() <= 1  # at the cut
