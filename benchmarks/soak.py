"""Load test: correctness, latency and memory of the app with many concurrent sessions.

    python -m benchmarks.soak --sessions 25 --minutes 60 --save

app.py runs in a separate process. Each session behaves like a page (benchmarks.app) whose visitor pauses between
clicks: it moves sliders, selects other users, explains items, searches, and adds items to the history. After some
minutes, the session ends and a new one starts. Two sessions train models all the time.

At the end, every list that a session received is computed again in this process: the lists must be equal, and the query
shown by the page must be that of the session. The memory of the app, alone and with its training processes, is measured
throughout. After 15 minutes, when all caches are full, a line is fitted to the memory of the app alone. The error of
its slope falls with the power 3/2 of the time: half an hour cannot show that it is below .2 MB a minute, an hour can.
The last line is JSON; --save writes it to benchmarks/results. Violations are reported there and by the exit status.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count, groupby
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from benchmarks.app import MOVED, Answer, Page, running_app
from benchmarks.processes import all_memory_mb, own_memory_mb
from sdiff.app.handlers import ranking
from sdiff.app.query import Query
from sdiff.app.settings import SLIDERS
from sdiff.base.device import best_device, device_name
from sdiff.base.paths import HOME
from sdiff.data.datasets import Dataset, load_dataset
from sdiff.experiments.record import report, script_parser, versions

LOOKS, STAYS = 5.0, 180.0  # mean seconds between clicks, and mean seconds of a session
TRAINERS, EPOCHS = 2, 60
MODELS = 4  # models of each trainer that are kept: every page lists all models, so that each takes memory
LISTS = ("slider", "user", "add")  # clicks that update the list
SLOWEST = 1000  # maximum of the 95th percentile of the time to a list, in milliseconds
FULL, RISE = 15, 0.2  # minutes until caches are full, and the maximum growth after that in MB per minute
CLICKS = ("slider", "slider", "user", "why", "search", "add")


@dataclass
class Seen:
    """Observations of all sessions: response times by type of click, lists with their queries, errors and memory."""

    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    lists: list[tuple[Query, list[str]]] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)
    visits: int = 0
    trained: int = 0
    memory: list[tuple[float, float, float]] = field(default_factory=list)  # (seconds, MB of the app, and of all)


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--checkpoint", default="demo")
    parser.add_argument("--sessions", type=int, default=25)
    parser.add_argument("--minutes", type=float, default=5)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.dataset)
    seen = soaked(dataset, Query(arguments.dataset, arguments.checkpoint), arguments.sessions, 60 * arguments.minutes)
    result: dict[str, Any] = {
        "command": f"python -m benchmarks.soak --dataset {arguments.dataset} --checkpoint {arguments.checkpoint} "
        f"--sessions {arguments.sessions} --minutes {arguments.minutes:g}",
        "data_fingerprint": dataset.split.fingerprint,
        "versions": versions("gradio", "torch"),
        "device": device_name(best_device()),
        "cores": os.cpu_count(),
    } | summary(seen)
    result["broken"] = broken(result)
    for name, value in result.items():
        print(f"{name}: {value}")
    report(result, f"soak-{arguments.dataset}-{arguments.sessions}", arguments.save)
    raise SystemExit(bool(result["broken"]))


def soaked(dataset: Dataset, query: Query, sessions: int, seconds: float) -> Seen:
    """Runs the sessions, then checks the lists."""
    seen = Seen()
    with (
        tempfile.TemporaryDirectory() as runs,  # the trained models are discarded
        running_app(HOME, os.environ | {"SDIFF_RUNS_DIR": runs}) as (address, app, _),
    ):
        started = time.monotonic()
        end = started + seconds
        shared = address, dataset, query
        threads = [threading.Thread(target=session, args=(*shared, n, end, Path(runs), seen)) for n in range(sessions)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            seen.memory.append((time.monotonic() - started, own_memory_mb(app.pid), all_memory_mb(app.pid)))
            time.sleep(1)
    check(seen)
    return seen


def check(seen: Seen) -> None:
    """Computes every list again and counts those that differ."""
    for query, items in seen.lists:
        if [row.id for row in ranking.recommend(query).recommendations] != items:
            seen.wrong["a list of another query"] += 1


def session(address: str, dataset: Dataset, query: Query, n: int, end: float, runs: Path, seen: Seen) -> None:
    """Opens one page after the other until `end`. Errors are counted by message."""
    rng = np.random.default_rng(n)
    time.sleep(rng.uniform(0, LOOKS))  # sessions do not all start at the same time
    try:
        while time.monotonic() < end:
            with closing(Page(address, dict(parse_qsl(query.encode())))) as page:
                page.load()
                seen.visits += 1
                if n < TRAINERS:
                    train(page, n, end, runs, seen)
                else:
                    visit(page, dataset, rng, min(end, time.monotonic() + rng.exponential(STAYS)), seen)
    except Exception as error:
        seen.wrong[f"{type(error).__name__}: {error!s:.200}"] += 1


def visit(page: Page, dataset: Dataset, rng: np.random.Generator, leaves: float, seen: Seen) -> None:
    """Clicks at random intervals until the time `leaves`."""
    users = [dataset.split.users.ids[i] for i in np.flatnonzero(dataset.split.train.lengths)]
    clicks = clicks_of(page, dataset, users, rng)
    while time.monotonic() < leaves:
        name = str(rng.choice(CLICKS))
        seen.milliseconds.setdefault(name, []).append(clicks[name]()[0].client)
        if name in LISTS:
            look(page, seen)
        time.sleep(rng.exponential(LOOKS))


def clicks_of(
    page: Page, dataset: Dataset, users: list[str], rng: np.random.Generator
) -> dict[str, Callable[[], list[Answer]]]:
    def slide() -> list[Answer]:
        name = str(rng.choice(MOVED))
        page.fill(name, round(float(rng.uniform(*SLIDERS[name].range)), 2))
        return page.trigger(name, "release")

    def search() -> list[Answer]:
        title = str(rng.choice(dataset.items.title))
        page.fill("add", title[: rng.integers(1, len(title) + 1)])
        return page.trigger("add", "change")

    def call() -> list[Answer]:
        page.fill("user", str(rng.choice(users)))
        return page.trigger("user", "submit")

    return {
        "slider": slide,
        "user": call,
        "why": lambda: page.trigger("recommended", "click", item=str(rng.choice(items_of(page)))),
        "search": search,
        "add": lambda: page.trigger("addable", "click", item=str(rng.choice(items_of(page)))),
    }


def look(page: Page, seen: Seen) -> None:
    """Records the list with the query in the page's address, and checks that this query matches the page's controls."""
    page_state = json.loads(page.value("list-state"))
    query = Query.decode(page_state["address"])
    sliders = {name: page.value(name) for name in MOVED}
    if query.user != page.value("user") or sliders != {
        name: float(query.settings.get(name, page_state["trained"][name])) for name in MOVED
    }:
        seen.wrong["a page whose query does not match its controls"] += 1
    seen.lists.append((query, items_of(page)))


def items_of(page: Page) -> list[str]:
    return re.findall(r'data-item="([^"]+)"', page.value("recommended"))


def train(page: Page, n: int, end: float, runs: Path, seen: Seen) -> None:
    """Trains one model after the other until `end`. Deletes the oldest ones from the folder `runs`."""
    for run in count():
        if time.monotonic() > end:
            return
        if run >= MODELS:
            shutil.rmtree(runs / f"soak-{n}-{run - MODELS}")
        for element, value in (
            ("epochs", EPOCHS),
            ("train-settings", "K=32 hidden=64"),
            ("model-name", f"soak-{n}-{run}"),
        ):
            page.fill(element, value)
        page.trigger("start", "click")
        seen.trained += 1
        if not (runs / f"soak-{n}-{run}" / "config.json").exists():
            seen.wrong["a model that was not saved"] += 1


def summary(seen: Seen) -> dict[str, Any]:
    """Milliseconds of each type of click as [median, 95th percentile, maximum], and memory by minute."""
    return {
        "clicks": {name: len(values) for name, values in seen.milliseconds.items()},
        "milliseconds": {
            name: [round(float(np.percentile(values, q)), 1) for q in (50, 95, 100)]
            for name, values in seen.milliseconds.items()
        },
        "lists checked": len(seen.lists),
        "sessions opened": seen.visits,
        "models trained": seen.trained,
        "wrong": dict(seen.wrong),
        "MB by minute": [round(mb) for mb in by_minute([(second, mb) for second, _, mb in seen.memory])],
        "MB of the app alone by minute": (
            alone := [round(mb, 1) for mb in by_minute([(second, mb) for second, mb, _ in seen.memory])]
        ),
        "MB a minute at the end": growth(alone),
    }


def by_minute(samples: list[tuple[float, float]]) -> list[float]:
    """The minimum of each minute of (seconds, MB): what is kept, without what the events that run need."""
    return [min(mb for _, mb in minute) for _, minute in groupby(samples, lambda sample: int(sample[0] // 60))]


def growth(minutes: list[float]) -> list[float] | None:
    """Slope in MB per minute of a line fitted after the first `FULL` minutes, and its standard error.

    None if there are too few values.
    """
    late = minutes[FULL:-1]  # the last minute is incomplete, and sessions end in it
    if len(late) < 3:
        return None
    (slope, _), covariance = np.polyfit(range(len(late)), late, 1, cov=True)
    return [round(float(slope), 3), round(float(covariance[0, 0] ** 0.5), 3)]


def broken(result: dict[str, Any]) -> list[str]:
    """The violations of correctness, latency and memory limits in a `summary`."""
    violations = [f"{error}: {count}" for error, count in result["wrong"].items()]
    slowest = max((result["milliseconds"][name][1] for name in LISTS if name in result["milliseconds"]), default=0)
    if slowest > SLOWEST:
        violations.append(f"one list in twenty took over {slowest} ms")
    if result["MB a minute at the end"]:
        slope, error = result["MB a minute at the end"]
        if slope + 2 * error > RISE:
            violations.append(f"memory may have grown by {slope + 2 * error:.2f} MB a minute at the end")
    return violations


if __name__ == "__main__":
    main()
