"""JSON files of objects: how the objects are arranged, and the columns that they make."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import duckdb

from sdiff.base.errors import SDiffError
from sdiff.data.database import identifier, literal
from sdiff.data.tables.dialect import Layout
from sdiff.data.tables.faults import Fault, Faults, row_numbers
from sdiff.data.tables.files import TableFiles, write
from sdiff.data.tables.table import COLUMNS, LONGEST, Table

SUFFIXES = {".jsonl", ".ndjson", ".json"}
SAMPLED = 65_536  # objects in which the fields of other objects are looked for
INVALID = " invalid"  # name of an internal column


class JsonTable(Table):
    """A table of JSON objects: one on each line, an array, or one after the other."""

    format = "json"

    def __init__(
        self, con: duckdb.DuckDBPyConnection, name: str, files: TableFiles, layout: Layout, copy: Path, start: bool
    ) -> None:
        """Raises SDiffError if it holds no objects, or has duplicate or too many columns.

        Args:
            copy: path of a file that may be written, and scanned in place of `files`.
            start: only the first rows are needed.
        """
        if re.match(r"[\[\s]*\{\s*'", files.text):
            raise SDiffError(f"{name} holds Python dictionaries, not JSON: write it again with json.dumps.")
        form = _arrangement(files.text)
        for path in files.paths[1:]:
            if _arrangement(TableFiles.of([path], files.encoding).text) != form:
                raise SDiffError(f"{path} is arranged in another way than {files.paths[0]}: write them alike.")
        self._files, self._layout = files, layout
        self._by_line = form == "newline_delimited"
        self._scanned = self._readable(copy, start)
        self.encoding = files.encoding
        paths = ", ".join(literal(str(path)) for path in self._scanned)
        options = f"format = '{form}', ignore_errors = {self._by_line}, hive_partitioning = false"
        objects = f"read_json_objects([{paths}], {options})"
        pointers = _pointers(con, objects, start)
        if sum(f"{key.removesuffix('.0')}.1" in pointers for key in pointers if key.endswith(".0")) > 1:
            raise SDiffError(
                f"{name} holds columns, as DataFrame.to_json writes them: write it with orient='records', lines=True."
            )
        if not pointers:
            raise SDiffError(f"{name} holds no JSON objects: write one for each row.")
        fields = ", ".join(f"json ->> {literal(path)} AS {identifier(key)}" for key, path in pointers.items())
        invalid = f", json IS NULL AS {identifier(INVALID)}" if self._by_line else ""
        super().__init__(con, name, f"(SELECT {fields}{invalid} FROM {objects})", [*pointers])

    def faults(self, scanned: str, reason: str) -> Faults:
        if self._by_line:
            cause = self._files.advice(self._layout.prefix) if self._files.garbled else "it is not valid JSON"
            reason = f"CASE WHEN broken THEN {literal(cause)} ELSE {reason} END"
        return super().faults(scanned, reason)

    def broken(self, one_line: Sequence[str]) -> str:
        """SQL of whether a line is not valid JSON."""
        return identifier(INVALID) if self._by_line else "false"

    def proposed_encoding(self) -> str:
        return self._files.proposal_if_garbled()

    def _row_numbers(self, positions: Sequence[int], rejected: Sequence[Fault]) -> Sequence[int]:
        """Also counts the blank lines, which DuckDB leaves out."""
        if not self._by_line or not positions:
            return [position + 1 for position in positions]
        blank, rest = [], max(positions) + 1
        for number, line in enumerate(self._files.lines(), 1):
            if not line.strip():
                blank.append(number)
            elif not (rest := rest - 1):
                break
        return row_numbers(positions, 1, blank)

    def _readable(self, copy: Path, start: bool) -> list[Path]:
        """The files as DuckDB can read them: copies where it cannot."""
        files = self._files
        if start and self._by_line and not files.whole and "\n" in files.text:
            write(copy, files.first_lines())
            return [copy]
        if files.plain and (start or files.survey()[0]):  # an array cannot be cut; it may be large
            return [files.paths[0]]
        if self._by_line:
            write(copy, files.lines())
            return [copy]
        parts = [copy.with_name(f"{copy.name}{n}") for n in range(len(files.paths))]
        for path, part in zip(files.paths, parts, strict=True):
            write(part, files.lines(only=path))
        return parts


def is_json(text: str, suffix: str) -> bool:
    """Whether a file is JSON, from its start and the suffix of its name."""
    text = text.lstrip()
    if text[:1] not in ("[", "{"):
        return False
    return suffix in SUFFIXES or _is_object(text.split("\n")[0]) or re.match(r'\[\s*\{\s*"', text) is not None


def _arrangement(text: str) -> str:
    """DuckDB's name of the format of a JSON file, from its start."""
    text = text.lstrip()
    by_line = text.startswith("{") and (any(map(_is_object, text.split("\n"))) or "\n" not in text.strip())
    if by_line and not re.match(r"\{[^\n]*\}[ \t]*\{", text):
        return "newline_delimited"
    return "array" if text.startswith("[") else "unstructured"


def _pointers(con: duckdb.DuckDBPyConnection, objects: str, start: bool) -> dict[str, str]:
    """JSON pointers of the columns by name, from all objects of a relation, or from its first ones if it is the start.

    Objects in objects are unnested, but not what is in these. Raises SDiffError if two fields have the same name.
    """
    first = f"(FROM {objects} LIMIT {SAMPLED})"
    known = _keys(con, first)
    paths: dict[str, str] = {}
    for key in known if start else _keys(con, objects):
        parts = _fields_of(con, first, key) if key in known else []
        if not start and (parts or key not in known):
            parts = _fields_of(con, objects, key)  # others may have more fields
        if len(parts) == 1 and parts[0].startswith("$"):  # a type, as in MongoDB's {"$oid": "5f..."}
            found = {key: _pointer(key, parts[0])}
        else:
            found = {f"{key}.{part}": _pointer(key, part) for part in parts} or {key: _pointer(key)}
        if twice := paths.keys() & found.keys():
            raise SDiffError(f"There are two fields {min(twice)[:LONGEST]!r} in the objects: rename one.")
        paths |= found
    return paths


def _keys(con: duckdb.DuckDBPyConnection, objects: str) -> list[str]:
    """The different keys of the objects of a relation."""
    query = f"FROM (SELECT DISTINCT unnest(json_keys(json)) AS key FROM {objects}) WHERE key <> '' ORDER BY key"
    keys = [key for (key,) in con.execute(query).fetchall()]
    if len(keys) > COLUMNS:
        raise SDiffError(f"The objects have {len(keys):,} columns, but the maximum is {COLUMNS:,}: remove some keys.")
    return keys


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
