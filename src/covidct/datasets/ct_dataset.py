"""Dataset of CT slices, the input of all other packages of covidct."""

from __future__ import annotations

import copy
import hashlib
import logging
import operator
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from .._display import picture_strip
from .._text import counted, printable, some
from ..errors import InvalidFileError
from ._hashes import sha256_of_files
from .gray import WindowChoice, to_grayscale

if TYPE_CHECKING:
    import pandas as pd

    from ._interchange import TorchSlices

__all__ = ["CTDataset", "check_dataset", "relative_names"]

logger = logging.getLogger(__name__)

StrPath = str | os.PathLike[str]
OnError = Literal["raise", "skip"]
SPLITS = ("train", "val", "test")

_SHOWN = 6  # slices that a notebook shows

# Attributes with one value per slice; `subset` takes the chosen ones of each that is known.
_PER_SLICE = (
    *("paths", "names", "file_names", "targets", "frames", "labels", "groups", "sources"),
    *("volumes", "positions", "official_split", "_digests"),
)


class CTDataset:
    """Dataset of chest-CT slices in files, with targets and, if known, patients and volumes.

    A slice is a frame of a file: `paths[i]` is the file with the pixels and `frames[i]` the
    stored index of the slice in it, 0 for image files and single-frame DICOM files. It is a
    map-style dataset for PyTorch, with ``len(dataset)`` and ``dataset[i]``.

    Parameters
    ----------
    paths : iterable of str or path-like
        File of each slice: an image (PNG, JPEG, TIFF, ...), DICOM, NIfTI, MHA, MHD or NRRD.
    targets : array-like of shape (n_slices,)
        1 for COVID-19, 0 for everything else.
    groups : iterable, optional
        Group of each slice, such as its patient; `group_kind` is the kind of the groups. Slices of
        one group should not be in both the training and the test part of a split. None if unknown.
    frames : array-like of int of shape (n_slices,), optional
        Stored index of each slice in its file. By default, 0.
    labels : iterable of str, optional
        Original class of each slice, such as ``"CAP"``. By default, the name of its class.
    sources : iterable of str, optional
        Source of each slice, such as a hospital or dataset; None if unknown.
    metadata : DataFrame or mapping, optional
        Further columns with one value per slice; they become columns of `table`.
    volumes : iterable of str, optional
        Name of the series or volume of each slice, ``""`` for single pictures.
    positions : array-like of float of shape (n_slices,), optional
        Position of each slice along the body in mm, increasing towards the head; NaN if unknown.
    mask_files : mapping of str to iterable of path-like, optional
        Files with masks of the slices by name, such as ``"lesion"``; see :meth:`masks`. A mask has
        the frames of its slice; None for a slice without a mask.
    classes : tuple of (str, str), default=("non-COVID", "COVID")
        Names of class 0 and class 1.
    name : str, default="custom"
        Name of the dataset in tables and files.
    root : str or path-like, optional
        Folder to which `names` are relative. By default, names are the given paths.
    official_split : iterable of str, optional
        ``"train"``, ``"val"`` or ``"test"`` for each slice, if the authors published a split.
    group_kind : str, default="patient"
        Kind of the groups: ``"patient"``, ``"volume"``, ...
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Window through which values in Hounsfield units, and gray values of more than 8 bits, are
        shown; a tuple is (level, width). See :mod:`covidct.datasets.gray`.
    skipped : iterable of (str, str), default=()
        Name and reason of every image that was left out.

    Attributes
    ----------
    paths : tuple of Path
    names : tuple of str
        Paths relative to `root` with forward slashes; slices of a file with several frames end in
        ``#`` and the frame. Bytes that are not UTF-8 are written as hexadecimal digits.
    file_names : tuple of str
        Names without the frame.
    targets : ndarray of int64 of shape (n_slices,)
    frames : ndarray of int64 of shape (n_slices,)
    labels : ndarray of str of shape (n_slices,)
    groups, sources, volumes, official_split : ndarray of str of shape (n_slices,) or None
    positions : ndarray of float of shape (n_slices,) or None
    metadata : DataFrame or None
    classes : tuple of (str, str)
    name, group_kind : str
    registry_names : tuple of str
        Registry names of the datasets, if the slices were loaded by :func:`covidct.load_dataset`;
        otherwise empty.
    root : Path or None
    window : str or tuple
    skipped : tuple of (str, str)

    Raises
    ------
    ValueError
        If the list is empty, lengths differ, a target is neither 0 nor 1, or a group is missing.
    TypeError
        If `paths` is a single path.
    FileNotFoundError
        If a path is not a file.

    Notes
    -----
    A subclass whose images are not files overrides :meth:`read`, :meth:`masks`,
    :meth:`content_hash`, :meth:`subset` and ``_check_files``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from covidct import CTDataset
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a.png", "b.png"):
    ...     Image.new("L", (60, 40)).save(folder / name)
    >>> dataset = CTDataset([folder / "a.png", folder / "b.png"], [1, 0], ["p1", "p2"])
    >>> dataset
    CTDataset 'custom': 2 slices (1 COVID, 1 non-COVID), 2 patients
    >>> image, target = dataset[0]
    >>> image.size, image.mode, target
    ((60, 40), 'L', 1)
    """

    paths: tuple[Path, ...]

    def __init__(
        self,
        paths: Iterable[StrPath],
        targets: npt.ArrayLike,
        groups: Iterable[object] | None = None,
        *,
        frames: npt.ArrayLike | None = None,
        labels: Iterable[object] | None = None,
        sources: Iterable[object] | None = None,
        metadata: pd.DataFrame | Mapping[str, Sequence[object]] | None = None,
        volumes: Iterable[object] | None = None,
        positions: npt.ArrayLike | None = None,
        mask_files: Mapping[str, Iterable[StrPath | None]] | None = None,
        classes: Sequence[str] = ("non-COVID", "COVID"),
        name: str = "custom",
        root: StrPath | None = None,
        official_split: Iterable[str] | None = None,
        group_kind: str = "patient",
        window: WindowChoice = "lung",
        skipped: Iterable[tuple[str, str]] = (),
    ) -> None:
        if isinstance(paths, str | os.PathLike):
            raise TypeError(
                f"paths must list image files, got the single path {os.fspath(paths)!r}; "
                'load a folder with covidct.load_dataset("folder", root)'
            )
        self.paths = tuple(Path(path) for path in paths)
        if not self.paths:
            raise ValueError(f"dataset {name!r} is empty: paths lists no images")
        n = len(self.paths)
        self.targets = _as_targets(targets, n)
        self.frames = np.zeros(n, np.int64) if frames is None else _as_frames(frames, n)
        self.classes = _as_classes(classes)
        self.labels = (
            np.asarray(self.classes)[self.targets]
            if labels is None
            else _as_names("labels", labels, n)
        )
        self.groups = None if groups is None else _as_names("groups", groups, n)
        self.sources = None if sources is None else _as_names("sources", sources, n)
        self.volumes = None if volumes is None else _as_names("volumes", volumes, n, empty=True)
        self.positions = None if positions is None else _as_positions(positions, n)
        self.official_split = None if official_split is None else _as_split(official_split, n)
        self.metadata = None if metadata is None else _as_metadata(metadata, n)
        self.mask_files = {kind: tuple(files) for kind, files in (mask_files or {}).items()}
        for kind, files in self.mask_files.items():
            _check_length(f"mask_files[{kind!r}]", len(files), n)
        self.name = name
        self.root = None if root is None else Path(root)
        self.file_names = _file_names(self.paths, self.root)
        self.names = _names(self.file_names, self.frames)
        self.group_kind = group_kind
        self.window = window
        self.skipped = tuple(skipped)
        self.registry_names: tuple[str, ...] = ()
        self._digests: tuple[str, ...] | None = None
        self._owned_folder: object = None  # keeps the files of `from_images`
        self._check_files()
        if repeated := [name for name, count in Counter(self.names).items() if count > 1]:
            logger.warning(
                "%d slices are listed more than once, and may be in both parts of a split: %s",
                len(repeated),
                some(repeated),
            )

    @classmethod
    def from_images(
        cls,
        images: Iterable[Any],
        targets: npt.ArrayLike,
        groups: Iterable[object] | None = None,
        *,
        folder: StrPath | None = None,
        window: WindowChoice = "lung",
        **options: Any,
    ) -> Self:
        """Create a dataset from images in memory, which are written to a folder as gray PNG files.

        Parameters
        ----------
        images : iterable of PIL.Image.Image, ndarray or torch.Tensor
            Slices of any size. Arrays and tensors are (height, width), (1, height, width), or have
            three channels, first or last; of type uint8, or floats in [0, 1]. Other values are
            converted by :func:`covidct.datasets.gray.to_gray`, Hounsfield units through `window`.
        targets : array-like of shape (n_slices,)
            1 for COVID-19, 0 for everything else.
        groups : iterable, optional
            Patient of each slice. None if unknown.
        folder : str or path-like, optional
            Folder for the files, ``00000.png`` and so on; created if necessary. By default, a
            temporary folder, which is deleted together with the dataset and all its subsets.
        window : {"lung", "range"} or tuple of (float, float), default="lung"
            Window for Hounsfield units; a tuple is (level, width).
        **options
            Further parameters of :class:`CTDataset`, such as `labels`, `sources` and `metadata`.

        Returns
        -------
        CTDataset
            The dataset.

        Raises
        ------
        ValueError
            If an image does not have one of these shapes, or `images` and `targets` differ in
            length.
        FileExistsError
            If `folder` already contains numbered PNG files, as written by an earlier call.

        Examples
        --------
        >>> import numpy as np
        >>> from covidct import CTDataset
        >>> pixels = np.random.default_rng(0).integers(0, 256, (4, 40, 60), dtype=np.uint8)
        >>> CTDataset.from_images(pixels, [0, 1, 0, 1], groups=["a", "b", "c", "d"])
        CTDataset 'custom': 4 slices (2 COVID, 2 non-COVID), 4 patients
        """
        from ._interchange import TemporaryFolder, write_images

        owned = TemporaryFolder() if folder is None else None
        # Without an owned folder, one was given.
        root = Path(folder) if owned is None else owned.path  # type: ignore[arg-type]
        paths = write_images(images, root, window=window)
        dataset = cls(paths, targets, groups, **{"root": root, **options})
        dataset._owned_folder = owned
        return dataset

    @classmethod
    def from_torch(
        cls,
        dataset: Any,
        groups: Iterable[object] | None = None,
        *,
        positive: object = None,
        negative: object = None,
        **options: Any,
    ) -> CTDataset:
        """Create a dataset from a PyTorch dataset, such as torchvision's ``ImageFolder``.

        Parameters
        ----------
        dataset : torch.utils.data.Dataset
            A :class:`torchvision.datasets.ImageFolder`, or any other dataset of pairs of image and
            target (0 or 1), whose images are read once and written to files as by
            :meth:`from_images`; or a :class:`torch.utils.data.Subset` of one of these, of a
            `CTDataset`, or of :meth:`as_torch`. Its transforms are not applied to files.
        groups : iterable, optional
            Patient of each slice of `dataset`. None if unknown; ``covidct.load_dataset("folder",
            root)`` finds patients in the folder of an ``ImageFolder``.
        positive, negative : str or sequence of str, optional
            Class folders of COVID-19, and of class 0, as in ``load_dataset("folder", root)``.
        **options
            Further parameters of :class:`CTDataset`.

        Returns
        -------
        CTDataset
            The dataset; a subset keeps the patients, sources and other attributes of its slices.

        Raises
        ------
        TypeError
            If `dataset` is not one of these.
        ValueError
            If it is unclear which class is COVID-19, if `positive` or `negative` is given and
            `dataset` has no class folders, or if `groups` or `options` are given and its slices
            are those of a `CTDataset`.

        Examples
        --------
        >>> import covidct
        >>> from torch.utils.data import Subset
        >>> slices = covidct.load_dataset("phantom", n=8)
        >>> covidct.CTDataset.from_torch(Subset(slices, [0, 1, 2, 3]))
        PhantomDataset 'phantom': 4 slices (2 COVID, 2 non-COVID), 2 patients
        """
        from ._interchange import from_torch, without_subsets

        base, index = without_subsets(dataset)
        if not isinstance(base, CTDataset):
            return from_torch(
                cls, base, index, groups, positive=positive, negative=negative, options=options
            )
        if positive is not None or negative is not None:
            raise ValueError(
                "positive and negative choose the class folders of an ImageFolder only"
            )
        if options or groups is not None:
            given = ", ".join((*(() if groups is None else ("groups",)), *options))
            raise ValueError(
                f"slices of a CTDataset keep their attributes, so omit {given}; choose a subset of "
                "it with subset(index)"
            )
        return base.subset(index)

    def as_torch(self, transform: Callable[[Any], Any] | None = None) -> TorchSlices:
        """Return the slices as a PyTorch dataset of tensors, for a ``DataLoader``.

        Parameters
        ----------
        transform : callable, optional
            Function that is applied to each slice, a PIL image in mode "L", such as
            :class:`covidct.AspectPreservingPad`. If it returns a PIL image, and by default, the
            slice is converted to a tensor of uint8 of shape (1, height, width). A batch needs
            slices of one size.

        Returns
        -------
        torch.utils.data.Dataset
            Pairs of tensor and target.

        Examples
        --------
        >>> import covidct
        >>> from torch.utils.data import DataLoader
        >>> slices = covidct.load_dataset("phantom", n=8)
        >>> loader = DataLoader(slices.as_torch(covidct.AspectPreservingPad(224)), batch_size=4)
        >>> images, targets = next(iter(loader))
        >>> images.shape, images.dtype, targets
        (torch.Size([4, 1, 224, 224]), torch.uint8, tensor([1, 0, 1, 0]))
        """
        from ._interchange import TorchSlices

        return TorchSlices(self, transform)

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Return one slice as an 8-bit gray image (PIL mode "L"), and its target."""
        try:
            position = operator.index(index)
        except TypeError:
            raise TypeError(
                f"index must be an integer, got a {type(index).__name__}; take several slices with "
                "subset(...)"
            ) from None
        if not -len(self) <= position < len(self):
            raise IndexError(f"index {position} is out of range for {len(self)} slices")
        position %= len(self)
        return to_grayscale(self.read(position)), int(self.targets[position])

    def __repr__(self) -> str:
        counts = np.bincount(self.targets, minlength=2)
        held = ", ".join(f"{counts[k]:,} {self.classes[k]}" for k in (1, 0))
        parts = [f"{type(self).__name__} {self.name!r}: {len(self):,} slices ({held})"]
        for kind, values in (
            (self.group_kind, self.groups),
            ("volume", None if self.group_kind == "volume" else self.volumes),
            ("source", self.sources),
        ):
            if values is not None:
                parts.append(counted(len(set(values.tolist()) - {""}), kind))
        if self.skipped:
            parts.append(f"{len(self.skipped):,} skipped")
        return ", ".join(parts)

    def _repr_html_(self) -> str:
        table = self.table.drop(columns=["path", "frame"]).dropna(axis=1, how="all")
        # From the first to the last slice, so that the classes, which follow each other in most
        # datasets, all occur.
        shown = np.unique(np.linspace(0, len(self) - 1, min(_SHOWN, len(self))).astype(int))
        rows = table.iloc[shown].to_html(border=0)
        return f"<p>{escape(repr(self))}</p>{picture_strip(self._thumbnails(shown))}{rows}"

    def _thumbnails(self, index: npt.NDArray[np.int64]) -> Iterator[tuple[Image.Image, str]]:
        """Yield the chosen slices with their labels; a slice that cannot be read is black."""
        for i in index.tolist():
            try:
                yield self[i][0], f"{i}: {self.labels[i]}"
            except InvalidFileError:
                yield Image.new("L", (128, 96)), f"{i}: {self.labels[i]}, cannot be read"

    @property
    def table(self) -> pd.DataFrame:
        """Table of the slices, with one row per slice.

        Returns
        -------
        DataFrame
            With the columns ``name``, ``path``, ``frame``, ``label``, ``target``, ``group``,
            ``volume``, ``position``, ``source`` and ``split``, followed by those of `metadata`.
            Unknown values are None or NaN; ``source`` is then the dataset's name.

        Examples
        --------
        >>> import covidct
        >>> table = covidct.load_dataset("phantom", n=4).table
        >>> table.loc[0, ["label", "group"]].tolist()
        ['COVID', 'patient-0000']
        """
        import pandas as pd

        columns: dict[str, Any] = {
            "name": self.names,
            "path": self.paths,
            "frame": self.frames,
            "label": self.labels,
            "target": self.targets,
            "group": self.groups,
            "volume": self.volumes,
            "position": np.nan if self.positions is None else self.positions,
            "source": self.name if self.sources is None else self.sources,
            "split": self.official_split,
        }
        table = pd.DataFrame(columns, index=range(len(self)))
        if self.metadata is None:
            return table
        own = self.metadata.reset_index(drop=True)
        return table.join(own[[name for name in own.columns if name not in columns]])

    def read(self, index: int) -> Image.Image:
        """Read one slice.

        Parameters
        ----------
        index : int
            Position of the slice.

        Returns
        -------
        PIL.Image.Image
            Pictures in their stored mode, all other slices in 8-bit gray.

        Raises
        ------
        covidct.errors.InvalidFileError
            If the file cannot be decoded.
        """
        from .frames import read_frame

        return read_frame(self.paths[index], int(self.frames[index]), window=self.window)

    def masks(self, index: int) -> dict[str, npt.NDArray[np.bool_]] | None:
        """Read the masks of one slice.

        Parameters
        ----------
        index : int
            Position of the slice.

        Returns
        -------
        dict of str to ndarray of bool of shape (height, width), or None
            Masks by name, such as ``"lesion"``; None if no masks are known.

        Raises
        ------
        covidct.errors.InvalidFileError
            If a mask cannot be decoded.
        """
        from .frames import read_mask

        files = {kind: paths[index] for kind, paths in self.mask_files.items()}
        return {
            kind: read_mask(Path(path), int(self.frames[index]))
            for kind, path in files.items()
            if path is not None
        } or None

    def subset(self, index: npt.ArrayLike) -> Self:
        """Return the dataset of the chosen slices, in the order of `index`.

        Parameters
        ----------
        index : array-like of int or of bool
            Positions, or one boolean per slice.

        Returns
        -------
        CTDataset
            Dataset of the same kind.

        Raises
        ------
        IndexError
            If a position is out of range, or a boolean index does not have one value per slice.
        TypeError
            If `index` contains neither integers nor booleans.
        ValueError
            If `index` is empty.
        """
        chosen = self._positions(index)
        part = copy.copy(self)
        for attribute in _PER_SLICE:
            values = getattr(self, attribute)
            if isinstance(values, tuple):
                setattr(part, attribute, tuple(values[i] for i in chosen))
            elif values is not None:
                setattr(part, attribute, values[chosen])
        part.metadata = None if self.metadata is None else self.metadata.iloc[chosen]
        part.mask_files = {
            kind: tuple(files[i] for i in chosen) for kind, files in self.mask_files.items()
        }
        return part

    def content_hash(self) -> str:
        """Return a SHA-256 of the slices: names, frames, targets and bytes, and the window.

        It does not depend on the location of the files if `root` was given. Files are not decoded.
        Each file is read once; its hash is cached together with the size and times of the file, and
        used until they change. The environment variable ``COVIDCT_CACHE_HASHES=0`` disables this
        cache.

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        if self._digests is None:
            files = list(dict.fromkeys(self.paths))
            known = dict(zip(files, sha256_of_files(files), strict=True))
            self._digests = tuple(known[path] for path in self.paths)
        total = hashlib.sha256(f"{self.window}\n".encode())
        for name, target, digest in zip(self.names, self.targets, self._digests, strict=True):
            total.update(f"{name}\0{target}\0{digest}\n".encode())
        return total.hexdigest()

    def _positions(self, index: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Convert positions or a boolean mask to valid, non-negative positions."""
        array = np.atleast_1d(np.asarray(index))
        if array.ndim != 1:
            raise IndexError(f"index must be one-dimensional, got shape {array.shape}")
        if array.dtype == np.bool_:
            if len(array) != len(self):
                raise IndexError(f"a boolean index needs {len(self)} values, got {len(array)}")
            array = np.flatnonzero(array)
        if not array.size:
            raise ValueError(f"the subset of dataset {self.name!r} would be empty")
        if not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"index must contain integers or booleans, got dtype {array.dtype}")
        outside = array[(array < -len(self)) | (array >= len(self))]
        if outside.size:
            raise IndexError(f"index {outside[0]} is out of range for {len(self)} slices")
        return array.astype(np.int64) % len(self)

    def _check_files(self) -> None:
        """Raise an error unless every path is a file; subclasses that draw their images pass."""
        missing = [os.fspath(path) for path in dict.fromkeys(self.paths) if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(self)} paths are not files: {some(missing)}"
            )


def check_dataset(value: object) -> None:
    """Raise a TypeError that explains how to create a dataset, unless `value` is one."""
    if not isinstance(value, CTDataset):
        raise TypeError(
            f"dataset must be a covidct.CTDataset, got {type(value).__module__}."
            f'{type(value).__qualname__}; load a folder with covidct.load_dataset("folder", root), '
            "list image files with covidct.CTDataset(paths, targets), or convert a PyTorch dataset "
            "with covidct.CTDataset.from_torch(dataset)"
        )


def _check_length(what: str, got: int, wanted: int) -> None:
    if got != wanted:
        raise ValueError(f"{what} must have one value per path: got {got} for {wanted} paths")


def _as_targets(targets: npt.ArrayLike, length: int) -> npt.NDArray[np.int64]:
    array = np.asarray(targets)
    if array.ndim != 1:
        raise ValueError(f"targets must be one-dimensional, got shape {array.shape}")
    _check_length("targets", len(array), length)
    wrong = [value for value in array.tolist() if value not in (0, 1)]
    if wrong:
        raise ValueError(f"targets must be 0 or 1 (1 is COVID-19), got {wrong[0]!r}")
    return array.astype(np.int64)


def _as_frames(frames: npt.ArrayLike, length: int) -> npt.NDArray[np.int64]:
    array = np.asarray(frames)
    _check_length("frames", array.size if array.ndim == 1 else -1, length)
    if not np.issubdtype(array.dtype, np.integer) or array.min() < 0:
        raise ValueError(f"frames must be integers from 0 on, got {array.dtype} {array.min()}")
    return array.astype(np.int64)


def _as_positions(positions: npt.ArrayLike, length: int) -> npt.NDArray[np.float64]:
    array = np.asarray(positions, np.float64)
    _check_length("positions", array.size if array.ndim == 1 else -1, length)
    return array


def _as_names(
    what: str, names: Iterable[object], length: int, *, empty: bool = False
) -> npt.NDArray[Any]:
    values = list(names)
    _check_length(what, len(values), length)
    missing = [
        i
        for i, value in enumerate(values)
        if value is None or value != value or (value == "" and not empty)
    ]
    if missing:
        raise ValueError(
            f"{what} has no value (None, NaN or '') for {len(missing)} slices, the first at "
            f"{missing[0]}; name each, or pass {what}=None"
        )
    return np.asarray([str(value) for value in values])


def _as_split(split: Iterable[str], length: int) -> npt.NDArray[Any]:
    values = [str(value) for value in split]
    _check_length("official_split", len(values), length)
    wrong = sorted(set(values) - set(SPLITS))
    if wrong:
        raise ValueError(f"official_split must be one of {SPLITS}, got {wrong[0]!r}")
    return np.asarray(values)


def _as_metadata(
    metadata: pd.DataFrame | Mapping[str, Sequence[object]], length: int
) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(metadata).reset_index(drop=True)
    _check_length("metadata", len(table), length)
    return table


def _as_classes(classes: Sequence[str]) -> tuple[str, str]:
    if isinstance(classes, str) or len(classes) != 2 or classes[0] == classes[1]:
        raise ValueError(
            f"classes must be two different names, of class 0 and class 1, got {classes!r}"
        )
    return str(classes[0]), str(classes[1])


def relative_names(paths: Iterable[Path], root: Path) -> list[str]:
    """Return paths below `root` relative to it, with forward slashes."""
    # Half a million calls of Path.relative_to take ten seconds; slices of strings take one.
    start = len(root.as_posix().rstrip("/")) + 1
    return [
        path.as_posix()[start:] if _is_below(path, root) else path.relative_to(root).as_posix()
        for path in paths
    ]


def _is_below(path: Path, root: Path) -> bool:
    return str(path).startswith(f"{root}{os.sep}")


def _file_names(paths: tuple[Path, ...], root: Path | None) -> tuple[str, ...]:
    if root is None:
        return tuple(printable(path.as_posix()) for path in paths)
    outside = [
        os.fspath(path)
        for path in paths
        if not _is_below(path, root) and not path.is_relative_to(root)
    ]
    if outside:
        raise ValueError(
            f"{len(outside)} paths are not below root {os.fspath(root)!r}: {some(outside)}"
        )
    return tuple(map(printable, relative_names(paths, root)))


def _names(files: tuple[str, ...], frames: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """Name each slice by its file, and by the frame if the file contains several slices."""
    several = {file for file, frame in zip(files, frames, strict=True) if frame}
    return tuple(
        f"{file}#{frame}" if file in several else file
        for file, frame in zip(files, frames.tolist(), strict=True)
    )
