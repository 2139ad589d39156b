"""Terminal output and exit codes. Expected errors end in one sentence, never in a traceback."""

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
# Exit statuses. The last two are those that a shell reports for SIGINT and SIGPIPE.
REFUSED, INTERRUPTED, UNREAD = 2, 128 + 2, 128 + 13


def run(name: str, program: Callable[[], int]) -> int:
    """Runs a program and returns its exit status.

    SDiffError, OSError and Ctrl-C end the program with one sentence on stderr. A closed output pipe, as with `| head`,
    ends it silently. Characters that the terminal cannot encode are printed as escapes. Standard streams that are
    closed are connected to /dev/null.
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
        sys.stdout.flush()  # here, because a failing flush at exit prints a traceback
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
        context = {None: "", OUTPUT: "Cannot write the output: "}.get(error.filename, f"Cannot use {error.filename}: ")
        return _end(f"{name}: {context}{error.strerror or str(error) or type(error).__name__}.", REFUSED)


def _open_streams() -> None:
    """Connects closed standard streams to /dev/null.

    Otherwise the next file or socket would get their descriptor, and libraries that write to stdout or stderr would
    fail.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is `number`
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115


def _naming_output(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a method of a stream so that its OSErrors carry `OUTPUT` as their file name."""

    def call(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except OSError as error:
            error.filename = OUTPUT
            raise

    return call


@contextmanager
def interruptible_imports() -> Iterator[None]:
    """Makes Ctrl-C end the program at once, because imports may swallow a KeyboardInterrupt or raise another error."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not is_default or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(message: str, status: int) -> int:
    """Prints `message`, if any, to stderr and returns `status`."""
    with suppress(OSError):
        if message:
            print(message, file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:  # the rest of the buffer would fail again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status
