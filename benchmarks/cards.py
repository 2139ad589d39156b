"""Writes the model card of each included checkpoint to its README.md: `python -m benchmarks.cards`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sdiff.base.paths import CHECKPOINTS
from sdiff.serving.model_card import model_card
from sdiff.training.checkpoint import Checkpoint


def cards() -> Iterator[tuple[Path, str]]:
    """Path and text of each card."""
    for config in sorted(CHECKPOINTS.glob("*/config.json")):
        folder = config.parent
        yield folder / "README.md", model_card(Checkpoint.load(folder), f'Recommender.load("{folder.name}")')


if __name__ == "__main__":
    for path, text in cards():
        path.write_text(text, encoding="utf-8")
