"""What the Recommend tab shows of a history: what changes it, and what follows from it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr

from sdiff.app import figures, handlers, lists, state
from sdiff.app.controls import SLIDERS, guarded, named, warn
from sdiff.app.query import Query
from sdiff.app.state import serve
from sdiff.app.tabs import spectral_handlers, take_away
from sdiff.base.errors import SDiffError
from sdiff.training.validate import parse_json

# The data set and the model that the page has opened, whatever its pickers show at this moment.
Opened = list[str]
Edited = list[Any]  # a data set, its user, and the ids of the history instead, oldest first
ADDABLE = 6  # items found
LISTED = 7  # parts of the page that a list fills: see `_shown`


def asked(opened: Opened, user: str, edited: Edited | None, *rest: Any) -> Query:
    """What the page asks for: what is opened, then the values of its controls. Raises SDiffError."""
    *values, seed, k, seen, genres, first, last = rest
    (dataset, model), user = opened, user.strip()
    if None not in (first, last):
        first, last = sorted((first, last))
    config = serve(dataset, model)[1].config
    moved = {name: value for name, value in named(values).items() if value != getattr(config, name)}
    history = edited[2] if edited and edited[:2] == [dataset, user] else None
    return Query(dataset, model, user, history, moved, int(seed or 0), int(k), seen, list(genres), first, last)


@guarded
def pick(pick: handlers.Pick, opened: Opened, user: str, *rest: Any) -> tuple[Any, ...]:
    """Another user and the list in one answer, so that the two always belong together."""
    query = asked(opened, handlers.pick_user(opened[0], pick), *rest)
    return query.user, *_shown(query)


def call(shown: str, *page: Any) -> tuple[Any, ...]:
    """The list of the user whose id was typed; an unknown one leaves the page, and its box, as they were."""
    before = _shown_user(shown)
    nothing = (gr.skip(),) * LISTED
    try:
        query = asked(*page)
        return (gr.skip(), *nothing) if query.user == before else (query.user, *_shown(query))
    except SDiffError as error:
        warn(error)
        return before, *nothing


def _shown_user(shown: str) -> str:
    """The user of the list that is shown, as the page sends it back; "" where it does not."""
    try:
        return Query.parse(parse_qsl(parse_json(shown)["address"])).user
    except (SDiffError, ValueError, TypeError, KeyError, AttributeError):
        return ""


@guarded
def remove(event: gr.EventData, *page: Any) -> Any:
    """The history without the item that was pressed, and the list that follows from it."""
    query = asked(*page)
    return _changed(query, [id for id in handlers.history_of(query) if id != event.item])


@guarded
def add(event: gr.EventData, *page: Any) -> Any:
    """The history with the item that was pressed as its newest."""
    query = asked(*page)
    return _changed(query, [*(id for id in handlers.history_of(query) if id != event.item), event.item])


@guarded
def empty(*page: Any) -> Any:
    return _changed(asked(*page), [])


@guarded
def restore(*page: Any) -> Any:
    return _changed(asked(*page), None)


@guarded
def recommend(*page: Any) -> tuple[Any, ...]:
    return _shown(asked(*page))


def _changed(query: Query, history: list[str] | None) -> tuple[Any, ...]:
    edited = None if history is None else [query.dataset, query.user, history]
    return edited, "", *_shown(replace(query, history=history))


def _shown(query: Query) -> tuple[Any, ...]:
    """History, list, words, what is changed, the way back, no explanation, and what the page's script has to know."""
    found = handlers.recommend(query)
    listed = lists.recommended_table(found.recommendations, found.moves, found.past)
    restore = gr.Button(interactive=found.moves is not None)
    config = serve(query.dataset, query.model)[1].config
    trained = {name: getattr(config, name) for name in (*SLIDERS, "noise")}
    told = json.dumps({"address": query.encode(), "trained": trained})
    return lists.history_table(found.history, found.ordered), listed, found.summary, found.changed, restore, "", told


@guarded
def why(event: gr.EventData, *page: Any) -> Any:
    """What speaks for the item that was pressed, until the next list comes."""
    found = handlers.why(asked(*page), event.item)
    return lists.why_panel(found.title, found.unit, found.score, found.by_item, found.by_frequency)


def find(opened: Opened, question: str) -> str:
    """Items that may be meant, to be added to the history."""
    if not question.strip():
        return ""
    catalog = state.open_dataset(opened[0]).catalog
    return lists.addable_table(catalog.rows(catalog.search(question, ADDABLE)))


def plots(*page: Any) -> tuple[Any, ...]:
    """The plots beside the list."""
    try:
        found = spectral_handlers.spectral_view(asked(*page))
    except SDiffError:  # the list has said so
        return (gr.skip(),) * 4
    snr = figures.snr_by_frequency(found.lam, found.snr_at_tau, found.tau)
    return snr, found.words["snr"], figures.band_energy(found.bands, *found.energy), found.words["energy"]


@guarded
def csv(*page: Any) -> str:
    return take_away.list_csv(asked(*page))


@guarded
def python(*page: Any) -> str:
    return take_away.python(asked(*page))
