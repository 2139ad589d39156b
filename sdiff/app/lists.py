"""HTML tables of histories, lists and results. All text from data is escaped here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from sdiff.data.catalog import Row


def history_table(rows: Sequence[Row], ordered: bool = True) -> str:
    """A history, newest first if it has an order, with a button beside each item to remove it."""
    body = (f"<tr><td>{_title_cell(row)}</td><td>{_button(row, '×', 'Remove')}</td></tr>" for row in rows)
    newest = ", newest first" if ordered else ""
    return _table(f"History · {len(rows)} item{'s' * (len(rows) != 1)}{newest}", "", body)


def addable_table(rows: Sequence[Row]) -> str:
    """Items with a button beside each to add it to the history."""
    if not rows:
        return '<div class="empty">No title matches.</div>'
    body = (f"<tr><td>{_title_cell(row)}</td><td>{_button(row, '+', 'Add')}</td></tr>" for row in rows)
    return _table("Add to the history", "", body)


def items_table(rows: Sequence[Row], caption: str) -> str:
    """Items with their numbers of users."""
    if not rows:
        return '<div class="empty">No title matches.</div>'
    body = (f"<tr><td>{_title_cell(row)}</td>{_seen(row)}</tr>" for row in rows)
    return _table(caption, f"<th>Title</th>{_SEEN}", body)


def recommended_table(
    rows: Sequence[Row], moves: Sequence[int | None] | None = None, past: Collection[str] = ()
) -> str:
    """Recommendations, best first, with a bar for the score. Held-out items are marked.

    Args:
        moves: how many places each item moved up; None for an item that was far down. Shown if given.
        past: ids of history items, which are labelled if they are listed.
    """
    if not rows:
        return '<div class="empty">No item is left to recommend.</div>'
    scores = [row.score for row in rows]
    span = max(max(scores) - min(min(scores), 0.0), 1e-12)
    moved = [""] * len(rows) if moves is None else [_move(places) for places in moves]
    body = (
        f'<tr{_HIT if row.held_out else ""}><td class="number">{row.rank}{move}</td>'
        f"<td>{_title_cell(row)}{_SEEN_BEFORE if row.id in past else ''}</td>"
        f'<td class="score">{row.score:.3f}{_bar(row.score / span)}</td>{_seen(row)}'
        f'<td class="mark">{"✓" if row.held_out else ""}</td><td>{_button(row, "?", "Why")}</td></tr>'
        for row, move in zip(rows, moved, strict=True)
    )
    head = f'<th class="number">#</th><th>Title</th><th>Score</th>{_SEEN}{_LATER}<td></td>'
    return _table(f"Recommended · top {len(rows)}", head, body)


def moving_table(caption: str, rows: Sequence[Row], moves: Sequence[int | None] | None, than: str) -> str:
    """A list compared with another one: rank, places won, title, and a mark for held-out items.

    Args:
        moves: how many places higher each item is than in the other list; None for an item that is far down there. None
            if there is no other list.
        than: name of the other list.
    """
    if not rows:
        return '<div class="empty">No item is left to recommend.</div>'
    moved = [""] * len(rows) if moves is None else [f'<td class="number">{_move(places)}</td>' for places in moves]
    body = (
        f'<tr{_HIT if row.held_out else ""}><td class="number">{row.rank}</td>{move}<td>{_title_cell(row)}</td>'
        f'<td class="mark">{"✓" if row.held_out else ""}</td></tr>'
        for row, move in zip(rows, moved, strict=True)
    )
    beside = "" if moves is None else f'<th class="number">vs {escape(than)}</th>'
    head = f'<th class="number">#</th>{beside}<th>Title</th>{_LATER}'
    return _table(caption, head, body)


def why_panel(
    title: str, unit: str, score: float, by_item: Sequence[tuple[str, float]], by_frequency: Sequence[tuple[str, float]]
) -> str:
    """Explanation of a score: two tables of parts, with bars to the right (positive) or left (negative)."""
    largest = max(abs(value) for _, value in (*by_item, *by_frequency)) or 1.0

    def row(name: str, value: float, bar: str = "", kind: str = "") -> str:
        cells = f'<td>{escape(name)}</td><td class="number">{value:+.3f}</td><td class="part">{bar}</td>'
        return f"<tr{kind}>{cells}</tr>"

    def account(caption: str, parts: Sequence[tuple[str, float]]) -> str:
        body = (row(name, value, _signed(value / largest)) for name, value in parts)
        return _table(caption, "", [*body, row(unit, score, kind=' class="sum"')])

    heading = f"<h2>Why {escape(title)}?</h2>"
    return heading + account("By what is in the history", by_item) + account("By frequency, low to high", by_frequency)


def plain_table(caption: str, head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A plain table. Columns of numbers are aligned right, others left."""
    columns = zip(*cells, strict=True) if cells else [()] * len(head)
    number = [all(text[:1].isdigit() or text[:1] in "-+" for text in column) for column in columns]

    def row(tag: str, texts: Sequence[str]) -> str:
        pairs = zip(texts, number, strict=True)
        return "".join(f"<{tag}{_NUMBER if right else ''}>{escape(text)}</{tag}>" for text, right in pairs)

    return _table(caption, row("th", head), (f"<tr>{row('td', texts)}</tr>" for texts in cells))


@dataclass(frozen=True)
class Head:
    """Head of a column: a label, a second line, and an explanation. `number`: whether its cells are numbers."""

    label: str
    below: str
    hint: str
    number: bool = True


@dataclass(frozen=True)
class Cell:
    """A cell: its text, its value for sorting (None sorts last), and a second line."""

    text: str
    value: float | str | None
    below: str = ""


def sortable_table(caption: str, heads: Sequence[Head], rows: Sequence[Sequence[Cell]]) -> str:
    """A table whose column heads are buttons. `SORT` sorts its rows by the pressed one."""

    def head(each: Head) -> str:
        kind = _NUMBER if each.number else ""
        label = f"{escape(each.label)}<small>{escape(each.below)}</small>"
        return f'<th{kind} title="{escape(each.hint)}"><button type="button" data-sort>{label}</button></th>'

    def cell(each: Cell, number: bool) -> str:
        value = "" if each.value is None else escape(str(each.value))
        below = f'<span class="genres">{escape(each.below)}</span>' if each.below else ""
        return f'<td{_NUMBER if number else ""} data-value="{value}">{escape(each.text)}{below}</td>'

    body = (f"<tr>{''.join(cell(one, each.number) for one, each in zip(row, heads, strict=True))}</tr>" for row in rows)
    return _table(caption, "".join(map(head, heads)), body)


# For `js_on_load` of an HTML component with a `sortable_table`. The order survives an update of the table.
SORT = """let column = -1, descending = true;
const sort = () => {
  const heads = [...element.querySelectorAll("thead th")], body = element.querySelector("tbody");
  if (!body || !heads[column]) return;
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  const value = (row) => row.cells[column].dataset.value;
  const order = (x, y) => (x === "") - (y === "") || (descending ? -1 : 1) * (x - y || x.localeCompare(y));
  body.append(...[...body.rows].sort((a, b) => order(value(a), value(b))));
};
element.addEventListener("click", ({ target }) => {
  const head = target.closest("[data-sort]")?.closest("th");
  if (!head) return;
  descending = head.cellIndex === column ? !descending : head.classList.contains("number");
  column = head.cellIndex;
  sort();
});
watch("value", sort);"""

_NUMBER = ' class="number"'
_SEEN = '<th class="number seen" title="users who have it in their training history">Seen by</th>'
_LATER = '<th class="mark" title="held out of the history">✓</th>'
_SEEN_BEFORE = '<span class="genres">in the history</span>'
_HIT = ' class="hit" title="held out of the history"'


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


def _title_cell(row: Row) -> str:
    year = f" <small>{row.year}</small>" if row.year else ""
    genres = f'<span class="genres">{escape(row.genres)}</span>' if row.genres else ""
    extra = " · ".join(f"{escape(name)}: {escape(text)}" for name, text in row.extra.items())
    more = f'<span class="genres">{extra}</span>' if extra else ""
    return f'<span class="title">{escape(row.title)}{year}</span>{genres}{more}'


def _table(caption: str, head: str, body: Iterable[str]) -> str:
    return (
        f'<div class="list" role="region" aria-label="{escape(caption)}" tabindex="0"><table><caption>{escape(caption)}'
        f"</caption>{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{''.join(body)}</tbody></table></div>"
    )
