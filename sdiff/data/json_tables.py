"""Recognises JSON files of objects, and how the objects are arranged."""

from __future__ import annotations

import json
import re
from contextlib import suppress

SUFFIXES = {".jsonl", ".ndjson", ".json"}


def is_json(text: str, suffix: str) -> bool:
    """Whether a file is JSON, from its start and the suffix of its name."""
    text = text.lstrip()
    return text[:1] in "[{" and (suffix in SUFFIXES or _is_object(text.split("\n")[0]))


def arrangement(text: str) -> str:
    """DuckDB's name of the format of a JSON file, from its start."""
    text = text.lstrip()
    by_line = text.startswith("{") and (any(map(_is_object, text.split("\n"))) or "\n" not in text.strip())
    if by_line and not re.match(r"\{[^\n]*\}[ \t]*\{", text):
        return "newline_delimited"
    return "array" if text.startswith("[") else "unstructured"


def _is_object(line: str) -> bool:
    """Whether a line is one JSON object."""
    with suppress(ValueError, RecursionError):
        return isinstance(json.loads(line), dict)
    return False
