"""Labels of the page, and text from data made safe for Markdown."""

from __future__ import annotations

import re

from sdiff.evaluation.evaluate import Part

# What each preset of `config.PRESETS` is, in everyday words
PRESET_LABELS = {
    "paper": "Paper: the paper's settings to the letter",
    "tuned": "Tuned: learned, ignores the order",
    "sparse": "Sparse: as Tuned, for data with few interactions",
    "temporal": "Temporal: learned, order-aware",
    "instant": "Instant: solved in closed form, no training",
    "filter": "Neighbours: items chosen together, no training",
    "gfcf": "GF-CF: items chosen together and broad tastes, no training",
}

TABS = ("Recommend", "Diffusion", "Waves", "Compare", "Data")  # those that follow the list of the page
PARTS: dict[Part, str] = {"valid": "validation", "test": "test"}
SOLVED = "This model does not use diffusion: choose another at the top, or train one in Train."
# What recall@20 is, after "the"
RECALL = "share of a user's held-out items that a list of 20 finds, relative to the most that it can find"
BASELINE_LABELS = {"popularity": "most popular items (baseline)", "A x": "linear graph filter (baseline)"}


def preset_label(name: str) -> str:
    """What a preset is, in everyday words; its name if it is unknown, such as that of an older checkpoint."""
    return PRESET_LABELS.get(name, name)


def literal(text: str) -> str:
    """Escapes text so that Markdown shows it unchanged."""
    return re.sub(r"([\\`*_\[\]<>&!$~|#:@])", r"\\\1", " ".join(text.split()))
