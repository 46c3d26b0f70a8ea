"""Folds that leave out one source at a time."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

import covidct
from covidct.datasets import registry
from covidct.runs.cross_dataset import evaluate_across
from covidct.runs.protocol import Protocol, split_options
from covidct.runs.splits import LeakageWarning, make_split


def phantoms(seed, n=16):
    return covidct.load_dataset("phantom", n=n, seed=seed)


@pytest.fixture(scope="module")
def three():
    return covidct.concat([phantoms(seed) for seed in (0, 1, 2)], names=["a", "b", "c"])


def test_every_source_is_left_out_once(three):
    split = make_split(three, "source")
    assert split.protocol == Protocol.source()
    assert [fold.name for fold in split.folds] == ["a", "b", "c"]
    for fold in split.folds:
        assert set(three.sources[fold.test]) == {fold.name}
        assert fold.name not in set(three.sources[fold.train])
        assert len(fold.train) + len(fold.test) == len(three)
        assert (fold.validation.size, fold.validation.dtype) == (0, np.int64)
    assert (split.groups.tolist(), split.group_kind) == (three.groups.tolist(), "patient")
    assert split_options("source", three, 5) == {"cv": "source"}


def test_repeats_train_again_on_the_same_folds(three):
    split = make_split(three, "source", repeats=2)
    assert [fold.name for fold in split.folds] == ["a", "b", "c"] * 2
    assert split.repeats == (0, 0, 0, 1, 1, 1)


def test_impossible_sources(three):
    with pytest.raises(ValueError, match="cv='source' does not take groups"):
        make_split(three, "source", groups="patient")
    with pytest.raises(ValueError, match="the sources of dataset 'phantom' are unknown"):
        make_split(phantoms(0), "source")
    with pytest.raises(ValueError, match=r"all slices of dataset .* are of the source 'a'"):
        make_split(three.subset(three.sources == "a"), "source")
    one_class = three.subset((three.sources != "b") | (three.targets == 1))
    with pytest.raises(ValueError, match="source 'b' has slices of class 'COVID' only"):
        make_split(one_class, "source")


def test_a_patient_of_two_sources_is_refused(slice_folder):
    found = covidct.load_dataset("folder", slice_folder, groups=None)
    groups = [f"p{i % 6}" for i in range(12)]
    sources = ["north", "south"] * 6
    fine = covidct.CTDataset(found.paths, found.targets, groups, sources=sources)
    assert [fold.name for fold in make_split(fine, "source").folds] == ["north", "south"]
    groups[1] = "p0"
    torn = covidct.CTDataset(found.paths, found.targets, groups, sources=sources)
    with pytest.raises(ValueError, match=r"1 patients .* source 'north' .* such as 'p0'"):
        make_split(torn, "source")


def test_equal_pixels_of_two_sources_are_refused(tmp_path):
    a, b = phantoms(0), phantoms(1)
    b.save(tmp_path / "copy")
    a.subset([3]).save(tmp_path / "copy")  # a file, not a phantom: only the pixels are equal
    mixed = covidct.load_dataset("folder", tmp_path / "copy", groups=None)
    joined = covidct.concat([a, mixed], names=["a", "b"])
    for cv in ("source", [(range(16), range(16, 32))]):
        said = r"1 slices have the same pixels in two sources.* such as '(.*)' and '(.*)'; leave"
        with pytest.raises(ValueError, match=said) as error:
            make_split(joined, cv)
        names = re.search(said, str(error.value)).groups()
        one, other = (joined[joined.names.index(name)][0] for name in names)
        np.testing.assert_array_equal(one, other)
    # Copies within a source are not refused.
    twice = covidct.concat([a, b.subset([*range(16), 0])], names=["a", "b"])
    tested = [32, int(np.flatnonzero(a.targets != b.targets[0])[0])]  # of both classes
    with pytest.warns(LeakageWarning, match="2 of 8 patients"):
        make_split(twice, [(np.setdiff1d(range(32), tested), tested)])


def test_near_duplicates_of_two_sources_warn(tmp_path):
    a, b = phantoms(0), phantoms(1)
    other = tmp_path / "other"
    b.save(other)
    image = np.asarray(a[3][0])
    target = other / b.names[3]
    Image.fromarray(np.clip(image.astype(int) + 3, 0, 255).astype(np.uint8)).save(target)
    joined = covidct.concat([a, covidct.load_dataset("folder", other)], names=["a", "b"])
    with pytest.warns(LeakageWarning, match=r"near-duplicates in another.* of 'a', 1 of 'b'"):
        make_split(joined, "source")


@pytest.fixture(scope="module")
def result(three, tiny, tmp_path_factory):
    recipe = covidct.Recipe.demo().scaled(1)
    run_dir = tmp_path_factory.mktemp("runs") / "sources"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVIDCT_CACHE", str(tmp_path_factory.mktemp("cache")))
        cv = covidct.CrossValidator(tiny, recipe, cv="source", weights=None, run_dir=run_dir)
        return cv.run(three)


def test_tables_name_the_sources(result):
    assert result.fold_names == ("a", "b", "c")
    assert result.table().header[1:4] == ("a", "b", "c")
    assert result.to_frame().index.tolist() == ["a", "b", "c"]
    assert result.by("source")["slices"].to_dict() == {"a": 16, "b": 16, "c": 16}
    assert result.shared_groups() == 0
    again = covidct.CrossValidationResult.load(result.run_dir)
    assert again.fold_names == result.fold_names
    assert again.spec.dataset.registry_names == ("phantom",)


def test_external_tests_refuse_datasets_that_overlap(result, monkeypatch):
    info = covidct.DatasetInfo("whole", "Contains phantoms", contains=("phantom",))
    monkeypatch.setitem(registry._REGISTRY, "whole", info)
    other = phantoms(7, n=4)
    other.registry_names = ("whole",)
    other.name = "ward"
    with pytest.raises(ValueError, match=r"'a[+]b[+]c' and 'ward' cannot be training and test"):
        result.evaluate(other)
    fine = phantoms(8, n=8)
    matrix = evaluate_across({"loso": result}, {"ward": other, "fine": fine})
    assert "refused" in matrix.table().rows[0][1]
    assert matrix.to_dict()[0]["refused"].startswith("'a+b+c' and 'ward' cannot be")
    frame = matrix.to_frame()
    assert frame["tested_on"].unique().tolist() == ["fine"]
    assert set(frame.columns) >= {"run", "metric", "mean", "sd", "low", "high", "out_of_fold"}
