"""Steps that open a data set: read its files, compute its spectrum, and solve the model that needs no training.

They run in a separate process (see `openings`), so this module does not depend on gradio.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import torch

from sdiff.config import preset
from sdiff.data.datasets import Dataset
from sdiff.training.trainer import Trainer

STAGES = (
    "reading its files",
    "computing the spectrum of its item graph",
    "solving and validating the model Instant",
    "building its catalog of items",  # done in the app's process
)


def steps(load: Callable[[], Dataset], device: torch.device, folder: Path) -> Generator[int | Dataset, None, None]:
    """Reads a data set and saves the checkpoint of its closed-form model (preset `instant`) in a folder.

    Yields the index in `STAGES` of the next stage, and finally the data set. The model is passed through the folder
    because torch sends tensors between processes in shared memory, which is often small in containers.

    Raises:
        SDiffError: the data set is unreadable or has no training data.
    """
    yield 0
    dataset = load()
    yield 1
    trainer = Trainer(preset("instant"), dataset.split, 0, device)
    yield 2
    trainer.fit()
    trainer.checkpoint(dataset.key, "instant").save(folder)
    yield dataset
