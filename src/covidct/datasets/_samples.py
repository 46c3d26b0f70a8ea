"""Decoding of PNG and PPM files in full depth, whose samples PIL cuts to 8 bits or rescales."""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, PngImagePlugin

from ._decoding import Refusal, Samples

__all__ = ["deep_samples"]


def deep_samples(image: Image.Image, file: BinaryIO) -> Samples | None:
    """Decode an opened PNG or PPM file whose samples PIL would cut to 8 bits; None otherwise.

    Parameters
    ----------
    image : PIL.Image.Image
        The picture as PIL opened it from `file`, not loaded yet.
    file : file object
        The whole file.
    """
    if isinstance(image, PngImagePlugin.PngImageFile):
        return _png(image, file)
    return _netpbm(file) if image.format == "PPM" else None


# PNG


def _png(image: PngImagePlugin.PngImageFile, file: BinaryIO) -> Samples | None:
    """Decode 16-bit color, or 16-bit gray with alpha, once for each byte of the samples.

    PIL unpacks the high byte of such samples. Asked to unpack the same data as little-endian
    samples, it returns the low byte. Gray with alpha has four bytes a pixel, as RGBA of 8 bits.
    """
    raw_mode = image.tile[0].args if image.tile else None
    if raw_mode == "LA;16B":
        pairs = _unpacked(image, "RGBA").astype(np.uint16)
        both = pairs[..., 0::2] << 8 | pairs[..., 1::2]
        return Samples(both[..., 0], _opacity(both[..., 1]))
    if raw_mode not in ("RGB;16B", "RGBA;16B"):
        return None
    high = _unpacked(image, raw_mode).astype(np.uint16)
    file.seek(0)
    low = _unpacked(Image.open(file, formats=("PNG",)), raw_mode[:-1] + "L")
    channels = high << 8 | low
    values = channels[..., :3]
    alpha: npt.NDArray[np.float32] | None = None
    if channels.shape[-1] == 4:
        alpha = _opacity(channels[..., 3])
    elif isinstance(transparent := image.info.get("transparency"), tuple):
        alpha = (values != np.array(transparent)).any(-1).astype(np.float32)
    return Samples(values, alpha)


def _opacity(alpha: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return alpha.astype(np.float32) / np.float32(65535)


def _unpacked(image: ImageFile.ImageFile, raw_mode: str) -> npt.NDArray[np.uint8]:
    image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
    return np.asarray(image)


# PPM


def _netpbm(file: BinaryIO) -> Samples | None:
    """Decode binary PGM and PPM with more than 8 bits, whose values PIL rescales or cuts."""
    file.seek(0)
    number = rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,9})"
    header = re.match(rb"P([56])" + number * 3 + rb"\s", file.read(4096))
    if header is None:
        return None
    channels = 1 if header[1] == b"5" else 3
    width, height, highest = (int(header[group]) for group in (2, 3, 4))
    if not 255 < highest < 65536:
        return None
    file.seek(header.end())
    data = file.read(width * height * channels * 2)
    if len(data) < width * height * channels * 2:
        raise Refusal("is truncated; replace it by an intact copy or remove it")
    values = np.frombuffer(data, ">u2").astype(np.uint16).reshape(height, width, channels)
    return Samples(values[..., 0] if channels == 1 else values)
