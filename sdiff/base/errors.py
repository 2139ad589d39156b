"""Errors that are shown to users."""

import reprlib
from typing import Any


class SDiffError(ValueError):
    """Bad input or a missing file. The message is one sentence that says what to do about it."""


def brief(value: Any) -> str:
    """The repr of a value, cut to 80 characters."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 80
    return short.repr(value)
