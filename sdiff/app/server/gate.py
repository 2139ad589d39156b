"""Access control by environment variables: login and read-only mode."""

from __future__ import annotations

import os

from sdiff.base.errors import SDiffError

READ_ONLY_MESSAGE = (
    "This app is read-only. To train models, upload tables or download data sets, run it on your own machine."
)
YES, NO = ("1", "true", "on", "yes"), ("", "0", "false", "off", "no")


def read_only() -> bool:
    """Whether `$SDIFF_READ_ONLY` is on. Raises SDiffError for a value that is neither in YES nor in NO."""
    value = os.environ.get("SDIFF_READ_ONLY", "").lower()
    if value not in (*YES, *NO):
        raise SDiffError(f"SDIFF_READ_ONLY must be one of {', '.join((*YES, *NO[1:]))}, not {value:.20}.")
    return value in YES


def require_writable() -> None:
    """Raises SDiffError if the app is read-only."""
    if read_only():
        raise SDiffError(READ_ONLY_MESSAGE)


def credentials() -> tuple[str, str] | None:
    """User and password from `$SDIFF_AUTH`, or None if it is not set. Raises SDiffError if it is malformed."""
    value = os.environ.get("SDIFF_AUTH")
    if value is None:
        return None
    user, _, password = value.partition(":")
    if not (user and password):
        raise SDiffError("SDIFF_AUTH must have the form user:password.")
    return user, password
