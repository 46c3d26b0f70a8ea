from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covidct import CTDataset
from covidct.errors import InvalidFileError


@pytest.fixture
def paths(slice_folder: Path) -> list[Path]:
    return sorted(slice_folder.rglob("*.png"))


@pytest.fixture
def dataset(paths: list[Path], slice_folder: Path) -> CTDataset:
    return CTDataset(
        paths,
        [1] * 6 + [0] * 6,
        [f"p{i // 3}" for i in range(12)],
        root=slice_folder,
        official_split=["train", "val", "test"] * 4,
    )


def test_attributes(dataset: CTDataset, paths: list[Path]) -> None:
    assert len(dataset) == 12
    assert dataset.paths == tuple(paths)
    assert dataset.targets.dtype == np.int64
    assert dataset.targets.tolist() == [1] * 6 + [0] * 6
    assert dataset.groups.tolist()[::3] == ["p0", "p1", "p2", "p3"]
    assert dataset.official_split.tolist()[:3] == ["train", "val", "test"]
    assert dataset.classes == ("non-COVID", "COVID")
    assert dataset.names[0] == "COVID/slice 0%.png"
    assert dataset.name == "custom"
    assert dataset.skipped == ()
    assert dataset.masks(0) is None


def test_targets_need_no_image(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    dataset = CTDataset([tmp_path / "broken.png"], [1])
    assert dataset.targets.tolist() == [1]
    assert dataset.content_hash()
    with pytest.raises(InvalidFileError, match=r"broken\.png"):
        dataset[0]


def test_item_is_gray_with_a_plain_target(dataset: CTDataset, paths: list[Path]) -> None:
    image, target = dataset[3]
    assert image.mode == "L"
    assert type(target) is int
    assert target == 1
    with Image.open(paths[3]) as stored:
        assert np.array_equal(np.asarray(image), np.asarray(stored))
    last, _ = dataset[np.int64(-1)]
    assert last.size == Image.open(paths[-1]).size


def test_read_keeps_the_mode(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (9, 9, 9, 255)).save(tmp_path / "a.png")
    dataset = CTDataset([tmp_path / "a.png"], [0])
    assert dataset.read(0).mode == "RGBA"
    assert dataset[0][0].mode == "L"


def test_iterates_by_the_sequence_protocol(dataset: CTDataset) -> None:
    assert [target for _, target in dataset] == dataset.targets.tolist()


@pytest.mark.parametrize("index", [12, -13])
def test_index_out_of_range(dataset: CTDataset, index: int) -> None:
    with pytest.raises(IndexError, match=f"{index} is out of range for 12"):
        dataset[index]


@pytest.mark.parametrize("index", [slice(2), "0", 0.5, [0]])
def test_index_must_be_one_integer(dataset: CTDataset, index: object) -> None:
    with pytest.raises(TypeError, match="integer"):
        dataset[index]


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"paths": [], "targets": []}, ValueError, "empty"),
        ({"targets": [0]}, ValueError, "got 1 for 2 paths"),
        ({"targets": [[0, 1]]}, ValueError, r"shape \(1, 2\)"),
        ({"targets": [0, 2]}, ValueError, "0 or 1.* got 2"),
        ({"targets": [0, np.nan]}, ValueError, "got nan"),
        ({"targets": ["COVID", "non-COVID"]}, ValueError, "got 'COVID'"),
        ({"groups": ["a"]}, ValueError, "groups must have one value per path: got 1"),
        ({"groups": ["a", None]}, ValueError, "no value .* for 1 slices, the first at 1"),
        ({"groups": [float("nan"), "a"]}, ValueError, "the first at 0"),
        ({"groups": ["", ""]}, ValueError, "groups has no value .* for 2 slices"),
        ({"official_split": ["train", "valid"]}, ValueError, "got 'valid'"),
        ({"official_split": ["train"]}, ValueError, "official_split must have"),
        ({"classes": ("a", "a")}, ValueError, "two different names"),
        ({"classes": "ab"}, ValueError, "two different names"),
        ({"root": "/elsewhere"}, ValueError, "2 paths are not below root '/elsewhere'"),
    ],
)
def test_refuses(
    paths: list[Path], changes: dict[str, object], error: type[Exception], match: str
) -> None:
    arguments = {"paths": paths[:2], "targets": [0, 1]} | changes
    with pytest.raises(error, match=match):
        CTDataset(**arguments)


def test_refuses_a_single_path(paths: list[Path]) -> None:
    for path in (paths[0], str(paths[0])):
        with pytest.raises(TypeError, match="load_dataset"):
            CTDataset(path, [1])


def test_missing_paths_are_counted_and_named(paths: list[Path], tmp_path: Path) -> None:
    gone = [tmp_path / f"gone{i}.png" for i in range(5)]
    with pytest.raises(FileNotFoundError, match=r"5 of 17 paths.*gone0.*gone1.*gone2.*\.\.\."):
        CTDataset(paths + gone, [1] * 17)


def test_paths_listed_twice_are_reported(paths: list[Path], caplog) -> None:
    CTDataset([*paths, paths[0]], np.arange(len(paths) + 1) % 2)
    assert "1 slices are listed more than once" in caplog.text
    assert paths[0].name in caplog.text


@pytest.mark.parametrize(
    "index",
    [[2, 0, -1], np.array([2, 0, 11], dtype=np.uint8), (2, 0, 11)],
)
def test_subset_by_positions(dataset: CTDataset, index: object) -> None:
    part = dataset.subset(index)
    assert type(part) is CTDataset
    assert part.names == tuple(dataset.names[i] for i in (2, 0, 11))
    assert part.targets.tolist() == [1, 1, 0]
    assert part.groups.tolist() == ["p0", "p0", "p3"]
    assert part.official_split.tolist() == ["test", "train", "test"]
    assert part.read(2).size == dataset.read(11).size
    assert len(dataset) == 12


def test_subset_by_mask_equals_by_positions(dataset: CTDataset) -> None:
    part = dataset.subset(dataset.targets == 0)
    assert part.names == dataset.names[6:]
    assert part.content_hash() == dataset.subset(range(6, 12)).content_hash()


@pytest.mark.parametrize(
    ("index", "error"),
    [
        ([], ValueError),
        ([False] * 12, ValueError),
        ([True, False], IndexError),
        ([12], IndexError),
        ([-13], IndexError),
        ([0.0], TypeError),
        (["a"], TypeError),
        ([[0, 1]], IndexError),
    ],
)
def test_subset_refuses(dataset: CTDataset, index: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        dataset.subset(index)


def test_subclass_keeps_its_kind(dataset: CTDataset, paths: list[Path]) -> None:
    class Special(CTDataset):
        pass

    assert type(Special(paths, dataset.targets).subset([0])) is Special


def test_subclass_without_files() -> None:
    class Drawn(CTDataset):
        def _check_files(self) -> None:
            pass

        def read(self, index: int) -> Image.Image:
            return Image.new("L", (8, 6), index)

    image, target = Drawn([Path("a"), Path("b")], [0, 1])[1]
    assert (image.size, image.getpixel((0, 0)), target) == ((8, 6), 1, 1)


def test_hash_depends_on_content_names_targets_and_order(
    dataset: CTDataset, slice_folder: Path, paths: list[Path]
) -> None:
    reference = dataset.content_hash()
    assert len(reference) == 64
    assert reference == CTDataset(paths, dataset.targets, root=slice_folder).content_hash()
    order = [1, 0, *range(2, 12)]
    others = [
        CTDataset(paths, 1 - dataset.targets, root=slice_folder),
        CTDataset(paths, dataset.targets, root=slice_folder.parent),
        dataset.subset(order),
        dataset.subset(range(11)),
    ]
    hashes = {other.content_hash() for other in others}
    assert len(hashes | {reference}) == 5
    paths[4].write_bytes(paths[4].read_bytes() + b"\0")
    assert dataset.content_hash() == reference, "files are read once per object"
    changed = CTDataset(paths, dataset.targets, root=slice_folder)
    assert changed.content_hash() not in hashes | {reference}


def test_hash_does_not_depend_on_the_place(dataset: CTDataset, tmp_path: Path) -> None:
    shutil.copytree(dataset.root, tmp_path / "moved")
    moved = [tmp_path / "moved" / name for name in dataset.names]
    copy = CTDataset(moved, dataset.targets, root=tmp_path / "moved")
    assert copy.content_hash() == dataset.content_hash()


def test_subset_hash_is_the_same_whether_hashed_before_or_not(
    dataset: CTDataset, paths: list[Path], slice_folder: Path
) -> None:
    fresh = CTDataset(paths, dataset.targets, root=slice_folder).subset([3, 7])
    dataset.content_hash()
    assert dataset.subset([3, 7]).content_hash() == fresh.content_hash()


def test_pickles(dataset: CTDataset) -> None:
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.names == dataset.names
    assert copy.content_hash() == dataset.content_hash()


def test_repr(dataset: CTDataset, paths: list[Path]) -> None:
    assert repr(dataset) == ("CTDataset 'custom': 12 slices (6 COVID, 6 non-COVID), 4 patients")
    other = CTDataset(
        paths[:1], [0], ["x"], name="mine", group_kind="series", skipped=[("bad.png", "why")]
    )
    assert repr(other) == ("CTDataset 'mine': 1 slices (0 COVID, 1 non-COVID), 1 series, 1 skipped")
