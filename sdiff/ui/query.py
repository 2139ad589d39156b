"""What is asked of the app: whose list by which model. It travels through all handlers, and is the page's address."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from sdiff.catalog import Filter
from sdiff.config import INFERENCE_KEYS
from sdiff.errors import SDiffError

K, LONGEST = 20, 100  # the length of a list where none is given, and the most
NUMBERS = ("seed", "k", "seen", "from", "to")  # what an address has as whole numbers


@dataclass(frozen=True)
class Query:
    """Whose list by which model, and how.

    history: ids of the items to take in place of the user's own, oldest first. settings: those that differ from the
    checkpoint's. seed: of the sampling noise. seen: whether the list also ranks what the history holds.
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
                    f"The address is wrong: {name} must be a whole number, not {found[name][-1]!r}."
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
