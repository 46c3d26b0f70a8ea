"""Batches of training slices on a device, for datasets of any size.

The canvases of a large dataset fit neither into main memory nor onto a device: 340,000 slices of
COVIDx CT take 25 GB. Therefore, batches are taken from the array itself, usually a memory-mapped
file, whose pages the operating system loads and discards. A background thread gathers the slices of
the next batches into a few reused buffers while the current step runs; reading pages and copying
them release the interpreter's lock.

On a CUDA device the canvases are kept there as a whole if they fit into a share of the free memory.
Otherwise, each buffer is in page-locked memory and has a counterpart on the device, and the
background thread also starts the transfer, on a separate stream, so that it overlaps with the
computation. Two events protect each buffer: ``copied`` makes the step, and the next gathering, wait
for the end of the transfer; ``used`` makes the next transfer wait for the step. All buffers are
allocated before CUDA graphs are recorded, and nothing is transferred during the recording.

References
----------
PyTorch, "CUDA semantics", https://docs.pytorch.org/docs/stable/notes/cuda.html
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .._checks import number

__all__ = ["TrainingSlices", "blocks", "checked_share"]

# One buffer is used by the current step while the other two are filled.
_BUFFERS = 3
# Slices that are copied or hashed at a time.
_BLOCK = 256
_RESIDENT_SHARE = 0.25

Canvases = npt.NDArray[np.uint8]
Index = npt.NDArray[np.int64]


class TrainingSlices:
    """Source of batches on a device, taken from chosen canvases of an array.

    Parameters
    ----------
    canvases : ndarray of uint8 of shape (N, H, W)
        Canvases, in memory or memory-mapped.
    index : ndarray of int of shape (n_slices,)
        Positions of the chosen canvases.
    largest : int
        Largest number of slices of a batch.
    device : torch.device
        Device of the batches.
    share : float
        Largest share of the free memory of a CUDA device that the chosen canvases may take, in
        [0, 1]; if they need more, they are transferred batch by batch.

    Attributes
    ----------
    resident : bool
        True if all chosen canvases are kept on the device.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from covidct.training._slices import TrainingSlices
    >>> canvases = np.arange(5, dtype=np.uint8).reshape(5, 1, 1)
    >>> with TrainingSlices(canvases, np.array([0, 2, 4]), 2, torch.device("cpu"), 0.0) as slices:
    ...     order = torch.tensor([2, 0, 1])
    ...     [batch.flatten().tolist() for batch in slices.batches(order, [2, 1])]
    [[4, 0], [2]]
    """

    def __init__(
        self, canvases: Canvases, index: Index, largest: int, device: torch.device, share: float
    ) -> None:
        self._canvases = np.asarray(canvases)  # indexing a plain view is faster than a memmap
        self._index = index
        self._device = device
        size = canvases.shape[1:]
        self._data: Tensor | None = None
        self._buffers: list[_Buffer] = []
        self._stream: torch.cuda.Stream | None = None
        if _fits(len(index) * size[0] * size[1], device, share):
            self._data = torch.empty((len(index), *size), dtype=torch.uint8, device=device)
            for part, block in zip(torch.split(self._data, _BLOCK), blocks(index), strict=True):
                part.copy_(torch.from_numpy(self._canvases[block]))
        else:
            shape = (largest, *size)
            if device.type == "cuda":
                self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # not typed in torch
            self._buffers = [_Buffer(shape, device, self._stream) for _ in range(_BUFFERS)]
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="covidct-batches")

    @property
    def resident(self) -> bool:
        """True if all chosen canvases are kept on the device."""
        return self._data is not None

    def batches(self, order: Tensor, sizes: Sequence[int]) -> Iterator[Tensor]:
        """Yield the slices in the given order, in batches of the given sizes.

        Parameters
        ----------
        order : torch.Tensor of int of shape (n_slices,)
            Positions among the chosen canvases, on the CPU.
        sizes : sequence of int
            Sizes of the batches.

        Yields
        ------
        torch.Tensor of shape (B, H, W)
            Canvases, uint8, on the device. Their memory is reused: a batch is valid until the next
            one is requested.
        """
        if self._data is not None:
            yield from (
                self._data[part] for part in torch.split(order.to(self._device), list(sizes))
            )
            return
        waiting: deque[Future[tuple[_Buffer, Tensor]]] = deque()
        try:
            for part, buffer in zip(
                torch.split(order, list(sizes)), cycle(self._buffers), strict=False
            ):
                if len(waiting) == len(self._buffers):
                    yield from _taken(waiting.popleft())
                waiting.append(self._pool.submit(self._fill, buffer, part.numpy()))
            while waiting:
                yield from _taken(waiting.popleft())
        finally:  # after an error in a step
            for future in waiting:
                future.cancel()

    def _fill(self, buffer: _Buffer, part: Index) -> tuple[_Buffer, Tensor]:
        return buffer, buffer.fill(self._canvases, self._index[part])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        if self._stream is not None:  # after an error, memory that is freed may be written to
            self._stream.synchronize()


class _Buffer:
    """Memory of one batch, and of its copy on a device other than the CPU."""

    def __init__(
        self, shape: tuple[int, ...], device: torch.device, stream: torch.cuda.Stream | None
    ) -> None:
        self._host = torch.empty(shape, dtype=torch.uint8, pin_memory=stream is not None)
        self._on_device = (
            self._host if device.type == "cpu" else torch.empty_like(self._host, device=device)
        )
        self._stream = stream
        self._copied: torch.cuda.Event | None = None
        self._used: torch.cuda.Event | None = None
        if stream is not None:
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]  # not typed in torch
            self._used = torch.cuda.Event()  # type: ignore[no-untyped-call]  # not typed in torch
        self.release()  # kernels that used this memory before may not have run yet

    def fill(self, canvases: Canvases, index: Index) -> Tensor:
        """Gather canvases and start their transfer; called by the background thread."""
        if self._copied is not None:
            self._copied.synchronize()
        host, target = self._host[: len(index)], self._on_device[: len(index)]
        _gather(canvases, index, host.numpy())
        if self._stream is not None and self._copied is not None and self._used is not None:
            with torch.cuda.stream(self._stream):
                self._stream.wait_event(self._used)
                target.copy_(host, non_blocking=True)
                self._copied.record(self._stream)
        elif target is not host:
            target.copy_(host)
        return target

    def acquire(self) -> None:
        """Let the computation wait for the transfer."""
        if self._copied is not None:
            torch.cuda.current_stream(self._on_device.device).wait_event(self._copied)

    def release(self) -> None:
        """Let the next transfer wait for the computation."""
        if self._used is not None:
            self._used.record(torch.cuda.current_stream(self._on_device.device))


def _taken(future: Future[tuple[_Buffer, Tensor]]) -> Iterator[Tensor]:
    buffer, batch = future.result()
    buffer.acquire()
    yield batch
    buffer.release()


def _gather(canvases: Canvases, index: Index, out: Canvases) -> None:
    if canvases.flags.c_contiguous:
        # The index has been checked; the mode "raise" would copy everything twice.
        np.take(canvases, index, axis=0, out=out, mode="clip")
    else:
        out[:] = canvases[index]  # numpy.take would make a contiguous copy of the whole array


def _fits(n_bytes: int, device: torch.device, share: float) -> bool:
    if device.type != "cuda":
        return False
    return n_bytes <= share * torch.cuda.mem_get_info(device)[0]


def blocks(index: Index) -> Iterator[Index]:
    """Divide positions into blocks of at most 256.

    Parameters
    ----------
    index : ndarray of int of shape (N,)
        Positions.

    Yields
    ------
    ndarray of int
        Consecutive parts of `index`.
    """
    yield from (index[start : start + _BLOCK] for start in range(0, len(index), _BLOCK))


def checked_share(share: float | None) -> float:
    """Validate the share of a device's free memory that training canvases may take.

    Parameters
    ----------
    share : float or None
        Share in [0, 1]. None: that of the environment variable ``COVIDCT_RESIDENT_SHARE``, or 0.25.

    Returns
    -------
    float
        The share.

    Raises
    ------
    ValueError
        If the share is not a number in [0, 1].
    """
    name, given = "resident_share", share
    if share is None:
        name = "COVIDCT_RESIDENT_SHARE"
        text = os.environ.get(name) or str(_RESIDENT_SHARE)
        try:
            given = float(text)
        except ValueError:
            raise ValueError(f"{name} must be a number from 0 to 1, got {text!r}") from None
    value = number(name, given)
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be from 0 to 1, got {value!r}")
    return value
