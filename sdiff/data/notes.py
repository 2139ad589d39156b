"""Notes on what may be wrong with a table although it can be read."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from sdiff.data.ids import DIFFERENCES
from sdiff.data.interactions import Interactions, Vocabulary
from sdiff.data.roles import DATE, TIME_OF_DAY, is_list
from sdiff.data.tables.table import Table

SAMPLED = 100  # rows in which dates are looked for
SAME = 0.05  # share of ids that may differ only in their spelling, without a note
# Ids that programs write for all users or items that they do not know, in lower case.
STAND_INS = {"unknown", "anonymous", "anon", "guest", "other", "others", "default", "deleted", "[deleted]", "removed"}
STAND_INS |= {"(not set)", "not set", "(other)", "(none)", "(unknown)", "unassigned", "0", "-1", "99999", "999999"}
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
    notes = [] if untimed else _unused_times(table, columns, interactions.timestamps)
    for role, ids in vocabularies.items():
        notes += [_spellings(role, ids), _lists(role, ids), _stand_in(role, ids, lengths[role])]
    return tuple(filter(None, notes))


def _unused_times(table: Table, columns: Mapping[str, str], timestamps: np.ndarray | None) -> list[str]:
    """Notes on columns of dates, if there are no times, and on times of day, if the times are only dates."""
    dated = timestamps is not None
    others = [sql for sql in table.labels if sql not in columns.values()]
    if not others or (timestamps is not None and (timestamps % DAY).any()):
        return []
    rows = table.con.execute(f"SELECT {', '.join(others)} FROM {table.scan} LIMIT {SAMPLED}").fetchall()
    table.forget_rejected()
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


def _spellings(role: str, ids: Vocabulary) -> str:
    """A note if many ids differ from another one only in their spelling; empty otherwise."""
    if all(id.isdigit() and id[0] != "0" for id in ids.ids):  # the usual case, and fast
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
    lists = [id for id in ids.ids if is_list(id)]
    if 2 * len(lists) <= len(ids):
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
        "not known, take these rows out."
    )
