"""The app's log: one line of JSON on stderr per event.

A line has the event, gradio's ids of event and session, the duration, the data set and model, and errors. It contains
no user ids and no histories.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
import math
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import gradio as gr
from gradio.context import LocalContext
from uvicorn.config import LOGGING_CONFIG

from sdiff.base.errors import SDiffError

LOG = logging.getLogger("sdiff")
SLOW = 1.0  # seconds after which an event is logged even without `verbose`
LONGEST = 200  # maximum number of characters of a value, because clients choose some of them

_facts: ContextVar[dict[str, Any]] = ContextVar("facts")


def begin(verbose: bool) -> None:
    """Starts logging to stderr: all events with `verbose`, else only those that are slow or fail."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line())
    for log in (LOG, logging.getLogger("mcp")):  # the MCP server quotes its clients
        log.handlers, log.propagate = [handler], False
    LOGGING_CONFIG["formatters"]["default"] = {"()": _Line}  # of the web server, which sets up its log when it starts
    LOG.setLevel(logging.INFO if verbose else logging.WARNING)


def observe(demo: gr.Blocks) -> None:
    """Logs every event of the page and every endpoint."""
    for event in demo.fns.values():
        if event.fn is not None:
            event.fn = observed(event.fn, str(event.api_name or event.name))


def note(**facts: str) -> None:
    """Adds facts to the log line of the current event, if there is one."""
    if (known := _facts.get(None)) is not None:
        known.update(facts)


def raised_in(error: BaseException) -> str:
    """The function that raised an error, in place of its message, which may quote ids and rows of data."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return f"{frames[-1].f_globals['__name__']}.{frames[-1].f_code.co_qualname}" if frames else type(error).__name__


def refused(event: str, why: str, path: str) -> None:
    """Logs a request that was refused before it became an event."""
    LOG.warning(event, extra={"facts": {"event": event, "path": path, "refused": why}})


def observed(handler: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Wraps a handler (function or generator, async or not) so that its calls are logged as `name`."""
    if inspect.isasyncgenfunction(handler):

        async def run(*values: Any, **named: Any) -> Any:
            with _event(name, math.inf) as facts:  # a generator may last long
                async with aclosing(handler(*values, **named)) as steps:
                    async for step in steps:
                        yield step
                        _facts.set(facts)  # gradio runs each step in another context

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
    """Logs an event at its end. Yields its facts, to which `note` adds."""
    request = LocalContext.request.get(None)
    session = getattr(request, "session_hash", None)
    facts: dict[str, Any] = {"event": name, "id": LocalContext.event_id.get(None), "session": session}
    _facts.set(facts)  # gradio runs each event in its own copy of the context
    started, level = time.perf_counter(), logging.INFO
    try:
        yield facts
    except (gr.Error, SDiffError) as error:
        facts.setdefault("refused", raised_in(error))
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
