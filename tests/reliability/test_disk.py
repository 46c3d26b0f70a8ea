"""A disk that is full, or refuses: a clear error, nothing finished is lost, the run goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from covidct import _files
from covidct.models import weights
from covidct.runs import out_of_distribution
from covidct.training import checkpoint

resource = pytest.importorskip("resource", reason="starves files with setrlimit")
pytestmark = pytest.mark.timeout(1800)
SIZES = (40, 400, 1000, 3000, 5000, 7000, 9000, 11000)


@contextmanager
def starving(name: str, nth: int) -> Iterator[None]:
    """Let a file grow to ten bytes and no further, from its nth writing on."""
    atomic_path, seen = _files.atomic_path, []

    @contextmanager
    def starved(path: Path, **options) -> Iterator[Path]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        with atomic_path(path, **options) as temporary:
            seen.extend([path] if path.name == name else [])
            if path.name == name and len(seen) >= nth:
                resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
            try:
                yield temporary
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with pytest.MonkeyPatch.context() as patch:
        for module in (_files, weights, out_of_distribution, checkpoint):
            patch.setattr(module, "atomic_path", starved)
        yield


@pytest.mark.parametrize(
    ("name", "nth"),
    [
        *(("run.json", 1), ("checkpoint.pt", 2), ("history.csv", 2), ("reference.safetensors", 2)),
        *(("model.safetensors", 2), ("predictions.csv", 2), ("metrics.json", 1)),
    ],
)
@pytest.mark.usefixtures("frequent_checkpoints")
def test_write_that_fails(name, nth, cross_validate, tmp_path, undisturbed, same_bits):
    """Whoever writes it, PyTorch, safetensors or Python: the error names the file."""
    run_dir = tmp_path / "run"
    with starving(name, nth), pytest.raises(OSError, match=r"too large|disk may be full") as caught:
        cross_validate(run_dir)
    assert Path(caught.value.filename).name == name
    assert not list(run_dir.rglob("*.part"))
    kept = {p: p.stat().st_mtime_ns for p in run_dir.glob("folds/*/predictions.csv")}
    cross_validate(run_dir)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    same_bits(run_dir, undisturbed)


def _may_mount() -> bool:
    unshare = shutil.which("unshare")
    command = [str(unshare), "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return unshare is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not _may_mount(), reason="may not mount file systems")
def test_small_disks(tiny_as_json, tmp_path, undisturbed, same_bits):
    """Run on eight file systems too small for it, go on when they have grown, then read-only."""
    (tmp_path / "mount").mkdir()
    script = str(Path(__file__).with_name("small_disk.py"))
    command = ["unshare", "-rm", sys.executable, script, tiny_as_json, str(tmp_path / "mount")]
    printed = subprocess.run(
        [*command, str(tmp_path), *map(str, SIZES)], stdout=subprocess.PIPE, check=True, text=True
    ).stdout
    codes = dict(map(json.loads, printed.splitlines()))
    for size in map(str, SIZES):
        assert codes[size] == [1, 0, 1]
        full, read_only = (
            (tmp_path / f"{size}.{state}.log").read_text() for state in ("full", "read-only")
        )
        assert "No space left on device" in full or "the disk may be full" in full
        assert f"{tmp_path}/mount/run" in full
        assert "Read-only file system: the folder of a run must be writable;" in read_only
        assert "Traceback" not in full + read_only
        same_bits(tmp_path / size, undisturbed)


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
    with pytest.raises(
        OSError, match=r"Read-only file system: the folder of a run must be writable; .*run'"
    ) as caught:
        cross_validate(run_dir)
    assert caught.value.filename == str(run_dir)
