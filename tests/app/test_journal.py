"""The log and the health check of the app."""

import io
import json
import logging
import subprocess
import sys
import urllib.request
from contextvars import copy_context
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.context import LocalContext
from starlette.applications import Starlette
from starlette.testclient import TestClient

from sdiff.app import api, health
from sdiff.app.layout import build
from sdiff.app.page import Page
from sdiff.app.server import journal
from sdiff.app.state import serve
from sdiff.app.tabs import train as train_tab
from sdiff.base.errors import SDiffError
from tests.conftest import ROOT


@pytest.fixture
def lines(monkeypatch):
    """Starts a journal. Returns a function that parses the lines written since its last call."""

    def begun(verbose=True):
        written = io.StringIO()
        monkeypatch.setattr(sys, "stderr", written)
        monkeypatch.setattr(journal, "LOGGING_CONFIG", {"formatters": {}})
        journal.begin(verbose)

        def new():
            text = written.getvalue()
            written.seek(0)
            written.truncate()
            return [json.loads(line) for line in text.splitlines()]

        return new

    yield begun
    for log in (journal.LOG, logging.getLogger("mcp")):
        log.handlers, log.propagate = [], True


def test_a_log_line_has_the_event_and_its_duration_and_no_user_data(lines):
    new = lines()
    serve("demo", "demo")  # the first opening may be slow
    LocalContext.event_id.set("an-event")
    journal.observed(api.recommend, "recommend")("demo", "demo", "37", history=["5"])
    (line,) = new()
    assert line["event"] == "recommend" and line["id"] == "an-event" and line["level"] == "info"
    assert (line["data"], line["model"]) == ("demo", "demo") and 0 < line["ms"] < 60_000
    assert "37" not in {line[key] for key in line.keys() - {"ms", "at"}} and "history" not in line


@pytest.mark.parametrize(("name", "refused"), [("noted", False), ("diverges", True)])
def test_a_generator_event_is_logged_once_with_the_notes_of_all_steps(
    name, refused, lines, in_this_process, monkeypatch
):
    with monkeypatch.context() as patched:
        if refused:
            patched.setattr("sdiff.training.trainer.Trainer._finite", lambda trainer: False)
        with gr.Blocks():
            tab = train_tab.TrainTab(Page())
        new, train = lines(), journal.observed(tab._train, "train")
        steps = train(["demo", "demo"], "paper", 1, 0, "K=8 hidden=16", name, SimpleNamespace(session_hash=name))
        while copy_context().run(next, steps, None):
            pass  # gradio runs each step in its own context
    [line] = new()
    assert (line["event"], line["data"], line["model"]) == ("train", "demo", name)
    assert line.get("refused", "").endswith("Trainer.iter_epochs") == refused


def test_a_refusal_is_logged_and_is_not_a_failure(lines):
    api.recommend("demo", k=1)  # what a first list has to load would make it a slow event
    new = lines()
    with pytest.raises(gr.Error):
        journal.observed(api.recommend, "recommend")("demo", "nowhere")
    (line,) = new()
    assert line["level"] == "info" and line["refused"] == "sdiff.app.state.open_model" and "trace" not in line


@pytest.mark.parametrize("arguments", [{"user": "my-secret"}, {"history": ["my-secret"]}])
def test_no_line_holds_the_ids_of_a_refused_request(arguments, lines):
    new = lines()
    with pytest.raises(gr.Error, match="my-secret"):
        journal.observed(api.recommend, "recommend")("demo", "demo", **arguments)
    (line,) = new()
    assert line["refused"] == "sdiff.data.interactions.Vocabulary.encode" and "my-secret" not in str(line)


def test_a_failure_is_logged_with_its_traceback(lines):
    def fails():
        yield 1
        raise ZeroDivisionError("by zero")

    new = lines()
    with pytest.raises(ZeroDivisionError):
        list(journal.observed(fails, "play")())
    (line,) = new()
    assert line["level"] == "error" and "by zero" in line["trace"] and "Traceback" in line["trace"]


def test_without_verbose_only_slow_and_failed_events_are_logged(lines, monkeypatch):
    new = lines(verbose=False)
    quick = journal.observed(lambda: None, "quick")
    quick()
    assert new() == []
    monkeypatch.setattr(journal, "SLOW", 0)
    quick()
    assert [line["level"] for line in new()] == ["warning"]


def test_text_chosen_by_clients_is_truncated_in_the_log(lines):
    new, long = lines(), "x" * 100_000
    LocalContext.event_id.set(long)
    journal.observed(lambda: journal.note(data=long, model=long, refused=long), "long")()
    LocalContext.event_id.set(None)
    journal.refused("gate", long, long)
    logging.getLogger("mcp.server").warning("Unknown tool: %s\n{}", long)
    written = new()
    assert [line["event"][:8] for line in written] == ["long", "gate", "Unknown "], "one line each"
    for line in written:
        assert len(json.dumps(line)) < 1500 and not any(
            len(str(value)) > journal.LONGEST + 1 for value in line.values()
        )


def test_concurrent_events_do_not_share_a_log_line(lines):
    new = lines()
    first = journal.observed(lambda: (yield journal.note(data="a")), "first")()
    next(first)
    journal.observed(lambda: journal.note(model="b"), "second")()
    list(first)
    second, first = new()
    assert second["model"] == "b" and "data" not in second
    assert first["data"] == "a" and "model" not in first


def test_the_lines_of_the_web_server_are_json_too():
    script = (
        "import logging, uvicorn; from sdiff.app.server import journal; journal.begin(False); uvicorn.Config(None);"
        "logging.getLogger('uvicorn.error').warning('Unsupported upgrade request.')"
    )
    lines = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True).stderr
    assert json.loads(lines)["event"] == "Unsupported upgrade request."


def test_every_event_of_the_page_is_observed():
    functions = [event.fn for event in build().fns.values() if event.fn is not None]
    assert len(functions) > 30 and all(function.__globals__["__name__"] == journal.__name__ for function in functions)


def test_a_healthy_app_reports_ok(url):
    with urllib.request.urlopen(f"{url}health", timeout=30) as answer:
        said = json.load(answer)
    assert said["status"] == "ok" and said["training"] == 0 and said["seconds"] >= 0


def test_an_app_that_cannot_serve_reports_itself_unhealthy(monkeypatch):
    def fails(*_):
        raise SDiffError("no model")

    monkeypatch.setattr(health, "serve", fails)
    answer = TestClient(Starlette(routes=[health.ROUTE])).get("/health")
    assert answer.status_code == 503 and answer.json()["why"] == "no model"
