"""Hashes of files: computed once, and again for every file that may have changed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from covidct.datasets import _hashes as module
from covidct.datasets._hashes import sha256_of_files


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    files = [tmp_path / "files" / part / f"{i}.png" for part in "ab" for i in range(3)]
    for i, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes([i]) * 100)
    return files


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were read, by a clock that runs an hour ahead: no file is young."""
    reads: list[Path] = []
    read, clock = module.sha256_of_file, module.time.time_ns
    monkeypatch.setattr(module, "sha256_of_file", lambda path: (reads.append(path), read(path))[1])
    monkeypatch.setattr(module.time, "time_ns", lambda: clock() + 3600 * 10**9)
    return reads


def expected(files: list[Path]) -> list[str]:
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def test_every_file_is_read_once(files: list[Path], reads: list[Path], cache: Path) -> None:
    assert sha256_of_files(files) == expected(files)
    assert sorted(reads) == files
    reads.clear()
    assert sha256_of_files(files[::-1]) == expected(files)[::-1]
    assert not reads
    assert len(list((cache / "hashes").iterdir())) == 1


def test_changed_files_are_read_again(files: list[Path], reads: list[Path]) -> None:
    sha256_of_files(files)
    reads.clear()
    before = files[1].stat()
    files[0].write_bytes(b"longer" * 100)
    files[1].write_bytes(b"x" * 100)  # of the same size, and with the old time of modification
    os.utime(files[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert sha256_of_files(files) == expected(files)
    assert sorted(reads) == files[:2]


def test_young_files_are_read_every_time(
    files: list[Path], reads: list[Path], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("COVIDCT_CACHE", str(cache))
    sha256_of_files(files)
    files[0].write_bytes(b"x" * 100)
    assert sha256_of_files(files) == expected(files)
    assert not (cache / "hashes").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": [1, 2, 3]}', "\0"])
def test_a_damaged_cache_is_ignored(
    files: list[Path], reads: list[Path], cache: Path, text: str
) -> None:
    sha256_of_files(files)
    (kept,) = (cache / "hashes").iterdir()
    intact = json.loads(kept.read_text())
    kept.write_text(text)
    assert sha256_of_files(files) == expected(files)
    assert json.loads(kept.read_text()) == intact


def test_may_be_switched_off(
    files: list[Path], reads: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDCT_CACHE_HASHES", "0")
    for _ in range(2):
        assert sha256_of_files(files) == expected(files)
    assert len(reads) == 12
    assert not (cache / "hashes").exists()


def test_a_cache_that_cannot_be_written_costs_time_only(
    files: list[Path], reads: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blocked").touch()
    monkeypatch.setenv("COVIDCT_CACHE", str(tmp_path / "blocked"))
    assert sha256_of_files(files) == expected(files)


def test_missing_files(files: list[Path], reads: list[Path]) -> None:
    with pytest.raises(FileNotFoundError, match=r"c\.png"):
        sha256_of_files([*files, files[0].with_name("c.png")])
    assert sha256_of_files([]) == []
