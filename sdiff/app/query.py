"""What is asked of the app: whose list by which model. It travels through all handlers, and is the page's address."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from sdiff.base.checks import whole
from sdiff.base.errors import SDiffError, brief
from sdiff.config import INFERENCE_KEYS
from sdiff.data.catalog import Filter

K, LONGEST = 20, 100  # the length of a list where none is given, and the most
MOST = 10_000  # places of a list, for programs
HISTORY = 100_000  # items of a history
TEXT = 2_000  # characters of a key, a name or an id
NUMBERS = ("seed", "k", "seen", "from", "to")  # what an address has as whole numbers


@dataclass(frozen=True)
class Query:
    """Whose list by which model, and how.

    history: ids of the items to take in place of the user's own, oldest first. settings: those that differ from the
    checkpoint's. seed: of the sampling noise. seen: whether the list also ranks what the history holds.

    Raises:
        SDiffError: a value of another type, or out of range.
    """

    dataset: str = "demo"
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
        """Which items may be listed."""
        return Filter(tuple(self.genres), self.first_year, self.last_year)

    def encode(self) -> str:
        """As in an address, without what goes without saying."""
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
    def parse(cls, pairs: Iterable[tuple[str, str]]) -> Query:
        """From the pairs of an address; other keys, which gradio has too, are not looked at. Raises SDiffError."""
        found: dict[str, list[str]] = {}
        for name, value in pairs:
            found.setdefault(name, []).append(value)

        def number(name: str, usual: Any) -> Any:
            try:
                return int(found[name][-1]) if name in found else usual
            except ValueError:
                raise SDiffError(
                    f"The address is wrong: {name} must be a whole number, not {brief(found[name][-1])}."
                ) from None

        texts = {name: found[name][-1] for name in ("dataset", "model", "user") if name in found}
        return cls(
            **texts,
            history=[id for id in found["item"] if id] if "item" in found else None,
            settings={key: found[key][-1] for key in INFERENCE_KEYS if key in found},
            seed=number("seed", 0),
            k=number("k", K),
            seen=number("seen", 0) == 1,
            genres=found.get("genre", []),
            first_year=number("from", None),
            last_year=number("to", None),
        )


def text(name: str, value: Any) -> str:
    """A text, or a whole number as one. Raises SDiffError for anything else, and for one that is too long."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise SDiffError(f"{name} must be a text, not {brief(value)}.")
    if isinstance(value, str) and len(value) > TEXT:
        raise SDiffError(f"{name} is longer than {TEXT:,} characters.")
    return value if isinstance(value, str) else brief(value)


def texts(name: str, values: Any) -> list[str]:
    """A list of texts. Raises SDiffError likewise."""
    if not isinstance(values, list | tuple):
        raise SDiffError(f"{name} must be a list of texts, not {brief(values)}.")
    if len(values) > HISTORY:
        raise SDiffError(f"{name} has more than {HISTORY:,} entries.")
    return [text(f"each of {name}", value) for value in values]
