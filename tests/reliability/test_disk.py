"""A disk that is full, or refuses: a clear error, nothing finished is lost, the run goes on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize(
    "name", ["checkpoint.pt", "history.csv", "model.safetensors", "predictions.csv", "metrics.json"]
)
@pytest.mark.usefixtures("frequent_checkpoints")
def test_full_disk(name, cross_validate, tmp_path, monkeypatch, undisturbed, same_bits):
    """The disk is full when a file is to be kept for the second time, or at all."""
    run_dir = tmp_path / "run"
    replace, seen = Path.replace, []

    def full(self: Path, target: Path) -> Path:
        seen.extend([target] if target.name == name else [])
        if target.name == name and (len(seen) == 2 or name == "metrics.json"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            cross_validate(run_dir)
    assert Path(caught.value.filename).name == name
    assert not list(run_dir.rglob("*.part"))
    kept = {p: p.stat().st_mtime_ns for p in run_dir.glob("folds/*/predictions.csv")}
    cross_validate(run_dir)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    same_bits(run_dir, undisturbed)


def test_a_file_where_the_folder_should_be(cross_validate, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(FileExistsError, match="run"):
        cross_validate(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "a file"


def test_run_folder_that_cannot_be_written(cross_validate, tmp_path, monkeypatch):
    """Even root, for whom permissions do not count, meets file systems that are read-only."""
    run_dir = tmp_path / "run"
    mkdir = Path.mkdir

    def refuse(self: Path, *args, **options) -> None:
        if self == run_dir:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        mkdir(self, *args, **options)

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match=r"Read-only file system: .*run"):
        cross_validate(run_dir)
