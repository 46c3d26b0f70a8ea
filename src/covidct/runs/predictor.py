"""Prediction of new slices, volumes and patients by the fitted folds of a run."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from math import nan
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from tqdm import tqdm

from .._checks import whole
from .._memory import keep_freed_memory
from ..datasets._listing import file_kind
from ..datasets._parallel import each_in_threads
from ..datasets.canvases import to_canvas
from ..datasets.frames import read_frame
from ..datasets.gray import WindowChoice, as_window
from ..datasets.lung import lung_slices
from ..datasets.series import read_header
from ..datasets.slices import Found, FoundVolume, as_paths, find_slices, set_aside_text
from ..devices import Precision, resolve_device
from ..errors import InvalidFileError, UnknownNameError
from ..evaluation.calibration import Method
from ..evaluation.decision_rule import DecisionRule, Unit
from ..inference import Inference, infer
from ..models.classifier import CTClassifier
from ..models.onnx_network import OnnxNetwork
from ..models.outputs import outputs_of
from ..models.sharing import read_card
from .exported import read_export
from .out_of_distribution import TrainingReference, descriptors, seen_by_any
from .predictions import Prediction, Predictions, VolumePrediction
from .result import CrossValidationResult

__all__ = [
    "Predictor",
    "Scores",
    "find_in_order",
]

StrPath = str | PathLike[str]

_LOG = logging.getLogger(__name__)

# An image that is enlarged more than this lacks the detail that the network was trained on, and
# one that fills less of its canvas is a strip rather than a slice.
_LARGEST_ENLARGEMENT = 4.0
_SMALLEST_FILLING = 0.4


def _as_rule(content: Mapping[str, Any], folder: Path) -> DecisionRule:
    try:
        return DecisionRule(**content)
    except (TypeError, ValueError) as error:
        raise InvalidFileError(f"{folder / 'card.json'}: not a decision rule ({error})") from error


class _Loaded(NamedTuple):
    """A slice before it is scored; the canvas is None if it could not be read."""

    prediction: Prediction
    canvas: npt.NDArray[np.uint8] | None


class Scores(NamedTuple):
    """Scores of N canvases by K networks.

    Attributes
    ----------
    probabilities : ndarray of float64 of shape (K, N)
        Probability of COVID-19 by each network.
    by_label : dict of str to ndarray of float64 of shape (N,)
        Mean probability of each label over the networks; empty if they have a single output.
    doubts : list of list of str
        For each canvas, differences from the training slices of most networks, and a notice if it
        was a training slice of a network.

    Examples
    --------
    >>> import numpy as np
    >>> import covidct
    >>> model = covidct.create_model("shufflenet", weights=None, input_size=(64, 96))
    >>> scores = covidct.Predictor([model]).score(np.zeros((2, 64, 96), dtype=np.uint8))
    >>> scores.probabilities.shape, scores.doubts
    ((1, 2), [[], []])
    """

    probabilities: npt.NDArray[np.float64]
    by_label: dict[str, npt.NDArray[np.float64]]
    doubts: list[list[str]]


class Predictor:
    """Predictor of new slices and volumes, by the mean probability of fitted folds.

    Parameters
    ----------
    models : sequence of CTClassifier or OnnxNetwork
        Fitted networks of one architecture and canvas size.
    references : sequence of TrainingReference, default=()
        Statistics of the training slices, one per model in the same order. Without them, new slices
        are not compared with the training slices.
    resize : {"pad", "stretch"}, default="pad"
        Resizing of slices to the canvas, as in training.
    device : str, default="auto"
        Device, as in :func:`covidct.devices.resolve_device`.
    precision : {"auto", "float32", "bfloat16"}, default="float32"
        Data type of the passes, as in :func:`covidct.devices.resolve_precision`.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Display window of slices in Hounsfield units, as in training. See
        :func:`covidct.datasets.gray.to_gray`.
    rule : DecisionRule or None, default=None
        Calibration and threshold to apply to predictions, from
        :meth:`covidct.CrossValidationResult.decision_rule`.

    Attributes
    ----------
    models : list of CTClassifier or OnnxNetwork
        The networks, in evaluation mode and on the device.
    input_size : tuple of (int, int)
        Height and width of the networks' canvases.
    labels : tuple of str
        Labels with a probability of their own in the predictions; empty for networks with a single
        output.

    Raises
    ------
    ValueError
        If `models` is empty or their labels differ, `references` is not empty and differs in length
        from `models`, or `device`, `precision` or `window` is invalid.

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
        models: Sequence[CTClassifier] | Sequence[OnnxNetwork],
        references: Sequence[TrainingReference] = (),
        *,
        resize: Literal["pad", "stretch"] = "pad",
        device: str = "auto",
        precision: Precision = "float32",
        window: WindowChoice = "lung",
        rule: DecisionRule | None = None,
    ) -> None:
        if not models or (references and len(models) != len(references)):
            raise ValueError(
                "at least one model, and no reference or one per model, are needed, got "
                f"{len(models)} models and {len(references)} references"
            )
        self.device = resolve_device(device)
        self.models: list[Any] = [
            model.to(self.device).eval() if isinstance(model, CTClassifier) else model
            for model in models
        ]
        self.references = list(references)
        self.resize: Literal["pad", "stretch"] = resize
        self.precision: Precision = precision
        as_window(window)
        self.window: WindowChoice = window
        self.rule = rule
        self.input_size = self.models[0].input_size
        self.labels = outputs_of(self.models[0]).labels
        for model in self.models:
            if outputs_of(model).labels != self.labels:
                raise ValueError(
                    "all networks must have the same labels, got "
                    f"{', '.join(self.labels) or 'a single output'} and "
                    f"{', '.join(outputs_of(model).labels) or 'a single output'}"
                )

    @classmethod
    def from_run(
        cls,
        run_dir: StrPath,
        *,
        calibrate: bool | Method = False,
        sensitivity: float | None = None,
        specificity: float | None = None,
        threshold: float | None = None,
        prevalence: float | None = None,
        per: Unit | None = None,
        device: str = "auto",
        precision: Precision = "float32",
    ) -> Self:
        """Load the fitted folds of a finished run.

        Parameters
        ----------
        run_dir : str or path-like
            Folder of the run.
        calibrate, sensitivity, specificity, threshold, prevalence, per : optional
            Options of :meth:`covidct.CrossValidationResult.decision_rule`. If any is given, the
            predictor applies this rule.
        device : str, default="auto"
            Device, as in :func:`covidct.devices.resolve_device`.
        precision : {"auto", "float32", "bfloat16"}, default="float32"
            Data type of the passes, as in :func:`covidct.devices.resolve_precision`.

        Returns
        -------
        Predictor
            Predictor with the networks of all folds and the window of the run.

        Raises
        ------
        FileNotFoundError
            If the folder contains no run.
        InvalidFileError
            If a file of the run is missing or damaged.
        ValueError
            If the run is not finished, or the rule cannot be fitted.
        """
        result = CrossValidationResult.load(run_dir)
        numbers = range(len(result.folds))
        rule = None
        options = (sensitivity, specificity, threshold, prevalence, per)
        if calibrate or any(option is not None for option in options):
            rule = result.decision_rule(
                per=per,
                calibrate=calibrate,
                sensitivity=sensitivity,
                specificity=specificity,
                threshold=threshold,
                prevalence=prevalence,
            )
        return cls(
            [result.fold_model(k) for k in numbers],
            [result.fold_reference(k) for k in numbers],
            resize=result.recipe.resize,
            device=device,
            precision=precision,
            window=result.spec.dataset.window,
            rule=rule,
        )

    @classmethod
    def load(cls, path: StrPath, *, device: str = "auto", precision: Precision = "float32") -> Self:
        """Load exported networks from a folder or an ONNX file.

        Parameters
        ----------
        path : str or path-like
            Folder that :meth:`covidct.CrossValidationResult.export` or
            :meth:`covidct.CTClassifier.save` wrote, or file of :meth:`covidct.CTClassifier.export`.
            The latter two do not contain statistics of the training slices, so that new slices are
            not compared with these, and an ONNX file does not give feature maps for Grad-CAM.
        device : str, default="auto"
            Device, as in :func:`covidct.devices.resolve_device`; ONNX files run on the CPU.
        precision : {"auto", "float32", "bfloat16"}, default="float32"
            Data type of the passes, as in :func:`covidct.devices.resolve_precision`.

        Returns
        -------
        Predictor
            Predictor with the networks, their window and, if it was exported, their rule.

        Raises
        ------
        FileNotFoundError
            If the folder or file does not exist, or the folder has no ``card.json``.
        InvalidFileError
            If a file is damaged.
        ModuleNotFoundError
            If `path` is an ONNX file and the extra ``onnx`` is not installed.
        """
        path = Path(path)
        if path.suffix.lower() == ".onnx":
            network = OnnxNetwork(path)
            window = network.metadata.get("window", "lung")
            return cls(
                [network],
                resize=network.metadata.get("resize", "pad"),
                window=tuple(window) if isinstance(window, list) else window,
            )
        if (path / "model.safetensors").is_file():
            model, shared = CTClassifier.load(path), read_card(path)
            return cls(
                [model],
                resize=shared.resize,
                device=device,
                precision=precision,
                rule=None if shared.rule is None else _as_rule(shared.rule, path),
            )
        card, models, references = read_export(path)
        return cls(
            models,
            references,
            resize=card.resize,
            device=device,
            precision=precision,
            window=card.window,
            rule=card.rule,
        )

    def predict(
        self,
        paths: StrPath | Iterable[StrPath] | Found,
        *,
        on_error: Literal["raise", "skip"] = "raise",
        batch_size: int = 32,
        series: str | None = None,
        window: WindowChoice | None = None,
    ) -> Predictions:
        """Score slices, volumes and patients.

        Single images are scored first, then volumes, both in the order of `paths`. Each CT series
        and each file with several slices is a volume, see :func:`covidct.datasets.find_slices`. If
        there are so many slices that their predictions do not fit into memory, use :meth:`stream`.

        Parameters
        ----------
        paths : str, path-like, iterable of them, or Found
            Images, DICOM files, NIfTI, MHA, MHD and NRRD volumes, and folders of any depth with
            them; or the result of :func:`covidct.datasets.find_slices`.
        on_error : {"raise", "skip"}, default="raise"
            With ``"skip"``, files that cannot be assigned to volumes are left out and logged, and
            the prediction of a slice that cannot be read is NaN, with the reason among its doubts.
        batch_size : int, default=32
            Number of slices per batch.
        series : str or None, default=None
            SeriesInstanceUID of the series to score; other DICOM series in folders are left out.
        window : {"lung", "range", "file"} or tuple of (float, float), optional
            Display window of slices in Hounsfield units. By default, the window of the training.

        Returns
        -------
        Predictions
            Predictions without pixels; the slices of a volume are consecutive, from the feet to the
            head.

        Raises
        ------
        FileNotFoundError
            If a path does not exist, or no images are found.
        InvalidFileError
            If a file or series cannot be read and `on_error` is ``"raise"``.
        ModuleNotFoundError
            If a file is DICOM and pydicom is not installed, or a volume file and SimpleITK is not
            installed.
        TypeError
            If `paths` contains anything but paths. Use
            :meth:`covidct.CrossValidationResult.evaluate` for a dataset.
        UnknownNameError
            If no file belongs to `series`.
        ValueError
            If `on_error`, `batch_size` or `window` is invalid.
        """
        stream = self.stream(
            paths, on_error=on_error, batch_size=batch_size, series=series, window=window
        )
        shown = tqdm(stream, "predicting", unit="slice", leave=False, disable=None)
        return Predictions(shown, rule=self.rule)

    def stream(
        self,
        paths: StrPath | Iterable[StrPath] | Found,
        *,
        on_error: Literal["raise", "skip"] = "raise",
        batch_size: int = 32,
        series: str | None = None,
        window: WindowChoice | None = None,
    ) -> Iterator[Prediction]:
        """Score slices one by one, in constant memory.

        Files are decoded in other threads while the networks compute. Memory is needed for the
        names of all files, a few slices, and, for volume files such as NIfTI, the decoded file. The
        predictions of a volume are yielded after all its slices are scored.

        Parameters
        ----------
        paths, on_error, batch_size, series, window
            See :meth:`predict`.

        Returns
        -------
        iterator of Prediction
            Predictions in the order of :meth:`predict`.

        Raises
        ------
        FileNotFoundError, InvalidFileError, ModuleNotFoundError, UnknownNameError
            During iteration, see :meth:`predict`.
        ValueError
            At the call, if `on_error`, `batch_size` or `window` is invalid.
        """
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        size = whole("batch_size", batch_size)
        as_window(chosen := self.window if window is None else window)
        return self._stream(paths, size, on_error=on_error, series=series, window=chosen)

    def _stream(
        self,
        paths: StrPath | Iterable[StrPath] | Found,
        batch_size: int,
        *,
        on_error: Literal["raise", "skip"],
        series: str | None,
        window: WindowChoice,
    ) -> Iterator[Prediction]:
        found = paths if isinstance(paths, Found) else find_in_order(paths, on_error=on_error)
        if series is not None:
            found = _of_series(found, series)
        if not found.images and not found.volumes:
            excluded = f"; {set_aside_text(found.set_aside)}" if found.set_aside else ""
            raise FileNotFoundError(_NOTHING_FOUND + excluded)
        score = partial(
            self._score_slices, batch_size=batch_size, skip=on_error == "skip", window=window
        )
        yield from score(
            self._unscored(path, patient=found.patients.get(path)) for path in found.images
        )
        for volume in found.volumes:
            lung = lung_slices(volume, on_error=on_error).tolist() if volume.in_hu else None
            yield from _as_volume(score(self._unscored_slices(volume, lung)), lung)

    def _unscored(self, path: Path, **known: Any) -> Prediction:
        """Return the prediction of a slice before it is scored."""
        unknown = dict.fromkeys(self.labels, nan)
        return Prediction(str(path), nan, nan, (), (0, 0), by_label=unknown, **known)

    def _unscored_slices(
        self, volume: FoundVolume, lung: Sequence[bool] | None
    ) -> Iterator[Prediction]:
        for i, (path, frame) in enumerate(zip(volume.paths, volume.frames, strict=True)):
            yield self._unscored(
                path,
                frame=frame,
                position=float(volume.positions[i]),
                volume=volume.name,
                lung=None if lung is None else lung[i],
                patient=volume.patient,
            )

    def _score_slices(
        self, unscored: Iterable[Prediction], *, batch_size: int, skip: bool, window: WindowChoice
    ) -> Iterator[Prediction]:
        """Fill in the probabilities, spread, doubts and size of predictions."""
        loaded = each_in_threads(partial(self._load, skip=skip, window=window), unscored)
        with keep_freed_memory(), closing(loaded):
            while batch := list(islice(loaded, batch_size)):
                yield from self._score_batch(batch)

    def _load(self, unscored: Prediction, *, skip: bool, window: WindowChoice) -> _Loaded:
        try:
            image = read_frame(unscored.path, unscored.frame, window=window)
        except InvalidFileError as error:
            if not skip:
                raise
            return _Loaded(unscored._replace(doubts=(str(error),)), None)
        return _Loaded(unscored._replace(size=image.size[::-1]), self.canvas(image))

    def canvas(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """Resize a slice to the input of the networks, as in training.

        Parameters
        ----------
        image : PIL.Image.Image
            Slice in any mode.

        Returns
        -------
        ndarray of uint8 of shape (height, width)
            Canvas of `input_size`.
        """
        return to_canvas(image, self.input_size, resize=self.resize)

    def score(self, canvases: npt.NDArray[np.uint8]) -> Scores:
        """Score canvases.

        Parameters
        ----------
        canvases : ndarray of uint8 of shape (n_slices, height, width)
            Canvases of `input_size`, see :meth:`canvas`.

        Returns
        -------
        Scores
            Probabilities and doubts.
        """
        described = descriptors(canvases) if self.references else {}
        with_features = bool(self.references)
        probabilities, of_labels, unusual = [], [], []
        for k, model in enumerate(self.models):
            if isinstance(model, OnnxNetwork):
                logits, outputs = model.run(canvases)
                found = Inference(logits, None, outputs)
            else:
                found = infer(model, canvases, precision=self.precision, features=with_features)
            probabilities.append(found.probabilities)
            of_labels.append(outputs_of(model).probabilities(torch.from_numpy(found.outputs)))
            if found.features is not None:
                features = np.asarray(found.features, np.float64)
                unusual.append(self.references[k].unusual({"features": features, **described}))
        doubts: list[list[str]] = [[] for _ in canvases]
        for kind, text in _DOUBTS.items():
            votes = np.sum([flags[kind] for flags in unusual if kind in flags], axis=0)
            for i in np.flatnonzero(votes > len(unusual) / 2):
                doubts[i].append(text)
        if self.references:
            for i in np.flatnonzero(seen_by_any(self.references, described["layout"])):
                doubts[i].append(_SEEN)
        by_label = {name: np.mean([p[name] for p in of_labels], axis=0) for name in self.labels}
        return Scores(np.stack(probabilities), by_label, doubts)

    def _score_batch(self, batch: Sequence[_Loaded]) -> Iterator[Prediction]:
        canvases = [canvas for _, canvas in batch if canvas is not None]
        scores = self.score(np.stack(canvases)) if canvases else None
        i = 0
        for prediction, canvas in batch:
            if canvas is None or scores is None:
                yield prediction
                continue
            of_folds = scores.probabilities[:, i]
            yield prediction._replace(
                probability=float(of_folds.mean()),
                spread=float(of_folds.std(ddof=1)) if len(of_folds) > 1 else 0.0,
                by_fold=tuple(of_folds.tolist()),
                by_label={name: float(values[i]) for name, values in scores.by_label.items()},
                doubts=(*_doubt_size(prediction.size, canvas.shape), *scores.doubts[i]),
            )
            i += 1


_DOUBTS = {
    "gray": "gray levels differ from those of the training slices",
    "layout": "bright and dark regions differ from those of the training slices",
    "features": "features are far from those of the training slices",
}
_SEEN = "a network was trained on this slice"
_NO_LUNG = "no lung was recognized in the volume, so that all of its slices are counted"
_NOTHING_FOUND = (
    "no images found: give images, DICOM files, NIfTI, MHA or NRRD volumes, or folders that "
    "contain some"
)


def find_in_order(
    paths: StrPath | Iterable[StrPath],
    *,
    on_error: Literal["raise", "skip"] = "raise",
    one_per_patient: bool = False,
) -> Found:
    """Find slices as :func:`covidct.datasets.find_slices`, in the order of the given paths.

    Parameters
    ----------
    paths : str, path-like or iterable of them
        Files and folders. Volumes are named by their paths, relative to the current folder if they
        are below it.
    on_error : {"raise", "skip"}, default="raise"
        With ``"skip"``, files that cannot be read are left out.
    one_per_patient : bool, default=False
        Keep only the best volume of each patient.

    Returns
    -------
    Found
        Images and volumes, each in the order of the path that contains them.

    Examples
    --------
    >>> from covidct.runs.predictor import find_in_order
    >>> find_in_order([]).images
    []
    """
    given = as_paths(paths)
    found = find_slices(given, root=Path(), on_error=on_error, one_per_patient=one_per_patient)
    ranks: dict[Path, int] = {}
    for path in given:
        ranks.setdefault(path, len(ranks))

    def rank(path: Path) -> int:
        return min(
            (ranks[part] for part in (path, *path.parents) if part in ranks), default=len(ranks)
        )

    # The sort is stable: within a folder, the order of the paths stays.
    return found._replace(
        images=sorted(found.images, key=rank),
        volumes=sorted(found.volumes, key=lambda volume: min(map(rank, set(volume.paths)))),
    )


def _of_series(found: Found, series: str) -> Found:
    """Keep pictures, and of the DICOM files those of one series."""
    volumes = [volume for volume in found.volumes if volume.series == series]
    dicom = {path for path in found.images if file_kind(path) == "dicom"}
    chosen = {p for p in dicom if any(s.series == series for s in read_header(p).slices)}
    if not volumes and not chosen:
        names = {volume.series for volume in found.volumes if volume.series is not None}
        raise UnknownNameError.among("series", series, names)
    images = [path for path in found.images if path not in dicom or path in chosen]
    return found._replace(volumes=volumes, images=images)


def _as_volume(
    predictions: Iterable[Prediction], lung: Sequence[bool] | None
) -> Iterator[Prediction]:
    """Add the probability of the volume, and remove doubts that few of its slices share.

    By definition, one slice in a hundred exceeds each limit of `TrainingReference`, and slices
    without lung differ from training slices in any case. Therefore, slices that are not counted
    have no doubts about their appearance, and counted slices have such a doubt only if most of them
    share it.
    """
    scored = VolumePrediction("", tuple(predictions))
    of_slices = Counter(doubt for p in scored.counted for doubt in set(p.doubts))
    dropped = {d for d in _DOUBTS.values() if of_slices[d] <= len(scored.counted) / 2}
    general = () if lung is None or any(lung) else (_NO_LUNG,)
    counted = set(map(id, scored.counted))
    for p in scored.slices:
        doubts = p.doubts
        if p.readable:
            own = (d for d in p.doubts if d not in dropped)
            doubts = (*general, *own) if id(p) in counted else ()
        yield p._replace(doubts=doubts, volume_probability=scored.probability)


def _doubt_size(size: tuple[int, int], canvas: tuple[int, ...]) -> Iterator[str]:
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    filling = scale**2 * size[0] * size[1] / (canvas[0] * canvas[1])
    if scale > _LARGEST_ENLARGEMENT:
        yield f"the image has only {size[1]} x {size[0]} pixels"
    if filling < _SMALLEST_FILLING:
        yield f"most of the canvas is empty: the image has {size[1]} x {size[0]} pixels"
