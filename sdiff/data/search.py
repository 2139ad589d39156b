"""Finds items by what people remember of a title: beginnings of its words, in any order, with a slip or two."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence

import numpy as np

LONGEST = 100  # characters of a question that are looked at
LAST = chr(0x10FFFF)  # sorts behind whatever may follow a beginning


def plain(text: str) -> str:
    """What titles and questions are compared by: letters without accents and case, digits, single spaces between."""
    text = text.casefold()
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c)[0] != "M")
    return " ".join(re.findall(r"[^\W_]+", text))


class Search:
    """An inverted index in memory: titles and words stand in order, so that those with one beginning are neighbours.

    Args:
        ids, titles: of the items, in vocabulary order.
        popularity: (n_items,); among equally good finds, what is more popular comes first.
    """

    def __init__(self, ids: Sequence[str], titles: Sequence[str], popularity: np.ndarray) -> None:
        titles = [plain(title) for title in titles]
        self._ids = {id: i for i, id in enumerate(ids)}
        self._place = np.empty(len(titles), dtype=np.int64)
        self._place[np.argsort(-popularity, kind="stable")] = np.arange(len(titles))

        self._by_title = np.array(sorted(range(len(titles)), key=titles.__getitem__), dtype=np.int64)
        self._titles = [titles[i] for i in self._by_title.tolist()]

        holding: dict[str, list[int]] = {}
        for i, title in enumerate(titles):
            for word in title.split():
                holding.setdefault(word, []).append(i)
        self.words = sorted(holding)
        self._by_word = np.array([i for word in self.words for i in holding[word]], dtype=np.int64)
        self._starts = np.cumsum([0, *(len(holding[word]) for word in self.words)])

        joined = [title.replace(" ", "") + "\n" for title in titles]
        self._joined = "".join(joined)
        self._ends = np.cumsum([len(title) for title in joined])

    def find(
        self,
        question: str,
        limit: int,
        wanted: np.ndarray | None,
        slips: Callable[[list[str]], Iterable[tuple[str, int]]],
    ) -> list[int]:
        """Indices of the items that are meant, the likeliest first; of a question without words, the most popular.

        First whole titles and ids, then titles that begin so, then those that have all words, or words that begin so.
        Where these are too few, words may be run together ("spiderman") and be slips.

        Args:
            wanted: (n_items,) bool, what may be found; None: everything.
            slips: from words of the question to pairs of one of them and the index in `words` of what it may mean.
        """
        question = question.strip()[:LONGEST]
        asked = plain(question)
        if not asked:
            return self._best([np.arange(len(self._place))], limit, wanted)
        begun = beginning(self._titles, asked)
        whole = [*self._by_title[begun.start : bisect_right(self._titles, asked)], *self._with_id(question)]
        meant = {word: [beginning(self.words, word)] for word in asked.split()}
        found = [whole, self._by_title[begun], self._having(meant.values())]
        best = self._best(found, limit, wanted)
        if len(best) < limit:
            for word, w in slips(list(meant)):
                meant[word].append(slice(w, w + 1))
            found += [self._run_together(asked.replace(" ", "")), self._having(meant.values())]
            best = self._best(found, limit, wanted)
        return best

    def _with_id(self, question: str) -> list[int]:
        return [self._ids[question]] if question in self._ids else []

    def _having(self, meant: Iterable[list[slice]]) -> np.ndarray:
        """Items that have one of the words in each of these ranges."""
        every = np.ones(len(self._place), dtype=bool)
        for ranges in meant:
            some = np.zeros_like(every)
            for words in ranges:
                some[self._by_word[self._starts[words.start] : self._starts[words.stop]]] = True
            every &= some
        return np.flatnonzero(every)

    def _run_together(self, letters: str) -> np.ndarray:
        """Items whose title holds these letters, spaces left out."""
        places = [match.start() for match in re.finditer(re.escape(letters), self._joined)]
        return np.searchsorted(self._ends, places, side="right")

    def _best(self, found: Sequence[Sequence[int] | np.ndarray], limit: int, wanted: np.ndarray | None) -> list[int]:
        """The first `limit` of what was found: the better kind before the others, then the more popular."""
        n = len(self._place)
        order = np.full(n, n * len(found))
        for kind, items in reversed(list(enumerate(found))):
            order[items] = kind * n + self._place[items]
        if wanted is not None:
            order[~wanted] = n * len(found)
        first = np.argpartition(order, limit)[:limit] if limit < n else np.arange(n)
        first = first[order[first] < n * len(found)]
        return first[np.argsort(order[first])].tolist()


def beginning(texts: list[str], text: str) -> slice:
    """Where those of sorted texts stand that begin with one."""
    return slice(bisect_left(texts, text), bisect_left(texts, text + LAST))
