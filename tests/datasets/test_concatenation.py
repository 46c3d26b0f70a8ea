"""Datasets of several sources, joined into one."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import covidct
from covidct.datasets import registry


@pytest.fixture
def files(slice_folder) -> covidct.CTDataset:
    """Twelve files with metadata, volumes, positions and masks."""
    mask = slice_folder / "mask.png"
    Image.new("L", (60, 40), 255).save(mask)
    found = covidct.load_dataset("folder", slice_folder, groups=None)
    return covidct.CTDataset(
        found.paths,
        found.targets,
        np.repeat(["p1", "p2", "p3", "p4"], 3),
        labels=np.repeat(["CAP", "normal", "COVID", "COVID"], 3),
        metadata={"age": range(12)},
        volumes=["v", *[""] * 11],
        positions=np.arange(12.0),
        mask_files={"lesion": [mask, *[None] * 11]},
        official_split=["train"] * 6 + ["test"] * 6,
        root=slice_folder,
        window=(40, 400),
        skipped=[("broken.png", "truncated")],
        name="files",
    )


def test_everything_is_kept_and_prefixed(files, phantoms, caplog):
    both = covidct.concat([files, phantoms], names=["ward-7", "site-b"])
    assert len(both) == 36
    assert both.sources.tolist() == ["ward-7"] * 12 + ["site-b"] * 24
    assert both.names[0] == f"ward-7/{files.names[0]}"
    assert both.groups[[0, 12]].tolist() == ["ward-7/p1", f"site-b/{phantoms.groups[0]}"]
    assert both.labels[:4].tolist() == ["CAP", "CAP", "CAP", "normal"]
    assert both.volumes[[0, 1, 12]].tolist() == ["ward-7/v", "", ""]
    assert both.positions[11] == 11
    assert np.isnan(both.positions[12])
    assert both.official_split is None  # phantoms have none
    assert both.skipped == (("ward-7/broken.png", "truncated"),)
    assert both.table["age"].notna().sum() == 12
    assert both.table["source"].nunique() == 2
    assert "through different windows (ward-7: (40, 400), site-b: lung)" in caplog.text
    for k, (part, row) in {0: (files, 0), 20: (phantoms, 8)}.items():
        assert np.array_equal(both[k][0], part[row][0])
        assert both[k][1] == part[row][1]
        assert both.masks(k).keys() == part.masks(row).keys()
    assert both.masks(1) is None


def test_subsets_and_hashes_follow_the_slices(files, phantoms):
    both = covidct.concat([files, phantoms], names=["a", "b"])
    part = both.subset([20, 3, 20])
    assert part.names == (both.names[20], both.names[3], both.names[20])
    assert np.array_equal(part[0][0], phantoms[8][0])
    again = covidct.concat([files, phantoms], names=["a", "b"])
    assert again.content_hash() == both.content_hash()
    others = [
        covidct.concat([files, phantoms], names=["a", "c"]),
        covidct.concat([phantoms, files], names=["b", "a"]),
        covidct.concat([files, phantoms.subset(range(23))], names=["a", "b"]),
        both.subset([*range(35, -1, -1)]),
        covidct.concat([files, covidct.load_dataset("phantom", n=24, seed=1)], names=["a", "b"]),
    ]
    assert len({both.content_hash(), *(other.content_hash() for other in others)}) == 6
    assert both.subset(range(36)).content_hash() == both.content_hash()


def test_sources_of_sources(files, phantoms):
    inner = covidct.concat([files, phantoms], names=["a", "b"])
    outer = covidct.concat([inner, covidct.load_dataset("phantom", n=4, seed=5)], names=["x", "y"])
    assert list(dict.fromkeys(outer.sources.tolist())) == ["x/a", "x/b", "y"]
    assert outer.groups[0] == "x/a/p1"
    assert np.array_equal(outer[13][0], phantoms[1][0])


def test_unknown_patients_of_one_source_are_unknown(files, slice_folder, caplog):
    without = covidct.CTDataset(files.paths, files.targets, name="without")
    with caplog.at_level(logging.WARNING):
        both = covidct.concat([files, without])
    assert both.groups is None
    assert "the patients of 'without' are unknown" in caplog.text


def test_classes_and_kinds_of_groups(files):
    other = covidct.CTDataset(
        files.paths, files.targets, files.groups, classes=("no", "yes"), group_kind="volume"
    )
    both = covidct.concat([files, other], names=["a", "b"])
    assert both.classes == ("non-COVID", "COVID")
    assert both.group_kind == "patient or volume"


@pytest.mark.parametrize(
    ("number", "names", "message"),
    [
        (1, None, "at least two datasets, got 1"),
        (2, None, r"different names, got \['phantom', 'phantom'\]"),
        (2, ["a"], "1 names for 2 datasets"),
        (2, ["a", ""], "different names"),
    ],
)
def test_impossible_joins(phantoms, number, names, message):
    with pytest.raises(ValueError, match=message):
        covidct.concat([phantoms] * number, names)


def test_no_dataset(phantoms):
    with pytest.raises(TypeError, match=r"must be a covidct.CTDataset"):
        covidct.concat([phantoms, "folder"])


@pytest.fixture
def overlapping(monkeypatch, slice_folder, tmp_path):
    """Two registered datasets of which one contains the other."""
    for name, contains in (("whole", ("part",)), ("part", ())):
        info = covidct.DatasetInfo(name, name, contains=contains)
        monkeypatch.setitem(registry._REGISTRY, name, info)
    other = tmp_path / "phantoms"
    covidct.load_dataset("phantom", n=8).save(other)
    return covidct.load_dataset("whole", slice_folder), covidct.load_dataset("part", other)


def test_datasets_that_contain_each_other_are_refused(overlapping, phantoms):
    for pair in (overlapping, overlapping[::-1]):
        with pytest.raises(ValueError, match=r"cannot be joined: '\w+' shares slices"):
            covidct.concat(pair, names=["a", "b"])
    whole, part = overlapping
    joined = covidct.concat([whole, phantoms])
    assert joined.registry_names == ("whole", "phantom")
    with pytest.raises(ValueError, match="'whole' shares slices or patients with 'part'"):
        covidct.concat([joined, part], names=["a", "b"])
    again = covidct.concat([part, covidct.load_dataset("part", part.root)], names=["a", "b"])
    assert len(again) == 16  # two subsets of one dataset may differ; the split compares pixels


def test_metadata_columns_are_joined(files):
    other = covidct.CTDataset(
        files.paths, files.targets, metadata=pd.DataFrame({"kvp": [120] * 12})
    )
    table = covidct.concat([files, other], names=["a", "b"]).table
    assert table["kvp"].isna().tolist() == [True] * 12 + [False] * 12
