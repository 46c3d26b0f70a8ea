"""Slices from memory and from PyTorch, and back."""

from __future__ import annotations

import copy
import gc
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset, TensorDataset, random_split
from torchvision.datasets import ImageFolder

import covidct
from covidct import AspectPreservingPad, CTDataset


class TestFromImages:
    def test_pixels_are_kept_whatever_holds_them(self):
        gray = np.arange(2400, dtype=np.uint8).reshape(40, 60)
        kinds = [
            gray,
            gray[None],
            gray[..., None],
            np.stack([gray] * 3),
            np.stack([gray] * 3, axis=2),
            torch.from_numpy(gray),
            torch.from_numpy(gray)[None] / 255,
            gray / 255,
            Image.fromarray(gray),
            Image.fromarray(gray).convert("RGB"),
        ]
        dataset = CTDataset.from_images(kinds, [0, 1] * 5)
        for image, _ in dataset:
            np.testing.assert_array_equal(np.asarray(image), gray)

    def test_hounsfield_units_go_through_the_window(self):
        hu = np.full((40, 60), -850, np.int16)  # lung in a frame of air and soft tissue
        hu[:10], hu[30:], hu[0, 0] = -1000, 50, -1024
        lung, soft = (
            np.asarray(CTDataset.from_images([hu], [1], window=window)[0][0])
            for window in ("lung", (40.0, 400.0))
        )
        assert lung[20, 0] > soft[20, 0] == 0
        assert lung[-1, -1] > 200

    def test_files_live_as_long_as_a_dataset_of_them(self):
        dataset = CTDataset.from_images(np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1])
        folder, part = dataset.root, copy.deepcopy(dataset.subset([1, 2]))
        there = pickle.loads(pickle.dumps(part))
        del dataset, there
        gc.collect()
        assert part[0][0].size == (8, 8)
        del part
        gc.collect()
        assert not folder.exists()

    def test_a_folder_of_ones_own_is_kept(self, tmp_path):
        names = CTDataset.from_images([np.zeros((8, 8))], [1], folder=tmp_path / "new").names
        gc.collect()
        assert names == ("00000.png",)
        assert (tmp_path / "new" / "00000.png").is_file()

    def test_earlier_files_are_not_overwritten(self, tmp_path):
        CTDataset.from_images(np.full((2, 8, 8), 0.5), [1, 0], folder=tmp_path)
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(FileExistsError, match=r"00000\.png' exists; choose an empty folder"):
            CTDataset.from_images([np.zeros((8, 8))], [1], folder=tmp_path)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_content_depends_on_the_pixels_only(self):
        pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)
        first, second = (CTDataset.from_images(pixels, [0, 1]) for _ in range(2))
        assert first.root != second.root
        assert first.content_hash() == second.content_hash()

    @pytest.mark.parametrize("image", [np.zeros(5), np.zeros((2, 8, 8)), np.zeros((0, 8))])
    def test_other_shapes_are_refused(self, image):
        with pytest.raises(ValueError, match="image 0 must have the shape"):
            CTDataset.from_images([image], [1])

    def test_colors_in_an_unknown_range_are_refused(self):
        with pytest.raises(ValueError, match="image 0 has three channels of float64 outside"):
            CTDataset.from_images([np.full((8, 8, 3), 7.0)], [1])


class TestFromTorch:
    def test_image_folder(self, slice_folder):
        folder = ImageFolder(slice_folder)
        dataset = CTDataset.from_torch(folder)
        assert dataset.labels.tolist() == ["COVID"] * 6 + ["non-COVID"] * 6
        assert dataset.targets.tolist() == [1] * 6 + [0] * 6
        assert dataset.names[0] == "COVID/slice 0%.png"
        same = covidct.load_dataset("folder", slice_folder, groups=None)
        assert dataset.content_hash() == same.content_hash()

    def test_subset_of_an_image_folder(self, slice_folder):
        part = Subset(Subset(ImageFolder(slice_folder), [11, 0, 5]), [2, 0])
        dataset = CTDataset.from_torch(part, ["a", "b"])
        assert dataset.names == ("COVID/slice 5%.png", "non-COVID/slice 5%.png")
        assert dataset.groups.tolist() == ["a", "b"]

    def test_labels_that_do_not_name_covid_need_positive(self, slice_folder):
        (slice_folder / "COVID").rename(slice_folder / "apple")
        folder = ImageFolder(slice_folder)
        with pytest.raises(ValueError, match="cannot recognize which of the labels"):
            CTDataset.from_torch(folder)
        assert CTDataset.from_torch(folder, positive="apple").targets.sum() == 6

    def test_random_split_keeps_patients(self, phantoms):
        train, test = random_split(
            phantoms.as_torch(), [16, 8], generator=torch.Generator().manual_seed(0)
        )
        parts = [CTDataset.from_torch(part) for part in (train, test)]
        assert [len(part) for part in parts] == [16, 8]
        assert parts[1].groups.tolist() == phantoms.groups[test.indices].tolist()

    def test_options_that_would_be_ignored_are_refused(self, phantoms):
        with pytest.raises(ValueError, match="omit groups, name"):
            CTDataset.from_torch(phantoms, ["a"] * len(phantoms), name="mine")
        with pytest.raises(ValueError, match="class folders of an ImageFolder only"):
            CTDataset.from_torch(phantoms, positive="COVID")

    def test_tensors(self):
        images, targets = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 1, 0])
        dataset = CTDataset.from_torch(Subset(TensorDataset(images, targets), [1, 3]))
        assert dataset.targets.tolist() == [1, 0]
        np.testing.assert_array_equal(
            np.asarray(dataset[0][0]), np.rint(images[1, 0].numpy() * 255.0)
        )

    def test_anything_else_is_refused(self):
        with pytest.raises(TypeError, match=r"got builtins\.object"):
            CTDataset.from_torch(object())


def test_a_data_loader_with_workers(phantoms):
    loader = DataLoader(
        phantoms.as_torch(AspectPreservingPad(32)), batch_size=10, num_workers=1, shuffle=False
    )
    batches = list(loader)
    assert [len(images) for images, _ in batches] == [10, 10, 4]
    assert torch.cat([targets for _, targets in batches]).tolist() == phantoms.targets.tolist()
    expected = np.asarray(AspectPreservingPad((32, 32))(phantoms[23][0]))
    np.testing.assert_array_equal(batches[-1][0][-1, 0].numpy(), expected)


def test_without_a_transform_slices_are_tensors(phantoms):
    image, target = phantoms.as_torch()[3]
    np.testing.assert_array_equal(image[0].numpy(), np.asarray(phantoms[3][0]))
    assert (image.ndim, image.dtype, target) == (3, torch.uint8, phantoms.targets[3])


def test_files_outlive_the_workers_of_a_data_loader():
    dataset = CTDataset.from_images(np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1])
    assert len(list(DataLoader(dataset.as_torch(), num_workers=2))) == 4
    assert dataset[0][0].size == (8, 8)
