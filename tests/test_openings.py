"""Opening a data set: one computation for all who wait, none when nobody does, and everybody else is answered."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from sdiff import SDiffError
from sdiff.datasets import Dataset, load_dataset
from sdiff.readers import Reading
from sdiff.ui import api, handlers, listing, opening, openings, state, uploads
from sdiff.ui.data_tab import NONE, read_upload
from sdiff.ui.query import Query
from sdiff.ui.state import INSTANT
from tests.conftest import last


class Reader:
    """Reads a small data set, as often as it is asked, when it may."""

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
    """A data set that is not opened before `may` is set."""
    reader = Reader(request.node.name)
    yield reader
    reader.may.set()


async def wait(reader: Reader) -> None:
    async for _ in openings.joined(reader.key, reader):
        pass


def test_a_data_set_is_read_and_solved_once_for_all_who_ask_for_it(blocked):
    async def visits() -> None:
        waiting = [asyncio.create_task(wait(blocked)) for _ in range(5)]
        await asyncio.sleep(2 * openings.TICK)
        blocked.may.set()
        await asyncio.gather(*waiting)

    asyncio.run(visits())
    assert blocked.times == 1 and state.is_open(blocked.key)
    assert len(state.open_dataset(blocked.key).instant.recommend(["5"], 3).ids) == 3


def test_lists_and_endpoints_of_open_data_sets_are_answered_while_others_are_opened(blocked, monkeypatch):
    monkeypatch.setattr(openings, "_loader", lambda key: blocked)
    served = api.served(api.recommend)

    async def visits() -> None:
        waiting = [asyncio.create_task(served(dataset=blocked.key)) for _ in range(20)]
        await asyncio.sleep(2 * openings.TICK)
        assert len(await served("demo", k=3)) == 3
        assert not any(task.done() for task in waiting)
        threads = threading.active_count()
        blocked.may.set()
        answers = await asyncio.gather(*waiting)
        assert all(answer == answers[0] and len(answer) == 20 for answer in answers)
        assert threads < 20, "who waits has no thread"

    asyncio.run(visits())


def test_what_cannot_be_read_is_said_to_all_who_wait_and_tried_again_by_the_next(in_this_process):
    times = []

    def faulty() -> Dataset:
        times.append(time.sleep(openings.TICK))
        raise SDiffError("Mend the file.")

    async def visits() -> list:
        async def visit() -> None:
            async for _ in openings.joined("faulty", faulty):
                pass

        return [await asyncio.gather(visit(), visit(), return_exceptions=True) for _ in range(2)]

    assert [[str(error) for error in errors] for errors in asyncio.run(visits())] == [["Mend the file."] * 2] * 2
    assert len(times) == 2 and not state.is_open("faulty")


def endless(note: Path) -> Dataset:
    note.write_text(str(os.getpid()))
    while True:
        time.sleep(0.05)


def test_an_opening_goes_on_while_anybody_waits_and_its_process_ends_when_the_last_one_leaves(tmp_path):
    note = tmp_path / "process"

    async def visits() -> int:
        first, second = (openings.joined("endless", partial(endless, note)) for _ in range(2))
        await anext(first), await anext(second)
        while not (note.exists() and note.read_text()):
            await anext(first)
        process = int(note.read_text())
        await first.aclose()
        await anext(second)
        os.kill(process, 0)
        await second.aclose()
        return process

    process = asyncio.run(visits())
    end = time.monotonic() + 30
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert not state.is_open("endless")


def test_a_data_set_that_is_not_in_memory_is_not_opened_by_a_list(tmp_path):
    with pytest.raises(SDiffError, match="reload the page"):
        handlers.recommend(Query("ml-1m", INSTANT, "1"))


def test_the_least_used_data_set_makes_room(in_this_process, monkeypatch):
    held = state.open_dataset("demo")
    for n in range(state.HELD):
        state.hold(f"set {n}", held)
    state.open_dataset("set 0")
    state.hold("one more", held)
    assert state.is_open("set 0") and state.is_open("one more") and not state.is_open("set 1")


def table(path: Path, rows: int = 8, items: str = "") -> Path:
    path.write_text("user,item\n" + "".join(f"v{u},t{(u + n) % 12}\n" for u in range(24) for n in range(rows)) + items)
    return path


def test_a_table_that_is_refused_is_not_kept(in_this_process, tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_RUNS_DIR", str(tmp_path / "runs"))
    form = ("user", "item", NONE, NONE, "", 1, "", False)
    for faulty in ("u,\n", ""):  # a row without an item; then one user and one item too few for the core
        path = table(tmp_path / "refused.csv", items=faulty)
        said = last(read_upload(str(path), None, "", "", *form[:5], 1 if faulty else 99, *form[6:]))
        assert said[0] == "" and not [*(tmp_path / "runs").rglob("interactions*")]
    path = table(tmp_path / "read.csv")
    key, _ = last(read_upload(str(path), None, "", "", *form))
    assert (uploads.folder_of(key, state.uploads_dir()) / "interactions.csv").read_text() == path.read_text()


def test_an_endpoint_takes_the_best_model_of_the_data_set_and_a_user_as_on_the_page(in_this_process, tmp_path):
    opened = state.opened_here(lambda: uploads.keep(table(tmp_path / "mine.csv"), None, Reading(), state.uploads_dir()))
    state.hold(key := opened.dataset.key, opened)
    assert len(api.recommend(key, k=3)) == 3, "by the model that needs no training, as there is no other"
    assert len(api.spectrum(key)["eigenvalues"]) <= 12


def test_checkpoints_stand_best_first(tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_RUNS_DIR", str(tmp_path))
    for name, reached in (("a", "0.1"), ("b", "0.3"), ("c", "NaN"), ("d", "0.2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"provenance": {"dataset": "demo"}}')
        (tmp_path / name / "metrics.json").write_text(f'{{"valid": {{"recall@20": {reached}}}}}')
    names = [*state.checkpoints("demo")]
    assert [name for name in names if name in "abcd"] == ["b", "d", "a", "c"]
    assert names[0] == "demo", "what ships comes before what visitors trained"


def test_a_history_that_is_nobodys_is_not_held_against_what_a_user_chose_later():
    user = handlers.pick_user("demo", "typical")
    own = state.open_dataset("demo").history(user)
    strangers = [id for id in state.open_dataset("demo").dataset.split.items.ids if id not in own][:5]
    for whose, history in ((user, []), (user, strangers), ("", own)):
        found = handlers.recommend(Query("demo", "demo", whose, history))
        assert not any(row.held_out for row in found.recommendations) and "nothing is held out" in found.summary
    found = handlers.recommend(Query("demo", "demo", user, own[1:]))
    assert "among the" in found.summary and any(row.held_out for row in found.recommendations)


def test_the_page_of_a_data_set_has_no_list_of_the_one_before():
    *_, history, recommended, summary = last(opening.open_dataset("demo", ["demo", INSTANT], []))
    assert history == recommended == summary == ""


def test_a_cancelled_opening_leaves_the_page_as_it_was_or_opens_the_first_one():
    picker, _, _, row, *rest = last(opening.cancel("{}", ["demo", "demo"], []))
    assert picker.value == "demo" and picker.interactive and not row.visible
    assert rest[-1] != "", "the list stays"
    picker, user, *_ = last(opening.cancel("", ["demo", "demo"], []))
    assert picker.value == "demo" and user in state.open_dataset("demo").dataset.split.users


def test_years_are_asked_for_as_they_were_typed():
    page = (["demo", "demo"], "7", None, *(1.4, 0, 0, 0.5, 1, 1, False), 0, 20, False, [])
    assert listing.asked(*page, None, None).wanted.first_year is None
    query = listing.asked(*page, 1990, 1960)
    assert (query.first_year, query.last_year) == (1960, 1990)
    query = listing.asked(*page, None, 1990)
    assert (query.first_year, query.last_year) == (None, 1990)
