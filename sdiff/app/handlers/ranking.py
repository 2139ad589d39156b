"""Lists. Plain functions without widgets."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from sdiff.app.labels import literal
from sdiff.app.query import Query
from sdiff.app.settings import SLIDERS
from sdiff.app.state import open_dataset, serve
from sdiff.base.device import device_name
from sdiff.config import Config
from sdiff.data.catalog import ALL, Catalog, Row
from sdiff.data.interactions import Split
from sdiff.evaluation.evaluate import exclude_, top_n
from sdiff.method.histories import Histories
from sdiff.serving.recommender import Recommender

COMPARED = 1000  # length of the list that a changed list is compared with


@dataclass(frozen=True)
class Listing:
    """A user's list.

    Attributes:
        history: items of the history, newest first.
        recommendations: recommended items, best first.
        summary: description of the list.
        changed: the settings that differ from the checkpoint's, and what they and edits of the history do to the list.
        moves: if anything differs, how many places each item moved up (negative: down) from the list of the user's own
            history with the checkpoint's settings; None for an item that was not among its first `COMPARED`.
        past: ids of the history's items.
        ordered: whether the history has a chronological order.
    """

    history: list[Row]
    recommendations: list[Row]
    summary: str
    changed: str
    moves: list[int | None] | None
    past: set[str]
    ordered: bool


def history_of(query: Query) -> list[str]:
    """Item ids of the query's history, oldest first. Raises SDiffError for an unknown user."""
    return open_dataset(query.dataset).history(query.user) if query.history is None else query.history


def held_out_of(query: Query) -> list[str]:
    """Ids of the items held out from the query's user, to evaluate a list.

    Empty for a history of no user: one without a user, or without any item of the user. Raises SDiffError for an
    unknown user.
    """
    opened = open_dataset(query.dataset)
    if query.history is not None and not (query.user and {*query.history} & {*opened.history(query.user)}):
        return []
    return opened.held_out(query.user)


def recommend(query: Query) -> Listing:
    """Recommends items for a history (by default the user's training part). Marks held-out items.

    Raises:
        SDiffError: unknown user, data set or checkpoint, a checkpoint with other items, or an invalid setting.
    """
    opened, model = serve(query.dataset, query.model)
    split, catalog = opened.dataset.split, opened.catalog
    own = opened.history(query.user) if query.user or query.history is None else None
    items = history_of(query)
    held_out = split.items.encode(held_out_of(query)).tolist()  # in the order of the model
    past = catalog.rows(split.items.encode(items)[::-1].tolist())
    config = model.config.at_inference(query.settings)  # first: refuses keys such as "seed" as settings
    allowed = None if query.wanted == ALL else catalog.allowed(query.wanted)
    options: dict[str, Any] = dict(seed=query.seed, exclude_seen=not query.seen, candidates=allowed, **query.settings)
    started = time.perf_counter()
    recommended = model.recommend(items, query.k, **options)
    milliseconds = 1000 * (time.perf_counter() - started)
    rows = catalog.rows(recommended.indices, recommended.scores, held_out)
    subject = f"**User {literal(query.user)}** has"
    if own is None:
        subject = "**Your own history:**"
    elif items != own:
        added, removed = len(set(items) - set(own)), len(set(own) - set(items))
        how = f"{added} added, {removed} removed" if added or removed else "reordered"
        subject = f"**User {literal(query.user)}, what if** ({how}):"
    moves, changed = None, changes(model.config, config, query.seed)
    usual = items if own is None else own
    if items != usual or changed:
        before = model.recommend(usual, max(COMPARED, query.k), exclude_seen=not query.seen, candidates=allowed).indices
        moves = shifts(recommended.indices, before)
        first = catalog.rows(before[: len(rows)], held_out=held_out)
        causes = ", ".join(filter(None, [changed, "edited history" * (items != usual)]))
        changed = f"{causes[:1].upper()}{causes[1:]}: {_effect(first, rows, bool(held_out))}"
    summary = f"{subject} {len(items):,} item{'s' * (len(items) != 1)} in the history. "
    if not rows:
        summary += "0 items are left to recommend."
    else:
        summary += _hits(rows, held_out, model, split) if held_out else _no_hits(query, len(rows))
    summary += f" Scored in {milliseconds:.0f} ms on {device_name(model.device)}."
    if allowed is not None:
        summary += f" Only the {allowed.sum():,} of {len(allowed):,} items that pass the filters are ranked."
    changed = changed or "All settings are the model's own."
    return Listing(past, rows, summary, changed, moves, set(items), split.train.ordered)


def _effect(before: Sequence[Row], after: Sequence[Row], scored: bool) -> str:
    """Describes how a list differs from another one. `scored`: whether items are held out to count hits."""
    ranks = {row.id: row.rank for row in before}
    kept = [row for row in after if row.id in ranks]
    moved = sum(ranks[row.id] != row.rank for row in kept)
    if not moved and len(kept) == len(before) == len(after):
        return "the list stays the same."
    texts = [f"**{len(kept)} of {len(after)}** stay in the list" + f", {moved} of them at another rank" * bool(moved)]
    if scored:
        texts.append(f"hits {sum(row.held_out for row in before)} → **{sum(row.held_out for row in after)}**")
    if before and after:
        users = [f"{round(median(row.popularity for row in rows)):,}" for rows in (before, after)]
        texts.append(f"the median item has {users[0]} → **{users[1]}** users")
    return ", ".join(texts) + "."


def _hits(rows: Sequence[Row], held_out: Sequence[int], model: Recommender, split: Split) -> str:
    """Describes how many items of a list are held out."""
    hits = sum(row.held_out for row in rows)
    chose = "later chose" if split.train.ordered else "also chose"
    shown = (
        f"**{hits}** of the {len(rows)} recommended {'is a hit' if hits == 1 else 'are hits'} (marked ✓). A hit is one "
        f"of the {len(held_out):,} held-out items: this user {chose} them"
    )
    if model.checkpoint.provenance.data_fingerprint != split.fingerprint:
        return f"{shown}. The model was trained on another split of the data, so it may have seen some of them."
    return f"{shown}, and the model has not seen them."


def _no_hits(query: Query, n: int) -> str:
    whose = "this user" if query.history is None else "this history"
    return f"{n} are recommended. There are no held-out items of {whose}, so hits cannot be counted."


def ranked(scores: Tensor, x: Histories, query: Query, catalog: Catalog) -> list[int]:
    """Indices of the top items by scores (1, n_items) of a history x, with the query's filters: `COMPARED` or more."""
    seen = None if query.seen else x
    values, items = top_n(exclude_(scores.clone(), seen, catalog.allowed(query.wanted)), max(COMPARED, query.k))
    return items[values > -torch.inf].tolist()


def shifts(top: Sequence[Hashable], other: Sequence[Hashable]) -> list[int | None]:
    """How many places higher each item of a list is than in another list; None if it is not there."""
    place = {item: rank for rank, item in enumerate(other)}
    return [place[item] - rank if item in place else None for rank, item in enumerate(top)]


def changes(trained: Config, now: Config, seed: int) -> str:
    """Describes the settings that differ from the checkpoint's. Empty if none does."""
    pairs = [(SLIDERS[key].label, getattr(trained, key), getattr(now, key)) for key in SLIDERS]
    differing = [f"{label} {old:g} → **{new:g}**" for label, old, new in pairs if old != new]
    differing += [f"noise seed 0 → **{seed}**"] * bool(seed and now.noise)
    return ", ".join(differing)
