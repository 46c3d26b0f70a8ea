from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.transforms.v2 import functional

from covidct.training import augment as module
from covidct.training.augment import Augmenter
from covidct.training.recipe import Augmentation

CPU = torch.device("cpu")


def augmenter(seed: int = 0, **options: float) -> Augmenter:
    generator = torch.Generator().manual_seed(seed)
    return Augmenter(replace(Augmentation.none(), **options), generator, CPU)


def watched(augment: Augmenter) -> list[np.ndarray]:
    """Return the list that the random numbers of a batch are appended to as they are drawn."""
    draws, uniform = [], augment._uniform

    def draw(count):
        numbers = uniform(count)
        draws.append(numbers.double().numpy())
        return numbers

    augment._uniform = draw
    return draws


@pytest.fixture
def canvases() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(16, 1, 6, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (60, 80), mode="bilinear")
    return (smooth[:, 0] * 255).to(torch.uint8)


def test_nothing_switched_on_changes_nothing(canvases):
    augment = augmenter()
    assert augment._bank is None  # drawing it takes as long as a few batches
    out = augment(canvases)
    torch.testing.assert_close(out[:, 0], canvases / 255, atol=1e-5, rtol=0)


def test_flip_is_exact_and_per_slice(canvases):
    out = augmenter(flip_probability=0.5)(canvases)[:, 0]
    plain, flipped = canvases / 255, canvases.flip(-1) / 255
    kept = [torch.allclose(o, p, atol=1e-4) for o, p in zip(out, plain, strict=True)]
    turned = [torch.allclose(o, f, atol=1e-4) for o, f in zip(out, flipped, strict=True)]
    assert all(k != t for k, t in zip(kept, turned, strict=True))
    assert any(kept)
    assert any(turned)


def test_crop_flip_rotation_and_shear_are_one_affine_map(canvases):
    """SciPy samples the slice at the places that follow from the random numbers."""
    augment = augmenter(crop=0.4, flip_probability=0.3, rotation=25, shear=15)
    draws = watched(augment)
    out = augment(canvases)[:, 0].numpy()
    zooms, flips, angles, shears, shifts_x, shifts_y = draws[:6]
    y, x = np.mgrid[:60, :80] - np.array([29.5, 39.5])[:, None, None]
    assert len({flip < 0.3 for flip in flips}) == 2
    for k, canvas in enumerate(canvases.numpy() / 255):
        zoom, flip = 1 - 0.4 * zooms[k], -1 if flips[k] < 0.3 else 1
        angle = np.deg2rad(25 * (2 * angles[k] - 1))
        shear = np.tan(np.deg2rad(15 * (2 * shears[k] - 1)))
        source_x = zoom * (flip * np.cos(angle) * x + (shear - np.sin(angle)) * y)
        source_y = zoom * (flip * np.sin(angle) * x + np.cos(angle) * y)
        source_x += (1 - zoom) * (2 * shifts_x[k] - 1) * 40 + 39.5
        source_y += (1 - zoom) * (2 * shifts_y[k] - 1) * 30 + 29.5
        expected = ndimage.map_coordinates(
            canvas, [source_y, source_x], order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(out[k], expected, atol=2e-4)


@pytest.mark.parametrize(("widest", "radius"), [(1.2, 4), (1.0, 3)])
def test_blur_is_that_of_scipy(canvases, widest, radius):
    augment = augmenter(blur_probability=0.6, blur_sigma=widest)
    draws = watched(augment)
    out = augment(canvases)[:, 0].numpy()
    chosen = draws[6] < 0.6
    sigmas = iter(widest * (1 - draws[7]))
    assert 0 < chosen.sum() < len(chosen)
    for k, canvas in enumerate(canvases.numpy() / 255):
        sigma = max(0.1, next(sigmas)) if chosen[k] else None
        expected = (
            ndimage.gaussian_filter(canvas, sigma, radius=radius, mode="nearest")
            if sigma
            else canvas
        )
        np.testing.assert_allclose(out[k], expected, atol=1e-5)


def test_a_width_of_zero_does_not_blur(canvases):
    out = augmenter(blur_probability=1.0, blur_sigma=0.0)(canvases)
    torch.testing.assert_close(out[:, 0], canvases / 255, atol=1e-5, rtol=0)
    little = augmenter(blur_probability=1.0, blur_sigma=0.11)(canvases)
    torch.testing.assert_close(little[:, 0], canvases / 255, atol=1e-5, rtol=0)


def test_brightness_scales_and_contrast_spreads_about_the_mean(canvases):
    augment = augmenter(brightness=0.2, contrast=0.4)
    draws = watched(augment)
    out = augment(canvases)[:, 0].numpy()
    brightness, contrast = 1 + 0.2 * (2 * draws[7] - 1), 1 + 0.4 * (2 * draws[8] - 1)
    for k, canvas in enumerate(canvases.numpy() / 255):
        brighter = canvas * brightness[k]
        expected = (brighter - brighter.mean()) * contrast[k] + brighter.mean()
        np.testing.assert_allclose(out[k], np.clip(expected, 0, 1), atol=1e-5)


@pytest.mark.parametrize("bank", [1 << 22, 100])
def test_noise_is_normal_with_the_amount_that_was_drawn(monkeypatch, bank):
    monkeypatch.setattr(module, "_NOISE_BANK", bank)
    gray = torch.full((20, 60, 60), 128, dtype=torch.uint8)
    augment = augmenter(noise=0.05)
    draws = watched(augment)
    if bank > 3600:  # enough for every batch

        def refuse(count):
            raise AssertionError("normal numbers are drawn once")

        augment._normal = refuse
    noise = (augment(gray) - 128 / 255)[:, 0].flatten(1).double().numpy()
    np.testing.assert_allclose(noise.std(1), 0.05 * draws[9], rtol=0.05)
    unit = noise / noise.std(1, keepdims=True)
    assert np.abs(unit.mean(1)).max() < 0.1
    assert (unit**4).mean() == pytest.approx(3, abs=0.2)


@pytest.mark.parametrize("draw", [0.0, 0.3, 0.9])
def test_rotation_equals_torchvision(canvases, draw):
    augment = augmenter(rotation=30)
    augment._uniform = lambda count: torch.full((count,), draw)
    expected = functional.rotate(
        canvases[:, None] / 255,
        30 * (2 * draw - 1),
        interpolation=functional.InterpolationMode.BILINEAR,
    )
    inner = (..., slice(20, -20), slice(20, -20))
    torch.testing.assert_close(augment(canvases)[inner], expected[inner], atol=0.02, rtol=0)


def test_brightness_and_contrast_are_affine_about_the_mean(canvases):
    out = augmenter(contrast=0.3)(canvases // 4 + 96)  # far from black and white: no clipping
    before = (canvases // 4 + 96) / 255
    torch.testing.assert_close(out.mean((1, 2, 3)), before.mean((1, 2)), atol=1e-4, rtol=0)
    ratio = out[:, 0].flatten(1).std(1) / before.flatten(1).std(1)
    assert ((ratio >= 0.7 - 1e-3) & (ratio <= 1.3 + 1e-3)).all()
    assert ratio.std() > 0.02


def test_noise_has_the_asked_for_size_and_differs_between_slices():
    gray = torch.full((64, 50, 50), 128, dtype=torch.uint8)
    noise = augmenter(noise=0.1)(gray) - 128 / 255
    spread = noise.flatten(1).std(1)
    assert spread.max() <= 0.11
    assert spread.min() < 0.03
    unit = noise.flatten(1) / spread[:, None]
    overlap = (unit @ unit.T / unit.shape[1]).fill_diagonal_(0).abs()
    assert overlap.median() < 0.05


def test_crop_only_enlarges(canvases):
    ones = torch.full_like(canvases, 255)
    inner = augmenter(crop=0.5)(ones)[..., 1:-1, 1:-1]  # the edge itself is interpolated
    assert (inner > 0.999).all()


@pytest.mark.parametrize("count", [1, 7])
def test_range_shape_and_repeatability(canvases, count):
    outs = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(3)
        outs.append(Augmenter(Augmentation(), generator, CPU)(canvases[:count]))
    assert torch.equal(*outs)
    assert outs[0].shape == (count, 1, 60, 80)
    assert outs[0].min() >= 0
    assert outs[0].max() <= 1


def test_all_numbers_are_sent_to_the_device(canvases):
    """The device "meta" computes nothing and refuses tensors of the CPU."""
    device = torch.device("meta")
    augmentation = Augmentation(blur_probability=1.0, noise=0.1)
    augment = Augmenter(replace(augmentation, noise=0), torch.Generator().manual_seed(0), device)
    augment._bank, augment.augmentation = torch.empty(10_000, device=device), augmentation
    assert augment(canvases.to(device)).device == device


def test_global_randomness_is_untouched(canvases):
    before = torch.random.get_rng_state()
    Augmenter(Augmentation(), torch.Generator().manual_seed(0), CPU)(canvases)
    assert torch.equal(before, torch.random.get_rng_state())
