"""Evaluation protocols: the history of a test user and the items that are excluded from the ranking."""

from __future__ import annotations

from typing import Literal

Protocol = Literal["train", "train+valid", "paper"]
#: What each protocol does; `evaluate` takes its name.
PROTOCOLS: dict[Protocol, str] = {
    "train": "the training part is the history; the training and validation items are excluded (published baselines)",
    "train+valid": "the training and validation parts are the history, and both are excluded (as in service)",
    "paper": "both parts are the history, but only the training items are excluded",
}
