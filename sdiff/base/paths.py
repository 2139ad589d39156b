"""Paths of included files, and of the user's cache, data sets and trained models."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from sdiff.base.errors import SDiffError, brief

PACKAGE = Path(str(files("sdiff")))
INSTALLED = (PACKAGE / "assets").is_dir()  # a wheel contains these folders; else this is a repository checkout
HOME = PACKAGE if INSTALLED else PACKAGE.parent
ASSETS, CHECKPOINTS = HOME / "assets", HOME / "checkpoints"
RESULTS = HOME / ("results" if INSTALLED else "benchmarks/results")  # shown by the app
OUTPUT = Path("results") if INSTALLED else RESULTS  # where new results are saved


def expanded(path: Path | str) -> Path:
    """`path` with `~` expanded to the home folder. Raises SDiffError if that user has none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise SDiffError(f"There is no home folder for {brief(str(path))}: write the full path.") from None


def cache_dir() -> Path:
    """`$SDIFF_CACHE_DIR`, by default `sdiff` in the user's cache folder."""
    return _chosen("SDIFF_CACHE_DIR") or _home("XDG_CACHE_HOME", ".cache", "SDIFF_CACHE_DIR") / "sdiff"


def data_dir() -> Path:
    """The folder of data sets: `$SDIFF_DATA_DIR`, by default `data` in the cache folder."""
    return _chosen("SDIFF_DATA_DIR") or cache_dir() / "data"


def runs_dir() -> Path:
    """The folder of models trained in the app: `$SDIFF_RUNS_DIR`, by default `sdiff/runs` in the user's data folder.

    In a repository checkout the default is `runs`.
    """
    if chosen := _chosen("SDIFF_RUNS_DIR"):
        return chosen
    return (_home("XDG_DATA_HOME", ".local/share", "SDIFF_RUNS_DIR") / "sdiff" if INSTALLED else HOME) / "runs"


def checkpoint_dir(name: Path | str) -> Path:
    """The folder of a checkpoint: a path, or the name of one that was trained in the app or is included."""
    path = expanded(name)
    if (path / "config.json").exists() or path.name != str(name):
        return path
    return next((root / path for root in (runs_dir(), CHECKPOINTS) if (root / path / "config.json").exists()), path)


def uploads_dir() -> Path:
    """The folder of tables uploaded to the app."""
    return runs_dir() / "uploads"


def _chosen(variable: str) -> Path | None:
    """The folder that an environment variable names, if it is set."""
    return expanded(value) if (value := os.environ.get(variable)) else None


def _home(variable: str, default: str, instead: str) -> Path:
    """The user's folder of a kind, as `variable` names it. Raises SDiffError if the user has no home folder."""
    try:
        return Path(os.environ.get(variable) or Path.home() / default)
    except RuntimeError:
        raise SDiffError(f"This user has no home folder: set the environment variable {instead} to a folder.") from None
