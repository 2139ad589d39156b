"""What the app writes of its work: a line of JSON on stderr for each event.

It says which event of which session it was, by the ids that gradio gives its clients, how long it took, which data set
and model it was about, and what was refused or failed. Nothing of a user or a history is in it.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from sdiff.base.errors import SDiffError

LOG = logging.getLogger("sdiff.app")
SLOW = 1.0  # seconds from which on an event is written in any case
LONGEST = 200  # characters of a text that are written: strangers choose some of them

_facts: ContextVar[dict[str, Any]] = ContextVar("facts")


def begin(verbose: bool) -> None:
    """Sends the lines to stderr: with `verbose` one for every event, else for those that were slow or failed."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line())
    LOG.handlers, LOG.propagate = [handler], False
    LOG.setLevel(logging.INFO if verbose else logging.WARNING)


def observe(demo: gr.Blocks) -> None:
    """Has every event of the page and every endpoint written down."""
    for event in demo.fns.values():
        if event.fn is not None:
            event.fn = observed(event.fn, str(event.api_name or event.name))


def note(**facts: str) -> None:
    """Adds to the line of the event that is running, where there is one."""
    if (known := _facts.get(None)) is not None:
        known.update(facts)


def refused(event: str, why: str, path: str) -> None:
    """Writes down a request of which no event came."""
    LOG.warning(event, extra={"facts": {"event": event, "path": path, "refused": why}})


def observed(handler: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A handler of any kind (a function or a generator, async or not) that is written down as `name`."""
    if inspect.isasyncgenfunction(handler):

        async def run(*values: Any, **named: Any) -> Any:
            with _event(name, math.inf) as facts:  # meant to last
                async with aclosing(handler(*values, **named)) as steps:
                    async for step in steps:
                        yield step
                        _facts.set(facts)  # gradio takes each step in another context

        return functools.wraps(handler)(run)
    if inspect.iscoroutinefunction(handler):

        async def awaited(*values: Any, **named: Any) -> Any:
            with _event(name, SLOW):
                return await handler(*values, **named)

        return functools.wraps(handler)(awaited)
    if inspect.isgeneratorfunction(handler):

        def stepped(*values: Any, **named: Any) -> Any:
            with _event(name, math.inf) as facts, closing(handler(*values, **named)) as steps:
                for step in steps:
                    yield step
                    _facts.set(facts)

        return functools.wraps(handler)(stepped)

    def called(*values: Any, **named: Any) -> Any:
        with _event(name, SLOW):
            return handler(*values, **named)

    return functools.wraps(handler)(called)


@contextmanager
def _event(name: str, slow: float) -> Iterator[dict[str, Any]]:
    """An event that is written down at its end, with what it gives and `note` adds to."""
    request = LocalContext.request.get(None)
    session = getattr(request, "session_hash", None)
    facts: dict[str, Any] = {"event": name, "id": LocalContext.event_id.get(None), "session": session}
    _facts.set(facts)  # the context is this event's own: gradio runs each in a copy
    started, level = time.perf_counter(), logging.INFO
    try:
        yield facts
    except (gr.Error, SDiffError) as error:
        facts.setdefault("refused", str(error))
        raise
    except Exception:
        level = logging.ERROR
        raise
    finally:
        seconds = time.perf_counter() - started
        facts["ms"] = round(1000 * seconds, 1)
        if seconds > slow:
            level = max(level, logging.WARNING)
        LOG.log(level, name, extra={"facts": facts}, exc_info=level == logging.ERROR)


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"at": datetime.fromtimestamp(record.created, UTC).isoformat("T", "milliseconds")}
        facts = getattr(record, "facts", {"event": record.getMessage()})
        line |= {"level": record.levelname.lower(), **{name: _cut(value) for name, value in facts.items()}}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _cut(value: Any) -> Any:
    return f"{value[:LONGEST]}…" if isinstance(value, str) and len(value) > LONGEST else value
