"""A request for a list: user, model and settings. Handlers take it as an argument, and the page's URL encodes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from sdiff.base.checks import whole
from sdiff.base.errors import SDiffError, brief
from sdiff.config import INFERENCE_KEYS
from sdiff.data.catalog import Filter
from sdiff.data.registry import default_key

K, LONGEST = 20, 100  # default and maximum length of a list on the page
MOST = 10_000  # maximum length of a list in the API
HISTORY = 100_000  # maximum number of items of a history
TEXT = 2_000  # maximum number of characters of a key, a name or an id
KEYS = ("dataset", "model", "user", "item", *INFERENCE_KEYS, "seed", "k", "seen", "genre", "from", "to")  # of URLs
NUMBERS = ("seed", "k", "seen", "from", "to")  # URL keys whose values are whole numbers


@dataclass(frozen=True)
class Query:
    """A request for a list.

    Attributes:
        dataset, model, user: data set key, checkpoint name and user id.
        history: item ids that replace the user's history, oldest first.
        settings: settings that differ from the checkpoint's.
        seed: seed of the sampling noise.
        k: length of the list.
        seen: whether the list may contain items of the history.
        genres, first_year, last_year: filters of the items.

    Raises:
        SDiffError: a value has the wrong type or is out of range.
    """

    dataset: str = field(default_factory=default_key)
    model: str = ""
    user: str = ""
    history: list[str] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    k: int = K
    seen: bool = False
    genres: list[str] = field(default_factory=list)
    first_year: int | None = None
    last_year: int | None = None

    def __post_init__(self) -> None:
        def checked(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        for name in ("dataset", "model", "user"):
            checked(name, text(name, getattr(self, name)))
        checked("history", self.history if self.history is None else texts("history", self.history))
        checked("genres", texts("genres", self.genres))
        checked("seed", whole("seed", self.seed, 0))
        checked("k", whole("k", self.k, 1, MOST))
        for name in ("first_year", "last_year"):
            year = getattr(self, name)
            checked(name, year if year is None else whole(name, year, -(2**31), 2**31 - 1))
        if not isinstance(self.settings, dict):
            raise SDiffError('settings must be a JSON object, such as {"guidance": 0.5}.')

    @property
    def wanted(self) -> Filter:
        """Filter of the items."""
        return Filter(tuple(self.genres), self.first_year, self.last_year)

    def encode(self) -> str:
        """Encodes the query for a URL. Default values are left out, except in data set, model and user."""
        pairs: list[tuple[str, Any]] = [("dataset", self.dataset), ("model", self.model), ("user", self.user)]
        if self.history is not None:
            pairs += [("item", id) for id in self.history or [""]]
        pairs += self.settings.items()
        pairs += [("seed", self.seed)] * (self.seed != 0) + [("k", self.k)] * (self.k != K) + [("seen", 1)] * self.seen
        pairs += [("genre", genre) for genre in self.genres]
        pairs += [("from", self.first_year)] * (self.first_year is not None)
        pairs += [("to", self.last_year)] * (self.last_year is not None)
        return urlencode(pairs)

    @classmethod
    def decode(cls, address: str) -> Query:
        """The query that `encode` wrote. Raises SDiffError."""
        return cls.parse(parse_qsl(address, keep_blank_values=True))

    @classmethod
    def parse(cls, pairs: Iterable[tuple[str, str]]) -> Query:
        """Parses the key-value pairs of a URL. Ignores other keys, because gradio has its own. Raises SDiffError."""
        values: dict[str, list[str]] = {}
        for name, value in pairs:
            values.setdefault(name, []).append(value)

        def number(name: str, default: Any) -> Any:
            try:
                return int(values[name][-1]) if name in values else default
            except ValueError:
                raise SDiffError(
                    f"Invalid URL: {name} must be a whole number, not {brief(values[name][-1])}."
                ) from None

        texts = {name: values[name][-1] for name in ("dataset", "model", "user") if name in values}
        return cls(
            **texts,
            history=[id for id in values["item"] if id] if "item" in values else None,
            settings={key: values[key][-1] for key in INFERENCE_KEYS if key in values},
            seed=number("seed", 0),
            k=number("k", K),
            seen=number("seen", 0) == 1,
            genres=values.get("genre", []),
            first_year=number("from", None),
            last_year=number("to", None),
        )


def text(name: str, value: Any) -> str:
    """Returns a string or a whole number as a string. Raises SDiffError for other types and for texts over `TEXT`."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise SDiffError(f"{name} must be text, not {brief(value)}.")
    if isinstance(value, str) and len(value) > TEXT:
        raise SDiffError(f"{name} is longer than {TEXT:,} characters.")
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise SDiffError(f"{name} has characters that are not valid text.")  # JSON can name them; no answer can
    return value if isinstance(value, str) else brief(value)


def texts(name: str, values: Any) -> list[str]:
    """Returns a list of strings. Raises SDiffError like `text`, and for more than `HISTORY` entries."""
    if not isinstance(values, list | tuple):
        raise SDiffError(f"{name} must be a list of strings, not {brief(values)}.")
    if len(values) > HISTORY:
        raise SDiffError(f"{name} has more than {HISTORY:,} entries.")
    return [text(f"each of {name}", value) for value in values]
