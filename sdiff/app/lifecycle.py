"""The app's process: start, address and shutdown."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from errno import EADDRNOTAVAIL
from threading import Thread
from time import monotonic, sleep
from types import FrameType
from typing import TYPE_CHECKING

from sdiff.base.errors import SDiffError
from sdiff.base.terminal import INTERRUPTED, OUTPUT, interruptible_imports

if TYPE_CHECKING:
    import gradio as gr

PORTS = range(1, 1 << 16)
GRACE = 1  # seconds to wait for open requests at shutdown; the event streams of pages never end by themselves
M_ARENA_MAX = -8  # from malloc.h
SAVING = 2.5  # seconds for the whole shutdown, in which training runs save their best weights
STATUS: dict[int, int] = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: 0}
if hasattr(signal, "SIGHUP"):  # the terminal was closed
    STATUS |= {signal.SIGHUP: 128 + signal.SIGHUP}


def serve(verbose: bool) -> None:
    """Serves the app until a signal ends it. With `verbose`, every event is logged to stderr.

    Raises:
        SDiffError: the address cannot be used, or an environment variable is invalid.
    """
    check_address()  # before gradio reads it
    _share_heap()
    with interruptible_imports():
        from sdiff.app.layout import build, launch
    demo = build()
    end_on_signals(demo)
    try:
        launch(demo, verbose)
    except OSError as error:
        if error.filename != OUTPUT:
            check_address()  # raises if another program has taken the port meanwhile
        raise


def _share_heap() -> None:
    """Makes all threads allocate from one heap, where glibc would give each its own.

    Requests move from thread to thread, so free memory would be scattered over all heaps, and the process would grow
    for hours. Threads rarely wait for the heap. A thread returns free memory to the system once a minute; by itself,
    glibc returns only what lies at the end of the heap. `$MALLOC_ARENA_MAX` has the last word.
    """
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError):  # another C library
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(M_ARENA_MAX, 1)
            Thread(target=_trim, args=(libc.malloc_trim,), daemon=True).start()


def _trim(malloc_trim: Callable[[int], int]) -> None:
    while True:
        sleep(60)
        malloc_trim(0)


def check_address() -> None:
    """Checks that the app can listen on `$GRADIO_SERVER_NAME`:`$GRADIO_SERVER_PORT`.

    If the port is not set, gradio tries `$GRADIO_NUM_PORTS` ports from 7860 on.

    Raises:
        SDiffError: the name is not an address of this machine, the port is invalid, or no port is free.
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
        except (OSError, UnicodeError, TypeError) as error:  # the last two for malformed names
            if not isinstance(error, OSError) or isinstance(error, socket.gaierror) or error.errno == EADDRNOTAVAIL:
                raise SDiffError(
                    f"GRADIO_SERVER_NAME must be a host name or an IPv4 address of this machine, not {name:.100}. Use "
                    f"127.0.0.1 for local access only, or 0.0.0.0 for access from other machines."
                ) from None
            reason = str(error.strerror)
    which = f"port {first}" if len(ports) == 1 else f"any port from {first} to {ports[-1]}"
    raise SDiffError(f"Cannot serve at {name}, {which} ({reason}): set GRADIO_SERVER_PORT to a free port.")


def end_on_signals(demo: gr.Blocks) -> None:
    """Makes Ctrl-C, SIGTERM and the closing of the terminal end the process within seconds.

    Training runs save their best weights, and open connections are closed. Signals that are ignored, such as SIGHUP
    under `nohup`, stay ignored.
    """

    def end(number: int, _: FrameType | None) -> None:
        status, deadline = STATUS[number], monotonic() + SAVING
        for other in handled:
            signal.signal(other, lambda *_: os._exit(status))  # a second signal ends the process at once
        logging.getLogger("uvicorn.error").disabled = True  # it would log each interrupted request
        try:
            runs = multiprocessing.active_children()
            for run in runs:
                run.terminate()
            if server := getattr(demo, "server", None):  # set by gradio once it listens
                server.config.timeout_graceful_shutdown = GRACE
            # In a thread, because gradio waits up to 5 s for its server.
            closing = Thread(target=demo.close, kwargs={"verbose": False}, daemon=True)
            closing.start()
            for each in (*runs, closing):
                each.join(max(0, deadline - monotonic()))
            sys.stdout.flush()  # fails if the signal interrupted a print
        finally:
            # A regular exit would wait for all threads, such as one that waits for the next epoch of a run.
            os._exit(status)

    handled = [number for number in STATUS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, end)


def _number(variable: str, default: str) -> int:
    text = os.environ.get(variable, default)
    if not (re.fullmatch(r"[0-9]{1,5}", text) and int(text) in PORTS):
        raise SDiffError(f"{variable} must be a whole number from 1 to {PORTS[-1]}, not {text:.20}.")
    return int(text)
