"""One fold of a run: fit, score, write down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock, Timeout

from .._files import clear_remains
from ..devices import Precision
from ..errors import TrainingDivergedError
from ..inference import infer
from ..models.classifier import CTClassifier, create_model
from ..models.registry import ArchitectureInfo, register_model
from ..models.weights import save_state
from ..training.profile import Profile
from ..training.recipe import Recipe
from ..training.trainer import EpochRecord, Trainer
from .out_of_distribution import TrainingReference, descriptors
from .splits import Fold
from .storage import PREDICTION_FIELDS, RunDirectory

__all__ = ["FoldJob", "run_fold"]


@dataclass(frozen=True)
class FoldJob:
    """All that a worker needs to know to do one fold."""

    run_dir: Path
    number: int
    fold: Fold
    model: ArchitectureInfo
    weights: str | None
    recipe: Recipe
    canvases: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.int64]
    names: tuple[str, ...]
    groups: npt.NDArray[Any] | None
    device: str
    precision: Precision
    seed: int
    threads: int
    monitor_every: int
    compile_model: bool
    progress: bool


def run_fold(job: FoldJob, *, wait: bool, profile: Profile | None = None) -> str | None:
    """Do a fold, unless it is finished or another process is at it.

    Parameters
    ----------
    job
        The fold.
    wait
        Whether to wait for another process that is at this fold, and to take over if it dies.
    profile
        Where to add up what the parts cost.

    Returns
    -------
    str or None
        Why the fold could not be finished: its loss became NaN. None if all is well.
    """
    directory = RunDirectory(job.run_dir)
    folder = directory.fold(job.number)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=-1 if wait else 0):
            clear_remains(folder)
            if not directory.is_finished(job.number):
                with _threads(job.threads):
                    _fit_and_score(job, directory, profile)
    except Timeout:
        return None
    except TrainingDivergedError as error:
        return str(error)
    return None


def _fit_and_score(job: FoldJob, directory: RunDirectory, profile: Profile | None) -> None:
    folder = directory.fold(job.number)
    model = _initial_model(job)
    train, test = job.fold.train, job.fold.test
    trainer = Trainer(
        model,
        job.recipe,
        device=job.device,
        precision=job.precision,
        seed=(job.seed, job.number),
        checkpoint_dir=folder,
        compile_model=job.compile_model,
        profile=profile,
    )
    history = trainer.fit(
        job.canvases[train],
        job.targets[train],
        monitor=(job.canvases[test], job.targets[test]),
        monitor_every=job.monitor_every,
        description=f"fold {job.number}",
        progress=job.progress,
    )
    directory.write_table(folder / "history.csv", EpochRecord._fields, history)
    if job.fold.validation.size:
        rows = _score(job, model, job.fold.validation)
        directory.write_table(folder / "validation.csv", PREDICTION_FIELDS.names or (), rows)
    rows = _score(job, model, test)
    _refer(job, model).save(folder / "reference.safetensors")
    save_state(model, folder / "model.safetensors")
    directory.write_table(folder / "predictions.csv", PREDICTION_FIELDS.names or (), rows)
    if trainer.store:
        trainer.store.clear()


def _initial_model(job: FoldJob) -> CTClassifier:
    """Create the network; its fresh head depends on the seed and the fold alone."""
    if not job.model.name.startswith("timm:"):
        register_model(job.model, overwrite=True)  # as the caller knows it, in a new process too
    (seed,) = np.random.SeedSequence((job.seed, job.number)).generate_state(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        size = job.recipe.canvas_size(job.model)
        return create_model(job.model.name, job.weights, input_size=size)


def _score(job: FoldJob, model: CTClassifier, index: npt.NDArray[np.int64]) -> list[list[Any]]:
    scored = infer(model, job.canvases, index=index)
    if not np.isfinite(scored.logits).all():
        raise TrainingDivergedError(
            "the fitted network answers NaN or infinity; try a smaller learning_rate"
        )
    return [
        [
            int(i),
            job.names[i],
            int(job.targets[i]),
            job.number,
            float(probability),
            float(logit),
            "" if job.groups is None else job.groups[i],
        ]
        for i, probability, logit in zip(index, scored.probabilities, scored.logits, strict=True)
    ]


def _refer(job: FoldJob, model: CTClassifier) -> TrainingReference:
    """Describe the fold's slices, so that new ones can be compared with them."""
    parts = []
    for index in (job.fold.train, job.fold.test):
        features = np.asarray(infer(model, job.canvases, index=index, features=True).features)
        parts.append({"features": features, **descriptors(job.canvases[index])})
    return TrainingReference.fit(*parts)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
