"""Procedural chest-CT slices with patients and lesion masks, for examples and tests."""

from __future__ import annotations

from .dataset import PhantomDataset, load

__all__ = ["PhantomDataset", "load"]
