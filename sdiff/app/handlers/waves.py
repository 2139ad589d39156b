"""Names for the graph frequencies: what each one separates, and how much of a history it carries."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Condition

import numpy as np
from cachetools import LRUCache, cached

from sdiff.app.handlers.ranking import history_of, recommend
from sdiff.app.query import Query
from sdiff.app.state import serve
from sdiff.data.catalog import Catalog, Row
from sdiff.method.spectrum import SpectralBasis

ENDS = 25  # items at an end, by which it is named
TITLES = 3  # of them, shown
CONTRAST = 0.16  # difference between the two ends in the share of a genre or decade that makes it part of the name
ONE_SIDED = 0.1  # a wave has one end only if the other one reaches no further than this share of it


@dataclass(frozen=True)
class End:
    """The items at one end of a wave: those with its most positive or its most negative entries.

    Attributes:
        name: genres or decades that are more frequent there than at the other end, such as "Sci-Fi, 1990s".
        items: the outermost items, outermost first.
    """

    name: str
    items: list[Row]

    @property
    def titles(self) -> list[str]:
        """Their titles."""
        return [row.title for row in self.items]


@dataclass(frozen=True)
class Wave:
    """A graph frequency.

    Attributes:
        number: k, from 1 on.
        lam: its eigenvalue.
        negative, positive: its ends. `negative` is None if there is hardly one, as in the first wave.
    """

    number: int
    lam: float
    negative: End | None
    positive: End

    @property
    def name(self) -> str:
        """What the wave separates, such as "Drama ↔ Action, Sci-Fi"."""
        if self.negative is None:
            return "widely seen" if self.number == 1 else self.positive.name or self.positive.titles[0]
        return f"{self.negative.name or self.negative.titles[0]} ↔ {self.positive.name or self.positive.titles[0]}"


@dataclass(frozen=True)
class Carried:
    """The waves of a history.

    Attributes:
        waves: all K waves.
        amplitude: (K,) v = U'x, of the history as a vector of zeros and ones.
        kept: share of the energy of the history that the K waves carry, `|v|^2 / |x|^2`.
    """

    waves: list[Wave]
    amplitude: np.ndarray
    kept: float

    @property
    def share(self) -> np.ndarray:
        """(K,) share of each wave in what all of them carry."""
        energy = np.square(self.amplitude)
        return energy / max(energy.sum(), 1e-12)


@dataclass(frozen=True)
class Map:
    """The items as points on two waves.

    Attributes:
        x, y: (n_items,) entries of the two eigenvectors, each scaled to a largest size of 1.
        rows: the items.
        kind: (n_items,) first genre of each item that is among the most frequent ones, else "other".
        waves: the two waves.
        checksum: of all that, so that a page which shows this map already does not get it again.
    """

    x: np.ndarray
    y: np.ndarray
    rows: list[Row]
    kind: list[str]
    waves: tuple[Wave, Wave]
    checksum: str


def carried(query: Query) -> Carried:
    """The waves of a query's history. Raises SDiffError like `recommend`."""
    opened, model = serve(query.dataset, query.model)
    spectrum = model.model.spectrum
    x = model.encode(history_of(query))
    amplitude = spectrum.gft(x).cpu().numpy()[0]
    kept = float(np.square(amplitude).sum() / max(len(x.items), 1))
    return Carried(_named(opened.catalog, spectrum), amplitude, kept)


def item_map(query: Query, horizontal: int, vertical: int, genres: int) -> Map:
    """The items on two waves, by their numbers. `genres`: number of genres told apart.

    Raises:
        SDiffError: like `recommend`.
    """
    opened, model = serve(query.dataset, query.model)
    catalog, items = opened.catalog, opened.dataset.split.items
    waves = _named(catalog, model.model.spectrum)
    chosen = [min(max(number, 1), len(waves)) for number in (horizontal, vertical)]
    if chosen[0] == chosen[1]:  # a diagonal would show nothing
        chosen[1] += 1 if chosen[1] < len(waves) else -1
    x, y = (model.model.spectrum.U[:, number - 1].cpu().numpy() for number in chosen)
    common = catalog.genres()[:genres]
    rows = catalog.rows(range(len(items)))
    kind = [next((genre for genre in row.genres.split(", ") if genre in common), "other") for row in rows]
    first, second = (waves[number - 1] for number in chosen)
    places = zlib.crc32(x.tobytes() + y.tobytes())
    checksum = f"{query.dataset} {items.fingerprint} {chosen} {places}"
    return Map(x / np.abs(x).max(), y / np.abs(y).max(), rows, kind, (first, second), checksum)


def marks(query: Query) -> dict[str, list[str]]:
    """Ids of the items that are marked on a map: those of the history and of the list. Raises SDiffError like
    `recommend`."""
    return {"history": history_of(query), "list": [row.id for row in recommend(query).recommendations]}


@cached(LRUCache(8), condition=Condition())
def _named(catalog: Catalog, spectrum: SpectralBasis) -> list[Wave]:
    U, lam = spectrum.U.cpu().numpy(), spectrum.lam.cpu().numpy()
    return [_wave(catalog, k + 1, float(lam[k]), U[:, k]) for k in range(len(lam))]


def _wave(catalog: Catalog, number: int, lam: float, u: np.ndarray) -> Wave:
    order = np.argsort(u, kind="stable")
    n = min(ENDS, max(len(u) // 2, 1))
    low, high = order[:n], order[::-1][:n]
    if -u[low[0]] < ONE_SIDED * u[high[0]]:
        return Wave(number, lam, None, _end(catalog.rows(high.tolist()), Counter(), n))
    ends = [catalog.rows(each.tolist()) for each in (low, high)]
    counts = [_features(rows) for rows in ends]
    return Wave(number, lam, _end(ends[0], counts[1], n), _end(ends[1], counts[0], n))


def _end(rows: Sequence[Row], other: Counter[str], n: int) -> End:
    contrast = {name: (count - other[name]) / n for name, count in _features(rows).items()}
    names = sorted((name for name in contrast if contrast[name] > CONTRAST), key=lambda name: -contrast[name])[:2]
    return End(", ".join(names), list(rows[:TITLES]))


def _features(rows: Sequence[Row]) -> Counter[str]:
    """Number of items by genre and by decade."""
    genres = Counter(genre for row in rows for genre in row.genres.split(", ") if genre)
    return genres + Counter(f"{row.year // 10 * 10}s" for row in rows if row.year)
