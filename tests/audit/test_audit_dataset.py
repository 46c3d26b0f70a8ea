from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import covidct
from covidct.audit import RULES, near_duplicate_groups


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Forty phantoms of ten patients as files, which no test changes."""
    folder = tmp_path_factory.mktemp("saved") / "slices"
    covidct.load_dataset("phantom", n=40, seed=1).save(folder)
    return folder


@pytest.fixture(scope="module")
def clean(saved):
    """The audit of these files."""
    return audit(saved)


@pytest.fixture
def folder(saved, tmp_path):
    """Copies of these files, to be changed."""
    return shutil.copytree(saved, tmp_path / "slices")


def audit(folder, groups="auto"):
    return covidct.audit_dataset(covidct.load_dataset("folder", folder, groups=groups))


def named(report, words):
    return [finding for finding in report.findings if words in finding.title]


def test_clean_slices_have_no_fatal_finding(clean):
    assert not [finding for finding in clean.findings if finding.severity == "fatal"]
    assert len(clean.groups) == 40
    assert clean.verdict


def test_one_slice_under_both_labels_is_fatal(folder):
    image = next((folder / "COVID").rglob("*.png"))
    other = next((folder / "non-COVID").rglob("*.png"))
    copy = other.with_name("copy.png")
    with Image.open(image) as pixels:
        pixels.save(copy, compress_level=1)  # other bytes, the same pixels
    report = audit(folder, groups=None)
    (finding,) = named(report, "the same slice under both labels")
    assert finding.severity == "fatal"
    assert "copy.png" in json.dumps(report.to_dict())
    assert "copy.png" in str(report)
    dataset = covidct.load_dataset("folder", folder, groups=None)
    positions = [dataset.paths.index(path) for path in (image, copy)]
    assert len(set(report.groups[positions])) == 1


def test_one_slice_under_two_patients_is_a_warning_and_likeness_is_a_note(folder):
    slices = covidct.load_dataset("folder", folder)
    slices.groups = np.arange(len(slices)).astype(str)  # each slice a patient
    report = covidct.audit_dataset(slices)
    assert not named(report, "the same slice in different patients")
    assert [finding.severity for finding in named(report, "are in different patients")] == ["note"]
    twice = slices.subset([*range(len(slices)), 0])
    twice.groups[-1] = "another"
    (finding,) = named(covidct.audit_dataset(twice), "the same slice in different patients")
    assert finding.severity == "warning"
    assert finding.evidence["pairs"][0]["files"] == [slices.names[0]] * 2


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((image.width * 3 // 4, image.height * 3 // 4)),
        lambda image: Image.fromarray(np.asarray(image)[1:, 1:]),
        lambda image: image.point(lambda gray: min(255, gray + 3)),
    ],
    ids=["resized", "cropped by a pixel", "brighter"],
)
def test_near_duplicates_share_a_group(folder, change):
    image = next((folder / "COVID").rglob("*.png"))
    with Image.open(image) as pixels:
        change(pixels).save(image.with_name("again.png"))
    dataset = covidct.load_dataset("folder", folder, groups=None)
    groups = near_duplicate_groups(dataset)
    positions = [dataset.paths.index(p) for p in (image, image.with_name("again.png"))]
    assert len(set(groups[positions])) == 1
    assert len(set(groups)) > 10  # no component swallows the set


def test_a_shortcut_is_found(folder):
    for path in (folder / "COVID").rglob("*.png"):
        with Image.open(path) as image:
            image.convert("RGBA").save(path)
    (finding, *_) = named(audit(folder), "color mode")
    assert finding.severity == "fatal"


def test_same_slices_same_report(clean, saved):
    assert audit(saved).to_dict() == clean.to_dict()


def test_it_tells_what_belongs_together(clean, saved):
    assert [row["groups"] for row in clean.tables["patients"]] == [5, 5]
    lines = str(clean).splitlines()
    caption = "Slices and groups of each class"
    start = lines.index(next(line for line in lines if line.startswith(caption)))
    assert lines[start + 2].split() == ["non-COVID", "20", "5", "4", "4"]
    assert caption not in str(audit(saved, groups=None))


def test_it_names_the_largest_group_of_near_duplicates(folder):
    image = next((folder / "COVID").rglob("*.png"))
    for number in (2, 10):
        with Image.open(image) as pixels:
            pixels.save(image.with_name(f"again {number}.png"))
    lines = str(audit(folder, groups=None)).splitlines()
    row = lines[lines.index("Largest groups of near-duplicates:") + 2]
    first, last = row.index("again 2.png"), row.index(f"/{image.name}")
    assert first < last
    assert int(row.split()[-1]) >= 3


def test_what_could_not_be_measured_is_said(phantoms):
    report = covidct.audit_dataset(phantoms.subset([0, -1]))
    (finding,) = named(report, "Not measured")
    assert finding.title == "Not measured: shortcuts and leakage of a random split"
    assert "not measured" in report.verdict


def test_two_sources_are_no_patients(tmp_path):
    paths, targets, groups = [], [], []
    for seed, source in enumerate(["own", "other"]):
        covidct.load_dataset("phantom", n=24, seed=seed).save(tmp_path / source)
        slices = covidct.load_dataset("folder", tmp_path / source)
        paths += slices.paths
        targets += slices.targets.tolist()
        groups += [source] * len(slices)
    both = covidct.CTDataset(paths, targets, groups, group_kind="source", root=tmp_path)
    report = covidct.audit_dataset(both)
    assert not named(report, "both classes")
    for row in report.tables["shortcuts"]:
        assert row["low"] < row["accuracy"] < row["high"]


def test_the_text_fits_a_narrow_terminal_and_breaks_no_name(clean, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    prose = str(clean).partition("Slices and groups of each class")[0].splitlines()
    assert max(len(line) for line in prose[1:] if not line.startswith(" " * 10)) <= 60
    assert not any(line.endswith("non-") for line in prose)


def test_the_repr_fits_one_screen(clean):
    finding = dataclasses.replace(clean.findings[0], title="a long title " * 20)
    changed = dataclasses.replace(clean, subject="words " * 50, findings=(finding,) * len(RULES))
    for lines in (repr(clean).splitlines(), repr(changed).splitlines()):
        assert len(lines) <= 24
        assert max(map(len, lines)) <= 100
