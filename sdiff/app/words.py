"""Texts of strangers, and errors, as they may stand in the app's own sentences, and how a handler says an error."""

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

T = TypeVar("T")
NAME = r"[^\s/:;,()'\"]*"  # a part of a path
PATH = rf"(?<![\w:/.<])(?:/{NAME})+"  # of a file somewhere; an address of the web has a colon before it


def literal(text: str) -> str:
    """A text of data within Markdown: whatever it holds, it is shown as it is."""
    return re.sub(r"([\\`*_\[\]<>&!$~|#:@])", r"\\\1", " ".join(text.split()))


def told(error: SDiffError) -> str:
    """What an error says to a visitor, and to the journal: files are called by their names, not by where they lie."""
    text = str(error)
    folders = [Path(tempfile.gettempdir()), data_dir(), runs_dir(), cache_dir(), HOME, Path.home()]
    for folder in sorted({str(path) for each in folders for path in (each, each.resolve())}, key=len, reverse=True):
        text = re.sub(rf"{re.escape(folder)}((?:/{NAME})*)", lambda found: _name(found[1]) or "its folder", text)
    text = re.sub(PATH, lambda found: _name(found[0]) or found[0], text)
    journal.note(refused=text)
    return text


def said(attempt: Callable[[], T], otherwise: T) -> T:
    """What comes of an attempt; where it raises SDiffError, that is said on the page."""
    try:
        return attempt()
    except SDiffError as error:
        warn(error)
        return otherwise


def warn(error: SDiffError) -> None:
    """Shows an error at the foot of the page."""
    gr.Warning(escape(told(error)), duration=15)


def guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose SDiffError becomes a message on the page; everything on it stays as it was."""

    @functools.wraps(handler)
    def run(*values: Any) -> Any:
        return said(lambda: handler(*values), gr.skip())

    return run


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
