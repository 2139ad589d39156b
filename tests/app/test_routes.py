"""The routes of the app: each is open, requires a login, or is closed. Unlisted routes are closed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from gradio.routes import App
from starlette.routing import Mount

from sdiff.app import layout
from sdiff.app.server.routes import MCP, OPEN, PROTECTED, Routes
from tests.conftest import ROOT

# Routes of gradio that the app does not serve.
CLOSED = (
    "GET /monitoring",
    "GET /monitoring/summary",
    "GET /monitoring/{key}",
    "GET /openapi.json",
    "GET /pwa_icon",
    "GET /pwa_icon/{size}",
    "GET /gradio_api/call/v2/{api_name}/{event_id}",
    "GET /gradio_api/custom_component/{id}/{environment}/{type}/{file_name}",
    "GET /gradio_api/deep_link",
    "GET /gradio_api/dev/reload",
    "GET /gradio_api/file/{path}",
    "GET /gradio_api/login_check",
    "GET /gradio_api/mcp/messages",
    "GET /gradio_api/mcp/sse",
    "GET /gradio_api/openapi.json",
    "GET /gradio_api/proxy={url_path}",
    "HEAD /gradio_api/proxy={url_path}",
    "GET /gradio_api/queue/status",
    "GET /gradio_api/run-history/buckets",
    "GET /gradio_api/run-history/records",
    "GET /gradio_api/run-history/records/{endpoint}/{record_id}/assets/{asset_id}",
    "GET /gradio_api/runs",
    "GET /gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file",
    "GET /gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8",
    "GET /gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}",
    "GET /gradio_api/token",
    "GET /gradio_api/user",
    "GET /gradio_api/vibe-code",
    "POST /gradio_api/api/{api_name}",
    "POST /gradio_api/component_server",
    "POST /gradio_api/mcp/messages",
    "POST /gradio_api/process_recording",
    "POST /gradio_api/run-history/connect",
    "POST /gradio_api/stream/{event_id}",
    "POST /gradio_api/stream/{event_id}/close",
    "POST /gradio_api/undo-vibe-edit",
    "POST /gradio_api/vibe-code",
    "POST /gradio_api/vibe-edit",
    "POST /gradio_api/vibe-starter-queries",
)
REACHED = 200


def plain(route: str) -> str:
    """A route without parameter patterns and trailing slash."""
    return route.replace(":path}", "}").replace("file={file}", "file={path_or_url}").rstrip("/")


def filled(route: str) -> tuple[str, str]:
    """The method of a route, and an example path."""
    method, path = route.split()
    return method, re.sub(r"{[^}]+}", "1", path)


def status(method: str, path: str, root_path: str = "", auth=None, cookie: str = "", **kind) -> int:
    """The status of a request, or `REACHED` if it passes."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": REACHED, "headers": []})

    async def send(message):
        sent.append(message)

    sent = []
    served = SimpleNamespace(auth=auth, cookie_id="id", tokens={"token": "ann"}, uploaded_file_dir="/tmp/gradio")
    headers = [(b"cookie", cookie.encode())] if cookie else []
    scope = {"type": "http", "method": method, "path": path, "root_path": root_path, "headers": headers} | kind
    with suppress(StopIteration):  # nothing here waits for anything
        Routes(app, served)(scope, None, send).send(None)
    return sent[0].get("status", 0)


def offered(routes: Iterable[Any], prefix: str = "") -> Iterator[str]:
    """All routes of an app, also those that its documentation does not name. HEAD is left out where there is GET."""
    for route in routes:
        if isinstance(route, Mount) and route.routes:
            yield from offered(route.routes, prefix + route.path)
        elif router := getattr(route, "original_router", None):
            yield from offered(router.routes, prefix)
        else:
            methods = {*(getattr(route, "methods", None) or ("GET", "POST"))}
            yield from (
                f"{method} {prefix}{route.path}" for method in methods - ({"HEAD"} if "GET" in methods else set())
            )


@pytest.mark.parametrize("kind", ["open", "with a login", "read-only"])
def test_every_gradio_route_is_classified(kind, monkeypatch):
    if kind == "read-only":
        monkeypatch.setenv("SDIFF_READ_ONLY", "1")
    demo = layout.build().queue()
    demo.root_path, demo.auth = "", [("ann", "secret")] if kind == "with a login" else None
    app = App.create_app(demo, mcp_server=True)
    found = {plain(route) for route in offered(app.routes)}
    documented = {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods}
    assert len(found) > 60 and {plain(route) for route in documented} <= found
    assert found <= {plain(route) for route in (*OPEN, *PROTECTED, *MCP, *CLOSED)}


@pytest.mark.parametrize("route", CLOSED)
def test_a_closed_route_is_closed_however_its_path_is_written(route):
    method, path = filled(route)
    inside = path.removeprefix("/gradio_api")
    written = {
        path,
        f"{path}/",
        f"/{path}",
        path.replace("/", "//"),
        path.upper(),
        path.title(),
        f"{path}\n",
        f"{path};x",
    }
    written |= {f"/app{path}", f"/gradio_api{path}", f"/.{path}", f"/x/..{path}", f"/gradio_api/./{inside}"}
    written |= {f"\\{path[1:]}", f"{path}%2f", f"{path}%00", f"{path};x", inside if inside != path else path}
    for one in written:
        for verb in {method, "GET", "HEAD", "POST", "PUT", "OPTIONS", "PATCH", "DELETE", "TRACE", "get"}:
            for root_path in ("", "/app"):
                assert status(verb, one, root_path) in (404, 405), (verb, one, root_path)


def test_every_protected_route_requires_the_login_if_there_is_one():
    for route in OPEN:
        assert status(*filled(route)) == status(*filled(route), auth={"ann": "a"}) == REACHED, route
    for route in PROTECTED:
        method, path = filled(route)
        path = path.replace("file=1", "file=/tmp/gradio/a/x.csv")
        assert status(method, path) == REACHED, route
        assert status(method, path, root_path="/app") == status(method, f"/app{path}", root_path="/app") == REACHED
        assert status(method, path, auth={"ann": "a"}) == 401, route
        assert status(method, path, auth={"ann": "a"}, cookie="access-token-id=other") == 401, route
        for name in ("access-token-id", "access-token-unsecure-id"):
            assert status(method, path, auth={"ann": "a"}, cookie=f"{name}=token") == REACHED, route
    for route in MCP:
        assert status(*filled(route)) == REACHED, route
        assert status(*filled(route), auth={"ann": "a"}, cookie="access-token-id=token") == 404, route


@pytest.mark.parametrize(
    "address",
    [
        *("http://8.8.8.8/", "HTTP://8.8.8.8/", " http://8.8.8.8/", "https:8.8.8.8", "http:/8.8.8.8", "ftp://8.8.8.8/"),
        *("//8.8.8.8/x", "\\\\8.8.8.8\\x", "http:\\\\8.8.8.8", "/http://8.8.8.8", "file:///etc/passwd", "data:,x", ""),
        *("/etc/passwd", "/tmp/gradio", "/tmp/gradio/../x", "/tmp/gradio/../../etc/passwd", "/tmp/gradiox/x", "x.csv"),
        *("./tmp/gradio/x", "//tmp/gradio/x", "\t/tmp/gradio/x", "/TMP/gradio/x", "http://x/tmp/gradio/x", "~/x"),
    ],
)
def test_only_uploads_can_be_downloaded_and_no_url_is_fetched(address):
    for path in ("/gradio_api/file=", "/gradio_api/file/", "/gradio_api/proxy=", "/file=", "/file/", "/proxy="):
        for method in ("GET", "HEAD"):
            assert status(method, path + address) == 404, path


def test_web_sockets_are_closed():
    async def send(message):
        sent.append(message["type"])

    sent = []
    served = SimpleNamespace(auth=None)
    with suppress(StopIteration):
        Routes(None, served)({"type": "websocket"}, None, send).send(None)
    assert sent == ["websocket.close"]


def test_the_running_app_serves_no_closed_route(url):
    with httpx.Client(base_url=url, timeout=30) as client:
        for method, path in map(filled, CLOSED):
            answer = client.request(method, path, json={} if method == "POST" else None)
            assert answer.status_code in (404, 405), path


def test_the_running_app_keeps_no_history_of_runs(url):
    assert httpx.get(f"{url}config").json()["run_history"] is False


def test_the_running_app_serves_its_page_and_all_its_assets(url):
    answers = {path: httpx.get(url + path) for path in ("", "config", "theme.css", "gradio_api/info", "favicon.ico")}
    answers["assets"] = httpx.get(f"{url}assets/" + re.findall(r"assets/([\w.-]+\.js)", answers[""].text)[0])
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(answers, 200)
    uploaded = httpx.post(f"{url}gradio_api/upload", files={"files": ("x.csv", b"user,item")}).json()[0]
    assert httpx.get(f"{url}gradio_api/file={uploaded}").text == "user,item"
    assert httpx.get(f"{url}gradio_api/file={ROOT / 'app.py'}").status_code == 404
