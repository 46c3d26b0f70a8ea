from __future__ import annotations

import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from covidct.datasets.tabular import match_files, read_table
from covidct.errors import InvalidFileError

ROWS = [{"file": "007.png", "finding": "Läsion"}, {"file": "8.png", "finding": "normal"}]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_reads_what_programs_write(tmp_path: Path, separator: str, encoding: str, end: str) -> None:
    path = tmp_path / "table.csv"
    lines = ["file,finding", "007.png,Läsion", "8.png,normal", ""]
    path.write_bytes(end.join(lines).replace(",", separator).encode(encoding))
    assert read_table(path).to_dict("records") == ROWS


def test_reads_excel(tmp_path: Path) -> None:
    pd.DataFrame(ROWS).to_excel(tmp_path / "table.xlsx", index=False)
    assert read_table(tmp_path / "table.xlsx").to_dict("records") == ROWS


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n\0\0", b"a,a\n1,2\n", b'a,b\n"1,2\n3,4', b"a,b\n1,2,3,4\n5"]
)
def test_refuses_what_is_not_a_table(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidFileError, match=r"table\.csv"):
        read_table(path)


FILES = ["covid/a.png", "covid/b.png", "normal/a.png", "normal/ä.png", "scan.nii.gz"]


@pytest.mark.parametrize(
    ("listed", "file"),
    [
        ("covid/a.png", 0),
        ("covid\\a.png", 0),
        ("./covid/a.png", 0),
        ("COVID/A.PNG", 0),
        ("covid/a", 0),
        ("covid/a.jpg", 0),
        ("b.png", 1),
        ("b", 1),
        ("C:\\data\\covid\\a.png", 0),
        ("/elsewhere/normal/a.png", 2),
        (unicodedata.normalize("NFD", "normal/ä.png"), 3),
        ("scan", 4),
        ("scan.nii", 4),
    ],
)
def test_matches_paths_as_people_write_them(listed: str, file: int) -> None:
    match = match_files([listed], FILES)
    assert match.files_of == [[file]]
    assert match.row_of[file] == 0
    assert not match.unknown


@pytest.mark.parametrize("listed", ["a.png", "a", "covid", "", "gone.png", "other/a.png"])
def test_ambiguous_and_missing_paths_match_nothing(listed: str) -> None:
    assert match_files([listed], FILES).unknown == [listed]


def test_folders_match_what_is_below_them() -> None:
    match = match_files(["covid/", "normal"], FILES, folders=True)
    assert match.row_of.tolist() == [0, 0, 1, 1, -1]
    assert match.left == ["scan.nii.gz"]


def test_rows_of_one_file_are_reported() -> None:
    match = match_files(["covid/a.png", "covid\\a.png"], FILES)
    assert match.twice == ["covid\\a.png"]
    assert match.row_of[0] == 0


@pytest.mark.parametrize(
    "text",
    [
        "file|finding\na.png|COVID\n",
        "sep=;\nfile;finding\na.png;COVID\n",
        "file,finding\ra.png,COVID\r",
        "\u200bfile\u00a0,finding\na.png,COVID\n",
    ],
    ids=["vertical bars", "line of Excel", "line ends of old Macs", "invisible characters"],
)
def test_reads_what_other_programs_write(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    assert read_table(path).to_dict("records") == [{"file": "a.png", "finding": "COVID"}]


def test_none_is_a_finding_and_na_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("file,finding\na.png,None\nb.png,NA\nc.png,nan\nd.png,\n")
    assert read_table(path)["finding"].isna().tolist() == [False, True, True, True]
    assert read_table(path)["finding"][0] == "None"


def test_a_comment_above_the_header_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("# exported\nfile,finding\na.png,COVID\n")
    with pytest.raises(InvalidFileError, match="more values than its first line, '# exported'"):
        read_table(path)
