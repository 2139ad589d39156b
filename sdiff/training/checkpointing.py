"""Training that leaves its best weights in a folder, however it ends."""

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
    """Trains to the end and yields the progress of each epoch; closing it stops sooner.

    However it ends, `folder` then holds the checkpoint of the best weights, if an epoch was completed. Of several ranks
    only the first writes.

    Args:
        dataset, preset: what the checkpoint says of its origin.
        state: file for the state of the run. It is written after the first epoch and after each validation, or every
            `eval_every` epochs, and each time before a better checkpoint: wherever there is a checkpoint, there is a
            run to resume.
        epochs: trains epoch by epoch.

    Raises:
        SDiffError: as `epochs`, or nothing can be written.
    """
    saved = 0  # the epoch of the checkpoint

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
