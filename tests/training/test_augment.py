from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torchvision.transforms.v2 import functional

from covidct.training.augment import Augmenter
from covidct.training.recipe import Augmentation

CPU = torch.device("cpu")


def augmenter(seed: int = 0, **options: float) -> Augmenter:
    generator = torch.Generator().manual_seed(seed)
    return Augmenter(replace(Augmentation.none(), **options), generator, CPU)


@pytest.fixture
def canvases() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(16, 1, 6, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (60, 80), mode="bilinear")
    return (smooth[:, 0] * 255).to(torch.uint8)


def test_nothing_switched_on_changes_nothing(canvases):
    out = augmenter()(canvases)
    torch.testing.assert_close(out[:, 0], canvases / 255, atol=1e-5, rtol=0)


def test_flip_is_exact_and_per_slice(canvases):
    out = augmenter(flip_probability=0.5)(canvases)[:, 0]
    plain, flipped = canvases / 255, canvases.flip(-1) / 255
    kept = [torch.allclose(o, p, atol=1e-4) for o, p in zip(out, plain, strict=True)]
    turned = [torch.allclose(o, f, atol=1e-4) for o, f in zip(out, flipped, strict=True)]
    assert all(k != t for k, t in zip(kept, turned, strict=True))
    assert any(kept)
    assert any(turned)


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


def test_blur_equals_torchvision(canvases):
    out = augmenter(blur_probability=1.0, blur_sigma=1.5)(canvases)
    blurred = [not torch.equal(o[0], c / 255) for o, c in zip(out, canvases, strict=True)]
    assert all(blurred)
    candidates = [s / 100 for s in range(10, 151)]
    for image, result in zip(canvases[:4], out[:4], strict=True):
        errors = [
            (functional.gaussian_blur(image[None] / 255, 9, s) - result)[..., 8:-8, 8:-8]
            .abs()
            .max()
            for s in candidates
        ]
        assert min(errors) < 5e-3


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


def test_global_randomness_is_untouched(canvases):
    before = torch.random.get_rng_state()
    Augmenter(Augmentation(), torch.Generator().manual_seed(0), CPU)(canvases)
    assert torch.equal(before, torch.random.get_rng_state())
