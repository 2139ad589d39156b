"""Notes on what may be wrong with a table although it can be read."""

from __future__ import annotations

import re
from collections.abc import Mapping

import duckdb
import numpy as np

from sdiff.data.ids import DIFFERENCES
from sdiff.data.interactions import Interactions, Vocabulary
from sdiff.data.roles import DATE, PAIR, TIME_OF_DAY, is_list, parts_of_dates
from sdiff.data.tables.table import Table

RATED = 100_000  # rows in which ratings are looked at
SAMPLED = 100  # rows in which dates are looked for
SAME = 0.05  # share of ids that may differ only in their spelling, without a note
# Ids that programs write for all users or items that they do not know, in lower case.
STAND_INS = {"unknown", "anonymous", "anon", "guest", "other", "others", "default", "deleted", "[deleted]", "removed"}
STAND_INS |= {"(not set)", "not set", "(other)", "(none)", "(unknown)", "unassigned", "-1", "99999", "999999"}
NUMBERED = r"\d+(\.\d+){3,}"  # addresses and versions, which look like dates
DURATIONS = "length|duration|runtime|playtime|elapsed|session"  # in names of columns
DAY = 86_400  # seconds
OFTEN = 2  # how many times more rows such an id has than any other one


def notes_on(table: Table, columns: Mapping[str, str], untimed: bool, interactions: Interactions) -> tuple[str, ...]:
    """Sentences about a table of interactions.

    Args:
        columns: SQL of the columns that were read, by role.
        untimed: whether times are not wanted.
        interactions: what was read.
    """
    lengths = {"user": interactions.lengths, "item": interactions.item_counts}
    vocabularies = {"user": interactions.users, "item": interactions.items}
    notes = [
        f"The index {name} of the data frame is not used: if it is a column, use reset_index()." for name in table.index
    ]
    if parts_of_dates(table.columns):
        notes.append("The date in year, month and day is not used: join them to one column.")
    notes.append(_negative(table, columns))
    if (times := interactions.timestamps) is not None and len(times) > 2 and times.min() == times.max():
        notes.append(f"All times in {table.labels[columns['timestamp']]} are the same, so that the order is not known.")
    notes += [] if untimed else _unused_times(table, columns, interactions.timestamps)
    for role, ids in vocabularies.items():
        notes += [_spellings(role, ids), _lists(role, ids), _stand_in(role, ids, lengths[role])]
    return tuple(filter(None, notes))


def _negative(table: Table, columns: Mapping[str, str]) -> str:
    """A note if ratings that are not used are often 0, negative, or no; empty otherwise."""
    rating = table.guessed(PAIR).get("rating")
    if rating is None or "rating" in columns or rating in columns.values():
        return ""
    negative = f"TRY_CAST({rating} AS DOUBLE) <= 0 OR lower(trim({rating})) IN ('no', 'false', 'n', 'f')"
    query = f"SELECT count(*), count(*) FILTER ({negative}) FROM (FROM {table.scan} LIMIT {RATED})"
    [(rows, n)] = _rows(table, query) or [(0, 0)]
    if n <= SAME * rows:
        return ""
    return (
        f"{table.labels[rating]} is 0, negative or no in {n:,} of the first {rows:,} rows: set min_rating if these "
        "are no interactions."
    )


def _unused_times(table: Table, columns: Mapping[str, str], timestamps: np.ndarray | None) -> list[str]:
    """Notes on columns of dates, if there are no times, and on times of day, if the times are only dates."""
    dated = timestamps is not None
    others = [sql for sql in table.labels if sql not in columns.values()]
    if not others or (timestamps is not None and (timestamps % DAY).any()):
        return []
    rows = _rows(table, f"SELECT {', '.join(others)} FROM {table.scan} LIMIT {SAMPLED}")
    form = TIME_OF_DAY if dated else DATE
    found = [
        table.labels[sql]
        for sql, values in zip(others, zip(*rows, strict=True), strict=False)
        if (given := [value for value in values if value]) and all(re.fullmatch(form, value) for value in given)
        if dated or not all(re.fullmatch(f"{NUMBERED}|{TIME_OF_DAY}", value) for value in given)
    ]
    if dated:
        return [
            f"{name} seems to hold the time of day, which is not used: join it to the date."
            for name in found
            if not re.search(DURATIONS, name.lower())
        ]
    return [
        f"{name} seems to hold dates, which are not used: if they are the times, set timestamp={name}."
        for name in found
    ]


def _rows(table: Table, query: str) -> list[tuple]:
    """The rows of a query; none if a column that is not needed cannot be read."""
    try:
        return table.con.execute(query).fetchall()
    except duckdb.Error:
        return []
    finally:
        table.forget_rejected()


def _spellings(role: str, ids: Vocabulary) -> str:
    """A note if many ids differ from another one only in their spelling; empty otherwise."""
    if all(id.isdigit() and (id[0] != "0" or id == "0") for id in ids.ids):  # the usual case, and fast
        return ""
    for difference, plain in DIFFERENCES.items():
        if difference == "by punctuation":  # but 1_23 and 12_3 are two ids
            same = len(ids) - len({re.sub(r"(?<!\d)[\W_]+|[\W_]+(?!\d)", "", id).lower() or id for id in ids.ids})
        else:
            same = len(ids) - len({*map(plain, ids.ids)})
        if same > SAME * len(ids):
            many = f"{same:,} of the {len(ids):,} {role}s"
            return f"{many} may be other spellings of the rest: they differ only {difference}."
    return ""


def _lists(role: str, ids: Vocabulary) -> str:
    """A note if most ids seem to be lists of ids; empty otherwise."""
    lists = [id for id in ids.ids if not id.isalnum() and is_list(id)]
    if 2 * len(lists) <= len(ids) or all(re.fullmatch(r"\d+[ ,;|]+\d+", id) for id in lists):  # 1,5 or 555 1234
        return ""
    return f"Most {role}s seem to be lists of ids, such as {lists[0][:40]}: if so, write one row for each {role}."


def _stand_in(role: str, ids: Vocabulary, counts: np.ndarray) -> str:
    """A note if the most frequent id seems to stand for all that are not known; empty otherwise."""
    if len(ids) < 3:
        return ""
    second, first = np.partition(counts, -2)[-2:]
    name = ids.ids[int(counts.argmax())]
    if name.lower() not in STAND_INS or first < OFTEN * second:
        return ""
    return (
        f"The {role} {name} has {first:,} of the {counts.sum():,} interactions: if it stands for all {role}s that are "
        "not known, remove these rows."
    )
