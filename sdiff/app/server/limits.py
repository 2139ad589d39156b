"""Limits the size of requests, and the rate of uploads and logins per address."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress

from cachetools import TTLCache
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdiff.app.server.gate import READ_ONLY_MESSAGE, read_only
from sdiff.app.server.refusals import UPLOAD, is_form, refuse

BODY = 4 << 20  # maximum bytes of a request without a file
FILE = 100 << 20  # maximum bytes of a file
SPARE = 1 << 20  # maximum bytes of an upload besides its file
FORMS, PERIOD = 30, 600  # maximum number of uploads and logins per address, within this many seconds
ADDRESS = 45  # maximum characters of an address, which a proxy may take from a header
ADDRESSES = 10_000  # addresses to remember; beyond that, the one inactive for longest is dropped


class Limits:
    """ASGI middleware: refuses large requests, too frequent uploads and logins, and all uploads to a read-only app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._recent: TTLCache[str, deque[float]] = TTLCache(ADDRESSES, PERIOD)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        upload = scope["sdiff.route"].path == UPLOAD
        limit = FILE + SPARE if upload else BODY
        if scope["method"] == "POST" and (refusal := self._refusal(scope, upload, limit)):
            return await refuse(*refusal, scope, receive, send)
        with suppress(ClientDisconnect):  # the client has gone
            await self._app(scope, _at_most(limit, receive), send)

    def _refusal(self, scope: Scope, upload: bool, limit: int) -> tuple[str, int] | None:
        """The reason and status if a request is refused."""
        if upload and read_only():
            return READ_ONLY_MESSAGE, 403
        length = next((value for name, value in scope["headers"] if name.lower() == b"content-length"), b"0")
        if not length.isdigit() or int(length) > limit:
            return f"The request is longer than {limit >> 20} MB.", 413
        return self._too_often(scope["client"][0][:ADDRESS] if scope.get("client") else "") if is_form(scope) else None

    def _too_often(self, address: str) -> tuple[str, int] | None:
        now = time.monotonic()
        times = self._recent[address] = self._recent.get(address) or deque(maxlen=FORMS)
        if len(times) == FORMS and times[0] > now - PERIOD:
            wait = round((times[0] + PERIOD - now) / 60) or 1
            return f"More than {FORMS} uploads or logins in {PERIOD // 60} minutes: try again in {wait} min.", 429
        times.append(now)
        return None


def _at_most(limit: int, receive: Receive) -> Receive:
    """Disconnects a request after `limit` bytes, whatever its Content-Length says."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        return message if received <= limit else {"type": "http.disconnect"}

    return counted
