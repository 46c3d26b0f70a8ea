"""Registry of datasets, which are loaded by name."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal

from .._text import some
from ..errors import InvalidFileError, UnknownNameError
from ._parallel import map_in_threads
from .catalogue import BUILT_IN
from .ct_dataset import CTDataset, StrPath
from .info import DatasetInfo

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DatasetInfo",
    "dataset_info",
    "import_loader",
    "list_datasets",
    "load_dataset",
    "register_dataset",
]

logger = logging.getLogger(__name__)

_REGISTRY = {info.name: info for info in BUILT_IN}
_VERIFY = ("hashes", "names", None)
_ON_ERROR = ("raise", "skip")


def list_datasets(pattern: str = "*") -> list[str]:
    """List the names of the registered datasets.

    Parameters
    ----------
    pattern : str, default="*"
        Shell-style wildcard.

    Returns
    -------
    list of str
        Sorted names.

    Examples
    --------
    >>> import covidct
    >>> covidct.list_datasets("*19-ct")
    ['covid19-ct']
    """
    return sorted(name for name in _REGISTRY if fnmatchcase(name, pattern))


def dataset_info(name: str) -> DatasetInfo:
    """Return the registry entry of a dataset: counts, license, home page, citation, known reasons.

    Parameters
    ----------
    name : str
        One of :func:`list_datasets`.

    Returns
    -------
    DatasetInfo
        The entry; printing it gives a description.

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
        raise UnknownNameError.among("dataset", name, _REGISTRY)
    return _REGISTRY[name]


def register_dataset(info: DatasetInfo, *, overwrite: bool = False) -> None:
    """Add a dataset to the registry for the lifetime of the process.

    Parameters
    ----------
    info : DatasetInfo
        Entry of the dataset. A loader that is given as ``"module:function"`` is imported on first
        use.
    overwrite : bool, default=False
        Replace an entry of the same name.

    Raises
    ------
    ValueError
        If the name is taken and `overwrite` is False.

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
    dataset: str,
    root: StrPath | pd.DataFrame | None = None,
    *,
    name: str | None = None,
    download: bool = False,
    verify: Literal["hashes", "names"] | None = "hashes",
    on_error: Literal["raise", "skip"] = "raise",
    **options: object,
) -> CTDataset:
    """Load a registered dataset.

    Parameters
    ----------
    dataset : str
        One of :func:`list_datasets`. ``"folder"`` reads class folders, ``"table"`` a CSV or Excel
        file or a DataFrame, ``"phantom"`` draws slices.
    root : str, path-like or DataFrame, optional
        Folder of the files, or the table; ``~`` stands for the home folder. Its layout is described
        by ``dataset_info(dataset).layout``. None: for datasets that can be downloaded, a folder in
        the cache folder of covidct (``COVIDCT_CACHE``).
    name : str, optional
        Name of the dataset in tables and files, such as ``"ward-7"``. None: the name in the
        registry.
    download : bool, default=False
        Download missing files into `root`.
    verify : {"hashes", "names"} or None, default="hashes"
        ``"hashes"`` compares the SHA-256 of every file with the published one. ``"names"`` compares
        only the names of the files, such as for a re-encoded copy. None loads the present files
        without a check. Ignored for datasets without a published list of files.
    on_error : {"raise", "skip"}, default="raise"
        ``"raise"`` raises an error at the first file that cannot be used. ``"skip"`` decodes every
        image once, leaves out those that cannot be read or fail the verification, logs a warning,
        and lists them in `skipped`.
    **options
        Options of the dataset's loader, such as `groups` of ``"folder"``, `images` and `columns`
        of ``"table"`` or `n` of ``"phantom"``.

    Returns
    -------
    CTDataset
        Slices with targets (1 is COVID-19) and, where known, patients and the official split.

    Raises
    ------
    covidct.errors.UnknownNameError
        If no dataset, or no option of the dataset, has that name.
    FileNotFoundError
        If `root` does not exist or does not have the layout of the dataset.
    covidct.errors.InvalidFileError
        If files are missing, extra or altered.
    TypeError
        If `root` is neither a path nor, for ``"table"``, a DataFrame.
    ValueError
        If an argument has an invalid value, or does not apply to this dataset.

    See Also
    --------
    covidct.datasets.folder.load : options of ``"folder"``.
    covidct.datasets.table.load : options of ``"table"``.

    Examples
    --------
    >>> import covidct
    >>> len(covidct.load_dataset("phantom", n=8, seed=0))
    8
    """
    info = dataset_info(dataset)
    _check_choice("verify", verify, _VERIFY)
    _check_choice("on_error", on_error, _ON_ERROR)
    loader = import_loader(info)
    accepted = inspect.signature(loader).parameters
    if root is None and "root" in accepted and accepted["root"].default is inspect.Parameter.empty:
        layout = info.layout or "the folder of its files"
        raise ValueError(f"dataset {dataset!r} needs root: {layout}")
    if root is not None and "root" not in accepted:
        raise ValueError(f"dataset {dataset!r} takes no root, got {str(root)!r}")
    is_path = root is None or isinstance(root, str | os.PathLike)
    if not is_path and info in BUILT_IN and dataset != "table":
        raise TypeError(
            f"dataset {dataset!r} needs a path as root, got a {type(root).__name__}; the dataset "
            "'table' takes a DataFrame"
        )
    if download and "download" not in accepted:
        raise ValueError(f"dataset {dataset!r} cannot be downloaded; to get it: {info.how_to_get}")
    general = {
        "root": Path(root).expanduser() if isinstance(root, str | os.PathLike) else root,
        "info": info,
        "download": download,
        "verify": verify,
        "on_error": on_error,
    }
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
    known = set(accepted) - set(general)
    for option in options:
        if option not in known and not takes_any:
            raise UnknownNameError.among(f"{dataset} option", option, known)
    given = {key: value for key, value in general.items() if key in accepted}
    loaded = loader(**given, **options)
    loaded.name = info.name if name is None else name
    loaded.registry_names = (info.name,)
    return _without_unreadable(loaded) if on_error == "skip" else loaded


def _check_choice(option: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{option} must be one of {', '.join(map(repr, choices))}; got {value!r}")


def import_loader(info: DatasetInfo) -> Callable[..., CTDataset]:
    """Return the function that loads a dataset; import it if the entry contains its name."""
    if not isinstance(info.loader, str):
        return info.loader
    try:
        loader: Callable[..., CTDataset] = resolve_name(info.loader)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(
            f"loader {info.loader!r} of dataset {info.name!r} cannot be imported: {error}"
        ) from error
    return loader


def _without_unreadable(dataset: CTDataset) -> CTDataset:
    """Decode every image once and leave out those that cannot be read."""

    def error_of(index: int) -> str:
        try:
            dataset.read(index)
        except (InvalidFileError, OSError) as error:
            return str(error)
        return ""

    reasons = map_in_threads(error_of, range(len(dataset)), description="Decoding slices")
    bad = [(dataset.names[i], reason) for i, reason in enumerate(reasons) if reason]
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
    part = dataset.subset([i for i, reason in enumerate(reasons) if not reason])
    part.skipped = (*dataset.skipped, *bad)
    return part
