"""Checks of values that callers give, and the random numbers that a seed stands for."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import torch

from sdiff.base.errors import SDiffError, brief

LARGEST = 2**31 - 1  # of seeds and counts: NumPy, torch and JSON all hold it


def whole(name: str, value: Any, low: int, high: int = LARGEST) -> int:
    """A whole number. Raises SDiffError for anything else, and for one out of range."""
    number: Any = value if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not low <= number <= high or number % 1:
        raise SDiffError(f"{name} must be a whole number between {low:,} and {high:,}, not {brief(value)}.")
    return int(number)


def generator(seed: int, rank: int = 0) -> torch.Generator:
    """A generator on the CPU, another one for each of several processes that share a seed.

    Raises:
        SDiffError: the seed is no whole number from 0 to `LARGEST`.
    """
    return torch.Generator().manual_seed(whole("seed", seed, 0) + rank)


def number(name: str, value: Any) -> float:
    """A finite number, which may be given as text. Raises SDiffError for anything else."""
    try:
        found = float(value) if isinstance(value, str | Real) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise SDiffError(f"{name} must be a number, not {brief(value)}.")
    return found
