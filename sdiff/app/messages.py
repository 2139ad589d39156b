"""Shows errors as notifications on the page, which else stays as it is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from html import escape
from typing import Any, TypeVar

import gradio as gr

from sdiff.app.server.public import public_message
from sdiff.base.errors import SDiffError

T = TypeVar("T")


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
