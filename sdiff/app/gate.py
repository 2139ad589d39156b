"""Who may use the app, and whether they may change anything: what environment variables say."""

from __future__ import annotations

import os

from sdiff.base.errors import SDiffError

SHUT = "This app is read-only: to train models, upload tables or download data sets, run it on a machine of your own."
YES, NO = ("1", "true", "on", "yes"), ("", "0", "false", "off", "no")


def read_only() -> bool:
    """Whether `$SDIFF_READ_ONLY` is set. Raises SDiffError where it says neither yes nor no."""
    given = os.environ.get("SDIFF_READ_ONLY", "").lower()
    if given not in (*YES, *NO):
        raise SDiffError(f"SDIFF_READ_ONLY must be one of {', '.join((*YES, *NO[1:]))}, not {given:.20}.")
    return given in YES


def writing() -> None:
    """Raises SDiffError where the app is read-only."""
    if read_only():
        raise SDiffError(SHUT)


def credentials() -> tuple[str, str] | None:
    """Who may enter: of `$SDIFF_AUTH`, user:password. Raises SDiffError where it is not of that form."""
    given = os.environ.get("SDIFF_AUTH")
    if given is None:
        return None
    user, _, password = given.partition(":")
    if not (user and password):
        raise SDiffError("SDIFF_AUTH must be user:password.")
    return user, password
