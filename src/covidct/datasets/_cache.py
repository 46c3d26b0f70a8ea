"""Where covidct keeps what it fetched or computed, unless it is told otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pooch


def cache_folder() -> Path:
    """Return ``$COVIDCT_CACHE``, or the operating system's cache folder; it need not exist."""
    return Path(os.environ.get("COVIDCT_CACHE") or pooch.os_cache("covidct")).expanduser()
