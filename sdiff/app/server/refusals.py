"""How a request is refused: with a status, a sentence, and a line in the log."""

from __future__ import annotations

from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from sdiff.app import journal

UNLOGGED = (401, 404)  # what any browser may cause
UPLOAD = "/gradio_api/upload"
FORMS = (UPLOAD, "/login")  # the routes that take forms; every other route takes JSON


async def refuse(words: str, status: int, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request with what is wrong with it: as text to a form, else as JSON, as gradio's clients expect."""
    if status not in UNLOGGED:
        journal.refused("gate", words, scope["path"])
    answer = PlainTextResponse(words, status) if is_form(scope) else JSONResponse({"detail": words}, status)
    await answer(scope, receive, send)


def is_form(scope: Scope) -> bool:
    """Whether a request is for a route that takes forms. Its headers have no say: they could switch checks off."""
    route = scope.get("sdiff.route")
    return route is not None and route.path in FORMS
