"""Converts the form for a user's own table to a `Reading`, and proposes values for its fields.

The fields are the options of `Reading`. Those of roles have the value NONE for no column, and UNSET for one that has to
be chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdiff.base.errors import SDiffError
from sdiff.data.preview import Preview, preview
from sdiff.data.reading import Reading
from sdiff.data.roles import METADATA, PAIR, describing, recognised, suggested_item_names

Options = Mapping[str, Any]  # values of the form, by option of `Reading`

NONE, UNSET = "-", ""
LAYOUT = ("names", "delimiter", "encoding")
ITEMS = {"items_id": "item", "items_title": "title", "items_genres": "genres", "items_year": "year"}  # role by option
LABELS = {"user": "User", "item": "Item", "rating": "Rating", "timestamp": "Time"}
LABELS |= {"items_id": "Item id", "items_title": "Title", "items_genres": "Genres", "items_year": "Year"}


@dataclass(frozen=True)
class Understood:
    """How a table is understood.

    Attributes:
        columns: names of all columns.
        options: the form's options for it, completed.
        start: its first rows; None for columns of the interactions that describe items.
        notices: what has been proposed and should be checked.
    """

    columns: list[str]
    options: dict[str, Any]
    start: Preview | None
    notices: list[str]


def interactions(path: Path, options: Options) -> Understood:
    """How a table of interactions is understood. Options that are missing are detected or proposed.

    Raises:
        SDiffError: the table cannot be read with these options.
    """
    start, layout, notices = _previewed(path, "", options)
    if start.times and start.time is None:
        notices.append("The times can be read in several ways, such as the day or the month first: choose one.")
    roles = {role: start.roles.get(role, UNSET if role in ("user", "item") else NONE) for role in PAIR}
    times = {"timestamp_format": options.get("timestamp_format", "")}
    return Understood(start.columns, layout | roles | times, start, notices)


def titles(path: Path | None, log: Understood, options: Options) -> Understood:
    """How a table of items is understood; without one, which columns of the interactions describe the items.

    Options that are missing are detected or proposed.

    Raises:
        SDiffError: the table cannot be read with these options.
    """
    if path:
        start, layout, notices = _previewed(path, "items_", options)
        columns, guess = start.columns, recognised(start.columns, METADATA)
    else:
        start, layout, notices = None, {f"items_{name}": "" for name in LAYOUT}, []
        columns, guess = log.columns, describing(log.columns, {role: log.options[role] for role in PAIR})
    chosen = {name: options.get(name) for name in ITEMS}
    guessed = {name: guess.get(role, UNSET if name == "items_id" else NONE) for name, role in ITEMS.items()}
    roles = {name: column if column in (NONE, *columns) else guessed[name] for name, column in chosen.items()}
    return Understood(columns, layout | roles, start, notices)


def reading(table: Path, items: Path | None, options: Options) -> Reading:
    """The options of the form, without those that are detected alike.

    Raises:
        SDiffError: an option is invalid, or a column has to be chosen.
    """
    log = interactions(table, {name: options[name] for name in LAYOUT})
    described = titles(items, Understood(log.columns, dict(options), None, []), _layout("items_", options))
    if UNSET in (options["user"], options["item"]):
        raise SDiffError("Choose the columns of users and items.")
    if items and options["items_id"] == UNSET:
        raise SDiffError(f"Choose the column of item ids in {items.name}.")
    detected = {name: (log.options | described.options).get(name) for name in (*PAIR, *ITEMS)}
    given: dict[str, Any] = {name: "" if detected.get(name) == value else value for name, value in options.items()}
    if not items:
        given |= {f"items_{name}": "" for name in ("id", *LAYOUT)}
    given |= {
        "min_rating": options["min_rating"].strip() or None,
        "core": 1 if options["core"] is None else options["core"],
    }
    return Reading(**given)


def _layout(prefix: str, options: Options) -> dict[str, Any]:
    return {prefix + name: options.get(prefix + name, "") for name in LAYOUT}


def _previewed(path: Path, prefix: str, options: Options) -> tuple[Preview, dict[str, Any], list[str]]:
    """A preview of a table, its layout, and notices. If the options have no layout, it is what is proposed."""
    layout, notices, given = _layout(prefix, options), [], f"{prefix}names" in options

    def look() -> Preview:
        pair = {} if prefix else {name: options.get(name, "") for name in (*PAIR, "timestamp_format")}
        return preview(path, Reading(**{name: layout[prefix + name] for name in LAYOUT}, **pair))

    start = look()
    proposed = start.proposed_encoding
    if proposed and given:
        notices.append(f"The text is not in {start.encoding.upper()}. It is likely in {proposed}.")
    elif proposed:
        notices.append(
            f"The text is not in {start.encoding.upper()}. It is read as {proposed}: check the letters, or choose "
            "another encoding."
        )
        layout[f"{prefix}encoding"] = proposed
        start = look()
    if start.names and not given:
        names = start.names if not prefix else suggested_item_names(len(start.names))
        notices.append("The first row seems to be data, not a header. The columns got names: check them.")
        layout[f"{prefix}names"] = ",".join(names)
        start = look()
    return start, layout, notices
