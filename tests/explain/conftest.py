"""Networks whose explanation is known without computing it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn


class Weighted(nn.Module):
    """Pool two maps and weigh them."""

    def __init__(self) -> None:
        super().__init__()
        self.activation = nn.ReLU(inplace=True)  # the maps are positive: it changes nothing
        self.linear = nn.Linear(2, 1, bias=False)
        self.linear.weight.data = torch.tensor([[1.0, -6.0]])

    def forward(self, maps: Tensor) -> Tensor:
        return self.linear(self.activation(maps).mean(dim=(2, 3))).flatten()


class Blocks(nn.Module):
    """Two maps of an image: the sum of each block of 2 x 2 pixels, and its first pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, 2, 2, stride=2, bias=False)
        self.features.weight.data = torch.tensor([[[[1.0, 1], [1, 1]]], [[[1.0, 0], [0, 0]]]])
        self.head: nn.Module = Weighted()

    def feature_maps(self, x: Tensor) -> Tensor:
        return self.features(x.float())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.feature_maps(x))


class Brightness(nn.Module):
    """Calls a slice COVID-19 for what is bright in it; the cells of its map are 8 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Conv2d(1, 1, 8, stride=8, bias=False)
        self.cells.weight.data.fill_(1 / 64)
        self.last = nn.Linear(1, 1)
        self.last.weight.data.fill_(60.0)
        self.last.bias.data.fill_(-2.0)

    def feature_maps(self, x: Tensor) -> Tensor:
        return self.cells(x.float() / (1 if x.is_floating_point() else 255))

    def pool(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3))

    def head(self, maps: Tensor) -> Tensor:
        return self.last(self.pool(maps)).flatten()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.feature_maps(x))


@pytest.fixture
def blocks() -> nn.Module:
    return Blocks()


@pytest.fixture
def brightness() -> nn.Module:
    return Brightness()


@pytest.fixture
def spots() -> tuple[npt.NDArray[np.uint8], list[dict[str, npt.NDArray[np.bool_]]]]:
    """Six dark canvases (64, 96), a bright square on each, and where it is."""
    canvases = np.full((6, 64, 96), 5, dtype=np.uint8)
    masks = []
    for i, canvas in enumerate(canvases):
        lesion = np.zeros(canvas.shape, dtype=bool)
        lesion[8 + 6 * i : 24 + 6 * i, 12 * i + 4 : 12 * i + 20] = True
        canvas[lesion] = 240
        masks.append({"lesion": lesion})
    return canvases, masks
