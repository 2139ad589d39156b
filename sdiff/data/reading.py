"""Options for reading a table of interactions and a table of items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import parse_qsl, urlencode

from sdiff.base.checks import number, whole
from sdiff.base.errors import SDiffError, brief
from sdiff.data.interactions import Interactions, Split
from sdiff.data.splits import chronological_split, global_split, leave_last_out, random_split
from sdiff.data.tables.dialect import Layout

SPLITS: dict[str, Callable[[Interactions], Split]] = {
    "chronological": chronological_split,
    "leave-last-out": leave_last_out,
    "global": global_split,
    "random": lambda interactions: random_split(interactions, 0),
}


@dataclass(frozen=True)
class Reading:
    """Options for reading a table of interactions.

    Values may be text, as in a URL or a form: core="5", names="user, item", skip_faulty="true".

    Attributes:
        user: name of the column of user ids. If empty, it is detected by its name, such as user_id.
        item: the same for item ids.
        rating: the same for ratings; "-" ignores the column.
        timestamp: the same for times; "-" ignores the column.
        timestamp_format: of the times, such as %d/%m/%Y, or s, ms, us or ns. Detected if empty.
        names: names of all columns, if the file has no header.
        delimiter: text between the columns, detected if empty.
        encoding: such as cp1252; UTF-8, or UTF-16 if the file seems to be, if empty.
        min_rating: minimum rating of an interaction. None keeps all rows.
        core: minimum number of interactions per user and item (k-core).
        skip_faulty: skip invalid rows instead of raising an error.
        split: chronological, leave-last-out, global or random. If empty, chronological if there are timestamps, else
            random.
        items: path of a table with item metadata; "-" ignores a table next to the interactions.
        items_id: name of its column of item ids. An empty name is guessed.
        items_title: likewise of titles; "-" means no such column. Without a table of items, this and the next two are
            columns of the interactions.
        items_genres: likewise of genres.
        items_year: likewise of years.
        items_names: names of its columns, if it has no header.
        items_delimiter: text between its columns, detected if empty.
        items_encoding: encoding of that table, as in `encoding`.

    Raises:
        SDiffError: a value has the wrong type or is out of range.
    """

    user: str = ""
    item: str = ""
    rating: str = ""
    timestamp: str = ""
    timestamp_format: str = ""
    names: tuple[str, ...] = ()
    delimiter: str = ""
    encoding: str = ""
    min_rating: float | None = None
    core: int = 1
    skip_faulty: bool = False
    split: str = ""
    items: str = ""
    items_id: str = ""
    items_title: str = ""
    items_genres: str = ""
    items_year: str = ""
    items_names: tuple[str, ...] = ()
    items_delimiter: str = ""
    items_encoding: str = ""

    def __post_init__(self) -> None:
        texts = {f.name: getattr(self, f.name) for f in fields(self) if f.type == "str"}
        for name, value in texts.items():
            if not isinstance(value, str):
                raise SDiffError(f"{name} must be text, not {brief(value)}.")
        if self.split not in ("", *SPLITS):
            raise SDiffError(f"split must be one of {', '.join(SPLITS)}, not {brief(self.split)}.")
        values = {
            **{name: _names(name, getattr(self, name)) for name in ("names", "items_names")},
            **{name: _delimiter(name, texts[name]) for name in ("delimiter", "items_delimiter")},
            "min_rating": None if self.min_rating is None else number("min_rating", self.min_rating),
            "core": whole("core", number("core", self.core), 1),
            "skip_faulty": {"true": True, "false": False}.get(str(self.skip_faulty).lower()),
        }
        if values["skip_faulty"] is None:
            raise SDiffError(f"skip_faulty must be true or false, not {brief(self.skip_faulty)}.")
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def parse(cls, query: str) -> Reading:
        """Parses a URL query such as `min_rating=4&core=5&user=visitor`. Raises SDiffError for invalid options."""
        keys = [f.name for f in fields(cls)]
        try:
            pairs = parse_qsl(query, strict_parsing=bool(query))
            values: dict[str, Any] = dict(pairs)
            if len(values) < len(pairs):
                raise ValueError("an option is given more than once")
            if unknown := set(values) - set(keys):
                raise ValueError(f"there is no {', '.join(sorted(unknown))}; the options are {', '.join(keys)}")
        except ValueError as error:
            raise SDiffError(f"Cannot read the options {query!r}: {error}.") from None
        return cls(**values)

    @property
    def changed(self) -> dict[str, Any]:
        """The options that differ from the defaults."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def query(self) -> str:
        """The options that differ from the defaults, as text for `parse`."""
        convert = {"names": ",".join, "items_names": ",".join, "skip_faulty": lambda flag: str(flag).lower()}
        return urlencode({key: convert.get(key, str)(value) for key, value in self.changed.items()})

    @property
    def layout(self) -> Layout:
        """The options that concern the format of the file."""
        return Layout(self.names, self.delimiter, self.encoding)

    @property
    def items_layout(self) -> Layout:
        """The options that concern the format of the table of items."""
        return Layout(self.items_names, self.items_delimiter, self.items_encoding, "items_")

    @property
    def items_columns(self) -> dict[str, str]:
        """The named columns of the table of items, by role."""
        named = {role: getattr(self, f"items_{role}") for role in ("title", "genres", "year")}
        return {role: name for role, name in {"item": self.items_id, **named}.items() if name}


def _names(option: str, names: Any) -> tuple[str, ...]:
    """Column names from a list or comma-separated text. Raises SDiffError if they are invalid."""
    if isinstance(names, str):
        names = names.split(",") if names.strip() else ()
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise SDiffError(f"{option} must be column names such as user,item,rating, not {brief(names)}.")
    stripped = tuple(name.strip() for name in names)
    if "" in stripped or len({name.lower() for name in stripped}) < len(stripped):
        raise SDiffError(
            f"{option} must be different column names, none of them empty, not {brief(','.join(stripped))}."
        )
    return stripped


def _delimiter(option: str, text: str) -> str:
    """A delimiter, with \\t as a tab. Raises SDiffError if it is invalid."""
    text = text.replace("\\t", "\t")
    if len(text.encode(errors="replace")) > 4 or {*text} & {*'"\r\n\0'}:
        raise SDiffError(
            f"{option} must be at most 4 bytes, without quotation marks or line breaks, not {brief(text)}."
        )
    return text


DEFAULT = Reading()
