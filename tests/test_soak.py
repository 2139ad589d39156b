"""A few sessions for a few seconds: what `make soak` does with fifty for minutes."""

from dataclasses import replace

from benchmarks.soak import Seen, check, soaked, summary
from sdiff.datasets import load_dataset
from sdiff.ui import handlers
from sdiff.ui.query import Query


def test_sessions_beside_each_other_see_what_each_would_see_alone():
    seen = soaked(load_dataset("demo"), Query("demo", "demo"), sessions=5, seconds=8)
    assert not seen.wrong and seen.lists and seen.trained
    found = summary(seen)
    assert found["lists checked"] == len(seen.lists) and found["clicks"].keys() == found["milliseconds"].keys()


def test_a_list_of_another_session_is_found_out():
    mine = Query("demo", "demo", "1")
    items = [row.id for row in handlers.recommend(mine).recommendations]
    seen = Seen(lists=[(mine, items), (replace(mine, user="2"), items)])
    check(seen)
    assert seen.wrong == {"a list of another query": 1}
