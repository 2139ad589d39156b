"""The routes that the app serves. All other paths answer 404, including those that later versions of gradio add."""

from __future__ import annotations

import os.path
from collections.abc import Iterable
from typing import Any, NamedTuple

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sdiff.app.server.refusals import refuse

# Without a login: the login page with its resources, and health checks.
OPEN = (
    "GET /",
    "HEAD /",
    "POST /login",
    "GET /assets/{path:path}",
    "GET /favicon.ico",
    "GET /health",
    "GET /manifest.json",
    "GET /robots.txt",
    "GET /static/{path:path}",
    "GET /svelte/{path:path}",
    "GET /theme.css",
    "GET /gradio_api/startup-events",
    "GET /gradio_api/theme.css",
)
# With a login, if one is set: events of the page, endpoints, uploads and downloads.
PROTECTED = (
    "GET /config",
    "GET /logout",
    "GET /gradio_api/app_id",
    "GET /gradio_api/call/{api_name}/{event_id}",
    "GET /gradio_api/file={file:path}",
    "HEAD /gradio_api/file={file:path}",
    "GET /gradio_api/heartbeat/{session_hash}",
    "GET /gradio_api/info",
    "GET /gradio_api/queue/data",
    "GET /gradio_api/upload_progress",
    "POST /gradio_api/call/v2/{api_name}",
    "POST /gradio_api/call/{api_name}",
    "POST /gradio_api/cancel",
    "POST /gradio_api/queue/join",
    "POST /gradio_api/reset",
    "POST /gradio_api/run/{api_name}",
    "POST /gradio_api/upload",
)
# The MCP server. It has no login, so it is off if a login is set.
MCP = (
    "GET /gradio_api/mcp/schema",
    *(f"{verb} /gradio_api/mcp/{http}" for http in ("", "http") for verb in ("GET", "POST")),
)
LONGEST = 255, 2000  # maximum bytes of a file name, and maximum characters of a path


class RouteMatch(NamedTuple):
    """The route of a request, with its path parameters."""

    path: str
    protected: bool
    parameters: dict[str, str]


class Routes:
    """ASGI middleware: refuses requests for other routes than those above. Sets `scope["sdiff.route"]`.

    `served` is gradio's application, which knows the logins and the folder of uploads.
    """

    def __init__(self, app: ASGIApp, served: Any) -> None:
        self._app, self._served = app, served
        self._open, self._protected = _compiled((*OPEN, *(() if served.auth else MCP))), _compiled(PROTECTED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close"})
        if scope["type"] == "http":
            route, status = self._find(scope)
            if route is None:
                reason = "Not found." if status == 404 else "Method not allowed."
                return await refuse(reason, status, scope, receive, send)
            scope["sdiff.route"] = route
            if route.protected and self._served.auth and not self._logged_in(scope):
                return await refuse("Not authenticated.", 401, scope, receive, send)
            if not (_may_exist(scope["path"]) and self._is_ours(route)):
                return await refuse("Not found.", 404, scope, receive, send)
        await self._app(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[RouteMatch | None, int]:
        """The route of a request, or None and the status of the refusal.

        A trailing slash may be missing or superfluous; the router redirects such a path.
        """
        status, path = 404, scope["path"]
        for same in (path, path[:-1] if path.endswith("/") else path + "/"):
            for routes in (self._open, self._protected):
                for route in routes:
                    match, child = route.matches({**scope, "path": same})
                    if match is Match.FULL:
                        return RouteMatch(route.path, routes is self._protected, child["path_params"]), 200
                    status = 405 if match is Match.PARTIAL else status
        return None, status

    def _logged_in(self, scope: Scope) -> bool:
        cookies = cookie_parser(Headers(scope=scope).get("cookie", ""))
        names = (f"access-token-{self._served.cookie_id}", f"access-token-unsecure-{self._served.cookie_id}")
        return any(cookies.get(name) in self._served.tokens for name in names)

    def _is_ours(self, route: RouteMatch) -> bool:
        """Whether the requested file, if any, is an upload. Gradio would also fetch a URL."""
        file = route.parameters.get("file")
        return file is None or os.path.normpath(file).startswith(os.path.join(self._served.uploaded_file_dir, ""))


def _may_exist(path: str) -> bool:
    """Whether the system accepts a path. Gradio fails with an internal error if it does not."""
    name, whole = LONGEST
    return len(path) <= whole and "\0" not in path and all(len(part.encode()) <= name for part in path.split("/"))


def _compiled(routes: Iterable[str]) -> list[Route]:
    return [Route(path, _nothing, methods=[method]) for method, path in map(str.split, routes)]


def _nothing(_: Any) -> None:
    """Placeholder endpoint: these routes are only used for matching."""
