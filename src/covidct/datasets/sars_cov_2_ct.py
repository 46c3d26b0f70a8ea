"""SARS-CoV-2 CT-scan dataset (Soares et al. 2020): hospital slices, without patient ids."""

from __future__ import annotations

from .catalogue import SARS_COV_2_CT
from .ct_dataset import CTDataset, OnError, StrPath
from .info import DatasetInfo
from .manifest import Verify, load_published

__all__ = ["load"]


def load(
    root: StrPath | None = None,
    *,
    info: DatasetInfo = SARS_COV_2_CT,
    download: bool = False,
    verify: Verify = "hashes",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load the registry's ``"sars-cov-2-ct"``.

    Parameters
    ----------
    root
        Folder of ``COVID`` and ``non-COVID``.
    info
        Entry of the registry; its ``source`` can name a mirror.
    download, verify, on_error
        As in :func:`covidct.load_dataset`.

    Returns
    -------
    CTDataset
        In the order of the published list.

    Raises
    ------
    FileNotFoundError
        If ``root`` does not hold the class folders.
    covidct.errors.InvalidFileError
        If files are missing, extra or altered.
    """
    return load_published(
        info,
        root,
        download=download,
        verify=verify,
        on_error=on_error,
    )
