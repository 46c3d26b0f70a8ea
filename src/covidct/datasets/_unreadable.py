"""Reasons why a file is not a readable picture, by recognizing its actual format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from .._files import placeholder_reason

__all__ = ["unreadable_reason"]

_AS_PNG = "save it as a PNG"
# Beginning of the file -> (name, remedy).
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image", _AS_PNG),
    (rb"....ftypavif", "an AVIF image", _AS_PNG),
    (rb"....ftyp(hei|mif|msf)", "a HEIC image", _AS_PNG),
    (rb"....ftyp|\x1a\x45\xdf\xa3", "a video", "save the slice as a PNG"),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "a JPEG XL image", _AS_PNG),
    (rb"II\xbc", "a JPEG XR image", _AS_PNG),
    (rb"8BPS", "a Photoshop document", _AS_PNG),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript document", _AS_PNG),
    (rb"%PDF", "a PDF document", "extract the image from it and save it as a PNG"),
    (rb"\x0a[\x00-\x05]\x01[\x01\x02\x04\x08]", "a PCX image", _AS_PNG),
    (rb"\x00\x00\x01\x00", "an icon (ICO)", _AS_PNG),
    (rb"\s*<\?xml|\s*<svg", "an XML document", "give an image file"),
    (rb"\x1f\x8b", "a gzip archive", "unpack it, or give a NIfTI volume a name in .nii.gz"),
    (rb"PK\x03\x04|PK\x05\x06", "a ZIP archive", "unpack it and give the files in it"),
    (rb"Rar!|7z\xbc\xaf|\xfd7zXZ|BZh", "an archive", "unpack it and give the files in it"),
    (rb"NRRD000", "an NRRD volume", "give it a name in .nrrd"),
    (rb"(ObjectType|NDims)\s*=", "a MetaImage volume", "give it a name in .mha or .mhd"),
    (rb"\x93NUMPY", "a NumPy array", "save each slice as a TIFF or PNG"),
    (rb"\x89HDF", "an HDF5 file", "save each slice as a TIFF or PNG"),
    (rb"MATLAB", "a MATLAB file", "save each slice as a TIFF or PNG"),
    (rb"SIMPLE  =", "a FITS image", "save it as a TIFF or PNG"),
)
_DAMAGED = (
    (rb"\x89PNG", "PNG"),
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "TIFF"),
    (rb"GIF8", "GIF"),
    (rb"RIFF....WEBP", "WebP"),
    (rb"BM", "BMP"),
)
# Frames of JPEG that PIL's library does not decode.
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})


def unreadable_reason(path: Path, formats: Sequence[str]) -> str:
    """Return the reason why PIL could not open a file.

    Parameters
    ----------
    path : Path
        The file.
    formats : sequence of str
        Supported formats.

    Returns
    -------
    str
        Reason and remedy, to be written after the file's name.
    """
    if (reason := placeholder_reason(path)) is not None:
        return reason
    read = f"the formats that are read are {', '.join(formats)}"
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if head[344:348] in (b"n+1\0", b"ni1\0"):
        if head[345:346] == b"i":  # its voxels are in another file
            return "is the header of a NIfTI pair (.hdr and .img); save the volume as .nii.gz"
        return "is a NIfTI volume, not a picture; give it a name in .nii"
    for pattern, name, remedy in _KINDS:
        if re.match(pattern, head, re.DOTALL):
            return f"is {name}, not an image in a format that is read here; {remedy} ({read})"
    if head[:3] == b"\xff\xd8\xff" and (kind := _kind_of_jpeg(head)):
        return f"is a {kind}, which is not decoded here; save it as a PNG of 8 or 16 bits"
    for pattern, name in _DAMAGED:
        if re.match(pattern, head, re.DOTALL):
            return (
                f"is not an intact image: it begins as a {name} file, but its header is damaged; "
                "replace it by an intact copy or remove it"
            )
    return f"is not an image in a format that is read here; convert or remove it ({read})"


def _kind_of_jpeg(head: bytes) -> str:
    """Name the kind of a JPEG that PIL does not decode, by its segments; "" for a usual one."""
    at = 2
    while at + 9 < len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits = head[at + 4]
            if marker in _LOSSLESS:
                return f"lossless JPEG of {bits} bits a sample"
            if marker >= 0xC9:
                return "JPEG with arithmetic coding"
            return f"JPEG of {bits} bits a sample" if bits != 8 else ""
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return ""
