"""Refuses requests with a status, a message and a log line."""

from __future__ import annotations

from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from sdiff.app.server import journal

UNLOGGED = (401, 404)  # statuses that ordinary browsing causes
UPLOAD = "/gradio_api/upload"
FORMS = (UPLOAD, "/login")  # the routes that take forms; every other route takes JSON


async def refuse(message: str, status: int, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with an error message: plain text for forms, else JSON, as gradio's clients expect."""
    if status not in UNLOGGED:
        journal.refused("gate", message, scope["path"])
    answer = PlainTextResponse(message, status) if is_form(scope) else JSONResponse({"detail": message}, status)
    await answer(scope, receive, send)


def is_form(scope: Scope) -> bool:
    """Whether a request is for a route that takes forms. Ignores headers, which clients could use to skip checks."""
    route = scope.get("sdiff.route")
    return route is not None and route.path in FORMS
