"""What opening a data set takes before it can answer: its files, its spectrum, and the model that needs no training.

These steps run in a process of their own (`openings`), so nothing here knows gradio.
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
    "solving and validating the model that needs no training",
    "building its catalog of items",  # left to the app's own process
)


def steps(load: Callable[[], Dataset], device: torch.device, folder: Path) -> Generator[int | Dataset, None, None]:
    """Reads a data set and saves the checkpoint of its closed-form model (preset `instant`) in a folder.

    Yields the index in `STAGES` of what comes next, and the data set at the end. The model takes the way by the folder
    because torch would send its tensors between processes through shared memory, of which containers often have little.

    Raises:
        SDiffError: the data set cannot be read, or has nothing to learn from.
    """
    yield 0
    dataset = load()
    yield 1
    trainer = Trainer(preset("instant"), dataset.split, 0, device)
    yield 2
    trainer.fit()
    trainer.checkpoint(dataset.key, "instant").save(folder)
    yield dataset
