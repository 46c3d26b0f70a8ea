"""The fitted folds of a run, as one model for new slices."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from .._checks import whole
from .._memory import keep_freed_memory
from ..datasets._listing import is_slice, walk
from ..datasets._parallel import each_in_threads, some
from ..datasets.canvases import to_canvas
from ..datasets.dicom import read_series
from ..datasets.gray import WindowChoice
from ..datasets.reading import read_image
from ..devices import Precision, resolve_device
from ..errors import InvalidFileError
from ..inference import infer
from ..models.classifier import CTClassifier
from .out_of_distribution import TrainingReference, coordinates, seen_by_any
from .result import CrossValidationResult

__all__ = ["Prediction", "Predictor", "VolumePrediction", "find_slices"]

StrPath = str | PathLike[str]

_LOG = logging.getLogger(__name__)

# An image that must be enlarged more than this has fewer details than the network was fitted to,
# and one that fills less of its canvas is a strip rather than a slice.
_LARGEST_ENLARGEMENT = 4.0
_SMALLEST_FILLING = 0.4


class Prediction(NamedTuple):
    """What the folds of a run make of one slice.

    Attributes
    ----------
    path
        The file, as it was given or found.
    probability
        Of COVID-19: the mean over the folds. NaN where the file could not be read.
    spread
        Sample standard deviation over the folds.
    doubts
        Why the slice looks unlike those that the networks were fitted to, that it is one of them,
        or why it could not be read; empty where nothing speaks against the probability.
    canvas
        (H, W) uint8: what the networks saw. None where the file could not be read.
    size
        (height, width) of the image.
    """

    path: str
    probability: float
    spread: float
    doubts: tuple[str, ...]
    canvas: npt.NDArray[np.uint8] | None
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class VolumePrediction:
    """What the folds of a run make of one examination.

    Attributes
    ----------
    path
        The series, as it was given.
    slices
        From the feet upwards where they are axial.
    positions : (N,) float array
        Where each lies along the normal of the slices, in mm, ascending.
    pixels : (N, H, W) uint8 array
        The slices, in the display window.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.runs.predictor import Prediction, VolumePrediction
    >>> pixels = np.zeros((3, 8, 8), np.uint8)
    >>> each = (Prediction("", p, 0.0, (), None, (8, 8)) for p in (0.1, 0.9, 0.3))
    >>> VolumePrediction("series", tuple(each), np.arange(3.0), pixels).probability
    0.9
    """

    path: str
    slices: tuple[Prediction, ...]
    positions: npt.NDArray[np.float64]
    pixels: npt.NDArray[np.uint8] = field(repr=False)

    @property
    def probability(self) -> float:
        """Of COVID-19, for the volume: the mean of the highest third of its slices.

        Slices above, below and beside the disease show nothing, so that the mean of all measures
        the length of the scan as much as the disease; the maximum rests on one slice, and rises
        with the number of slices even in the healthy. Like any such rule this one is not
        calibrated: a threshold for it must be found on volumes whose diagnosis is known.
        """
        each = np.sort([prediction.probability for prediction in self.slices])
        return float(each[-max(1, round(len(each) / 3)) :].mean())


class _Loaded(NamedTuple):
    path: str
    canvas: npt.NDArray[np.uint8] | None
    size: tuple[int, int]
    problem: str


class Predictor:
    """Score new slices by the mean probability of fitted folds.

    Parameters
    ----------
    models
        The fitted networks, of one architecture and canvas size.
    references
        What the slices of each network's fold look like, in the same order.
    resize
        ``"pad"`` or ``"stretch"``, as in training.
    device
        As in :func:`covidct.devices.resolve_device`.
    precision
        Arithmetic, as in :func:`covidct.devices.resolve_precision`.

    Raises
    ------
    ValueError
        If there is no model, or not one reference for each.

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
    >>> (prediction,) = predictor([folder])
    >>> 0 <= prediction.probability <= 1
    True
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
                f"give one reference per model, got {len(references)} for {len(models)}"
            )
        self.device = resolve_device(device)
        self.models = [model.to(self.device).eval() for model in models]
        self.references = list(references)
        self.resize: Literal["pad", "stretch"] = resize
        self.precision: Precision = precision

    @classmethod
    def from_run(
        cls, run_dir: StrPath, *, device: str = "auto", precision: Precision = "float32"
    ) -> Self:
        """Take the fitted folds of a finished run.

        Parameters
        ----------
        run_dir
            The folder of the run.
        device, precision
            As for the class.

        Returns
        -------
        Predictor
            All folds of the run.

        Raises
        ------
        FileNotFoundError
            If there is no run in the folder.
        InvalidFileError
            If a file of it was damaged.
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

    def __call__(
        self, paths: StrPath | Iterable[StrPath], *, on_error: str = "raise"
    ) -> list[Prediction]:
        """Score slices; the same as a list of :meth:`stream`."""
        return list(self.stream(paths, on_error=on_error))

    def stream(
        self,
        paths: StrPath | Iterable[StrPath],
        *,
        on_error: str = "raise",
        batch_size: int = 32,
    ) -> Iterator[Prediction]:
        """Score slices one batch after the other, in memory that does not grow with their number.

        Files are decoded in other threads while the networks compute.

        Parameters
        ----------
        paths
            Images and DICOM files, or folders of them, which are searched to their depths.
        on_error
            ``"raise"``, or ``"skip"``: a file that cannot be read yields a prediction of NaN with
            the reason among its doubts.
        batch_size
            Slices in one pass.

        Returns
        -------
        iterator of Prediction
            One for each slice, in the order of the files.

        Raises
        ------
        FileNotFoundError
            While it is gone through: if a path does not exist, or no file is found.
        InvalidFileError
            While it is gone through: if a file cannot be read, with ``on_error="raise"``.
        ValueError
            If ``on_error`` is neither of the two, or ``batch_size`` not positive.
        """
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        size = whole("batch_size", batch_size)
        return self._stream(find_slices(paths), size, skip=on_error == "skip")

    def _stream(self, paths: Iterator[Path], size: int, *, skip: bool) -> Iterator[Prediction]:
        load = partial(_load, size=self.models[0].input_size, resize=self.resize)
        loaded = each_in_threads(load, paths)
        with keep_freed_memory(), closing(loaded):
            for batch in _batches(loaded, size):
                problems = [loaded.problem for loaded in batch if loaded.problem]
                if problems and not skip:
                    raise InvalidFileError(problems[0])
                yield from self._score(batch)

    def volume(
        self,
        path: StrPath,
        *,
        series: str | None = None,
        window: WindowChoice = "lung",
        batch_size: int = 32,
    ) -> VolumePrediction:
        """Score all slices of one examination.

        Parameters
        ----------
        path
            A folder with the DICOM files of one CT series, or a multi-frame file.
        series
            SeriesInstanceUID of the series, where the folder has several.
        window
            The display window, as in :func:`covidct.datasets.dicom.read_series`.
        batch_size
            Slices in one pass.

        Returns
        -------
        VolumePrediction
            The slices in the order in which they lie in the body, and an aggregate.

        Raises
        ------
        FileNotFoundError, InvalidFileError, ModuleNotFoundError, ValueError
            As :func:`covidct.datasets.dicom.read_series` does.
        """
        number = whole("batch_size", batch_size)
        found = read_series(path, series=series, window=window)
        size = self.models[0].input_size
        folder = Path(path) if Path(path).is_dir() else Path(path).parent
        loaded = (
            _Loaded(
                str(folder / name),
                to_canvas(found[i], size, resize=self.resize),
                found.slices.shape[1:],
                "",
            )
            for i, name in enumerate(found.names)
        )
        scored = [p for batch in _batches(loaded, number) for p in self._score(batch)]
        return VolumePrediction(str(path), tuple(scored), found.positions, found.slices)

    def score(
        self, canvases: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float64], list[list[str]]]:
        """Score (N, H, W) canvases.

        Parameters
        ----------
        canvases
            Canvases of the networks' input size.

        Returns
        -------
        probabilities
            (K, N), one row for each network.
        doubts
            For each canvas, why it looks unlike the training slices of most networks, or that it
            is one of them.
        """
        of_canvases = coordinates(canvases)
        probabilities, unusual = [], []
        for model, reference in zip(self.models, self.references, strict=True):
            found = infer(model, canvases, precision=self.precision, features=True)
            probabilities.append(found.probabilities)
            features = np.asarray(found.features, np.float64)
            unusual.append(reference.unusual({"features": features, **of_canvases}))
        doubts: list[list[str]] = [[] for _ in canvases]
        for kind, words in _DOUBTS.items():
            votes = sum(flags[kind].astype(int) for flags in unusual if kind in flags)
            for i in np.flatnonzero(votes > len(unusual) / 2):
                doubts[i].append(words)
        seen = seen_by_any(self.references, of_canvases["layout"])
        for i in () if seen is None else np.flatnonzero(seen):
            doubts[i].append(_SEEN)
        return np.stack(probabilities), doubts

    def _score(self, batch: Sequence[_Loaded]) -> Iterator[Prediction]:
        canvases = [loaded.canvas for loaded in batch if loaded.canvas is not None]
        scored = iter(())  # type: Iterator[tuple[npt.NDArray[np.float64], list[str]]]
        if canvases:
            probabilities, doubts = self.score(np.stack(canvases))
            scored = zip(probabilities.T, doubts, strict=True)
        for path, canvas, size, problem in batch:
            if canvas is None:
                yield Prediction(path, float("nan"), float("nan"), (problem,), None, size)
                continue
            of_folds, doubt = next(scored)
            spread = float(of_folds.std(ddof=1)) if len(of_folds) > 1 else 0.0
            reasons = (*_doubt_size(size, canvas.shape), *doubt)
            yield Prediction(path, float(of_folds.mean()), spread, reasons, canvas, size)


_DOUBTS = {
    "gray": "its gray levels are unlike those of the training slices",
    "layout": "where it is light and dark is unlike the training slices",
    "features": "its features lie far from those of the training slices",
}
_SEEN = "a network was trained on it"


def find_slices(paths: StrPath | Iterable[StrPath]) -> Iterator[Path]:
    """Walk through files and folders, in order and without holding a list of them.

    Parameters
    ----------
    paths
        Files and folders.

    Yields
    ------
    Path
        Files; of a folder those that are images or DICOM files: others are passed over and counted
        in a logged warning, hidden ones silently. Links are followed, and each folder is seen once.

    Raises
    ------
    FileNotFoundError
        If a path does not exist, or nothing is found.

    Examples
    --------
    >>> from covidct.runs.predictor import find_slices
    >>> list(find_slices([]))
    Traceback (most recent call last):
    FileNotFoundError: no file is there to score
    """
    given = [paths] if isinstance(paths, str | PathLike) else paths
    count, others = 0, []
    for path in map(Path, given):
        if not path.exists():
            raise FileNotFoundError(f"{str(path)!r} does not exist")
        for file in walk(path) if path.is_dir() else (path,):
            if path.is_dir() and not is_slice(file):
                others.append(file.name)
                continue
            count += 1
            yield file
    if others:
        _LOG.warning("%d files are no slices: passed over %s", len(others), some(others))
    if count == 0:
        raise FileNotFoundError("no file is there to score")


def _load(path: Path, *, size: tuple[int, int], resize: str) -> _Loaded:
    try:
        image: Image.Image = read_image(path)
    except InvalidFileError as error:
        return _Loaded(str(path), None, (0, 0), str(error))
    return _Loaded(str(path), to_canvas(image, size, resize=resize), image.size[::-1], "")


def _doubt_size(size: tuple[int, int], canvas: tuple[int, ...]) -> Iterator[str]:
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    filling = scale**2 * size[0] * size[1] / (canvas[0] * canvas[1])
    if scale > _LARGEST_ENLARGEMENT:
        yield f"it has only {size[1]} x {size[0]} pixels"
    if filling < _SMALLEST_FILLING:
        yield f"its shape, {size[1]} x {size[0]} pixels, leaves most of the canvas empty"


def _batches(items: Iterator[_Loaded], size: int) -> Iterator[list[_Loaded]]:
    while batch := list(islice(items, size)):
        yield batch
