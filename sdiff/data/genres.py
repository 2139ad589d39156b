"""Genres of items, as tables write them."""

from __future__ import annotations

import re


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
    """The names in a list as written by JSON, Python or DuckDB, of texts or of objects with a name."""
    quoted = r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\""""
    named = re.findall(rf"""['"](?:name|description)['"]\s*:\s*(?:{quoted})""", text)
    found = named or re.findall(quoted, text)
    return ["".join(pair).strip() for pair in found] or [part.strip() for part in text.strip("[]{}() ").split(",")]
