"""Validation of numbers."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from sdiff.base.errors import SDiffError, brief

LARGEST = 2**31 - 1  # for seeds and counts; fits NumPy, torch and JSON integers


def whole(name: str, value: Any, low: int, high: int = LARGEST) -> int:
    """`value` as an int. Raises SDiffError if it is not a whole number between `low` and `high`."""
    number: Any = value if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not low <= number <= high or number % 1:
        raise SDiffError(f"{name} must be a whole number between {low:,} and {high:,}, not {brief(value)}.")
    return int(number)


def number(name: str, value: Any) -> float:
    """`value`, a number or its text, as a float. Raises SDiffError if it is not a finite number."""
    try:
        parsed = float(value) if isinstance(value, str | Real) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        parsed = math.nan
    if not math.isfinite(parsed):
        raise SDiffError(f"{name} must be a number, not {brief(value)}.")
    return parsed
