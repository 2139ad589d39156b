"""The benchmark of the running app sends the events of the page."""

import pytest

from benchmarks.app import measured
from sdiff.data.datasets import load_dataset


@pytest.mark.slow
def test_every_kind_of_event_is_measured():
    found = measured(load_dataset("demo"), {"dataset": "demo", "model": "demo"}, requests=2)
    assert set(found["milliseconds"]) == {"list", "plots", "what if", "why", "search", "floor"}
    for times in found["milliseconds"].values():
        assert all(0 < function < client for function, client in zip(times["function"], times["client"], strict=True))
    assert 0 < found["resident MB then"] <= found["peak MB"]
