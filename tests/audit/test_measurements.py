from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import covidct
from covidct.audit import shortcuts
from covidct.audit.checks import check_leakage, check_shortcuts
from covidct.audit.file_order import file_blocks
from covidct.audit.findings import RULES
from covidct.audit.fold_assignment import assign_folds
from covidct.audit.leakage import probe_leakage
from covidct.audit.measurements import SliceMeasurements, content_box, measure_slices
from covidct.audit.shortcuts import measure_shortcuts
from covidct.errors import InvalidFileError


def measurements_of(n, **changes):
    values = {
        "digests": np.arange(n).astype(str),
        "canvases": np.zeros((n, 64, 64), np.uint8),
        "formats": np.full(n, "PNG"),
        "modes": np.full(n, "L"),
        "sizes": np.full((n, 2), 300),
        "bit_depths": np.full(n, 8),
        "colored": np.zeros(n),
        "trimmed": np.zeros((n, 64, 64), np.uint8),
        "two_valued": np.zeros(n, np.bool_),
    }
    return SliceMeasurements(**values | changes)


def test_facts_tell_how_a_slice_is_stored(tmp_path):
    gray = Image.new("L", (40, 30), 200)
    marked = gray.convert("RGB")
    marked.paste((255, 0, 0), (0, 0, 10, 30))  # a quarter of it is red
    gray.save(tmp_path / "a.png")
    marked.save(tmp_path / "b.png")
    gray.convert("RGBA").save(tmp_path / "c.png")
    gray.save(tmp_path / "d.png", "JPEG")
    paths = sorted(tmp_path.iterdir())
    measurements = measure_slices(covidct.CTDataset(paths, [0, 1, 0, 1]))
    assert measurements.formats.tolist() == ["PNG", "PNG", "PNG", "JPEG"]
    assert measurements.modes.tolist() == ["L", "RGB", "RGBA", "L"]
    assert measurements.sizes.tolist() == [[30, 40]] * 4
    np.testing.assert_allclose(measurements.colored, [0, 0.25, 0, 0])
    assert measurements.digests[0] == measurements.digests[2] != measurements.digests[1]
    assert measurements.borders[0] == 200


def test_an_unreadable_slice_is_named(tmp_path):
    for name in ("good.png", "bad.png"):
        Image.new("L", (40, 30)).save(tmp_path / name)
    dataset = covidct.CTDataset(sorted(tmp_path.iterdir()), [0, 1])
    (tmp_path / "bad.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(InvalidFileError, match=r"bad\.png"):
        covidct.audit_dataset(dataset)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("file format", {"formats": np.tile(["JPEG", "PNG"], 50)}),
        ("color mode", {"modes": np.tile(["RGB", "RGBA"], 50)}),
        ("image size", {"sizes": np.tile([[300, 400], [301, 400]], (50, 1))}),
        ("bit depth", {"bit_depths": np.tile([8, 16], 50)}),
        ("burned-in color", {"colored": np.tile([0, 0.1], 50)}),
        (
            "border gray level",
            {"canvases": np.tile(np.uint8([0, 80]), 50)[:, None, None] * np.ones((64, 64), "u1")},
        ),
    ],
)
def test_each_planted_shortcut_is_found(name, column):
    (shortcut,) = measure_shortcuts(measurements_of(100, **column), np.tile([0, 1], 50))
    assert shortcut.properties == (name,)
    assert shortcut.accuracy == 1
    assert shortcut.base_rate == 0.5


def test_two_properties_tell_together_what_neither_tells_alone():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 2, (2, 400))
    measurements = measurements_of(
        400, formats=np.array(["JPEG", "PNG"])[first], modes=np.array(["L", "RGB"])[second]
    )
    alone, other, together = measure_shortcuts(measurements, first ^ second)
    assert alone.low <= 0.55
    assert other.low <= 0.55
    assert together.properties == ("file format", "color mode")
    assert together.accuracy == 1


def test_a_property_of_a_patient_is_no_shortcut_when_patients_stay_together():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(40), 10)
    sizes = np.stack([rng.permutation(40) + 200, np.full(40, 300)], axis=1)[patients]
    measurements, targets = measurements_of(400, sizes=sizes), rng.integers(0, 2, 40)[patients]
    (torn,) = measure_shortcuts(measurements, targets)
    (whole,) = measure_shortcuts(measurements, targets, groups=patients)
    assert torn.accuracy > whole.accuracy + 0.1
    assert whole.high - whole.low > torn.high - torn.low


def test_the_probe_is_that_of_scikit_learn():
    from sklearn.model_selection import PredefinedSplit, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(30), 4)
    targets = patients % 2
    base = rng.integers(0, 200, (30, 8, 8))[patients]
    canvases = (base + rng.integers(0, 55, base.shape)).astype(np.uint8)
    random, grouped = probe_leakage(
        canvases, targets, groupings={"random": None, "by patient": patients}, repeats=1
    )
    for probe, groups in ((random, None), (grouped, patients)):
        scores = cross_val_score(
            KNeighborsClassifier(1, metric="correlation", algorithm="brute"),
            canvases.reshape(120, -1),
            targets,
            cv=PredefinedSplit(assign_folds(targets, groups)),
        )
        sizes = np.bincount(assign_folds(targets, groups))
        assert probe.accuracy == pytest.approx(np.average(scores, weights=sizes))
    assert random.accuracy > 0.95
    assert grouped.accuracy < 0.75
    assert (random.n_groups, grouped.n_groups) == (120, 30)


def test_without_a_leak_a_warning_is_rare():
    rng = np.random.default_rng(1)
    warned = 0
    for _ in range(40):
        canvases = rng.integers(0, 256, (60, 8, 8), np.uint8)
        patients = np.repeat(np.arange(20), 3)
        probes = probe_leakage(
            canvases, patients % 2, groupings={"random": None, "by patient": patients}
        )
        (finding,) = check_leakage(probes, advice="")
        warned += finding.severity == "warning"
    assert warned <= 4  # 2 are expected; more than 4 have a probability of 5 %


def test_without_a_shortcut_a_finding_is_rare(monkeypatch):
    monkeypatch.setattr(shortcuts, "_N_RESAMPLES", 100)
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(40):
        patients = np.repeat(np.arange(24), 3)
        canvases = rng.integers(0, 256, 24, np.uint8)[patients, None, None]
        measurements = measurements_of(
            72,
            formats=rng.choice(["PNG", "JPEG"], 24)[patients],
            modes=rng.choice(["L", "RGB"], 24)[patients],
            sizes=rng.integers(200, 400, (24, 2))[patients],
            colored=rng.random(24)[patients],
            canvases=np.broadcast_to(canvases, (72, 64, 64)),
        )
        targets = rng.permutation(np.arange(24) % 2)[patients]
        found += bool(
            list(check_shortcuts(measure_shortcuts(measurements, targets, groups=patients)))
        )
    assert found <= 4


def test_few_groups_are_not_measured():
    groups = np.repeat(np.arange(9), 10)
    measurements = measurements_of(90, formats=np.array(["PNG", "JPEG"])[groups % 2])
    assert measure_shortcuts(measurements, groups % 2, groups=groups) == ()
    canvases = np.random.default_rng(0).integers(0, 256, (90, 8, 8), np.uint8)
    probes = probe_leakage(canvases, groups % 2, groupings={"random": None, "grouped": groups})
    assert [probe.split for probe in probes] == ["random"]


def test_margins_are_trimmed_to_the_content():
    content = np.random.default_rng(0).integers(60, 256, (40, 50)).astype(np.uint8)
    inner = np.pad(content, ((3, 0), (0, 9)), constant_values=255)
    assert content_box(np.pad(inner, 5)) == (5, 8, 55, 48)
    assert content_box(content) == (0, 0, 50, 40)
    assert content_box(np.zeros((40, 50), np.uint8)) == (0, 0, 50, 40)


def test_masks_are_named(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (40, 30), np.uint8)).save(tmp_path / f"{i}.png")
    mask = Image.fromarray(np.uint8(rng.integers(0, 2, (40, 30)) * 255))
    mask.save(tmp_path / "lung.png")
    dataset = covidct.CTDataset(sorted(tmp_path.iterdir()), np.arange(13) % 2, root=tmp_path)
    (finding,) = [f for f in covidct.audit_dataset(dataset).findings if "mask" in f.title]
    assert finding.title == "1 file is a mask (two gray levels), not a slice"
    assert finding.evidence["names"] == ["lung.png"]


def test_labels_with_an_origin_of_their_own_are_named(tmp_path):
    covidct.load_dataset("phantom", n=45, seed=0, slices_per_patient=1).save(tmp_path)
    paths = sorted(tmp_path.rglob("*.png"))
    labels = ["COVID"] * 15 + ["CAP"] * 15 + ["normal"] * 15
    for path in paths[30:]:
        with Image.open(path) as image:
            image.convert("RGB").save(path)
    dataset = covidct.CTDataset(
        paths,
        [1] * 15 + [0] * 30,
        labels=labels,
        sources=["a", "b"] * 15 + ["archive"] * 15,
        root=tmp_path,
    )
    report = covidct.audit_dataset(dataset)
    named = [f for f in report.findings if f.evidence["rule"] == "own origin"]
    assert {f.title for f in named} == {
        "1 label has a source that no other label has: 'normal': archive",
        "1 label has a color mode that no other label has: 'normal': RGB",
    }
    assert {f.severity for f in named} == {"warning"}
    assert [row["class"] for row in report.tables["patients"]] == ["CAP", "COVID", "normal"]
    assert "unknown" in report.verdict or "too optimistic" in report.verdict


def test_folds_keep_groups_whole():
    groups = np.arange(60) // 3
    folds = assign_folds(np.tile([0, 1], 30), groups, seed=4)
    assert len(set(zip(groups.tolist(), folds.tolist(), strict=True))) == 20
    assert set(folds.tolist()) == {0, 1, 2, 3, 4}


def test_blocks_follow_numbers_and_never_mix_classes():
    names = [f"{kind} ({number}).png" for kind in "ab" for number in (10, 2, 1, 9)]
    targets = np.repeat([0, 1], 4)
    blocks = file_blocks(names, targets, length=2)
    assert blocks[[2, 1]].tolist() == [blocks[2]] * 2
    assert blocks[[3, 0]].tolist() == [blocks[3]] * 2
    assert not set(blocks[:4]) & set(blocks[4:])


@pytest.mark.parametrize(
    ("rule", "value", "severity"),
    [
        ("conflicting labels", 0, None),
        ("conflicting labels", 1, "fatal"),
        ("similar across classes", 1, "warning"),
        ("shortcut", 0.05, "note"),
        ("shortcut", 0.5, "warning"),
        ("shortcut", 0.95, "fatal"),
        ("leakage", -0.01, "note"),
        ("leakage", 0.05, "warning"),
    ],
)
def test_rules(rule, value, severity):
    assert RULES[rule].severity(value) == severity


def test_records_of_patients_and_split_are_read(slice_folder):
    dataset = covidct.load_dataset("folder", slice_folder)
    odd = covidct.CTDataset(
        dataset.paths,
        dataset.targets,
        ["p1"] * 7 + ["p2"] * 5,
        official_split=["train"] * 3 + ["test"] * 9,
        skipped=[("broken.png", "is empty")],
    )
    titles = {finding.title for finding in covidct.audit_dataset(odd).findings}
    assert "1 patient has slices of both classes" in titles
    assert "1 patient is in two parts of the official split" in titles
    assert "1 file was skipped" in titles


def test_one_class_is_fatal_and_still_audited(phantoms):
    report = covidct.audit_dataset(phantoms.subset(phantoms.targets == 1))
    assert report.findings[0].severity == "fatal"
    assert report.findings[0].title == "All slices are of one class: COVID"
    assert not report.tables["shortcuts"]
    assert not report.tables["leakage"]


def test_a_cache_that_is_a_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "cache").touch()
    monkeypatch.setenv("COVIDCT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(OSError, match=r"cannot store .* set COVIDCT_CACHE to a folder"):
        measure_slices(covidct.load_dataset("phantom", n=2, seed=0))
