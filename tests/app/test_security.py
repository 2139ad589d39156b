"""Error messages to visitors say what is wrong and reveal nothing about the machine."""

from __future__ import annotations

import re

import gradio as gr
import pytest

from sdiff.app import api, layout, lifecycle
from sdiff.app.query import Query
from sdiff.app.server.public import public_message
from sdiff.base.errors import SDiffError
from sdiff.base.terminal import OUTPUT
from tests.conftest import ROOT


def test_error_messages_contain_no_path_of_the_machine(tmp_path):
    words = public_message(
        SDiffError(f"Cannot read {tmp_path}/file.csv, {ROOT}/runs/x or /home/me/y.csv: see https://x.org/a/b.")
    )
    assert words == "Cannot read file.csv, x or y.csv: see https://x.org/a/b."


def test_error_messages_are_shown_only_without_paths():
    sources = sorted((ROOT / "sdiff" / "app").rglob("*.py"))
    assert len(sources) > 20
    for path in sources:
        shown = re.findall(r"(?:Warning|Info|Error|escape|_message)\(str\(error\)", path.read_text(encoding="utf-8"))
        assert not shown, path.name


@pytest.mark.parametrize(
    ("endpoint", "given", "said"),
    [
        ("recommend", {"k": 0}, "k must be a whole number between 1 and 10,000"),
        ("recommend", {"k": 10**400}, "k must be"),
        ("recommend", {"k": "20"}, "k must be"),
        ("recommend", {"k": None}, "k must be"),
        ("recommend", {"k": True}, "k must be"),
        ("recommend", {"k": float("nan")}, "k must be"),
        ("recommend", {"seed": -1}, "seed must be"),
        ("recommend", {"seed": 2**64}, "seed must be"),
        ("recommend", {"user": None}, "user must be text"),
        ("recommend", {"user": ["1"]}, "user must be text"),
        ("recommend", {"user": "x" * 10_000}, "user is longer than 2,000"),
        ("recommend", {"dataset": {"a": 1}}, "dataset must be text"),
        ("recommend", {"checkpoint": 1.5}, "model must be text"),
        ("recommend", {"history": "1"}, "history must be a list"),
        ("recommend", {"history": [[1]]}, "each of history must be text"),
        ("recommend", {"history": ["1"] * 200_000}, "history has more than"),
        ("recommend", {"T": "many"}, "T must be a number"),
        ("recommend", {"T": 1.5}, "T must be a whole number"),
        ("recommend", {"T": float("inf")}, "T must be"),
        ("recommend", {"T": 10**400}, "T must be"),
        ("recommend", {"T": float("nan")}, "T must be"),
        ("recommend", {"T": [1]}, "T must be"),
        ("recommend", {"alpha_min": 1.01}, "alpha_min must be between 0 and 1"),
        ("search_items", {"limit": -5}, "limit must be"),
        ("search_items", {"limit": 1e9}, "limit must be"),
        ("search_items", {"question": 5.5}, "question must be text"),
        ("search_items", {"question": "x" * 10**6}, "question is longer"),
        ("explain", {"item": None}, "item must be text"),
        ("compare", {"other": []}, "model must be text"),
        ("compare", {"other": "demo", "other_settings": {"T": -1}}, "T must be"),
        ("compare", {"other": "demo", "other_settings": '{"T": 1}'}, "other_settings must be an object"),
        ("compare", {"other": "demo", "other_settings": {"Tau": 1}}, "Unknown setting 'Tau': did you mean tau?"),
        ("compare", {"other": "demo", "other_settings": {"K": 100000}}, "K is fixed"),
        ("compare", {"other": "popularity", "other_settings": {"T": 1}}, "popularity is a baseline without settings"),
        ("compare", {"other": "demo", "other_settings": {"schedule": {}}}, "schedule must be one of"),
        ("similar_items", {"item": None}, "item must be text"),
        ("similar_items", {"item": "none such"}, "Unknown item none such"),
        ("similar_items", {"item": "7", "limit": 0}, "limit must be"),
        ("leaderboard", {"dataset": []}, "dataset must be text"),
        ("spectrum", {"seed": 1.5}, "seed must be"),
        ("list_checkpoints", {"dataset": None}, "dataset must be text"),
    ],
)
def test_an_endpoint_reports_what_is_wrong_with_a_value(endpoint, given, said):
    with pytest.raises(gr.Error, match=re.escape(said)) as refusal:
        getattr(api, endpoint)(**given)
    assert len(refusal.value.message) < 500 and "Traceback" not in refusal.value.message


def test_whole_numbers_may_be_sent_as_floats():
    assert api.recommend(user=1, k=3.0, history=[1, "2"]) == api.recommend(user="1", k=3, history=["1", "2"])


@pytest.mark.parametrize("name", ["explain", "similar_items"])
def test_a_named_call_without_a_needed_parameter_is_refused(client, name):
    found = client.post(f"/gradio_api/call/v2/{name}", json={})
    assert found.status_code == 422 and f"{name} needs the parameter item" in found.text


def test_half_a_character_in_a_state_is_refused():
    with pytest.raises(SDiffError, match="not valid text"):
        Query.decode("user=\ud800")


def test_an_output_that_cannot_be_written_is_not_taken_for_a_taken_port(monkeypatch):
    def launch(demo, verbose):
        raise OSError(28, "No space left on device", OUTPUT)

    checks = []
    monkeypatch.setattr(lifecycle, "check_address", lambda: checks.append(1))
    monkeypatch.setattr(lifecycle, "end_on_signals", lambda demo: None)
    monkeypatch.setattr(lifecycle, "_share_heap", lambda: None)
    monkeypatch.setattr(layout, "build", lambda: None)
    monkeypatch.setattr(layout, "launch", launch)
    with pytest.raises(OSError, match="No space"):
        lifecycle.serve(verbose=False)
    assert len(checks) == 1
