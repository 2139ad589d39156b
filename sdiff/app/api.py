"""The app's named endpoints, also as tools of its MCP server: plain typed values in, rows out, for other programs."""

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

WAITING = 32  # calls of an endpoint that may wait at once for a data set to be opened; later ones wait in the queue
COMPUTING = CapacityLimiter(2)  # of these, those that compute; the others have no thread


def answering(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """An endpoint whose SDiffError reaches the caller as an error with the same words."""

    @functools.wraps(endpoint)
    def run(*values: Any, **named: Any) -> Any:
        try:
            return endpoint(*values, **named)
        except SDiffError as error:
            raise gr.Error(public_message(error), print_exception=False) from None

    return run


def served(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """An endpoint as the app serves it: its data set is opened first, however long that takes, while others are
    answered."""
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
    """A query of an endpoint: by default of the first model of the data set; of a user as on the page, where neither a
    user nor a history is given."""
    query = Query(dataset, checkpoint, user, history, _parsed(settings), seed, k)
    model = query.model or handlers.models(query.dataset)[0]
    typical = handlers.pick_user(query.dataset, "typical") if history is None else ""
    return replace(query, model=model, user=query.user or typical)


@answering
def list_datasets() -> list[dict[str, Any]]:
    """The data sets: key, title, terms, origin, and whether the files are here."""
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
    """The models for a data set, the one to begin with first: name, and in words what it is and reaches, or what is
    wrong with it.

    Args:
        dataset: key of a data set whose files are here.
    """
    dataset = Query(dataset).dataset
    state.open_dataset(dataset)  # what is wrong with that is wrong with all of them
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
    """The top k items for a user of a data set, with titles; held_out says what the user really chose later.

    Args:
        dataset: key of a data set.
        checkpoint: name of a model for it; without one, the first of /list_checkpoints.
        user: id of the user; without one, a user whose history is of median length.
        k: length of the list.
        seed: of the sampling noise.
        settings: JSON object of what is to differ from the checkpoint, such as {"guidance": 0.5, "T": 1}.
        history: ids of items to take for the user's history instead, oldest first.
    """
    query = make_query(dataset, checkpoint, user, history, settings, seed, k)
    return [asdict(row) for row in handlers.recommend(query).recommendations]


@answering
def search_items(dataset: str = "demo", question: str = "", limit: int = 20) -> list[dict[str, Any]]:
    """Items whose titles hold the words of a question, if only their beginnings or with a slip, the likeliest first.

    Args:
        dataset: key of a data set.
        question: words, or an id; without any, the most popular items are found.
        limit: most items to return.
    """
    catalog = state.open_dataset(Query(dataset).dataset).catalog
    question, limit = text("question", question), whole("limit", limit, 1, MOST)
    found = (asdict(row) for row in catalog.rows(catalog.search(question, limit)))
    return [{key: row[key] for key in ("id", "title", "year", "genres", "popularity", "extra")} for row in found]


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
    """Why an item has its score: two accounts of it, by item of the history and by frequency, which both add up to it.

    Args:
        dataset: key of a data set.
        checkpoint: name of a model for it; without one, the first of /list_checkpoints.
        user: id of the user; without one, a user whose history is of median length.
        item: id of the item.
        seed: of the sampling noise.
        settings: JSON object of what is to differ from the checkpoint.
        history: ids of items to take for the user's history instead, oldest first.
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
    """Two lists for one history, what they have in common, and by how many places each item stands higher than in the
    other one (null: it is far down there).

    Args:
        dataset: key of a data set.
        checkpoint: name of a model for it; without one, the first of /list_checkpoints.
        other: name of a model, the same one perhaps, or a reference: popularity, or A x, the linear graph filter.
        user: id of the user; without one, a user whose history is of median length.
        k: length of the lists.
        seed: of the sampling noise.
        settings: JSON object of what is to differ from the checkpoint.
        other_settings: the same for the other model.
        history: ids of items to take for the user's history instead, oldest first.
    """
    a = make_query(dataset, checkpoint, user, history, settings, seed, k)
    found = comparison.compare(a, replace(a, model=other, settings=_parsed(other_settings)))
    lists = (
        [asdict(row) | {"shift": shift} for row, shift in zip(rows, shifts, strict=True)]
        for rows, shifts in zip(found.lists, found.shifts, strict=True)
    )
    return dict(zip(("list", "other_list"), lists, strict=True)) | {"overlap": found.overlap, "words": found.words}


@answering
def spectrum(
    dataset: str = "demo", checkpoint: str = "", user: str = "", seed: int = 0, settings: str = "{}"
) -> dict[str, Any]:
    """The eigenvalues a model keeps, the SNR at tau (null: no noise) of each schedule, and a user's energy by band.

    Args:
        dataset: key of a data set.
        checkpoint: name of a model for it; without one, the first of /list_checkpoints.
        user: id of the user; without one, a user whose history is of median length.
        seed: of the sampling noise.
        settings: JSON object of what is to differ from the checkpoint.
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
    """Has the MCP server write results as JSON; gradio writes them as Python's `str` does."""
    written = GradioMCPServer.postprocess_output_data

    def in_json(self: GradioMCPServer, data: Any, root_url: str) -> Any:
        texts = [output if isinstance(output, str) else json.dumps(output, ensure_ascii=False) for output in data]
        return written(self, texts, root_url)

    GradioMCPServer.postprocess_output_data = in_json


def _parsed(settings: str) -> dict[str, Any]:
    try:
        return parse_json(text("settings", settings))
    except SDiffError:
        raise
    except ValueError as error:
        raise SDiffError(f"settings is not JSON: {error!s:.200}.") from None
