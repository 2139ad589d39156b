"""A training run in a process of its own, so that neither lists nor the page wait for it; nothing here knows gradio.

Python runs one thread at a time, and a run would take it for each of its many small steps. Its process stands back
where both want a processor, and gives all memory back when the run is over; where that is killed, the app is not.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event
from typing import Any

import torch

from sdiff.base.errors import SDiffError
from sdiff.config import Config
from sdiff.data.interactions import Split
from sdiff.training.checkpointing import Epochs, checkpointed
from sdiff.training.trainer import Progress, Trainer

LOOK = 0.2  # seconds between two looks whether a step was abandoned
POLITENESS = 19  # how far a run stands back: Unix' niceness, where 19 is the most
# A fork of a process that has only imported this, and what torch's optimizers load when the first one is made; a fork
# of the app, with its threads, could hang.
if "forkserver" in multiprocessing.get_all_start_methods():
    PROCESSES = multiprocessing.get_context("forkserver")
    PROCESSES.set_forkserver_preload([__name__, "torch._dynamo"])
else:  # Windows
    PROCESSES = multiprocessing.get_context("spawn")


def warm_up() -> None:
    """Starts the process that the others are forked from, which takes seconds: before the first one is waited for."""
    if PROCESSES.get_start_method() == "forkserver":
        forkserver.ensure_running()


@dataclass(frozen=True)
class Ended:
    """How a run ended: after how many epochs and seconds, which of them was the best, and why sooner than it should."""

    epoch: int
    seconds: float
    best_epoch: int
    failure: SDiffError | None


# What a run yields; it is sent whether to stop.
Run = Generator[Progress | Ended, bool | None, None]


def kept(
    epochs: Epochs,
    config: Config,
    split: Split,
    seed: int,
    device: torch.device,
    dataset: str,
    preset: str,
    folder: Path,
) -> Run:
    """Trains by `epochs`; the best weights are in the folder however that ends (`checkpointed`).

    Raises:
        SDiffError: no epoch came to its end, or there is no place for the weights.
    """
    trainer, failure = Trainer(config, split, seed, device), None
    try:
        with closing(checkpointed(trainer, folder, dataset, preset, epochs=epochs)) as run:
            for progress in run:
                if (yield progress):
                    break
    except SDiffError as error:
        if not (folder / "config.json").exists():  # there is no checkpoint
            raise
        failure = error
    yield Ended(trainer.epoch, trainer.seconds, trainer.best.epoch, failure)


def apart(
    generator: Callable[..., Generator[Any, Any, None]],
    *arguments: Any,
    niceness: int = POLITENESS,
    abandoned: Event | None = None,
) -> Generator[Any, Any, None]:
    """A generator whose steps are taken in a process of its own, each when it is asked for; closing this closes that.

    Args:
        niceness: how far the process stands back.
        abandoned: set by another thread, it ends the process within a step; otherwise a step is waited for.

    Raises:
        SDiffError: the process was killed, could not even start, or was abandoned; and whatever the generator raises.
    """
    here, there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_steps, args=(there, generator, arguments, niceness), daemon=True)
    try:
        process.start()
    except (EOFError, OSError) as error:  # no memory for one, or what forks them was killed: the next makes another
        raise SDiffError(f"No process could be started for this run ({error}): start it again.") from error
    there.close()
    sent = None
    try:
        while True:
            try:
                here.send(sent)
                while abandoned is not None and not here.poll(LOOK):
                    if abandoned.is_set():
                        process.terminate()
                        raise SDiffError("Nobody waits for this any more.")
                value, error = here.recv()
            except (EOFError, OSError):
                process.join()
                raise SDiffError(
                    f"The process of this run was killed (code {process.exitcode}), perhaps as this machine has too "
                    f"little memory for it: lower batch_size, hidden or K, and train again."
                ) from None
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            sent = yield value
    finally:
        here.close()
        process.join()


def _steps(
    asked: Connection, generator: Callable[..., Generator[Any, Any, None]], arguments: tuple[Any, ...], niceness: int
) -> None:
    """The other side of `apart`."""
    if hasattr(os, "nice"):
        os.nice(niceness)
    for name in ("SIGINT", "SIGHUP"):  # the terminal's, which are meant for the app; Windows lacks the second
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # the app ends: so does the generator, in good order
    with closing(generator(*arguments)) as run, asked:
        while True:
            try:
                sent = asked.recv()
            except EOFError:  # nobody asks any more
                return
            try:
                asked.send((run.send(sent), None))
            except Exception as error:  # StopIteration, too
                error.add_note(traceback.format_exc())
                with suppress(BrokenPipeError):  # nobody asks any more
                    asked.send((None, error))
                return
