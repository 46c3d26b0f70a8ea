from __future__ import annotations

import logging
import re
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import covidct
from covidct.errors import InvalidFileError, UnknownNameError

ROWS = (
    ("a.png", "COVID-19", "p1", "train", "north"),
    ("b.png", "CAP", "p2", "train", "south"),
    ("c.png", "Normal", "p3", "test", "south"),
    ("d.png", "COVID-19", "p4", "test", "north"),
)
HEADER = "filename,finding,patientid,split,site"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for i, (name, *_) in enumerate(ROWS):
        Image.new("L", (8, 6), i).save(folder / name)
    return folder


def put(images: Path, rows: list[str], *, header: str = HEADER) -> Path:
    path = images.parent / "slices.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def lines() -> list[str]:
    return [",".join(row) for row in ROWS]


def test_loads_in_the_tables_order(images: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="covidct"):
        dataset = covidct.load_dataset("table", put(images, lines()[::-1]), images=images)
    assert dataset.names == ("d.png", "c.png", "b.png", "a.png")
    assert dataset.targets.tolist() == [1, 0, 0, 1]
    assert dataset.labels.tolist() == ["COVID-19", "Normal", "CAP", "COVID-19"]
    assert dataset.groups.tolist() == ["p4", "p3", "p2", "p1"]
    assert dataset.official_split.tolist() == ["test", "test", "train", "train"]
    assert dataset.sources.tolist() == ["north", "south", "south", "north"]
    assert "path=filename, label=finding, group=patientid, split=split, source=site" in caplog.text


def test_the_tables_own_columns_are_kept(images: Path) -> None:
    rows = [f"{line},{age}" for line, age in zip(lines(), (31, 45, 62, 70), strict=True)]
    dataset = covidct.load_dataset(
        "table", put(images, rows, header=HEADER + ",age"), images=images
    )
    table = dataset.subset([2, 0]).table
    assert table["age"].tolist() == ["62", "31"]
    assert table["finding"].tolist() == ["Normal", "COVID-19"]
    assert table["source"].tolist() == ["south", "north"]


def test_a_data_frame_and_columns_by_name(images: Path) -> None:
    frame = pd.DataFrame({"img": ["b", "a"], "covid": [0, 1], "age": [40, 50]})
    dataset = covidct.load_dataset(
        "table", frame, images=images, columns={"path": "img", "label": "covid"}, positive=1
    )
    assert dataset.names == ("b.png", "a.png")
    assert dataset.targets.tolist() == [0, 1]
    assert dataset.groups is None
    assert dataset.table["age"].tolist() == [40, 50]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_of_windows(images: Path, encoding: str, separator: str) -> None:
    Image.new("L", (8, 6)).save(images / unicodedata.normalize("NFD", "é.png"))
    rows = ["filename,finding", "images\\a.png,COVID-19", "images\\é.png,Normal"]
    path = images.parent / "slices.csv"
    path.write_bytes("\r\n".join(rows).replace(",", separator).encode(encoding))
    dataset = covidct.load_dataset("table", path)
    assert dataset.targets.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda rows: [*rows, "gone.png,CAP,p5,test,north"], "1 listed files are not in .*gone"),
        (lambda rows: [*rows, "a.png,CAP,p1,train,north"], "1 files .* several labels: 'a.png'"),
    ],
)
def test_tables_that_do_not_match(images: Path, edit: object, match: str, caplog) -> None:
    path = put(images, edit(lines()))
    with pytest.raises(InvalidFileError, match=match):
        covidct.load_dataset("table", path, images=images)
    dataset = covidct.load_dataset("table", path, images=images, on_error="skip")
    assert len(dataset) in (3, 4)
    assert dataset.skipped
    assert "are left out" in caplog.text


@pytest.mark.parametrize(
    ("edit", "slices", "match"),
    [
        (lambda rows: rows[1:], 3, "1 slices in .* are not in .*: 'a.png'"),
        (lambda rows: [*rows, rows[0]], 4, "1 rows .* repeat another row"),
        (
            lambda rows: [*rows, "a.png,COVID-19,p9,train,north"],
            4,
            "only the first is used: 'a.png'",
        ),
        (lambda rows: [*rows, "e.png,,p9,train,north"], 4, "1 rows .* no path or no label"),
        (lambda rows: [rows[0].replace("p1", "p4"), *rows[1:]], 4, "1 of 3 patients .* parts"),
        (lambda rows: [rows[0].replace("p1", ""), *rows[1:]], 4, "patients are unknown"),
    ],
)
def test_doubts_are_reported(images: Path, edit: object, slices: int, match: str, caplog) -> None:
    dataset = covidct.load_dataset("table", put(images, edit(lines())), images=images)
    assert len(dataset) == slices
    assert any(re.search(match, message) for message in caplog.messages)


@pytest.mark.parametrize(
    ("options", "header", "error", "match"),
    [
        ({"columns": {"path": "file"}}, HEADER, UnknownNameError, "'file'.*'filename'"),
        ({"columns": {"paht": "filename"}}, HEADER, UnknownNameError, "did you mean 'path'"),
        ({}, "x,finding,patientid,split,site", InvalidFileError, "no column for 'path'"),
        ({}, "filename,x,patientid,split,site", InvalidFileError, "no column for 'label'"),
        ({"columns": {"split": "site"}}, HEADER, ValueError, "must contain train, val or test"),
        ({"images": "/nowhere"}, HEADER, FileNotFoundError, "'/nowhere' is not a folder"),
        ({"positive": "covid"}, HEADER, UnknownNameError, "positive label 'covid'"),
    ],
)
def test_refuses(
    images: Path, options: dict[str, object], header: str, error: type[Exception], match: str
) -> None:
    path = put(images, lines(), header=header)
    with pytest.raises(error, match=match):
        covidct.load_dataset("table", path, **{"images": images} | options)


def test_a_table_must_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a file"):
        covidct.load_dataset("table", tmp_path / "gone.csv")
    with pytest.raises(ValueError, match="needs images"):
        covidct.load_dataset("table", pd.DataFrame({"path": ["a"], "label": ["b"]}))


def test_a_chosen_frame_of_a_volume(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="needs the extra volumes")
    rng = np.random.default_rng(0)
    for name in ("covid", "normal"):
        voxels = rng.normal(-600, 200, (5, 24, 32)).astype(np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / f"{name}.nii.gz"))
    frame = pd.DataFrame(
        {
            "path": ["covid", "covid", "normal"],
            "label": ["COVID", "COVID", "Normal"],
            "slice": [1, 3, 2],
        }
    )
    dataset = covidct.load_dataset("table", frame, images=tmp_path)
    assert dataset.frames.tolist() == [1, 3, 2]
    assert dataset.names == ("covid.nii.gz#1", "covid.nii.gz#3", "normal.nii.gz#2")
    whole = covidct.load_dataset("table", frame.iloc[1:, :2], images=tmp_path, slices="all")
    assert len(whole) == 10
    assert whole.volumes.tolist() == ["covid.nii.gz"] * 5 + ["normal.nii.gz"] * 5


def test_spellings_do_not_turn_a_label_negative(images: Path) -> None:
    rows = ["a.png,COVID,p1", "b.png,covid ,p2", "c.png,Normal,p3", "d.png,normal,p4"]
    path = put(images, rows, header="filename,finding,patientid")
    dataset = covidct.load_dataset("table", path, images=images, positive="COVID")
    assert dataset.targets.tolist() == [1, 1, 0, 0]
    assert dataset.labels.tolist() == ["COVID", "COVID", "Normal", "Normal"]


@pytest.mark.parametrize("patients", ["P1,p1,P2,P3", "007,7,8,9", "P1,P 1,P2,P3"])
def test_patients_with_names_alike_are_reported(
    images: Path, caplog: pytest.LogCaptureFixture, patients: str
) -> None:
    names = ("a.png,COVID", "b.png,CAP", "c.png,CAP", "d.png,COVID")
    rows = [f"{name},{patient}" for name, patient in zip(names, patients.split(","), strict=True)]
    path = put(images, rows, header="filename,finding,patientid")
    dataset = covidct.load_dataset("table", path, images=images)
    assert len(set(dataset.groups)) == 4
    assert "2 patients have names like those of another" in caplog.text


def test_whole_numbers_written_with_a_point_are_one_patient(images: Path) -> None:
    rows = ["a.png,1.0,12.0", "b.png,0.0,12", "c.png,0.0,13", "d.png,1.0,14"]
    path = put(images, rows, header="filename,finding,patientid")
    dataset = covidct.load_dataset("table", path, images=images)
    assert dataset.targets.tolist() == [1, 0, 0, 1]
    assert dataset.groups.tolist() == ["12", "12", "13", "14"]


def test_a_column_of_a_frame_that_is_there_twice(images: Path) -> None:
    table = pd.DataFrame([["a.png", "COVID", "CAP"]], columns=["path", "label", "label"])
    with pytest.raises(InvalidFileError, match="column 'label' twice"):
        covidct.load_dataset("table", table, images=images)


def frame_of(images: Path, *, absolute: bool = False) -> pd.DataFrame:
    table = pd.DataFrame(ROWS, columns=HEADER.split(","))
    if absolute:
        table["filename"] = [images / name for name in table["filename"]]
    return table


def test_absolute_paths_of_a_frame_need_no_folder(images: Path) -> None:
    table = frame_of(images, absolute=True)
    (images / "sub").mkdir()
    for folder in (images.parent, images / "sub"):  # not in the table, and not read
        (folder / "a.png").write_bytes(b"broken")
    (images / "b.png").rename(images / "sub" / "b.png")
    table.loc[1, "filename"] = images / "sub" / "b.png"
    dataset = covidct.load_dataset("table", table)
    assert [dataset[i][0].getpixel((0, 0)) for i in range(4)] == [0, 1, 2, 3]
    assert dataset.paths[1] == images / "sub" / "b.png"

    table.loc[2, "filename"] = images / "e.png"
    with pytest.raises(InvalidFileError, match=r"1 listed files are not in .*e\.png'"):
        covidct.load_dataset("table", table)
    assert len(covidct.load_dataset("table", table, on_error="skip")) == 3
    table.loc[2, "filename"] = "c.png"
    with pytest.raises(ValueError, match=r"needs images, the folder .* unless all of them are abs"):
        covidct.load_dataset("table", table)


def test_named_index_levels_are_columns(images: Path) -> None:
    table = frame_of(images).set_index(["patientid", "filename"])
    dataset = covidct.load_dataset("table", table, images=images)
    assert dataset.names == ("a.png", "b.png", "c.png", "d.png")
    assert dataset.groups.tolist() == ["p1", "p2", "p3", "p4"]
    clash = frame_of(images)
    clash.index = pd.Index(["x", "y", "z", "w"], name="filename")
    assert covidct.load_dataset("table", clash, images=images).names == dataset.names


def test_a_table_of_another_kind_is_named(images: Path) -> None:
    records = frame_of(images).to_dict("records")
    with pytest.raises(TypeError, match=r"DataFrame, got a builtins\.list; convert it with pandas"):
        covidct.load_dataset("table", records, images=images)


def test_a_compressed_table(images: Path) -> None:
    path = images.parent / "slices.csv.gz"
    frame_of(images).to_csv(path, index=False)
    assert len(covidct.load_dataset("table", path, images=images)) == 4
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(InvalidFileError, match=r"csv\.gz' cannot be read as a table \(its gzip"):
        covidct.load_dataset("table", path, images=images)
    (images.parent / "slices.json").write_text(frame_of(images).to_json(orient="records"))
    with pytest.raises(InvalidFileError, match=r"it is JSON\); save it as CSV"):
        covidct.load_dataset("table", images.parent / "slices.json", images=images)


def test_an_empty_split_is_named(images: Path) -> None:
    rows = [*lines()[:3], "d.png,COVID-19,p4,,north"]
    with pytest.raises(ValueError, match=r"empty for 1 slices, such as .*d\.png"):
        covidct.load_dataset("table", put(images, rows), images=images)


@pytest.mark.parametrize("wanted", ["4", "-1", "1.5", "abc", ""])
def test_a_slice_that_a_volume_lacks_is_not_lost(tmp_path: Path, wanted: str) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="needs the extra volumes")
    values = np.linspace(-1000, 200, 4 * 20 * 20).reshape(4, 20, 20).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(values), tmp_path / "scan.nii.gz")
    rows = f"scan.nii.gz,COVID,1\nscan.nii.gz,COVID,{wanted}\n"
    (tmp_path / "t.csv").write_text(f"path,label,slice\n{rows}")
    told = wanted or "no slice"
    with pytest.raises(InvalidFileError, match=rf"slice that the file lacks .*{told} of scan"):
        covidct.load_dataset("table", tmp_path / "t.csv")
    dataset = covidct.load_dataset("table", tmp_path / "t.csv", on_error="skip")
    assert dataset.frames.tolist() == [1]
    assert ("scan.nii.gz", "no such slice in the file") in dataset.skipped
