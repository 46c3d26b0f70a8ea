"""Training and scoring of one fold of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock, Timeout

from .._files import remove_temporary_files
from .._memory import keep_freed_memory
from ..datasets.canvases import map_canvases
from ..devices import Precision
from ..errors import TrainingDivergedError
from ..inference import infer
from ..models.classifier import CTClassifier, create_model
from ..models.outputs import Outputs
from ..models.registry import ArchitectureInfo, register_model
from ..models.weights import save_state
from ..training.profile import Profile
from ..training.recipe import Recipe
from ..training.trainer import EpochRecord, Trainer
from .columns import label_column, prediction_columns
from .out_of_distribution import TrainingReference, descriptors
from .splits import Fold
from .storage import RunDirectory

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FoldJob", "run_fold"]

Canvases = npt.NDArray[np.uint8]

# Number of slices whose descriptors are computed at a time.
_BLOCK = 256


@dataclass(frozen=True)
class FoldJob:
    """Description of one fold, from which a worker process can run it.

    The canvases are named by their file: pickled as an array, a mapped file of tens of gigabytes
    would be read whole and sent to each worker.
    """

    run_dir: Path
    number: int
    repeat: int
    fold: Fold
    model: ArchitectureInfo
    outputs: Outputs
    weights: str | None
    recipe: Recipe
    canvases: Path
    slices: pd.DataFrame  # columns that predictions share with the dataset, such as path and target
    device: str
    precision: Precision
    seed: int
    threads: int
    monitor_every: int
    compile_model: bool
    progress: bool


def run_fold(job: FoldJob, *, wait: bool, profile: Profile | None = None) -> str | None:
    """Train and score a fold, unless it is finished or another process is training it.

    Parameters
    ----------
    job : FoldJob
        The fold.
    wait : bool
        Wait for another process that is training this fold, and continue its work if it dies.
    profile : Profile or None, default=None
        Timer that sums the time spent in the parts of the training. None: no measurement.

    Returns
    -------
    str or None
        Reason why the training diverged; None if it did not.
    """
    directory = RunDirectory(job.run_dir)
    folder = directory.fold(job.number)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=-1 if wait else 0):
            remove_temporary_files(folder)
            if not directory.is_finished(job.number):
                with _threads(job.threads):
                    _fit_and_score(job, directory, profile)
    except Timeout:
        return None
    except TrainingDivergedError as error:
        return str(error)
    return None


def _fit_and_score(job: FoldJob, directory: RunDirectory, profile: Profile | None) -> None:
    import pandas as pd

    folder = directory.fold(job.number)
    canvases = map_canvases(job.canvases)
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
    targets = job.outputs.encode(
        job.slices["label"].to_numpy(dtype=str), job.slices["target"].to_numpy()
    )
    history = trainer.fit(
        canvases,
        targets,
        index=train,
        monitor=(canvases, targets, test),
        monitor_every=job.monitor_every,
        description=f"fold {job.number}",
        progress=job.progress,
    )
    curve = pd.DataFrame.from_records(history, columns=list(EpochRecord._fields))
    directory.write_table(folder / "history.csv", curve)
    if job.fold.validation.size:
        validation = _score(job, model, canvases, job.fold.validation)
        directory.write_table(folder / "validation.csv", validation)
    predictions = _score(job, model, canvases, test)
    _training_reference(job, model, canvases).save(folder / "reference.safetensors")
    save_state(model, folder / "model.safetensors")
    directory.write_table(folder / "predictions.csv", predictions)
    if trainer.store:
        trainer.store.clear()


def _initial_model(job: FoldJob) -> CTClassifier:
    """Create the network; its new head depends only on the seed and the number of the fold."""
    if not job.model.name.startswith("timm:"):
        # A worker process does not know the networks that the caller has registered.
        register_model(job.model, overwrite=True)
    (seed,) = np.random.SeedSequence((job.seed, job.number)).generate_state(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        size = job.recipe.canvas_size(job.model)
        return create_model(job.model.name, job.weights, input_size=size, outputs=job.outputs)


def _score(
    job: FoldJob, model: CTClassifier, canvases: Canvases, index: npt.NDArray[np.int64]
) -> pd.DataFrame:
    scored = infer(model, canvases, index=index)
    if not np.isfinite(scored.logits).all():
        raise TrainingDivergedError(
            "the trained network returns NaN or infinity; try a smaller learning_rate"
        )
    table = job.slices.iloc[index].assign(
        index=index,
        fold=job.number,
        repeat=job.repeat,
        probability=scored.probabilities,
        logit=scored.logits,
    )
    labels = job.outputs.probabilities(torch.from_numpy(scored.outputs))
    table = table.assign(**{label_column(name): values for name, values in labels.items()})
    columns = prediction_columns(job.outputs)
    return table[list(columns)].astype(dict(columns))


def _training_reference(job: FoldJob, model: CTClassifier, canvases: Canvases) -> TrainingReference:
    """Compute statistics of the slices of the fold, with which new slices are compared."""

    def described(index: npt.NDArray[np.int64]) -> Iterator[dict[str, npt.NDArray[np.floating]]]:
        for start in range(0, len(index), _BLOCK):
            block = index[start : start + _BLOCK]
            features = infer(model, canvases, index=block, features=True).features
            yield {"features": np.asarray(features), **descriptors(canvases[block])}

    with keep_freed_memory():  # once for all blocks
        return TrainingReference.fit(described(job.fold.train), described(job.fold.test))


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
