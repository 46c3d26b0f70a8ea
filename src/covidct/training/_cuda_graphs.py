"""The passes of full batches, recorded once and replayed, on a GPU."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["recorded_passes"]

_LOG = logging.getLogger(__name__)

# Before PyTorch 2.10 there is no such remark, and nothing to switch.
_remark_on_streams: Callable[[bool], object] = getattr(
    torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", bool
)


@contextmanager
def recorded_passes(model: nn.Module, batch: Tensor, dtype: torch.dtype) -> Iterator[None]:
    """Replay the forward and backward passes of training from CUDA graphs meanwhile.

    Launching a network's thousand small kernels one by one takes Python two to seven times as long
    as the GPU needs to run them. Batches of another shape and passes in evaluation mode are
    computed as ever, and so is everything where the network can't be recorded.

    Parameters
    ----------
    model
        What is trained; recording changes nothing in it.
    batch
        Images of the shape of a full batch, on the model's device; nothing happens but on CUDA, in
        a process's main thread.
    dtype
        The arithmetic of the passes.

    Examples
    --------
    >>> import covidct, torch
    >>> from covidct.training._cuda_graphs import recorded_passes
    >>> model = covidct.create_model("shufflenet", weights=None)
    >>> with recorded_passes(model, torch.zeros(2, 1, 64, 64), torch.bfloat16):
    ...     _ = model(torch.zeros(2, 1, 64, 64))
    """
    # While one thread records, CUDA calls of other threads fail.
    if not batch.is_cuda or threading.current_thread() is not threading.main_thread():
        yield
        return
    _remark_on_streams(False)  # recording has one of its own, as it must
    try:
        _record(model, batch, dtype)
        yield
    finally:
        vars(model).pop("forward", None)
        _remark_on_streams(True)


def _record(model: nn.Module, batch: Tensor, dtype: torch.dtype) -> None:
    """Let full batches in training mode be replayed by ``model.forward``, where that can be."""
    plain = model.forward
    before = torch.cuda.memory_reserved(batch.device)
    try:
        _replace_forward(model, batch, dtype)
    except (AssertionError, RuntimeError) as error:  # it has hooks, or waits for the device
        _LOG.warning("trained without CUDA graphs, which is slower: %s", error)
        return
    replayed = model.forward
    if torch.cuda.mem_get_info(batch.device)[0] < torch.cuda.memory_reserved(batch.device) - before:
        del model.forward
        _LOG.warning("trained without CUDA graphs, which is slower: no room for other batches")
        return
    model.forward = lambda x: replayed(x) if x.shape == batch.shape else plain(x)


def _replace_forward(model: nn.Module, batch: Tensor, dtype: torch.dtype) -> None:
    """Record the passes, and leave everything else as it was."""
    model.train()
    buffers = [buffer.clone() for buffer in model.buffers()]
    generator = torch.cuda.default_generators[batch.device.index]
    state = generator.clone_state()
    half = dtype != torch.float32
    try:
        with (
            torch.random.fork_rng([batch.device]),
            torch.cuda.stream(torch.cuda.current_stream()),
            warnings.catch_warnings(),
            torch.autocast("cuda", dtype, enabled=half, cache_enabled=False),
        ):
            # The first backward pass of a process, where it begins with a linear head.
            warnings.filterwarnings("ignore", "Attempting to run cuBLAS", UserWarning)
            torch.cuda.make_graphed_callables(model, (batch,))
    except RuntimeError:
        # A recording that failed leaves the generator waiting for its end.
        generator.graphsafe_set_state(state)
        raise
    finally:
        # The passes that warm up move batch normalization's statistics.
        for buffer, before in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(before)
