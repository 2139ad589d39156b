"""Escapes text from data, removes paths from error messages, and shows errors on the page."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from sdiff.app import journal
from sdiff.base.errors import SDiffError
from sdiff.base.paths import HOME, cache_dir, data_dir, runs_dir
from sdiff.evaluation.evaluate import Part

T = TypeVar("T")
NAME = r"[^\s/:;,()'\"]*"  # one component of a path
PATH = rf"(?<![\w:/.<])(?:/{NAME})+"  # an absolute path; not the path of a URL, which follows a colon
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


def public_message(error: SDiffError) -> str:
    """The message of an error, with paths reduced to file names.

    The log line of the current event gets the function that raised it.
    """
    text = str(error)
    folders = [Path(tempfile.gettempdir()), data_dir(), runs_dir(), cache_dir(), HOME, Path.home()]
    for folder in sorted({str(path) for each in folders for path in (each, each.resolve())}, key=len, reverse=True):
        text = re.sub(rf"{re.escape(folder)}((?:/{NAME})*)", lambda match: _name(match[1]) or "its folder", text)
    text = re.sub(PATH, lambda match: _name(match[0]) or match[0], text)
    journal.note(refused=journal.raised_in(error))
    return text


def attempt(action: Callable[[], T], default: T) -> T:
    """Returns the result of `action`. If it raises SDiffError, shows the error on the page and returns `default`."""
    try:
        return action()
    except SDiffError as error:
        warn(error)
        return default


def warn(error: SDiffError) -> None:
    """Shows an error as a notification on the page."""
    gr.Warning(escape(public_message(error)), duration=15)


def guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a handler: an SDiffError is shown as a notification, and the page stays unchanged."""

    @functools.wraps(handler)
    def run(*values: Any) -> Any:
        return attempt(lambda: handler(*values), gr.skip())

    return run


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
