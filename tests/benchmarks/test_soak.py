"""A few sessions for a few seconds. `make soak` runs 25 for an hour."""

import json
from contextlib import closing
from dataclasses import replace

import pytest

from benchmarks.app import Page
from benchmarks.soak import Seen, broken, by_minute, check, growth, soaked, summary
from sdiff.app import layout
from sdiff.app.handlers import ranking
from sdiff.app.query import Query
from sdiff.base.paths import CHECKPOINTS
from sdiff.data.datasets import load_dataset
from sdiff.training.checkpoint import Checkpoint


@pytest.mark.slow
def test_concurrent_sessions_see_what_each_would_see_alone():
    seen = soaked(load_dataset("demo"), Query("demo", "demo"), sessions=5, seconds=8)
    assert not seen.wrong and seen.lists and seen.trained
    found = summary(seen)
    assert found["lists checked"] == len(seen.lists) and found["clicks"].keys() == found["milliseconds"].keys()
    assert seen.visits >= 5


def test_a_page_recovers_when_gradio_has_dropped_its_session():
    app = layout.build().queue()
    app.launch(prevent_thread_lock=True, state_session_capacity=1, quiet=True)
    try:
        with closing(Page(app.local_url, {"dataset": "demo", "model": "demo-paper", "user": "7"})) as page:
            page.load()
            page.trigger("addable", "click", item="3")
            page.fill("genres", ["Comedy", "Drama"])
            page.trigger("genres", "input")
            address = json.loads(page.value("list-state"))["address"]
            with closing(Page(app.local_url, {})) as other:
                other.load()
            page.fill("k", 7)
            page.trigger("k", "release")
            changed = Query.decode(json.loads(page.value("list-state"))["address"])
            before = Query.decode(address)
            assert changed == replace(before, k=7) and "3" in before.history and before.genres == ["Comedy", "Drama"]
            page.fill("due-Compare", page.value("list-state"))
            page.trigger("due-Compare", "change")  # as when the tab is opened
            page.fill("b-model", "demo")
            page.trigger("b-model", "input")
            assert page.value("b-guidance") == Checkpoint.load(CHECKPOINTS / "demo").config.guidance
    finally:
        app.close()


def test_errors_slow_events_and_growth_are_reported():
    well = {"wrong": {}, "milliseconds": {"slider": [100, 900, 3000]}, "MB a minute at the end": [0.1, 0.05]}
    assert broken(well) == []
    for name, value, said in (
        ("wrong", {"a list of another query": 1}, "a list of another query: 1"),
        ("milliseconds", {"user": [100, 1100, 3000]}, "took over 1100 ms"),
        ("MB a minute at the end", [0.3, 0.0], "grown by 0.30 MB a minute"),
        ("MB a minute at the end", [0.0, 0.3], "grown by 0.60 MB a minute"),
    ):
        [found] = broken(well | {name: value})
        assert said in found
    assert len(broken(well | {"wrong": {"KeyError: 'x'": 50}, "milliseconds": {}})) == 1, "without any list"


def test_growth_is_measured_over_whole_minutes_after_the_caches_are_full():
    assert growth([100.0 * minute for minute in range(15)] + [2000, 2000.5, 2001, 2001.5, 9]) == [0.5, 0.0]
    assert growth([100.0 * minute for minute in range(15)] + [2000, 2001, 2000, 9]) == [0.0, pytest.approx(0.577, 1e-2)]
    assert growth([1.0] * 18) is None
    assert by_minute([(0.5, 3), (59.9, 2), (60.1, 5), (119, 4), (180, 1)]) == [2, 4, 1]


def test_a_list_of_another_session_is_detected():
    mine = Query("demo", "demo", "1")
    items = [row.id for row in ranking.recommend(mine).recommendations]
    seen = Seen(lists=[(mine, items), (replace(mine, user="2"), items)])
    check(seen)
    assert seen.wrong == {"a list of another query": 1}
