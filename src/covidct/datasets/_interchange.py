"""Conversion of images in memory and of PyTorch datasets."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset
from torchvision.transforms.v2 import functional

from .gray import WindowChoice, to_gray, to_grayscale
from .labels import binarize

if TYPE_CHECKING:
    from .ct_dataset import CTDataset

__all__ = ["TemporaryFolder", "TorchSlices", "from_torch", "without_subsets", "write_images"]


class TemporaryFolder:
    """Temporary folder that is deleted together with the last object that refers to it.

    Copies share it. A copy in another process refers to the same folder and never deletes it.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="covidct-images-"))
        weakref.finalize(self, _delete, self.path, os.getpid())

    def __deepcopy__(self, memo: object) -> TemporaryFolder:
        return self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


def _delete(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # not in the forked workers of a DataLoader
        shutil.rmtree(path, ignore_errors=True)


def write_images(images: Iterable[Any], folder: Path, *, window: WindowChoice) -> list[Path]:
    """Write images as gray PNG files, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    # Any numbered file is refused, since further files of an earlier call would look like slices.
    if existing := sorted(folder.glob("[0-9]*.png")):
        raise FileExistsError(
            f"{str(existing[0])!r} exists; choose an empty folder for the images, or load "
            "those in it with covidct.CTDataset or covidct.load_dataset"
        )
    paths = []
    for i, image in enumerate(images):
        path = folder / f"{i:05d}.png"
        _as_gray(image, i, window).save(path)
        paths.append(path)
    return paths


def _as_gray(image: Any, number: int, window: WindowChoice) -> Image.Image:
    if isinstance(image, Image.Image):
        return to_grayscale(image, window=window)
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = (image.float() if image.dtype == torch.bfloat16 else image).numpy()
    pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
        pixels = np.moveaxis(pixels, 0, 2)  # channels first, as in tensors
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)) or not pixels.size:
        raise ValueError(
            f"image {number} must have the shape (height, width), (1, height, width) or three "
            f"channels, got {np.shape(image)}"
        )
    if pixels.dtype == np.bool_ or _is_fraction(pixels):
        pixels = np.rint(pixels * 255.0).astype(np.uint8)
    if pixels.dtype == np.uint8:
        return to_grayscale(Image.fromarray(np.ascontiguousarray(pixels)))
    if pixels.ndim == 3:
        raise ValueError(
            f"image {number} has three channels of {pixels.dtype} outside [0, 1]; give uint8, or "
            "floats in [0, 1]"
        )
    return Image.fromarray(to_gray(pixels, window))


def _is_fraction(pixels: npt.NDArray[Any]) -> bool:
    if not np.issubdtype(pixels.dtype, np.floating):
        return False
    return bool(pixels.min() >= 0 and pixels.max() <= 1)


class TorchSlices(Dataset[tuple[Any, int]]):
    """The slices of a dataset as tensors; see :meth:`CTDataset.as_torch`."""

    def __init__(self, slices: CTDataset, transform: Callable[[Any], Any] | None) -> None:
        self.slices = slices
        self.transform = transform

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, target = self.slices[index]
        value = image if self.transform is None else self.transform(image)
        return functional.pil_to_tensor(value) if isinstance(value, Image.Image) else value, target

    def __repr__(self) -> str:
        return f"{self.slices!r}, as tensors"


def from_torch(
    kind: type[CTDataset],
    base: Any,
    index: npt.NDArray[np.int64],
    groups: Iterable[object] | None,
    *,
    positive: object,
    negative: object,
    options: dict[str, Any],
) -> CTDataset:
    """Create a dataset from chosen slices of a torchvision folder, or from images and targets."""
    from_folder = hasattr(base, "samples") and hasattr(base, "classes")
    if not from_folder and not (positive is None and negative is None):
        raise ValueError("positive and negative are for the class folders of an ImageFolder only")
    if not from_folder:
        targets: list[int] = []  # filled while the images are written
        return kind.from_images(_images(base, index, targets), targets, groups, **options)
    chosen = [base.samples[i] for i in index]
    labels = np.array([str(base.classes[number]) for _, number in chosen])
    root = Path(base.root)
    binary = binarize(labels.tolist(), positive=positive, negative=negative, where=str(root))
    kept = np.flatnonzero(binary.targets >= 0)
    known = None if groups is None else list(groups)
    options = {"root": root, "name": root.resolve().name, **options}
    return kind(
        [chosen[i][0] for i in kept],
        binary.targets[kept],
        None if known is None else [known[i] for i in kept],
        labels=labels[kept],
        classes=binary.classes,
        **options,
    )


def _images(dataset: Any, index: npt.NDArray[np.int64], targets: list[int]) -> Iterator[Any]:
    """Yield the images of a dataset, and append their targets, so that each is read once."""
    for i in index.tolist():
        image, target = dataset[i]
        targets.append(int(target))
        yield image


def without_subsets(dataset: Any) -> tuple[Any, npt.NDArray[np.int64]]:
    """Return the dataset below all subsets and wrappers, and the chosen positions in it."""
    index = None
    while True:
        if isinstance(dataset, Subset):
            here = np.asarray(dataset.indices, dtype=np.int64)
            index = here if index is None else here[index]
            dataset = dataset.dataset
        elif isinstance(dataset, TorchSlices):
            dataset = dataset.slices
        elif hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
            return dataset, np.arange(len(dataset)) if index is None else index
        else:
            raise TypeError(
                "dataset must be a torchvision ImageFolder, a Subset, or have pairs of image and "
                f"target, got {type(dataset).__module__}.{type(dataset).__qualname__}"
            )
