from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import covidct
from covidct.datasets import registry
from covidct.errors import InvalidFileError, UnknownNameError


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 6)).save(path)
    return path


def put_groups(root: Path, rows: list[str], *, header: str = "path,group") -> None:
    (root / "groups.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def test_loads_sorted(slice_folder: Path) -> None:
    dataset = covidct.load_dataset("folder", str(slice_folder))
    assert dataset.names[:2] == ("COVID/slice 0%.png", "COVID/slice 1%.png")
    assert dataset.names == tuple(sorted(dataset.names))
    assert dataset.targets.tolist() == [1] * 6 + [0] * 6
    assert dataset.classes == ("non-COVID", "COVID")
    assert dataset.groups is None
    assert dataset.name == "folder"
    assert all(path.is_relative_to(slice_folder) for path in dataset.paths)


def test_the_order_in_which_files_were_written_does_not_matter(
    slice_folder: Path, tmp_path: Path
) -> None:
    first = covidct.load_dataset("folder", slice_folder)
    for seed in range(3):
        copy = tmp_path / f"copy {seed}"
        for i in np.random.default_rng(seed).permutation(len(first)):
            file = copy / first.names[i]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(first.paths[i].read_bytes())
        again = covidct.load_dataset("folder", copy)
        assert again.names == first.names
        assert again.targets.tolist() == first.targets.tolist()
        assert again.content_hash() == first.content_hash()


@pytest.mark.parametrize(
    ("covid", "other"),
    [
        ("COVID", "non-COVID"),
        ("covid-19", "Normal"),
        ("CT_COVID", "CT_NonCOVID"),
        ("Covid 19 positive", "pneumonia"),
        ("SARS-CoV-2", "healthy"),
        ("positive", "negative"),
        ("POS", "neg"),
        ("1", "0"),
        ("yes", "no"),
    ],
)
def test_tells_the_class_by_the_folder(tmp_path: Path, covid: str, other: str) -> None:
    put(tmp_path / covid / "a.png")
    put(tmp_path / other / "a.png")
    dataset = covidct.load_dataset("folder", tmp_path)
    assert dataset.classes == (other, covid)
    assert {
        name.split("/")[0]: int(target)
        for name, target in zip(dataset.names, dataset.targets, strict=True)
    } == {covid: 1, other: 0}


@pytest.mark.parametrize(
    ("first", "second"),
    [("a", "b"), ("1", "2"), ("covid", "covid19"), ("normal", "positive"), ("bonn", "ulm")],
)
def test_unclear_class_needs_positive(tmp_path: Path, first: str, second: str) -> None:
    put(tmp_path / first / "a.png")
    put(tmp_path / second / "a.png")
    with pytest.raises(ValueError, match=f"labels '{first}', '{second}' in .*positive='{first}'"):
        covidct.load_dataset("folder", tmp_path)
    dataset = covidct.load_dataset("folder", tmp_path, positive=second)
    assert dataset.classes == (first, second)
    assert dataset.targets.tolist() == [0, 1]


def test_parts_of_a_set_are_no_classes(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for label in ("COVID", "non-COVID"):
            put(tmp_path / part / label / "a.png")
    with pytest.raises(
        ValueError, match="contains 'COVID', 'non-COVID': give one of them as the root"
    ):
        covidct.load_dataset("folder", tmp_path)
    assert len(covidct.load_dataset("folder", tmp_path / "train")) == 2


def test_sites_are_no_classes(tmp_path: Path) -> None:
    for name in ("A/COVID", "A/Normal", "B/COVID"):
        put(tmp_path / name / "a.png")
    sites = rf"folder@A={re.escape(str(tmp_path / 'A'))} folder@B="
    with pytest.raises(
        ValueError,
        match=rf"contains class folders: 'COVID', 'Normal'\. .*concat .*--dataset {sites}",
    ):
        covidct.load_dataset("folder", tmp_path)
    for name in ("X/p1", "Y/p1", "Y/p2"):  # folders of patients
        put(tmp_path / "patients" / name / "a.png")
    with pytest.raises(ValueError, match=r"several may be named$"):
        covidct.load_dataset("folder", tmp_path / "patients")


def test_the_root_is_a_path(slice_folder: Path) -> None:
    with pytest.raises(TypeError, match=r"'folder' needs a path as root, got a list; .* Data"):
        covidct.load_dataset("folder", [slice_folder])
    with pytest.raises(TypeError, match=r"index must be an integer, got a slice; .* subset"):
        covidct.load_dataset("folder", slice_folder)[0:2]


def test_the_index_of_a_medium_is_no_slice(slice_folder: Path, caplog) -> None:
    (slice_folder / "COVID" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    assert len(covidct.load_dataset("folder", slice_folder)) == 12
    assert "index of a medium (DICOMDIR)" in caplog.text


def test_a_registered_dataset_names_its_classes_and_groups(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    put(tmp_path / "ill" / "a.png")
    put(tmp_path / "well" / "a.png")
    put_groups(tmp_path, ["ill/a.png,s1", "well/a.png,s2"])
    entry = covidct.DatasetInfo("ward-8", "Ward 8", classes=("well", "ill"), group_kind="series")
    covidct.register_dataset(entry)
    dataset = covidct.load_dataset("ward-8", tmp_path)
    assert (dataset.classes, dataset.targets.tolist()) == (("well", "ill"), [1, 0])
    assert dataset.group_kind == "series"


def test_the_home_may_be_a_tilde(slice_folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(slice_folder.parent))
    monkeypatch.setenv("USERPROFILE", str(slice_folder.parent))
    assert len(covidct.load_dataset("folder", f"~/{slice_folder.name}")) == 12


def test_positive_overrules_the_table(slice_folder: Path) -> None:
    dataset = covidct.load_dataset("folder", slice_folder, positive="non-COVID")
    assert dataset.targets.tolist() == [0] * 6 + [1] * 6
    with pytest.raises(UnknownNameError, match="positive label 'COVlD'; did you mean 'COVID'"):
        covidct.load_dataset("folder", slice_folder, positive="COVlD")


def test_recursive_with_many_suffixes(tmp_path: Path) -> None:
    for name in ("a.PNG", "deep/er/b.jpeg", "c.tiff", "deep/d.bmp", "e.webp"):
        put(tmp_path / "covid" / name)
    put(tmp_path / "normal" / "a.png")
    assert len(covidct.load_dataset("folder", tmp_path)) == 6


def test_other_files_are_reported_and_hidden_ones_are_not(
    slice_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("COVID/notes.txt", "COVID/scan.npy", "COVID/.DS_Store", ".git/a.png"):
        path = slice_folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    put(slice_folder / "stray.png")
    (slice_folder / "docs").mkdir()
    (slice_folder / "docs" / "readme.md").write_text("x")
    with caplog.at_level(logging.WARNING, logger="covidct"):
        dataset = covidct.load_dataset("folder", slice_folder)
    assert len(dataset) == 12
    for name in ("notes.txt", "scan.npy", "readme.md", "stray.png"):
        assert name in caplog.text
    assert ".DS_Store" not in caplog.text
    assert ".git" not in caplog.text


@pytest.mark.parametrize("names", [(), ("empty",), ("empty", "notes")])
def test_needs_class_folders(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    if "notes" in names:
        (tmp_path / "notes" / "scan.npy").write_bytes(b"x")
    with pytest.raises(
        FileNotFoundError, match="should contain a folder with slices for each class"
    ):
        covidct.load_dataset("folder", tmp_path)


def test_slices_without_class_folders_are_counted(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="it contains 1 slices, but no folders with slices"):
        covidct.load_dataset("folder", tmp_path)


@pytest.mark.parametrize(("label", "target"), [("COVID", 1), ("Normal", 0)])
def test_one_class_alone_loads(tmp_path: Path, label: str, target: int) -> None:
    put(tmp_path / label / "a.png")
    (tmp_path / "empty").mkdir()
    dataset = covidct.load_dataset("folder", tmp_path)
    assert dataset.targets.tolist() == [target]
    assert dataset.labels.tolist() == [label]


@pytest.mark.parametrize(
    ("options", "targets", "classes"),
    [
        ({}, [0, 1, 0], ("non-COVID", "COVID")),
        ({"positive": "COVID", "negative": "Normal"}, [1, 0], ("Normal", "COVID")),
        ({"positive": ["COVID", "CAP"]}, [1, 1, 0], ("Normal", "COVID")),
        ({"positive": "CAP", "negative": ["Normal"]}, [1, 0], ("Normal", "CAP")),
    ],
)
def test_three_classes(
    tmp_path: Path, options: dict[str, object], targets: list[int], classes: tuple[str, str]
) -> None:
    for label in ("CAP", "COVID", "Normal"):
        put(tmp_path / label / "a.png")
    dataset = covidct.load_dataset("folder", tmp_path, **options)
    assert dataset.targets.tolist() == targets
    assert dataset.classes == classes
    assert dataset.table["label"].tolist() == [name.split("/")[0] for name in dataset.names]


def test_a_registered_dataset_chooses_among_folders(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    for label in ("CAP", "COVID", "Normal"):
        put(tmp_path / label / "a.png")
    covidct.register_dataset(covidct.DatasetInfo("three", "Three", classes=("Normal", "COVID")))
    dataset = covidct.load_dataset("three", tmp_path)
    assert dataset.labels.tolist() == ["COVID", "Normal"]
    assert "1 of 'CAP'" in caplog.text


@pytest.mark.parametrize("layout", ["folders", "names"])
def test_masks_are_not_slices(tmp_path: Path, layout: str, caplog) -> None:
    rng = np.random.default_rng(0)
    for label in ("COVID", "Normal"):
        for i in range(3):
            slice_, mask = {
                "folders": (f"images/{i}.png", f"masks/{i}.png"),
                "names": (f"case ({i}).png", f"case ({i})_mask.png"),
            }[layout]
            pixels = rng.integers(0, 256, (6, 8), np.uint8)
            for name, values in ((slice_, pixels), (mask, (pixels > 99) * np.uint8(255))):
                path = put(tmp_path / label / name)
                Image.fromarray(values).save(path)
    dataset = covidct.load_dataset("folder", tmp_path)
    assert len(dataset) == len(dataset.skipped) == 6
    assert not any("mask" in name for name in dataset.names)
    assert "6 of 12 files are masks" in caplog.text
    assert dataset.groups is None


def test_slices_named_as_masks_stay(tmp_path: Path) -> None:
    put(tmp_path / "COVID" / "mask wearer 1.png")
    put(tmp_path / "Normal" / "2.png")
    assert len(covidct.load_dataset("folder", tmp_path)) == 2


def test_root_must_be_a_folder(tmp_path: Path) -> None:
    for root in (tmp_path / "gone", put(tmp_path / "a.png")):
        with pytest.raises(FileNotFoundError, match=f"{root.name}' is not a folder"):
            covidct.load_dataset("folder", root)


def test_links_are_followed_and_loops_end(slice_folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    put(elsewhere / "z.png")
    (slice_folder / "COVID" / "loop").symlink_to(slice_folder, target_is_directory=True)
    (slice_folder / "COVID" / "self").symlink_to(".", target_is_directory=True)
    (slice_folder / "COVID" / "more").symlink_to(elsewhere, target_is_directory=True)
    dataset = covidct.load_dataset("folder", slice_folder / "COVID" / "loop")
    assert "COVID/more/z.png" in dataset.names
    assert sum(name.startswith("non-COVID/") for name in dataset.names) == 6


def test_broken_link_is_no_slice_that_may_vanish(slice_folder: Path) -> None:
    (slice_folder / "COVID" / "gone.png").symlink_to(slice_folder / "nowhere.png")
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        covidct.load_dataset("folder", slice_folder)


def test_a_pipe_does_not_hang(slice_folder: Path) -> None:
    os.mkfifo(slice_folder / "COVID" / "pipe")
    os.mkfifo(slice_folder / "COVID" / "pipe.png")
    with pytest.raises(FileNotFoundError, match=r"pipe\.png"):
        covidct.load_dataset("folder", slice_folder)


def test_groups(slice_folder: Path) -> None:
    names = covidct.load_dataset("folder", slice_folder).names
    rows = [f'"{name}", patient {i // 3} ' for i, name in enumerate(names)]
    put_groups(slice_folder, rows[::-1], header="\ufeffpath,group")
    dataset = covidct.load_dataset("folder", slice_folder)
    assert dataset.groups.tolist() == [f"patient {i // 3}" for i in range(12)]
    assert repr(dataset).endswith("4 patients")


def test_groups_from_elsewhere(slice_folder: Path, tmp_path: Path) -> None:
    names = covidct.load_dataset("folder", slice_folder).names
    put_groups(tmp_path, [f"{name},x,unused" for name in names], header="path,group,note")
    dataset = covidct.load_dataset("folder", slice_folder, groups=tmp_path / "groups.csv")
    assert set(dataset.groups) == {"x"}
    with pytest.raises(FileNotFoundError, match="gone"):
        covidct.load_dataset("folder", slice_folder, groups=tmp_path / "gone.csv")


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda rows: rows[1:], r"1 slices that are not listed: 'COVID/slice 0%\.png'"),
        (lambda rows: [*rows, rows[0]], "1 listed twice"),
        (
            lambda rows: [*rows, "COVID/gone.png,x"],
            r"1 listed, but not among the slices: 'COVID/gone\.png'",
        ),
        (lambda rows: ["COVID/slice 0%.png, ", *rows[1:]], "names no group for"),
        (lambda rows: ["COVID/slice 0%.png", *rows[1:]], "names no group for"),
    ],
)
def test_groups_must_match(slice_folder: Path, edit: object, match: str) -> None:
    names = covidct.load_dataset("folder", slice_folder).names
    put_groups(slice_folder, edit([f"{name},x" for name in names]))
    with pytest.raises(InvalidFileError, match=match):
        covidct.load_dataset("folder", slice_folder)


def test_groups_need_their_columns(slice_folder: Path) -> None:
    put_groups(slice_folder, ["a.png,x"], header="path,patient")
    with pytest.raises(InvalidFileError, match="lacks the column group; it has 'path', 'patient'"):
        covidct.load_dataset("folder", slice_folder)
    (slice_folder / "groups.csv").write_bytes(b"")
    with pytest.raises(InvalidFileError, match="cannot be read as a table"):
        covidct.load_dataset("folder", slice_folder)


def test_groups_written_on_windows(slice_folder: Path) -> None:
    names = covidct.load_dataset("folder", slice_folder).names
    rows = [name.replace("/", "\\") + f";p{i // 2}" for i, name in enumerate(names)]
    text = "\r\n".join(["path;group", *rows])
    (slice_folder / "groups.csv").write_bytes(text.encode("cp1252"))
    assert covidct.load_dataset("folder", slice_folder).groups.tolist() == [
        f"p{i // 2}" for i in range(12)
    ]


def test_groups_may_name_folders(tmp_path: Path) -> None:
    for name in ("COVID/a/1.png", "COVID/a/2.png", "Normal/b/1.png"):
        put(tmp_path / name)
    put_groups(tmp_path, ["COVID/a,p1", "Normal/b,p2"])
    assert covidct.load_dataset("folder", tmp_path).groups.tolist() == ["p1", "p1", "p2"]


def test_a_folder_per_patient(tmp_path: Path, caplog) -> None:
    for name in ("COVID/p1/1.png", "COVID/p1/2.png", "COVID/p2/1.png", "Normal/p3/deep/1.png"):
        put(tmp_path / name)
    with caplog.at_level(logging.INFO, logger="covidct"):
        dataset = covidct.load_dataset("folder", tmp_path)
    assert dataset.groups.tolist() == ["p1", "p1", "p2", "p3"]
    assert "groups by folder" in caplog.text
    assert covidct.load_dataset("folder", tmp_path, groups=None).groups is None
    assert covidct.load_dataset("folder", tmp_path, groups="folder").groups is not None


def test_a_patient_in_both_classes_is_reported(tmp_path: Path, caplog) -> None:
    for name in ("COVID/p1/1.png", "Normal/p1/1.png", "Normal/p2/1.png"):
        put(tmp_path / name)
    dataset = covidct.load_dataset("folder", tmp_path)
    assert dataset.groups.tolist() == ["p1", "p1", "p2"]
    assert "1 of 2 patients have slices of several classes: 'p1'" in caplog.text


@pytest.mark.parametrize(
    "names",
    [
        ("COVID/1.png", "COVID/p1/2.png", "Normal/p2/1.png"),  # not all in folders
        ("COVID/images/1.png", "Normal/images/1.png"),
        ("COVID/train/1.png", "COVID/test/1.png", "Normal/train/1.png"),
    ],
)
def test_folders_that_are_not_patients(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        put(tmp_path / name)
    assert covidct.load_dataset("folder", tmp_path).groups is None
    with pytest.raises(ValueError, match="groups='folder' cannot be used"):
        covidct.load_dataset("folder", tmp_path, groups="folder")


@pytest.mark.parametrize("slices", ["lungs", "labelled", (3,), (5, 2), (-1, 2), ("a", "b"), None])
def test_a_wrong_choice_of_slices(slice_folder: Path, slices: object) -> None:
    with pytest.raises(ValueError, match="slices"):
        covidct.load_dataset("folder", slice_folder, slices=slices)


def test_phantoms_come_back_as_they_were_saved(phantoms: covidct.CTDataset, tmp_path: Path) -> None:
    part = phantoms.subset(range(6))
    part.save(tmp_path)
    dataset = covidct.load_dataset("folder", tmp_path)
    order = [dataset.names.index(name) for name in part.names]
    again = dataset.subset(order)
    assert again.targets.tolist() == part.targets.tolist()
    assert again.groups.tolist() == part.groups.tolist()
    assert np.array_equal(np.asarray(again.read(0)), np.asarray(part.read(0)))


def test_class_folders_in_two_spellings_are_one_class(tmp_path: Path) -> None:
    for name in ("COVID/1.png", "covid/2.png", "normal/3.png"):
        put(tmp_path / name)
    dataset = covidct.load_dataset("folder", tmp_path, positive="COVID")
    assert sorted(dataset.targets.tolist()) == [0, 1, 1]


def test_an_empty_class_folder_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path / "COVID/1.png")
    (tmp_path / "normal").mkdir()
    covidct.load_dataset("folder", tmp_path)
    assert "no slices were found in its folders 'normal'" in caplog.text


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir/SYNOPHOTO_THUMB_M.jpg",
        "COVID/@eaDir/1.jpg",
        "$RECYCLE.BIN/1.png",
        "System Volume Information/1.png",
        "lost+found/1.png",
        "COVID/thumbs.db",
    ],
)
def test_files_of_the_system_are_neither_classes_nor_slices(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    for path in ("COVID/1.png", "normal/1.png", f"{name}.png"):
        put(tmp_path / path)
    (tmp_path / f"{name}.png").rename(tmp_path / name)
    dataset = covidct.load_dataset("folder", tmp_path)
    assert dataset.names == ("COVID/1.png", "normal/1.png")
    assert not caplog.text


def test_a_link_back_up_the_tree_is_no_class(tmp_path: Path) -> None:
    for name in ("COVID/1.png", "normal/1.png"):
        put(tmp_path / name)
    (tmp_path / "again").symlink_to(tmp_path)
    assert len(covidct.load_dataset("folder", tmp_path)) == 2
