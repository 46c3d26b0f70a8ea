"""Grid of a CT volume in patient coordinates, for writing arrays that overlay it.

Needs SimpleITK: ``pip install 'covidct[volumes]'``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .._extras import require
from .._files import atomic_path
from . import volumes
from ._listing import file_kind
from .series import Slice, radiological, read_header

__all__ = ["VolumeGrid", "read_grid", "write_nifti"]

Array = npt.NDArray[np.float64]

# Largest distance of a slice from its place in an evenly spaced stack, as a share of the spacing.
_TOLERANCE = 0.1
# The most places of a stack per slice; beyond it, the slices are not a series with gaps.
_MAX_GAPS = 4


@dataclass(frozen=True, eq=False)
class VolumeGrid:
    """Grid of the voxels of a volume, as stored.

    Attributes
    ----------
    shape : tuple of (int, int, int)
        Number of slices, rows and columns of the stored array, as SimpleITK returns it.
    spacing : tuple of (float, float, float)
        Distance of the centers of voxels in mm, along the columns, the rows and the slices: x, y, z
        of SimpleITK.
    origin : tuple of (float, float, float)
        Center of the first voxel in mm; x increases to the patient's left, y to the back, z to the
        head (LPS).
    direction : ndarray of shape (3, 3)
        Directions of the three axes, as columns.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: Array = field(repr=False)
    _header: volumes.VolumeHeader | None = field(default=None, repr=False)  # of a volume file
    _slices: Mapping[tuple[Path, int], tuple[int, Slice]] = field(default_factory=dict, repr=False)

    def slice_view(
        self, array: npt.NDArray[np.float32], path: Path, frame: int
    ) -> npt.NDArray[np.float32]:
        """Return one slice of a stored array, as a writable view.

        Parameters
        ----------
        array : ndarray of `shape`
            Stored array.
        path : Path
            File of the slice.
        frame : int
            Index of the slice within its file.

        Returns
        -------
        ndarray of shape (height, width)
            View in the orientation of displayed slices: the patient's right on the left, anterior
            up.
        """
        if self._header is not None:
            stored: npt.NDArray[np.float32] = self._header.oriented(array)[frame]
            return stored
        place, found = self._slices[path, frame]
        view: npt.NDArray[np.float32] = radiological(array[place], found.orientation)
        return view


def read_grid(slices: Sequence[tuple[Path, int]]) -> VolumeGrid:
    """Read the grid of a volume from the headers of its files.

    Parameters
    ----------
    slices : sequence of (Path, int)
        File and frame of each slice, from the feet to the head, of one volume file or one DICOM
        series. Places of missing slices of a DICOM series are part of the grid.

    Returns
    -------
    VolumeGrid
        The grid.

    Raises
    ------
    ValueError
        If the slices are pictures, which have no geometry, or if a DICOM series lacks
        ImagePositionPatient, ImageOrientationPatient or PixelSpacing, or its slices are not
        stacked evenly and perpendicularly.
    covidct.errors.InvalidFileError
        If a file is damaged.
    ModuleNotFoundError
        If SimpleITK is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import SimpleITK as sitk
    >>> from covidct.datasets.geometry import read_grid
    >>> path = Path(tempfile.mkdtemp(), "scan.nii.gz")
    >>> sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 12, 16), np.int16)), path)
    >>> read_grid([(path, 0)]).shape
    (5, 12, 16)
    """
    path = slices[0][0]
    kind = file_kind(path)
    if kind == "volume":
        axes = volumes.read_axes(path)
        return VolumeGrid(
            shape=tuple(axes.size[::-1].tolist()),
            spacing=tuple(axes.spacing.tolist()),
            origin=tuple(axes.origin.tolist()),
            direction=axes.direction,
            _header=volumes.read_header(path),
        )
    if kind == "dicom":
        return _series_grid(slices)
    raise ValueError(f"{str(path)!r} is a picture without a position in the body")


def write_nifti(path: Path, array: npt.NDArray[np.float32], grid: VolumeGrid) -> None:
    """Write an array as a NIfTI file that overlays the volume of the grid.

    Parameters
    ----------
    path : Path
        File to write, with a name that ends in ``.nii.gz``.
    array : ndarray of shape ``grid.shape``
        Values of the voxels.
    grid : VolumeGrid
        The grid.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from covidct.datasets.geometry import VolumeGrid, write_nifti
    >>> grid = VolumeGrid((5, 12, 16), (0.7, 0.7, 5.0), (-100.0, -90.0, 30.0), np.eye(3))
    >>> path = Path(tempfile.mkdtemp(), "map.nii.gz")
    >>> write_nifti(path, np.zeros(grid.shape, np.float32), grid)
    >>> path.exists()
    True
    """
    sitk = require("SimpleITK", extra="volumes")
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction.ravel().tolist())
    with atomic_path(path, failures=(RuntimeError,)) as temporary:
        named = temporary.with_name(f"{temporary.name}.nii.gz")  # ITK needs the suffix
        try:
            sitk.WriteImage(image, named)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)


def _series_grid(wanted: Sequence[tuple[Path, int]]) -> VolumeGrid:
    """Return the grid of the slices of a DICOM series."""
    headers = [read_header(path) for path in dict.fromkeys(path for path, _ in wanted)]
    found = {(s.path, s.frame): s for header in headers for s in header.slices}
    slices = [found[key] for key in wanted]
    first, name = slices[0], str(slices[0].path)
    lacking = [
        keyword
        for keyword, values in (
            ("ImagePositionPatient", [s.corner for s in slices]),
            ("ImageOrientationPatient", [s.orientation for s in slices]),
            ("PixelSpacing", [s.spacing for s in slices]),
        )
        if any(value is None for value in values)
    ]
    if lacking or first.orientation is None or first.spacing is None:
        raise ValueError(f"the series of {name!r} lacks {', '.join(lacking)}")
    corners = np.array([s.corner for s in slices])
    places, step = _even(corners, np.cross(*first.orientation), name)
    length = float(np.linalg.norm(step))
    direction = np.column_stack([*first.orientation, step / length])
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        raise ValueError(f"the series of {name!r} is sheared, for example by a tilted gantry")
    return VolumeGrid(
        shape=(int(places[-1]) + 1, *first.shape),
        spacing=(first.spacing[1], first.spacing[0], length),
        origin=tuple(corners[0].tolist()),
        direction=direction,
        _slices={key: (int(i), found[key]) for key, i in zip(wanted, places, strict=True)},
    )


def _even(corners: Array, normal: Array, name: str) -> tuple[Array, Array]:
    """Return the number of each slice in an evenly spaced stack, and the step in mm."""
    if len(corners) == 1:
        return np.zeros(1), normal
    steps = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    # Of a short series, or one with many gaps, the least distance of slices is the true one.
    for length in (np.median(steps), steps.min()):
        places = np.rint(np.linalg.norm(corners - corners[0], axis=1) / length)
        step = (corners[-1] - corners[0]) / max(places[-1], 1)
        off = np.linalg.norm(corners - corners[0] - places[:, None] * step, axis=1)
        is_even = (np.diff(places) >= 1).all() and (off <= _TOLERANCE * np.linalg.norm(step)).all()
        if is_even and places[-1] <= _MAX_GAPS * len(corners):
            return places, step
    raise ValueError(f"the slices of the series of {name!r} are not evenly spaced")
