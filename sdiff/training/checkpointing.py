"""Training that saves the best weights to a checkpoint folder, even if it is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

from sdiff.training.run_state import save_state
from sdiff.training.trainer import Progress, Trainer

Epochs = Callable[[Trainer], Generator[Progress, None, None]]


def checkpointed(
    trainer: Trainer,
    folder: Path,
    dataset: str,
    preset: str,
    state: Path | None = None,
    epochs: Epochs = Trainer.iter_epochs,
) -> Generator[Progress, None, None]:
    """Trains to the end and yields the progress after each epoch. Close the generator to stop earlier.

    When it ends, for whatever reason, `folder` contains the checkpoint of the best weights, provided that an epoch was
    completed. With several ranks, only the first writes.

    Args:
        dataset, preset: recorded in the provenance of the checkpoint.
        state: file for the training state. It is written after the first epoch and after each validation, or every
            `eval_every` epochs, always before the checkpoint, so that every checkpoint can be resumed.
        epochs: trains epoch by epoch.

    Raises:
        SDiffError: as raised by `epochs`, or a file cannot be written.
    """
    saved = 0  # epoch of the saved checkpoint

    def save() -> None:
        nonlocal saved
        if trainer.ranks.first and trainer.best.epoch > saved:
            trainer.checkpoint(dataset, preset).save(folder)
            saved = trainer.best.epoch

    try:
        with closing(epochs(trainer)) as run:
            for progress in run:
                due = progress.valid or progress.epoch == 1 or progress.epoch % trainer.config.eval_every == 0
                if state is not None and due:
                    if trainer.ranks.first:
                        save_state(trainer, state)
                    save()
                yield progress
    finally:
        save()
