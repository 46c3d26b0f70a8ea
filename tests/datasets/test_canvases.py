"""Canvases: the right pixels, made once, whatever happens to the cache meanwhile."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import joblib
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from torchvision.transforms import v2

import covidct
from covidct.datasets import canvases as module
from covidct.datasets.canvases import (
    cached_canvases,
    clear_canvases,
    make_canvases,
    to_canvas,
)
from covidct.datasets.gray import to_grayscale
from covidct.errors import InvalidFileError, UnknownNameError
from covidct.transforms import AspectPreservingPad

SIZE = (30, 40)
MODES = ("L", "RGB", "RGBA", "P", "1", "F")
forks = pytest.mark.skipif(sys.platform != "linux", reason="starts processes by forking")


def picture(seed: int) -> Image.Image:
    """A random picture; sizes and modes take turns."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (20 + seed % 31, 50 - seed % 23), dtype=np.uint8)
    return Image.fromarray(pixels).convert(MODES[seed % len(MODES)])


class Slices:
    """The least that canvases can be made of; it counts what is read."""

    def __init__(self, images: Sequence[Image.Image]) -> None:
        self.images = images
        self.names = [f"slice {i}.png" for i in range(len(images))]
        self.reads: list[int] = []

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> Image.Image:
        self.reads.append(index)
        return self.images[index]

    def content_hash(self) -> str:
        total = hashlib.sha256()
        for image in self.images:
            total.update(f"{image.mode} {image.size}".encode() + image.tobytes())
        return total.hexdigest()


@pytest.fixture
def slices() -> Slices:
    return Slices([picture(i) for i in range(7)])


def expected(images: Sequence[Image.Image], size: tuple[int, int] = SIZE) -> np.ndarray:
    pad = AspectPreservingPad(size)
    return np.stack([np.asarray(pad(to_grayscale(image))) for image in images])


def files(cache: Path, pattern: str = "*.npy") -> list[Path]:
    return sorted((cache / "canvases").glob(pattern))


def leftovers(cache: Path) -> list[Path]:
    """All but finished canvases and locks, hidden files too."""
    kept = {".npy", ".lock"}
    return [path for path in (cache / "canvases").iterdir() if path.suffix not in kept]


def put_an_archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, canvases=np.zeros((7, *SIZE), np.uint8))


class TestToCanvas:
    @pytest.mark.parametrize("size", [(30, 40), (1, 1), (7, 200), (253, 349)])
    def test_is_the_padded_gray_slice(self, size: tuple[int, int]) -> None:
        for seed in range(len(MODES)):
            canvas = to_canvas(picture(seed), size)
            assert canvas.dtype == np.uint8
            np.testing.assert_array_equal(canvas, expected([picture(seed)], size)[0])

    def test_stretch_ignores_the_aspect_ratio(self) -> None:
        image = Image.new("L", (10, 50), 90)
        assert (to_canvas(image, SIZE, resize="stretch") == 90).all()
        assert (to_canvas(image, SIZE) == 0).any()
        stretched = v2.Resize(SIZE)(to_grayscale(picture(1)))
        np.testing.assert_array_equal(
            to_canvas(picture(1), SIZE, resize="stretch"), np.asarray(stretched)
        )

    def test_downscaling_averages(self) -> None:
        stripes = np.zeros((64, 64), np.uint8)
        stripes[:, ::2] = 255
        for resize in module.RESIZES:
            canvas = to_canvas(Image.fromarray(stripes), (16, 16), resize=resize)
            assert np.abs(canvas.astype(int) - 127).max() < 20

    @pytest.mark.parametrize("size", [(0, 5), 224, (1.5, 2)])
    def test_refuses_a_bad_size(self, size: object) -> None:
        with pytest.raises(ValueError, match="size must be two positive integers"):
            to_canvas(picture(0), size, resize="stretch")

    def test_refuses_an_unknown_resize(self) -> None:
        with pytest.raises(UnknownNameError, match=r"unknown resize 'pads'; did you mean 'pad'\?"):
            to_canvas(picture(0), SIZE, resize="pads")


class TestMakeCanvases:
    def test_holds_every_slice_in_order(self, slices: Slices) -> None:
        made = make_canvases(slices, SIZE)
        assert isinstance(made, np.memmap)
        assert made.dtype == np.uint8
        assert not made.flags.writeable
        np.testing.assert_array_equal(made, expected(slices.images))
        assert sorted(slices.reads) == list(range(7))

    @pytest.mark.parametrize("n_jobs", [1, 2, 5, -1, None])
    def test_any_number_of_threads(self, n_jobs: int | None) -> None:
        many = Slices([picture(i) for i in range(2 * module._BLOCK + 3)])
        np.testing.assert_array_equal(
            make_canvases(many, SIZE, n_jobs=n_jobs), expected(many.images)
        )

    def test_stretch(self, slices: Slices) -> None:
        made = make_canvases(slices, SIZE, resize="stretch")
        for canvas, image in zip(made, slices.images, strict=True):
            np.testing.assert_array_equal(canvas, to_canvas(image, SIZE, resize="stretch"))

    def test_files_and_phantoms(self, slice_folder: Path, phantoms: covidct.CTDataset) -> None:
        for dataset in (covidct.load_dataset("folder", slice_folder), phantoms):
            images = [dataset.read(i) for i in range(len(dataset))]
            np.testing.assert_array_equal(make_canvases(dataset, SIZE), expected(images))

    def test_within_another_backend(self, slices: Slices) -> None:
        """What cannot be pickled is never sent to another process."""
        slices.lock = threading.Lock()
        with joblib.parallel_config("loky", n_jobs=2):
            made = make_canvases(slices, SIZE)
        np.testing.assert_array_equal(made, expected(slices.images))

    def test_memory_does_not_grow_with_the_dataset(self) -> None:
        n, size = 4 * module._BLOCK, (300, 400)
        many = Slices([Image.new("L", (4, 3))] * n)
        tracemalloc.start()
        try:
            make_canvases(many, size, n_jobs=1)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 1.5 * module._BLOCK * size[0] * size[1]

    def test_is_silent_where_there_is_no_terminal(
        self, slices: Slices, capfd: pytest.CaptureFixture[str]
    ) -> None:
        make_canvases(slices, SIZE)
        assert capfd.readouterr() == ("", "")

    def test_refuses_bad_arguments_before_any_work(self, slices: Slices, cache: Path) -> None:
        with pytest.raises(ValueError, match="size must be two positive integers"):
            make_canvases(slices, 224)
        with pytest.raises(UnknownNameError, match="unknown resize 'crop'"):
            make_canvases(slices, SIZE, resize="crop")
        assert not slices.reads
        assert not (cache / "canvases").exists()


class TestCache:
    def test_is_used(self, slices: Slices, cache: Path) -> None:
        first = make_canvases(slices, SIZE)
        assert Path(first.filename).parent == cache / "canvases"
        slices.reads.clear()
        np.testing.assert_array_equal(make_canvases(slices, SIZE), first)
        assert not slices.reads

    def test_is_shared_by_equal_datasets(self, slices: Slices, cache: Path) -> None:
        make_canvases(slices, SIZE)
        twin = Slices(slices.images)
        make_canvases(twin, list(np.array(SIZE)))
        assert not twin.reads
        assert len(files(cache)) == 1

    def test_is_apart_for_all_else(
        self, slices: Slices, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_canvases(slices, SIZE)
        make_canvases(slices, SIZE[::-1])
        make_canvases(slices, SIZE, resize="stretch")
        make_canvases(Slices(slices.images[::-1]), SIZE)
        monkeypatch.setattr(module, "_VERSION", -1)
        make_canvases(slices, SIZE)
        assert len(files(cache)) == 5

    def test_needs_no_lock_to_be_read(
        self, slices: Slices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It may lie on a disk that cannot be written to."""
        first = make_canvases(slices, SIZE)
        monkeypatch.setattr(module, "FileLock", None)
        np.testing.assert_array_equal(make_canvases(slices, SIZE), first)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda path: path.write_bytes(b""),
            lambda path: path.write_bytes(b"not an array"),
            lambda path: path.write_bytes(path.read_bytes()[:-1]),
            lambda path: path.write_bytes(path.read_bytes()[:90]),
            lambda path: path.write_bytes(path.read_bytes() + b"\0"),
            lambda path: np.save(path, np.load(path)[1:]),
            lambda path: np.save(path, np.load(path).astype(np.int8)),
            lambda path: np.save(path, np.load(path).astype(np.float32)),
            lambda path: np.save(path, np.asfortranarray(np.load(path))),
            lambda path: np.save(path, np.array([{}]), allow_pickle=True),
            put_an_archive,
        ],
    )
    def test_is_made_again_when_spoilt(
        self,
        spoil: Callable[[Path], None],
        slices: Slices,
        cache: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        make_canvases(slices, SIZE)
        (path,) = files(cache)
        spoil(path)
        with caplog.at_level(logging.WARNING):
            made = make_canvases(slices, SIZE)
        np.testing.assert_array_equal(made, expected(slices.images))
        assert path.name in caplog.text
        assert len(slices.reads) == 2 * len(slices)
        assert not leftovers(cache)

    def test_old_map_survives_being_replaced(self, slices: Slices, cache: Path) -> None:
        first = make_canvases(slices, SIZE)
        for path in files(cache):
            path.unlink()
        second = make_canvases(slices, SIZE)
        np.testing.assert_array_equal(first, second)


class TestFailures:
    def test_unreadable_file(self, slice_folder: Path, cache: Path) -> None:
        dataset = covidct.load_dataset("folder", slice_folder)
        bad = dataset.paths[4]
        intact = bad.read_bytes()
        bad.write_bytes(intact[:100])
        for n_jobs in (1, 2):
            with pytest.raises(InvalidFileError) as caught:
                make_canvases(dataset, SIZE, n_jobs=n_jobs)
            assert str(bad) in str(caught.value)
            assert not files(cache)
            assert not leftovers(cache)
        bad.write_bytes(intact)
        assert len(make_canvases(covidct.load_dataset("folder", slice_folder), SIZE)) == 12

    def test_source_that_fails_is_not_taken_for_a_full_disk(self, slices: Slices) -> None:
        def read(index: int) -> Image.Image:
            raise OSError(5, "Input/output error")

        slices.read = read
        with pytest.raises(InvalidFileError, match=r"'slice \d\.png' cannot be read: .*output"):
            make_canvases(slices, SIZE)

    def test_cache_that_is_no_folder(
        self, slices: Slices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        blocked = tmp_path / "file"
        blocked.touch()
        monkeypatch.setenv("COVIDCT_CACHE", str(blocked))
        with pytest.raises(OSError, match=r"cannot store 0\.0 MB .*file.*; set COVIDCT_CACHE to a"):
            make_canvases(slices, SIZE)

    @pytest.mark.skipif(sys.platform == "win32", reason="limits file sizes with setrlimit")
    def test_full_disk(self, slices: Slices, cache: Path) -> None:
        import resource

        size = (1000, 1000)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))
        try:
            with pytest.raises(OSError, match=r"cannot store 7\.0 MB of canvases in .*large"):
                make_canvases(slices, size)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert not files(cache)
        assert not leftovers(cache)
        np.testing.assert_array_equal(make_canvases(slices, size), expected(slices.images, size))

    def test_full_disk_is_foreseen(
        self, slices: Slices, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = shutil.disk_usage(cache)._replace(free=8399)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(OSError, match=r"0\.0 MB of canvases in .*0\.0 MB are free.*--clear"):
            make_canvases(slices, SIZE)
        assert not slices.reads
        usage = usage._replace(free=8400)
        assert len(make_canvases(slices, SIZE)) == 7

    def test_interrupt(self, slices: Slices, cache: Path) -> None:
        def read(index: int) -> Image.Image:
            raise KeyboardInterrupt

        slices.read = read
        with pytest.raises(KeyboardInterrupt):
            make_canvases(slices, SIZE, n_jobs=1)
        assert not files(cache)
        assert not leftovers(cache)


class TestListing:
    def test_largest_first(self, slices: Slices, cache: Path) -> None:
        assert cached_canvases() == []
        make_canvases(slices, SIZE)
        make_canvases(slices, (60, 40), resize="stretch")
        (cache / "canvases" / "30x40-pad-other.npy").write_bytes(b"damaged")
        first, second = cached_canvases()
        assert (first.n_slices, first.height, first.width, first.resize) == (7, 60, 40, "stretch")
        assert first.n_bytes == first.path.stat().st_size > second.n_bytes
        assert second.resize == "pad"

    def test_clearing_keeps_maps_and_what_is_being_written(
        self, slices: Slices, cache: Path
    ) -> None:
        made = make_canvases(slices, SIZE)
        folder = cache / "canvases"
        writing, killed = folder / ".a.npy.xyz.part", folder / ".b.npy.xyz.part"
        for path in (writing, killed):
            path.touch()
        with FileLock(folder / "a.lock"):
            (removed,) = clear_canvases()
        assert removed.path == Path(made.filename)
        assert not removed.path.exists()
        assert writing.exists()
        assert not killed.exists()
        np.testing.assert_array_equal(made, expected(slices.images))
        np.testing.assert_array_equal(make_canvases(slices, SIZE), made)


class Tracked(Slices):
    """Notes each read in a file, for several processes to see, and takes its time."""

    def __init__(self, images: Sequence[Image.Image], diary: Path, *, seconds: float) -> None:
        super().__init__(images)
        self.diary, self.seconds = diary, seconds
        diary.touch()

    def read(self, index: int) -> Image.Image:
        with self.diary.open("a") as file:
            file.write(f"{index}\n")
        time.sleep(self.seconds)
        return super().read(index)


class TestSeveralAtOnce:
    def test_threads_make_it_once(self, tmp_path: Path, slices: Slices) -> None:
        slow = Tracked(slices.images, tmp_path / "diary", seconds=0.01)
        threads = [
            threading.Thread(target=make_canvases, args=(slow, SIZE), kwargs={"n_jobs": 1})
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert slow.diary.read_text().split() == [str(i) for i in range(7)]
        np.testing.assert_array_equal(make_canvases(slow, SIZE), expected(slices.images))

    @forks
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_processes_make_it_once(self, tmp_path: Path, slices: Slices) -> None:
        slow = Tracked(slices.images, tmp_path / "diary", seconds=0.01)
        fork = multiprocessing.get_context("fork")
        makers = [
            fork.Process(target=make_canvases, args=(slow, SIZE), kwargs={"n_jobs": 1})
            for _ in range(3)
        ]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join(60)
        assert [maker.exitcode for maker in makers] == [0, 0, 0]
        assert slow.diary.read_text().split() == [str(i) for i in range(7)]
        np.testing.assert_array_equal(make_canvases(slow, SIZE), expected(slices.images))

    @forks
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_killed_maker_leaves_nothing_in_the_way(
        self, tmp_path: Path, slices: Slices, cache: Path
    ) -> None:
        slow = Tracked(slices.images, tmp_path / "diary", seconds=60)
        maker = multiprocessing.get_context("fork").Process(
            target=make_canvases, args=(slow, SIZE), kwargs={"n_jobs": 1}
        )
        maker.start()
        while not slow.diary.read_text():
            time.sleep(0.01)
        os.kill(maker.pid, signal.SIGKILL)
        maker.join(60)
        assert not files(cache)
        assert leftovers(cache)  # a part of a file, under another name
        np.testing.assert_array_equal(make_canvases(slices, SIZE), expected(slices.images))
        assert not leftovers(cache)
