"""The app's named API endpoints, which are also the tools of its MCP server."""

from __future__ import annotations

import functools
import inspect
import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import gradio as gr
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from gradio.mcp import GradioMCPServer

from sdiff.app import comparison, handlers, openings, spectral, state
from sdiff.app.query import MOST, K, Query, text
from sdiff.app.words import public_message
from sdiff.base.checks import whole
from sdiff.base.errors import SDiffError
from sdiff.data.registry import REGISTRY
from sdiff.training.validate import parse_json

WAITING = 32  # calls of an endpoint that may wait for a data set at once; others wait in the queue
COMPUTING = CapacityLimiter(2)  # calls that compute at once; waiting calls use no thread


def answering(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps an endpoint: an SDiffError becomes a gradio error with the same message."""

    @functools.wraps(endpoint)
    def run(*values: Any, **named: Any) -> Any:
        try:
            return endpoint(*values, **named)
        except SDiffError as error:
            raise gr.Error(public_message(error), print_exception=False) from None

    return run


def served(endpoint: Callable[..., Any]) -> Callable[..., Any]:
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
        return await run_sync(functools.partial(endpoint, *values, **named), limiter=COMPUTING)

    return run


def make_query(
    dataset: str, checkpoint: str, user: str, history: list[str] | None, settings: str, seed: int, k: int = K
) -> Query:
    """Builds the query of an endpoint.

    Defaults: the first model of the data set, and the user that the page shows first unless a history is given.
    """
    query = Query(dataset, checkpoint, user, history, _parsed(settings), seed, k)
    model = query.model or handlers.models(query.dataset)[0]
    typical = handlers.pick_user(query.dataset, "typical") if history is None else ""
    return replace(query, model=model, user=query.user or typical)


@answering
def list_datasets() -> list[dict[str, Any]]:
    """Lists the data sets: key, title, terms, origin, and whether the files are available."""
    return [
        {
            "key": source.key,
            "title": source.title,
            "terms": source.terms,
            "origin": source.origin,
            "available": not source.missing,
        }
        for source in REGISTRY.values()
    ]


@answering
def list_checkpoints(dataset: str = "demo") -> list[dict[str, Any]]:
    """Lists the models of a data set, the default one first: name, and a description with metrics, or an error message.

    Args:
        dataset: key of a data set whose files are available.
    """
    dataset = Query(dataset).dataset
    state.open_dataset(dataset)  # its errors concern all models
    return [{"name": name, "card": _card(dataset, name)} for name in handlers.models(dataset)]


def _card(dataset: str, name: str) -> str:
    try:
        return handlers.model_card(dataset, name)
    except SDiffError as error:
        return public_message(error)


@answering
def recommend(
    dataset: str = "demo",
    checkpoint: str = "",
    user: str = "",
    k: int = 20,
    seed: int = 0,
    settings: str = "{}",
    history: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Recommends k items for a user, with titles. held_out marks items that the user chose later.

    Args:
        dataset: key of a data set.
        checkpoint: name of a model of the data set. By default, the first of /list_checkpoints.
        user: id of the user. By default, a user with a history of median length.
        k: length of the list.
        seed: seed of the sampling noise.
        settings: JSON object of settings that differ from the checkpoint's, such as {"guidance": 0.5, "T": 1}.
        history: item ids that replace the user's history, oldest first.
    """
    query = make_query(dataset, checkpoint, user, history, settings, seed, k)
    return [asdict(row) for row in handlers.recommend(query).recommendations]


@answering
def search_items(dataset: str = "demo", question: str = "", limit: int = 20) -> list[dict[str, Any]]:
    """Searches items by title, best match first. Words may be prefixes or have a typo.

    Args:
        dataset: key of a data set.
        question: words of the title, or an item id. If empty, returns the most popular items.
        limit: maximum number of items.
    """
    catalog = state.open_dataset(Query(dataset).dataset).catalog
    question, limit = text("question", question), whole("limit", limit, 1, MOST)
    rows = (asdict(row) for row in catalog.rows(catalog.search(question, limit)))
    return [{key: row[key] for key in ("id", "title", "year", "genres", "popularity", "extra")} for row in rows]


@answering
def explain(
    dataset: str = "demo",
    checkpoint: str = "",
    user: str = "",
    item: str = "1",
    seed: int = 0,
    settings: str = "{}",
    history: list[str] | None = None,
) -> dict[str, Any]:
    """Explains the score of an item as two sums: by items of the history, and by frequencies.

    Args:
        dataset: key of a data set.
        checkpoint: name of a model of the data set. By default, the first of /list_checkpoints.
        user: id of the user. By default, a user with a history of median length.
        item: id of the item.
        seed: seed of the sampling noise.
        settings: JSON object of settings that differ from the checkpoint's.
        history: item ids that replace the user's history, oldest first.
    """
    query = make_query(dataset, checkpoint, user, history, settings, seed)
    return asdict(handlers.why(query, text("item", item)))


@answering
def compare(
    dataset: str = "demo",
    checkpoint: str = "",
    other: str = "A x",
    user: str = "",
    k: int = 20,
    seed: int = 0,
    settings: str = "{}",
    other_settings: str = "{}",
    history: list[str] | None = None,
) -> dict[str, Any]:
    """Compares two lists for one history: their overlap, and how many places higher each item is than in the other list
    (null if it is far down there).

    Args:
        dataset: key of a data set.
        checkpoint: name of a model of the data set. By default, the first of /list_checkpoints.
        other: name of a model, which may be the same one, or a baseline: popularity, or A x (linear graph filter).
        user: id of the user. By default, a user with a history of median length.
        k: length of the lists.
        seed: seed of the sampling noise.
        settings: JSON object of settings that differ from the checkpoint's.
        other_settings: settings of the other model.
        history: item ids that replace the user's history, oldest first.
    """
    a = make_query(dataset, checkpoint, user, history, settings, seed, k)
    result = comparison.compare(a, replace(a, model=other, settings=_parsed(other_settings)))
    lists = (
        [asdict(row) | {"shift": shift} for row, shift in zip(rows, shifts, strict=True)]
        for rows, shifts in zip(result.lists, result.shifts, strict=True)
    )
    return dict(zip(("list", "other_list"), lists, strict=True)) | {"overlap": result.overlap, "words": result.words}


@answering
def spectrum(
    dataset: str = "demo", checkpoint: str = "", user: str = "", seed: int = 0, settings: str = "{}"
) -> dict[str, Any]:
    """The eigenvalues of a model, the SNR at tau of each schedule (null: no noise), and a user's energy by band.

    Args:
        dataset: key of a data set.
        checkpoint: name of a model of the data set. By default, the first of /list_checkpoints.
        user: id of the user. By default, a user with a history of median length.
        seed: seed of the sampling noise.
        settings: JSON object of settings that differ from the checkpoint's.
    """
    view = spectral.spectral_view(make_query(dataset, checkpoint, user, None, settings, seed))

    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    history, noised, denoised = (energy.tolist() for energy in view.energy)
    return {
        "eigenvalues": view.lam.tolist(),
        "tau": view.tau,
        "snr_at_tau": {kind: [finite(value) for value in snr.tolist()] for kind, snr in view.snr_at_tau.items()},
        "bands": view.bands.tolist(),
        "energy": {"history": history, "noised": noised, "denoised": denoised},
        "words": view.words,
    }


ENDPOINTS = (list_datasets, list_checkpoints, recommend, search_items, explain, compare, spectrum)


def answer_mcp_in_json() -> None:
    """Makes the MCP server return results as JSON. Gradio would return them as Python's `str`."""
    original = GradioMCPServer.postprocess_output_data

    def in_json(self: GradioMCPServer, data: Any, root_url: str) -> Any:
        texts = [output if isinstance(output, str) else json.dumps(output, ensure_ascii=False) for output in data]
        return original(self, texts, root_url)

    GradioMCPServer.postprocess_output_data = in_json


def _parsed(settings: str) -> dict[str, Any]:
    try:
        return parse_json(text("settings", settings))
    except SDiffError:
        raise
    except ValueError as error:
        raise SDiffError(f"settings is not JSON: {error!s:.200}.") from None
