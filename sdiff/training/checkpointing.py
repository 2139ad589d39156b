"""Training that saves the best weights to a checkpoint folder, even if it is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

from sdiff.base.errors import SDiffError
from sdiff.training.checkpoint import Checkpoint
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
        folder: folder of the checkpoint, created if missing.
        dataset: key of the data set, recorded in the provenance of the checkpoint.
        preset: name of the preset, recorded likewise.
        state: file for the training state. It is written after the first epoch and after each validation, or every
            `eval_every` epochs, before the checkpoint. Only the last checkpoint of a run may be ahead of its state.
        epochs: trains epoch by epoch.

    Raises:
        SDiffError: as raised by `epochs`, or a file cannot be written.
    """
    before = saved = _saved_epoch(folder)  # of a run that is resumed

    def save(last: bool = False) -> None:
        nonlocal saved
        if trainer.ranks.first and (trainer.best.epoch > saved or (last and saved > before)):
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
        save(last=True)  # again, so that its metrics describe the whole run


def _saved_epoch(folder: Path) -> int:
    """The epoch of the checkpoint in a folder; 0 if there is none that can be read."""
    try:
        return Checkpoint.load(folder).provenance.epoch if (folder / "config.json").exists() else 0
    except SDiffError:
        return 0
