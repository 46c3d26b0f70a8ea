"""Search for CT slices in files and folders.

A slice is given by a file and the index of a frame in it. Pictures and single-frame DICOM files
contain one frame; multi-frame DICOM, NIfTI, MHA, MHD and NRRD files contain several. The slices of
one CT series or volume file form a volume, in order from the feet upwards.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .._text import counted, some
from ..errors import InvalidFileError, InvalidSliceError
from . import volumes
from ._listing import Kind, file_kind, names_mask, walk
from ._parallel import each_in_threads
from .dicom_file import DicomFile, guarded
from .series import (
    Header,
    Slice,
    Stack,
    arrange,
    oriented_spacing,
    plane_of,
    read_header,
)

__all__ = [
    "Found",
    "FoundVolume",
    "as_paths",
    "find_slices",
    "set_aside_text",
]

StrPath = str | os.PathLike[str]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FoundVolume:
    """Slices of one CT series or volume file, from the feet upwards.

    Parameters
    ----------
    name : str
        Folder or file relative to the root. Further series of one folder end in ``#2``, ``#3``, ...
    paths : tuple of Path
        File of each slice.
    frames : tuple of int
        Index of each slice in its file, from 0.
    positions : ndarray of float64 of shape (n_slices,)
        Position of each slice in mm, increasing towards the head; NaN if unknown.
    spacing : tuple of (float, float)
        Distance between pixel centers in mm, down and across; NaN if unknown.
    patient : str or None
        Pseudonym of the patient, as from :func:`covidct.datasets.dicom.patient_group`; None if
        unknown.
    in_hu : bool
        True if the values are Hounsfield units, False for gray values of an unknown window.
    is_derived : bool, default=False
        True if ImageType marks the slices as derived or reformatted.
    series : str or None, default=None
        SeriesInstanceUID; None if unknown.

    Examples
    --------
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from covidct.datasets import FoundVolume
    >>> volume = FoundVolume(
    ...     name="p1/chest.nii.gz",
    ...     paths=(Path("p1/chest.nii.gz"),) * 3,
    ...     frames=(0, 1, 2),
    ...     positions=np.array([-10.0, -5.0, 0.0]),
    ...     spacing=(0.7, 0.7),
    ...     patient=None,
    ...     in_hu=True,
    ... )
    >>> len(volume)
    3
    """

    name: str
    paths: tuple[Path, ...] = field(repr=False)
    frames: tuple[int, ...] = field(repr=False)
    positions: npt.NDArray[np.float64] = field(repr=False)
    spacing: tuple[float, float]
    patient: str | None
    in_hu: bool
    is_derived: bool = field(default=False, repr=False)
    series: str | None = field(default=None, repr=False)

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.paths)


class Found(NamedTuple):
    """Result of a search for slices.

    Attributes
    ----------
    volumes : list of FoundVolume
        CT series and volume files.
    images : list of Path
        Pictures and DICOM files with a single slice.
    set_aside : list of (Path, str)
        Files that are neither, or that could not be read, and the reason.
    patients : dict of Path to str
        Pseudonym of the patient of each image whose header contains a patient.
    """

    volumes: list[FoundVolume]
    images: list[Path]
    set_aside: list[tuple[Path, str]]
    patients: dict[Path, str]


def find_slices(
    paths: StrPath | Iterable[StrPath],
    *,
    root: StrPath | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    one_per_patient: bool = False,
) -> Found:
    """Find CT slices in files and folders, at any depth.

    Files that are not axial CT slices are set aside and listed in one line of the log: localizers,
    reports, plans, DICOMDIR files, coronal and sagittal reformats, projections (MIP), masks, and
    other files. Pictures in the folder of a CT series, and secondary captures in its folder or of
    its study or patient, are set aside too. Other secondary captures, and those in `paths`
    themselves, are pictures. Only headers are read, except for volume files.

    Parameters
    ----------
    paths : str, path-like or iterable of these
        Files and folders. For a DICOMDIR, the files that it lists are read.
    root : str or path-like, optional
        Folder to which the names of volumes are relative. None: the folder that contains all
        `paths`.
    on_error : {"raise", "skip"}, default="raise"
        ``"raise"`` raises an error if a file cannot be read or a slice does not fit into its
        series; ``"skip"`` sets it aside.
    one_per_patient : bool, default=False
        Keep only one volume per patient (per parent folder if the patient is unknown):
        the first by original before derived slices, by number of slices, and by name.

    Returns
    -------
    Found
        Volumes, images and files that were set aside.

    Raises
    ------
    FileNotFoundError
        If one of ``paths`` does not exist.
    covidct.errors.InvalidFileError
        If a file cannot be read, a slice of a series differs from the others in size, orientation
        or pixel spacing, or two different slices of a series are at the same position; not with
        ``on_error="skip"``.
    ModuleNotFoundError
        If there are DICOM files and pydicom is not installed, or volume files and SimpleITK is not.
    TypeError
        If `paths` contains anything but paths.
    ValueError
        If `on_error` is not "raise" or "skip".

    Examples
    --------
    >>> from pathlib import Path
    >>> from pydicom.data import get_testdata_file
    >>> from covidct.datasets.slices import find_slices
    >>> one = get_testdata_file("dicomdirtests/98892001/CT5N/2062", download=False)
    >>> found = find_slices(Path(one).parent)
    >>> [(volume.name, len(volume)) for volume in found.volumes]
    [('CT5N', 5)]
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
    given = as_paths(paths)
    base = Path(root) if root is not None else _common_parent(given)
    search = _Search(base, skip=on_error == "skip")
    for path in given:
        if not path.exists():
            raise FileNotFoundError(f"{str(path)!r} does not exist")
    for is_folder, some_paths in groupby(given, Path.is_dir):
        if is_folder:
            for folder in some_paths:
                search.add_folder(folder)
        else:
            search.add_files(some_paths)
    found = search.result()
    if one_per_patient:
        found = _one_per_patient(found)
    if found.set_aside:
        _LOG.warning("%s", set_aside_text(found.set_aside))
    return found


def as_paths(paths: StrPath | Iterable[StrPath]) -> list[Path]:
    """Return one or several paths as a list.

    Parameters
    ----------
    paths : str, path-like or iterable of these
        Files and folders.

    Returns
    -------
    list of Path
        Paths in the given order.

    Raises
    ------
    TypeError
        If one of them is not a path, as in a dataset, whose items are pairs of image and target.

    Examples
    --------
    >>> from covidct.datasets.slices import as_paths
    >>> [path.name for path in as_paths("a/1.png")]
    ['1.png']
    """
    given = []
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(
                f"paths must be files or folders, got a {type(path).__name__} in a "
                f"{type(paths).__name__}; of a dataset, give its paths"
            )
        given.append(Path(path))
    return given


def set_aside_text(files: Sequence[tuple[Path, str]]) -> str:
    """Return one line with the number and names of the files that were set aside, by reason.

    Parameters
    ----------
    files : sequence of (Path, str)
        Files and reasons, as in :class:`Found`.

    Returns
    -------
    str
        Text of the line.

    Examples
    --------
    >>> from pathlib import Path
    >>> from covidct.datasets.slices import set_aside_text
    >>> set_aside_text([(Path("a/scout.dcm"), "localizer"), (Path("a/notes.txt"), "not an image")])
    "2 files set aside: 1 localizer ('scout.dcm'); 1 not an image ('notes.txt')"
    """
    by_reason: dict[str, list[str]] = {}
    for path, reason in files:
        by_reason.setdefault(reason, []).append(path.name)
    parts = [f"{len(names)} {reason} ({some(names)})" for reason, names in by_reason.items()]
    more = [f"and {len(parts) - 8} more reasons"] if len(parts) > 8 else []
    return f"{counted(len(files), 'file')} set aside: {'; '.join([*parts[:8], *more])}"


def _common_parent(paths: Sequence[Path]) -> Path:
    parents = [str(path.absolute().parent) for path in paths]
    try:
        return Path(os.path.commonpath(parents)) if parents else Path()
    except ValueError:  # on two drives of Windows
        return Path()


class _Search:
    """Search of several paths for volumes and images; other files are set aside."""

    def __init__(self, base: Path, *, skip: bool) -> None:
        self._base = base
        self._skip = skip
        self._found = Found([], [], [], {})
        self._seen: set[Path] = set()

    def result(self) -> Found:
        """Return the result, with unique names of volumes."""
        named = []
        counts: dict[str, int] = {}
        for volume in self._found.volumes:
            number = counts[volume.name] = counts.get(volume.name, 0) + 1
            named.append(replace(volume, name=f"{volume.name}#{number}") if number > 1 else volume)
        return self._found._replace(volumes=named)

    def add_folder(self, folder: Path) -> None:
        """Search a folder and its subfolders."""
        self._aside(_indexes(folder), "index of a medium (DICOMDIR)")
        self._add(walk(folder), explicit=False)

    def add_files(self, files: Iterable[Path]) -> None:
        """Add files that were given by name; those of one series form a volume."""
        single = []
        for file in files:
            listed = self._listed(file)
            if listed is None:
                single.append(file)
                continue
            self._aside([file], "index of a medium (DICOMDIR); the files that it lists are read")
            self._add(listed, explicit=False)
        self._add(single, explicit=True)

    def _add(self, files: Iterable[Path], *, explicit: bool) -> None:
        new = [file for file in dict.fromkeys(files) if file not in self._seen]
        self._seen.update(new)
        by_kind: dict[Kind, list[Path]] = {"picture": [], "dicom": [], "volume": [], "other": []}
        for file, kind in zip(new, each_in_threads(file_kind, new), strict=True):
            by_kind[kind].append(file)
        if explicit:  # a file of another kind is refused when it is read as a picture
            by_kind["picture"] += by_kind.pop("other")
        else:
            parts = {file.with_suffix("") for file in by_kind["volume"]}
            self._aside((f for f in by_kind["other"] if not _is_part(f, parts)), "not an image")
        folders = self._add_dicom(by_kind["dicom"], explicit=explicit)
        self._add_volumes(by_kind["volume"])
        for file in by_kind["picture"]:
            if file.parent in folders and not explicit:
                self._aside([file], "picture in the folder of a CT series")
            else:
                self._found.images.append(file)
        self._found.images.sort()

    def _add_image(self, path: Path, patient: str | None) -> None:
        self._found.images.append(path)
        if patient is not None:
            self._found.patients[path] = patient

    def _aside(self, paths: Iterable[Path], reason: str) -> None:
        self._found.set_aside.extend((path, reason) for path in paths)

    def _refuse(self, path: Path, reason: str) -> None:
        if not self._skip:
            raise InvalidSliceError(f"{str(path)!r} {reason}")
        self._aside([path], reason)

    def _listed(self, path: Path) -> list[Path] | None:
        """Return the files that a DICOMDIR lists; None if the file is not a DICOMDIR."""
        if path.suffix or file_kind(path) != "dicom":  # by the standard, a DICOMDIR has no suffix
            return None
        try:
            with guarded(path):
                names = DicomFile(path).listed()
        except InvalidFileError:
            return None
        if names is None:
            return None
        files = [path.parent.joinpath(*parts) for parts in names if ".." not in parts]
        there = [file for file in files if file.is_file()]
        if not there:
            raise InvalidFileError(
                f"{str(path)!r} is the index of a medium (DICOMDIR), and none of the {len(files)} "
                "files that it lists is there; give the folder with the slices"
            )
        return there

    # DICOM

    def _add_dicom(self, files: Sequence[Path], *, explicit: bool) -> set[Path]:
        """Add DICOM files by series; return the folders that contain a series."""
        headers = []
        for header in each_in_threads(self._header, files):
            if not isinstance(header, Header):
                self._refuse(*header)
            elif header.aside:
                self._aside([header.path], header.aside)
            else:
                headers.append(header)
        # Folders, studies and patients with a series.
        folders: set[Path] = set()
        near: set[str | None] = set()
        for group in _by_series([s for header in headers for s in header.slices]):
            for stack in self._stacks(group):
                if self._add_stack(stack):
                    folders.update(s.path.parent for s in group)
                    near.update(i for s in group for i in (s.study, s.patient) if i)
        for header in headers:
            is_near = header.path.parent in folders or bool(near & {header.study, header.patient})
            if header.screenshots:
                self._add_capture(header, is_near=is_near and not explicit)
        self._found.volumes.sort(key=lambda volume: str(volume.paths[0]))
        return folders

    def _add_stack(self, stack: Stack) -> bool:
        """Add the slices of a series; return True if they form a volume."""
        if stack.plane != "axial":
            planes = " and ".join(sorted({plane_of(s) for s in stack.slices}))
            reason = f"{planes} rather than axial slices"
            self._aside({s.path: None for s in stack.slices}, reason)
            return False
        if len(stack.slices) == 1 and stack.slices[0].frames == 1:
            self._add_image(stack.slices[0].path, stack.slices[0].patient)
            return False
        self._found.volumes.append(_volume(stack, self._base))
        return True

    def _add_capture(self, header: Header, *, is_near: bool) -> None:
        if is_near:
            self._aside([header.path], "secondary capture of a CT series")
        elif header.screenshots == 1:
            self._add_image(header.path, header.patient)
        else:
            self._found.volumes.append(_capture(header, self._base))

    def _header(self, path: Path) -> Header | tuple[Path, str]:
        try:
            return read_header(path)
        except InvalidFileError as error:
            return path, str(error).removeprefix(f"{str(path)!r} ")

    def _stacks(self, group: Sequence[Slice]) -> list[Stack]:
        if _is_loose(group):
            return [stack for s in group for stack in arrange([s], self._refuse)]
        stacks = arrange(group, self._refuse)
        for stack in stacks:
            self._found.set_aside.extend(stack.copies)
        return stacks

    # NIfTI, MHA, NRRD

    def _add_volumes(self, files: Sequence[Path]) -> None:
        for path in files:
            try:
                header = volumes.read_header(path)
                content = volumes.read_content(path)
            except InvalidFileError as error:
                if not self._skip:
                    raise
                self._aside([path], str(error).removeprefix(f"{str(path)!r} "))
                continue
            if header.plane != "axial":
                self._aside([path], f"{header.plane} rather than axial slices")
                continue
            if content == "mask":
                self._aside([path], "mask (few different values)")
                continue
            if content == "gray" and names_mask(path.name):
                self._aside([path], "mask by its name, without Hounsfield units")
                continue
            n = len(header.frames)
            self._found.volumes.append(
                FoundVolume(
                    name=_relative(path, self._base),
                    paths=(path,) * n,
                    frames=header.frames,
                    positions=header.positions,
                    spacing=header.spacing,
                    patient=None,
                    in_hu=content == "hu",
                )
            )
        windowed = [v.name for v in self._found.volumes if not v.in_hu and v.paths[0] in files]
        if windowed:
            _LOG.info(
                "%d volumes contain gray values rather than Hounsfield units and are taken as they "
                "are: %s",
                len(windowed),
                some(windowed),
            )
        self._found.volumes.sort(key=lambda volume: str(volume.paths[0]))


def _indexes(folder: Path) -> Iterator[Path]:
    """Yield the DICOMDIR of a folder, which `walk` leaves out."""
    path = folder / "DICOMDIR"
    if path.is_file():
        yield path


def _is_part(path: Path, stems: set[Path]) -> bool:
    """Return True if a file contains the voxels for the header of a volume in the same folder."""
    name = path.name.lower()
    if not name.endswith((".raw", ".zraw", ".raw.gz", ".raw.bz2", ".bin", ".img")):
        return False
    return path.with_suffix("") in stems or path.with_suffix("").with_suffix("") in stems


def _by_series(slices: Sequence[Slice]) -> Iterator[list[Slice]]:
    """Group slices by series and patient, and by folder if they have no SeriesInstanceUID."""

    def key(s: Slice) -> tuple[str, ...]:
        place = str(s.path.parent) if s.series is None else ""
        return (s.series or "", s.patient or "", place)

    for _, group in groupby(sorted(slices, key=key), key):
        yield list(group)


def _is_loose(group: Sequence[Slice]) -> bool:
    """Return True if slices only share a folder or UID, but do not form a series.

    Files without SeriesInstanceUID form a series only if they fit together and have different
    positions. Different slices with one UID and one position are not a series.
    """
    corners = [s.corner for s in group if s.corner is not None]
    is_one_place = len(corners) == len(group) and all(
        np.allclose(corner, corners[0], atol=1e-3) for corner in corners
    )
    if group[0].series is not None and not is_one_place:
        return False

    def refuse(path: Path, reason: str) -> None:
        raise InvalidFileError(f"{path} {reason}")

    try:
        stacks = arrange(group, refuse)
    except InvalidFileError:
        return True
    if group[0].series is not None:
        return False
    return len(stacks) > 1 or not np.isfinite(stacks[0].positions).all()


def _volume(stack: Stack, base: Path) -> FoundVolume:
    first = stack.slices[0]
    files = {s.path: None for s in stack.slices}
    place = first.path if len(files) == 1 else Path(os.path.commonpath([p.parent for p in files]))
    return FoundVolume(
        name=_relative(place, base),
        paths=tuple(s.path for s in stack.slices),
        frames=tuple(s.frame for s in stack.slices),
        positions=stack.positions,
        spacing=oriented_spacing(first),
        patient=first.patient,
        in_hu=True,
        is_derived=first.is_derived,
        series=first.series,
    )


def _capture(header: Header, base: Path) -> FoundVolume:
    n = header.screenshots
    return FoundVolume(
        name=_relative(header.path, base),
        paths=(header.path,) * n,
        frames=tuple(range(n)),
        positions=np.full(n, np.nan),
        spacing=(float("nan"), float("nan")),
        patient=header.patient,
        in_hu=False,
    )


def _relative(path: Path, base: Path) -> str:
    """Return a path relative to the base; the name of the folder if it is the base."""
    try:
        name = path.absolute().relative_to(base.absolute()).as_posix()
    except ValueError:
        return path.as_posix()
    return path.absolute().name if name == "." else name


def _one_per_patient(found: Found) -> Found:
    """Keep the best volume of each patient."""

    def patient(volume: FoundVolume) -> str:
        first = volume.paths[0]
        folder = first.parent if len(set(volume.paths)) == 1 else first.parent.parent
        return volume.patient or str(folder)

    best: dict[str, FoundVolume] = {}
    for volume in sorted(found.volumes, key=lambda v: (v.is_derived, -len(v), v.name)):
        # A volume file contains no patient, and counts as one.
        alone = volume.patient is None and len(set(volume.paths)) == 1
        best.setdefault(volume.name if alone else patient(volume), volume)
    kept = {id(volume) for volume in best.values()}
    aside = [
        (path, "another series of the patient")
        for volume in found.volumes
        if id(volume) not in kept
        for path in dict.fromkeys(volume.paths)
    ]
    return found._replace(
        volumes=[volume for volume in found.volumes if id(volume) in kept],
        set_aside=[*found.set_aside, *aside],
    )
