"""Detects quotation marks that were misread, from the values of a table."""

from __future__ import annotations

from collections.abc import Sequence

from sdiff.data.database import literal

# A whole value, and one that contains doubled quotation marks.
WHOLE, DOUBLED = '[^"]*|"([^"]|"")*"', '"([^"]|"")*""([^"]|"")*"'
MOST = 20  # delimiters counted in a line of a text that may be a row


def swallow_rows(columns: Sequence[str], one_line: Sequence[str], delimiter: str) -> str:
    """SQL of whether a row seems to hold the next ones, because a quotation mark is missing.

    A value has a line break in one of the columns `one_line`, or the lines of a text look like rows.

    Args:
        columns: SQL of all columns of the table.
        one_line: those of them whose values have no line breaks.
    """
    end = rf"\x{{{ord(delimiter):x}}}"
    cell = rf"[^\n{end}]*"
    inner = rf"(({cell}{end}){{{min(len(columns) - 1, MOST)},}}{cell}\n)+[^\n]*"
    rows = rf"[^\n]*\n({inner}|{cell}{end}[^\n]*)"
    several = {column: f"contains({column}, chr(10))" for column in columns}
    return " OR ".join(
        lines if column in one_line else f"{lines} AND regexp_full_match({column}, {literal(rows)})"
        for column, lines in several.items()
    )


def need_quotes(columns: Sequence[str]) -> str:
    """SQL of whether a row that was read without quotation marks has values that need them.

    It is NULL if reading with quotation marks would break another value of the row.
    """
    marks = " OR ".join(f"contains({column}, '\"')" for column in columns)
    needed = " OR ".join(f"regexp_full_match({column}, {literal(DOUBLED)})" for column in columns)
    whole = " AND ".join(f"coalesce(regexp_full_match({column}, {literal(WHOLE)}), true)" for column in columns)
    return f"CASE WHEN {marks} THEN CASE WHEN {whole} THEN {needed} END ELSE false END"
