"""Where files live: what belongs to the repository, and the user's cache, data sets and trained models."""

from __future__ import annotations

import os
from pathlib import Path

from sdiff.base.errors import SDiffError, brief

HOME = Path(__file__).parents[2]  # the folder that holds app.py
ASSETS, CHECKPOINTS, RESULTS = HOME / "assets", HOME / "checkpoints", HOME / "benchmarks" / "results"


def expanded(path: Path | str) -> Path:
    """A path in which `~` is the home folder. Raises SDiffError where there is none of that user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise SDiffError(f"There is no home folder for {brief(str(path))}: write the whole path.") from None


def cache_dir() -> Path:
    """`$SDIFF_CACHE_DIR`, or else `sdiff` in the user's cache folder."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("SDIFF_CACHE_DIR") or home / "sdiff")


def data_dir() -> Path:
    """The folder of data sets: `$SDIFF_DATA_DIR`, or else `data` in the cache folder."""
    return Path(os.environ.get("SDIFF_DATA_DIR") or cache_dir() / "data")


def runs_dir() -> Path:
    """The folder of models trained in the app: `$SDIFF_RUNS_DIR`, or else `runs` beside app.py."""
    return Path(os.environ.get("SDIFF_RUNS_DIR") or HOME / "runs")


def uploads_dir() -> Path:
    """The folder of tables uploaded to the app."""
    return runs_dir() / "uploads"
