"""Latency of the running app: time from start to the first list, and response times of its events.

    python -m benchmarks.app --dataset ml-1m-diffrec --checkpoint ml-1m --save

Starts app.py in a separate process and opens it with a data set and a model. A session of Gradio's client then sends
the same events as the page, one after the other, for each of 200 random users: it releases a slider, updates the plots,
explains an item, adds an item to the history, and searches for a title.

Times are [median, 95th percentile] in milliseconds. "client" is the time from the request to the last byte of the
response over the loopback interface, including Gradio's queue and two HTTP requests. "function" is the time of the
app's own function, as reported by the server. The floor is an event whose function does nothing. The last line is JSON;
--save writes it to benchmarks/results.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from gradio_client import Client
from gradio_client.client import Endpoint

from benchmarks.processes import add_beside, busy_processes, memory_mb
from sdiff.app.settings import SLIDERS
from sdiff.base.device import best_device, device_name
from sdiff.base.paths import HOME
from sdiff.data.datasets import Dataset, load_dataset
from sdiff.experiments.record import report, script_parser, versions

WARM, REQUESTS, SEED = 3, 200, 0
SLOWEST_START = 120.0  # seconds after which the start has failed
PAUSE = 0.05  # seconds between events; an event sent before the previous response has ended may get no response
MOVED = ("guidance", "alpha_min", "sigma_max")  # sliders that are available for every model


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--checkpoint", default="demo")
    add_beside(parser)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.dataset)
    beside, load = arguments.beside, round(os.getloadavg()[0], 1)
    with busy_processes(beside):
        measurements = measured(dataset, {"dataset": arguments.dataset, "model": arguments.checkpoint}, REQUESTS)
    result: dict[str, Any] = {
        "dataset": arguments.dataset,
        "data_fingerprint": dataset.split.fingerprint,
        "checkpoint": arguments.checkpoint,
        "command": f"python -m benchmarks.app --dataset {arguments.dataset} --checkpoint {arguments.checkpoint}"
        + f" --beside {beside}" * bool(beside),
        "seed": SEED,
        "requests": REQUESTS,
        "versions": versions("gradio", "torch"),
        "device": device_name(best_device()),
        "cores": os.cpu_count(),
        "load before": load,  # load of the machine by other processes, which affects all times
        "busy processes beside": beside,
    } | measurements
    print(f"first list after {result['seconds to the first list']} s, {result['resident MB then']} MB then")
    for event, times in result["milliseconds"].items():
        print(f"{event:<28}", *(f"{where} {median:.1f}, {p95:.1f}  " for where, (median, p95) in times.items()))
    report(result, f"app-{arguments.dataset}" + f"-beside-{beside}" * bool(beside), arguments.save)


def measured(dataset: Dataset, query: dict[str, str], requests: int) -> dict[str, Any]:
    """Time and memory of the start, and milliseconds of each type of event."""
    with running_app(HOME, os.environ) as (address, process, started):
        page = Page(address, query)
        first = page.that_shows("recommended", page.load())
        megabytes = memory_mb(process.pid, "VmRSS")
        events = driven(page, dataset, requests)
        return {
            "seconds to the first list": round(first.at - started, 1),
            "resident MB then": megabytes,
            "peak MB": memory_mb(process.pid, "VmHWM"),
            "milliseconds": {
                event: {
                    "client": percentiles([answer.client for answer in answers]),
                    "function": percentiles([answer.function for answer in answers]),
                }
                for event, answers in events.items()
            },
        }


def driven(page: Page, dataset: Dataset, requests: int) -> dict[str, list[Answer]]:
    """The responses by type of event. Each round has another user and other settings; warm-up rounds are dropped."""
    rng = np.random.default_rng(SEED)
    users = [dataset.split.users.ids[i] for i in np.flatnonzero(dataset.split.train.lengths)]
    rounds = []
    for _ in range(WARM + requests):
        page.fill("user", str(rng.choice(users)))
        for slider in MOVED:
            page.fill(slider, round(float(rng.uniform(*SLIDERS[slider].range)), 2))
        listed, *followed = page.trigger("guidance", "release")
        plotted = page.that_shows("energy", followed)
        item = str(rng.choice(re.findall(r'data-item="([^"]+)"', page.value("recommended"))))
        explained, *_ = page.trigger("recommended", "click", item=item)
        changed, *_ = page.trigger("addable", "click", item=item)
        title = str(rng.choice(dataset.items.title))
        page.fill("add", title[: rng.integers(1, len(title) + 1)])
        searched, *_ = page.trigger("add", "change")
        page.fill("add", "")
        floor, *_ = page.trigger("add", "change")
        rounds.append((listed, plotted, changed, explained, searched, floor))
    names = ("list", "plots", "what if", "why", "search", "floor")
    return dict(zip(names, map(list, zip(*rounds[WARM:], strict=True)), strict=True))


def percentiles(milliseconds: list[float]) -> list[float]:
    return [round(float(np.percentile(milliseconds, q)), 1) for q in (50, 95)]


@contextmanager
def running_app(folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, subprocess.Popen[bytes], float]]:
    """Runs app.py of a folder on a free port. Yields its address, its process and its start time once it responds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"GRADIO_SERVER_NAME": "127.0.0.1", **environment, "GRADIO_SERVER_PORT": str(port)}
    address, started = f"http://127.0.0.1:{port}/", time.perf_counter()
    app = subprocess.Popen([sys.executable, "app.py"], cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    try:
        while True:
            if app.poll() is not None or time.perf_counter() - started > SLOWEST_START:
                raise RuntimeError(f"app.py does not answer; its exit status is {app.returncode}.")
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                time.sleep(0.02)
        yield address, app, started
    finally:
        app.terminate()
        app.wait(10)


@dataclass(frozen=True)
class Answer:
    """Response to an event: event id, time of arrival, and milliseconds measured by the client and by the function."""

    event: int
    at: float
    client: float
    function: float


class Messages(deque):
    """The server's messages about one event; `done` is set after the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.done = threading.Event()

    def append(self, message: Any) -> None:
        super().append(message)
        if message is None or message["msg"] in ("process_completed", "server_stopped", "unexpected_error"):
            self.done.set()


class MessagesOfEvents(dict):
    """`Messages` by event id. Replaces the plain lists of Gradio's client, which polls them.

    Polling by fifty sessions would slow down the app under test.
    """

    def __setitem__(self, event_id: str, _: Any) -> None:
        super().__setitem__(event_id, Messages())

    def setdefault(self, event_id: str, default: Any = None) -> Messages:
        if event_id not in self:
            self[event_id] = default
        return self[event_id]


class Page(Client):
    """A session like that of a browser: it has the values of all components and triggers follow-up events."""

    def __init__(self, address: str, query: dict[str, str]) -> None:
        super().__init__(
            address, verbose=False, ssl_verify=False, download_files=False, analytics_enabled=False,
            _skip_components=False,
        )  # fmt: skip
        self.sse_data_url += f"?{urlencode(query)}"  # the page sends its query string with every event
        self.pending_messages_per_event = MessagesOfEvents()
        components = self.config["components"]
        self._values = {c["id"]: c["props"].get("value") for c in components}
        self._ids = {c["props"]["elem_id"]: c["id"] for c in components if c["props"].get("elem_id")}
        self._events = {d["id"]: Event(self, d["id"], d, self.protocol) for d in self.config["dependencies"]}
        self.endpoints = self._events

    def value(self, element: str) -> Any:
        return self._values[self._ids[element]]

    def fill(self, element: str, value: Any) -> None:
        """Sets a value without triggering an event."""
        self._values[self._ids[element]] = value

    def that_shows(self, element: str, answers: list[Answer]) -> Answer:
        """The first answer whose event has the element among its outputs."""
        return next(a for a in answers if self._ids[element] in self._events[a.event].dependency["outputs"])

    def load(self) -> list[Answer]:
        """Triggers the load events of the page."""
        return self._all(lambda event: any(name == "load" for _, name in event["targets"]))

    def trigger(self, element: str, name: str, **data: Any) -> list[Answer]:
        """Triggers an event of an element with its event data, then the events that follow from it."""
        return self._all(lambda event: [self._ids[element], name] in event["targets"], event_data=data)

    def _all(self, wanted: Callable[[dict[str, Any]], bool], **body: Any) -> list[Answer]:
        ids = [id for id, event in self._events.items() if event.dependency["backend_fn"] and wanted(event.dependency)]
        return [answer for id in ids for answer in self._run(id, **body)]

    def _run(self, id: int, **body: Any) -> list[Answer]:
        event = self._events[id]
        values = [self._values[component] for component in event.dependency["inputs"]]
        time.sleep(PAUSE)
        sent = time.perf_counter()
        event.make_end_to_end_fn(self.new_helper(id))(*values, **body)
        at = time.perf_counter()
        changes = []
        for component, value in zip(event.dependency["outputs"], event.output["data"], strict=True):
            if isinstance(value, dict) and value.get("__type__") == "update":
                value = value.get("value", self._values[component])
            if value != self._values[component]:
                self._values[component] = value
                changes.append([component, "change"])
                if component == self._ids["list-state"]:  # as the page's script does for the open tab
                    self._values[self._ids["due-Recommend"]] = value
                    changes.append([self._ids["due-Recommend"], "change"])
        answer = Answer(id, at, 1000 * (at - sent), 1000 * event.output["duration"])
        return [answer, *self._all(lambda e: e["trigger_after"] == id or any(t in changes for t in e["targets"]))]


class Event(Endpoint):
    """An internal event of the page. Gradio's client allows only calls of public API events."""

    output: Any  # of the last call, as sent by the server

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.is_valid = True

    def _sse_fn_v1plus(self, helper: Any, event_id: str, protocol: Any) -> Any:
        messages: Any = self.client.pending_messages_per_event[event_id]
        messages.done.wait()  # Gradio's client would poll every 50 ms
        self.output = super()._sse_fn_v1plus(helper, event_id, protocol)
        return self.output


if __name__ == "__main__":
    main()
