"""Export of fitted folds to a folder that :meth:`covidct.Predictor.load` reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from .._files import json_ready, sha256_of_file, write_json
from .._version import __version__
from ..datasets.gray import WindowChoice
from ..errors import InvalidFileError
from ..evaluation.decision_rule import DecisionRule
from ..models.classifier import CTClassifier
from .out_of_distribution import TrainingReference
from .storage import runs_near

if TYPE_CHECKING:
    from ..audit import AuditReport
    from .result import CrossValidationResult

__all__ = ["PartCounts", "PredictorCard", "count_parts", "read_export", "write_export"]

_CARD, _REFERENCE = "card.json", "reference.safetensors"


@dataclass(frozen=True, kw_only=True)
class PredictorCard:
    """Description of exported folds for their users.

    Parameters
    ----------
    model : str
        Name of the network.
    networks : tuple of str
        Folders of the fitted networks.
    input_size : tuple of (int, int)
        Height and width of the canvases.
    classes : tuple of (str, str)
        Names of class 0 and class 1; the probability is that of class 1.
    resize : {"pad", "stretch"}
        Resizing of slices to the canvas.
    window : {"lung", "range", "file"} or tuple of (float, float)
        Display window of slices in Hounsfield units.
    training_data : str
        Data that the networks were fitted on.
    protocol : str
        Protocol of their evaluation.
    metrics : mapping of str to object
        Mean and standard deviation over the folds under that protocol, as fractions.
    intervals : mapping of str to object, default={}
        Ends of the 95 % confidence intervals of the means, as fractions; None for an undefined end.
    patients : mapping of str to int, default={}
        Numbers of patients in the ``"training"`` and the ``"test"`` part of the folds, if known.
    prevalence : mapping of str to float, default={}
        Shares of COVID-19 slices in the same parts.
    shortcuts : tuple of str or None, default=None
        Properties of the training images that predict the class, as found by an audit; None if the
        data were not audited.
    rule : DecisionRule or None, default=None
        Calibration and threshold.
    thumbnails : bool, default=False
        True if the references contain thumbnails of training slices, by which these are recognized.
    intended_use : str, default="Research only; not a medical device."
        Permitted and excluded uses.
    covidct : str, default=this version
        Version of covidct that wrote the folder.

    Examples
    --------
    >>> import covidct
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> card = cv.run(slices).export("to-share")
    >>> card.networks, card.patients
    (('fold-0', 'fold-1'), {'training': 4, 'test': 4})
    """

    model: str
    networks: tuple[str, ...]
    input_size: tuple[int, int]
    classes: tuple[str, str]
    resize: Literal["pad", "stretch"]
    window: WindowChoice
    training_data: str
    protocol: str
    metrics: Mapping[str, object] = field(hash=False)
    intervals: Mapping[str, object] = field(default_factory=dict, hash=False)
    patients: Mapping[str, int] = field(default_factory=dict, hash=False)
    prevalence: Mapping[str, float] = field(default_factory=dict, hash=False)
    shortcuts: tuple[str, ...] | None = None
    rule: DecisionRule | None = None
    thumbnails: bool = False
    intended_use: str = "Research only; not a medical device."
    covidct: str = __version__


def write_export(
    result: CrossValidationResult,
    folder: str | PathLike[str],
    *,
    folds: Sequence[int] | None,
    rule: DecisionRule | None,
    thumbnails: bool,
    audit: AuditReport | None = None,
) -> PredictorCard:
    """Write fitted folds to a folder; see :meth:`covidct.CrossValidationResult.export`.

    Parameters
    ----------
    result : CrossValidationResult
        The run.
    folder : str or path-like
        The folder.
    folds : sequence of int or None
        Folds to write; None for all.
    rule : DecisionRule or None
        Calibration and threshold.
    thumbnails : bool
        Keep the thumbnails of training slices.
    audit : AuditReport, optional
        Audit of the slices.

    Returns
    -------
    PredictorCard
        The card in the folder.
    """
    folder = Path(folder)
    numbers = list(range(len(result.folds)) if folds is None else folds)
    if not numbers:
        raise ValueError("folds must name at least one fold, or be None for all, got []")
    hashes = {}
    for k in numbers:
        model, reference = result.fold_model(k), result.fold_reference(k)
        part = f"fold-{k}"
        model.save(folder / part, card=result.model_card(k, rule=rule, audit=audit))
        path = folder / part / _REFERENCE
        (reference if thumbnails else reference.without_thumbnails()).save(path)
        hashes[part] = sha256_of_file(path)
    summary = {name: {"mean": m, "sd": sd} for name, (m, sd) in result.summary().items()}
    card = PredictorCard(
        model=result.model_name,
        networks=tuple(hashes),
        input_size=model.input_size,
        classes=result.classes,
        resize=result.recipe.resize,
        window=result.spec.dataset.window,
        training_data=f"{result.dataset_name} ({result.content_hash})",
        protocol=str(result.protocol),
        metrics=json_ready(summary),
        intervals=json_ready({n: list(ends) for n, ends in result.intervals().items()}),
        **count_parts(result, numbers)._asdict(),
        shortcuts=None if audit is None else audit.known_shortcuts,
        rule=rule,
        thumbnails=thumbnails,
    )
    write_json(folder / _CARD, asdict(card) | {"references": hashes})
    return card


class PartCounts(NamedTuple):
    """Patients and share of COVID-19 slices of the training and the test part of folds.

    Attributes
    ----------
    patients : dict of str to int
        Numbers of patients of the parts ``"training"`` and ``"test"``; empty if unknown.
    prevalence : dict of str to float
        Shares of COVID-19 slices in the same parts.
    """

    patients: dict[str, int]
    prevalence: dict[str, float]


def count_parts(result: CrossValidationResult, folds: Sequence[int]) -> PartCounts:
    """Count the patients and the share of COVID-19 slices in the training and test parts of folds.

    Parameters
    ----------
    result : CrossValidationResult
        The run.
    folds : sequence of int
        Numbers of the folds, counted together.

    Returns
    -------
    PartCounts
        A part is left out if no fold tests some of its slices, since their classes are not stored.
    """
    known = result.predictions.drop_duplicates("index").set_index("index")
    found = PartCounts({}, {})
    for part, parts in (
        ("training", [result.folds[k].train for k in folds]),
        ("test", [result.folds[k].test for k in folds]),
    ):
        index = np.unique(np.concatenate(parts))
        if not np.isin(index, known.index).all():
            continue
        rows = known.loc[index]
        found.prevalence[part] = float(rows["target"].mean())
        if result.has_patients:
            found.patients[part] = int(rows["group"].nunique())
    return found


def read_export(
    folder: str | PathLike[str],
) -> tuple[PredictorCard, list[CTClassifier], list[TrainingReference]]:
    """Read a folder that :func:`write_export` wrote.

    Parameters
    ----------
    folder : str or path-like
        The folder.

    Returns
    -------
    card : PredictorCard
        The card.
    models : list of CTClassifier
        The networks.
    references : list of TrainingReference
        Their references.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    InvalidFileError
        If a file is damaged, or does not belong to the card.
    """
    folder = Path(folder)
    path = folder / _CARD
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(folder)!r} has no run.json and no {_CARD}: give the folder of a finished run, "
            f"or a folder or ONNX file that covidct export wrote{runs_near(folder)}"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        hashes: dict[str, str] = content.pop("references")
        card = _as_card(content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidFileError(f"{path}: not the card of exported folds ({error})") from error
    models, references = [], []
    for part in card.networks:
        file = folder / part / _REFERENCE
        models.append(CTClassifier.load(folder / part))
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file; copy the folder again")
        if sha256_of_file(file) != hashes.get(part):
            raise InvalidFileError(f"{file}: not the file that {_CARD} describes")
        references.append(TrainingReference.load(file))
    return card, models, references


def _as_card(content: dict[str, Any]) -> PredictorCard:
    rule, window = content.pop("rule"), content.pop("window")
    for name in ("networks", "input_size", "classes"):
        content[name] = tuple(content[name])
    if content["shortcuts"] is not None:
        content["shortcuts"] = tuple(content["shortcuts"])
    if not content["networks"] or not all(re.fullmatch(r"[\w-]+", n) for n in content["networks"]):
        raise ValueError(f"networks must name folders, got {content['networks']!r}")
    return PredictorCard(
        rule=None if rule is None else DecisionRule(**rule),
        window=tuple(window) if isinstance(window, list) else window,
        **content,
    )
