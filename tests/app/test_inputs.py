"""Invalid requests get a message, no traceback and no status 500, and nothing of them is kept."""

from __future__ import annotations

import functools
import itertools
import json
import math
import random
from collections import Counter
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import gradio as gr
import orjson
import pytest
from gradio.utils import LRUCache

from sdiff.app.labels import TABS
from sdiff.app.page import Page
from sdiff.app.query import Query
from sdiff.app.server import inputs
from sdiff.app.tabs import train as train_tab
from sdiff.base.errors import SDiffError
from tests.conftest import ROOT

JSON = {"Content-Type": "application/json"}
ODD: list[Any] = [None, True, -1, 0.5, 1e300, 2**60, "", "x", "\0", "é" * 50, "9" * 20_000, [], [[]], [None], {}]
ODD += [["demo", "instant"], ["demo", 5], ["demo", "instant", ["1", {}]], {"path": "/etc/passwd"}, [[[[[1]]]]]]
ODD += [{"path": "x", "meta": {"_type": "gradio.FileData"}}, {"path": [], "meta": {"_type": "gradio.FileData"}}]
DEEP = functools.reduce(lambda inner, _: [inner], range(200), 1)
LONG = "own:0123456789abcdef/" + "x" * 300  # a key too long for a folder name
ODD += [2.5, 1e15, DEEP, "[" * 100_000, '{"address":' * 10_000, "x" * 300, LONG, [LONG, "instant"], ["demo", "x" * 300]]
ODD += [[LONG], ["demo", "1", ["x" * 300]]]
SLOW = {"measure", "_train", "_train_best"}


STATE = json.dumps({"address": Query("demo", "demo", "7").encode()})  # of a list


def defaults(fn) -> list[Any]:
    """The inputs of an event on an unchanged page with a list."""
    shown = {f"due-{tab}": STATE for tab in TABS} | {"list-state": STATE, "b-model": "popularity", "c-model": "-"}
    return [shown.get(each.elem_id) or orjson.loads(orjson.dumps(each.value)) for each in fn.inputs]


def answer(client, fn, data: Any, session: str, **body: Any) -> str:
    """The answer to an event of the page."""
    body = {"fn_index": fn._id, "data": data, "session_hash": session, "event_data": {"item": "1"}} | body
    joined = client.post("/gradio_api/queue/join", json=body)
    if joined.status_code != 200:
        assert 400 <= joined.status_code < 500, joined.text
        return joined.text
    return client.get(f"/gradio_api/queue/data?session_hash={session}").text


def events(demo) -> list[Any]:
    """Events of the page and the API that are fast."""
    return [fn for fn in demo.fns.values() if fn.fn and fn.api_name not in SLOW]


@pytest.mark.slow
def test_every_event_accepts_what_the_page_sends(demo, client, capsys):
    refused = {}
    for n, fn in enumerate(events(demo)):
        text = answer(client, fn, defaults(fn), f"usual{n}")
        if '"success":true' not in text:
            refused[fn.api_name] = text.partition('"error":')[2].partition('"')[2].partition('"')[0]
    assert refused.keys() == {"explain", "similar_items"}, "these two need an item"
    assert "Traceback" not in (written := capsys.readouterr().err), written


def test_a_click_before_the_page_has_loaded_causes_no_traceback(demo, client, capsys, caplog):
    for n, fn in enumerate(events(demo)):
        text = answer(client, fn, [orjson.loads(orjson.dumps(each.value)) for each in fn.inputs], f"early{n}")
        assert "process_completed" in text and "Traceback" not in text, fn.api_name
    assert not [record.getMessage() for record in caplog.records if record.exc_info]
    assert "Traceback" not in (written := capsys.readouterr().err), written


def plausible(component) -> list[Any]:
    """Unusual values of the type of an input of the page."""
    _, takes = inputs.PARTS.get(component.elem_id) or inputs.KINDS[type(component)]
    multiple = getattr(component, "multiselect", False)
    return [value for value in ODD if (isinstance(value, list) if multiple else takes(value))]


@pytest.mark.slow
def test_invalid_event_values_get_a_message_and_no_traceback(demo, client, capsys, caplog):
    rng, asked = random.Random(0), 0
    takers = Counter(each for fn in events(demo) for each in fn.inputs)
    untried = {each: plausible(each) for each in takers}  # each input gets all of them, from one event or another
    for n, fn in enumerate(events(demo)):
        usual = defaults(fn)
        odd = [[], [*usual, 1], {}, None, "x"] if usual else [[1]]
        for place, each in enumerate(fn.inputs):
            values = [untried[each].pop() for _ in range(math.ceil(len(untried[each]) / takers[each]))]
            values += [rng.choice(ODD)] if rng.random() < 0.2 else []
            takers[each] -= 1
            odd += [[*usual[:place], value, *usual[place + 1 :]] for value in values]
        asked += len(odd)
        for data in odd:
            text = answer(client, fn, data, f"odd{n}")
            assert "Traceback" not in text and str(ROOT) not in text and "site-packages" not in text
    assert asked > 500 and not any(untried.values())
    assert not [record.getMessage() for record in caplog.records if record.exc_info]
    assert "Traceback" not in (written := capsys.readouterr().err), written


def test_invalid_values_that_once_caused_errors_get_a_message(demo, client, capsys, caplog):
    handlers = {
        "mapped": ("wave-x", [2.5, 2.0]),
        "call": ("list-state", ["[" * 100_000, '{"address":' * 10_000]),
        "recommend": ("opened", [[LONG, "instant"], ["demo", "x" * 300]]),
    }
    for n, (name, (part, values)) in enumerate(handlers.items()):
        fn = next(fn for fn in demo.fns.values() if part in [each.elem_id for each in fn.inputs] and fn.name == name)
        place = [each.elem_id for each in fn.inputs].index(part)
        for value in values:
            usual = defaults(fn)
            text = answer(client, fn, [*usual[:place], value, *usual[place + 1 :]], f"once{n}")
            assert "process_completed" in text and "Traceback" not in text, (name, value)
    text = client.post("/gradio_api/call/recommend", json={"data": [LONG, "instant", "1", 20, 0, *[None] * 9]}).json()
    assert "Unknown data set" in client.get(f"/gradio_api/call/recommend/{text['event_id']}").text
    assert not [record.getMessage() for record in caplog.records if record.exc_info]
    assert "Traceback" not in (written := capsys.readouterr().err), written


def test_a_value_outside_the_choices_of_a_dropdown_is_refused(demo, client, capsys):
    """Gradio no longer checks the choices. Handlers that check a choice later have their own tests."""
    names = ("_open", "_show", "open_dataset", "choose_checkpoint", "_train", "choose_B", "choose_C", "measure")
    by_handler = dict.fromkeys(names, "gone") | {"recommend_1": ["gone"]}
    for fn in demo.fns.values():
        choice = by_handler.pop(fn.api_name, None) if fn.fn else None
        many = isinstance(choice, list)
        for place, each in enumerate(fn.inputs if choice else ()):
            if isinstance(each, gr.Dropdown) and bool(each.multiselect) is many:
                data = defaults(fn)
                data[place] = choice
                if fn.api_name.startswith("choose_"):  # the choice of the other side may be what is shown already
                    dropdowns = [isinstance(part, gr.Dropdown) for part in fn.inputs]
                    data = [choice if each else value for each, value in zip(dropdowns, data, strict=True)]
                data = ["7" if part.elem_id == "user" else value for part, value in zip(fn.inputs, data, strict=True)]
                assert "gone" in (said := answer(client, fn, data, f"{fn.api_name}{place}")), (fn.api_name, said)
    assert not by_handler, "all of them are events of the page"
    assert "Traceback" not in (written := capsys.readouterr().err), written


@pytest.mark.parametrize("id", ["", "x" * 65, "x" * (3 << 20), "a b", "a/b", "é", "a\n", 5, ["x"], {}])
def test_a_malformed_id_is_refused_everywhere(client, demo, id):
    def kept() -> list[int]:
        places = demo._queue.pending_messages_per_session, demo.state_holder.session_data, train_tab._waiting
        return [len(place) for place in places]

    before = kept()
    enlist = next(fn for fn in demo.fns.values() if fn.api_name == "_enlist")
    for path, body in (
        ("queue/join", {"data": [], "fn_index": enlist._id, "session_hash": id}),
        ("queue/join", {"data": [], "fn_index": enlist._id, "session_hash": "x", "event_id": id}),
        ("run/_enlist", {"data": [], "session_hash": id}),
        ("call/list_datasets", {"data": [], "session_hash": id}),
        ("cancel", {"session_hash": id, "fn_index": 1, "event_id": "x"}),
        ("cancel", {"session_hash": "x", "fn_index": 1, "event_id": id}),
        ("reset", {"event_id": id}),
    ):
        assert client.post(f"/gradio_api/{path}", json=body).status_code == 422, path
    if isinstance(id, str) and len(id) < 100:
        for path in ("queue/data", "upload_progress"):
            name = "session_hash" if path == "queue/data" else "upload_id"
            assert client.get(f"/gradio_api/{path}", params={name: id}).status_code == 422, path
        form = {"files": ("x.csv", b"x")}
        assert client.post("/gradio_api/upload", params={"upload_id": id}, files=form).status_code == 422
        for path in ("heartbeat/", "call/recommend/"):
            assert client.get(f"/gradio_api/{path}{quote(id, safe='')}").status_code in (404, 405, 422), path
    assert kept() == before


def test_other_parameters_cannot_hide_a_malformed_id(client):
    for address in (
        "call/recommend/a%20b?event_id=a",
        "queue/data?session_hash=a%20b&session_hash=a",
        "queue/data?session_hash=a&session_hash=a%20b",
        "heartbeat/a%20b?session_hash=a",
    ):
        assert client.get(f"/gradio_api/{address}").status_code == 422, address


@pytest.mark.parametrize(
    "types",
    [
        ["application/json; x=form"],
        ["multipart/form-data; boundary=x"],
        ["application/x-www-form-urlencoded"],
        ["application/json", "multipart/form-data; boundary=x"],
        ["multipart/form-data; boundary=x", "application/json"],
        ["text/plain"],
        [],
    ],
)
@pytest.mark.parametrize("path", ["queue/join", "run/recommend", "call/recommend", "call/v2/recommend", "cancel"])
def test_no_content_type_disables_a_check(client, demo, path, types):
    before = len(demo.state_holder.session_data)
    body = orjson.dumps({"data": [], "fn_index": 2, "session_hash": "x" * 65, "event_id": "x"})
    answer = client.post(f"/gradio_api/{path}", content=body, headers=[("Content-Type", each) for each in types])
    assert answer.status_code in (415, 422), answer.text
    assert isinstance(answer.json()["detail"], str), "one message"
    assert len(demo.state_holder.session_data) == before


def test_only_the_pressed_item_of_event_data_is_kept(demo, client, monkeypatch):
    kept, push = [], demo._queue.push

    async def pushed(body, **named):
        kept.append(body.event_data)
        return await push(body=body, **named)

    monkeypatch.setattr(demo._queue, "push", pushed)
    for fn in events(demo)[:8] + [fn for fn in demo.fns.values() if fn.collects_event_data]:
        answer(client, fn, [], "events", event_data={"item": "1", "more": ["x" * 100_000]})
        assert kept.pop() == ({"item": "1"} if fn.collects_event_data else None)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        *(("queue/join", body, 400) for body in ("{", "", "[" * 100_000, "[" * 500 + "]" * 500, '{"data": [NaN]}')),
        *(("call/recommend", body, 400) for body in ('{"data": ["\\ud800"]}', '{"data": [1e999]}', "\xff")),
        *(("queue/join", body, 422) for body in ("[]", "null", "5", '"x"', '{"fn_index": 2, "session_hash": "x"}')),
        *(
            ("queue/join", f'{{"data": [], "session_hash": "x", "fn_index": {n}}}', 404)
            for n in (999, -1, "null", '"2"')
        ),
        *(
            ("queue/join", f'{{"data": {data}, "session_hash": "x", "fn_index": 2}}', 422)
            for data in ("5", "{}", "null")
        ),
        *((f"{verb}/{name}", '{"data": []}', 404) for verb in ("call", "call/v2", "run") for name in ("x", "..", "5")),
        *((f"call/v2/{name}", '{"nothing": 1}', 422) for name in ("recommend", "list_datasets")),
        *(("cancel", body, 422) for body in ("{}", '{"session_hash": "x"}')),
        *(("mcp/", body, 400) for body in ("{", "[" * 300 + "]" * 300)),
        *(("mcp/", body, 422) for body in ("[]", "{}", '{"method": "x"}', '{"result": {}}', '{"method": 5}')),
        *(
            ("mcp/", f'{{"method": "tools/call", "params": {params}}}', 422)
            for params in ("{}", '"x"', '{"name": "a\\nb"}', '{"name": "recommend", "arguments": [1]}')
        ),
        ("queue/join", f'{{"data": [{"[]," * 200_000}[]]}}', 413),
    ],
)
def test_a_request_for_an_unknown_event_is_refused_with_a_reason(client, capsys, path, body, status):
    answer = client.post(f"/gradio_api/{path}", content=body.encode("latin-1"), headers=JSON)
    assert answer.status_code == status, answer.text
    assert "Traceback" not in answer.text and "Traceback" not in capsys.readouterr().err


def test_no_stream_opens_for_an_unknown_session(client):
    for path in ("queue/data?session_hash=nobody", "call/recommend/nobody", "call/v2/nobody"):
        assert client.get(f"/gradio_api/{path}").status_code == 404


def test_a_press_event_names_its_item(demo, client):
    presses = [fn for fn in demo.fns.values() if fn.collects_event_data]
    assert len(presses) == 5
    for fn, data in itertools.product(
        presses, [None, 5, "x", {}, {"item": None}, {"item": ["1"]}, {"item": "x" * 2001}]
    ):
        text = answer(client, fn, defaults(fn), "presses", event_data=data)
        assert "must contain the id of the pressed item" in text


def test_every_input_of_the_page_has_a_validator(demo):
    for fn in demo.fns.values():
        for each in fn.inputs if fn.fn else ():
            inputs.kind_of(each)


def test_an_integer_control_refuses_fractions(demo):
    parts = {each.elem_id: each for fn in demo.fns.values() for each in fn.inputs}
    for part in ("wave-x", "T", "k", "epochs", "own-core"):
        assert inputs.checked([parts[part]], [2.0]) == [2] and isinstance(parts[part].preprocess(2.0), int)
        with pytest.raises(SDiffError, match="must be a whole number"):
            inputs.checked([parts[part]], [2.5])


def test_only_handlers_that_set_flags_bypass_the_queue(demo):
    names = {fn.name for fn in demo.fns.values() if fn.fn and not fn.queue}
    assert names == {"_enlist", "_idle", "_stop", "stopped", "waiting"}


def test_valid_values_pass_the_checks_unchanged():
    values = [None, 2.5, 3, True, ["a"], "a", {"path": "x"}, ["k"]]
    with gr.Blocks():
        fields = [gr.Number(), gr.Number(), gr.Slider(), gr.Checkbox(), gr.Dropdown(["a"], multiselect=True)]
        fields += [gr.Dropdown(["a"]), gr.File(), gr.BrowserState([])]
        text = gr.Textbox()
    assert inputs.checked(fields, values) == values
    assert inputs.checked([text], [None]) == [""], "an input that was never filled"
    for field, odd in ((fields[2], True), (fields[2], None), (fields[0], 2**60), (text, "x" * (inputs.LONG + 1))):
        with pytest.raises(SDiffError, match="must be a"):
            inputs.checked([field], [odd])


def test_waiting_runs_are_bounded_by_the_size_of_the_queue(monkeypatch):
    monkeypatch.setattr(train_tab, "_waiting", LRUCache(train_tab._waiting.max_size))
    with gr.Blocks():
        tab = train_tab.TrainTab(Page())
    for n in range(80):
        tab._enlist(SimpleNamespace(session_hash=f"s{n}"))  # pyright: ignore[reportArgumentType]
    assert list(train_tab._waiting) == [f"s{n}" for n in range(16, 80)]


def test_the_state_of_a_tab_may_hold_a_long_history(demo, client):
    long = Query("demo", "demo", "7", [str(n) for n in range(1, 1100)] * 2)
    (plots,) = (fn for fn in demo.fns.values() if fn.api_name == "plots")
    text = answer(client, plots, [json.dumps({"address": long.encode(), "trained": {}, "idle": {}})], "long")
    assert '"success":true' in text and "at most" not in text
