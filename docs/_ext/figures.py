"""How sphinx-gallery finds the figures of an example, and in which order examples stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

# Examples are read from the first to the last.
ORDER = (
    "quickstart.py",
    "in_a_notebook.py",
    "custom_dataset.py",
    "custom_network.py",
    "padding_or_stretching.py",
    "paper_or_grouped.py",
    "grad_cam.py",
    "tsne.py",
    "external_test.py",
    "sweep_on_dask.py",
    "dicom_to_report.py",
    "single_parts.py",
)


def reading_order(filename: str) -> int:
    return ORDER.index(filename)


def scrape(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figures that a block made, with pyplot, which keeps a list, or without it."""
    seen: set[int] = block_vars["example_globals"].setdefault("_figures_seen", set())
    paths = []
    for value in list(block_vars["example_globals"].values()):
        if isinstance(value, Figure) and id(value) not in seen:
            seen.add(id(value))
            path = next(block_vars["image_path_iterator"])
            value.savefig(path, dpi=110, bbox_inches="tight")
            paths.append(Path(path))
    for number in plt.get_fignums():
        figure = plt.figure(number)
        if id(figure) not in seen:
            paths.append(Path(path := next(block_vars["image_path_iterator"])))
            figure.savefig(path, dpi=110, bbox_inches="tight")
        plt.close(figure)
    return figure_rst([str(path) for path in paths], gallery_conf["src_dir"])
