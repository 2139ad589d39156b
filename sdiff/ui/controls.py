"""What can be moved on the page, and how a handler says that something cannot be done."""

from __future__ import annotations

import functools
from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from sdiff.config import BOUNDS
from sdiff.errors import SDiffError

# name -> (label, hint, range, step): what can be moved without training again, Section 3.2 and Algorithm 2
SLIDERS = {
    "half_life": (
        "Recency half-life h",
        "items back from the newest that halve the weight; 0: all alike",
        (0, 20),
        0.1,
    ),
    "guidance": ("Guidance s", "how strongly the list leans on this history", (0, 5), 0.01),
    "alpha_min": ("Signal floor αₘᵢₙ", "what even the highest frequency keeps", BOUNDS["alpha_min"], 0.01),
    "sigma_max": ("Noise ceiling σₘₐₓ", "the most noise that any frequency gets", BOUNDS["sigma_max"], 0.01),
    "tau": ("Diffusion time τ", "how far the history is smoothed along the graph", (0.1, 3), 0.1),
    "T": ("Reverse steps T", "how many times it is denoised", (1, 20), 1),
}


def guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose SDiffError becomes a message on the page; everything on it stays as it was."""

    @functools.wraps(handler)
    def run(*values: Any) -> Any:
        try:
            return handler(*values)
        except SDiffError as error:
            gr.Warning(escape(str(error)), duration=15)
            return gr.skip()

    return run
