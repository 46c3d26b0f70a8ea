"""Explanations of a network: Grad-CAM, t-SNE of its features, and measures of their faithfulness.

The public names are imported on first use, so that importing the package never loads PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:
    from . import faithfulness, figures, tsne
    from .figures import plot_maps, plot_tsne
    from .grad_cam import Explanation, GradCAM
    from .new_slices import draw_map, explain_predictions, mean_maps, save_maps
    from .paper import draw_paper_figures
    from .regions import to_slice
    from .selection import slices_of_volumes, slices_with_names
    from .tested_slices import explain_fold
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "figures": ("plot_maps", "plot_tsne"),
            "grad_cam": ("Explanation", "GradCAM"),
            "new_slices": ("draw_map", "explain_predictions", "mean_maps", "save_maps"),
            "paper": ("draw_paper_figures",),
            "regions": ("to_slice",),
            "selection": ("slices_of_volumes", "slices_with_names"),
            "tested_slices": ("explain_fold",),
        },
        submodules=("faithfulness", "figures", "tsne"),
    )

__all__ = [
    "Explanation",
    "GradCAM",
    "draw_map",
    "draw_paper_figures",
    "explain_fold",
    "explain_predictions",
    "faithfulness",
    "figures",
    "mean_maps",
    "plot_maps",
    "plot_tsne",
    "save_maps",
    "slices_of_volumes",
    "slices_with_names",
    "to_slice",
    "tsne",
]
