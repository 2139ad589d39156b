"""Training runs in separate processes. Does not depend on gradio.

In the app's process, a run would hold Python's lock for most of its many small steps and delay lists and pages. A
separate process has a lower priority, frees all its memory when it ends, and can be killed without ending the app.
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
from sdiff.evaluation.baselines import BASELINES
from sdiff.evaluation.evaluate import evaluate
from sdiff.training.auto import Candidate, Failure, Step, compare
from sdiff.training.checkpointing import Epochs, checkpointed
from sdiff.training.trainer import CRITERION, Progress, Trainer

POLL = 0.2  # seconds between checks whether a step was abandoned
NICENESS = 19  # of a run; 19 is the lowest priority on Unix
# Processes are forked from a server process that has only imported this module and what torch's optimizers load on
# first use. A fork of the app itself could hang because the app has threads.
if "forkserver" in multiprocessing.get_all_start_methods():
    PROCESSES = multiprocessing.get_context("forkserver")
    PROCESSES.set_forkserver_preload([__name__, "torch._dynamo", "sdiff.app.processes.ignore_hangup"])
else:  # Windows
    PROCESSES = multiprocessing.get_context("spawn")


def warm_up() -> None:
    """Starts the fork server in advance, because its start takes seconds."""
    if PROCESSES.get_start_method() == "forkserver":
        forkserver.ensure_running()


@dataclass(frozen=True)
class Ended:
    """Result of a run.

    Attributes:
        epoch: number of epochs trained.
        best_epoch: epoch of the weights that were kept.
        valid: their validation recall@20; None if nothing was validated.
        popularity: that of the most popular items; None without a validation part.
        failure: the error that ended the run early, if any.
    """

    epoch: int
    best_epoch: int
    valid: float | None
    popularity: float | None
    failure: SDiffError | None


# Yields progress. Sending True stops the run after the current epoch.
Run = Generator[Progress | Ended, bool | None, None]
Choice = Generator[Step | Candidate | Failure | Ended, bool | None, None]


def train_and_save(
    epochs: Epochs,
    config: Config,
    split: Split,
    seed: int,
    device: torch.device,
    dataset: str,
    preset: str,
    folder: Path,
) -> Run:
    """Trains with `epochs` and keeps the best weights in `folder`, even if the run fails or stops (`checkpointed`).

    Raises:
        SDiffError: no epoch was completed, or the weights cannot be saved.
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
    yield _ended(trainer, failure)


def choose_and_save(
    epochs: Epochs, minutes: float, split: Split, seed: int, device: torch.device, dataset: str, folder: Path
) -> Choice:
    """Trains the presets that fit the data with `epochs`, and keeps the best one so far in `folder` (`auto.compare`).

    Raises:
        SDiffError: no preset could be trained, or the weights cannot be saved.
    """
    stopped = Event()
    best: list[Trainer] = []

    def keep(trainer: Trainer, preset: str) -> None:
        trainer.checkpoint(dataset, preset).save(folder)
        best[:] = [trainer]

    for step in compare(split, seed, minutes, keep, device, stopped.is_set, epochs):
        if (yield step):
            stopped.set()
    yield _ended(best[0])


def _ended(trainer: Trainer, failure: SDiffError | None = None) -> Ended:
    split, popularity = trainer.split, None
    if len(split.valid):
        popularity = evaluate(BASELINES["popularity"](split), split, "valid", torch.device("cpu"))[CRITERION]
    return Ended(trainer.epoch, trainer.best.epoch, trainer.best.valid.get(CRITERION), popularity, failure)


def in_subprocess(
    generator: Callable[..., Generator[Any, Any, None]],
    *arguments: Any,
    niceness: int = NICENESS,
    abandoned: Event | None = None,
    advice: str = "try again, with less data",
) -> Generator[Any, Any, None]:
    """Runs a generator in a separate process, one step per request. Closing this generator closes the other one.

    Args:
        niceness: niceness of the process (0 to 19).
        abandoned: once another thread sets it, the process ends in the middle of a step. Without it, closing waits for
            the current step.
        advice: what to do if memory runs out.

    Raises:
        SDiffError: the process did not start, was killed or was abandoned. Errors of the generator are raised, too.
    """
    here, there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_steps, args=(there, generator, arguments, niceness), daemon=True)
    try:
        process.start()
    except (EOFError, OSError) as error:  # out of memory, or the fork server was killed; it restarts next time
        raise SDiffError(f"No process could be started ({error}): try again.") from error
    there.close()
    sent = None
    try:
        while True:
            try:
                here.send(sent)
                while abandoned is not None and not here.poll(POLL):
                    if abandoned.is_set():
                        process.terminate()
                        raise SDiffError("Cancelled, because nobody is waiting for the result.")
                value, error = here.recv()
            except (EOFError, OSError):
                process.join()
                raise SDiffError(
                    f"The process was killed (exit code {process.exitcode}), perhaps because memory ran out: {advice}."
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
    connection: Connection,
    generator: Callable[..., Generator[Any, Any, None]],
    arguments: tuple[Any, ...],
    niceness: int,
) -> None:
    """The main function of the process that `in_subprocess` starts."""
    if hasattr(os, "nice"):
        os.nice(niceness)
    for name in ("SIGINT", "SIGHUP"):  # sent by the terminal, for the app to handle; Windows lacks SIGHUP
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # close the generator when the app ends
    with closing(generator(*arguments)) as run, connection:
        while True:
            try:
                sent = connection.recv()
            except EOFError:  # the app has closed the connection
                return
            try:
                connection.send((run.send(sent), None))
            except Exception as error:  # includes StopIteration
                error.add_note(traceback.format_exc())
                with suppress(BrokenPipeError):  # the app has closed the connection
                    connection.send((None, error))
                return
