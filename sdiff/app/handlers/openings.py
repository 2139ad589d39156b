"""Opens data sets. All visitors who wait for a data set share one opening, which is cancelled when the last one leaves.

Visitors wait in async generators, which need no threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from threading import Event, Lock, Semaphore, Thread
from typing import Any

from sdiff.app import state
from sdiff.app.processes import prepare, runs
from sdiff.app.processes.space import serving_device
from sdiff.app.uploads import store
from sdiff.base.errors import SDiffError
from sdiff.base.files import scratch
from sdiff.base.paths import uploads_dir
from sdiff.data.datasets import Dataset, available, load_dataset
from sdiff.data.registry import REGISTRY

# Queue options of events that wait for a data set. They need no threads.
EVENTS: dict[str, Any] = dict(
    show_progress="hidden", concurrency_id="opening", concurrency_limit=200, api_visibility="private"
)
AT_ONCE = 2  # openings that run at the same time
TICK = 0.25  # seconds between progress updates
NICENESS = 5  # a lower priority than requests for lists


@dataclass(frozen=True)
class Stage:
    """Progress of an opening: index of the current stage, number of stages, label, and seconds since the start."""

    number: int
    of: int
    words: str
    seconds: float


@dataclass(eq=False)
class _Opening:
    load: Callable[[], Dataset]
    undo: Callable[[], None] | None
    started: float = field(default_factory=time.monotonic)
    stage: int | None = None  # None while it waits for its turn
    visitors: int = 0
    abandoned: Event = field(default_factory=Event)
    finished: Event = field(default_factory=Event)
    failure: Exception | None = None

    def progress(self) -> Stage:
        words = "waiting for other data sets" if self.stage is None else prepare.STAGES[self.stage]
        return Stage(self.stage or 0, len(prepare.STAGES), words, time.monotonic() - self.started)


_openings: dict[str, _Opening] = {}
_lock = Lock()
_turns = Semaphore(AT_ONCE)


async def opening(key: str) -> AsyncIterator[Stage]:
    """Opens a registered or uploaded data set, and yields progress until it is available from `state.open_dataset`.

    Raises:
        SDiffError: the key is unknown, or files are missing or unreadable.
    """
    if not state.is_open(key):
        async for stage in join_opening(key, _loader(key)):
            yield stage


async def wait_until_open(key: str) -> None:
    """Like `opening`, without progress."""
    async for _ in opening(key):
        pass


async def join_opening(
    key: str, load: Callable[[], Dataset], undo: Callable[[], None] | None = None
) -> AsyncIterator[Stage]:
    """Like `opening`, with a function that reads the data set. Joins an opening of the same key that is in progress.

    Args:
        load: reads the data set in another process.
        undo: removes the files that `load` has written if the data set cannot be opened.
    """
    with _lock:
        if state.is_open(key):
            return
        work = _openings.get(key)
        if work is None or work.abandoned.is_set():
            work = _openings[key] = _Opening(load, undo)
            Thread(target=_open, args=(key, work), daemon=True).start()
        work.visitors += 1
    try:
        while not work.finished.is_set():
            yield work.progress()
            await asyncio.sleep(TICK)
    finally:
        with _lock:
            work.visitors -= 1
            if not work.visitors:
                work.abandoned.set()
    if work.failure is not None:
        raise work.failure


def _open(key: str, work: _Opening) -> None:
    try:
        with turn(work.abandoned), scratch(Path(gettempdir())) as folder:
            work.stage = 0
            steps = runs.in_subprocess(
                prepare.steps,
                *(work.load, serving_device(), folder),
                niceness=NICENESS,
                abandoned=work.abandoned,
            )
            with closing(steps):
                for step in steps:
                    if isinstance(step, Dataset):
                        work.stage = len(prepare.STAGES) - 1
                        state.keep_open(key, state.prepared(step, folder))
                    else:
                        work.stage = step
    except Exception as error:
        work.failure = error
        with _lock:
            if work.undo and _openings.get(key) is work:  # unless a newer opening needs the files
                work.undo()
    finally:
        with _lock:
            if _openings.get(key) is work:
                del _openings[key]
        work.finished.set()


@contextmanager
def turn(abandoned: Event) -> Iterator[None]:
    """Waits until fewer than `AT_ONCE` data sets are read. Raises SDiffError if the reading is abandoned."""
    while not (acquired := _turns.acquire(timeout=TICK)) and not abandoned.is_set():
        pass
    try:
        if abandoned.is_set():
            raise SDiffError("Cancelled, because nobody is waiting for the result.")
        yield
    finally:
        if acquired:
            _turns.release()


def _loader(key: str) -> Callable[[], Dataset]:
    """A function that reads a data set in another process. Raises SDiffError at once if files are missing."""
    if key not in REGISTRY:
        store.folder_of(key, uploads_dir())
        return partial(store.load, key, uploads_dir())
    available(key)
    return partial(load_dataset, key)
