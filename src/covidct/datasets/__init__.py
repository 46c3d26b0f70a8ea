"""Slices in files become a CTDataset, and its slices canvases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:
    from .canvases import make_canvases, to_canvas
    from .ct_dataset import CTDataset
    from .dicom import patient_group, read_series, read_slice
    from .gray import Window, as_hounsfield, to_gray, to_grayscale
    from .info import DatasetInfo
    from .reading import read_image
    from .registry import dataset_info, list_datasets, load_dataset, register_dataset
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "canvases": ("make_canvases", "to_canvas"),
            "ct_dataset": ("CTDataset",),
            "dicom": ("patient_group", "read_series", "read_slice"),
            "gray": ("Window", "as_hounsfield", "to_gray", "to_grayscale"),
            "info": ("DatasetInfo",),
            "reading": ("read_image",),
            "registry": ("dataset_info", "list_datasets", "load_dataset", "register_dataset"),
        },
    )

__all__ = [
    "CTDataset",
    "DatasetInfo",
    "Window",
    "as_hounsfield",
    "dataset_info",
    "list_datasets",
    "load_dataset",
    "make_canvases",
    "patient_group",
    "read_image",
    "read_series",
    "read_slice",
    "register_dataset",
    "to_canvas",
    "to_gray",
    "to_grayscale",
]
