"""COVID19-CT (He et al. 2020): slices cut out of preprints, with patients and an official split."""

from __future__ import annotations

from .catalogue import COVID19_CT
from .ct_dataset import CTDataset, OnError, StrPath
from .info import DatasetInfo
from .manifest import Verify, load_published

__all__ = ["load"]


def load(
    root: StrPath | None = None,
    *,
    info: DatasetInfo = COVID19_CT,
    download: bool = False,
    verify: Verify = "hashes",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load the registry's ``"covid19-ct"``.

    Parameters
    ----------
    root
        Folder of ``CT_COVID`` and ``CT_NonCOVID``, or of ``Images-processed`` that holds them.
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
        subfolder="Images-processed",
    )
