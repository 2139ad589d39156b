"""Reports on an upload as HTML: how its files are understood, and what is lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from html import escape
from pathlib import Path

from sdiff.app.server.public import public_message
from sdiff.app.uploads.mapping import ITEMS, LABELS, LAYOUT, NONE, UNSET, Options, Understood
from sdiff.app.uploads.store import Checked
from sdiff.app.views import tables
from sdiff.base.errors import SDiffError
from sdiff.data.summary import Summary
from sdiff.data.tables.faults import Faults
from sdiff.data.times import TimeReading

FORMATS = {"text": "Text", "json": "JSON", "parquet": "Parquet"}
DELIMITERS = {
    ",": "commas",
    "\t": "tabs",
    ";": "semicolons",
    "|": "vertical bars",
    "::": "double colons",
    " ": "blanks",
}
FILES = {"interactions": "Interactions", "items": "Titles"}
ADVICE = "Fix these rows, or tick “Skip invalid rows”."


def beginning(path: Path, found: Understood, roles: Options) -> str:
    """How a file is understood: its format, the times, what should be checked, and the first rows.

    Args:
        roles: the column of each role, marked in the header.
    """
    start = found.start
    assert start
    facts = [FORMATS[start.format]]
    if start.format == "text":
        named = any(found.options.get(f"{prefix}{LAYOUT[0]}") for prefix in ("", "items_"))
        delimiter = DELIMITERS.get(start.delimiter, start.delimiter)
        facts += [f"separated by {delimiter}", "without a header" if named else "the first row is the header"]
    facts += [f"encoding {start.encoding}"] if start.encoding else []
    html = paragraph(f"{', '.join(facts)}.")
    if start.time:
        html += paragraph(f"Times: {meaning(start.time)}.")
    marks = defaultdict(list)
    for name, column in roles.items():
        if name in LABELS:
            marks[column].append(LABELS[name])
    heads = [" · ".join([column, ", ".join(marks[column])]) if marks[column] else column for column in start.columns]
    rows = tables.plain_table(f"{path.name} · first rows", heads, start.rows)
    return html + "".join(map(problem, found.notices)) + rows


def meaning(time: TimeReading) -> str:
    """How a time is read."""
    return f"{time.example} is {time.meaning}" if time.meaning else f"{time.example} cannot be read as {time.format}"


def report(checked: Checked, names: Mapping[str, str], options: Options) -> str:
    """What an upload holds and loses, before it is opened.

    Args:
        names: of the files "interactions" and, if there is one, "items".
    """
    parts = []
    if checked.summary:
        parts.append(
            f"<p><strong>{size(checked.summary)}</strong> of {checked.rows:,} rows. {_lost(checked.summary)}</p>"
        )
    parts += [problem(f"{FILES[role]}: {public_message(SDiffError(text))}") for role, text in checked.problems.items()]
    parts += [faults_table(names.get(role, ""), found) for role, found in checked.invalid.items()]
    if checked.invalid and not options["skip_faulty"]:
        parts.append(paragraph(ADVICE))
    if checked.summary and "items" not in names:
        chosen = {name: options[name] for name in ITEMS if options[name] not in (NONE, UNSET)}
        parts += [
            problem(f"{column} is not used for {LABELS[name].lower()}: it differs between the rows of an item.")
            for name, column in chosen.items()
            if ITEMS[name] not in checked.described
        ]
    return "".join(parts)


def size(summary: Summary) -> str:
    return f"{summary.interactions:,} interactions, {summary.users:,} users, {summary.items:,} items"


def _lost(summary: Summary) -> str:
    lost = ", ".join(f"{n:,} {reason}" for reason, n in summary.left_out.items() if n)
    titles = summary.titles or "Items have no titles, only ids"
    return " ".join([f"Left out: {lost or 'nothing'}. {titles}.", *summary.notes])


def faults_table(name: str, faults: Faults) -> str:
    """The first invalid rows of a file."""
    rows, n = [[str(fault.row), fault.reason] for fault in faults.first], faults.count
    caption = f"{name}: {n:,} invalid row{'s' * (n != 1)}" + (f", the first {len(rows)}" if n > len(rows) else "")
    return tables.plain_table(caption, ["Row", "What is wrong"], rows)


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def problem(text: str) -> str:
    """Something that a visitor has to do or to check."""
    return paragraph(text, "ask")
