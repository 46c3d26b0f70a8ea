"""Display of objects in a shell and in a notebook."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Displayed", "definition_list", "paragraphs", "picture_strip"]

_HEIGHT = 96  # pixels


class Displayed:
    """Base class of objects with a short ``__str__``, which is their ``repr`` as well.

    A notebook shows the table of the object (its method ``table``), or else its text.
    """

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        table = getattr(self, "table", None)
        return str(table().render("html")) if table else f"<pre>{escape(str(self))}</pre>"


def definition_list(facts: Mapping[str, object]) -> str:
    """Write facts as rows of an HTML table, leaving out empty values.

    Examples
    --------
    >>> from covidct._display import definition_list
    >>> definition_list({"license": "MIT", "home": ""}).count("<tr>")
    1
    """
    left = ' style="text-align:left"'
    rows = (
        f"<tr><th{left}>{escape(name)}</th><td{left}>{escape(str(value))}</td></tr>"
        for name, value in facts.items()
        if value not in ("", None)
    )
    return f"<table>{''.join(rows)}</table>"


def paragraphs(texts: Iterable[str]) -> str:
    """Write sentences as HTML paragraphs in small print."""
    return "".join(
        f'<p style="max-width:80em;margin:.2em 0;font-size:90%">{escape(text)}</p>'
        for text in texts
    )


def picture_strip(pictures: Iterable[tuple[Image, str]]) -> str:
    """Write a row of small pictures with captions as HTML."""
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:8px;margin:.4em 0">'
        + "".join(_figure(*each) for each in pictures)
        + "</div>"
    )


def _figure(image: Image, caption: str) -> str:
    small = image.copy()
    small.thumbnail((2 * _HEIGHT, _HEIGHT))
    file = io.BytesIO()
    small.save(file, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return (
        f'<figure style="margin:0;max-width:{2 * _HEIGHT}px;text-align:center">'
        f'<img src="{source}" alt="{escape(caption)}" style="height:{_HEIGHT}px">'
        f'<figcaption style="font-size:80%">{escape(caption)}</figcaption></figure>'
    )
