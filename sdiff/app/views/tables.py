"""HTML tables. Texts are escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

NUMBER = ' class="number"'


def table(caption: str, head: str, body: Iterable[str], beside: str = "") -> str:
    """A table with a caption. Everything but the caption is HTML.

    Args:
        head: the cells of the head.
        body: rows.
        beside: what follows the caption in its line.
    """
    return (
        f'<div class="list" role="region" aria-label="{escape(caption)}" tabindex="0"><table><caption>{escape(caption)}'
        f"{beside}</caption>{f'<thead><tr>{head}</tr></thead>' if head else ''}"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def plain_table(caption: str, head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A plain table. Columns of numbers are aligned right, others left."""
    columns = zip(*cells, strict=True) if cells else [()] * len(head)
    number = [all(text[:1].isdigit() or text[:1] in "-+" for text in column) for column in columns]

    def row(tag: str, texts: Sequence[str]) -> str:
        pairs = zip(texts, number, strict=True)
        return "".join(f"<{tag}{NUMBER if right else ''}>{escape(text)}</{tag}>" for text, right in pairs)

    return table(caption, row("th", head), (f"<tr>{row('td', texts)}</tr>" for texts in cells))


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
        kind = NUMBER if each.number else ""
        label = f"{escape(each.label)}<small>{escape(each.below)}</small>"
        return f'<th{kind} title="{escape(each.hint)}"><button type="button" data-sort>{label}</button></th>'

    def cell(each: Cell, number: bool) -> str:
        value = "" if each.value is None else escape(str(each.value))
        below = f'<span class="genres">{escape(each.below)}</span>' if each.below else ""
        return f'<td{NUMBER if number else ""} data-value="{value}">{escape(each.text)}{below}</td>'

    body = (f"<tr>{''.join(cell(one, each.number) for one, each in zip(row, heads, strict=True))}</tr>" for row in rows)
    return table(caption, "".join(map(head, heads)), body)


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
