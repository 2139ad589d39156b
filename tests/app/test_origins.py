"""Other sites cannot use the app through the browser of a visitor."""

from __future__ import annotations

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from sdiff.app.server.origins import Origins, own_hosts


async def app(scope, receive, send):
    await PlainTextResponse("let in")(scope, receive, send)


LOCAL = TestClient(Origins(app, frozenset({"localhost", "127.0.0.1", "::1"})))
ANYWHERE = TestClient(Origins(app, None))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(
            (host, 200)
            for host in ("localhost", "localhost:7860", "LOCALHOST:1", "127.0.0.1:7860", "[::1]:7860", "localhost.:1")
        ),
        *((host, 421) for host in ("evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost..", "")),
        *((host, 421) for host in ("localhost@evil.example", "[::1", "[::2]", "127.0.0.2")),
        *((host, 421) for host in ("localhost/x", "localhost?x", "localhost#x", "x@localhost", "localhost:x", ":7860")),
    ],
)
def test_an_app_on_loopback_answers_only_to_its_own_host_names(host, status):
    assert LOCAL.get("/", headers={"Host": host}).status_code == status
    assert ANYWHERE.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost:7860"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://localhost:7860", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://s-diff.example", "Sec-Fetch-Site": "same-origin"}, 200),  # a proxy that rewrites Host
        ({"Origin": "https://s-diff.example", "X-Forwarded-Host": "s-diff.example"}, 200),
    ],
)
def test_a_cross_site_request_is_refused(headers, status):
    for client in (LOCAL, ANYWHERE):
        for method in ("GET", "POST", "OPTIONS"):
            assert client.request(method, "/", headers={"Host": "localhost:7860"} | headers).status_code == status


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 200), ("POST", 403), ("DELETE", 403)])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_may_link_to_the_page_and_do_nothing_else(site, method, status):
    """A privacy extension may remove the header Origin."""
    for client in (LOCAL, ANYWHERE):
        headers = {"Host": "localhost:7860", "Sec-Fetch-Site": site}
        assert client.request(method, "/", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("variables", "known"),
    [
        ({}, True),
        ({"GRADIO_SERVER_NAME": "localhost"}, True),
        ({"GRADIO_SERVER_NAME": "127.0.0.5"}, True),
        ({"GRADIO_SERVER_NAME": "[::1]"}, True),
        ({"GRADIO_SERVER_NAME": "0.0.0.0"}, False),
        ({"GRADIO_SERVER_NAME": "s-diff.example"}, False),
        ({"SPACE_ID": "somebody/s-diff"}, False),
        ({"GRADIO_ROOT_PATH": "https://s-diff.example"}, False),
        ({"GRADIO_SHARE": "True"}, False),
    ],
)
def test_host_names_are_checked_only_without_a_proxy(monkeypatch, variables, known):
    for name in ("GRADIO_SERVER_NAME", "SPACE_ID", "GRADIO_ROOT_PATH", "GRADIO_SHARE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    hosts = own_hosts()
    assert (hosts is not None) == known
    assert hosts is None or variables.get("GRADIO_SERVER_NAME", "127.0.0.1").strip("[]") in hosts


def test_the_running_app_refuses_cross_site_requests(url):
    upload = {"files": {"files": b"user,item"}}
    foreign, rebound = {"Origin": "https://evil.example"}, {"Host": "evil.example", "Origin": "http://evil.example"}
    for headers, status in ((foreign, 403), (rebound, 421)):
        for answer in (
            httpx.post(f"{url}gradio_api/upload", headers=headers, **upload),
            httpx.get(f"{url}config", headers=headers),
            httpx.options(f"{url}config", headers=headers | {"Access-Control-Request-Method": "GET"}),
        ):
            assert answer.status_code == status
            assert not [name for name in answer.headers if name.startswith("access-control-")]
    own = {"Origin": url.rstrip("/")}
    assert httpx.post(f"{url}gradio_api/upload", headers=own, **upload).status_code == 200
