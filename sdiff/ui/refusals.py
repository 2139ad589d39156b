"""How a request is refused: with a status, a sentence, and a line in the log."""

from __future__ import annotations

from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from sdiff.ui import journal

UNLOGGED = (401, 404)  # what any browser may cause


async def refuse(words: str, status: int, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request with what is wrong with it: as text to a form, else as JSON, as gradio's clients expect."""
    if status not in UNLOGGED:
        journal.refused("gate", words, scope["path"])
    answer = PlainTextResponse(words, status) if is_form(scope) else JSONResponse({"detail": words}, status)
    await answer(scope, receive, send)


def is_form(scope: Scope) -> bool:
    """Whether a request sends a form, which brings files or a password. Any of its content types may say so."""
    return any(b"form" in value.lower() for name, value in scope["headers"] if name.lower() == b"content-type")
