"""Renders the first list into the page that the server sends, so that it needs no further request."""

from __future__ import annotations

from typing import Any

from gradio.blocks import Block

from sdiff.app import state
from sdiff.app.controls import Parts
from sdiff.app.query import Query
from sdiff.app.selection import Opening
from sdiff.app.server.public import public_message
from sdiff.app.tabs.recommend import RecommendTab, for_everybody
from sdiff.base.errors import SDiffError


def put_on(opening: Opening, recommend: RecommendTab) -> None:
    """Gives the components the values of the default query. Call it when the page is built, outside of its context.

    A default data set that is not included is opened by the first visitor, and the page starts empty.
    """
    query = Query()
    if not state.is_open(query.dataset):
        return
    try:
        parts = opening.shown(query, [])
        dataset, model = parts[opening.page.opened]
        query = Query(dataset, model, parts[opening.page.user])
        parts |= recommend.shown(query) | recommend.drawn(query) | {recommend.everybody: for_everybody(query)}
    except SDiffError as error:
        print(f"The first list cannot be shown: {public_message(error)}")
        return
    fill(parts | {opening.page.tab_states["Recommend"]: parts[opening.page.list_state]})


def fill(parts: Parts) -> None:
    """Sets the initial values of components: `parts` is what an event handler would return."""
    for component, new in parts.items():
        update: Any = new if isinstance(new, Block) else type(component)(value=new)
        changed = update._constructor_args[0] if isinstance(new, Block) else ("value",)
        for name in changed:
            setattr(component, name, getattr(update, name))
