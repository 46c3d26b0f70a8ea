"""Loader of datasets with a manifest, the list of published file names and hashes.

A manifest is a CSV file with one row per slice and the columns ``file`` (relative to the root,
beginning with the class folder), ``class``, ``patient``, ``split`` (both may be empty), ``bytes``,
``sha256`` and ``mode``. It describes the images and does not contain them.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from .._files import sha256_of_file
from .._text import some
from ..errors import InvalidFileError
from . import downloads
from ._cache import cache_folder
from ._listing import folders_in, list_slices
from ._parallel import map_in_threads
from .ct_dataset import CTDataset, OnError, StrPath
from .info import DatasetInfo

__all__ = ["load"]

logger = logging.getLogger(__name__)

Verify = Literal["hashes", "names"] | None


class _Entry(NamedTuple):
    """One published slice."""

    file: str
    label: str
    patient: str
    split: str
    size: int
    sha256: str


def load(
    root: StrPath | None = None,
    *,
    info: DatasetInfo,
    download: bool = False,
    verify: Verify = "hashes",
    on_error: OnError = "raise",
) -> CTDataset:
    """Load a dataset that has a manifest.

    Parameters
    ----------
    root : str or path-like, optional
        Folder of the class folders, or its parent folder. By default, a folder in covidct's cache.
    info : DatasetInfo
        Entry of the registry; its `manifest` is a file of this package, or an absolute path.
    download, verify, on_error
        As in :func:`covidct.load_dataset`.

    Returns
    -------
    CTDataset
        Dataset in the order of the manifest, with its patients and its split if all slices have
        them.

    Raises
    ------
    FileNotFoundError
        If `root` does not contain the class folders.
    covidct.errors.InvalidFileError
        If files are missing, extra or altered.
    """
    entries = _read_manifest(info)
    folders = sorted({entry.file.partition("/")[0] for entry in entries})
    base = cache_folder() / "datasets" / info.name if root is None else Path(root)
    inside = folders_in(base) if base.is_dir() else []
    complete = [p for p in (base, *inside) if all((p / name).is_dir() for name in folders)]
    if complete:
        base = complete[0]
    elif download:
        limits = downloads.Limits(
            files=100 + 3 * len(entries),  # folders, and a shadow of every file from macOS
            bytes=(1 << 20) + 2 * sum(entry.size for entry in entries),
        )

        def check(place: Path) -> None:
            _match(info, entries, place, verify=verify, on_error="raise")

        downloads.install(info, base, folders=folders, limits=limits, check=check)
    else:
        raise FileNotFoundError(
            f"{str(base)!r} does not contain dataset {info.name!r}: expected {info.layout}. "
            f"To get it: {info.how_to_get} ({info.home})"
        )
    return _match(info, entries, base, verify=verify, on_error=on_error)


def _read_manifest(info: DatasetInfo) -> list[_Entry]:
    if not info.manifest:
        raise ValueError(f"dataset {info.name!r} has no manifest, the list of its files")
    path = Path(__file__).parent / "manifests" / info.manifest
    with path.open(encoding="utf-8", newline="") as file:
        return [
            _Entry(
                row["file"],
                row["class"],
                row["patient"],
                row["split"],
                int(row["bytes"]),
                row["sha256"],
            )
            for row in csv.DictReader(file)
        ]


def _match(
    info: DatasetInfo, entries: list[_Entry], base: Path, *, verify: Verify, on_error: OnError
) -> CTDataset:
    """Pair the manifest with the files, and create the dataset of the pairs that agree."""
    folders = {entry.file.partition("/")[0]: entry.label for entry in entries}
    present = {
        path.relative_to(base).as_posix(): path
        for folder in sorted(folders)
        for path in list_slices(base / folder).slices
        if path.is_file()  # a link to nothing is missing
    }
    pairs = _pair(entries, present, by_stem=verify != "hashes")
    used = set(pairs.values())
    extra = [name for name in present if name not in used]
    faults: dict[str, list[str]] = {}
    if verify is not None:
        faults["missing"] = [entry.file for entry in entries if entry.file not in pairs]
        faults["not published"] = extra
    if verify == "hashes":
        faults["altered"] = _altered([entry for entry in entries if entry.file in pairs], base)
    bad = {name: kind for kind, names in faults.items() for name in names}
    rows = [(pairs[e.file], e) for e in entries if e.file in pairs and e.file not in bad]
    if verify is None:
        rows += [(name, _unpublished(name, folders)) for name in extra]
    if bad and (on_error == "raise" or not rows):
        raise InvalidFileError(_mismatch_message(info, entries, base, present, faults))
    if bad:
        logger.warning("%s", _mismatch_message(info, entries, base, present, faults))
    return _as_dataset(info, base, rows, skipped=bad)


def _pair(entries: Iterable[_Entry], present: dict[str, Path], *, by_stem: bool) -> dict[str, str]:
    """Map published names to equal names on disk or, in a re-encoded copy, up to the suffix."""
    pairs = {entry.file: entry.file for entry in entries if entry.file in present}
    if by_stem:
        left = {_stem(name): name for name in present if name not in pairs}
        for entry in entries:
            if entry.file not in pairs and _stem(entry.file) in left:
                pairs[entry.file] = left.pop(_stem(entry.file))
    return pairs


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _altered(entries: list[_Entry], base: Path) -> list[str]:
    """List the files whose size or SHA-256 is not the published one; sizes are read first."""
    paths = {entry.file: base / entry.file for entry in entries}
    same_size = [e for e in entries if paths[e.file].stat().st_size == e.size]
    digests = map_in_threads(
        sha256_of_file, [paths[e.file] for e in same_size], description="Verifying slices"
    )
    pairs = zip(same_size, digests, strict=True)
    intact = {entry.file for entry, digest in pairs if digest == entry.sha256}
    return [entry.file for entry in entries if entry.file not in intact]


def _unpublished(name: str, folders: dict[str, str]) -> _Entry:
    return _Entry(name, folders[name.partition("/")[0]], patient="", split="", size=0, sha256="")


def _mismatch_message(
    info: DatasetInfo,
    entries: list[_Entry],
    base: Path,
    present: dict[str, Path],
    faults: dict[str, list[str]],
) -> str:
    """Describe the differences from the published files, and possible remedies."""
    found = [f"{len(names):,} {kind}: {some(names)}" for kind, names in faults.items() if names]
    complete = len(_pair(entries, present, by_stem=True)) == len(entries) == len(present)
    names_agree = 'All names are there: load a re-encoded copy with verify="names". '
    return (
        f"{str(base)!r} does not contain {info.name!r} as published ({len(entries):,} files): "
        f"{'; '.join(found)}. {names_agree if complete else ''}"
        f"Otherwise get the original files again ({info.how_to_get}), leave these files out with "
        'on_error="skip", or load the present files with verify=None'
    )


def _as_dataset(
    info: DatasetInfo, base: Path, rows: list[tuple[str, _Entry]], *, skipped: dict[str, str]
) -> CTDataset:
    """Create the dataset, with groups and split only if every slice has them."""
    classes = info.classes or ("non-COVID", "COVID")
    patients = [entry.patient for _, entry in rows]
    splits = [entry.split for _, entry in rows]
    if any(patients) and not all(patients):
        unknown = [name for name, entry in rows if not entry.patient]
        logger.warning(
            "no groups: the patient of %d slices is unknown: %s", len(unknown), some(unknown)
        )
    return CTDataset(
        [base / name for name, _ in rows],
        [classes.index(entry.label) for _, entry in rows],
        patients if all(patients) else None,
        classes=classes,
        name=info.name,
        root=base,
        official_split=splits if all(splits) else None,
        group_kind=info.group_kind or "patient",
        skipped=skipped.items(),
    )
