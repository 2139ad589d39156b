"""Access control of the running app: with a password, without one, and read-only."""

from __future__ import annotations

import os
import runpy
import sys
from threading import Event
from types import SimpleNamespace
from urllib.parse import quote

import gradio as gr
import httpx
import pytest
from gradio import processing_utils
from gradio_client import Client
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from benchmarks.app import running_app
from sdiff.app import layout
from sdiff.app.handlers import pickers, training
from sdiff.app.selection import download
from sdiff.app.server import gate, journal, limits
from sdiff.app.server.routes import MCP, PROTECTED, Routes
from sdiff.app.state import INSTANT
from sdiff.base.errors import SDiffError
from sdiff.data import datasets
from tests.app.test_routes import CLOSED, filled
from tests.conftest import ROOT, last, run
from tests.form import Form

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}


def ask(address: str, element: str, event: str, *values, cookies=None) -> str:
    """The answer of an element's event to values that the page never sends."""
    with httpx.Client(base_url=address, cookies=cookies, timeout=60) as client:
        config = client.get("config").json()
        [id] = [c["id"] for c in config["components"] if c["props"].get("elem_id") == element]
        fn = next(d for d in config["dependencies"] if [id, event] in d["targets"] and d["backend_fn"])
        body = {"fn_index": fn["id"], "data": list(values), "session_hash": "stranger", "trigger_id": id}
        client.post("gradio_api/queue/join", json=body).raise_for_status()
        with client.stream("GET", "gradio_api/queue/data?session_hash=stranger") as answers:
            for line in answers.iter_lines():
                if "process_completed" in line:
                    return line
    raise AssertionError("no answer")


def test_a_visitor_cannot_name_a_server_file_as_an_upload(url):
    for path in ("/etc/passwd", str(ROOT / "app.py"), "../../etc/passwd", "http://127.0.0.1:1/x"):
        answer = ask(url, "own-table", "upload", {"path": path, "meta": {"_type": "gradio.FileData"}}, "", "")
        assert '"success":false' in answer and "root:" not in answer and str(ROOT) not in answer


def test_no_url_serves_a_file_of_the_machine(url):
    for path in ("etc/passwd", ROOT / "app.py", "%2e%2e/%2e%2e/etc/passwd", "../../etc/passwd", "file:///etc/passwd"):
        for prefix in ("gradio_api/file=", "file=", "gradio_api/file/", "static/", "assets/", "gradio_api/proxy=", ""):
            answer = httpx.get(f"{url}{prefix}{path}")
            assert "root:" not in answer.text and "launch(demo)" not in answer.text


@pytest.mark.parametrize("route", ["static", "assets", "svelte", "gradio_api/file=", "gradio_api/nothing", ""])
@pytest.mark.parametrize("name", ["x" * 256, "ü" * 128, "a/" * 2100, "a\0b", "x" * 255], ids="".join)
def test_an_impossible_file_name_is_not_found(url, route, name):
    assert httpx.get(f"{url}{route}/{quote(name)}").status_code == 404


@pytest.mark.parametrize(
    "body", ["{", '{"data": 5}', '{"data": []}', '{"data": [[], {}, null]}', "[" * 100_000, "", "null"]
)
def test_a_malformed_request_reveals_no_stack_trace_and_no_path(url, body):
    for name in ("recommend", "nothing", "../x"):
        answer = httpx.post(f"{url}gradio_api/call/{name}", content=body, headers={"Content-Type": "application/json"})
        assert "Traceback" not in answer.text and str(ROOT) not in answer.text and "site-packages" not in answer.text


def test_requests_that_are_too_large_are_refused(url):
    large = b'{"data": ["' + b" " * limits.BODY + b'"], "fn_index": 0, "session_hash": "x"}'
    address = f"{url}gradio_api/queue/join"
    for headers in (JSON, {"Content-Type": "application/json; x=form"}, FORM):
        assert httpx.post(address, content=large, headers=headers).status_code == 413
    assert httpx.post(address, content=iter([large]), headers=JSON).status_code == 413, "also without Content-Length"
    assert httpx.post(f"{url}login", content=large, headers=FORM).status_code == 413, "passwords are short"
    small = httpx.post(f"{url}gradio_api/call/list_datasets", content=iter([b'{"data": []}']), headers=JSON)
    assert small.status_code == 200


def test_form_routes_refuse_json(url):
    for path in ("gradio_api/upload", "login"):
        assert 400 <= httpx.post(url + path, json={"session_hash": "x"}).status_code < 500


def test_uploads_are_rate_limited(caplog):
    async def app(scope, receive, send):
        await PlainTextResponse("kept")(scope, receive, send)

    guarded = Routes(limits.Limits(app), SimpleNamespace(auth=None))
    one, other = (TestClient(guarded, client=(address, 1)) for address in ("1.1.1.1", "2.2.2.2"))
    answers = [one.post("/gradio_api/upload", files={"files": b"x"}) for _ in range(limits.FORMS + 1)]
    assert [answer.status_code for answer in answers] == [200] * limits.FORMS + [429]
    assert "try again in 10 min" in answers[-1].text
    [written] = caplog.records
    assert written.facts == {"event": "gate", "path": "/gradio_api/upload", "refused": answers[-1].text}
    assert other.post("/gradio_api/upload", files={"files": b"x"}).text == "kept", "other addresses need not wait"
    assert one.post("/gradio_api/queue/join", json={}).text == one.get("/").text == "kept"
    for form in ("Multipart/FORM-data; boundary=x", "application/x-www-FORM-urlencoded"):
        headers = [("Content-Type", form), ("Content-Type", "application/json")]
        assert one.post("/login", content=b"", headers=headers).status_code == 429, "for every encoding of the form"


def test_the_rate_limiter_remembers_a_bounded_number_of_addresses(monkeypatch):
    monkeypatch.setattr(limits, "ADDRESSES", 3)
    guarded = limits.Limits(run)  # which forwards nothing here
    for n in (0, 1, 2, 0, 3):
        assert guarded._too_often(f"10.0.0.{n}") is None
    assert sorted(guarded._recent) == ["10.0.0.0", "10.0.0.2", "10.0.0.3"], "the address idle for longest is forgotten"


def test_an_aborted_upload_is_not_an_error():
    async def app(scope, receive, send):
        await Request(scope, receive).form()

    async def receive():
        return {"type": "http.disconnect"}

    headers = [(b"content-type", FORM["Content-Type"].encode())]
    scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": headers}
    run(Routes(limits.Limits(app), SimpleNamespace(auth=None))(scope, receive, run))


def test_a_form_with_more_than_one_large_file_is_refused():
    async def app(scope, receive, send):
        await PlainTextResponse((await receive())["type"])(scope, receive, send)

    client = TestClient(Routes(limits.Limits(app), SimpleNamespace(auth=None)))
    long = FORM | {"Content-Length": str(limits.FILE + limits.SPARE + 1)}
    assert client.post("/gradio_api/upload", content=b"", headers=long).status_code == 413
    assert client.post("/gradio_api/upload", content=b"x", headers=FORM).text == "http.request"


def test_routes_that_bypass_the_queue_or_write_deep_links_are_closed(url):
    assert httpx.post(f"{url}gradio_api/run/recommend", json={"data": ["demo"]}).status_code == 404
    assert httpx.get(f"{url}gradio_api/deep_link?session_hash=x").status_code == 404


@pytest.fixture
def launched(monkeypatch):
    """The changes of `layout.launch` to gradio, without a server."""

    class Demo:
        preprocess_data = call_function = None

        def queue(self, **_):
            return self

        def launch(self, **_):
            pass

    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", None)
    for name in ("GRADIO_ANALYTICS_CACHE_FREQUENCY", "GRADIO_ANALYTICS_MAX_EVENTS"):
        monkeypatch.setenv(name, "1")
    for name in ("handlers", "propagate"):
        monkeypatch.setattr(journal.LOG, name, getattr(journal.LOG, name))
    layout.launch(Demo(), verbose=False)  # pyright: ignore[reportArgumentType]


def test_gradio_collects_no_event_statistics(launched, monkeypatch):
    queue = gr.Blocks(analytics_enabled=False).queue()._queue
    monkeypatch.setattr(queue, "_get_df", lambda _: pytest.fail("statistics are made"))
    queue.events_recorded = 10_000
    queue.compute_analytics_summary([{"function": "recommend", "status": "success"}])


def test_a_url_given_as_a_file_is_not_fetched(launched):
    file = {"path": "http://127.0.0.1:1/x", "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(SDiffError, match="cannot be fetched"):
        run(processing_utils.async_move_files_to_cache([file], gr.File()))


def test_an_unknown_value_of_read_only_is_refused(monkeypatch):
    for given, closed in (("yes", True), ("ON", True), ("no", False), ("", False)):
        monkeypatch.setenv("SDIFF_READ_ONLY", given)
        assert gate.read_only() is closed
    monkeypatch.setenv("SDIFF_READ_ONLY", "readonly")
    with pytest.raises(SDiffError, match="SDIFF_READ_ONLY must be"):
        gate.read_only()


@pytest.mark.parametrize("given", ["", "user", "user:", ":password"])
def test_a_malformed_password_setting_is_refused_at_startup(monkeypatch, given):
    monkeypatch.setenv("SDIFF_AUTH", given)
    with pytest.raises(SDiffError, match="user:password"):
        gate.credentials()


@pytest.fixture(scope="module")
def shut(tmp_path_factory):
    """URL of a read-only app with a password, and cookies after login."""
    runs = tmp_path_factory.mktemp("shut")
    given = {"SDIFF_READ_ONLY": "1", "SDIFF_AUTH": "ann:a:b", "SDIFF_RUNS_DIR": str(runs)}
    with running_app(ROOT, os.environ | given) as (address, *_):
        entered = httpx.post(f"{address}login", data={"username": "ann", "password": "a:b"})
        yield address, entered.cookies
    assert not list(runs.iterdir()), "nothing was written"


def test_nothing_is_served_without_the_password(shut):
    address, cookies = shut
    assert httpx.post(f"{address}login", data={"username": "ann", "password": "a"}).status_code == 400
    for path in ("config", "gradio_api/info", "gradio_api/queue/data?session_hash=x", "gradio_api/file=x"):
        assert httpx.get(address + path).status_code == 401, path
    for path in ("gradio_api/call/recommend", "gradio_api/queue/join", "gradio_api/run/recommend"):
        assert httpx.post(address + path, json={"data": []}).status_code == 401, path
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Accept": "application/json, text/event-stream"}
    assert "recommend" not in httpx.post(f"{address}gradio_api/mcp/", json=initialize, headers=headers).text
    assert httpx.get(f"{address}config", cookies=cookies).status_code == 200


def test_an_invalid_environment_variable_stops_the_app_with_a_message(monkeypatch, capsys):
    monkeypatch.setattr(layout, "launch", lambda *_: pytest.fail("it is launched"))
    monkeypatch.setattr(sys, "argv", ["app.py"])
    monkeypatch.setenv("SDIFF_READ_ONLY", "perhaps")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "app.py"), run_name="__main__")
    said = "sdiff: SDIFF_READ_ONLY must be one of 1, true, on, yes, 0, false, off, no, not perhaps."
    assert capsys.readouterr() == ("", f"{said}\n") and ended.value.code == 2


def test_a_password_protected_app_serves_the_same_routes_after_login_only(shut):
    address, cookies = shut
    with httpx.Client(base_url=address, timeout=30) as client:
        for method, path in map(filled, PROTECTED):
            assert client.request(method, path).status_code == 401, path
        client.cookies = cookies
        for method, path in map(filled, (*CLOSED, *MCP)):
            assert client.request(method, path, json={} if method == "POST" else None).status_code in (404, 405), path


def test_a_read_only_app_recommends_and_says_what_is_disabled(shut):
    address, cookies = shut
    config = httpx.get(f"{address}config", cookies=cookies).json()
    values = [c["props"].get("value") for c in config["components"]]
    assert values.count(gate.READ_ONLY_MESSAGE) == 2, "in Train and in Data"
    shown = {id for id in _visible(config["layout"], {c["id"]: c["props"] for c in config["components"]})}
    names = {c["props"].get("elem_id") for c in config["components"] if c["id"] in shown}
    assert "recommended" in names and not names & {"start", "own-table", "own-read", "model-name"}
    rows = Client(address, auth=("ann", "a:b"), verbose=False).predict(k=2, api_name="/recommend")
    assert len(rows) == 2


def test_a_read_only_app_refuses_uploads_in_routes_and_handlers(shut, opening, monkeypatch, tmp_path):
    address, cookies = shut
    upload = httpx.post(f"{address}gradio_api/upload", files={"files": b"user,item"}, cookies=cookies)
    assert (upload.status_code, upload.text) == (403, gate.READ_ONLY_MESSAGE)
    form = {"Content-Type": "Multipart/FORM-data; boundary=x"}
    assert httpx.post(f"{address}gradio_api/upload", content=b"", headers=form, cookies=cookies).status_code == 403
    monkeypatch.setenv("SDIFF_READ_ONLY", "1")
    table = tmp_path / "x.csv"
    table.write_text("user,item\n1,2\n")
    own = Form().drop(table)
    assert all(gate.READ_ONLY_MESSAGE in text for text in (own.start, own.check(), own.open()[1]))
    with pytest.raises(SDiffError, match="read-only"):
        list(training.train("demo", "paper", 1, 0, "", "mine", Event()))
    monkeypatch.setenv("SDIFF_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(datasets, "fetch", lambda *_: pytest.fail("nothing is downloaded"))
    with pytest.warns(UserWarning, match="read-only"):
        download("ml-100k")
    assert [key for _, key in pickers.choices([])] == ["ml-latest-small", "demo"], "missing data sets are not offered"
    with pytest.warns(UserWarning, match="ml-100k is not available locally"):
        assert last(opening.open_dataset("ml-100k", ["demo", INSTANT], []))[opening.wanted] == ""


def _visible(layout, props):
    for child in layout.get("children", []):
        if props[child["id"]].get("visible", True) is True:
            yield child["id"]
            yield from _visible(child, props)


def test_a_full_queue_refuses_new_events_and_answers_the_rest(url):
    def ask_for_a_list() -> httpx.Response:
        body = {"data": ["demo", "demo", "1", 250, 0, *[None] * 9]}  # takes much longer than sending the next request
        return client.post("gradio_api/call/recommend", json=body)

    with httpx.Client(base_url=url, timeout=60) as client:
        taken = []
        while (answer := ask_for_a_list()).status_code == 200:
            taken.append(answer.json()["event_id"])
            assert len(taken) < 2000, "never full"
        assert answer.status_code == 503 and "Queue is full" in answer.text
        for event in (taken[0], taken[-1]):
            assert "event: complete" in client.get(f"gradio_api/call/recommend/{event}").text
        assert ask_for_a_list().status_code == 200


@pytest.mark.slow
def test_the_page_reports_a_full_queue_and_recovers_on_the_next_click(profile, url):
    with profile.new_page() as page:
        page.goto(url)
        page.wait_for_selector("#recommended tbody tr")
        user = page.locator("#summary strong").first
        before = user.inner_text()
        page.route("**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "Queue is full."}))
        page.get_by_role("button", name="Heavy user").click()
        page.locator(".toast-body").get_by_text("busy").first.wait_for()  # one for each refused event
        assert user.inner_text() == before
        page.unroute("**/queue/join*")
        page.get_by_role("button", name="Heavy user").click()
        page.wait_for_function("before => document.querySelector('#summary strong').innerText !== before", arg=before)
        page.route("**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "Queue is full."}))
        page.get_by_role("tab", name="Train").click()
        page.locator("#train-best").click()
        page.get_by_text("This run could not start").wait_for()
        assert page.locator("#train-best").is_enabled() and page.locator("#stop").is_hidden()
