"""AspectPreservingPad: where a slice lies, what becomes of each kind of input, and the way back."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from covidct.transforms import AspectPreservingPad, Geometry

SIZES = st.tuples(st.integers(1, 2000), st.integers(1, 2000))


class TestGeometry:
    @pytest.mark.parametrize(
        ("canvas", "size", "expected"),
        [
            ((253, 349), (253, 349), Geometry(0, 0, 253, 349)),
            ((100, 100), (50, 100), Geometry(25, 0, 50, 100)),
            ((100, 100), (200, 100), Geometry(0, 25, 100, 50)),
            ((10, 10), (1, 1), Geometry(0, 0, 10, 10)),
            ((10, 11), (5, 5), Geometry(0, 0, 10, 10)),  # the odd column goes to the right
            ((11, 10), (5, 5), Geometry(0, 0, 10, 10)),  # the odd row goes to the bottom
            ((10, 10), (4, 1), Geometry(0, 3, 10, 3)),  # 2.5 is rounded up
            ((253, 349), (1, 30000), Geometry(126, 0, 1, 349)),
            ((253, 349), (30000, 1), Geometry(0, 174, 253, 1)),
            ((1, 1), (1853, 1485), Geometry(0, 0, 1, 1)),
        ],
    )
    def test_known_places(
        self, canvas: tuple[int, int], size: tuple[int, int], expected: Geometry
    ) -> None:
        assert AspectPreservingPad(canvas).geometry(size) == expected

    @settings(deadline=None)
    @given(canvas=SIZES, size=SIZES)
    def test_scales_both_sides_alike_within_half_a_pixel(
        self, canvas: tuple[int, int], size: tuple[int, int]
    ) -> None:
        """One exact factor fits the slice; each side is its product, rounded, at least 1."""
        top, left, *sides = AspectPreservingPad(canvas).geometry(size)
        factor = min(Fraction(whole, side) for whole, side in zip(canvas, size, strict=True))
        for scaled, side in zip(sides, size, strict=True):
            off = abs(scaled - side * factor)
            assert off <= Fraction(1, 2) or (scaled == 1 and side * factor < 1)
        assert any(scaled == whole for scaled, whole in zip(sides, canvas, strict=True))
        for start, scaled, whole in zip((top, left), sides, canvas, strict=True):
            after = whole - scaled - start
            assert start >= 0
            assert after - start in (0, 1)

    @settings(deadline=None)
    @given(canvas=SIZES, size=SIZES)
    def test_turns_with_the_slice(self, canvas: tuple[int, int], size: tuple[int, int]) -> None:
        top, left, height, width = AspectPreservingPad(canvas).geometry(size)
        turned = AspectPreservingPad(canvas[::-1]).geometry(size[::-1])
        assert turned == (left, top, width, height)

    @pytest.mark.parametrize("size", [(0, 5), (5, -1), (5,), (5, 5, 5), 5, (5.0, 5), "55", None])
    def test_refuses_what_is_no_size(self, size: object) -> None:
        message = r"size must be two positive integers \(height, width\), got "
        with pytest.raises(ValueError, match=message):
            AspectPreservingPad((10, 10)).geometry(size)


def ramp(height: int, width: int, channels: int = 1) -> torch.Tensor:
    """A (channels, height, width) picture without a zero in it."""
    count = channels * height * width
    return (torch.arange(count) % 200 + 50).to(torch.uint8).reshape(channels, height, width)


class TestTransform:
    pad = AspectPreservingPad((10, 20), fill=7)  # a 4 x 4 slice lies in columns 5 to 14

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "I", "F", "P", "1"])
    def test_pil(self, mode: str) -> None:
        image = self.pad(Image.new(mode, (4, 4), 1))
        assert image.size == (20, 10)
        assert image.mode == mode

    @pytest.mark.parametrize("kind", [torch.Tensor, tv_tensors.Image, tv_tensors.Video])
    @pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
    def test_tensors(self, kind: type[torch.Tensor], dtype: torch.dtype) -> None:
        inpt = torch.full((2, 3, 4, 4), 100, dtype=dtype).as_subclass(kind)
        out = self.pad(inpt)
        assert type(out) is kind
        assert out.dtype == dtype
        assert out.shape == (2, 3, 10, 20)
        assert (out[..., 5:15] == 100).all()
        assert (out[..., :5] == 7).all()
        assert (out[..., 15:] == 7).all()

    @pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4), (2, 2, 1, 4, 4), (0, 1, 4, 4)])
    def test_plain_tensors_of_any_rank(self, shape: tuple[int, ...]) -> None:
        assert self.pad(torch.ones(shape)).shape == (*shape[:-2], 10, 20)

    def test_same_size_is_the_same_picture(self) -> None:
        picture = ramp(10, 20)
        assert torch.equal(self.pad(picture), picture)

    def test_pil_and_tensor_agree(self) -> None:
        picture = ramp(37, 23)
        image = Image.fromarray(picture[0].numpy())
        for canvas in [(12, 40), (80, 41)]:
            pad = AspectPreservingPad(canvas, fill=9)
            from_pil = torch.from_numpy(np.array(pad(image))).int()
            assert (from_pil - pad(picture)[0].int()).abs().max() <= 1

    @pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4)])
    @pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
    def test_masks_keep_their_labels_and_get_no_fill(
        self, shape: tuple[int, ...], dtype: torch.dtype
    ) -> None:
        labels = (torch.arange(16).reshape(4, 4) % 3).to(dtype).expand(shape).contiguous()
        out = self.pad(tv_tensors.Mask(labels))
        assert isinstance(out, tv_tensors.Mask)
        assert out.dtype == dtype
        assert set(out[..., 5:15].unique().tolist()) == set(labels.unique().tolist())
        assert not out[..., :5].any()
        assert not out[..., 15:].any()

    @pytest.mark.parametrize(
        ("form", "box", "expected"),
        [
            ("XYXY", [0, 1, 4, 3], [5, 2.5, 15, 7.5]),
            ("XYWH", [0, 1, 4, 2], [5, 2.5, 10, 5]),
            ("CXCYWH", [2, 2, 4, 2], [10, 5, 10, 5]),
        ],
    )
    def test_boxes(self, form: str, box: list[float], expected: list[float]) -> None:
        boxes = tv_tensors.BoundingBoxes([box], format=form, canvas_size=(4, 4), dtype=torch.float)
        out = self.pad(boxes)
        assert out.canvas_size == (10, 20)
        assert out.format == boxes.format
        assert out.tolist() == [expected]

    def test_boxes_follow_the_rounded_sides(self) -> None:
        """The scale factor of a side is the true one, after rounding."""
        pad = AspectPreservingPad((100, 100))
        top, left, height, width = pad.geometry((300, 7))
        whole = tv_tensors.BoundingBoxes(
            [[0.0, 0, 7, 300]], format="XYXY", canvas_size=(300, 7), dtype=torch.float64
        )
        torch.testing.assert_close(
            pad(whole).tolist(), [[left, top, left + width, top + height]], check_dtype=False
        )

    @pytest.mark.skipif(not hasattr(tv_tensors, "KeyPoints"), reason="new in torchvision 0.23")
    def test_key_points(self) -> None:
        points = tv_tensors.KeyPoints([[0.0, 0.0], [4.0, 2.0]], canvas_size=(4, 4))
        out = self.pad(points)
        assert out.canvas_size == (10, 20)
        assert out.tolist() == [[5.0, 0.0], [15.0, 5.0]]

    def test_a_nested_sample_shares_one_geometry(self) -> None:
        picture = ramp(9, 5)
        sample = {
            "image": tv_tensors.Image(picture),
            "more": [tv_tensors.Mask(picture[0] > 100), (Image.new("L", (5, 9)), "name", 3)],
            "label": torch.tensor([1.0, 2.0]),
        }
        out = self.pad(sample)
        assert out["image"].shape == (1, 10, 20)
        assert out["more"][0].shape == (10, 20)
        assert out["more"][1][0].size == (20, 10)
        assert out["more"][1][1:] == ("name", 3)
        assert out["label"] is sample["label"]

    def test_several_arguments(self) -> None:
        image, mask = self.pad(Image.new("L", (5, 9)), tv_tensors.Mask(torch.ones(9, 5)))
        assert image.size == (20, 10)
        assert mask.shape == (10, 20)

    def test_the_input_stays_as_it_was(self) -> None:
        picture, mask = ramp(4, 4), tv_tensors.Mask(torch.ones(4, 4))
        before = picture.clone(), mask.clone()
        self.pad({"image": tv_tensors.Image(picture), "mask": mask})
        assert torch.equal(picture, before[0])
        assert torch.equal(mask, before[1])

    def test_refuses_sizes_that_differ(self) -> None:
        sample = tv_tensors.Image(ramp(4, 4)), tv_tensors.Mask(torch.ones(4, 5))
        with pytest.raises(ValueError, match=r"multiple HxW .*\(4, 4\).*\(4, 5\)"):
            self.pad(sample)

    def test_refuses_an_empty_picture(self) -> None:
        with pytest.raises(ValueError, match=r"positive integers \(height, width\), got \(0, 4\)"):
            self.pad(torch.ones(1, 0, 4))

    def test_composes(self) -> None:
        chain = v2.Compose([v2.ToImage(), self.pad, v2.ToDtype(torch.float32, scale=True)])
        assert chain(Image.new("L", (5, 9))).shape == (1, 10, 20)


class TestFill:
    def margin(self, fill: object, inpt: object) -> object:
        out = AspectPreservingPad((4, 6), fill=fill)(inpt)
        return out.getpixel((0, 0)) if isinstance(out, Image.Image) else out[..., 0, 0].tolist()

    @pytest.mark.parametrize(
        ("fill", "expected"),
        [(0, (0, 0, 0)), (9, (9, 9, 9)), ((1, 2, 3), (1, 2, 3)), (None, (0, 0, 0))],
    )
    def test_color(self, fill: object, expected: tuple[int, ...]) -> None:
        assert self.margin(fill, Image.new("RGB", (2, 2))) == expected
        assert self.margin(fill, torch.ones(3, 2, 2)) == list(expected)

    def test_the_margin_is_black_by_default(self) -> None:
        out = AspectPreservingPad((4, 6))(torch.ones(1, 2, 2))
        assert out[0, 0].tolist() == [0, 1, 1, 1, 1, 0]

    def test_by_type(self) -> None:
        fill = {tv_tensors.Image: 1, Image.Image: 2, "others": 3}
        assert self.margin(fill, tv_tensors.Image(torch.ones(1, 2, 2))) == [1]
        assert self.margin(fill, Image.new("L", (2, 2))) == 2
        assert self.margin(fill, torch.ones(1, 2, 2)) == [3]
        assert self.margin(fill, tv_tensors.Mask(torch.ones(2, 2))) == 0

    def test_a_subclass_gets_the_fill_of_its_base(self, tmp_path) -> None:
        Image.new("L", (2, 2)).save(tmp_path / "slice.png")
        with Image.open(tmp_path / "slice.png") as image:
            assert type(image) is not Image.Image
            assert self.margin({Image.Image: 2}, image) == 2

    def test_types_not_named_get_zero(self) -> None:
        assert self.margin({tv_tensors.Image: 1}, torch.ones(1, 2, 2)) == [0]

    def test_the_given_mapping_is_not_kept(self) -> None:
        fill = {Image.Image: 2}
        pad = AspectPreservingPad((4, 6), fill=fill)
        fill[Image.Image] = 5
        assert pad(Image.new("L", (2, 2))).getpixel((0, 0)) == 2


class TestInvert:
    @settings(deadline=None, max_examples=50)
    @given(
        canvas=st.tuples(st.integers(1, 60), st.integers(1, 60)),
        size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    )
    def test_cuts_off_the_margin_alone(
        self, canvas: tuple[int, int], size: tuple[int, int]
    ) -> None:
        pad = AspectPreservingPad(canvas, fill=-1)
        back = pad.invert(pad(torch.ones(1, *size)), size)
        assert back.shape == (1, *size)
        torch.testing.assert_close(back, torch.ones(1, *size))

    @settings(deadline=None, max_examples=50)
    @given(
        size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
        margin=st.integers(0, 20),
        wide=st.booleans(),
        seed=st.integers(0, 9),
    )
    def test_a_slice_that_was_not_scaled_comes_back_exactly(
        self, size: tuple[int, int], margin: int, wide: bool, seed: int
    ) -> None:
        canvas = (size[0], size[1] + margin) if wide else (size[0] + margin, size[1])
        pixels = np.random.default_rng(seed).random(size, dtype=np.float32)
        pad = AspectPreservingPad(canvas, fill=-1)
        padded = pad(torch.from_numpy(pixels))
        assert (padded == -1).sum() == margin * size[0 if wide else 1]
        np.testing.assert_array_equal(pad.invert(padded, size).numpy(), pixels)

    def test_a_plane_comes_back(self) -> None:
        """A linear ramp survives bilinear scaling but for half a canvas pixel at the border."""
        rows = torch.linspace(0, 1, 300, dtype=torch.float64)[:, None].expand(300, 200)
        pad = AspectPreservingPad((150, 160))
        back = pad.invert(pad(rows), (300, 200))
        assert (back - rows).abs().max() < 1.5 / 300

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
    def test_keeps_kind_type_and_rank(self, dtype: type, lead: tuple[int, ...]) -> None:
        pad, array = AspectPreservingPad((6, 8)), np.ones((*lead, 6, 8), dtype)
        array.flags.writeable = False
        back = pad.invert(array, (30, 20))
        assert isinstance(back, np.ndarray)
        assert back.dtype == dtype
        assert back.shape == (*lead, 30, 20)
        tensor = pad.invert(torch.from_numpy(array.copy()), (30, 20))
        assert isinstance(tensor, torch.Tensor)
        np.testing.assert_array_equal(tensor.numpy(), back)

    def test_can_be_differentiated(self) -> None:
        cam = torch.rand(6, 8, requires_grad=True)
        AspectPreservingPad((6, 8)).invert(cam, (30, 20)).sum().backward()
        assert cam.grad is not None
        assert cam.grad[:, :2].abs().sum() == 0  # the margin has no part in it

    def test_leaves_the_map_alone(self) -> None:
        cam = np.random.default_rng(0).random((6, 8))
        before = cam.copy()
        back = AspectPreservingPad((6, 8)).invert(cam, (6, 8))
        back[:] = 0
        np.testing.assert_array_equal(cam, before)

    @pytest.mark.parametrize("shape", [(8, 6), (6,), (), (6, 8, 1)])
    def test_refuses_another_canvas(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"must end in the canvas size \(6, 8\), got shape"):
            AspectPreservingPad((6, 8)).invert(np.ones(shape), (30, 20))

    @pytest.mark.parametrize(
        ("cam", "kind"),
        [
            (np.ones((6, 8), np.int32), "torch.int32"),
            (torch.ones(6, 8, dtype=bool), "torch.bool"),
            ([[1.0]], "list"),
        ],
    )
    def test_refuses_what_is_no_map(self, cam: object, kind: str) -> None:
        message = f"map must be a floating-point tensor or array, got {kind}$"
        with pytest.raises(TypeError, match=message):
            AspectPreservingPad((6, 8)).invert(cam, (30, 20))

    def test_refuses_what_is_no_size(self) -> None:
        with pytest.raises(ValueError, match="size must be two positive integers"):
            AspectPreservingPad((6, 8)).invert(np.ones((6, 8)), (0, 20))


class TestConstruction:
    @pytest.mark.parametrize(
        "size", [0, True, 2.5, (224,), (0, 5), (-1, 5), (1.5, 2), (True, 2), "ab", ()]
    )
    def test_size(self, size: object) -> None:
        with pytest.raises(ValueError, match="size must be two positive integers"):
            AspectPreservingPad(size)

    @pytest.mark.parametrize("size", [224, np.int64(224)])
    def test_one_integer_is_a_square(self, size: object) -> None:
        assert AspectPreservingPad(size).size == (224, 224)

    @pytest.mark.parametrize("size", [[4, 6], np.array([4, 6]), torch.Size([4, 6])])
    def test_any_pair_of_integers_is_a_size(self, size: object) -> None:
        assert AspectPreservingPad(size).size == (4, 6)
        assert all(type(side) is int for side in AspectPreservingPad(size).size)

    @pytest.mark.parametrize("fill", ["black", (), [0, "1"], {3: 4}, {Image.Image: "a"}, object()])
    def test_fill(self, fill: object) -> None:
        with pytest.raises(ValueError, match="fill must be a number, one number per channel, or"):
            AspectPreservingPad((4, 6), fill=fill)

    @pytest.mark.parametrize("interpolation", ["cubic", 2, None])
    def test_interpolation(self, interpolation: object) -> None:
        with pytest.raises(ValueError, match=r"one of InterpolationMode.NEAREST, .*, got "):
            AspectPreservingPad((4, 6), interpolation=interpolation)

    def test_options_are_keywords(self) -> None:
        with pytest.raises(TypeError):
            AspectPreservingPad((4, 6), 0)

    def test_interpolation_and_antialias_are_used(self) -> None:
        picture = torch.zeros(1, 1, 16)
        picture[..., ::2] = 1.0
        smooth = AspectPreservingPad((1, 4))(picture)
        nearest = AspectPreservingPad((1, 4), interpolation=InterpolationMode.NEAREST)(picture)
        sharp = AspectPreservingPad((1, 4), antialias=False)(picture)
        assert smooth.sub(0.5).abs().max() < 0.1
        assert nearest.tolist() == [[[1.0] * 4]]
        assert not torch.equal(sharp, smooth)

    @pytest.mark.parametrize("fill", [3, (1, 2, 3), {tv_tensors.Image: 1, "others": 2}])
    @pytest.mark.parametrize(
        "duplicate", [copy.deepcopy, lambda pad: pickle.loads(pickle.dumps(pad))]
    )
    def test_copies_do_the_same(self, fill: object, duplicate) -> None:
        pad = AspectPreservingPad((4, 6), fill=fill, antialias=False)
        twin = duplicate(pad)
        assert repr(twin) == repr(pad)
        picture = ramp(9, 5, channels=3)
        assert torch.equal(twin(picture), pad(picture))

    def test_repr_names_every_option(self) -> None:
        assert repr(AspectPreservingPad((4, 6), fill=3)) == (
            "AspectPreservingPad(size=(4, 6), fill=3, "
            "interpolation=InterpolationMode.BILINEAR, antialias=True)"
        )


@pytest.mark.parametrize("sample", [np.zeros((6, 8), np.uint8), {"image": np.zeros((6, 8))}, "a"])
def test_a_sample_without_an_image_names_the_way_to_one(sample: object) -> None:
    with pytest.raises(TypeError, match=r"contains no image; .* PIL\.Image\.fromarray"):
        AspectPreservingPad((64, 96))(sample)
