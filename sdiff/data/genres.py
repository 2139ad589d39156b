"""Genres of items, as tables write them."""

from __future__ import annotations

import ast
import json
import re
from contextlib import suppress
from typing import Any

LONGEST = 100_000  # characters of a list


def separated(genres: list[str], sequence: bool = False) -> list[str]:
    """Genres (n_items,) separated by `|`, from texts that may be lists or separated by other characters.

    Args:
        sequence: whether they are separated by blanks, as in RecBole's files.
    """
    texts = {*genres}
    lists = r"""\[.*|\{.*\}|\((\s*['"].*|.*,.*)\)"""  # of JSON, Postgres and Python; (unknown) is none
    parts = {text: _listed(text) for text in texts if re.fullmatch(lists, text, re.DOTALL)}
    plain = texts - parts.keys()
    separators = (r"\|", ";", ",", r"\s/\s", *([r"\s"] if sequence else []))
    separator = next((each for each in separators if any(re.search(each, text) for text in plain)), None)
    parts |= {text: re.split(separator, text) if separator else [text] for text in plain}
    joined = {text: "|".join(part.strip() for part in each if part.strip()) for text, each in parts.items()}
    return [joined[text] for text in genres]


def _listed(text: str) -> list[str]:
    """The names in a list as written by JSON, Python, Postgres or DuckDB, of texts or of objects with a name."""
    for parse in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            return _names(parse(text)) if len(text) < LONGEST else []
    inner = re.sub(r"^[\[{(]|[\])}]$", "", text.strip())
    parts = re.findall(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'(?=\s*(?:,|$))|[^,]+)\s*(?:,|$)""", inner)
    return [re.sub(r"""^(["'])(.*)\1$""", r"\2", part.strip()) for part in parts]


def _names(value: Any) -> list[str]:
    """The names in what a text was parsed as."""
    if isinstance(value, dict):
        named = [value[key] for key in ("name", "title", "genre", "description") if isinstance(value.get(key), str)]
        return named[:1] or [name for each in value.values() for name in _names(each)]
    if isinstance(value, list | tuple | set):
        return [name for each in value for name in _names(each)]
    return [] if value is None else [str(value)]
