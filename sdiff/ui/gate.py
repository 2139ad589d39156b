"""Whom and what the app lets in: which visitors, whether they may change anything, how much they send and how often."""

from __future__ import annotations

import os
import time
from collections import deque

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdiff.errors import SDiffError
from sdiff.ui import journal

SHUT = "This app is read-only: to train models, upload tables or download data sets, run it on a machine of your own."
BODY = 4 << 20  # bytes of a request that brings no file
FILE = 100 << 20  # bytes of a file
SPARE = 1 << 20  # bytes of a form around its file
FORMS, PERIOD = 30, 600  # files and passwords that an address may send in so many seconds
YES, NO = ("1", "true", "on", "yes"), ("", "0", "false", "off", "no")
ADDRESSES = 10_000  # that are remembered


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


async def fetch_nothing(url: str, cache_dir: str) -> str:
    """Takes the place of gradio's download: it would fetch any address that a visitor gives for a file, whole into
    memory, before a handler is asked."""
    raise SDiffError("A file is uploaded, not fetched from an address.")


class Gate:
    """Stands before the app: refuses requests that are too large, and forms, which bring files or passwords, that come
    too often from one address. Where the app is read-only no file comes in at all."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._came: dict[str, deque[float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        types = [value.lower() for name, value in scope["headers"] if name.lower() == b"content-type"]
        form = any(b"form" in kind for kind in types)
        most = FILE + SPARE if form else BODY
        if refusal := self._refusal(scope, form, most):
            journal.refused("gate", refusal[0], scope["path"])
            return await PlainTextResponse(*refusal)(scope, receive, send)
        await self._app(scope, _at_most(most, receive), send)

    def _refusal(self, scope: Scope, form: bool, most: int) -> tuple[str, int] | None:
        """What is said, with its status, to a request that is not let in."""
        path = scope["path"].rstrip("/")
        if path.endswith("/deep_link"):  # gradio's would keep a file for whoever asks; the page's address does its work
            return "The address of the page is its link.", 403
        if scope["method"] != "POST":
            return None
        if form and read_only() and not path.endswith("/login"):
            return SHUT, 403
        length = next((value for name, value in scope["headers"] if name.lower() == b"content-length"), b"0")
        if not length.isdigit() or int(length) > most:
            return f"The request is longer than {most >> 20} MB.", 413
        return self._too_often(scope["client"][0] if scope.get("client") else "") if form else None

    def _too_often(self, address: str) -> tuple[str, int] | None:
        now = time.monotonic()
        if len(self._came) > ADDRESSES:
            self._came = {who: times for who, times in self._came.items() if times[-1] > now - PERIOD}
        times = self._came.setdefault(address, deque(maxlen=FORMS))
        if len(times) == FORMS and times[0] > now - PERIOD:
            wait = round((times[0] + PERIOD - now) / 60) or 1
            return f"More than {FORMS} uploads or logins in {PERIOD // 60} minutes: try again in {wait} min.", 429
        times.append(now)
        return None


def _at_most(most: int, receive: Receive) -> Receive:
    """A request cut off where it is longer, whatever it says of its length."""
    came = 0

    async def counted() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        return message if came <= most else {"type": "http.disconnect"}

    return counted
