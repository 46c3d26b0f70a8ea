"""Training of one network on one set of canvases.

The public names are imported on first use, so that recipes can be used without loading PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import attach

if TYPE_CHECKING:
    from .augment import Augmenter
    from .checkpoint import CheckpointStore
    from .lamb import Lamb
    from .profile import Profile
    from .recipe import Augmentation, Recipe
    from .trainer import EpochRecord, Trainer
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "augment": ("Augmenter",),
            "checkpoint": ("CheckpointStore",),
            "lamb": ("Lamb",),
            "profile": ("Profile",),
            "recipe": ("Augmentation", "Recipe"),
            "trainer": ("EpochRecord", "Trainer"),
        },
    )

__all__ = [
    "Augmentation",
    "Augmenter",
    "CheckpointStore",
    "EpochRecord",
    "Lamb",
    "Profile",
    "Recipe",
    "Trainer",
]
