"""Validates the values of events: their number, and the type that each component expects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.components.api_component import Api

from sdiff.app.labels import TABS
from sdiff.app.server import journal
from sdiff.app.server.public import public_message
from sdiff.base.errors import SDiffError

LONG = 10_000  # maximum number of characters of a text field
WHOLE = 2**53  # largest integer that JavaScript represents exactly
SHOWN = 500  # maximum number of characters of gradio's error messages


def guard(demo: gr.Blocks) -> None:
    """Validates the values of every event before its handler runs.

    Invalid values, and SDiffErrors of handlers, become errors with one sentence and without a traceback.
    """
    preprocess, call = demo.preprocess_data, demo.call_function

    async def preprocess_data(block_fn: Any, inputs: list[Any], *rest: Any, **named: Any) -> list[Any]:
        try:
            values = checked(block_fn.inputs, inputs)
        except SDiffError as error:
            raise _refused(block_fn, str(error)) from None
        try:
            return await preprocess(block_fn, values, *rest, **named)
        except SDiffError as error:
            raise _refused(block_fn, public_message(error)) from None
        except gr.Error as error:  # such as a slider value out of range
            raise _refused(block_fn, str(error.message)[:SHOWN]) from None
        except Exception as error:  # components may raise any error for malformed values
            message = f"Invalid value ({type(error).__name__}): reload the page and try again."
            raise _refused(block_fn, message) from None

    async def call_function(*values: Any, **named: Any) -> Any:
        try:
            return await call(*values, **named)
        except SDiffError as error:
            raise gr.Error(public_message(error), print_exception=False) from None

    demo.preprocess_data, demo.call_function = preprocess_data, call_function


def _refused(block_fn: Any, message: str) -> gr.Error:
    journal.refused(str(block_fn.api_name), message, "")
    return gr.Error(message, print_exception=False)


def checked(inputs: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """Validates the values of an event's inputs. A text field without a value gets an empty string.

    Raises:
        SDiffError: the number of values or the type of a value is wrong.
    """
    if len(values) != len(inputs):
        raise SDiffError(f"This event takes {len(inputs)} values, not {len(values)}: reload the page.")
    valid = []
    for each, value in zip(inputs, values, strict=True):
        if value is None and isinstance(each, gr.Textbox):
            value = ""
        kind, is_valid = kind_of(each)
        unset = value is None and (each.value is None or isinstance(each, gr.Number))
        if not (unset or is_valid(value)):
            raise SDiffError(f"{each.label or 'A value of the page'} must be {kind}: reload the page and try again.")
        valid.append(value)
    return valid


def kind_of(component: Any) -> tuple[str, Callable[[Any], bool]]:
    """The expected type of an input, as text and as a predicate. Raises KeyError for unknown components."""
    if component.elem_id in PARTS:
        return PARTS[component.elem_id]
    if getattr(component, "precision", None) == 0:  # gradio would round fractions
        return "a whole number", _is_whole
    return CHOICES if getattr(component, "multiselect", False) else KINDS[type(component)]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONG


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= WHOLE


def _is_whole(value: Any) -> bool:
    return _is_number(value) and value % 1 == 0


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_edit(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and _are_texts(value[:2]) and _are_texts(value[2])


CHOICES = ("a list of choices", _are_texts)
KINDS: dict[type, tuple[str, Callable[[Any], bool]]] = {
    gr.Textbox: (f"a text of at most {LONG:,} characters", _is_text),
    gr.Number: ("a number", _is_number),
    gr.Slider: ("a number", _is_number),
    gr.Checkbox: ("true or false", lambda value: isinstance(value, bool)),
    gr.Dropdown: ("a choice", _is_text),
    gr.Radio: ("a choice", _is_text),
    gr.File: ("an uploaded file", lambda value: isinstance(value, dict)),
    gr.BrowserState: ("a list of data sets", _are_texts),
    Api: ("a value", lambda value: True),  # validated by the endpoint
}
# State of the page, by elem_id.
PARTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "opened": ("a data set and a model", lambda value: _are_texts(value) and len(value) == 2),
    "edited": ("a data set, its user and the ids of a history", _is_edit),
}
# The state of the list, also as each tab has it, may be of any length: it may contain a history.
PARTS |= dict.fromkeys(
    ("list-state", *(f"due-{tab}" for tab in TABS)), ("a text", lambda value: isinstance(value, str))
)
