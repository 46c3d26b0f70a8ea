"""The built-in entries of the dataset registry."""

from __future__ import annotations

from .general import COVID19_CT, FOLDER, PHANTOM, SARS_COV_2_CT, TABLE
from .public_sets import PUBLIC_SETS

__all__ = ["BUILT_IN", "COVID19_CT", "PUBLIC_SETS", "SARS_COV_2_CT"]

BUILT_IN = (COVID19_CT, SARS_COV_2_CT, *PUBLIC_SETS, FOLDER, TABLE, PHANTOM)
