"""The app's named endpoints: plain typed values in, rows out, for scripts and other programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import gradio as gr

from sdiff.errors import SDiffError
from sdiff.ui import handlers


def recommend(
    dataset: str = "demo", checkpoint: str = "demo", user: str = "1", k: int = 20, seed: int = 0, settings: str = "{}"
) -> list[dict[str, Any]]:
    """The top k of a user of a data set, with titles. `settings` is a JSON object such as {"guidance": 0.5, "T": 1}."""
    try:
        changed = json.loads(settings)
        if not isinstance(changed, dict):
            raise SDiffError("settings must be a JSON object.")
        shown = handlers.recommend(dataset, checkpoint, user, changed, k, seed)
    except (SDiffError, json.JSONDecodeError) as error:
        raise gr.Error(str(error), print_exception=False) from None
    return [asdict(row) for row in shown.recommendations]
