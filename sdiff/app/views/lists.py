"""HTML of items: lists, waves, explanations, pages and covers. All text from data is escaped here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from sdiff.app.query import Query
from sdiff.app.views.links import link
from sdiff.app.views.tables import table
from sdiff.data.catalog import Row

if TYPE_CHECKING:
    from sdiff.app.handlers.explanations import Why
    from sdiff.app.handlers.item_pages import ItemFacts
    from sdiff.app.handlers.spectral import Film, Frame
    from sdiff.app.handlers.waves import Wave

FILM_NAMES = {"vp": "VP · the method", "ve": "VE", "ddpm": "DDPM"}
SHELF = " shelf:"  # before the number of a shelf, in place of an item's id, which never begins with a space
STRONGEST = 8  # waves of a history that are listed


def history_table(rows: Sequence[Row], ordered: bool = True) -> str:
    """A history, newest first if it has an order, with a button beside each item to remove it."""
    body = (f"<tr><td>{_title_cell(row)}</td><td>{_button(row, '×', 'Remove')}</td></tr>" for row in rows)
    newest = ", newest first" if ordered else ""
    return table(f"History · {len(rows)} item{'s' * (len(rows) != 1)}{newest}", "", body)


def addable_table(rows: Sequence[Row], caption: str = "Add to the history") -> str:
    """Items with a button beside each to add it to the history."""
    if not rows:
        return '<div class="empty">No item matches.</div>'
    body = (f"<tr><td>{_title_cell(row)}</td><td>{_button(row, '+', 'Add')}</td></tr>" for row in rows)
    return table(caption, "", body)


def items_table(rows: Sequence[Row], caption: str) -> str:
    """Items with their numbers of users."""
    if not rows:
        return '<div class="empty">No item matches.</div>'
    body = (f"<tr><td>{_title_cell(row)}</td>{_seen(row)}</tr>" for row in rows)
    return table(caption, f"<th>Title</th>{_SEEN}", body)


def filters(query: Query) -> str:
    """The filters of a query, each as a button that removes it. The page's script tells which one was pressed."""
    shown = [(genre, f"genre:{genre}") for genre in query.genres]
    shown += [(f"from {query.first_year}", "from")] * (query.first_year is not None)
    shown += [(f"to {query.last_year}", "to")] * (query.last_year is not None)
    return "".join(_chip(escape(text), escape(key)) for text, key in shown)


def _chip(label: str, key: str) -> str:
    about = f'title="{label}: remove this filter" aria-label="{label}: remove this filter"'
    return f'<button type="button" class="chip" data-unfilter="{key}" {about}>{label} ×</button>'


def recommended_table(
    rows: Sequence[Row],
    moves: Sequence[int | None] | None = None,
    past: Collection[str] = (),
    filters: str = "",
) -> str:
    """Recommendations, best first, with a bar for the score. Held-out items are marked.

    Args:
        moves: how many places each item moved up; None for an item that was far down. Shown if given.
        past: ids of history items, which are labelled if they are listed.
        filters: of the list, as made by the function of that name.
    """
    if not rows:
        return _nothing(filters)
    scores = [row.score for row in rows]
    span = max(max(scores) - min(min(scores), 0.0), 1e-12)
    moved = [""] * len(rows) if moves is None else [_move(places) for places in moves]
    body = (
        f'<tr{_HIT if row.held_out else ""}><td class="number">{row.rank}{move}</td>'
        f"<td>{_art(row, 'span', _opens(row))}{_title_cell(row)}{_SEEN_BEFORE if row.id in past else ''}</td>"
        f'<td class="score">{row.score:.3f}{_bar(row.score / span)}</td>{_seen(row)}'
        f'<td class="mark">{"✓" if row.held_out else ""}</td><td>{_button(row, "Why?", "Why")}</td></tr>'
        for row, move in zip(rows, moved, strict=True)
    )
    head = f'<th class="number">#</th><th>Title</th>{_SCORE}{_SEEN}{_LATER}<th aria-label="explanation"></th>'
    switch = '<button type="button" id="cards-switch">List / cards</button>'
    return table(f"Recommended · top {len(rows)}", head, body, filters + switch)


def moving_table(
    caption: str, rows: Sequence[Row], moves: Sequence[int | None] | None, than: str, filters: str = ""
) -> str:
    """A list compared with another one: rank, places won, title, and a mark for held-out items.

    Args:
        moves: how many places higher each item is than in the other list; None for an item that is far down there. None
            if there is no other list.
        than: name of the other list.
        filters: of both lists, as made by the function of that name.
    """
    if not rows:
        return _nothing(filters)
    moved = [""] * len(rows) if moves is None else [f'<td class="number">{_move(places)}</td>' for places in moves]
    body = (
        f'<tr{_HIT if row.held_out else ""}><td class="number">{row.rank}</td>{move}<td>{_title_cell(row)}</td>'
        f'<td class="mark">{"✓" if row.held_out else ""}</td></tr>'
        for row, move in zip(rows, moved, strict=True)
    )
    beside = "" if moves is None else f'<th class="number">vs {escape(than)}</th>'
    head = f'<th class="number">#</th>{beside}<th>Title</th>{_LATER}'
    return table(caption, head, body, filters)


def film(moments: Film, filters: str = "") -> str:
    """A history's diffusion: a scrubber, and for each frame a caption and a list for each schedule.

    The page's script shows one frame at a time, and plays them.
    """
    frames, steps, last = moments.frames, moments.steps, len(moments.frames) - 1
    some = "" if steps == last - 1 else f" {last - 1} of the {steps:,} steps are shown, evenly spaced."
    sections = "".join(
        f'<section data-frame="{n}"{"" if n == last else " hidden"}>'
        f"<p><strong>{escape(frame.title)}, t = {frame.t:.2g}.</strong> {escape(frame.words)}</p>"
        f'<div class="columns">{"".join(_schedule(frame, kind, filters) for kind in FILM_NAMES)}</div></section>'
        for n, frame in enumerate(frames)
    )
    return (
        '<div class="scrubber"><button type="button" id="play">Play</button><input type="range" id="frame" min="0" '
        f'max="{last}" value="{last}" step="1" aria-label="Moment of the diffusion"></div>'
        f"<p>Press Play to see it moment by moment.{some}</p>{sections}"
    )


def _schedule(frame: Frame, kind: str, filters: str) -> str:
    return moving_table(FILM_NAMES[kind], frame.lists[kind], frame.moves[kind], "before", filters)


def waves_table(waves: Sequence[Wave], amplitude: np.ndarray, share: np.ndarray) -> str:
    """The waves that carry most of a history: share, name, and the titles at the end that the history leans to."""

    def cells(k: int) -> str:
        wave = waves[k]
        ends = [wave.positive] if wave.negative is None else [wave.negative, wave.positive]
        leans = wave.positive if amplitude[k] > 0 or wave.negative is None else wave.negative
        texts = [(end, " ".join(map(_opening, end.items, [","] * (len(end.items) - 1) + [""]))) for end in ends]
        titles = " · ".join(f"<strong>{text}</strong>" if end is leans else text for end, text in texts)
        return (
            f'<tr><td class="number">{wave.number}</td><td><span class="title">{escape(wave.name)}</span>'
            f'<span class="genres">{titles}</span></td><td class="score">{share[k]:.0%}'
            f"{_bar(share[k] / share.max())}</td></tr>"
        )

    strongest = np.argsort(-share, kind="stable")[:STRONGEST]
    hint = "The wave's two ends; the one this history leans to is <strong>bold</strong>"
    head = f'<th class="number">Wave</th><th>{hint}</th><th>Share</th>'
    return table("The strongest waves of this history", head, (cells(int(k)) for k in strongest if share[k] > 0))


def why_panel(why: Why) -> str:
    """Explanation of a score: a sentence, bars of history items and of waves, and the exact sums folded away."""
    largest = max(abs(value) for _, value in (*why.by_item, *why.by_frequency)) or 1.0

    def bars(caption: str, parts: Sequence[tuple[str | Row, float]]) -> str:
        named = ((_part(part), _signed(value / largest)) for part, value in parts)
        return table(caption, "", (f'<tr><td>{name}</td><td class="part">{bar}</td></tr>' for name, bar in named))

    def account(caption: str, parts: Sequence[tuple[str | Row, float]]) -> str:
        named = [*((_part(part), value, "") for part, value in parts), (why.unit, why.score, ' class="sum"')]
        body = (f'<tr{kind}><td>{name}</td><td class="number">{value:+.3f}</td></tr>' for name, value, kind in named)
        return table(caption, "", body)

    items = [(part, value) for part, value in why.by_item if isinstance(part, Row)]
    shown = bars("By history item", items) if items else ""
    shown += "" if why.popularity else bars("By wave, slow to fast", why.by_frequency)
    sums = account("By history item", why.by_item) + account("By wave, slow to fast", why.by_frequency)
    return (
        f'<p data-of="{escape(why.row.id)}">{_because(why)}</p>{shown}'
        f"<details><summary>The exact sum</summary>{sums}</details>"
    )


def _part(part: str | Row) -> str:
    """The name of a part of a score."""
    return escape(part) if isinstance(part, str) else _opening(part)


def _because(why: Why) -> str:
    if why.popularity:
        people = f"{why.score:,.0f} {'person has' if why.score == 1 else 'people have'}"
        return (
            f"Nothing connects the history with other items, so the list is ranked by popularity: {people} this item."
        )
    if not why.causes:
        return "No single history item raises its score."
    titles = [f"<strong>{_opening(row)}</strong>" for row in why.causes]
    return f"Because of {' and '.join(filter(None, [', '.join(titles[:-1]), titles[-1]]))}."


def item_page(facts: ItemFacts) -> str:
    """An item: facts, links, and items like it."""
    row = facts.row
    links = "".join(
        f'<a href="{escape(url)}" target="_blank" rel="noopener noreferrer">{name}</a>' for name, url in facts.links
    )
    extra = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.extra)
    columns = "".join(
        addable_table(rows, caption)
        for caption, rows in (
            ("Seen by the same people", facts.together),
            ("Near it in the item graph", facts.near),
        )
        if rows
    )
    return (
        f"<h2>{escape(row.title)}{f' <small>{row.year}</small>' if row.year else ''}</h2>"
        f'<p>{escape(row.genres)}</p><dl><dt>Seen by</dt><dd>{facts.seen}</dd>{extra}</dl><p class="links">{links}</p>'
        f'<div class="columns">{columns}</div>'
    )


def taste_grid(shelves: Sequence[tuple[str, Sequence[Row]]], taken: Collection[str] = ()) -> str:
    """Well-known items by genre, each to be added to the history by a click, and a button that takes a whole shelf."""
    return "".join(
        f'<section><h3>{escape(name)}</h3><button type="button" data-item="{SHELF}{n}">Take all</button>'
        f"<div>{''.join(_cover(row, row.id in taken) for row in rows)}</div></section>"
        for n, (name, rows) in enumerate(shelves)
    )


def _art(row: Row, tag: str, attributes: str) -> str:
    """A cover drawn from title, year and genre."""
    genre = row.genres.split(", ")[0]
    hue = sum(map(ord, genre)) * 47 % 360
    year = f"<small>{row.year}</small>" if row.year else ""
    inside = f"<strong>{escape(row.title)}</strong>{year}<em>{escape(genre)}</em>"
    return f'<{tag} class="cover" style="--hue:{hue}"{attributes}>{inside}</{tag}>'


def _cover(row: Row, taken: bool) -> str:
    """A cover as a button that adds the item, or takes it out again."""
    label = escape(row.title)
    pressed = "true" if taken else "false"
    about = f'data-item="{escape(row.id)}" title="{label}" aria-label="{label}" aria-pressed="{pressed}"'
    return _art(row, "button", f' type="button" {about}')


_HELD_OUT = "a hit: an item that this user chose, and that was held out from the history"
_SEEN = '<th class="number seen" title="number of users who have it in their training history">Seen by</th>'
_SCORE = (
    '<th title="what the list is ranked by: a probability if the model was trained with the softmax loss (Why? '
    'explains its logit), else a number without a unit">Score</th>'
)
_LATER = f'<th class="mark" title="{_HELD_OUT}">✓</th>'
_SEEN_BEFORE = '<span class="genres">in the history</span>'
_HIT = f' class="hit" title="{_HELD_OUT}"'


def _signed(share: float) -> str:
    """A bar that starts in the middle."""
    width = 50 * abs(share)
    kind, start = ("bar", 50.0) if share >= 0 else ("bar less", 50 - width)
    return f'<span class="{kind}" style="width:{width:.1f}%;margin-left:{start:.1f}%"></span>'


def _button(row: Row, sign: str, verb: str) -> str:
    label = escape(f"{verb} {row.title}")
    return f'<button type="button" data-item="{escape(row.id)}" title="{label}" aria-label="{label}">{sign}</button>'


def _move(places: int | None) -> str:
    """An arrow with the number of places, shown after the rank."""
    if places == 0:
        return ""
    text, kind = (
        ("new", "up")
        if places is None
        else (f"{'▲' if places > 0 else '▼'}{abs(places)}", "up" if places > 0 else "down")
    )
    return f'<small class="{kind}">{text}</small>'


def _seen(row: Row) -> str:
    return f'<td class="number seen">{row.popularity:,}</td>'


def _bar(share: float) -> str:
    return f'<span class="bar" style="width:{100 * max(share, 0):.0f}%"></span>'


def _opens(row: Row) -> str:
    """The attributes of a cover that opens the item's page. The title beside it does the same by keyboard."""
    return f' aria-hidden="true" data-open="{escape(row.id)}"'


def _opening(row: Row, more: str = "") -> str:
    """The title of an item, followed by `more`, as a button that opens the item's page."""
    return f'<button type="button" class="open" data-open="{escape(row.id)}">{escape(row.title)}{more}</button>'


def _title_cell(row: Row) -> str:
    """Title, year and genres."""
    year = f" <small>{row.year}</small>" if row.year else ""
    genres = f'<span class="genres">{escape(row.genres)}</span>' if row.genres else ""
    extra = " · ".join(f"{escape(name)}: {escape(text)}" for name, text in row.extra.items() if not link(name, text))
    more = f'<span class="genres">{extra}</span>' if extra else ""
    return f'<span class="title">{_opening(row, year)}</span>{genres}{more}'


def _nothing(filters: str) -> str:
    """In place of a list without items."""
    why = "No item is left to recommend." if not filters else "No remaining item matches these filters:"
    return f'<div class="empty">{why} {filters}</div>'
