"""What a request says in JSON, in its path and in its query: ids of one form, and events that exist."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from starlette.datastructures import Headers, QueryParams
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdiff.app.server.refusals import is_form, refuse
from sdiff.app.server.routes import Found

# Clients choose these, and the app keeps them: gradio's pages send a dozen letters and digits, its Python client UUIDs.
IDS = ("session_hash", "event_id", "upload_id")
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


EVENTS = ("queue/join", "run/{api_name}", "call/{api_name}", "call/v2/{api_name}")  # routes that start an event
ITEM = 2_000  # characters of an item's id


class Documents:
    """ASGI middleware: refuses malformed ids, bodies that are not JSON, and events that the page does not have.

    What is handed on is the body as it was read here, written anew: every parser reads it alike. `served` is gradio's
    application.
    """

    def __init__(self, app: ASGIApp, served: Any) -> None:
        self._app, self._served = app, served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        route: Found = scope["sdiff.route"]
        query = QueryParams(scope["query_string"])
        named = [*route.parameters.items(), *query.multi_items()]
        if wrong := _wrong_ids(named) or self._wrong_stream(route, query):
            return await refuse(*wrong, scope, receive, send)
        if scope["method"] == "POST" and not is_form(scope):
            if not _says_json(scope):
                return await refuse(
                    "Send JSON, with the header Content-Type: application/json.", 415, scope, receive, send
                )
            body = await _body(receive)
            if body is None:
                return await refuse("The request is too long, or broke off.", 413, scope, receive, send)
            try:
                document = orjson.loads(body)
                wrong = self._wrong_document(route, document)
                receive = _replayed(orjson.dumps(document), receive)
            except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # the latter where it is nested too deeply
                return await refuse("The request is not JSON.", 400, scope, receive, send)
            if wrong:
                return await refuse(*wrong, scope, receive, send)
        try:
            await self._app(scope, receive, send)
        except RuntimeError as error:  # a stream whose session another reader of it has closed meanwhile
            if not isinstance(error.__cause__, HTTPException):
                raise

    def _wrong_stream(self, route: Found, query: QueryParams) -> tuple[str, int] | None:
        """Refuses to stream answers of a session, or of an event, that is not there: gradio would fail half way."""
        queue = self._served.get_blocks()._queue
        if route.path.endswith("/queue/data"):
            known = query.get("session_hash", "") in queue.pending_messages_per_session
        elif "event_id" in route.parameters:
            id = route.parameters["event_id"]
            sessions = (queue.event_ids_to_events, queue.pending_messages_per_session)
            known = any(id in kept for kept in (*sessions, *queue.pending_event_ids_session.values()))
        else:
            known = True
        return None if known else ("There is no such session, or its answers were not read in time.", 404)

    def _wrong_document(self, route: Found, document: Any) -> tuple[str, int] | None:
        """Says what is wrong with a document. Of an event's data, only the item pressed is kept."""
        if "/mcp/" in route.path:  # JSON-RPC, which the MCP server checks
            return None
        if not isinstance(document, dict):
            return "The request must be a JSON object.", 422
        if not route.path.endswith(EVENTS):
            return _wrong_ids(document.items())
        if route.path.endswith("/call/v2/{api_name}"):  # names each of its values
            return self._wrong_names(route.parameters["api_name"], document)
        fns = self._served.get_blocks().fns
        index, name = document.get("fn_index"), route.parameters.get("api_name")
        by_index = isinstance(index, int) and "/call/" not in route.path
        fn = fns.get(index) if by_index else next((fn for fn in fns.values() if fn.api_name == name), None)
        if fn is None or fn.fn is None:
            return "There is no such event or endpoint.", 404
        pressed = document.pop("event_data", None)
        if fn.collects_event_data:
            if not _is_press(pressed):
                return "The event must name the item that was pressed.", 422
            document["event_data"] = {"item": pressed["item"]}
        return _wrong_ids(document.items())

    def _wrong_names(self, name: str, document: Mapping[str, Any]) -> tuple[str, int] | None:
        endpoint = self._served.get_blocks().get_api_info()["named_endpoints"].get(f"/{name}")
        if endpoint is None:
            return "There is no such event or endpoint.", 404
        names = [parameter["parameter_name"] for parameter in endpoint["parameters"]]
        unknown = ", ".join(key for key in document if key not in names)
        return (f"{name} has no parameter {unknown:.100}; it has {', '.join(names)}.", 422) if unknown else None


def _says_json(scope: Scope) -> bool:
    """Whether the one content type of a request is JSON: parsers may differ on which of several they follow."""
    types = Headers(scope=scope).getlist("content-type")
    return len(types) == 1 and types[0].partition(";")[0].strip().lower() == "application/json"


def _wrong_ids(named: Iterable[tuple[str, Any]]) -> tuple[str, int] | None:
    for name, id in named:
        if name in IDS and id is not None and not (isinstance(id, str) and ID.fullmatch(id)):
            return f"{name} must have 1 to 64 letters, digits, dashes or underscores.", 422
    return None


def _is_press(data: Any) -> bool:
    """Whether an event tells of an item of a list that was pressed."""
    return isinstance(data, dict) and isinstance(item := data.get("item"), str) and len(item) <= ITEM


async def _body(receive: Receive) -> bytes | None:
    """The whole body of a request; None where it breaks off, or was cut off."""
    parts: list[bytes] = []
    while (message := await receive())["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
    return None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, and after it what else comes."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def given() -> Message:
        return messages.pop() if messages else await receive()

    return given
