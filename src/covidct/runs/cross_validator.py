"""Cross-validate one network on one dataset: the main job."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from .._checks import whole
from ..datasets.canvases import make_canvases
from ..datasets.ct_dataset import CTDataset
from ..devices import Precision, resolve_device, resolve_precision
from ..errors import TrainingDivergedError
from ..models.classifier import CTClassifier
from ..models.registry import model_info
from ..models.weights import load_weights
from ..training.profile import Profile
from ..training.recipe import Recipe
from .fold import FoldJob, run_fold
from .result import CrossValidationResult
from .splits import Split, Splitter, make_split
from .storage import RunDirectory, software_versions

__all__ = ["CrossValidator"]

_LOG = logging.getLogger(__name__)

# What a run that goes on may differ in, at the price of the same bits.
_ENVIRONMENT = ("versions", "threads", "device")


class CrossValidator:
    """Fit a network on every fold of a dataset and score it on the slices left out.

    Parameters
    ----------
    model
        Name of the network, out of :func:`covidct.list_models`.
    recipe
        How to train; the paper's recipe by default.
    cv
        A number of stratified folds, ``"official"``, a splitter of scikit-learn, or pairs of
        training and test positions.
    groups
        What must stay on one side of a split: None (slices at random, as in the paper),
        ``"patient"``, ``"near-duplicate"``, or one label per slice.
    weights
        As in :func:`covidct.create_model`.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"``. With ``"auto"`` and several GPUs the
        folds go round them.
    precision
        ``"auto"``, ``"float32"`` or ``"bfloat16"``.
    n_jobs
        Folds at a time, through joblib: a backend chosen by ``joblib.parallel_config``, such as
        dask, is used. None is 1, -1 is one for each core.
    run_dir
        Folder of the run; without one, a temporary folder that lasts as long as the result.
    resume
        Whether to go on with what stands in ``run_dir``. If False, a folder with a run in it is
        refused.
    seed
        Seed of the split, the heads, the order of slices and their augmentation.
    repeats
        How often an official split is run, each time from another seed.
    threads
        Threads for each fold; by default the cores shared out over ``n_jobs``.
    monitor_every
        Epochs from one look at the test slices to the next, for the learning curve. Nothing is
        chosen by it: the model of the last epoch is scored.
    compile_model
        Run the network through :func:`torch.compile`.
    profile
        Where to add up what the parts cost; with ``n_jobs=1``.

    Raises
    ------
    UnknownNameError
        If there is no such network.
    ValueError
        If an option is outside its range.

    Examples
    --------
    >>> import covidct
    >>> slices = covidct.load_dataset("phantom", n=16, seed=0)
    >>> recipe = covidct.Recipe.demo().scaled(1)
    >>> cv = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None)
    >>> result = cv.run(slices)
    >>> sorted(int(i) for i in result.predictions["index"]) == list(range(16))
    True
    """

    def __init__(
        self,
        model: str,
        recipe: Recipe | None = None,
        *,
        cv: int | str | Splitter | Iterable[tuple[Any, Any]] = 5,
        groups: str | Sequence[object] | npt.NDArray[Any] | None = None,
        weights: str | PathLike[str] | None = "imagenet",
        device: str = "auto",
        precision: Precision = "auto",
        n_jobs: int | None = 1,
        run_dir: str | PathLike[str] | None = None,
        resume: bool = True,
        seed: int = 0,
        repeats: int = 5,
        threads: int | None = None,
        monitor_every: int = 10,
        compile_model: bool = False,
        profile: Profile | None = None,
    ) -> None:
        self.model = model_info(model)
        self.recipe = recipe or Recipe()
        self.cv = whole("cv", cv, least=2) if isinstance(cv, int) else cv
        self.groups = groups
        self.weights = None if weights is None else str(weights)
        self.device = device
        dtype = resolve_precision(precision, resolve_device(device))
        # Chosen once, so that every worker computes as run.json says.
        self.precision: Precision = "float32" if dtype == torch.float32 else "bfloat16"
        self.n_jobs = _jobs(n_jobs)
        self.run_dir = run_dir
        self.resume = resume
        self.seed = whole("seed", seed, least=0)
        self.repeats = whole("repeats", repeats)
        cores = max(1, cpu_count() // _workers(self.n_jobs))
        self.threads = cores if threads is None else whole("threads", threads)
        self.monitor_every = whole("monitor_every", monitor_every)
        self.compile_model = compile_model
        self.profile = profile

    def run(self, dataset: CTDataset) -> CrossValidationResult:
        """Do what is left to do of the run.

        Parameters
        ----------
        dataset
            The slices.

        Returns
        -------
        CrossValidationResult
            Fold tables, out-of-fold predictions, fitted networks.

        Raises
        ------
        ValueError
            If the dataset can't be split so, the canvases are too small for the network, or
            ``run_dir`` holds another run.
        InvalidFileError
            If a slice or the weights can't be read, or ``run_dir`` was damaged.
        TrainingDivergedError
            If the loss of a fold became NaN; the other folds are finished and kept.
        """
        split = make_split(
            dataset, self.cv, groups=self.groups, seed=self.seed, repeats=self.repeats
        )
        size = self.recipe.canvas_size(self.model)
        self._try_network(size)
        temporary = None if self.run_dir else tempfile.TemporaryDirectory(prefix="covidct-")
        run_dir = Path(self.run_dir or temporary.name)  # type: ignore[union-attr]  # one of the two is there
        directory = RunDirectory(run_dir)
        self._claim(directory, self._describe(dataset, split))
        canvases = make_canvases(dataset, size, resize=self.recipe.resize)
        jobs = [
            self._job(run_dir, number, dataset, split, canvases)
            for number in range(len(split.folds))
            if not directory.is_finished(number)
        ]
        _LOG.info("%d of %d folds are left to do", len(jobs), len(split.folds))
        self._run_jobs(directory, jobs)
        with FileLock(run_dir / ".lock"):
            directory.tidy(len(split.folds))
            result = CrossValidationResult.load(run_dir)
            result.write_summary()
        result._temporary = temporary
        return result

    def _try_network(self, size: tuple[int, int]) -> None:
        """Let bad weights and canvases that are too small fail before any training."""
        with torch.random.fork_rng(devices=[]):
            model = CTClassifier(self.model).eval()
        if self.weights is not None:
            load_weights(model, self.weights, info=self.model)
        try:
            with torch.inference_mode():
                model(torch.zeros(1, 1, *size))
        except RuntimeError as error:
            raise ValueError(
                f"{self.model.name} cannot score canvases of {size[0]} x {size[1]} pixels "
                f"({error}); choose another canvas in the recipe"
            ) from error

    def _job(
        self,
        run_dir: Path,
        number: int,
        dataset: CTDataset,
        split: Split,
        canvases: npt.NDArray[np.uint8],
    ) -> FoldJob:
        return FoldJob(
            run_dir=run_dir.resolve(),
            number=number,
            fold=split.folds[number],
            model=self.model,
            weights=self.weights,
            recipe=self.recipe,
            canvases=canvases,
            targets=dataset.targets,
            names=dataset.names,
            groups=split.groups,
            device=_device_of_fold(self.device, number),
            precision=self.precision,
            seed=self.seed,
            threads=self.threads,
            monitor_every=self.monitor_every,
            compile_model=self.compile_model,
            progress=_workers(self.n_jobs) == 1,
        )

    def _run_jobs(self, directory: RunDirectory, jobs: Sequence[FoldJob]) -> None:
        """Do all that is free, then wait for what other processes are at."""
        failures: dict[int, str] = {}
        for wait in (False, True):
            left = [
                job
                for job in jobs
                if job.number not in failures and not directory.is_finished(job.number)
            ]
            tasks = (delayed(run_fold)(job, wait=wait, profile=self.profile) for job in left)
            outcomes = Parallel(n_jobs=self.n_jobs, return_as="generator")(tasks)
            bar = tqdm(outcomes, "folds", total=len(left), unit="fold", disable=None, leave=False)
            for job, failure in zip(left, bar, strict=True):
                if failure is not None:
                    failures[job.number] = failure
                elif directory.is_finished(job.number):
                    _LOG.info("fold %d is finished", job.number)
        if failures:
            reasons = "; ".join(f"fold {number}: {why}" for number, why in failures.items())
            raise TrainingDivergedError(
                f"{len(failures)} folds diverged, the others are finished and kept. {reasons}"
            )

    def _describe(self, dataset: CTDataset, split: Split) -> dict[str, Any]:
        """Collect what ``run.json`` says: all that the result depends on."""
        return {
            "model": self.model.name,
            "weights": _describe_weights(self.weights),
            "recipe": self.recipe.to_dict(),
            "dataset": {
                "name": dataset.name,
                "classes": list(dataset.classes),
                "slices": len(dataset),
                "content_hash": dataset.content_hash(),
                "skipped": [list(entry) for entry in dataset.skipped],
            },
            "protocol": split.protocol,
            "group_kind": split.group_kind,
            "folds": [
                {part: getattr(fold, part).tolist() for part in ("train", "test", "validation")}
                for fold in split.folds
            ],
            "seed": self.seed,
            "threads": self.threads,
            "precision": self.precision,
            "device": resolve_device(self.device).type,
            "versions": software_versions(),
        }

    def _claim(self, directory: RunDirectory, spec: Mapping[str, Any]) -> None:
        """Write ``run.json``, or see to it that the one that is there describes the same run."""
        with _refusals(directory.path):
            directory.path.mkdir(parents=True, exist_ok=True)
            with FileLock(directory.path / ".lock"):
                found = directory.read_spec()
                if found is None:
                    directory.write_spec(spec)
                    return
        if not self.resume:
            raise ValueError(
                f"{str(directory.path)!r} holds a run; choose another run_dir, or resume=True"
            )
        spec = json.loads(json.dumps(spec))  # tuples become lists, as in the file
        other = [key for key in spec if key not in _ENVIRONMENT and found.get(key) != spec[key]]
        if other:
            changes = "; ".join(_change(found.get(key), spec[key], key) for key in other)
            raise ValueError(
                f"{str(directory.path)!r} holds another run: {changes}. Choose another run_dir"
            )
        for key in _ENVIRONMENT:
            if found.get(key) != spec[key]:
                _LOG.warning(
                    "the run in %s goes on under other %s, so that its bits may differ: %s",
                    directory.path,
                    key,
                    _change(found.get(key), spec[key], key),
                )


@contextmanager
def _refusals(run_dir: Path) -> Iterator[None]:
    """Say what to do where the folder of a run cannot be written to."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR):
            raise
        raise OSError(
            error.errno,
            f"{error.strerror}: a run writes there; choose another folder, or read a finished "
            "run with CrossValidationResult.load (covidct evaluate)",
            str(run_dir),
        ) from error


def _change(before: object, now: object, key: str) -> str:
    """Say in what an entry of run.json differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        other = [name for name in now if before.get(name) != now[name]]
        return "; ".join(_change(before.get(name), now[name], f"{key}.{name}") for name in other)
    if key == "folds" and isinstance(before, list) and isinstance(now, list):
        if len(before) != len(now):
            return f"it has {len(before)} folds, not {len(now)}"
        return "its folds have other slices (a splitter of scikit-learn needs a random_state)"
    return f"{key} was {before}, is {now}"


def _describe_weights(weights: str | None) -> str | None:
    """Name a weights file by its content, so that it may move."""
    if weights in (None, "imagenet"):
        return weights
    path = Path(str(weights))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{path.name} (sha256 {digest})"


def _jobs(n_jobs: int | None) -> int:
    if n_jobs == 0:
        raise ValueError(
            "n_jobs must be a number of folds at a time, or -1 for one per core, got 0"
        )
    return 1 if n_jobs is None else n_jobs


def _workers(n_jobs: int) -> int:
    return cpu_count() if n_jobs < 0 else max(1, n_jobs)


def _device_of_fold(device: str, number: int) -> str:
    count = torch.cuda.device_count()
    return f"cuda:{number % count}" if device == "auto" and count > 1 else device
