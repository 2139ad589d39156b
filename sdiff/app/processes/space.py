"""Support for Hugging Face Spaces: training on ZeroGPU, and a note that trained models are lost on restart.

On ZeroGPU this process has no GPU, although torch reports one. The package `spaces` runs a decorated function in a
worker, a fork of this process, which gets a GPU for some seconds of the visitor's quota. The two processes exchange
only pickled arguments and results, and files. On other machines this module changes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import gradio as gr
import torch

from sdiff.app.processes import runs
from sdiff.base.device import best_device
from sdiff.base.errors import SDiffError
from sdiff.config import Config
from sdiff.data.interactions import Split
from sdiff.training.run_state import resume, save_state
from sdiff.training.trainer import Progress, Trainer

ZERO_GPU = os.environ.get("SPACES_ZERO_GPU") == "true"
GPU_SECONDS = 60  # requested for a slice; ZeroGPU refuses visitors with less quota left
TRAIN_SECONDS = 45  # of these, in which epochs must end; the rest is for starting and saving


class Interrupted(SDiffError):
    """ZeroGPU refused more time before the run was finished."""


def note() -> str:
    """A note to show beside the training form; empty outside of Spaces."""
    sentences = []
    if "SPACE_ID" in os.environ and "SDIFF_RUNS_DIR" not in os.environ:  # a folder set explicitly may be persistent
        sentences.append("Models that you train here are lost when this Space restarts.")
    if ZERO_GPU:
        sentences.append("A run takes GPU time from your ZeroGPU quota, a minute at a time.")
    return " ".join(sentences)


def serving_device() -> torch.device:
    """Device for lists. On ZeroGPU the CPU: a list takes about 10 ms, but a GPU worker takes seconds to start."""
    return torch.device("cpu") if ZERO_GPU else best_device()


def run(config: Config, split: Split, seed: int, dataset: str, preset: str, folder: Path) -> runs.Run:
    """Runs `runs.train_and_save` in a separate process, or in slices on ZeroGPU.

    The failure of the run is Interrupted if ZeroGPU gives no more time. Raises SDiffError like `runs.train_and_save`.
    """
    arguments = config, split, seed, serving_device(), dataset, preset, folder
    if ZERO_GPU:
        return runs.train_and_save(sliced, *arguments)
    advice = "lower batch_size, hidden or K, and train again"
    return runs.in_subprocess(runs.train_and_save, Trainer.iter_epochs, *arguments, advice=advice)


def choose(minutes: float, split: Split, seed: int, dataset: str, folder: Path) -> runs.Choice:
    """Runs `runs.choose_and_save` in a separate process, or in slices on ZeroGPU."""
    arguments = minutes, split, seed, serving_device(), dataset, folder
    if ZERO_GPU:
        return runs.choose_and_save(sliced, *arguments)
    advice = "train a single model, with a lower batch_size, hidden or K"
    return runs.in_subprocess(runs.choose_and_save, Trainer.iter_epochs, *arguments, advice=advice)


def sliced(trainer: Trainer) -> Generator[Progress, None, None]:
    """Runs `trainer.iter_epochs()` in slices. Each slice runs in a worker that resumes the state saved by the last one.

    At the end, or when closed, the trainer has the state of the run.
    """
    with TemporaryDirectory() as folder:
        state = Path(folder) / "training.safetensors"
        save_state(trainer, state)
        while not trainer.finished:
            try:
                with closing(train_slice(trainer.config, trainer.split, trainer.seed, state)) as slice:
                    for progress in slice:
                        if isinstance(progress, SDiffError):
                            raise progress
                        yield progress
            except gr.Error as error:
                raise Interrupted(f"ZeroGPU says: {error.message!s}") from error
            finally:
                resume(trainer, state)


def _train_slice(config: Config, split: Split, seed: int, state: Path) -> Generator[Progress | SDiffError, None, None]:
    """Resumes from the file `state`, trains as many epochs as fit into a slice, and saves the state again.

    An SDiffError is yielded as the last item, because only the name of an exception gets out of a worker.
    """
    end = time.monotonic() + TRAIN_SECONDS
    trainer = Trainer(config, split, seed)
    resume(trainer, state)
    slowest, before = 0.0, trainer.seconds
    try:
        for progress in trainer.iter_epochs():
            yield progress
            slowest, before = max(slowest, progress.seconds - before), progress.seconds
            if time.monotonic() + slowest > end:
                break
    except SDiffError as error:
        yield error
    finally:
        save_state(trainer, state)


if ZERO_GPU:
    import spaces  # pyright: ignore[reportMissingImports]

    train_slice = spaces.GPU(duration=GPU_SECONDS)(_train_slice)
else:
    train_slice = _train_slice
