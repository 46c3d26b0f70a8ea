"""Datasets of CT slices: loading, reading, and canvases for networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:
    from .canvases import cached_canvases, clear_canvases, make_canvases, to_canvas
    from .concatenation import ConcatDataset, concat
    from .ct_dataset import CTDataset
    from .dicom import patient_group, read_series, read_slice
    from .frames import read_frame
    from .gray import Window, as_hounsfield, to_gray, to_grayscale
    from .info import DatasetInfo
    from .lung import lung_slices
    from .reading import read_image
    from .registry import dataset_info, list_datasets, load_dataset, register_dataset
    from .slices import Found, FoundVolume, find_slices
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "canvases": ("cached_canvases", "clear_canvases", "make_canvases", "to_canvas"),
            "concatenation": ("ConcatDataset", "concat"),
            "ct_dataset": ("CTDataset",),
            "dicom": ("patient_group", "read_series", "read_slice"),
            "frames": ("read_frame",),
            "gray": ("Window", "as_hounsfield", "to_gray", "to_grayscale"),
            "info": ("DatasetInfo",),
            "lung": ("lung_slices",),
            "reading": ("read_image",),
            "registry": ("dataset_info", "list_datasets", "load_dataset", "register_dataset"),
            "slices": ("Found", "FoundVolume", "find_slices"),
        },
    )

__all__ = [
    "CTDataset",
    "ConcatDataset",
    "DatasetInfo",
    "Found",
    "FoundVolume",
    "Window",
    "as_hounsfield",
    "cached_canvases",
    "clear_canvases",
    "concat",
    "dataset_info",
    "find_slices",
    "list_datasets",
    "load_dataset",
    "lung_slices",
    "make_canvases",
    "patient_group",
    "read_frame",
    "read_image",
    "read_series",
    "read_slice",
    "register_dataset",
    "to_canvas",
    "to_gray",
    "to_grayscale",
]
