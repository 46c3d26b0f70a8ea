"""Random augmentation of batches of canvases on their device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .recipe import Augmentation

__all__ = ["Augmenter"]

_NOISE_BANK = 1 << 22


class Augmenter:
    """Random augmentation of batches, with separate random numbers for each slice.

    The few random numbers of each slice are drawn on the CPU, so that no step waits for the device.
    Noise is taken from a bank of normal numbers, which is drawn once and read at a random offset
    for each slice: drawing new noise would take as long as all other operations together.

    Parameters
    ----------
    augmentation : Augmentation
        Operations and their ranges.
    generator : torch.Generator
        Random number generator on the CPU, the only source of randomness.
    device : torch.device
        Device of the batches.

    Examples
    --------
    >>> import torch
    >>> from covidct.training import Augmentation, Augmenter
    >>> augment = Augmenter(Augmentation(), torch.Generator().manual_seed(0), torch.device("cpu"))
    >>> augment(torch.zeros(8, 30, 40, dtype=torch.uint8)).shape
    torch.Size([8, 1, 30, 40])
    """

    def __init__(
        self, augmentation: Augmentation, generator: torch.Generator, device: torch.device
    ) -> None:
        self.augmentation = augmentation
        self.generator = generator
        self.device = device
        self._bank = self._normal(_NOISE_BANK) if augmentation.noise else None

    def __call__(self, canvases: Tensor) -> Tensor:
        """Augment a batch.

        Parameters
        ----------
        canvases : torch.Tensor of shape (B, H, W)
            Canvases, uint8, on the device.

        Returns
        -------
        torch.Tensor of shape (B, 1, H, W)
            Augmented canvases, float32 in [0, 1].
        """
        batch = canvases.unsqueeze(1).float().div_(255)
        for operation in (self._move, self._blur, self._expose, self._add_noise):
            batch = operation(batch)
        return batch.clamp_(0, 1)

    def _move(self, batch: Tensor) -> Tensor:
        """Crop, flip, rotate and shear in one resampling step, with black outside the slice."""
        options, (count, _, height, width) = self.augmentation, batch.shape
        zoom = 1 - options.crop * self._uniform(count)
        flip = torch.where(self._uniform(count) < options.flip_probability, -1.0, 1.0)
        angle, shear = (
            torch.deg2rad(limit * (2 * self._uniform(count) - 1))
            for limit in (options.rotation, options.shear)
        )
        shift_x, shift_y = ((1 - zoom) * (2 * self._uniform(count) - 1) for _ in range(2))
        # Grid coordinates run from -1 to 1 on both axes; a rotation needs the true aspect ratio.
        aspect = width / height
        rows = (
            (flip * zoom * angle.cos(), zoom * (shear.tan() - angle.sin()) / aspect, shift_x),
            (flip * zoom * angle.sin() * aspect, zoom * angle.cos(), shift_y),
        )
        x = _centers(width, self.device)[None, None, :]
        y = _centers(height, self.device)[None, :, None]
        coordinates = [self._send(a) * x + (self._send(b) * y + self._send(c)) for a, b, c in rows]
        grid = torch.stack(coordinates, dim=-1)
        return functional.grid_sample(batch, grid, align_corners=False)

    def _blur(self, batch: Tensor) -> Tensor:
        """Blur randomly chosen slices by Gaussians of random widths."""
        options = self.augmentation
        chosen = (self._uniform(len(batch)) < options.blur_probability).nonzero().squeeze(1)
        if len(chosen) == 0 or options.blur_sigma == 0:
            return batch
        sigma = options.blur_sigma * (1 - self._uniform(len(chosen)))
        radius = max(1, round(3 * options.blur_sigma))
        offsets = torch.arange(-radius, radius + 1)
        kernels = torch.softmax(-0.5 * (offsets / sigma[:, None].clamp(min=0.1)) ** 2, dim=1)
        taps = kernels[:, None, :, None].to(self.device, non_blocking=True)
        chosen = chosen.to(self.device, non_blocking=True)
        slices = batch[chosen].transpose(0, 1)  # one group of channels for each slice
        for weight, side in ((taps, (0, 0, radius, radius)), (taps.mT, (radius, radius, 0, 0))):
            slices = functional.pad(slices, side, mode="replicate")
            slices = functional.conv2d(slices, weight, groups=len(chosen))
        return batch.index_copy_(0, chosen, slices.transpose(0, 1))

    def _expose(self, batch: Tensor) -> Tensor:
        """Change brightness, then contrast about the mean gray value: one affine map per slice."""
        brightness, contrast = (
            1 + limit * (2 * self._uniform(len(batch)) - 1)
            for limit in (self.augmentation.brightness, self.augmentation.contrast)
        )
        mean = batch.mean(dim=(2, 3), keepdim=True)
        offset = mean * self._send(brightness * (1 - contrast))[..., None]
        return batch.mul_(self._send(brightness * contrast)[..., None]).add_(offset)

    def _add_noise(self, batch: Tensor) -> Tensor:
        """Add noise of a random amplitude from a random offset in the bank."""
        if self._bank is None:
            return batch
        count, _, height, width = batch.shape
        amount = self.augmentation.noise * self._uniform(count)
        bank = self._bank if len(self._bank) > height * width else self._normal(height * width + 1)
        windows = bank.unfold(0, height * width, 1)
        starts = torch.randint(len(windows), (count,), generator=self.generator)
        noise = windows[starts.to(self.device, non_blocking=True)].view_as(batch)
        return batch.addcmul_(noise, self._send(amount)[..., None])

    def _uniform(self, count: int) -> Tensor:
        return torch.rand(count, generator=self.generator)

    def _normal(self, count: int) -> Tensor:
        if self.device.type == "cpu":
            return torch.randn(count, generator=self.generator)
        seed = int(torch.randint(1 << 62, (), generator=self.generator))
        generator = torch.Generator(self.device).manual_seed(seed)
        return torch.randn(count, generator=generator, device=self.device)

    def _send(self, numbers: Tensor) -> Tensor:
        """Copy numbers of shape (B,) to the device as (B, 1, 1)."""
        return numbers[:, None, None].to(self.device, non_blocking=True)


def _centers(count: int, device: torch.device) -> Tensor:
    """Return pixel centers in the coordinates of grid_sample: -1 and 1 are the outer edges."""
    return (torch.arange(count, device=device) * 2 + 1) / count - 1
