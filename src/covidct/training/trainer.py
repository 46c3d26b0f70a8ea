"""Fit one network to one set of canvases."""

from __future__ import annotations

import hashlib
import json
import operator
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from .._memory import keep_freed_memory
from ..devices import Precision, autocast, resolve_device, resolve_precision
from ..errors import InvalidFileError, TrainingDivergedError
from ..inference import infer
from ..models.classifier import CTClassifier
from ._cuda_graphs import recorded_passes
from ._depthwise import float32_depthwise
from .augment import Augmenter
from .checkpoint import CheckpointStore
from .lamb import Lamb
from .profile import Profile
from .recipe import Recipe

__all__ = ["EpochRecord", "Trainer"]

_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "lamb": Lamb,
    "adamw": torch.optim.AdamW,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
}


class EpochRecord(NamedTuple):
    """One row of a training's history.

    Attributes
    ----------
    epoch
        The epoch; the first is 0.
    learning_rate
        Its learning rate.
    loss, accuracy
        Means over the augmented training slices, as the epoch went along.
    monitor_loss, monitor_accuracy
        On the slices to watch, after the epoch; NaN where it was not watched.
    seconds
        Wall time of the epoch.
    """

    epoch: int
    learning_rate: float
    loss: float
    accuracy: float
    monitor_loss: float
    monitor_accuracy: float
    seconds: float


class Trainer:
    """Fit a network by a recipe.

    On the CPU the fitted weights are a function of the canvases, the recipe, the seed and the
    number of threads: each epoch draws from generators of its own, so that a training that was
    interrupted and resumed gives the same bits. On CUDA this holds within rounding.

    Parameters
    ----------
    model
        The network; it is fitted in place.
    recipe
        How.
    device
        As in :func:`covidct.devices.resolve_device`.
    precision
        Arithmetic of the passes, as in :func:`covidct.devices.resolve_precision`.
    seed
        One or more non-negative integers, from which all randomness comes.
    checkpoint_dir
        Folder of the checkpoints, from which an interrupted training goes on; None for none.
    checkpoint_every
        Seconds that pass at least between two checkpoints.
    compile_model
        Run the network through :func:`torch.compile`: worth its start-up in long trainings.
    profile
        Where to add up what the parts cost.

    Notes
    -----
    On CUDA, in a process's main thread, the passes of full batches are recorded once and then
    replayed, as CUDA graphs: hooks on the network's modules run at the recording and not in each
    step. A network that waits for the device in its passes can't be recorded; it is trained
    without, and a warning says so.

    Examples
    --------
    >>> import covidct
    >>> from covidct.datasets.canvases import make_canvases
    >>> slices = covidct.load_dataset("phantom", n=8, seed=0)
    >>> model = covidct.create_model("shufflenet", weights=None)
    >>> trainer = covidct.Trainer(model, covidct.Recipe.demo().scaled(2), device="cpu")
    >>> history = trainer.fit(make_canvases(slices, (64, 96)), slices.targets)
    >>> [record.epoch for record in history]
    [0, 1]
    """

    def __init__(
        self,
        model: CTClassifier,
        recipe: Recipe | None = None,
        *,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        seed: int | tuple[int, ...] = 0,
        checkpoint_dir: Path | None = None,
        checkpoint_every: float = 30.0,
        compile_model: bool = False,
        profile: Profile | None = None,
    ) -> None:
        self.recipe = recipe or Recipe()
        self.device = resolve_device(device)
        self.dtype = resolve_precision(precision, self.device)
        self.seed = tuple(map(operator.index, np.atleast_1d(seed)))
        self.store = CheckpointStore(checkpoint_dir) if checkpoint_dir else None
        self.checkpoint_every = checkpoint_every
        self.profile = profile or Profile()
        if self.recipe.strategy == "feature-extraction":
            model.freeze_backbone()
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks a memory format by itself
        self._forward: nn.Module = torch.compile(model) if compile_model else model  # type: ignore[assignment]  # torch's stub: a callable, though it is a module
        self._optimizer = _OPTIMIZERS[self.recipe.optimizer](
            [p for p in model.parameters() if p.requires_grad],
            lr=self.recipe.learning_rate,
            weight_decay=self.recipe.weight_decay,
        )
        self._loss = nn.BCEWithLogitsLoss(
            pos_weight=torch.tensor(self.recipe.pos_weight, device=self.device)
        )

    def fit(
        self,
        canvases: npt.NDArray[np.uint8],
        targets: npt.NDArray[np.integer],
        *,
        monitor: tuple[npt.NDArray[np.uint8], npt.NDArray[np.integer]] | None = None,
        monitor_every: int = 10,
        description: str = "train",
        progress: bool = True,
    ) -> list[EpochRecord]:
        """Train for the recipe's epochs, or for those that are left after an interruption.

        Parameters
        ----------
        canvases
            (N, H, W) uint8 training slices.
        targets
            (N,) of 0 and 1.
        monitor
            Canvases and targets to score now and then for the learning curve. Nothing is chosen
            by them: the model of the last epoch stays.
        monitor_every
            Epochs from one look at them to the next; the last epoch is always looked at.
        description
            What stands beside the progress bar.
        progress
            Whether to draw a progress bar (only ever on a terminal).

        Returns
        -------
        list of EpochRecord
            One for each epoch.

        Raises
        ------
        TrainingDivergedError
            If a loss becomes NaN or infinite.
        ValueError
            If canvases or targets are not of the shapes, types and values above.
        InvalidFileError
            If the checkpoints in ``checkpoint_dir`` are of another training.

        Notes
        -----
        The last batch of an epoch holds what is left over, be it one slice, as that of a
        :class:`torch.utils.data.DataLoader` does.
        """
        _check(canvases, targets)
        with self.profile("data"):
            data = torch.tensor(canvases, device=self.device)  # a copy: canvases are read-only
            labels = torch.from_numpy(np.asarray(targets, dtype=np.float32)).to(self.device)
        training = self._fingerprint(canvases, targets) if self.store else ""
        history = self._resume(training)
        saved = time.monotonic()
        epochs = range(len(history), self.recipe.epochs)
        bar = tqdm(
            epochs,
            desc=description,
            unit="epoch",
            initial=len(history),
            total=self.recipe.epochs,
            disable=None if progress else True,
            leave=False,
        )
        with (
            keep_freed_memory(),
            float32_depthwise(self.model, self.device, self.dtype),
            self._recorded(data),
        ):
            for epoch in bar:
                start = time.perf_counter()
                rate, loss, accuracy = self._run_epoch(epoch, data, labels)
                last = epoch + 1 == self.recipe.epochs
                watched = (float("nan"), float("nan"))
                if monitor is not None and (last or (epoch + 1) % monitor_every == 0):
                    watched = self._watch(*monitor)
                seconds = time.perf_counter() - start
                history.append(EpochRecord(epoch, rate, loss, accuracy, *watched, seconds))
                bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.1%}")
                if self.store and (last or time.monotonic() - saved >= self.checkpoint_every):
                    self._save(history, training)
                    saved = time.monotonic()
        return history

    def _recorded(self, data: Tensor) -> AbstractContextManager[None]:
        if self._forward is not self.model:  # compiled
            return nullcontext()
        count = min(self.recipe.batch_size, len(data))
        batch = torch.zeros(count, 1, *data.shape[1:], device=self.device)
        return recorded_passes(self.model, batch, self.dtype)

    def _run_epoch(self, epoch: int, data: Tensor, labels: Tensor) -> tuple[float, float, float]:
        rate = self.recipe.rate_at(epoch)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        sequence = np.random.SeedSequence((*self.seed, epoch))
        draws, dropout = (int(word) for word in sequence.generate_state(2, np.uint64) >> 1)
        generator = torch.Generator().manual_seed(draws)
        augment = Augmenter(self.recipe.augmentation, generator, self.device)
        order = torch.randperm(len(data), generator=generator).to(self.device)
        batches = torch.split(order, self.recipe.batch_size)
        self.model.train()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(dropout)
            steps = [self._step(data, labels, batch, augment) for batch in batches]
        losses, right = (torch.stack(column).cpu() for column in zip(*steps, strict=True))
        if not losses.isfinite().all():
            batch = int((~losses.isfinite()).nonzero()[0])
            raise TrainingDivergedError(
                f"the loss is {losses[batch].item()} in epoch {epoch}, batch {batch}, at learning "
                f"rate {rate:g}; try a smaller learning_rate or precision='float32'"
            )
        sizes = torch.tensor([len(batch) for batch in batches])
        return rate, float((losses * sizes).sum() / len(data)), float(right.sum() / len(data))

    def _step(
        self, data: Tensor, labels: Tensor, batch: Tensor, augment: Augmenter
    ) -> tuple[Tensor, Tensor]:
        """Take one step; return the loss and the number of right answers, still on the device."""
        with self.profile("augment"):
            images, truth = augment(data[batch]), labels[batch]
        with self.profile("forward"), autocast(self.device, self.dtype):
            logits = self._forward(images).float()
            loss: Tensor = self._loss(logits, truth)
        with self.profile("backward"):
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        with self.profile("optimizer"):
            self._optimizer.step()
        return loss.detach(), ((logits > 0) == (truth > 0)).sum()

    def _watch(
        self, canvases: npt.NDArray[np.uint8], targets: npt.NDArray[np.integer]
    ) -> tuple[float, float]:
        with self.profile("evaluation"):
            logits = torch.from_numpy(infer(self.model, canvases).logits)
        truth = torch.from_numpy(np.asarray(targets, dtype=np.float32))
        loss = nn.functional.binary_cross_entropy_with_logits(logits, truth)
        return float(loss), float(((logits > 0) == (truth > 0)).float().mean())

    def _fingerprint(
        self, canvases: npt.NDArray[np.uint8], targets: npt.NDArray[np.integer]
    ) -> str:
        """Digest what the fitted weights are a function of, by which a checkpoint is known."""
        digest = hashlib.sha256(json.dumps([self.recipe.to_dict(), self.seed]).encode())
        digest.update(np.ascontiguousarray(canvases).data)
        digest.update(np.asarray(targets, dtype=np.int64).tobytes())
        return digest.hexdigest()

    def _save(self, history: Iterable[EpochRecord], training: str) -> None:
        state = {
            "training": training,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "history": [tuple(record) for record in history],
        }
        if self.store:
            with self.profile("checkpoint"):
                self.store.save(state)

    def _resume(self, training: str) -> list[EpochRecord]:
        state: dict[str, Any] | None = self.store.load() if self.store else None
        if state is None or self.store is None:
            return []
        try:
            if state["training"] != training:
                raise ValueError("its slices, recipe or seed are others")
            self.model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            return [EpochRecord(*row) for row in state["history"]]
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise InvalidFileError(
                f"{str(self.store.newest)!r} is no checkpoint of this training ({error}); remove "
                "the checkpoints beside it to begin anew"
            ) from error


def _check(canvases: npt.NDArray[np.uint8], targets: npt.NDArray[np.integer]) -> None:
    if canvases.dtype != np.uint8 or canvases.ndim != 3:
        raise ValueError(
            f"canvases must be (N, H, W) uint8, got {canvases.shape} {canvases.dtype}; "
            "covidct.datasets.canvases.make_canvases makes them"
        )
    if len(canvases) != len(targets) or len(canvases) == 0:
        raise ValueError(
            f"give as many targets as canvases, got {len(targets)} and {len(canvases)}"
        )
    if not np.isin(targets, (0, 1)).all():
        raise ValueError(f"targets must be 0 or 1, got {np.unique(targets).tolist()}")
