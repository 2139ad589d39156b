"""Errors shown to users."""

import reprlib
from typing import Any


class SDiffError(ValueError):
    """Base class of errors shown to users. The message is one sentence: what is wrong, and how to fix it."""


def brief(value: Any) -> str:
    """The repr of a value, cut to 80 characters."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 80
    return short.repr(value)
