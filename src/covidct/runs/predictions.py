"""Predictions of new slices, volumes and patients, without pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import groupby
from math import isnan, nan
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from .._text import counted
from ..datasets.frames import read_frame
from ..datasets.gray import WindowChoice, to_grayscale
from ..evaluation.decision_rule import DecisionRule
from .columns import label_column

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "PatientPrediction",
    "Prediction",
    "Predictions",
    "VolumePrediction",
    "by_volume",
    "to_row",
    "with_images",
]

_COLUMNS = (
    *("path", "probability", "spread", "doubts"),
    *("position", "volume", "volume_probability", "frame", "lung", "patient"),
)
# Columns that volumes and patients share, and their types.
_ROW: dict[str, Any] = {
    "probability": float,
    "spread": float,
    "slices": int,
    "lung_slices": "Int64",
    "doubts": object,
}
# Columns that a rule adds, and their types.
_DECIDED: dict[str, Any] = {"calibrated_probability": float, "positive": "boolean"}

_SHOWN = 5  # volumes named by the repr


class Prediction(NamedTuple):
    """Prediction of one slice, without its pixels.

    Attributes
    ----------
    path : str
        File of the slice.
    probability : float
        Probability of COVID-19 in [0, 1], the mean over the folds. NaN if the slice could not be
        read.
    spread : float
        Sample standard deviation of the probability over the folds; 0 for a single fold.
    doubts : tuple of str
        Reasons for caution: the slice differs from the training slices, is one of them, or could
        not be read. A slice of a volume that is not counted (see `VolumePrediction`) has a doubt
        only if it could not be read.
    size : tuple of (int, int)
        Height and width of the image in pixels; (0, 0) if it could not be read.
    frame : int, default=0
        Index of the slice within its file; 0 if the file contains one slice.
    position : float, default=nan
        Position along the body in mm, larger towards the head; NaN if unknown.
    volume : str or None, default=None
        Name of the volume of the slice; None for a single image.
    volume_probability : float, default=nan
        Probability of the volume, see `VolumePrediction`.
    lung : bool or None, default=None
        True if the slice shows lung, see :func:`covidct.datasets.lung.lung_slices`; None if
        unknown.
    patient : str or None, default=None
        Pseudonym of the patient, see :func:`covidct.datasets.dicom.patient_group`; None if unknown.
    by_fold : tuple of float, default=()
        Probability predicted by each fold; empty if the slice could not be read.
    by_label : mapping of str to float, default={}
        Mean probability of each label over the folds; NaN if the slice could not be read. Empty if
        the networks have a single output.
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
    patient: str | None = None
    by_fold: tuple[float, ...] = ()
    by_label: Mapping[str, float] = {}

    @property
    def name(self) -> str:
        """Path, followed by ``#`` and the frame if it is not 0."""
        return f"{self.path}#{self.frame}" if self.frame else self.path

    @property
    def readable(self) -> bool:
        """False if the slice could not be read."""
        return not isnan(self.probability)

    def to_dict(self) -> dict[str, object]:
        """Return the row of this slice in :meth:`Predictions.to_frame`.

        Returns
        -------
        dict
            Column to value; ``doubts`` is a tuple.
        """
        return {name: getattr(self, name) for name in _COLUMNS}


@dataclass(frozen=True, eq=False, repr=False)
class _Aggregate:
    """Prediction of several slices as one, without pixels."""

    name: str
    slices: tuple[Prediction, ...]

    @cached_property
    def counted(self) -> tuple[Prediction, ...]:
        """Slices that count: those that show lung, or all readable ones if lung is unknown."""
        readable = tuple(p for p in self.slices if p.readable)
        return tuple(p for p in readable if p.lung is not False) or readable

    @property
    def probability(self) -> float:
        """Probability of COVID-19: the mean over the counted slices; NaN without counted slices.

        Lung slices are found by their anatomy alone, so that the value does not depend on the
        length of the scan or the number of slices. It is not calibrated; a rule for patients
        calibrates it, see :meth:`covidct.CrossValidationResult.decision_rule`.
        """
        values = [p.probability for p in self.counted]
        return float(np.mean(values)) if values else nan

    @property
    def spread(self) -> float:
        """Sample standard deviation of the probability over the folds; 0 for a single fold."""
        if not self.counted:
            return nan
        folds = np.mean([p.by_fold or (p.probability,) for p in self.counted], axis=0)
        return float(folds.std(ddof=1)) if len(folds) > 1 else 0.0

    @property
    def by_label(self) -> dict[str, float]:
        """Mean probability of each label over the counted slices; empty for a single output."""
        names = self.slices[0].by_label
        return {
            name: float(np.mean([p.by_label[name] for p in self.counted])) if self.counted else nan
            for name in names
        }

    @property
    def lung_slices(self) -> int | None:
        """Number of slices that show lung; None if unknown."""
        known = [p.lung for p in self.slices if p.lung is not None]
        return sum(known) if known else None

    @property
    def doubts(self) -> tuple[str, ...]:
        """Reasons for caution, each once."""
        unread = sum(not p.readable for p in self.slices)
        found = dict.fromkeys(doubt for p in self.counted for doubt in p.doubts)
        if unread:
            found[f"{unread} of {len(self):,} slices could not be read"] = None
        return tuple(found)

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.slices)

    def __repr__(self) -> str:
        lung = "" if self.lung_slices is None else f", lung_slices={self.lung_slices}"
        return (
            f"{type(self).__name__}(name={self.name!r}, slices={len(self)}{lung}, "
            f"probability={self.probability:.3f})"
        )

    def _row(self) -> dict[str, object]:
        return {
            "probability": self.probability,
            "spread": self.spread,
            "slices": len(self),
            "lung_slices": self.lung_slices,
            "doubts": self.doubts,
        }


class VolumePrediction(_Aggregate):
    """Prediction of one volume, without pixels.

    The slices that show lung are counted. If it is unknown which slices show lung, as in a volume
    that is not in Hounsfield units, or if no lung was recognized, all readable slices are counted;
    the latter case is a doubt.

    Parameters
    ----------
    name : str
        Name of the volume: the folder of the series, or the file.
    slices : tuple of Prediction
        All slices, from the feet to the head.

    Attributes
    ----------
    counted : tuple of Prediction
        Slices that enter the probability.
    probability : float
        Mean probability of the counted slices.
    spread : float
        Sample standard deviation of the probability over the folds.
    lung_slices : int or None
        Number of slices that show lung; None if unknown.
    doubts : tuple of str
        Reasons for caution. The volume differs from the training slices if most of the counted
        slices do.

    Examples
    --------
    >>> from covidct.runs.predictions import Prediction, VolumePrediction
    >>> rows = [(0.1, False), (0.9, True), (0.3, True)]
    >>> slices = [Prediction("", p, 0.0, (), (512, 512), lung=lung) for p, lung in rows]
    >>> VolumePrediction("series", tuple(slices))
    VolumePrediction(name='series', slices=3, lung_slices=2, probability=0.600)
    """

    @property
    def positions(self) -> npt.NDArray[np.float64]:
        """Positions of the slices in mm, ascending; NaN if unknown; shape (n_slices,)."""
        return np.array([prediction.position for prediction in self.slices])

    @property
    def patient(self) -> str | None:
        """Pseudonym of the patient; None if unknown."""
        return self.slices[0].patient

    def to_dict(self) -> dict[str, object]:
        """Return the row of this volume in :meth:`Predictions.by_volume`.

        Returns
        -------
        dict
            Column to value; ``doubts`` is a tuple.
        """
        return {"volume": self.name, **self._row(), "patient": self.patient}


class PatientPrediction(_Aggregate):
    """Prediction of one patient, without pixels.

    It is computed from the slices of all volumes and images of the patient; those that show lung
    are counted, as in `VolumePrediction`.

    Parameters
    ----------
    name : str
        Pseudonym of the patient; if it is unknown, the name of the volume, or the path of the
        image.
    slices : tuple of Prediction
        All slices.

    Examples
    --------
    >>> from covidct.runs.predictions import PatientPrediction, Prediction
    >>> slices = [Prediction("", p, 0.0, (), (512, 512)) for p in (0.2, 0.4)]
    >>> PatientPrediction("0123456789abcdef", tuple(slices))
    PatientPrediction(name='0123456789abcdef', slices=2, probability=0.300)
    """

    def to_dict(self) -> dict[str, object]:
        """Return the row of this patient in :meth:`Predictions.by_patient`.

        Returns
        -------
        dict
            Column to value; ``doubts`` is a tuple.
        """
        volumes = len({p.volume for p in self.slices if p.volume is not None})
        return {"patient": self.name, **self._row(), "volumes": volumes}


class Predictions(Sequence[Prediction]):
    """Sequence of `Prediction`, as returned by :meth:`Predictor.predict`, without pixels.

    Parameters
    ----------
    predictions : iterable of Prediction
        Predictions; the slices of a volume are consecutive.
    rule : DecisionRule or None, default=None
        Calibration and threshold. The tables of its unit (slices, or patients and volumes) then
        have the columns ``calibrated_probability`` and ``positive``.

    Examples
    --------
    >>> from covidct.runs.predictions import Prediction, Predictions
    >>> predictions = Predictions([Prediction("a.png", 0.9, 0.1, (), (512, 512))])
    >>> predictions.to_frame()[["path", "probability"]]
        path  probability
    0  a.png          0.9
    """

    def __init__(
        self, predictions: Iterable[Prediction], *, rule: DecisionRule | None = None
    ) -> None:
        self._predictions = tuple(predictions)
        self.rule = rule

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: int | slice) -> Prediction | Predictions:
        """Return one prediction, or the predictions of a slice of the sequence."""
        if isinstance(index, slice):
            return Predictions(self._predictions[index], rule=self.rule)
        return self._predictions[index]

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self._predictions)

    @cached_property
    def volumes(self) -> tuple[VolumePrediction, ...]:
        """Volumes, in the order of the predictions; empty if all slices are single images."""
        return tuple(v for v in by_volume(self) if v.slices[0].volume is not None)

    @cached_property
    def patients(self) -> tuple[PatientPrediction, ...]:
        """Patients in the order of their first slices; see `PatientPrediction`."""
        slices: dict[str, list[Prediction]] = {}
        for p in self:
            slices.setdefault(p.patient or p.volume or p.path, []).append(p)
        return tuple(PatientPrediction(name, tuple(found)) for name, found in slices.items())

    def to_frame(self) -> pd.DataFrame:
        """Return the predictions in a table with a row per slice.

        Returns
        -------
        pandas.DataFrame
            Columns ``path``, ``probability``, ``spread``, ``doubts`` (joined by "; "),
            ``position`` (mm, NaN if unknown), ``volume`` (None for single images),
            ``volume_probability``, ``frame``, ``lung`` and ``patient`` (missing if unknown), and
            ``p_LABEL`` for each label of networks that were trained on labels; see `Prediction`.
        """
        return _table(
            self,
            self.rule,
            columns=_COLUMNS,
            types={"probability": float, "spread": float, "position": float}
            | {"volume_probability": float, "frame": int, "lung": "boolean"},
        )

    def by_volume(self) -> pd.DataFrame:
        """Return the predictions in a table with a row per volume or single image.

        Returns
        -------
        pandas.DataFrame
            Columns ``volume`` (the path of a single image), ``probability``, ``spread``,
            ``slices``, ``lung_slices`` (missing if unknown), ``doubts`` (joined by "; "),
            ``patient`` (missing if unknown) and ``p_LABEL`` for each label; see `VolumePrediction`.
        """
        columns = ("volume", *_ROW, "patient")
        return _table(by_volume(self), self.rule, columns=columns, types=_ROW)

    def by_patient(self) -> pd.DataFrame:
        """Return the predictions in a table with a row per patient.

        Returns
        -------
        pandas.DataFrame
            Columns ``patient`` (if it is unknown, the volume, or the path of a single image),
            ``probability``, ``spread``, ``slices``, ``lung_slices`` (missing if unknown),
            ``doubts`` (joined by "; "), ``volumes``, the number of volumes, and ``p_LABEL`` for
            each label; see `PatientPrediction`.
        """
        return _table(
            self.patients,
            self.rule,
            columns=("patient", *_ROW, "volumes"),
            types=_ROW | {"volumes": int},
        )

    def __repr__(self) -> str:
        counts = [
            counted(len(self), "slice"),
            *([counted(len(self.volumes), "volume")] if self.volumes else []),
        ]
        lines = [f"Predictions of {', '.join(counts)}"]
        found = [p.probability for p in self if p.readable]
        if found:
            positive = sum(probability >= 0.5 for probability in found)
            lines.append(
                f"probability: {min(found):.3f} to {max(found):.3f}, "
                f"mean {np.mean(found):.3f}; {counted(positive, 'slice')} at 0.5 or above"
            )
        if self.rule is not None:
            units = self if self.rule.per == "slice" else self.patients
            decided = [unit.probability for unit in units if not isnan(unit.probability)]
            kind = "calibrated probability" if self.rule.calibrates else "probability"
            lines.append(
                f"positive: {self.rule.decide(decided).sum():,} of "
                f"{counted(len(decided), self.rule.per)} ({kind} of at least "
                f"{self.rule.threshold:.3f})"
            )
        for volume in self.volumes[:_SHOWN]:
            lines.append(f"volume {_shortened(volume.name)}: {volume.probability:.3f}")
        if len(self.volumes) > _SHOWN:
            lines.append(f"and {len(self.volumes) - _SHOWN:,} more volumes")
        if len(found) < len(self):
            lines.append(f"not readable: {len(self) - len(found):,}")
        doubts = Counter(doubt for v in by_volume(self) for doubt in v.doubts)
        unit = "volume" if self.volumes else "slice"
        lines += [f"doubt: {doubt} ({counted(n, unit)})" for doubt, n in doubts.most_common(3)]
        return "\n  ".join(lines)

    def _repr_html_(self) -> str:
        known = self.to_frame().dropna(axis=1, how="all")
        return f"<pre>{escape(repr(self))}</pre>{known.to_html(max_rows=10)}"


def _table(
    predictions: Iterable[Prediction | VolumePrediction | PatientPrediction],
    rule: DecisionRule | None,
    *,
    columns: Collection[str],
    types: dict[str, Any],
) -> pd.DataFrame:
    import pandas as pd

    content = [to_row(prediction, rule) for prediction in predictions]
    added = [name for name in content[0] if name not in columns] if content else []
    # A row has values of several types; doubts are texts.
    joined = [row | {"doubts": "; ".join(row["doubts"])} for row in content]  # type: ignore[arg-type]
    types = types | {name: _DECIDED.get(name, float) for name in added}
    return pd.DataFrame(joined, columns=[*columns, *added]).astype(types)


def to_row(
    prediction: Prediction | VolumePrediction | PatientPrediction, rule: DecisionRule | None
) -> dict[str, object]:
    """Return the row of a prediction in a table, with its labels and the decision of a rule.

    Parameters
    ----------
    prediction : Prediction, VolumePrediction or PatientPrediction
        The prediction.
    rule : DecisionRule or None
        Calibration and threshold.

    Returns
    -------
    dict
        Column to value, with ``p_LABEL`` for each label. If the rule applies to this unit, the row
        has ``calibrated_probability`` (NaN if unreadable) and ``positive`` (None if unreadable).

    Examples
    --------
    >>> from covidct.evaluation.decision_rule import DecisionRule
    >>> from covidct.runs.predictions import Prediction, to_row
    >>> row = to_row(Prediction("a.png", 0.4, 0.1, (), (512, 512)), DecisionRule(threshold=0.3))
    >>> row["positive"]
    True
    """
    labels = {label_column(name): chance for name, chance in prediction.by_label.items()}
    content = prediction.to_dict() | labels
    if rule is None or rule.per != ("slice" if isinstance(prediction, Prediction) else "patient"):
        return content
    p = prediction.probability
    return content | {
        "calibrated_probability": float(rule.calibrate(p)),
        "positive": None if isnan(p) else bool(rule.decide(p)),
    }


def by_volume(predictions: Iterable[Prediction]) -> Iterator[VolumePrediction]:
    """Group the slices of each volume; a single image is a volume of one slice.

    Parameters
    ----------
    predictions : iterable of Prediction
        Predictions; the slices of a volume are consecutive.

    Yields
    ------
    VolumePrediction
        Volumes, in the order of the predictions.

    Examples
    --------
    >>> from covidct.runs.predictions import Prediction, by_volume
    >>> [volume.name for volume in by_volume([Prediction("a.png", 0.9, 0.1, (), (512, 512))])]
    ['a.png']
    """
    for _, part in groupby(predictions, key=lambda p: (p.volume, p.volume is None and p.path)):
        slices = tuple(part)
        yield VolumePrediction(slices[0].volume or slices[0].path, slices)


def _shortened(name: str) -> str:
    return repr(name if len(name) <= 60 else f"...{name[-57:]}")


def with_images(
    predictions: Iterable[Prediction], *, window: WindowChoice = "lung"
) -> Iterator[tuple[Prediction, Image.Image | None]]:
    """Yield predictions with their images, which are read again one by one.

    Parameters
    ----------
    predictions : iterable of Prediction
        Predictions.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Display window of slices in Hounsfield units; that of the networks is `Predictor.window`.

    Yields
    ------
    prediction : Prediction
        The prediction.
    image : PIL.Image.Image or None
        The slice in gray and its original size; None if it could not be read when it was scored.

    Raises
    ------
    InvalidFileError
        If a file could be read when it was scored, but cannot be read any more.

    Examples
    --------
    >>> from covidct.runs.predictions import Prediction, with_images
    >>> unreadable = Prediction("a.png", float("nan"), float("nan"), ("no such file",), (0, 0))
    >>> [image for _, image in with_images([unreadable])]
    [None]
    """
    for p in predictions:
        image = read_frame(p.path, p.frame, window=window) if p.readable else None
        yield p, None if image is None else to_grayscale(image)
