"""The process of the app: its start, the address that it serves at, and its end."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import re
import signal
import socket
import sys
from contextlib import suppress
from errno import EADDRNOTAVAIL
from threading import Thread
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING

from sdiff.base.errors import SDiffError
from sdiff.base.terminal import INTERRUPTED, interruptible_imports

if TYPE_CHECKING:
    import gradio as gr

PORTS = range(1, 1 << 16)
GRACE = 1  # seconds that open requests are waited for; a page's stream of answers never ends by itself
M_ARENA_MAX = -8  # of malloc.h
SAVING = 2.5  # seconds, with those, that all of it may take, such as training runs that save their best weights
STATUS: dict[int, int] = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: 0}
if hasattr(signal, "SIGHUP"):  # its terminal was closed
    STATUS |= {signal.SIGHUP: 128 + signal.SIGHUP}


def serve(verbose: bool) -> None:
    """Serves the app until a signal ends it; with `verbose` every event is written to stderr.

    Raises:
        SDiffError: it cannot be served at its address, or an environment variable is wrong.
    """
    check_address()  # before gradio reads it
    _share_heap()
    with interruptible_imports():
        from sdiff.app.layout import build, launch
    demo = build()
    end_on_signals(demo)
    try:
        launch(demo, verbose)
    except OSError:
        check_address()  # says so where another program has taken the port meanwhile
        raise


def _share_heap() -> None:
    """Has all threads allocate from one heap, where glibc would give each its own.

    Requests move from thread to thread, so that free memory is scattered over all heaps, and the process grows for
    hours. Threads that hold Python's lock one at a time gain nothing from several heaps.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL("libc.so.6").mallopt(M_ARENA_MAX, 1)


def check_address() -> None:
    """Finds out whether the app can be served at `$GRADIO_SERVER_NAME`:`$GRADIO_SERVER_PORT`.

    A port that is named is the only one; without it gradio tries `$GRADIO_NUM_PORTS` of them, from 7860 on.

    Raises:
        SDiffError: a name that is none of this machine's, no port, or no free one.
    """
    if "GRADIO_SERVER_PORT" in os.environ:
        os.environ["GRADIO_NUM_PORTS"] = "1"
    name = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    first = _number("GRADIO_SERVER_PORT", "7860")
    ports = range(first, min(first + _number("GRADIO_NUM_PORTS", "100"), PORTS.stop))
    reason = ""
    for port in ports:
        try:
            with socket.socket() as free:
                free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                free.bind((name or "?", port))  # an empty name would mean every address
                return
        except (OSError, UnicodeError, TypeError) as error:  # the last two of names that are none
            if not isinstance(error, OSError) or isinstance(error, socket.gaierror) or error.errno == EADDRNOTAVAIL:
                raise SDiffError(
                    f"GRADIO_SERVER_NAME must be a name or an IPv4 address of this machine, not {name:.100}: "
                    f"127.0.0.1 serves this machine alone, 0.0.0.0 others as well."
                ) from None
            reason = str(error.strerror)
    which = f"port {first}" if len(ports) == 1 else f"any port from {first} to {ports[-1]}"
    raise SDiffError(f"Cannot serve at {name}, {which} ({reason}): set GRADIO_SERVER_PORT to a free port.")


def end_on_signals(demo: gr.Blocks) -> None:
    """Has Ctrl-C, SIGTERM and the closing of the terminal end the process within seconds, from whatever it does: its
    training runs are told to keep their best weights, open connections are closed. What is ignored, as SIGHUP after
    `nohup`, stays ignored."""

    def end(number: int, _: FrameType | None) -> None:
        status, deadline = STATUS[number], monotonic() + SAVING
        for other in STATUS:
            signal.signal(other, lambda *_: os._exit(status))  # who asks twice does not want to wait
        logging.getLogger("uvicorn.error").disabled = True  # which prints each request that is cut off
        try:
            runs = multiprocessing.active_children()
            for run in runs:
                run.terminate()
            if server := getattr(demo, "server", None):  # gradio sets it once it listens
                server.config.timeout_graceful_shutdown = GRACE
            # In a thread, as gradio waits up to 5 s for its server.
            closing = Thread(target=demo.close, kwargs={"verbose": False}, daemon=True)
            closing.start()
            for each in (*runs, closing):
                each.join(max(0, deadline - monotonic()))
            sys.stdout.flush()  # fails where the signal came in the midst of a print
        finally:
            # Python would wait for every thread, such as one that waits for the next epoch of a run.
            os._exit(status)

    for number in STATUS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def _number(variable: str, usual: str) -> int:
    text = os.environ.get(variable, usual)
    if not (re.fullmatch(r"[0-9]{1,5}", text) and int(text) in PORTS):
        raise SDiffError(f"{variable} must be a whole number from 1 to {PORTS[-1]}, not {text:.20}.")
    return int(text)
