"""Predictions of a run's fitted folds on new slices and volumes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import groupby, islice
from math import isnan, nan
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Self, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from .._checks import whole
from .._memory import keep_freed_memory
from ..datasets._listing import is_slice, walk
from ..datasets._parallel import each_in_threads, some
from ..datasets.canvases import to_canvas
from ..datasets.dicom import Volume, is_volume, read_series
from ..datasets.gray import WindowChoice, to_grayscale
from ..datasets.reading import read_image
from ..devices import Precision, resolve_device
from ..errors import InvalidFileError, InvalidSliceError
from ..inference import infer
from ..models.classifier import CTClassifier
from .out_of_distribution import TrainingReference, descriptors, seen_by_any
from .result import CrossValidationResult

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Prediction",
    "Predictions",
    "Predictor",
    "VolumePrediction",
    "find_slices",
    "with_images",
]

StrPath = str | PathLike[str]

_LOG = logging.getLogger(__name__)

# An image that is enlarged more than this lacks the detail that the network was trained on, and
# one that fills less of its canvas is a strip rather than a slice.
_LARGEST_ENLARGEMENT = 4.0
_SMALLEST_FILLING = 0.4

_COLUMNS = (
    *("path", "probability", "spread", "doubts"),
    *("position", "volume", "volume_probability", "frame", "lung"),
)


class Prediction(NamedTuple):
    """Prediction of one slice, without its pixels.

    Attributes
    ----------
    path : str
        File of the slice.
    probability : float
        Probability of COVID-19 in [0, 1], the mean over the folds. NaN if the file could not be
        read.
    spread : float
        Sample standard deviation of the probability over the folds; 0 for a single fold.
    doubts : tuple of str
        Reasons for caution: the slice differs from the training slices, is one of them, or could
        not be read.
    size : tuple of (int, int)
        Height and width of the image in pixels; (0, 0) if it could not be read.
    frame : int, default=0
        Index of the slice within its file; 0 if the file holds one slice.
    position : float, default=nan
        Position along the normal of the slices, in mm; NaN if the slice was not scored as part of a
        volume.
    volume : str or None, default=None
        Path of the volume that the slice was scored as part of.
    volume_probability : float, default=nan
        Probability of the volume, see `VolumePrediction`.
    lung : bool or None, default=None
        True if the slice shows lung; None if unknown.
    """

    path: str
    probability: float
    spread: float
    doubts: tuple[str, ...]
    size: tuple[int, int]
    frame: int = 0
    position: float = nan
    volume: str | None = None
    volume_probability: float = nan
    lung: bool | None = None

    @property
    def readable(self) -> bool:
        """False if the file could not be read."""
        return not isnan(self.probability)

    def to_dict(self) -> dict[str, object]:
        """Return the row of this slice in :meth:`Predictions.to_frame`.

        Returns
        -------
        dict
            Column to value; ``doubts`` is a tuple.
        """
        return {name: getattr(self, name) for name in _COLUMNS}


@dataclass(frozen=True, eq=False)
class VolumePrediction:
    """Predictions of the slices of one volume, without pixels.

    Parameters
    ----------
    path : str
        Folder of the series, or multi-frame file.
    slices : tuple of Prediction
        Slices ordered by position: from the feet to the head if they are axial.

    Examples
    --------
    >>> from covidct.runs.predictor import Prediction, VolumePrediction
    >>> slices = [Prediction("", p, 0.0, (), (512, 512)) for p in (0.1, 0.9, 0.3)]
    >>> VolumePrediction("series", tuple(slices))
    VolumePrediction(path='series', slices=3, probability=0.900)
    """

    path: str
    slices: tuple[Prediction, ...]

    @property
    def probability(self) -> float:
        """Probability of COVID-19: the mean of the highest third of the slices.

        Most slices of a patient with COVID-19 show no lesion, so that the mean of all slices
        depends on the length of the scan. The maximum rests on a single slice, and grows with the
        number of slices in healthy patients too. The value is not calibrated: choose a threshold
        on volumes with a known diagnosis.
        """
        ordered = np.sort([prediction.probability for prediction in self.slices])
        return float(ordered[-max(1, round(len(ordered) / 3)) :].mean())

    @property
    def positions(self) -> npt.NDArray[np.float64]:
        """Positions of the slices along their normal in mm, ascending; shape (n_slices,)."""
        return np.array([prediction.position for prediction in self.slices])

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.slices)

    def __repr__(self) -> str:
        return (
            f"VolumePrediction(path={self.path!r}, slices={len(self)}, "
            f"probability={self.probability:.3f})"
        )


class Predictions(Sequence[Prediction]):
    """Predictions of :meth:`Predictor.predict`: a sequence of `Prediction`, without pixels.

    Parameters
    ----------
    predictions : iterable of Prediction
        Predictions in the order of the files; slices of a volume are in the order of their
        positions.

    Examples
    --------
    >>> from covidct.runs.predictor import Prediction, Predictions
    >>> predictions = Predictions([Prediction("a.png", 0.9, 0.1, (), (512, 512))])
    >>> predictions.to_frame()[["path", "probability"]]
        path  probability
    0  a.png          0.9
    """

    def __init__(self, predictions: Iterable[Prediction]) -> None:
        self._predictions = tuple(predictions)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: int | slice) -> Prediction | Predictions:
        """Return one prediction, or the predictions of a slice of the sequence."""
        if isinstance(index, slice):
            return Predictions(self._predictions[index])
        return self._predictions[index]

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self._predictions)

    @cached_property
    def volumes(self) -> tuple[VolumePrediction, ...]:
        """Volumes among the paths, in their order; empty if all slices are single images."""
        parts = groupby(self, key=lambda prediction: prediction.volume)
        return tuple(VolumePrediction(path, tuple(s)) for path, s in parts if path is not None)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row per slice.

        Returns
        -------
        pandas.DataFrame
            Columns ``path``, ``probability``, ``spread``, ``doubts`` (joined by "; "),
            ``position`` (mm, NaN if unknown), ``volume`` (None for single images),
            ``volume_probability``, ``frame`` and ``lung`` (missing if unknown); see `Prediction`.
        """
        import pandas as pd

        rows = [p.to_dict() | {"doubts": "; ".join(p.doubts)} for p in self]
        return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(
            {"probability": float, "spread": float, "position": float}
            | {"volume_probability": float, "frame": int, "lung": "boolean"}
        )

    def __repr__(self) -> str:
        counts = [
            f"{len(self):,} slices",
            *([f"{len(self.volumes):,} volumes"] if self.volumes else []),
        ]
        lines = [f"Predictions of {', '.join(counts)}"]
        found = [p.probability for p in self if p.readable]
        if found:
            positive = sum(probability >= 0.5 for probability in found)
            lines.append(
                f"probability: {min(found):.3f} to {max(found):.3f}, "
                f"mean {np.mean(found):.3f}; {positive:,} slices at 0.5 or above"
            )
        if len(found) < len(self):
            lines.append(f"not readable: {len(self) - len(found):,}")
        doubts = Counter(doubt for p in self if p.readable for doubt in set(p.doubts))
        lines += [f"doubt: {doubt} ({count:,})" for doubt, count in doubts.most_common(3)]
        return "\n  ".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>{self.to_frame().to_html(max_rows=10)}"


class _Loaded(NamedTuple):
    """A slice before it is scored; the canvas is None if `problem` is set."""

    prediction: Prediction
    canvas: npt.NDArray[np.uint8] | None


class Predictor:
    """Score new slices and volumes by the mean probability of fitted folds.

    Parameters
    ----------
    models : sequence of CTClassifier
        Fitted networks of one architecture and canvas size.
    references : sequence of TrainingReference
        Descriptions of the training slices, one per model in the same order.
    resize : {"pad", "stretch"}, default="pad"
        Resizing of slices to the canvas, as in training.
    device : str, default="auto"
        Device, see :func:`covidct.devices.resolve_device`.
    precision : {"float32", "bfloat16", "auto"}, default="float32"
        Arithmetic precision, see :func:`covidct.devices.resolve_precision`.

    Attributes
    ----------
    models : list of CTClassifier
        The networks in evaluation mode, on the device.
    input_size : tuple of (int, int)
        Height and width of the networks' canvases.

    Raises
    ------
    ValueError
        If `models` is empty, or `references` has another length.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import covidct
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> result = cv.run(slices)
    >>> predictor = covidct.Predictor.from_run(result.run_dir)
    >>> folder = Path(tempfile.mkdtemp())
    >>> slices[0][0].save(folder / "new.png")
    >>> predictions = predictor.predict(folder)
    >>> len(predictions), 0 <= predictions[0].probability <= 1
    (1, True)
    """

    def __init__(
        self,
        models: Sequence[CTClassifier],
        references: Sequence[TrainingReference],
        *,
        resize: Literal["pad", "stretch"] = "pad",
        device: str = "auto",
        precision: Precision = "float32",
    ) -> None:
        if not models or len(models) != len(references):
            raise ValueError(
                f"give one reference per model, got {len(references)} for {len(models)} models"
            )
        self.device = resolve_device(device)
        self.models = [model.to(self.device).eval() for model in models]
        self.references = list(references)
        self.resize: Literal["pad", "stretch"] = resize
        self.precision: Precision = precision
        self.input_size = self.models[0].input_size

    @classmethod
    def from_run(
        cls, run_dir: StrPath, *, device: str = "auto", precision: Precision = "float32"
    ) -> Self:
        """Load the fitted folds of a finished run.

        Parameters
        ----------
        run_dir : str or Path
            Folder of the run.
        device : str, default="auto"
            Device, see :func:`covidct.devices.resolve_device`.
        precision : {"float32", "bfloat16", "auto"}, default="float32"
            Arithmetic precision, see :func:`covidct.devices.resolve_precision`.

        Returns
        -------
        Predictor
            Predictor with the networks of all folds.

        Raises
        ------
        FileNotFoundError
            If the folder contains no run.
        InvalidFileError
            If a file of the run is missing or damaged.
        ValueError
            If the run is not finished.
        """
        result = CrossValidationResult.load(run_dir)
        numbers = range(len(result.folds))
        return cls(
            [result.fold_model(k) for k in numbers],
            [result.fold_reference(k) for k in numbers],
            resize=result.recipe.resize,
            device=device,
            precision=precision,
        )

    def predict(
        self,
        paths: StrPath | Iterable[StrPath],
        *,
        on_error: Literal["raise", "skip"] = "raise",
        batch_size: int = 32,
        series: str | None = None,
        window: WindowChoice = "lung",
    ) -> Predictions:
        """Score slices and volumes.

        A folder that contains the DICOM files of one series and nothing else, and a multi-frame
        DICOM file, are scored as volumes. Other files are scored as single slices. Use
        :meth:`stream` to score more slices than memory has room for predictions.

        Parameters
        ----------
        paths : str, Path or iterable of them
            Images, DICOM files, and folders of them, which are searched recursively.
        on_error : {"raise", "skip"}, default="raise"
            With ``"skip"``, a file or volume that cannot be read yields a prediction of NaN, with
            the reason among its doubts.
        batch_size : int, default=32
            Number of slices per forward pass.
        series : str or None, default=None
            SeriesInstanceUID of the series to score. Each folder among `paths` is then read as a
            volume, and may contain other series.
        window : {"lung", "file"} or tuple of (float, float), default="lung"
            Display window of volumes, see :func:`covidct.datasets.dicom.read_series`.

        Returns
        -------
        Predictions
            Predictions in the order of the files.

        Raises
        ------
        FileNotFoundError
            If a path does not exist, or no images are found.
        InvalidFileError
            If a file or volume cannot be read and `on_error` is ``"raise"``.
        ModuleNotFoundError
            If a file is DICOM and pydicom is not installed.
        UnknownNameError
            If a folder does not contain `series`.
        ValueError
            If `on_error`, `batch_size` or `window` is invalid.
        """
        return Predictions(
            self.stream(
                paths, on_error=on_error, batch_size=batch_size, series=series, window=window
            )
        )

    def stream(
        self,
        paths: StrPath | Iterable[StrPath],
        *,
        on_error: Literal["raise", "skip"] = "raise",
        batch_size: int = 32,
        series: str | None = None,
        window: WindowChoice = "lung",
    ) -> Iterator[Prediction]:
        """Score slices and volumes one by one, in memory that does not grow with their number.

        Files are decoded in other threads while the networks compute. A volume is read as a whole,
        so that memory is bounded by the largest volume.

        Parameters
        ----------
        paths, on_error, batch_size, series, window
            See :meth:`predict`.

        Yields
        ------
        Prediction
            Predictions in the order of the files.

        Raises
        ------
        FileNotFoundError, InvalidFileError, ModuleNotFoundError, UnknownNameError
            During iteration, see :meth:`predict`.
        ValueError
            If `on_error` or `batch_size` is invalid (at the call) or `window` is (during
            iteration).
        """
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        size = whole("batch_size", batch_size)
        given = [paths] if isinstance(paths, str | PathLike) else paths
        return self._stream(
            map(Path, given), size, skip=on_error == "skip", series=series, window=window
        )

    def _stream(
        self,
        paths: Iterable[Path],
        batch_size: int,
        *,
        skip: bool,
        series: str | None,
        window: WindowChoice,
    ) -> Iterator[Prediction]:
        def as_volume(path: Path) -> bool:
            return is_volume(path) or (series is not None and path.is_dir())

        any_found = False
        for volumes, part in groupby(paths, key=as_volume):
            any_found = True
            if not volumes:
                yield from self._stream_images(find_slices(part), batch_size, skip=skip)
                continue
            for path in part:
                try:
                    chosen = series if path.is_dir() else None
                    volume = read_series(path, series=chosen, window=window)
                except InvalidFileError as error:
                    if not skip:
                        raise
                    yield _unreadable(path, error)
                    continue
                yield from self._score_volume(path, volume, batch_size)
        if not any_found:
            raise FileNotFoundError(_NOTHING_FOUND)

    def _stream_images(
        self, paths: Iterator[Path], batch_size: int, *, skip: bool
    ) -> Iterator[Prediction]:
        loaded = each_in_threads(self._load, paths)
        with keep_freed_memory(), closing(loaded):
            for batch in _batches(loaded, batch_size):
                unread = [found.prediction for found in batch if found.canvas is None]
                if unread and not skip:
                    raise InvalidSliceError(unread[0].doubts[0])
                yield from self._score_batch(batch)

    def _load(self, path: Path) -> _Loaded:
        try:
            image = read_image(path)
        except InvalidFileError as error:
            return _Loaded(_unreadable(path, error), None)
        prediction = Prediction(str(path), nan, nan, (), image.size[::-1])
        return _Loaded(prediction, self.canvas(image))

    def _score_volume(self, path: Path, volume: Volume, batch_size: int) -> Iterator[Prediction]:
        size = volume.slices.shape[1:]
        images = map(Image.fromarray, volume.slices)
        parts = zip(volume.paths, volume.frames, volume.positions, images, strict=True)
        loaded = (
            _Loaded(
                Prediction(str(file), nan, nan, (), size, frame, float(position), volume=str(path)),
                self.canvas(image),
            )
            for file, frame, position, image in parts
        )
        batches = _batches(loaded, batch_size)
        scored = tuple(p for batch in batches for p in self._score_batch(batch))
        probability = VolumePrediction(str(path), scored).probability
        for prediction in scored:
            yield prediction._replace(volume_probability=probability)

    def canvas(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """Resize a slice to the input of the networks, as in training.

        Parameters
        ----------
        image : PIL.Image.Image
            Slice in any mode.

        Returns
        -------
        ndarray of uint8, shape (height, width)
            Canvas of `input_size`.
        """
        return to_canvas(image, self.input_size, resize=self.resize)

    def score(
        self, canvases: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float64], list[list[str]]]:
        """Score canvases.

        Parameters
        ----------
        canvases : ndarray of uint8, shape (n_slices, height, width)
            Canvases of `input_size`, see :meth:`canvas`.

        Returns
        -------
        probabilities : ndarray of float64, shape (n_models, n_slices)
            Probability of COVID-19 by each network.
        doubts : list of list of str
            For each canvas, how it differs from the training slices of most networks, and a notice
            if a network was trained on it.
        """
        described = descriptors(canvases)
        probabilities, unusual = [], []
        for model, reference in zip(self.models, self.references, strict=True):
            found = infer(model, canvases, precision=self.precision, features=True)
            probabilities.append(found.probabilities)
            features = np.asarray(found.features, np.float64)
            unusual.append(reference.unusual({"features": features, **described}))
        doubts: list[list[str]] = [[] for _ in canvases]
        for kind, text in _DOUBTS.items():
            votes = np.sum([flags[kind] for flags in unusual], axis=0)
            for i in np.flatnonzero(votes > len(unusual) / 2):
                doubts[i].append(text)
        for i in np.flatnonzero(seen_by_any(self.references, described["layout"])):
            doubts[i].append(_SEEN)
        return np.stack(probabilities), doubts

    def _score_batch(self, batch: Sequence[_Loaded]) -> Iterator[Prediction]:
        canvases = [canvas for _, canvas in batch if canvas is not None]
        scored: Iterator[tuple[npt.NDArray[np.float64], list[str]]] = iter(())
        if canvases:
            probabilities, doubts = self.score(np.stack(canvases))
            scored = zip(probabilities.T, doubts, strict=True)
        for prediction, canvas in batch:
            if canvas is None:
                yield prediction
                continue
            of_folds, found = next(scored)
            yield prediction._replace(
                probability=float(of_folds.mean()),
                spread=float(of_folds.std(ddof=1)) if len(of_folds) > 1 else 0.0,
                doubts=(*_doubt_size(prediction.size, canvas.shape), *found),
            )


_DOUBTS = {
    "gray": "gray levels differ from those of the training slices",
    "layout": "bright and dark regions differ from those of the training slices",
    "features": "features are far from those of the training slices",
}
_SEEN = "a network was trained on this slice"
_NOTHING_FOUND = "no images found: give images, DICOM files, or folders that contain some"


def find_slices(paths: StrPath | Iterable[StrPath]) -> Iterator[Path]:
    """Iterate over files, and over the images and DICOM files in folders.

    Folders are searched recursively in the order of names, without a list of all files in memory.
    Links are followed, and each folder is visited once. Other files in folders are counted in a
    logged warning; hidden files are skipped silently.

    Parameters
    ----------
    paths : str, Path or iterable of them
        Files and folders.

    Yields
    ------
    Path
        Files among `paths`, and images and DICOM files in folders.

    Raises
    ------
    FileNotFoundError
        If a path does not exist, or no images are found.

    Examples
    --------
    >>> from covidct.runs.predictor import find_slices
    >>> list(find_slices([]))
    Traceback (most recent call last):
    FileNotFoundError: no images found: give images, DICOM files, or folders that contain some
    """
    given = [paths] if isinstance(paths, str | PathLike) else paths
    count, skipped = 0, []
    for path in map(Path, given):
        if not path.exists():
            raise FileNotFoundError(f"{str(path)!r} does not exist")
        for file in walk(path) if path.is_dir() else (path,):
            if path.is_dir() and not is_slice(file):
                skipped.append(file.name)
                continue
            count += 1
            yield file
    if skipped:
        _LOG.warning(
            "skipped %d files that are neither images nor DICOM: %s", len(skipped), some(skipped)
        )
    if count == 0:
        raise FileNotFoundError(_NOTHING_FOUND)


def with_images(
    predictions: Iterable[Prediction], *, window: WindowChoice = "lung"
) -> Iterator[tuple[Prediction, Image.Image | None]]:
    """Read the slices of predictions again, one by one.

    Parameters
    ----------
    predictions : iterable of Prediction
        Predictions; the frames of a multi-frame file should follow each other, since the file is
        read again otherwise.
    window : {"lung", "file"} or tuple of (float, float), default="lung"
        Display window of volumes, as in :meth:`Predictor.predict`.

    Yields
    ------
    prediction : Prediction
        The prediction.
    image : PIL.Image.Image or None
        The slice in gray and its original size; None if it could not be read when it was scored.

    Raises
    ------
    InvalidFileError
        If a file was readable when it was scored and no longer is.

    Examples
    --------
    >>> from covidct.runs.predictor import Prediction, with_images
    >>> unreadable = Prediction("a.png", float("nan"), float("nan"), ("no such file",), (0, 0))
    >>> [image for _, image in with_images([unreadable])]
    [None]
    """
    path, volume = "", None
    for prediction in predictions:
        if not prediction.readable:
            yield prediction, None
            continue
        if prediction.volume is None:
            yield prediction, to_grayscale(read_image(prediction.path))
            continue
        if volume is None or path != prediction.path:
            path, volume = prediction.path, read_series(prediction.path, window=window)
        yield prediction, volume[volume.frames.index(prediction.frame)]


def _unreadable(path: Path, error: InvalidFileError) -> Prediction:
    return Prediction(str(path), nan, nan, (str(error),), (0, 0))


def _doubt_size(size: tuple[int, int], canvas: tuple[int, ...]) -> Iterator[str]:
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    filling = scale**2 * size[0] * size[1] / (canvas[0] * canvas[1])
    if scale > _LARGEST_ENLARGEMENT:
        yield f"the image has only {size[1]} x {size[0]} pixels"
    if filling < _SMALLEST_FILLING:
        yield f"most of the canvas is empty: the image has {size[1]} x {size[0]} pixels"


def _batches(items: Iterator[_Loaded], size: int) -> Iterator[list[_Loaded]]:
    while batch := list(islice(items, size)):
        yield batch
