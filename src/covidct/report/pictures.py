"""Pictures that live inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

__all__ = ["Picture", "overlay", "plain", "slice_picture", "vector"]

# Pixels along the longer side of a slice: sharp on a telephone, and small in a file.
_LONGEST = 320
_OUTLINE, _OUTLINE_WIDTH = 255, 2
# Okabe and Ito's sky blue, as the figures outline lesions.
_OUTLINE_COLOR = (86, 180, 233, 255)


class Picture(NamedTuple):
    """A picture as a ``data:`` address, with the words that stand for it."""

    source: str
    alt: str
    width: int
    height: int


def vector(figure: Figure) -> Picture:
    """Turn a figure into SVG, the same bytes each time; its label becomes the words.

    Examples
    --------
    >>> from covidct.evaluation import figures
    >>> from covidct.report.pictures import vector
    >>> vector(figures.confusion_matrices({"a": [[4, 1], [0, 5]]})).source[:19]
    'data:image/svg+xml;'
    """
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "covidct", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    alt = str(figure.get_label()).replace(r"\$", "$")
    return Picture(_address("image/svg+xml", buffer.getvalue()), alt, width, height)


def plain(text: str) -> str:
    r"""Keep matplotlib from reading formulas into a name.

    Examples
    --------
    >>> from covidct.report.pictures import plain
    >>> plain("$x$")
    '\\$x\\$'
    """
    return text.replace("$", r"\$")


def slice_picture(image: Image.Image, *, alt: str) -> Picture:
    """Shrink a gray slice and turn it into JPEG."""
    small = image.resize(_shrunk(image.size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=82, optimize=True)
    return Picture(_address("image/jpeg", buffer.getvalue()), alt, *small.size)


def overlay(
    saliency: npt.NDArray[np.float32],
    masks: Mapping[str, npt.NDArray[np.bool_]] | None = None,
) -> str:
    """Turn a map into a PNG to lay upon its slice: transparent where there is no evidence.

    Parameters
    ----------
    saliency
        (height, width) of the slice, in [0, 1].
    masks
        Of the same size; that of the ``"lesion"`` is outlined.

    Returns
    -------
    str
        A ``data:`` address.

    Examples
    --------
    >>> import numpy as np
    >>> from covidct.report.pictures import overlay
    >>> overlay(np.zeros((8, 8), np.float32))[:15]
    'data:image/png;'
    """
    size = _shrunk(saliency.shape[::-1])
    levels = Image.fromarray(np.asarray(saliency, np.float32)).resize(size)
    index = np.clip(np.asarray(levels) * 254, 0, 254).round().astype(np.uint8)
    lesion = (masks or {}).get("lesion")
    if lesion is not None and lesion.any():
        shrunk = np.asarray(Image.fromarray(lesion).resize(size, Image.Resampling.NEAREST))
        index[shrunk ^ ndimage.binary_erosion(shrunk, iterations=_OUTLINE_WIDTH)] = _OUTLINE
    picture = Image.fromarray(index, mode="P")
    colors = _palette()
    picture.putpalette(colors[:, :3].tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", transparency=colors[:, 3].tobytes(), optimize=True)
    return _address("image/png", buffer.getvalue())


def _palette() -> npt.NDArray[np.uint8]:
    """(256, 4): what speaks more covers more, and the last color outlines."""
    values = np.arange(255) / 254
    shades = mpl.colormaps["inferno"](values)
    # Weak evidence is all over a coarse map: shown, it would veil the slice.
    shades[:, 3] = 0.85 * np.clip((values - 0.15) / 0.85, 0, 1)
    return np.vstack([(255 * shades).round(), _OUTLINE_COLOR]).astype(np.uint8)


def _shrunk(size: tuple[int, ...]) -> tuple[int, int]:
    scale = min(1.0, _LONGEST / max(size))
    return max(1, round(scale * size[0])), max(1, round(scale * size[1]))


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
