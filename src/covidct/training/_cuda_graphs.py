"""Recording of the training passes as CUDA graphs, which are replayed in every step.

A network of a hundred layers launches about a thousand small kernels per pass. Launching them one
by one takes Python two to seven times as long as the GPU needs to run them at a batch size of 32.
A CUDA graph is a recording of all launches of a pass, with fixed shapes and memory addresses, which
the driver replays in one call. :func:`torch.cuda.make_graphed_callables` records the forward and
the backward pass of a model and replaces ``model.forward``: it copies the batch into the recorded
input, replays the graph, and hooks the backward graph into autograd.

A recording is valid for one batch shape. The batches of an epoch have at most two sizes, which
differ by one slice, and each is recorded separately. The recordings share one memory pool: they are
never replayed at the same time, and no result of one is used after the other has been replayed, so
that the second needs hardly any additional memory. Parameters and buffers are read and written in
place, which lets the optimizer and batch normalization work as usual.

References
----------
PyTorch, "Accelerating PyTorch with CUDA Graphs",
https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..models.modes import preserved_buffers

__all__ = ["recorded_passes"]

_LOG = logging.getLogger(__name__)

# PyTorch warns about the streams of a recording since 2.10; earlier versions have no such warning.
_warn_about_streams: Callable[[bool], object] = getattr(
    torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", bool
)


@contextmanager
def recorded_passes(
    model: nn.Module, batches: Sequence[Tensor], dtype: torch.dtype
) -> Iterator[None]:
    """Replay the forward and backward passes of training from CUDA graphs inside the context.

    Batches of other shapes and passes in evaluation mode are computed as usual. If the network
    cannot be recorded, because it has hooks or waits for the device, all batches are computed as
    usual and a warning is logged.

    Parameters
    ----------
    model : torch.nn.Module
        The model to train. Recording does not change its parameters, buffers or random numbers.
    batches : sequence of torch.Tensor
        One batch of images for each shape to record, on the model's device. Nothing is recorded
        unless it is a CUDA device and the caller is the main thread of the process: while one
        thread records, CUDA calls of other threads fail.
    dtype : torch.dtype
        Data type of the passes, for autocast.

    Examples
    --------
    >>> import covidct, torch
    >>> from covidct.training._cuda_graphs import recorded_passes
    >>> model = covidct.create_model("shufflenet", weights=None)
    >>> with recorded_passes(model, [torch.zeros(2, 1, 64, 64)], torch.bfloat16):
    ...     _ = model(torch.zeros(2, 1, 64, 64))
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or not all(batch.is_cuda for batch in batches):
        yield
        return
    _warn_about_streams(False)
    try:
        _record(model, batches, dtype)
        yield
    finally:
        vars(model).pop("forward", None)
        _warn_about_streams(True)


def _record(model: nn.Module, batches: Sequence[Tensor], dtype: torch.dtype) -> None:
    """Make ``model.forward`` replay batches of the given shapes, as far as they can be recorded."""
    plain: Callable[[Tensor], Tensor] = model.forward
    pool = torch.cuda.graph_pool_handle()
    replayed: dict[torch.Size, Callable[[Tensor], Tensor]] = {}
    for batch in batches:
        before = torch.cuda.memory_reserved(batch.device)
        try:
            _replace_forward(model, batch, dtype, pool)
        except (AssertionError, RuntimeError) as error:
            _LOG.warning("training without CUDA graphs, which is slower: %s", error)
            break
        forward = vars(model).pop("forward")
        taken = torch.cuda.memory_reserved(batch.device) - before
        # Passes that are not recorded need as much memory, outside of the pool.
        if torch.cuda.mem_get_info(batch.device)[0] < taken:
            _LOG.warning("training without CUDA graphs, which is slower: not enough free memory")
            break
        replayed[batch.shape] = forward
    if replayed:
        model.forward = lambda x: replayed.get(x.shape, plain)(x)


def _replace_forward(model: nn.Module, batch: Tensor, dtype: torch.dtype, pool: Any) -> None:
    """Record the passes of one shape, and leave everything but ``model.forward`` unchanged."""
    model.train()
    generator = torch.cuda.default_generators[batch.device.index]
    state = generator.clone_state()
    half = dtype != torch.float32
    try:
        with (
            preserved_buffers(model),  # the warm-up passes update batch normalization
            torch.random.fork_rng([batch.device]),
            torch.cuda.stream(torch.cuda.current_stream()),
            warnings.catch_warnings(),
            torch.autocast("cuda", dtype, enabled=half, cache_enabled=False),
        ):
            # Raised by the first backward pass of a process if it starts with a linear layer.
            warnings.filterwarnings("ignore", "Attempting to run cuBLAS", UserWarning)
            torch.cuda.make_graphed_callables(model, (batch,), pool=pool)
    except RuntimeError:
        # After a failed recording the generator would wait for its end.
        generator.graphsafe_set_state(state)
        raise
