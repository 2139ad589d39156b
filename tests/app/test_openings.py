"""Opening data sets: one computation for all waiters, none without waiters, and other requests are served."""

from __future__ import annotations

import asyncio
import json
import os
import pkgutil
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from cachetools import LRUCache
from gradio_client.exceptions import AppError
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from starlette.datastructures import QueryParams

from benchmarks.app import Page as VisitedPage
from sdiff import SDiffError
from sdiff.app import api, controls, endpoints, layout, state
from sdiff.app.controls import Controls
from sdiff.app.handlers import explanations, openings, pickers, ranking
from sdiff.app.page import Page
from sdiff.app.query import Query
from sdiff.app.state import INSTANT
from sdiff.app.uploads import store
from sdiff.app.views import figures
from sdiff.base.paths import CHECKPOINTS, uploads_dir
from sdiff.data.datasets import Dataset, load_dataset
from sdiff.data.reading import Reading
from sdiff.training import validate
from tests.conftest import last, real_data, run
from tests.form import Form
from tests.page import changed, move, open_tab, settle, titles


class Reader:
    """Reads a small data set on each call, once allowed."""

    def __init__(self, key: str) -> None:
        self.key, self.times, self.may = key, 0, threading.Event()

    def __call__(self) -> Dataset:
        self.times += 1
        assert self.may.wait(60)
        return small(self.key)


def small(key: str) -> Dataset:
    demo = load_dataset("demo")
    return Dataset(key, key, "", demo.split, demo.items)


@pytest.fixture
def blocked(in_this_process, request):
    """A data set whose opening waits until `may` is set."""
    reader = Reader(request.node.name)
    yield reader
    reader.may.set()


async def wait(reader: Reader) -> None:
    async for _ in openings.join_opening(reader.key, reader):
        pass


def test_a_data_set_is_opened_once_for_concurrent_requests(blocked):
    async def visits() -> None:
        waiting = [asyncio.create_task(wait(blocked)) for _ in range(5)]
        await asyncio.sleep(2 * openings.TICK)
        blocked.may.set()
        await asyncio.gather(*waiting)

    run(visits())
    assert blocked.times == 1 and state.is_open(blocked.key)
    assert len(state.open_dataset(blocked.key).instant().recommend(["5"], 3).ids) == 3


def test_open_data_sets_are_served_while_others_are_being_opened(blocked, monkeypatch):
    monkeypatch.setattr(openings, "_loader", lambda key: blocked)
    served = endpoints.served(api.recommend)

    async def visits() -> None:
        waiting = [asyncio.create_task(served(dataset=blocked.key)) for _ in range(20)]
        await asyncio.sleep(2 * openings.TICK)
        assert len(await served("demo", k=3)) == 3
        assert not any(task.done() for task in waiting)
        threads = threading.active_count()
        blocked.may.set()
        answers = await asyncio.gather(*waiting)
        assert all(answer == answers[0] and len(answer) == 20 for answer in answers)
        assert threads < 20, "waiters use no thread"

    run(visits())


def test_a_failed_opening_is_reported_to_all_waiters_and_retried_by_the_next(in_this_process):
    times = []

    def faulty() -> Dataset:
        times.append(time.sleep(openings.TICK))
        raise SDiffError("Mend the file.")

    async def visits() -> list:
        async def visit() -> None:
            async for _ in openings.join_opening("faulty", faulty):
                pass

        return [await asyncio.gather(visit(), visit(), return_exceptions=True) for _ in range(2)]

    assert [[str(error) for error in errors] for errors in run(visits())] == [["Mend the file."] * 2] * 2
    assert len(times) == 2 and not state.is_open("faulty")


def endless(note: Path) -> Dataset:
    note.write_text(str(os.getpid()))
    while True:
        time.sleep(0.05)


@pytest.mark.slow
def test_an_opening_continues_until_its_last_waiter_leaves(tmp_path):
    note = tmp_path / "process"

    async def visits() -> int:
        first, second = (openings.join_opening("endless", partial(endless, note)) for _ in range(2))
        await anext(first), await anext(second)
        while not (note.exists() and note.read_text()):
            await anext(first)
        process = int(note.read_text())
        await first.aclose()
        await anext(second)
        os.kill(process, 0)
        await second.aclose()
        return process

    process = run(visits())
    end = time.monotonic() + 30
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert not state.is_open("endless")


def test_lists_are_answered_however_many_requests_wait_for_a_data_set(in_this_process, client, monkeypatch):
    """Uses the app's queue, which holds a limited number of events."""
    may = threading.Event()

    def faulty() -> Dataset:
        assert may.wait(60)
        raise SDiffError("Mend the file.")

    monkeypatch.setattr(openings, "_loader", lambda key: faulty)
    asked = ("recommend", "explain", "search_items")

    def ask(name: str, **values) -> str:
        answer = client.post(f"/gradio_api/call/v2/{name}", json=values)
        assert answer.status_code == 200, answer.text
        return answer.json()["event_id"]

    needed = {"recommend": {}, "explain": {"item": "5"}, "search_items": {"question": "nebula"}}
    for _ in range(30):
        for name in asked:
            ask(name, dataset="faulty", **needed[name])
    queue = client.app.get_blocks()._queue
    end = time.monotonic() + 30
    while len(queue):
        assert time.monotonic() < end, "events still wait in the queue"
        time.sleep(0.05)
    answer = client.get(f"/gradio_api/call/recommend/{ask('recommend', k=3)}").text
    assert "event: complete" in answer and not may.is_set()
    may.set()
    while any(queue.active_jobs):
        assert time.monotonic() < end, "events without a data set continue"
        time.sleep(0.05)


def test_a_page_is_answered_while_another_visitor_waits_for_a_data_set(blocked, monkeypatch):
    """Uses pages with their own events, as a browser does."""
    monkeypatch.setattr(state, "_open_datasets", LRUCache(state.MAX_OPEN))
    loader = openings._loader
    monkeypatch.setattr(openings, "_loader", lambda key: blocked if key == "ml-1m" else loader(key))
    app = layout.build().queue()
    app.launch(prevent_thread_lock=True, quiet=True)
    try:
        with (
            closing(VisitedPage(app.local_url, {"dataset": "ml-1m"})) as waiting,
            closing(VisitedPage(app.local_url, {"dataset": "demo", "model": "demo", "user": "7"})) as other,
        ):

            def wait() -> None:
                with suppress(AppError, RuntimeError):  # it gets no data set in the end, and the page is closed
                    waiting.load()

            def look() -> None:
                other.load()
                other.fill("k", 7)
                other.trigger("k", "release")

            waits, looks = (threading.Thread(target=visit, daemon=True) for visit in (wait, look))
            try:
                waits.start()
                end = time.monotonic() + 30
                while not blocked.times:
                    assert time.monotonic() < end, "the other data set is not being opened"
                    time.sleep(0.05)
                looks.start()
                looks.join(30)
                assert not looks.is_alive() and other.value("recommended").count("data-item=") == 7
                assert waits.is_alive()
            finally:
                blocked.may.set()
                waits.join(1)
    finally:
        app.close()


@pytest.mark.parametrize(
    ("kept", "ask", "work"),
    [
        (state._embedded, lambda: state._embedded("demo"), "load_dataset"),
        (state._instant, lambda: state._instant("demo"), "opened_here"),
        (state._model, lambda: state.open_model("demo", "demo"), "Recommender.load"),
    ],
    ids=["data set", "closed form", "model"],
)
def test_what_several_visitors_need_at_once_is_computed_once(kept, ask, work, monkeypatch):
    asked, name = [], f"sdiff.app.state.{work}"
    compute = pkgutil.resolve_name(name)

    def slowly(*arguments: Any) -> Any:
        asked.append(arguments)
        time.sleep(0.3)
        return compute(*arguments)

    monkeypatch.setattr(name, slowly)
    kept.cache_clear()
    with ThreadPoolExecutor(4) as visitors:
        answers = [*visitors.map(lambda _: ask(), range(4))]
    assert len(asked) == 1 and all(answer is answers[0] for answer in answers)


def test_a_cancelled_waiter_leaves_the_queue(blocked, monkeypatch):
    turns = threading.Semaphore(1)
    monkeypatch.setattr(openings, "_turns", turns)

    async def visits() -> None:
        first = asyncio.create_task(wait(blocked))
        await asyncio.sleep(2 * openings.TICK)
        others = [openings.join_opening(f"other {n}", Reader(f"other {n}")) for n in range(5)]
        for other in others:
            assert (await anext(other)).words == "waiting for other data sets"
            await other.aclose()
        end = time.monotonic() + 10
        while any(key.startswith("other") for key in openings._openings):
            assert time.monotonic() < end, "openings do not block"
            await asyncio.sleep(openings.TICK)
        blocked.may.set()
        await first

    run(visits())
    assert blocked.times == 1 and turns.acquire(blocking=False)


@pytest.mark.parametrize("leaves", [False, True])
def test_an_upload_that_cannot_be_opened_leaves_no_files(in_this_process, tmp_path, monkeypatch, leaves):
    """The process fails after storing the files, or the visitor leaves."""
    monkeypatch.setenv("SDIFF_RUNS_DIR", str(tmp_path / "runs"))
    kept, may = threading.Event(), threading.Event()

    def fails(dataset: Dataset, folder: Path):
        assert [*(tmp_path / "runs").rglob("interactions.csv")]
        kept.set()
        assert may.wait(60)
        raise SDiffError("Too little to learn from.")

    monkeypatch.setattr(state, "prepared", fails)
    form = Form().drop(table(tmp_path / "read.csv"))

    async def visit() -> str:
        reading = form.own._open(form.values)
        while not kept.is_set():
            await anext(reading)
        if leaves:
            await reading.aclose()
        may.set()
        return [said async for said in reading][-1][1] if not leaves else ""

    words = run(visit())
    assert leaves or "Too little to learn from." in words
    end = time.monotonic() + 10
    while [*(tmp_path / "runs" / "uploads").iterdir()]:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_list_does_not_open_a_data_set_that_is_not_in_memory(tmp_path):
    with pytest.raises(SDiffError, match="reload the page"):
        ranking.recommend(Query("steam", INSTANT, "1"))


def test_the_least_recently_used_data_set_is_evicted(monkeypatch):
    monkeypatch.setattr(state, "_open_datasets", LRUCache(state.MAX_OPEN))
    held = state.open_dataset("demo")
    for n in range(state.MAX_OPEN):
        state.keep_open(f"set {n}", held)
    state.open_dataset("set 0")
    state.keep_open("one more", held)
    assert state.is_open("set 0") and state.is_open("one more") and not state.is_open("set 1")


def table(path: Path, rows: int = 8, items: str = "") -> Path:
    path.write_text("user,item\n" + "".join(f"v{u},t{(u + n) % 12}\n" for u in range(24) for n in range(rows)) + items)
    return path


def test_a_refused_table_is_not_kept(in_this_process, tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_RUNS_DIR", str(tmp_path / "runs"))
    for faulty in ("u,\n", ""):  # a row without an item; then too few users and items for the core
        path = table(tmp_path / "refused.csv", items=faulty)
        key, _ = Form().drop(path).set(core=1 if faulty else 99).open()
        assert key == "" and not [*(tmp_path / "runs").rglob("interactions*")]
    path = table(tmp_path / "read.csv")
    key, _ = Form().drop(path).open()
    assert (store.folder_of(key, uploads_dir()) / "interactions.csv").read_text() == path.read_text()


@pytest.mark.parametrize("field", ["encoding", "user", "item", "rating", "timestamp", "items_title", "split"])
@pytest.mark.parametrize("choice", ["gone", "\0"])
def test_an_unknown_choice_of_the_form_is_refused(field, choice, in_this_process, tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_RUNS_DIR", str(tmp_path / "runs"))
    form = Form().drop(table(tmp_path / "mine.csv"))
    form.values[form.own.fields[field]] = choice
    key, said = form.open()
    assert key == "" and repr(choice).strip("'") in said.replace("\0", "\\x00"), said


def test_an_endpoint_defaults_to_the_model_and_user_of_the_page(in_this_process, tmp_path):
    opened = state.opened_here(lambda: store.keep(table(tmp_path / "mine.csv"), None, Reading(), uploads_dir()))
    state.keep_open(key := opened.dataset.key, opened)
    assert len(api.recommend(key, k=3)) == 3, "by the untrained model, the only one"
    assert len(api.spectrum(key)["eigenvalues"]) <= 12


def test_checkpoints_are_sorted_best_first(tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_RUNS_DIR", str(tmp_path))
    for name, reached in (("a", "0.1"), ("b", "0.3"), ("c", "NaN"), ("d", "0.2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"provenance": {"dataset": "demo"}}')
        (tmp_path / name / "metrics.json").write_text(f'{{"valid": {{"recall@20": {reached}}}}}')
    names = [*state.checkpoints("demo")]
    assert [name for name in names if name in "abcd"] == ["b", "d", "a", "c"]
    assert names[0] == "demo", "shipped models come before those of visitors"


def test_a_list_reads_only_the_files_of_its_own_model(tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_RUNS_DIR", str(tmp_path))
    for name in ("mine", "other", "third"):
        shutil.copytree(CHECKPOINTS / "demo", tmp_path / name)
    read, head = [], validate._head
    monkeypatch.setattr(validate, "_head", lambda path: read.append(path.parent.name) or head(path))
    query = Query("demo", "mine", pickers.pick_user("demo", "typical"))
    for make in (ranking.recommend, ranking.recommend, lambda query: explanations.why(query, "5")):
        make(query)
    assert {*read} == {"mine"}
    assert {"mine", "other", "third"} <= {*pickers.models("demo")} and {*read} > {"mine", "other"}


@pytest.mark.parametrize("name", ["", ".", "..", "../demo", "/", "no/such", "\0", "x" * 5000, "\ud800", "absent"])
def test_an_unknown_model_name_is_refused(name, tmp_path, monkeypatch):
    """Even if its path leads to a checkpoint outside the folder of models."""
    shutil.copytree(CHECKPOINTS / "demo", tmp_path / "demo")
    monkeypatch.setenv("SDIFF_RUNS_DIR", str(shutil.copytree(tmp_path / "demo", tmp_path / "runs")))
    shutil.copy(tmp_path / "demo" / "config.json", tmp_path)
    with pytest.raises(SDiffError, match="There is no checkpoint"):
        state.open_model(name, "demo")


def test_an_edited_history_without_own_items_has_no_held_out_items():
    user = pickers.pick_user("demo", "typical")
    own = state.open_dataset("demo").history(user)
    strangers = [id for id in state.open_dataset("demo").dataset.split.items.ids if id not in own][:5]
    for whose, history in ((user, []), (user, strangers), ("", own)):
        found = ranking.recommend(Query("demo", "demo", whose, history))
        assert not any(row.held_out for row in found.recommendations) and "no held-out items" in found.summary
    found = ranking.recommend(Query("demo", "demo", user, own[1:]))
    assert "of the 10 held-out items" in found.summary and any(row.held_out for row in found.recommendations)


def test_a_url_with_an_unknown_item_and_no_user_opens_with_a_typical_user(opening):
    request = SimpleNamespace(query_params=QueryParams("dataset=demo&model=demo&item=none-such"))
    parts = last(opening.open_page(request, ["demo", INSTANT], []))
    assert parts[opening.page.user] == pickers.pick_user("demo", "typical") and parts[opening.page.edited] is None


def test_settings_of_a_url_that_have_no_control_are_named_and_left_out(monkeypatch):
    told = []
    monkeypatch.setattr(controls.gr, "Warning", lambda words, **_: told.append(words))
    query = controls.adjustable(Query("demo", "demo", settings={"schedule": "ve", "T": "3"}))
    assert query.settings == {"T": "3"} and ["schedule" in words for words in told] == [True]
    assert controls.adjustable(query) == query and len(told) == 1


def test_a_newly_opened_data_set_shows_no_list_of_the_previous_one(opening):
    parts = last(opening.open_dataset("demo", ["demo", INSTANT], []))
    assert [parts[part] for part in opening.emptied] == [""] * 3


def test_a_cancelled_opening_restores_the_page_or_opens_the_default(opening):
    page, parts = opening.page, last(opening.cancel("{}", ["demo", "demo"], []))
    picker = parts[page.dataset]
    assert picker.value == "demo" and picker.interactive and not parts[page.status].visible
    assert not parts.keys() & {*opening.emptied}, "the list stays"
    parts = last(opening.cancel("", ["demo", "demo"], []))
    assert parts[page.dataset].value == "demo" and parts[page.user] in state.open_dataset("demo").dataset.split.users


def test_a_year_range_is_taken_in_either_order():
    with gr.Blocks():
        page = Page()
        panel = page.controls = Controls()
    usual = {part: part.value for part in page.inputs} | {
        page.opened: ["demo", "demo"],
        page.user: "7",
        panel.genres: [],
    }
    for typed, asked in (((None, None), (None, None)), ((1990, 1960), (1960, 1990)), ((None, 1990), (None, 1990))):
        query = page.query(usual | dict(zip((panel.first_year, panel.last_year), typed, strict=True)))
        assert (query.wanted.first_year, query.wanted.last_year) == asked


SETS = {
    "none": ("item,title\nt1,Heat\n", None),
    "one": ("item,title,year,genres\nt1,Heat,1995,Crime\nt2,Alien,1995,Horror|Drama\n", ("1995", "1995")),
    "old": ("item,title,year\nt1,Metropolis,1927\nt2,M,1931\n", ("1927", "1931")),
    "new": ("item,title,year,genres\nt1,Arrival,2016,Drama\nt2,Dune,2021,Epic\n", ("2016", "2021")),
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> dict[str, str]:
    """Keys of data sets without years, with one year, and with a wide range."""
    folder, found = tmp_path_factory.mktemp("years"), {}
    for name, (text, _) in SETS.items():
        titles = folder / f"{name}-titles.csv"
        titles.write_text(text)
        pairs = table(folder / f"{name}.csv")
        opened = state.opened_here(partial(store.keep, pairs, titles, Reading(), uploads_dir()))
        state.keep_open(found.setdefault(name, opened.dataset.key), opened)
    return found


def left(update: Any, typed: int) -> list[Any]:
    """Values that a visitor may leave in a control."""
    if isinstance(update, gr.Number):
        return [update.value, typed]
    if isinstance(update, gr.Dropdown) and update.choices:
        values = [value for _, value in update.choices]
        return [update.value, *([values] if update.multiselect else values)]
    return [update.value]


@pytest.mark.filterwarnings("error:The value passed into")
@settings(max_examples=30, deadline=None)
@given(order=st.lists(st.sampled_from([*SETS]), min_size=2, max_size=5), typed=st.integers(-3000, 3000))
def test_controls_accept_their_values_in_any_order_of_data_sets(order, typed, keys, opening):
    """The controls accept values left by another data set, in both orders."""
    now, values = {}, {}
    for name in order:
        page = last(opening.open_dataset(keys[name], ["demo", INSTANT], [*keys.values()]))
        for part, update in page.items():
            # The range of the seed does not depend on the data.
            if isinstance(part, gr.Number | gr.Slider | gr.Dropdown) and part.elem_id != "seed":
                held = part, now.get(part, part), update  # one of these by the server; the first after a restart
                for each in held:
                    for value in (*values.get(part, ()), *left(update, typed)):
                        if value is not None:
                            assert type(part).preprocess(each, value) == value
                now[part], values[part] = update, left(update, typed)
        boxes = [update for part, update in page.items() if part.elem_id in ("first-year", "last-year")]
        assert [box.value for box in boxes] == [None, None], "another data set starts without a filter"
        bounds = SETS[name][1]
        assert [box.visible for box in boxes] == [bounds is not None] * 2
        assert bounds is None or tuple(box.placeholder for box in boxes) == bounds


def test_a_dropdown_accepts_any_text_and_gives_an_empty_one_by_default():
    for payload in ("gone", ["gone"], []):
        assert gr.Dropdown(["a"]).preprocess(payload) == payload
    assert gr.Dropdown(["a"]).preprocess(None) == ""


@given(low=st.floats(-1e6, 1e6), width=st.floats(0, 1e6), value=st.floats(-1e6, 1e6))
def test_a_slider_passes_on_values_outside_its_range(low, width, value):
    slider = gr.Slider(0, 1)
    slider.minimum, slider.maximum = low, low + width
    assert slider.preprocess(value) == value


def test_histogram_labels_are_short_enough_to_stay_horizontal():
    figure = figures.degrees([1] * 24, [2] * 24)
    assert max(map(len, figure.data[0].x)) <= 4 and figure.layout.xaxis.tickangle == 0
    assert figure.data[0].customdata[11] == "2,048–4,095" and len(set(figure.data[0].x)) == 24


def test_mcp_results_are_json(url):
    async def called() -> list:
        async with (
            streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, *_),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            asked = (("recommend", {"k": 2}), ("explain", {"item": "5"}), ("search_items", {"question": "nebula"}))
            return [(await session.call_tool(name, values)).content[0].text for name, values in asked]

    rows, why, found = (json.loads(text) for text in run(called()))
    assert [row["rank"] for row in rows] == [1, 2] and why["title"] and found[0]["id"]


@pytest.mark.slow
def test_the_page_shows_that_a_data_set_is_being_opened_and_can_cancel_it(page):
    """On real data, because embedded data sets open too fast to observe."""
    real_data("ml-1m_clean")
    before = titles(page)
    with ExitStack() as busy:
        for _ in range(openings.AT_ONCE):  # so the opening waits and cannot finish before it is cancelled
            busy.enter_context(openings._turns)
        page.get_by_label("Data set", exact=True).click()
        page.get_by_role("option", name="MovieLens 1M, DiffRec").click()
        page.locator("#status").filter(has_text="Opening MovieLens 1M").wait_for()
        page.wait_for_function("getComputedStyle(document.querySelector('#body')).opacity < 0.5")
        page.locator("#cancel-opening").click()
        page.locator("#status").wait_for(state="detached")
    page.wait_for_function("getComputedStyle(document.querySelector('#body')).opacity === '1'")
    settle(page)
    assert titles(page) == before
    assert page.get_by_label("Data set", exact=True).input_value().startswith("Demo")
    page.get_by_label("Data set", exact=True).click()
    page.get_by_role("option", name="MovieLens 1M, DiffRec").click()
    page.locator("#cards").filter(has_text="5,949 users").wait_for()
    changed(page, before)
    page.locator("#status").wait_for(state="detached")


def test_a_tab_shows_changes_made_before_it_was_opened(page):
    move(page, "T", 3)
    page.locator("#changed").filter(has_text="Steps 5 → 3").wait_for()
    open_tab(page, "Diffusion")
    page.locator("#film section:visible").get_by_text("of 3, t =").wait_for()
    assert page.locator("#frame").get_attribute("max") == "4"
