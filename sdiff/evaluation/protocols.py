"""What a user's history is, and which items are excluded from the ranking, when a test part is evaluated."""

from __future__ import annotations

from typing import Literal

Protocol = Literal["train", "train+valid", "paper"]
#: What each protocol does; `evaluate` takes its name.
PROTOCOLS: dict[Protocol, str] = {
    "train": "the training part is the history; the training and validation items are excluded (published baselines)",
    "train+valid": "the training and validation parts are the history, and both are excluded (as in service)",
    "paper": "both parts are the history, but only the training items are excluded",
}
