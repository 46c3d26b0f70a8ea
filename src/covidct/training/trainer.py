"""Training of one network on one set of canvases."""

from __future__ import annotations

import hashlib
import json
import math
import operator
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from .._checks import whole
from .._memory import keep_freed_memory
from ..devices import Precision, autocast, resolve_device, resolve_precision
from ..errors import InvalidFileError, TrainingDivergedError
from ..inference import infer
from ..models.classifier import CTClassifier
from ..models.modes import preserved_buffers
from ._averaging import WeightAverage
from ._cuda_graphs import recorded_passes
from ._depthwise import float32_depthwise
from ._slices import TrainingSlices, blocks, checked_share
from .augment import Augmenter
from .checkpoint import CheckpointStore
from .lamb import Lamb
from .loss import Loss, class_weights, make_loss
from .profile import Profile
from .recipe import Recipe

__all__ = ["EpochRecord", "Trainer"]

# Number of learning rates between the first layer and the head.
_DEPTHS = 8

# Canvases, targets and, optionally, positions of the slices to use.
Monitor = (
    tuple[npt.NDArray[np.uint8], npt.NDArray[np.integer]]
    | tuple[npt.NDArray[np.uint8], npt.NDArray[np.integer], npt.NDArray[np.integer]]
)


class EpochRecord(NamedTuple):
    """One row of the history of a training.

    Attributes
    ----------
    epoch : int
        Index of the epoch, from 0.
    learning_rate : float
        Learning rate of the epoch.
    loss, accuracy : float
        Means over the augmented training slices, computed during the epoch.
    monitor_loss, monitor_accuracy : float
        Values on the monitored slices after the epoch; NaN if they were not computed.
    seconds : float
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
    """Training of a network according to a recipe.

    On the CPU the fitted weights are a function of the canvases, the recipe, the seed and the
    number of threads. Each epoch draws from its own random number generators, so that a training
    that was interrupted and resumed gives the same weights, bit for bit. On CUDA this holds within
    rounding.

    Parameters
    ----------
    model : CTClassifier
        The network; fitted in place.
    recipe : Recipe or None, default=None
        Training recipe. None: the paper's, ``Recipe()``.
    device : str or torch.device, default="auto"
        Device, as in :func:`covidct.devices.resolve_device`.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Data type of the passes, as in :func:`covidct.devices.resolve_precision`.
    seed : int or tuple of int, default=0
        Random seed: one or more non-negative integers.
    checkpoint_dir : Path or None, default=None
        Folder of the checkpoints, from which an interrupted training is resumed. None: no
        checkpoints.
    checkpoint_every : float, default=30.0
        Smallest number of seconds between two checkpoints.
    resident_share : float or None, default=None
        Largest share of the free memory of a CUDA device that the training canvases may take, in
        [0, 1]. If they fit, they are kept on the device; otherwise, each batch is copied to it
        during the previous step. 0 copies every batch. None: the value of the environment variable
        ``COVIDCT_RESIDENT_SHARE``, or 0.25.
    compile_model : bool, default=False
        Compile the network by :func:`torch.compile`. This is faster in long trainings only, since
        compilation takes some time.
    profile : Profile or None, default=None
        Timer that sums the time spent in the parts of the training. None: no measurement.

    Raises
    ------
    ValueError
        If ``device``, ``precision`` or ``resident_share`` is not valid.

    Notes
    -----
    On CUDA, in the main thread of a process, the passes are recorded as CUDA graphs once and then
    replayed: hooks on the network's modules run at the recording but not in each step. A network
    that waits for the device during its passes cannot be recorded; it is trained without graphs,
    and a warning is logged.

    Main memory does not grow with the number of slices: batches are gathered from `canvases`, which
    may be memory-mapped, in a background thread. The weights do not depend on where the canvases
    are.

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
        resident_share: float | None = None,
        compile_model: bool = False,
        profile: Profile | None = None,
    ) -> None:
        self.recipe = recipe or Recipe()
        self.device = resolve_device(device)
        self.dtype = resolve_precision(precision, self.device)
        self.seed = tuple(map(operator.index, np.atleast_1d(seed)))
        self.store = CheckpointStore(checkpoint_dir) if checkpoint_dir else None
        self.checkpoint_every = checkpoint_every
        self.resident_share = checked_share(resident_share)
        self.profile = profile or Profile()
        if self.recipe.strategy == "feature-extraction":
            model.freeze_backbone()
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub requires a dtype or device
        self._forward: nn.Module = torch.compile(model) if compile_model else model  # type: ignore[assignment]  # a module, which torch's stub calls a callable
        self._optimizer = _make_optimizer(model, self.recipe)
        decay = self.recipe.average_decay
        self._average = WeightAverage(model, decay) if decay else None
        self._loss: Loss  # made by `fit`, since the weights of the classes depend on the slices
        self._positive = torch.from_numpy(model.outputs.is_positive).to(self.device)

    def fit(
        self,
        canvases: npt.NDArray[np.uint8],
        targets: npt.NDArray[np.integer],
        *,
        index: npt.NDArray[np.integer] | None = None,
        monitor: Monitor | None = None,
        monitor_every: int = 10,
        description: str = "train",
        progress: bool = True,
    ) -> list[EpochRecord]:
        """Train the network, continuing from a checkpoint if there is one.

        Parameters
        ----------
        canvases : ndarray of shape (N, H, W)
            Canvases, uint8, in memory or memory-mapped.
        targets : array-like of shape (N,)
            Targets of the canvases, 0 or 1; for a model with one output per label, the positions
            of the labels in ``model.classes``.
        index : array-like of int of shape (n_slices,) or None, default=None
            Positions of the training slices among the canvases. None: all canvases. The weights are
            those of ``fit(canvases[index], targets[index])``, which copies the canvases.
        monitor : tuple or None, default=None
            Slices to score at intervals, for learning curves: ``(canvases, targets)`` or
            ``(canvases, targets, index)``. They do not influence the training: the model of the
            last epoch is kept.
        monitor_every : int, default=10
            Number of epochs from one scoring of the monitored slices to the next; the last epoch is
            always scored.
        description : str, default="train"
            Label of the progress bar.
        progress : bool, default=True
            Show a progress bar if the output is a terminal.

        Returns
        -------
        list of EpochRecord
            One record per epoch, including the epochs before an interruption.

        Raises
        ------
        TrainingDivergedError
            If a loss becomes NaN or infinite.
        ValueError
            If canvases, targets or index do not have the shapes, types and values above; if
            ``monitor_every`` is not a positive integer; or if a batch has one slice and the network
            cannot be trained on it.
        InvalidFileError
            If the checkpoints in ``checkpoint_dir`` belong to a different training.

        Notes
        -----
        An epoch of N slices has ceil(N / batch_size) batches. Their sizes differ by at most one, so
        that every slice is used once and no batch is much smaller than the rest: 33 slices in
        batches of at most 32 give 17 and 16, not 32 and 1.
        """
        whole("monitor_every", monitor_every)
        chosen = _check(canvases, targets, index, len(self.model.classes))
        sizes = _batch_sizes(len(chosen), self.recipe.batch_size)
        shape = canvases.shape[1:]
        if min(sizes) == 1:
            self._check_single_slice(len(chosen), shape)
        codes = np.asarray(targets)[chosen].astype(np.int64)
        labels = torch.from_numpy(codes).to(self.device)
        weights = class_weights(self.recipe, self.model.outputs, codes)
        smoothing = self.recipe.label_smoothing
        self._loss = make_loss(self.model.outputs, weights, self.device, smoothing=smoothing)
        training = self._fingerprint(canvases, targets, chosen, progress) if self.store else ""
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
            self._open(canvases, chosen, sizes) as slices,
            self._recorded(shape, sizes),
        ):
            for epoch in bar:
                start = time.perf_counter()
                rate, loss, accuracy = self._run_epoch(epoch, slices, labels, sizes)
                last = epoch + 1 == self.recipe.epochs
                monitored = (float("nan"), float("nan"))
                if monitor is not None and (last or (epoch + 1) % monitor_every == 0):
                    with self._average.applied() if self._average else nullcontext():
                        monitored = self._score(*monitor)
                seconds = time.perf_counter() - start
                history.append(EpochRecord(epoch, rate, loss, accuracy, *monitored, seconds))
                bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.1%}")
                if self.store and (last or time.monotonic() - saved >= self.checkpoint_every):
                    self._save(history, training)
                    saved = time.monotonic()
        if self._average:
            self._average.apply()
        return history

    def _open(
        self, canvases: npt.NDArray[np.uint8], index: npt.NDArray[np.int64], sizes: Sequence[int]
    ) -> TrainingSlices:
        with self.profile("data"):
            return TrainingSlices(canvases, index, max(sizes), self.device, self.resident_share)

    def _check_single_slice(self, n_slices: int, shape: tuple[int, ...]) -> None:
        """Refuse batches of one slice for a network with batch normalization after global pooling.

        Such a network would normalize a single value per channel, which PyTorch refuses in training
        mode.
        """
        self.model.train()
        batch = torch.zeros(1, 1, *shape, device=self.device)
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with (
                preserved_buffers(self.model),
                torch.random.fork_rng(devices),
                torch.no_grad(),
                autocast(self.device, self.dtype),
            ):
                self.model(batch)
        except ValueError as error:
            fix = "choose batch_size=3 or larger" if n_slices > 1 else "give two slices or more"
            raise ValueError(
                f"{self.model.info.name!r} cannot be trained on a batch of one slice ({error}); "
                f"batch_size={self.recipe.batch_size} and {n_slices} training slices give one: "
                f"{fix}"
            ) from error

    def _recorded(
        self, shape: tuple[int, ...], sizes: Sequence[int]
    ) -> AbstractContextManager[None]:
        if self._forward is not self.model:  # compiled
            return nullcontext()
        common = [size for size, _ in Counter(sizes).most_common()]
        batches = [torch.zeros((size, 1, *shape), device=self.device) for size in common]
        return recorded_passes(self.model, batches, self.dtype)

    def _run_epoch(
        self, epoch: int, slices: TrainingSlices, labels: Tensor, sizes: Sequence[int]
    ) -> tuple[float, float, float]:
        """Train for one epoch; return the learning rate, the mean loss and the accuracy."""
        rate = self.recipe.rate_at(epoch)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        sequence = np.random.SeedSequence((*self.seed, epoch))
        draws, dropout = (int(word) for word in sequence.generate_state(2, np.uint64) >> 1)
        generator = torch.Generator().manual_seed(draws)
        augment = Augmenter(self.recipe.augmentation, generator, self.device)
        order = torch.randperm(len(labels), generator=generator)
        truths = torch.split(labels[order.to(self.device)], list(sizes))
        self.model.train()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(dropout)
            steps = [
                self._step(batch, truth, augment)
                for batch, truth in zip(slices.batches(order, sizes), truths, strict=True)
            ]
        losses, right = (torch.stack(column).cpu() for column in zip(*steps, strict=True))
        if not losses.isfinite().all():
            batch = int((~losses.isfinite()).nonzero()[0])
            raise TrainingDivergedError(
                f"the loss is {losses[batch].item()} in epoch {epoch}, batch {batch}, at learning "
                f"rate {rate:g}; try a smaller learning_rate or precision='float32'"
            )
        loss = float((losses * torch.tensor(sizes)).sum() / len(labels))
        return rate, loss, float(right.sum() / len(labels))

    def _step(self, canvases: Tensor, truth: Tensor, augment: Augmenter) -> tuple[Tensor, Tensor]:
        """Take one step; return the loss and the number of correct predictions, on the device."""
        with self.profile("augment"):
            images = augment(canvases)
        with self.profile("forward"), autocast(self.device, self.dtype):
            outputs = self._forward(images).float()
            loss = self._loss(outputs, truth)
        with self.profile("backward"):
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # not typed in torch
        predicted = self.model.covid_logit(outputs.detach()) >= 0
        with self.profile("optimizer"):
            self._optimizer.step()
            if self._average:
                self._average.update()
        return loss.detach(), (predicted == self._positive[truth]).sum()

    def _score(
        self,
        canvases: npt.NDArray[np.uint8],
        targets: npt.NDArray[np.integer],
        index: npt.NDArray[np.integer] | None = None,
    ) -> tuple[float, float]:
        """Compute loss and accuracy of the monitored slices."""
        chosen = _positions(index, len(canvases))
        with self.profile("evaluation"):
            scored = infer(self.model, canvases, index=chosen)
        truth = np.asarray(targets)[chosen].astype(np.int64)
        meaning = self.model.outputs
        unweighted = make_loss(meaning, np.ones(len(meaning.classes)), torch.device("cpu"))
        loss = unweighted(torch.from_numpy(scored.outputs), torch.from_numpy(truth))
        right = (scored.logits >= 0) == meaning.is_positive[truth]
        return float(loss), float(torch.from_numpy(right).float().mean())

    def _fingerprint(
        self,
        canvases: npt.NDArray[np.uint8],
        targets: npt.NDArray[np.integer],
        index: npt.NDArray[np.int64],
        progress: bool,
    ) -> str:
        """Hash everything that determines the fitted weights, to identify checkpoints."""
        digest = hashlib.sha256(json.dumps([self.recipe.to_dict(), self.seed]).encode())
        parts = list(blocks(index))
        for block in tqdm(parts, "hash", disable=None if progress else True, leave=False):
            digest.update(canvases[block].data)
        digest.update(np.asarray(targets, dtype=np.int64)[index].tobytes())
        return digest.hexdigest()

    def _save(self, history: Iterable[EpochRecord], training: str) -> None:
        state = {
            "training": training,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "history": [tuple(record) for record in history],
            "average": self._average.state_dict() if self._average else None,
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
                raise ValueError("the slices, the recipe or the seed differ")
            self.model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            if self._average:
                self._average.load_state_dict(state["average"])
            return [EpochRecord(*row) for row in state["history"]]
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise InvalidFileError(
                f"{str(self.store.newest)!r} is not a checkpoint of this training ({error}); "
                "remove the checkpoints in this folder to start from the beginning"
            ) from error


def _make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Create the optimizer of a recipe for the trainable tensors of a model."""
    groups = _parameter_groups(model, recipe)
    options: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    match recipe.optimizer:
        case "lamb":
            return Lamb(
                groups,
                betas=recipe.betas,
                clamp_value=recipe.clamp_value,
                adam=recipe.adam,
                debias=recipe.debias,
                **options,
            )
        case "adamw":
            return torch.optim.AdamW(groups, betas=recipe.betas, **options)
        case "sgd":
            return torch.optim.SGD(groups, momentum=0.9, **options)


def _parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Divide the trainable tensors into groups of equal learning rate and weight decay.

    The depth of a tensor is the rank of its module among the modules with tensors of their own, in
    the order of their definition, which is the order from the image to the head in the networks of
    torchvision and timm. Depths are rounded to eighths, so that there are few groups.
    """
    ranks: dict[str, int] = {}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    named = list(model.named_parameters())
    for name, _ in named:
        ranks.setdefault(name.rpartition(".")[0], len(ranks))
    for name, tensor in named:
        if tensor.requires_grad:
            rank = ranks[name.rpartition(".")[0]]
            depth = round(_DEPTHS * rank / max(1, len(ranks) - 1)) / _DEPTHS
            factor = recipe.first_layer_rate ** (1 - depth)
            decays = recipe.decay_norm_and_bias or tensor.ndim > 1
            groups.setdefault((factor, decays), []).append(tensor)
    return [
        {"params": tensors, "rate_factor": factor} | ({} if decays else {"weight_decay": 0.0})
        for (factor, decays), tensors in groups.items()
    ]


def _batch_sizes(n_slices: int, largest: int) -> list[int]:
    """Divide slices into ceil(n_slices / largest) batches whose sizes differ by at most one."""
    n_batches = math.ceil(n_slices / largest)
    size, remainder = divmod(n_slices, n_batches)
    return [size + 1] * remainder + [size] * (n_batches - remainder)


def _check(
    canvases: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.integer],
    index: npt.NDArray[np.integer] | None,
    n_classes: int,
) -> npt.NDArray[np.int64]:
    """Check the training slices; return their positions among the canvases."""
    if canvases.dtype != np.uint8 or canvases.ndim != 3:
        raise ValueError(
            f"canvases must be (N, H, W) uint8, got {canvases.shape} {canvases.dtype}; "
            "make them with covidct.datasets.canvases.make_canvases"
        )
    if len(canvases) != len(targets) or len(canvases) == 0:
        raise ValueError(
            "canvases and targets must have the same length, at least 1, got "
            f"{len(canvases)} canvases and {len(targets)} targets"
        )
    chosen = _positions(index, len(canvases))
    used = np.asarray(targets)[chosen]
    if not np.isin(used, range(n_classes)).all():
        codes = " or ".join(map(str, range(n_classes)))
        raise ValueError(f"targets must be {codes}, got {np.unique(used).tolist()}")
    return chosen


def _positions(index: npt.NDArray[np.integer] | None, n_canvases: int) -> npt.NDArray[np.int64]:
    if index is None:
        return np.arange(n_canvases)
    array = np.asarray(index)
    if array.ndim != 1 or len(array) == 0 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"index must contain positions of canvases, at least one, got shape {array.shape} "
            f"{array.dtype}"
        )
    outside = array[(array < 0) | (array >= n_canvases)]
    if len(outside):
        raise ValueError(
            f"index must contain positions from 0 to {n_canvases - 1}, got {outside[0]}"
        )
    return array.astype(np.int64)
