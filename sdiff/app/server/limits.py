"""How much a request may send, and how often an address may send forms."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress

from cachetools import TTLCache
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdiff.app.gate import READ_ONLY_MESSAGE, read_only
from sdiff.app.server.refusals import UPLOAD, is_form, refuse

BODY = 4 << 20  # bytes of a request without a file
FILE = 100 << 20  # bytes of a file
SPARE = 1 << 20  # bytes of a form around its file
FORMS, PERIOD = 30, 600  # files and passwords that an address may send, and in how many seconds
ADDRESSES = 10_000  # addresses that are remembered; beyond that, the one that has been quiet longest is forgotten


class Limits:
    """ASGI middleware: refuses requests that are too large, and forms, which bring files or passwords, that come too
    often from one address. A read-only app takes no file at all."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._recent: TTLCache[str, deque[float]] = TTLCache(ADDRESSES, PERIOD)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        upload = scope["sdiff.route"].path == UPLOAD
        most = FILE + SPARE if upload else BODY
        if scope["method"] == "POST" and (refusal := self._refusal(scope, upload, most)):
            return await refuse(*refusal, scope, receive, send)
        with suppress(ClientDisconnect):  # an upload that broke off: there is nobody to answer
            await self._app(scope, _at_most(most, receive), send)

    def _refusal(self, scope: Scope, upload: bool, most: int) -> tuple[str, int] | None:
        """Why a request is refused, with its status."""
        if upload and read_only():
            return READ_ONLY_MESSAGE, 403
        length = next((value for name, value in scope["headers"] if name.lower() == b"content-length"), b"0")
        if not length.isdigit() or int(length) > most:
            return f"The request is longer than {most >> 20} MB.", 413
        return self._too_often(scope["client"][0] if scope.get("client") else "") if is_form(scope) else None

    def _too_often(self, address: str) -> tuple[str, int] | None:
        now = time.monotonic()
        times = self._recent[address] = self._recent.get(address) or deque(maxlen=FORMS)
        if len(times) == FORMS and times[0] > now - PERIOD:
            wait = round((times[0] + PERIOD - now) / 60) or 1
            return f"More than {FORMS} uploads or logins in {PERIOD // 60} minutes: try again in {wait} min.", 429
        times.append(now)
        return None


def _at_most(most: int, receive: Receive) -> Receive:
    """Cuts a request off where it is longer than `most` bytes, whatever length it announces."""
    came = 0

    async def counted() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        return message if came <= most else {"type": "http.disconnect"}

    return counted
