"""Opening data sets: long work that is done once for all visitors who wait for it, and ends when the last one leaves.

A visitor waits in an async generator, so that however many wait, no thread does.
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

from sdiff.app import prepare, runs, state, uploads
from sdiff.app.space import serving_device
from sdiff.base.errors import SDiffError
from sdiff.base.files import scratch
from sdiff.base.paths import uploads_dir
from sdiff.data.datasets import Dataset, available, load_dataset
from sdiff.data.registry import REGISTRY

# How gradio queues the events that wait for a data set. They take no thread.
EVENTS: dict[str, Any] = dict(
    show_progress="hidden", concurrency_id="opening", concurrency_limit=200, api_visibility="private"
)
AT_ONCE = 2  # data sets that are opened beside each other; the next ones wait
TICK = 0.25  # seconds between two looks at how far it is
NICENESS = 5  # lists go before it


@dataclass(frozen=True)
class Stage:
    """How far an opening is: the next of `of` stages, in words, and the seconds since it began."""

    number: int
    of: int
    words: str
    seconds: float

    def html(self) -> str:
        """A progress bar with the words."""
        bar = f'<progress max="{self.of}" value="{self.number + 0.5}"></progress>'
        return f"{bar} {self.words} … {self.seconds:.0f} s"


@dataclass(eq=False)
class _Opening:
    load: Callable[[], Dataset]
    undo: Callable[[], None] | None
    started: float = field(default_factory=time.monotonic)
    stage: int | None = None  # None: it waits for its turn
    visitors: int = 0
    abandoned: Event = field(default_factory=Event)
    finished: Event = field(default_factory=Event)
    failure: Exception | None = None

    def seen(self) -> Stage:
        words = "waiting for other data sets" if self.stage is None else prepare.STAGES[self.stage]
        return Stage(self.stage or 0, len(prepare.STAGES), words, time.monotonic() - self.started)


_openings: dict[str, _Opening] = {}
_lock = Lock()
_turns = Semaphore(AT_ONCE)


async def opening(key: str) -> AsyncIterator[Stage]:
    """Yields how far the opening of a registered or uploaded data set is, until `state.open_dataset` has it.

    Raises:
        SDiffError: an unknown key, files that are missing or cannot be read.
    """
    if not state.is_open(key):
        async for stage in joined(key, _loader(key)):
            yield stage


async def opened(key: str) -> None:
    """`opening` to its end."""
    async for _ in opening(key):
        pass


async def joined(key: str, load: Callable[[], Dataset], undo: Callable[[], None] | None = None) -> AsyncIterator[Stage]:
    """As `opening`, with what reads the data set and, perhaps, what removes the files that reading it left, where it
    cannot be opened after all. Whoever asks while another is waiting waits for the same opening."""
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
            yield work.seen()
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
        with _turn(work), scratch(Path(gettempdir())) as folder:
            work.stage = 0
            steps = runs.apart(
                prepare.steps,
                *(work.load, serving_device(), folder),
                niceness=NICENESS,
                abandoned=work.abandoned,
            )
            with closing(steps):
                for step in steps:
                    if isinstance(step, Dataset):
                        work.stage = len(prepare.STAGES) - 1
                        state.hold(key, state.prepared(step, folder))
                    else:
                        work.stage = step
    except Exception as error:
        work.failure = error
        with _lock:
            if work.undo and _openings.get(key) is work:  # a newer opening may need the files
                work.undo()
    finally:
        with _lock:
            if _openings.get(key) is work:
                del _openings[key]
        work.finished.set()


@contextmanager
def _turn(work: _Opening) -> Iterator[None]:
    """Waits until no more than `AT_ONCE` are opened. Raises SDiffError where nobody waits any more."""
    while not (taken := _turns.acquire(timeout=TICK)) and not work.abandoned.is_set():
        pass
    try:
        if work.abandoned.is_set():
            raise SDiffError("Nobody waits for this any more.")
        yield
    finally:
        if taken:
            _turns.release()


def _loader(key: str) -> Callable[[], Dataset]:
    """What reads a data set in another process. What can be said at once, such as missing files, is raised here."""
    if key not in REGISTRY:
        uploads.folder_of(key, uploads_dir())
        return partial(uploads.load, key, uploads_dir())
    available(key)
    return partial(load_dataset, key)
