"""Texts that are not ids, and ids that differ from others only in their spelling."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from sdiff.base.errors import brief
from sdiff.data.database import literal
from sdiff.data.tables.table import LONGEST, Table

# What programs write for a missing value, as in pandas, and \N of databases, in lower case.
MISSING = (
    *("null", "(null)", "[null]", "<null>", "nan", "-nan", "none", "undefined", "na", "<na>", "#na", "n/a", "#n/a"),
    *("#ref!", "#value!", "#name?", "#div/0!", "#num!", "#null!", "-", "--"),  # errors of spreadsheets, and dashes
    *("#n/a n/a", "nat", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan", r"\n"),
)
# How ids that mean the same differ, and how they look without the difference.
DIFFERENCES: dict[str, Callable[[str], str]] = {
    "by leading zeros": lambda id: id.lstrip("0") or "0",
    "by a decimal point, such as 1.0 and 1": lambda id: re.sub(r"\.0+$", "", id),
    "in upper and lower case": str.lower,
    "by punctuation": lambda id: re.sub(r"[\W_]", "", id).lower() or id,
}
BLANK = r"[\s\x0b\x{85}\p{Z}]+"  # white space of any script
# Lists and objects, but not titles such as [REC] or ids such as {6f9619ff-8b86}.
NESTED = r"""(?s)\[(\s*[-.\d]*\s*|.*[,"'{\[].*)\]|\{\s*\}|\{.*[,:=].*\}|\(\s*['"].*['"],?\s*\)"""
ROUNDED = r"\d([.,]\d+)?[eE]\+\d+"  # a number as a spreadsheet shows it
BREAK = "has a line break: a quotation mark may be missing"


def mark_invalid_ids(table: Table, columns: Mapping[str, str]) -> None:
    """Sets `fault` in the rows of the table `pairs` whose user or item is no id.

    Each different text is checked once.

    Args:
        columns: SQL of the columns user and item of the table that `pairs` was read from.
    """
    con = table.con
    ids = " UNION ALL ".join(
        f"""SELECT '{role}' AS role, id, {literal(table.labels[columns[role]])} AS header,
                {table.exact.get(columns[role], "NULL")}::DOUBLE AS exact
            FROM (SELECT DISTINCT "{role}" AS id FROM pairs WHERE included)"""
        for role in ("user", "item")
    )
    con.execute(f"""
        CREATE OR REPLACE TABLE odd AS
        SELECT role, id, CASE
            WHEN id = header AND {table.format != "frame"} THEN 'is the name of the column: the header is repeated'
            WHEN regexp_full_match(id, {literal(BLANK)}) THEN 'is empty'
            WHEN lower(id) IN ({", ".join(map(literal, MISSING))})
                THEN 'is ''' || id || ''', which stands for a missing value'
            WHEN role = 'user' AND lower(id) IN ('total', 'grand total', 'subtotal')
                THEN 'is ' || id || ', a sum of other rows'
            WHEN abs(TRY_CAST(id AS DOUBLE)) > exact
                THEN 'is ' || id || ', too large for a column of floats: write ids as text or whole numbers'
            WHEN regexp_full_match(id, {literal(ROUNDED)})
                THEN 'is ' || id || ', rounded by a spreadsheet: export the ids as text'
            WHEN regexp_full_match(id, '[0-9]+[.]0+') AND whole IS NOT NULL
                THEN 'is ' || id || ', but another row has ' || whole || ': write ids the same way'
            WHEN {table.keeps_quotes} AND regexp_full_match(id, '".*"')
                THEN 'is ' || id || ', with its quotation marks: write all ids with them, or none'
            WHEN regexp_full_match(id, '="[^"]*"')
                THEN 'is ' || id || ', unlike the first rows: write all ids like Excel, or none'
            WHEN regexp_full_match(id, '[-=:+]{{2,}}')
                THEN 'is ' || id || ', a line of a drawn table: export the table as CSV'
            WHEN regexp_full_match(id, {literal(NESTED)})
                THEN 'is ''' || left(id, {LONGEST}) || ''', a list or an object: write one row for each pair'
            WHEN contains(id, chr(10)) THEN '{BREAK}' END AS reason
        FROM ({ids}) AS ids
        LEFT JOIN (SELECT role AS of, id AS whole FROM ({ids}))
            ON of = role AND regexp_full_match(id, '[0-9]+[.]0+') AND whole = regexp_replace(id, '[.]0+$', '')
        WHERE reason IS NOT NULL""")
    if con.execute("FROM odd LIMIT 1").fetchall():
        for role in ("item", "user"):
            con.execute(f"""
                UPDATE pairs SET fault = '{role} ' || reason FROM odd
                WHERE role = '{role}' AND id = "{role}" AND included""")


def difference(ids: Sequence[str], given: Sequence[str], share: float = 0.0) -> str:
    """How more than a share of `ids` differ from ids `given` in another table; empty if that is not known."""
    for name, plain in DIFFERENCES.items():
        others = {*map(plain, given)}
        if sum(plain(id) in others for id in ids) > share * len(ids):
            return name
    return ""


def cause_of_mismatch(ids: Sequence[str], given: Sequence[str]) -> str:
    """Why none of the `ids` of interactions is among the ids `given` in a table of items."""
    examples = f"{', '.join(map(brief, given[:3]))} there, and {', '.join(map(brief, ids[:3]))} in the interactions"
    if found := difference(ids, given):
        return f"the ids differ {found} ({examples}); write them the same way in both tables"
    return f"its ids differ ({examples}); name the right column of ids, such as items_id=COLUMN"
