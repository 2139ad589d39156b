"""Whom and what the app lets in: which visitors, whether they may change anything, how much they send and how often."""

from __future__ import annotations

import os
import time
from collections import deque

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdiff.errors import SDiffError

SHUT = "This app is read-only: to train models, upload tables or download data sets, run it on a machine of your own."
BODY = 4 << 20  # bytes of a request that brings no file
FORMS, PERIOD = 30, 600  # files and passwords that an address may send in so many seconds
ADDRESSES = 10_000  # that are remembered


def read_only() -> bool:
    """Whether `$SDIFF_READ_ONLY` is set."""
    return os.environ.get("SDIFF_READ_ONLY", "").lower() in ("1", "true", "on")


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


class Gate:
    """Stands before the app: refuses requests that are too large, and forms, which bring files or passwords, that come
    too often from one address. Where the app is read-only no file comes in at all."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._came: dict[str, deque[float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._refusal(scope) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found:
            return await PlainTextResponse(*found)(scope, receive, send)
        measured = scope["type"] == "http" and b"chunked" in dict(scope["headers"]).get(b"transfer-encoding", b"")
        await self._app(scope, _at_most(BODY, receive) if measured else receive, send)

    def _refusal(self, scope: Scope) -> tuple[str, int] | None:
        """What is said, with its status, to a request that is not let in."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        form = b"form" in headers.get(b"content-type", b"")
        if form and read_only() and not scope["path"].rstrip("/").endswith("/login"):
            return SHUT, 403
        if form:
            return self._too_often(scope["client"][0] if scope.get("client") else "")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > BODY:
            return f"The request is longer than {BODY >> 20} MB.", 413
        return None

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
    """A request that does not say how long it is, cut off where it is longer."""
    came = 0

    async def counted() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        return message if came <= most else {"type": "http.disconnect"}

    return counted
