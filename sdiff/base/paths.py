"""Where files live: what comes with the program, and the user's cache, data sets and trained models."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from sdiff.base.errors import SDiffError, brief

PACKAGE = Path(str(files("sdiff")))
INSTALLED = (PACKAGE / "assets").is_dir()  # from a wheel, which holds these folders; else this is the repository
HOME = PACKAGE if INSTALLED else PACKAGE.parent
ASSETS, CHECKPOINTS = HOME / "assets", HOME / "checkpoints"
RESULTS = HOME / ("results" if INSTALLED else "benchmarks/results")


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
    """The folder of models trained in the app: `$SDIFF_RUNS_DIR`, or else `runs` in the repository.

    Where the package is installed, it is `sdiff/runs` in the user's data folder.
    """
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return Path(os.environ.get("SDIFF_RUNS_DIR") or (data / "sdiff" if INSTALLED else HOME) / "runs")


def checkpoint_dir(name: Path | str) -> Path:
    """The folder of a checkpoint: a path, or the name of one that was trained in the app or comes with the program."""
    path = expanded(name)
    named = (root / name for root in (runs_dir(), CHECKPOINTS) if path.name == name)
    return path if path.exists() else next((folder for folder in named if folder.is_dir()), path)


def uploads_dir() -> Path:
    """The folder of tables uploaded to the app."""
    return runs_dir() / "uploads"
