"""Validates requests: ids in path, query and JSON body, and the events that they start."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import orjson
from starlette.datastructures import Headers, QueryParams
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdiff.app.server.refusals import is_form, refuse
from sdiff.app.server.routes import RouteMatch

# Ids that clients choose and the app stores. Gradio's page sends about 12 letters and digits, its Python client UUIDs.
IDS = ("session_hash", "event_id", "upload_id")
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
EVENTS = ("queue/join", "run/{api_name}", "call/{api_name}", "call/v2/{api_name}")  # routes that start an event
ITEM = 2_000  # maximum number of characters of an item id
PARTS = 150_000  # maximum number of brackets in a body, because each list and object takes 50 times its size in memory
SECONDS = 30  # in which a body must be complete
# What MCP clients may send, besides "initialize" and the call of a tool. The MCP server logs other messages whole.
MESSAGES = re.compile(
    r"initialize|ping|notifications/(initialized|cancelled)|(tools|resources|prompts|resources/templates)/list"
)


class Documents:
    """ASGI middleware: refuses malformed ids, bodies that are not JSON, and unknown events.

    Bodies are parsed and serialized again, so that all later parsers read the same. `served` is gradio's application.
    """

    def __init__(self, app: ASGIApp, served: Any) -> None:
        self._app, self._served = app, served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        route: RouteMatch = scope["sdiff.route"]
        query = QueryParams(scope["query_string"])
        named = [*route.parameters.items(), *query.multi_items()]
        if wrong := _wrong_ids(named) or self._wrong_stream(route, query):
            return await refuse(*wrong, scope, receive, send)
        if scope["method"] == "POST" and not is_form(scope):
            if not _is_json(scope):
                return await refuse(
                    "Send JSON with the header Content-Type: application/json.", 415, scope, receive, send
                )
            body = await _body(receive)
            if body is None:
                return await refuse("The request is too long or incomplete.", 413, scope, receive, send)
            if body.count(b"[") + body.count(b"{") > PARTS:
                return await refuse("The request has too many lists or objects.", 413, scope, receive, send)
            try:
                document = orjson.loads(body)
                wrong = self._wrong_document(route, document)
                receive = _replayed(orjson.dumps(document), receive)
            except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # the latter if nested too deeply
                return await refuse("The request is not valid JSON.", 400, scope, receive, send)
            if wrong:
                return await refuse(*wrong, scope, receive, send)
        try:
            await self._app(scope, receive, send)
        except RuntimeError as error:  # another reader has closed the session of the stream
            if not isinstance(error.__cause__, HTTPException):
                raise

    def _wrong_stream(self, route: RouteMatch, query: QueryParams) -> tuple[str, int] | None:
        """Refuses streams of unknown sessions and events. Gradio would fail after it has sent the headers."""
        queue = self._served.get_blocks()._queue
        if route.path.endswith("/queue/data"):
            known = query.get("session_hash", "") in queue.pending_messages_per_session
        elif "event_id" in route.parameters:
            id = route.parameters["event_id"]
            sessions = (queue.event_ids_to_events, queue.pending_messages_per_session)
            known = any(id in known_ids for known_ids in (*sessions, *queue.pending_event_ids_session.values()))
        else:
            known = True
        return None if known else ("Unknown session, or its answers were not read in time.", 404)

    def _wrong_document(self, route: RouteMatch, document: Any) -> tuple[str, int] | None:
        """The error of a document, if any. Removes all event data except the id of the pressed item."""
        if not isinstance(document, dict):
            return "The request must be a JSON object.", 422
        if "/mcp/" in route.path:
            return _wrong_message(document)
        if not route.path.endswith(EVENTS):
            return _wrong_ids(document.items())
        if route.path.endswith("/call/v2/{api_name}"):  # its values are named
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
                return "The event must contain the id of the pressed item.", 422
            document["event_data"] = {"item": pressed["item"]}
        return _wrong_ids(document.items())

    def _wrong_names(self, name: str, document: Mapping[str, Any]) -> tuple[str, int] | None:
        endpoint = self._served.get_blocks().get_api_info()["named_endpoints"].get(f"/{name}")
        if endpoint is None:
            return "There is no such event or endpoint.", 404
        names = {each["parameter_name"]: each["parameter_has_default"] for each in endpoint["parameters"]}
        if unknown := ", ".join(key for key in document if key not in names):
            return f"{name} has no parameter {unknown:.100}; it has {', '.join(names)}.", 422
        missing = ", ".join(key for key, default in names.items() if not default and key not in document)
        return (f"{name} needs the parameter {missing}.", 422) if missing else None


def _wrong_message(message: dict[str, Any]) -> tuple[str, int] | None:
    """The error of a message to the MCP server, if any. Its values are checked by the endpoints."""
    method, params = message.get("method"), message.get("params") or {}
    if method == "tools/call" and isinstance(params, dict):
        name, arguments = params.get("name"), params.get("arguments") or {}
        if not (isinstance(name, str) and ID.fullmatch(name) and isinstance(arguments, dict)):
            return "A call needs the name of a tool, and arguments as an object.", 422
        return None
    if not (isinstance(method, str) and MESSAGES.fullmatch(method)):
        return "The MCP server has tools only: send initialize, ping, tools/list or tools/call.", 422
    return None


def _is_json(scope: Scope) -> bool:
    """Whether a request has exactly one content type, and it is JSON. Parsers choose differently among several."""
    types = Headers(scope=scope).getlist("content-type")
    return len(types) == 1 and types[0].partition(";")[0].strip().lower() == "application/json"


def _wrong_ids(named: Iterable[tuple[str, Any]]) -> tuple[str, int] | None:
    for name, id in named:
        if name in IDS and id is not None and not (isinstance(id, str) and ID.fullmatch(id)):
            return f"{name} must have 1 to 64 letters, digits, dashes or underscores.", 422
    return None


def _is_press(data: Any) -> bool:
    """Whether event data contains the id of an item that was pressed."""
    return isinstance(data, dict) and isinstance(item := data.get("item"), str) and len(item) <= ITEM


async def _body(receive: Receive) -> bytes | None:
    """The whole body of a request, or None if it is incomplete."""
    parts: list[bytes] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            while (message := await receive())["type"] == "http.request":
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    return b"".join(parts)
    return None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Receives a body that was already read, then the remaining messages."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
