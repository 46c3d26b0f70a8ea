"""Datasets by name."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Literal

from ..errors import InvalidFileError, UnknownNameError
from ._parallel import map_in_threads, some
from .catalogue import BUILT_IN
from .ct_dataset import CTDataset, StrPath
from .info import DatasetInfo

__all__ = ["DatasetInfo", "dataset_info", "list_datasets", "load_dataset", "register_dataset"]

logger = logging.getLogger(__name__)

_REGISTRY = {info.name: info for info in BUILT_IN}
_VERIFY = ("hashes", "names", None)
_ON_ERROR = ("raise", "skip")


def list_datasets(pattern: str = "*") -> list[str]:
    """List the names of the known datasets.

    Parameters
    ----------
    pattern
        Shell-style wildcard.

    Returns
    -------
    list of str
        Sorted.

    Examples
    --------
    >>> import covidct
    >>> covidct.list_datasets()
    ['covid19-ct', 'folder', 'phantom', 'sars-cov-2-ct']
    >>> covidct.list_datasets("*ct")
    ['covid19-ct', 'sars-cov-2-ct']
    """
    return sorted(name for name in _REGISTRY if fnmatchcase(name, pattern))


def dataset_info(name: str) -> DatasetInfo:
    """Return what is known of a dataset: counts, license, home, citation, known faults.

    Parameters
    ----------
    name
        One of :func:`list_datasets`.

    Returns
    -------
    DatasetInfo
        Printing it gives a description.

    Raises
    ------
    covidct.errors.UnknownNameError
        If no dataset has this name.

    Examples
    --------
    >>> import covidct
    >>> covidct.dataset_info("sars-cov-2-ct").counts    # non-COVID, COVID
    (1229, 1252)
    """
    if name not in _REGISTRY:
        error = UnknownNameError.among("dataset", name, _REGISTRY)
        raise error
    return _REGISTRY[name]


def register_dataset(info: DatasetInfo, *, overwrite: bool = False) -> None:
    """Make a dataset known to :func:`load_dataset` for the life of the process.

    Parameters
    ----------
    info
        The entry; its ``loader`` is imported on first use.
    overwrite
        Whether to replace an entry of the same name.

    Raises
    ------
    ValueError
        If the name is taken and ``overwrite`` is False.

    Examples
    --------
    >>> import covidct
    >>> info = covidct.DatasetInfo("ward-7", "Slices of ward 7", home="https://example.org")
    >>> covidct.register_dataset(info, overwrite=True)
    >>> covidct.dataset_info("ward-7").title
    'Slices of ward 7'
    """
    if info.name in _REGISTRY and not overwrite:
        raise ValueError(
            f"dataset {info.name!r} is registered already; pass overwrite=True to replace it"
        )
    _REGISTRY[info.name] = info


def load_dataset(
    name: str,
    root: StrPath | None = None,
    *,
    download: bool = False,
    verify: Literal["hashes", "names"] | None = "hashes",
    on_error: Literal["raise", "skip"] = "raise",
    **options: object,
) -> CTDataset:
    """Load a dataset by name.

    Parameters
    ----------
    name
        One of :func:`list_datasets`.
    root
        Folder of the files, with ``~`` for the home; ``dataset_info(name).layout`` says what it
        should hold. A published dataset is looked for in covidct's cache folder by default
        (``COVIDCT_CACHE``).
    download
        Whether to fetch the files into ``root`` where they are not there yet.
    verify
        ``"hashes"`` compares every file with the published SHA-256, ``"names"`` the list of files
        only (for a re-encoded copy), None loads what is there. Datasets without a published list
        have nothing to compare.
    on_error
        ``"raise"`` ends at the first bad file, as soon as it is read. ``"skip"`` decodes every
        image once, leaves out those that cannot be read (or fail verification), logs a warning
        and lists them in ``skipped``.
    **options
        Options of the dataset's own, such as ``groups`` of ``"folder"`` or ``n`` of ``"phantom"``.

    Returns
    -------
    CTDataset
        Slices with targets (1 is COVID-19) and, where known, groups and the official split.

    Raises
    ------
    covidct.errors.UnknownNameError
        If no dataset, or no option of the dataset, has that name.
    FileNotFoundError
        If ``root`` does not hold the layout.
    covidct.errors.InvalidFileError
        If files are missing, extra or altered.
    ValueError
        If an argument is not among its values, or means nothing to this dataset.

    Examples
    --------
    >>> import covidct
    >>> dataset = covidct.load_dataset("phantom", n=8, seed=0)
    >>> len(dataset)
    8
    """
    info = dataset_info(name)
    _check_choice("verify", verify, _VERIFY)
    _check_choice("on_error", on_error, _ON_ERROR)
    loader = _import_loader(info)
    accepted = inspect.signature(loader).parameters
    if root is None and "root" in accepted and accepted["root"].default is inspect.Parameter.empty:
        raise ValueError(f"dataset {name!r} needs root, the folder that holds: {info.layout}")
    if root is not None and "root" not in accepted:
        raise ValueError(f"dataset {name!r} takes no root, got {str(root)!r}")
    if download and "download" not in accepted:
        raise ValueError(f"dataset {name!r} cannot be downloaded; to get it: {info.how_to_get}")
    general = {
        "root": None if root is None else Path(root).expanduser(),
        "info": info,
        "download": download,
        "verify": verify,
        "on_error": on_error,
    }
    known = set(accepted) - set(general)
    for option in options:
        if option not in known:
            error = UnknownNameError.among(f"{name} option", option, known)
            raise error
    given = {key: value for key, value in general.items() if key in accepted}
    dataset = loader(**given, **options)
    dataset.name = info.name
    return _without_unreadable(dataset) if on_error == "skip" else dataset


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}")


def _import_loader(info: DatasetInfo) -> Callable[..., CTDataset]:
    module, _, function = info.loader.partition(":")
    try:
        loader: Callable[..., CTDataset] = getattr(import_module(module), function)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(
            f"loader {info.loader!r} of dataset {info.name!r} cannot be imported: {error}"
        ) from error
    return loader


def _without_unreadable(dataset: CTDataset) -> CTDataset:
    """Decode every image once and leave out those that fail."""

    def fault(index: int) -> str:
        try:
            dataset.read(index)
        except (InvalidFileError, OSError) as error:
            return str(error)
        return ""

    faults = map_in_threads(fault, range(len(dataset)), description="Decoding slices")
    bad = [(dataset.names[i], reason) for i, reason in enumerate(faults) if reason]
    if not bad:
        return dataset
    if len(bad) == len(dataset):
        raise InvalidFileError(
            f"none of the {len(bad)} images of dataset {dataset.name!r} can be read; the first: "
            + bad[0][1]
        )
    logger.warning(
        "%d of %d images cannot be read and are left out: %s",
        len(bad),
        len(dataset),
        some(name for name, _ in bad),
    )
    part = dataset.subset([i for i, reason in enumerate(faults) if not reason])
    part.skipped = (*dataset.skipped, *bad)
    return part
