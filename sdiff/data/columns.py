"""Finds the columns of a table of interactions, or of items, by their roles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sdiff.base.errors import SDiffError
from sdiff.data.reading import Reading
from sdiff.data.roles import METADATA, PAIR, parts_of_dates, recognised, suggested_item_names, suggested_names
from sdiff.data.tables.table import Table

NOTHING = "''"  # SQL of an absent column


def interaction_columns(table: Table, reading: Reading) -> dict[str, str]:
    """SQL of the columns of interactions by role. Without `reading.min_rating`, ratings are left out.

    Raises:
        SDiffError: user, item, a named column, or the ratings for a minimum are missing, or a column holds lists.
    """
    chosen = {role: name.strip().lower() for role in PAIR if (name := getattr(reading, role))}
    named = {role: name for role, name in chosen.items() if name != "-"}
    if absent := [name for name in named.values() if name not in table.columns]:
        raise SDiffError(
            f"{table.name} has no column {' and no column '.join(absent)}: its columns are {table.listed}."
        )
    if shared := [name for name, n in Counter(named.values()).items() if n > 1]:
        raise SDiffError(f"The column {shared[0]} has more than one role: name another column for one of them.")
    columns = {role: table.columns[name] for role, name in named.items()}
    guessed = {role: sql for role, sql in table.guessed(PAIR).items() if role not in chosen}
    if parts_of_dates(table.columns):
        guessed.pop("timestamp", None)
    columns = {role: sql for role, sql in guessed.items() if sql not in columns.values()} | columns
    if lists := [role for role in ("user", "item") if columns.get(role) in map(table.columns.get, table.sequences)]:
        raise SDiffError(
            f"The column {table.labels[columns[lists[0]]]} of {table.name} holds lists: write one row for each "
            f"{lists[0]}."
        )
    if reading.names and (
        {"user", "item"} <= recognised(table.rows[0] if table.rows else []).keys() or table.has_header
    ):
        raise SDiffError(
            f"{table.name} has a header, {', '.join(table.rows[0])[:200]}: leave out names, and choose columns by "
            "user=COLUMN&item=COLUMN."
        )
    if lacking := [role for role in ("user", "item") if role not in columns]:
        raise _without(table, lacking)
    if reading.min_rating is None:
        columns.pop("rating", None)
    elif "rating" not in columns:
        raise SDiffError(f"{table.name} has no column rating for min_rating: its columns are {table.listed}.")
    return columns


def _without(table: Table, lacking: list[str]) -> SDiffError:
    """The error for a table without a user or an item column, and what to do about it."""
    if first := table.data_as_header:
        return SDiffError(
            f"{table.name} seems to have no header, because its first row is {', '.join(first)[:200]}: name the "
            f"columns, and check which are the users and which the items, such as "
            f"?names={','.join(suggested_names([*map(list, [first, *table.rows])]))}."
        )
    if encoding := table.proposed_encoding():
        return SDiffError(
            f"{table.name} is not in UTF-8, so its columns' names cannot be read: set encoding={encoding}."
        )
    hint = f"Name them in the options, such as ?{'&'.join(f'{role}=COLUMN' for role in lacking)}"
    if table.format == "frame":
        hint = f"Rename one, or name it, as in {lacking[0]}='COLUMN'."
        if table.index:
            hint += f" Its index, {', '.join(table.index)}, is no column: use reset_index()."
    elif table.format != "text":
        hint += "."
    elif len(table.columns) == 1:
        hint = "If its columns are separated by another character, name it, such as ?delimiter=~."
    else:
        hint += ", or all columns with names= if the file has no header."
    return SDiffError(
        f"{table.name} has no column {' and no column '.join(lacking)}: its columns are {table.listed}. {hint}"
    )


def item_columns(table: Table, chosen: Mapping[str, str]) -> dict[str, str]:
    """SQL of the columns of a table of items by role. Raises SDiffError if there is no column of item ids."""
    named = named_columns(table, chosen)
    guessed = table.guessed(METADATA).items()
    columns = {role: sql for role, sql in guessed if role not in chosen and sql != named.get("item")} | named
    if chosen.get("year") == "-":
        columns["year"] = NOTHING
    if "item" in columns:
        return columns
    if first := table.data_as_header:
        raise SDiffError(
            f"{table.name} seems to have no header, because its first row is {', '.join(first)[:200]}: name its "
            f"columns, such as items_names={','.join(suggested_item_names(len(first)))}."
        )
    raise SDiffError(
        f"{table.name} has no column item: its columns are {table.listed}. Name the column of item ids, such as "
        "items_id=COLUMN."
    )


def named_columns(table: Table, chosen: Mapping[str, str]) -> dict[str, str]:
    """SQL of the named columns by role, without "-". Raises SDiffError if one is missing."""
    names = {role: name.strip().lower() for role, name in chosen.items() if name != "-"}
    if absent := [chosen[role] for role, name in names.items() if name not in table.columns]:
        raise SDiffError(f"{table.name} has no column {absent[0]}: its columns are {table.listed}.")
    return {role: table.columns[name] for role, name in names.items()}
