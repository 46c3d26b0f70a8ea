"""Images embedded in the page as ``data:`` URLs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image, ImageColor
from scipy import ndimage

from .._colors import SKY_BLUE

__all__ = ["Picture", "evidence_gradient", "overlay", "slice_picture", "vector"]

# Maximum pixels along the longer side of a slice, which keeps the file small.
_LONGEST = 320
_OUTLINE, _OUTLINE_WIDTH = 255, 2
_OUTLINE_COLOR = (*ImageColor.getrgb(SKY_BLUE), 255)  # the color of lesions in the figures too


class Picture(NamedTuple):
    """Image of the page.

    Attributes
    ----------
    source : str
        The image as a ``data:`` URL.
    alt : str
        Alternative text.
    width, height : int
        Size in pixels.
    """

    source: str
    alt: str
    width: int
    height: int


def vector(figure: Figure) -> Picture:
    """Render a figure as SVG; equal figures give equal bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure. Its label becomes the alternative text.

    Returns
    -------
    Picture
        The figure as an image of the page.

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
    alt = str(figure.get_label())
    return Picture(_data_url("image/svg+xml", buffer.getvalue()), alt, width, height)


def slice_picture(image: Image.Image, *, alt: str) -> Picture:
    """Downscale a gray slice and encode it as JPEG.

    Parameters
    ----------
    image : PIL.Image.Image
        The slice.
    alt : str
        Alternative text.

    Returns
    -------
    Picture
        The slice, at most 320 pixels wide or high.
    """
    small = image.resize(_shrunk(image.size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=82, optimize=True)
    return Picture(_data_url("image/jpeg", buffer.getvalue()), alt, *small.size)


def overlay(
    saliency: npt.NDArray[np.float32],
    masks: Mapping[str, npt.NDArray[np.bool_]] | None = None,
) -> str:
    """Encode a saliency map as a PNG overlay of its slice, transparent where there is no evidence.

    Parameters
    ----------
    saliency : ndarray of float32 of shape (height, width)
        Saliency map on the original slice, in [0, 1].
    masks : mapping of str to ndarray, optional
        Boolean masks of the same size; the one named ``"lesion"`` is outlined.

    Returns
    -------
    str
        The overlay as a ``data:`` URL.

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
    return _data_url("image/png", buffer.getvalue())


def _palette() -> npt.NDArray[np.uint8]:
    """Return 256 RGBA colors: opacity grows with the evidence; the last one is for outlines."""
    values = np.arange(255) / 254
    shades = mpl.colormaps["inferno"](values)
    # Weak evidence is transparent, since in coarse maps it would cover the whole slice.
    shades[:, 3] = 0.85 * np.clip((values - 0.15) / 0.85, 0, 1)
    return np.vstack([(255 * shades).round(), _OUTLINE_COLOR]).astype(np.uint8)


def evidence_gradient() -> str:
    """Return the colors of :func:`overlay` from no to strongest evidence, as a CSS gradient.

    Returns
    -------
    str
        Value of ``background-image``.

    Examples
    --------
    >>> from covidct.report.pictures import evidence_gradient
    >>> evidence_gradient()[:35]
    'linear-gradient(to right, rgb(0 0 4'
    """
    stops = (
        f"rgb({red} {green} {blue} / {opacity / 255:.2f})"
        for red, green, blue, opacity in _palette()[:-1:23]
    )
    return f"linear-gradient(to right, {', '.join(stops)})"


def _shrunk(size: tuple[int, ...]) -> tuple[int, int]:
    scale = min(1.0, _LONGEST / max(size))
    return max(1, round(scale * size[0])), max(1, round(scale * size[1]))


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
