"""What a Hugging Face Space asks of the app: GPU time on ZeroGPU, and a word on what is lost.

On ZeroGPU this process has no GPU, though torch says that it has one. The package `spaces` runs a decorated function in
a worker, a fork of this process, which has a GPU for some seconds out of the visitor's quota. Pickled arguments and
results pass between the two, and files, nothing else. Elsewhere nothing here makes a difference.
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

from sdiff.app import runs
from sdiff.base.device import best_device
from sdiff.base.errors import SDiffError
from sdiff.config import Config
from sdiff.data.interactions import Split
from sdiff.training.run_state import resume, save_state
from sdiff.training.trainer import Progress, Trainer

ZERO_GPU = os.environ.get("SPACES_ZERO_GPU") == "true"
ASKED = 60  # seconds of GPU for a slice: who has fewer left gets none
TRAINED = 45  # seconds of them in which an epoch may end; the rest is for the start and for saving


class Interrupted(SDiffError):
    """ZeroGPU gives no more time to a run that is not finished."""


def note() -> str:
    """What a visitor has to know before training here; empty where it is as on any machine."""
    sentences = []
    if "SPACE_ID" in os.environ and "SDIFF_RUNS_DIR" not in os.environ:  # a folder of its own may outlast the Space
        sentences.append("What is trained here is lost when this Space restarts.")
    if ZERO_GPU:
        sentences.append("A run takes GPU time from your ZeroGPU quota, a minute at a time.")
    return " ".join(sentences)


def serving_device() -> torch.device:
    """Where this process computes. A list takes the CPU some 10 ms; a worker with a GPU would take seconds to start."""
    return torch.device("cpu") if ZERO_GPU else best_device()


def run(config: Config, split: Split, seed: int, dataset: str, preset: str, folder: Path) -> runs.Run:
    """A run that is kept in the folder (`runs.kept`), in a process of its own or in slices on ZeroGPU. SDiffError as
    that; its failure is Interrupted where ZeroGPU gives no more time."""
    given = config, split, seed, serving_device(), dataset, preset, folder
    return runs.kept(sliced, *given) if ZERO_GPU else runs.apart(runs.kept, Trainer.iter_epochs, *given)


def sliced(trainer: Trainer) -> Generator[Progress, None, None]:
    """`trainer.iter_epochs()` in as many slices as it takes, each in a worker that goes on from the state which the
    last one left. When it ends, or is closed, the trainer stands where the run does."""
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
    """As many epochs as fit, from the `state` in the file to the next one there. A failure comes as the last item: of
    an exception that leaves a worker no more than the name arrives."""
    end = time.monotonic() + TRAINED
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

    train_slice = spaces.GPU(duration=ASKED)(_train_slice)
else:
    train_slice = _train_slice
