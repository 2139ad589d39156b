"""How a program meets its terminal: what it may print, and how it ends. No ending is a traceback."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import TextIOWrapper
from typing import Any

from sdiff.base.errors import SDiffError

OUTPUT = "<output>"
REFUSED, INTERRUPTED, UNREAD = 2, 128 + 2, 128 + 13  # exit statuses, the last two as a shell has them for signals


def run(name: str, program: Callable[[], int]) -> int:
    """Runs a program and returns its exit status. Characters that the terminal lacks are printed as escapes.

    An SDiffError, Ctrl-C, and errors of the system end it with one sentence on stderr. Where the reader of its output
    has gone, as with `| head`, it ends without a word. Streams that were closed before the start are
    those of /dev/null.
    """
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            stream.write = _naming_output(partial(type(stream).write, stream))
            stream.flush = _naming_output(partial(type(stream).flush, stream))
    try:
        try:
            status = program()
        except SystemExit as leaving:
            status = leaving
        sys.stdout.flush()  # here, as Python's own flush at exit fails with a traceback
        if isinstance(status, SystemExit):
            raise status
        return status
    except SDiffError as error:
        return _end(f"{name}: {error}", REFUSED)
    except KeyboardInterrupt:
        return _end(f"{name}: stopped.", INTERRUPTED)
    except OSError as error:
        if error.filename == OUTPUT and isinstance(error, BrokenPipeError):
            return _end("", UNREAD)
        what = {None: "", OUTPUT: "Cannot write the output: "}.get(error.filename, f"Cannot use {error.filename}: ")
        return _end(f"{name}: {what}{error.strerror or str(error) or type(error).__name__}.", REFUSED)


def _open_streams() -> None:
    """Opens what is closed of stdin, stdout and stderr. Otherwise the next file or socket to be opened would be in its
    place, and libraries that write there fail."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115


def _naming_output(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a stream. Its errors have `OUTPUT` as their file name, where the system gives none."""

    def call(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except OSError as error:
            error.filename = OUTPUT
            raise

    return call


@contextmanager
def interruptible_imports() -> Iterator[None]:
    """Ctrl-C ends the program at once. As an exception in the midst of an import it may be lost, or become another."""
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(words: str, status: int) -> int:
    with suppress(OSError):
        if words:
            print(words, file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:  # what is left in the buffer would fail once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status
