"""Where files live: what ships with the package, and the user's cache, data sets and trained models."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

PACKAGE = Path(str(files("sdiff")))
HOME = PACKAGE.parent  # of a checkout: the folder that holds app.py


def shipped(name: str) -> Path:
    """A folder that ships with the package: `assets`, `checkpoints` or `results`.

    An installed package holds these folders. In a checkout they lie where people and Hugging Face Spaces look for them.
    """
    installed = PACKAGE / name
    return installed if installed.is_dir() else HOME / ("benchmarks/results" if name == "results" else name)


def cache_dir() -> Path:
    """`$SDIFF_CACHE_DIR`, or else `sdiff` in the user's cache folder."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("SDIFF_CACHE_DIR") or home / "sdiff")


def data_dir() -> Path:
    """The folder of data sets: `$SDIFF_DATA_DIR`, or else `data` in the cache folder."""
    return Path(os.environ.get("SDIFF_DATA_DIR") or cache_dir() / "data")


def runs_dir() -> Path:
    """The folder of models trained in the app: `$SDIFF_RUNS_DIR`, or else `runs` in the checkout or working folder."""
    home = HOME if (HOME / "app.py").is_file() else Path.cwd()
    return Path(os.environ.get("SDIFF_RUNS_DIR") or home / "runs")


def uploads_dir() -> Path:
    """The folder of tables uploaded to the app."""
    return runs_dir() / "uploads"
