"""Turns functions into API endpoints: errors, typed settings, waiting for a data set, and descriptions in schemas."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any, get_type_hints

import gradio as gr
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from gradio.context import get_blocks_context
from gradio.events import api as add_endpoint
from gradio.utils import get_function_description

from sdiff.app import answers
from sdiff.app.handlers import measuring, openings
from sdiff.app.query import Query
from sdiff.app.server.public import public_message
from sdiff.app.settings import SLIDERS
from sdiff.base.errors import SDiffError
from sdiff.config import BOUNDS

WAITING = 32  # calls of an endpoint that may wait for a data set at once; others wait in the queue
COMPUTING = CapacityLimiter(2)  # calls that compute at once; waiting calls use no thread
MEASURING = CapacityLimiter(1)  # those that measure for seconds or minutes, so that they leave the others their places
SETTINGS = get_type_hints(answers.Settings)  # types by name


def answering(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps an endpoint: an SDiffError becomes a gradio error with the same message.

    A parameter `settings` is replaced by one optional parameter for each of `SETTINGS`, with a description.
    """
    signature = inspect.signature(endpoint, eval_str=True)
    parameters = {name: each for name, each in signature.parameters.items() if name != "settings"}
    tunable = len(parameters) < len(signature.parameters)
    if tunable:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters |= {n: inspect.Parameter(n, kind, default=None, annotation=each) for n, each in SETTINGS.items()}
    visible = signature.replace(parameters=[*parameters.values()])

    @functools.wraps(endpoint)
    def run(*values: Any, **named: Any) -> Any:
        bound = visible.bind(*values, **named)
        bound.apply_defaults()
        given = bound.arguments
        if tunable:
            given["settings"] = present({name: given.pop(name) for name in SETTINGS})
        try:
            return endpoint(**given)
        except SDiffError as error:
            raise gr.Error(public_message(error), print_exception=False) from None

    shown: Any = run
    shown.__signature__ = visible
    shown.__annotations__ = {name: each.annotation for name, each in parameters.items()}
    shown.__annotations__["return"] = signature.return_annotation
    if tunable:
        described = "".join(f"    {name}: {_described(name)}\n" for name in SETTINGS)
        shown.__doc__ = f"{inspect.getdoc(endpoint)}\n{described}"
    return shown


def present(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that are given; null leaves the checkpoint's value."""
    return {name: value for name, value in settings.items() if value is not None}


def served(endpoint: Callable[..., Any], limiter: CapacityLimiter = COMPUTING) -> Callable[..., Any]:
    """Wraps an endpoint for the app: opens its data set first, without blocking other calls."""
    signature = inspect.signature(endpoint)

    @functools.wraps(endpoint)
    async def run(*values: Any, **named: Any) -> Any:
        bound = signature.bind(*values, **named)
        bound.apply_defaults()
        if "dataset" in bound.arguments:
            try:
                await openings.wait_until_open(Query(bound.arguments["dataset"]).dataset)
            except SDiffError as error:
                raise gr.Error(public_message(error), print_exception=False) from None
        return await run_sync(functools.partial(endpoint, *values, **named), limiter=limiter)

    return run


def offer(endpoints: Iterable[Callable[..., Any]], long: Collection[Callable[..., Any]]) -> None:
    """Adds endpoints to the app that is being built. Their schemas get descriptions, and the ranges of settings.

    Args:
        endpoints: functions made by `answering`.
        long: those of them that measure, and wait in one line with the measurements of the page.
    """
    app: Any = get_blocks_context()
    for function in endpoints:
        line: dict[str, Any] = measuring.LINE if function in long else {"concurrency_limit": WAITING}
        run = served(function, MEASURING if function in long else COMPUTING)
        event = add_endpoint(run, api_name=function.__name__, **line)
        _, described, _ = get_function_description(function)
        for id, name in zip(event["inputs"], inspect.signature(function).parameters, strict=True):
            schema = app.blocks[id]._api_info
            _limit(name, schema)
            schema["description"] = described[name]


def _limit(name: str, schema: dict[str, Any]) -> None:
    """Adds the range of a setting to its schema, and those of all settings to the schema of an object of settings."""
    for each in schema.get("oneOf", [schema]):
        if name in SETTINGS and each["type"] != "null":
            each["minimum"], each["maximum"] = BOUNDS[name]
        for key, inner in each.get("properties", {}).items():
            _limit(key, inner)
            inner["description"] = _described(key)


def _described(setting: str) -> str:
    """Description of a setting, in one line."""
    label, hint, *_ = SLIDERS[setting]
    low, high = BOUNDS[setting]
    return f"{label}: {hint}; {low:g} to {high:g}. By default, the checkpoint's value."
