"""Description of a run, with all settings that its results depend on, stored in ``run.json``.

A run folder may come from another computer or another person, or may have been edited, so every
entry is checked when it is read.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._files import sha256_of_file
from ..datasets.gray import WindowChoice, as_window
from ..models.outputs import CovidOutput, Outputs
from ..training.recipe import Recipe
from .protocol import Protocol
from .splits import Fold

__all__ = ["DatasetSpec", "RunSpec", "WeightsSpec", "software_versions"]

# Function from the numbers of folds and slices to the training, test and validation positions.
ReadFolds = Callable[[int, int], Sequence[tuple[npt.NDArray[np.int64], ...]]]

_NONE = type(None)


@dataclass(frozen=True)
class WeightsSpec:
    """Initial weights of a run.

    Parameters
    ----------
    name : str
        ``"imagenet"``, or the name of the weights file.
    sha256 : str or None, default=None
        SHA-256 of the file; None for ``"imagenet"``.

    Examples
    --------
    >>> from covidct.runs.run_spec import WeightsSpec
    >>> str(WeightsSpec("mine.pt", "0123456789abcdef"))
    'mine.pt (01234567)'
    """

    name: str
    sha256: str | None = None

    @classmethod
    def describe(cls, weights: str | None) -> WeightsSpec | None:
        """Describe the option ``weights`` of a run; a file is identified by its hash.

        Parameters
        ----------
        weights : str or None
            ``"imagenet"``, the path of a file, or None for random weights.

        Returns
        -------
        WeightsSpec or None
            None for random weights.
        """
        if weights is None:
            return None
        if weights == "imagenet":
            return cls(weights)
        return cls(Path(weights).name, sha256_of_file(Path(weights)))

    @classmethod
    def _parse(cls, entries: _Entries) -> WeightsSpec:
        return cls(entries.get("name", str), entries.get("sha256", str, _NONE))

    def __str__(self) -> str:
        return self.name if self.sha256 is None else f"{self.name} ({self.sha256[:8]})"


@dataclass(frozen=True)
class DatasetSpec:
    """Dataset of a run.

    Parameters
    ----------
    name : str
        Name of the dataset.
    classes : tuple of (str, str)
        Names of class 0 and class 1.
    slices : int
        Number of slices.
    content_hash : str
        Hash of the dataset's content; runs with equal hashes have the same slices.
    window : {"lung", "range", "file"} or tuple of (float, float), default="lung"
        Display window of the slices, as in :class:`covidct.CTDataset`.
    skipped : tuple of (str, str), default=()
        Files that could not be read, each with the reason.
    registry_names : tuple of str, default=()
        Registry names of the loaded datasets.

    Examples
    --------
    >>> from covidct.runs.run_spec import DatasetSpec
    >>> DatasetSpec("ward-7", ("non-COVID", "COVID"), slices=120, content_hash="0123").window
    'lung'
    """

    name: str
    classes: tuple[str, str]
    slices: int
    content_hash: str
    window: WindowChoice = "lung"
    skipped: tuple[tuple[str, str], ...] = ()
    registry_names: tuple[str, ...] = ()

    @classmethod
    def _parse(cls, entries: _Entries) -> DatasetSpec:
        classes = entries.get("classes", list)
        if not _all(str, classes) or len(classes) != 2 or classes[0] == classes[1]:
            raise ValueError(f"'dataset.classes' must be two different names, got {classes!r}")
        skipped = entries.get("skipped", list)
        if not all(type(e) is list and len(e) == 2 and _all(str, e) for e in skipped):
            raise ValueError("'dataset.skipped' must be pairs of a name and a reason")
        window: Any = entries.get("window", str, list)
        if isinstance(window, list):
            window = tuple(window)
        as_window(window)  # raises an error for other values
        return cls(
            name=entries.get("name", str),
            classes=(classes[0], classes[1]),
            slices=entries.get("slices", int),
            content_hash=entries.get("content_hash", str),
            window=window,
            skipped=tuple((name, reason) for name, reason in skipped),
            registry_names=tuple(entries.texts("registry_names")),
        )


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Description of a run, with all settings that its results depend on.

    Parameters
    ----------
    model : str
        Name of the network.
    weights : WeightsSpec or None
        Initial weights; None for random weights.
    recipe : Recipe
        Training recipe.
    dataset : DatasetSpec
        The slices.
    protocol : Protocol
        Division of the slices into folds.
    group_kind : str or None
        Kind of the known groups, such as ``"patient"``, also if the split does not keep them
        together; None if groups are unknown.
    folds : tuple of Fold
        Training, test and validation positions of each fold.
    repeats : int
        Largest number of times that a slice is tested.
    seed : int
        Random seed of the training.
    split_seed : int
        Random seed of the split.
    threads : int
        Threads per fold.
    precision : str
        ``"float32"`` or ``"bfloat16"``.
    device : str
        ``"cpu"`` or ``"cuda"``.
    versions : mapping of str to str
        Versions of the software, as :func:`software_versions` returns them.
    outputs : Outputs, default=CovidOutput()
        Meaning of the network's outputs: one logit of COVID-19, or one output per label.

    Examples
    --------
    >>> import covidct
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> spec = cv.run(slices).spec
    >>> spec.model, spec.dataset.slices, spec.recipe.epochs
    ('shufflenet', 16, 1)
    """

    model: str
    weights: WeightsSpec | None
    recipe: Recipe
    dataset: DatasetSpec
    protocol: Protocol
    group_kind: str | None
    folds: tuple[Fold, ...]
    repeats: int
    seed: int
    split_seed: int
    threads: int
    precision: str
    device: str
    versions: Mapping[str, str]
    outputs: Outputs = field(default_factory=CovidOutput)

    @property
    def folds_per_repeat(self) -> int:
        """Number of folds of each repeat."""
        return len(self.folds) // self.repeats

    @property
    def target(self) -> str:
        """Training target of the network: ``"covid"`` or ``"label"``."""
        return self.outputs.target

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``run.json``.

        Returns
        -------
        dict
            Values for JSON. ``"folds"`` is the number of folds; their positions are stored in a
            separate file.
        """
        content = {
            "model": self.model,
            "weights": None if self.weights is None else asdict(self.weights),
            "recipe": self.recipe.to_dict(),
            "dataset": asdict(self.dataset),
            "protocol": asdict(self.protocol),
            "group_kind": self.group_kind,
            "folds": len(self.folds),
            "repeats": self.repeats,
            "fold_names": [fold.name for fold in self.folds],
            "seed": self.seed,
            "split_seed": self.split_seed,
            "threads": self.threads,
            "precision": self.precision,
            "device": self.device,
            "versions": dict(self.versions),
            "outputs": self.outputs.to_dict(),
        }
        ready: dict[str, Any] = json.loads(json.dumps(content))  # tuples become lists
        return ready

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], read_folds: ReadFolds) -> RunSpec:
        """Create the description from the content of ``run.json``.

        Parameters
        ----------
        content : mapping of str to object
            Content of the file.
        read_folds : callable
            Function from the number of folds and the number of slices to the training, test and
            validation positions of each fold, which are not in ``run.json``.

        Returns
        -------
        RunSpec
            The description.

        Raises
        ------
        ValueError
            If an entry is missing or has an invalid value; the message names the entry.
        """
        entries = _Entries(content)
        number, dataset = entries.get("folds", int), DatasetSpec._parse(entries.within("dataset"))
        if number < 1:
            raise ValueError("'folds' must be positive")
        folds = read_folds(number, dataset.slices)
        names = entries.texts("fold_names")
        if len(names) != number:
            raise ValueError(f"'fold_names' must be {number} texts, got {names!r}")
        versions = entries.get("versions", dict)
        if not _all(str, versions.values()):
            raise ValueError("'versions' must be texts")
        try:
            recipe = Recipe.from_dict(entries.get("recipe", dict))
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"'recipe': {error}") from error
        has_weights = entries.get("weights", dict, _NONE) is not None
        protocol = entries.within("protocol")
        return cls(
            model=entries.get("model", str),
            weights=WeightsSpec._parse(entries.within("weights")) if has_weights else None,
            recipe=recipe,
            dataset=dataset,
            protocol=Protocol(
                protocol.get("id", str),
                protocol.get("label", str),
                protocol.get("group_kind", str, _NONE),
            ),
            group_kind=entries.get("group_kind", str, _NONE),
            folds=tuple(
                Fold(train, test, validation, name=name)
                for (train, test, validation), name in zip(folds, names, strict=True)
            ),
            repeats=entries.get("repeats", int),
            seed=entries.get("seed", int),
            split_seed=entries.get("split_seed", int),
            threads=entries.get("threads", int),
            precision=entries.get("precision", str),
            device=entries.get("device", str),
            versions=versions,
            outputs=Outputs.from_dict(entries.get("outputs", dict)),
        )


def software_versions() -> dict[str, str]:
    """Return the versions of the software on which the results of a run depend.

    Returns
    -------
    dict of str to str
        Versions of Python, the platform and each package; ``"unknown"`` if it is not installed.
    """
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("covidct", "numpy", "scikit-learn", "timm", "torch", "torchvision"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    return versions


class _Entries:
    """Entries of a dict in ``run.json``, with checks of their types.

    Types are compared exactly, since True is an int as well.
    """

    def __init__(self, values: Mapping[str, Any], place: str = "") -> None:
        self._values = values
        self._place = place

    def get(self, key: str, *kinds: type) -> Any:
        """Return an entry of one of these types."""
        if key not in self._values:
            raise ValueError(f"'{self._place}{key}' is missing")
        value = self._values[key]
        if type(value) not in kinds:
            raise ValueError(f"'{self._place}{key}' is {value!r}")
        return value

    def texts(self, key: str) -> list[str]:
        """Return an entry that must be a list of texts."""
        texts: list[str] = self.get(key, list)
        if not _all(str, texts):
            raise ValueError(f"'{self._place}{key}' must be texts, got {texts!r}")
        return texts

    def within(self, key: str) -> _Entries:
        """Return the entries of an entry that must be a dict."""
        return _Entries(self.get(key, dict), f"{self._place}{key}.")


def _all(kind: type, values: Iterable[object]) -> bool:
    return all(type(value) is kind for value in values)
