"""Recognises JSON files of objects, how the objects are arranged, and the columns that they make."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import duckdb

from sdiff.data.database import literal
from sdiff.data.sources import HEAD

SUFFIXES = {".jsonl", ".ndjson", ".json"}


def is_json(text: str, suffix: str) -> bool:
    """Whether a file is JSON, from its start and the suffix of its name."""
    text = text.lstrip()
    if text[:1] not in ("[", "{"):
        return False
    return suffix in SUFFIXES or _is_object(text.split("\n")[0]) or re.match(r'\[\s*\{\s*"', text) is not None


def arrangement(text: str) -> str:
    """DuckDB's name of the format of a JSON file, from its start."""
    text = text.lstrip()
    by_line = text.startswith("{") and (any(map(_is_object, text.split("\n"))) or "\n" not in text.strip())
    if by_line and not re.match(r"\{[^\n]*\}[ \t]*\{", text):
        return "newline_delimited"
    return "array" if text.startswith("[") else "unstructured"


def field_paths(con: duckdb.DuckDBPyConnection, objects: str) -> dict[str, str]:
    """JSON pointers of the columns by name, from the first objects of a relation. Objects in objects are unnested."""
    sample = f"(FROM {objects} LIMIT {HEAD})"
    query = f"FROM (SELECT DISTINCT unnest(json_keys(json)) AS key FROM {sample}) WHERE key <> ''"
    keys = con.execute(query).fetchall()
    paths: dict[str, str] = {}
    for (key,) in sorted(keys):
        parts = _fields_of(con, sample, key)
        if len(parts) == 1 and parts[0].startswith("$"):  # a type, as in MongoDB's {"$oid": "5f..."}
            paths[key] = _pointer(key, parts[0])
        else:
            paths |= {f"{key}.{part}": _pointer(key, part) for part in parts} or {key: _pointer(key)}
    return paths


def _fields_of(con: duckdb.DuckDBPyConnection, sample: str, key: str) -> list[str]:
    """The keys of the objects that a key has as its values; empty if it has others, too."""
    path = literal(_pointer(key))
    query = f"""
        SELECT bool_and(json_type(json, {path}) IN ('OBJECT', 'NULL')), flatten(list(json_keys(json, {path})))
        FROM {sample}"""
    [(objects, fields)] = con.execute(query).fetchall()
    return sorted({*fields}) if objects and fields else []


def _pointer(*keys: str) -> str:
    """The JSON pointer (RFC 6901) of a field."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def _is_object(line: str) -> bool:
    """Whether a line is one JSON object."""
    with suppress(ValueError, RecursionError):
        return isinstance(json.loads(line), dict)
    return False
