from __future__ import annotations

import dataclasses
import importlib.util
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import covidct
from covidct import DatasetInfo
from covidct.datasets import registry
from covidct.errors import InvalidFileError, UnknownNameError

BUILT_IN = ["covid19-ct", "folder", "phantom", "sars-cov-2-ct"]


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it, and doctests may have left their own."""
    built_in = {name: registry._REGISTRY[name] for name in BUILT_IN}
    monkeypatch.setattr(registry, "_REGISTRY", built_in)


def load_nothing(root: str, *, color: str = "gray", verify: str | None = None) -> object:
    raise AssertionError(root, color, verify)


def test_list() -> None:
    assert covidct.list_datasets() == BUILT_IN
    assert covidct.list_datasets("*19*") == ["covid19-ct"]
    assert covidct.list_datasets("x*") == []


def test_unknown_name_proposes_the_nearest() -> None:
    for call in (covidct.dataset_info, covidct.load_dataset):
        with pytest.raises(UnknownNameError, match="'covid19-cd'; did you mean 'covid19-ct'"):
            call("covid19-cd")


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_entries_are_complete(name: str) -> None:
    info = covidct.dataset_info(name)
    assert info.name == name
    module, _, function = info.loader.partition(":")
    assert importlib.util.find_spec(module) is not None
    assert function == "load"
    assert all((info.title, info.layout, info.how_to_get, info.license))
    text = str(info)
    assert text.startswith(f"{name}: {info.title}")
    assert all(fault in text for fault in info.known_faults)


@pytest.mark.parametrize("name", ["covid19-ct", "sars-cov-2-ct"])
def test_published_entries_say_whom_to_cite(name: str) -> None:
    info = covidct.dataset_info(name)
    assert all((info.home, info.citation, info.known_faults, info.source, info.manifest))
    assert sum(info.counts) > 0


def test_info_is_frozen_and_hashable() -> None:
    info = covidct.dataset_info("folder")
    assert hash(info) == hash(dataclasses.replace(info))
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.name = "other"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": "My set"}, "name must be"),
        ({"name": ""}, "name must be"),
        ({"title": " "}, "title must not be empty"),
        ({"loader": "package.module.load"}, r"module:function"),
        ({"classes": ("a", "a")}, "two different names"),
        ({"classes": "ab"}, "two different names"),
        ({"counts": (1, 2, 3)}, "two numbers"),
        ({"counts": (-1, 2)}, "two numbers"),
        ({"known_faults": "one sentence"}, "tuple of sentences"),
        ({"source": "https://example.org/folder"}, "closing slash"),
        ({"source": "kaggle:name"}, r"kaggle:owner/dataset"),
        ({"source": "ftp://example.org/"}, "source must be"),
    ],
)
def test_info_refuses(changes: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        DatasetInfo(**{"name": "mine", "title": "Mine"} | changes)


def test_register_and_load_under_the_new_name(slice_folder: Path) -> None:
    info = DatasetInfo("mine", "My slices")
    covidct.register_dataset(info)
    assert covidct.dataset_info("mine") is info
    dataset = covidct.load_dataset("mine", slice_folder)
    assert dataset.name == "mine"
    assert len(dataset) == 12


CLASSES = (
    {"classes": ("kontrolle", "fall")},
    {"classes": ("Kontrolle", "Fall")},
    {"positive": ("fall",), "negative": ("Kontrolle",)},
)


@pytest.mark.parametrize("facts", CLASSES)
def test_classes_of_ones_own(facts: dict[str, Any], tmp_path: Path) -> None:
    for label in ("andere", "fall", "kontrolle"):
        for patient in ("p1", "p2"):
            (tmp_path / label / patient).mkdir(parents=True)
            Image.new("L", (9, 9)).save(tmp_path / label / patient / "1.png")
    covidct.register_dataset(DatasetInfo("mine", "Mine", **facts))
    dataset = covidct.load_dataset("mine", tmp_path)
    assert dataset.classes == ("kontrolle", "fall")
    assert dataset.labels.tolist() == ["fall", "fall", "kontrolle", "kontrolle"]
    assert dataset.targets.tolist() == [1, 1, 0, 0]
    assert set(dataset.groups) == {"p1", "p2"}
    other = covidct.load_dataset("mine", tmp_path, positive="andere")
    assert other.targets.tolist() == [1, 1, 0, 0, 0, 0]
    per_class = DatasetInfo("mine", "Mine", **facts, ids_per_class=True)
    covidct.register_dataset(per_class, overwrite=True)
    groups = covidct.load_dataset("mine", tmp_path).groups
    assert set(groups) == {"fall/p1", "fall/p2", "kontrolle/p1", "kontrolle/p2"}


@pytest.mark.parametrize("facts", CLASSES)
@pytest.mark.parametrize("label", ["fall", "kontrolle"])
def test_one_class_of_ones_own(facts: dict[str, Any], label: str, tmp_path: Path) -> None:
    (tmp_path / label).mkdir()
    Image.new("L", (9, 9)).save(tmp_path / label / "1.png")
    covidct.register_dataset(DatasetInfo("mine", "Mine", **facts))
    assert covidct.load_dataset("mine", tmp_path).targets.tolist() == [int(label == "fall")]


def test_a_table_with_classes_of_ones_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.new("L", (9, 9)).save(tmp_path / f"{name}.png")
    (tmp_path / "slices.csv").write_text("path,label,patient\na.png,ill,1\nb.png,well,2\n")
    info = DatasetInfo("mine", "Mine", positive=("ill",), loader="covidct.datasets.table:load")
    covidct.register_dataset(info)
    with pytest.raises(ValueError, match="'mine' needs root: the folder of its files"):
        covidct.load_dataset("mine")
    dataset = covidct.load_dataset("mine", tmp_path / "slices.csv")
    assert dataset.targets.tolist() == [1, 0]
    assert dataset.name == "mine"


def test_a_loader_that_passes_options_on(slice_folder: Path) -> None:
    def load(root: Path, **options: Any) -> covidct.CTDataset:
        return covidct.load_dataset("folder", root, **options)

    covidct.register_dataset(DatasetInfo("mine", "Mine", loader=load))
    assert covidct.load_dataset("mine", slice_folder, positive="non-COVID").classes[1] != "COVID"


def test_register_does_not_overwrite_unless_told() -> None:
    info = DatasetInfo("folder", "Another")
    with pytest.raises(ValueError, match=r"'folder' is registered already.*overwrite=True"):
        covidct.register_dataset(info)
    assert covidct.dataset_info("folder").title != "Another"
    covidct.register_dataset(info, overwrite=True)
    assert covidct.dataset_info("folder").title == "Another"


@pytest.mark.parametrize("loader", ["no_such_module:load", "covidct.datasets.folder:unload"])
def test_loader_that_cannot_be_imported(loader: str, tmp_path: Path) -> None:
    covidct.register_dataset(DatasetInfo("mine", "Mine", loader=loader))
    with pytest.raises(ValueError, match=f"loader '{loader}' of dataset 'mine'"):
        covidct.load_dataset("mine", tmp_path)


def test_unknown_option_is_named(slice_folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="folder option 'group'; did you mean 'groups'"):
        covidct.load_dataset("folder", slice_folder, group="x")


def test_options_and_what_is_general_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "import_loader", lambda info: load_nothing)
    covidct.register_dataset(DatasetInfo("mine", "Mine"))
    with pytest.raises(AssertionError) as caught:
        covidct.load_dataset("mine", "here", color="red", verify="names")
    assert caught.value.args == (Path("here"), "red", "names")
    with pytest.raises(UnknownNameError, match="choose from 'color'"):
        covidct.load_dataset("mine", "here", size=3)


@pytest.mark.parametrize(
    ("name", "arguments", "match"),
    [
        ("folder", {}, "'folder' needs root: a folder for each class"),
        ("phantom", {"root": "x"}, "'phantom' takes no root, got 'x'"),
        ("folder", {"root": "x", "download": True}, "'folder' cannot be downloaded"),
        (
            "phantom",
            {"verify": "hash"},
            "verify must be one of 'hashes', 'names', None; got 'hash'",
        ),
        ("phantom", {"on_error": "ignore"}, "on_error must be one of 'raise', 'skip'"),
    ],
)
def test_load_refuses(name: str, arguments: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        covidct.load_dataset(name, **arguments)


def test_raise_does_not_decode(slice_folder: Path) -> None:
    (slice_folder / "COVID" / "slice 2%.png").write_bytes(b"broken")
    assert len(covidct.load_dataset("folder", slice_folder)) == 12


def test_skip_leaves_out_what_cannot_be_read(
    slice_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = (slice_folder / "COVID" / "slice 4%.png").read_bytes()
    (slice_folder / "COVID" / "slice 2%.png").write_bytes(b"broken")
    (slice_folder / "non-COVID" / "slice 3%.png").write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING, logger="covidct"):
        dataset = covidct.load_dataset("folder", slice_folder, on_error="skip")
    bad = ("COVID/slice 2%.png", "non-COVID/slice 3%.png")
    assert len(dataset) == 10
    assert not set(bad) & set(dataset.names)
    assert tuple(name for name, _ in dataset.skipped) == bad
    assert all(Path(name).name in reason for name, reason in dataset.skipped)
    assert "2 of 12 images" in caplog.text
    assert bad[0] in caplog.text
    assert "2 skipped" in repr(dataset)


def test_skip_of_a_sound_dataset_changes_nothing(slice_folder: Path) -> None:
    strict = covidct.load_dataset("folder", slice_folder)
    lenient = covidct.load_dataset("folder", slice_folder, on_error="skip")
    assert lenient.names == strict.names
    assert lenient.skipped == ()


def test_skip_with_nothing_left_is_an_error(slice_folder: Path) -> None:
    for path in slice_folder.rglob("*.png"):
        path.write_bytes(b"broken")
    with pytest.raises(InvalidFileError, match="none of the 12 images"):
        covidct.load_dataset("folder", slice_folder, on_error="skip")


def test_loading_imports_no_torch(slice_folder: Path) -> None:
    code = (
        "import sys, covidct; covidct.list_datasets(); covidct.dataset_info('phantom'); "
        f"covidct.load_dataset('folder', {str(slice_folder)!r}, on_error='skip').content_hash(); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
