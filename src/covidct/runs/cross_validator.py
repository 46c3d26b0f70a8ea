"""Cross-validation of one network on one dataset."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from .._checks import whole
from ..datasets.canvases import make_canvases
from ..datasets.ct_dataset import CTDataset, check_dataset
from ..devices import Precision, resolve_device, resolve_precision
from ..errors import TrainingDivergedError
from ..models.classifier import CTClassifier
from ..models.initial_weights import load_weights
from ..models.outputs import CovidOutput, LabelOutputs, Outputs
from ..models.registry import model_info
from ..training.profile import Profile
from ..training.recipe import Recipe
from .fold import FoldJob, run_fold
from .result import CrossValidationResult
from .resumption import claim_folder
from .run_spec import DatasetSpec, RunSpec, WeightsSpec, software_versions
from .splits import Split, Splitter, make_split
from .storage import RunDirectory

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CrossValidator"]

_LOG = logging.getLogger(__name__)


# Columns of a dataset's table that are in the predictions, or do not define subgroups.
_KNOWN = ("name", "path", "frame", "label", "target", "group", "volume", "source")


# By `target`: the meaning of the network's outputs for a dataset.
_OUTPUTS: dict[str, Callable[[CTDataset], Outputs]] = {
    "covid": lambda _: CovidOutput(),
    "label": lambda dataset: LabelOutputs.of(dataset.labels, dataset.targets),
}


class CrossValidator:
    """Cross-validation of a network on a dataset.

    Parameters
    ----------
    model : str
        Name of the network; :func:`covidct.list_models` lists them.
    recipe : Recipe or None, default=None
        Training recipe. None: the paper's, ``Recipe()``.
    cv : int, "official", "source", splitter or iterable of (train, test), default=5
        Number of stratified folds; ``"official"``, the split of the dataset's authors;
        ``"source"``, one fold per source, which tests it with a network trained on all others; a
        scikit-learn splitter; or pairs of training and test positions.
    groups : {"patient", "near-duplicate"}, array-like of shape (n_slices,) or None, default=None
        Groups of slices that are kept in one part of each fold, as in
        :func:`covidct.runs.splits.make_split`. None: slices are split at random, as in the paper.
    target : {"covid", "label"}, default="covid"
        ``"covid"`` trains one logit of COVID-19 against the rest, ``"label"`` one output per
        original label of the dataset. Predictions, metrics and comparisons are about COVID-19
        against the rest for both; ``"label"`` adds the probabilities and metrics of the labels.
    weights : str, path-like or None, default="imagenet"
        Initial weights, as in :func:`covidct.create_model`.
    device : str, default="auto"
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``. With ``"auto"`` and several GPUs, folds
        are distributed over the GPUs.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Data type of the passes, as in :func:`covidct.devices.resolve_precision`.
    n_jobs : int or None, default=1
        Number of folds trained at the same time through joblib, in the backend chosen with
        ``joblib.parallel_config``, such as dask. None: 1. -1: one per core.
    run_dir : str, path-like or None, default=None
        Folder of the run. None: a temporary folder, which is removed together with the result.
    resume : bool, default=True
        Continue the run in `run_dir` if there is one, also with more `repeats` than before. If
        False, such a run raises an error.
    seed : int, default=0
        Random seed of the new heads, the order of slices and the augmentation.
    split_seed : int or None, default=None
        Random seed of the split. None: `seed`. Runs with the same `split_seed` and different `seed`
        differ in the training only.
    repeats : int or None, default=None
        Number of repeats. If `cv` is a number of folds, each repeat has a different split; the
        official split and left-out sources are the same in each. Each fold of each repeat has its
        own training seed. The first repeat equals a run with ``repeats=1``. None: 5 for
        ``cv="official"``, 1 otherwise.
    threads : int or None, default=None
        Number of threads per fold. None: that of PyTorch (:func:`torch.get_num_threads`, set by the
        environment variable ``OMP_NUM_THREADS``), but at most the number of cores divided by
        `n_jobs`.
    monitor_every : int, default=10
        Number of epochs between evaluations on the test slices for the learning curve. They do
        not influence the training: the model of the last epoch is scored.
    compile_model : bool, default=False
        Compile the network by :func:`torch.compile`. This is faster in long trainings only, since
        compilation takes some time.
    profile : Profile or None, default=None
        Timer that sums the time spent in the parts of the training; needs ``n_jobs=1``. None: no
        measurement.

    Raises
    ------
    UnknownNameError
        If `model` is not a registered network.
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
        target: Literal["covid", "label"] = "covid",
        weights: str | PathLike[str] | None = "imagenet",
        device: str = "auto",
        precision: Precision = "auto",
        n_jobs: int | None = 1,
        run_dir: str | PathLike[str] | None = None,
        resume: bool = True,
        seed: int = 0,
        split_seed: int | None = None,
        repeats: int | None = None,
        threads: int | None = None,
        monitor_every: int = 10,
        compile_model: bool = False,
        profile: Profile | None = None,
    ) -> None:
        self.model = model_info(model)
        self.recipe = recipe or Recipe()
        self.cv = whole("cv", cv, least=2) if isinstance(cv, int) else cv
        self.groups = groups
        if target not in _OUTPUTS:
            raise ValueError(
                f"target must be one of {', '.join(map(repr, _OUTPUTS))}, got {target!r}"
            )
        self.target = target
        self.weights = None if weights is None else str(weights)
        self.device = device
        dtype = resolve_precision(precision, resolve_device(device))
        # Resolved here, so that every worker uses the precision recorded in run.json.
        self.precision: Precision = "float32" if dtype == torch.float32 else "bfloat16"
        self.n_jobs = _jobs(n_jobs)
        self.run_dir = run_dir
        self.resume = resume
        self.seed = whole("seed", seed, least=0)
        self.split_seed = (
            self.seed if split_seed is None else whole("split_seed", split_seed, least=0)
        )
        self.repeats = None if repeats is None else whole("repeats", repeats)
        self.threads = (
            _threads_per_job(self.n_jobs) if threads is None else whole("threads", threads)
        )
        self.monitor_every = whole("monitor_every", monitor_every)
        self.compile_model = compile_model
        self.profile = profile

    def run(self, dataset: CTDataset) -> CrossValidationResult:
        """Run the cross-validation, skipping finished folds.

        Parameters
        ----------
        dataset : CTDataset
            The slices.

        Returns
        -------
        CrossValidationResult
            Fold tables, out-of-fold predictions and fitted networks.

        Raises
        ------
        TypeError
            If `dataset` is not a CTDataset.
        ValueError
            If the dataset cannot be split in this way, ``target="label"`` and a fold has no
            training slice of a label, the canvases are too small for the network, or `run_dir`
            contains a different run.
        InvalidFileError
            If a slice or the weights cannot be read, or a file in `run_dir` is damaged.
        TrainingDivergedError
            If the loss of a fold became NaN or infinite; the other folds are finished and kept.
        """
        check_dataset(dataset)
        split = make_split(
            dataset, self.cv, groups=self.groups, seed=self.split_seed, repeats=self.repeats
        )
        outputs = _OUTPUTS[self.target](dataset)
        _check_labels(outputs, dataset, split)
        size = self.recipe.canvas_size(self.model)
        self._try_network(size, outputs)
        temporary = None if self.run_dir else tempfile.TemporaryDirectory(prefix="covidct-")
        run_dir = Path(self.run_dir or temporary.name)  # type: ignore[union-attr]  # one of the two is not None
        directory = RunDirectory(run_dir)
        claim_folder(
            directory,
            self._describe(dataset, split, outputs),
            dataset.table.drop(columns=list(_KNOWN)),
            resume=self.resume,
        )
        canvases = Path(str(make_canvases(dataset, size, resize=self.recipe.resize).filename))
        slices = _slices(dataset, split)
        jobs = [
            self._job(run_dir, number, split, slices, canvases, outputs)
            for number in range(len(split.folds))
            if not directory.is_finished(number)
        ]
        _LOG.info("%s: %d of %d folds to train", run_dir.name, len(jobs), len(split.folds))
        if jobs:
            directory.unseal()
        self._run_jobs(directory, jobs)
        with FileLock(run_dir / ".lock"):
            directory.tidy(len(split.folds))
            result = CrossValidationResult.load(run_dir)
            directory.unseal()
            result.write_summary()
            directory.seal(len(split.folds))
        result._temporary = temporary
        return result

    def _try_network(self, size: tuple[int, int], outputs: Outputs) -> None:
        """Raise an error for unusable weights or too small canvases before any training."""
        with torch.random.fork_rng(devices=[]):
            model = CTClassifier(self.model, outputs=outputs).eval()
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
        split: Split,
        slices: pd.DataFrame,
        canvases: Path,
        outputs: Outputs,
    ) -> FoldJob:
        return FoldJob(
            run_dir=run_dir.resolve(),
            number=number,
            repeat=split.repeats[number],
            fold=split.folds[number],
            model=self.model,
            outputs=outputs,
            weights=self.weights,
            recipe=self.recipe,
            canvases=canvases,
            slices=slices,
            device=_device_of_fold(self.device, number),
            precision=self.precision,
            seed=self.seed,
            threads=self.threads,
            monitor_every=self.monitor_every,
            compile_model=self.compile_model,
            progress=_workers(self.n_jobs) == 1,
        )

    def _run_jobs(self, directory: RunDirectory, jobs: Sequence[FoldJob]) -> None:
        """Train the folds that are not being trained by other processes, then wait for those."""
        failures: dict[int, str] = {}
        for wait in (False, True):
            remaining = [
                job
                for job in jobs
                if job.number not in failures and not directory.is_finished(job.number)
            ]
            tasks = (delayed(run_fold)(job, wait=wait, profile=self.profile) for job in remaining)
            outcomes = Parallel(n_jobs=self.n_jobs, return_as="generator")(tasks)
            bar = tqdm(
                outcomes, "folds", total=len(remaining), unit="fold", disable=None, leave=False
            )
            for job, failure in zip(remaining, bar, strict=True):
                if failure is not None:
                    failures[job.number] = failure
                elif directory.is_finished(job.number):
                    _LOG.info("%s: fold %d is finished", job.run_dir.name, job.number)
        if failures:
            reasons = "; ".join(f"fold {number}: {why}" for number, why in failures.items())
            raise TrainingDivergedError(
                f"{len(failures)} folds diverged; the other folds are finished and kept. {reasons}"
            )

    def _describe(self, dataset: CTDataset, split: Split, outputs: Outputs) -> RunSpec:
        return RunSpec(
            model=self.model.name,
            weights=WeightsSpec.describe(self.weights),
            recipe=self.recipe,
            dataset=DatasetSpec(
                name=dataset.name,
                classes=dataset.classes,
                slices=len(dataset),
                content_hash=dataset.content_hash(),
                window=dataset.window,
                skipped=tuple((name, reason) for name, reason in dataset.skipped),
                registry_names=dataset.registry_names,
            ),
            protocol=split.protocol,
            group_kind=split.group_kind,
            folds=split.folds,
            repeats=max(split.repeats) + 1,
            seed=self.seed,
            split_seed=self.split_seed,
            threads=self.threads,
            precision=self.precision,
            device=resolve_device(self.device).type,
            versions=software_versions(),
            outputs=outputs,
        )


def _check_labels(outputs: Outputs, dataset: CTDataset, split: Split) -> None:
    """Raise an error if a label that has an output has no training slice in a fold."""
    codes = outputs.encode(dataset.labels, dataset.targets)
    for number, fold in enumerate(split.folds):
        present = np.bincount(codes[fold.train], minlength=len(outputs.classes)) > 0
        lacking = [name for name, here in zip(outputs.labels, present, strict=False) if not here]
        if lacking:
            total = int((dataset.labels == lacking[0]).sum())
            raise ValueError(
                f"target='label' cannot be trained on fold {number}: its training part has no "
                f"slice of {', '.join(map(repr, lacking))} ({lacking[0]!r} has {total} slices in "
                "total); remove its slices, merge the label with another one, choose other "
                "folds, or target='covid'"
            )


def _slices(dataset: CTDataset, split: Split) -> pd.DataFrame:
    """Return the columns that predictions share with the dataset; unknown values are empty."""
    import pandas as pd

    return pd.DataFrame(
        {
            "path": dataset.file_names,
            "frame": dataset.frames,
            "target": dataset.targets,
            "label": dataset.labels,
            "source": dataset.name if dataset.sources is None else dataset.sources,
            "group": "" if split.groups is None else split.groups,
            "volume": "" if dataset.volumes is None else dataset.volumes,
        }
    )


def _jobs(n_jobs: int | None) -> int:
    if n_jobs == 0:
        raise ValueError(
            "n_jobs must be a positive number of folds, or -1 for one fold per core, got 0"
        )
    return 1 if n_jobs is None else n_jobs


def _threads_per_job(n_jobs: int) -> int:
    """Return the number of threads per fold if `n_jobs` folds are trained at the same time."""
    cores: int = cpu_count() // _workers(n_jobs)
    return max(1, min(torch.get_num_threads(), cores))


def _workers(n_jobs: int) -> int:
    return cpu_count() if n_jobs < 0 else max(1, n_jobs)


def _device_of_fold(device: str, number: int) -> str:
    count = torch.cuda.device_count()
    return f"cuda:{number % count}" if device == "auto" and count > 1 else device
