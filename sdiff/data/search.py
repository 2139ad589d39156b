"""Searches items by prefixes of words, in any order, with one or two typos."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence

import numpy as np

LONGEST = 100  # maximum length of a query
LAST = chr(0x10FFFF)  # sorts after every other character


def plain(text: str) -> str:
    """Normalizes text for comparison: lower-case words without accents and punctuation, separated by single spaces."""
    text = text.casefold()
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c)[0] != "M")
    return " ".join(re.findall(r"[^\W_]+", text))


class Search:
    """An inverted index in memory. Titles and words are sorted, so that those with a common prefix are adjacent.

    Args:
        ids, titles: ids and titles of the items, in vocabulary order.
        popularity: (n_items,); more popular items come first among equally good matches.
        others: other words to find each item by, such as its genres and its year.
    """

    def __init__(
        self, ids: Sequence[str], titles: Sequence[str], popularity: np.ndarray, others: Sequence[str]
    ) -> None:
        titles = [plain(title) for title in titles]
        self._ids = {id: i for i, id in enumerate(ids)}
        self._popularity_rank = np.empty(len(titles), dtype=np.int64)
        self._popularity_rank[np.argsort(-popularity, kind="stable")] = np.arange(len(titles))

        self._by_title = np.array(sorted(range(len(titles)), key=titles.__getitem__), dtype=np.int64)
        self._titles = [titles[i] for i in self._by_title.tolist()]

        items_of: dict[str, list[int]] = {}  # i: in its title; ~i, which is negative: in its other words
        for i, (title, other) in enumerate(zip(titles, others, strict=True)):
            for word in title.split():
                items_of.setdefault(word, []).append(i)
            for word in plain(other).split():
                items_of.setdefault(word, []).append(~i)
        self.words = sorted(items_of)
        by_word = np.array([i for word in self.words for i in items_of[word]], dtype=np.int64)
        self._in_title = by_word >= 0
        self._by_word = np.where(self._in_title, by_word, ~by_word)
        self._starts = np.cumsum([0, *(len(items_of[word]) for word in self.words)])

        joined = [title.replace(" ", "") + "\n" for title in titles]
        self._joined = "".join(joined)
        self._ends = np.cumsum([len(title) for title in joined])

    def find(self, query: str, limit: int, typos: Callable[[list[str]], Iterable[tuple[str, int]]]) -> list[int]:
        """Indices of the matching items, best match first. A query without words returns the most popular items.

        Matches are ranked as follows: the whole title or id, titles that start with the query, titles that contain all
        its words or words with these prefixes, and items that have some of these in their other words. If these are
        fewer than `limit`, matches that ignore spaces ("spiderman") and matches with typos follow.

        Args:
            typos: returns pairs (word, index in `words` of a word that it may stand for) for words of the query.
        """
        query = query.strip()[:LONGEST]
        text = plain(query)
        if not text:
            return self._best([np.arange(len(self._popularity_rank))], limit)
        same_start = with_prefix(self._titles, text)
        exact = [*self._by_title[same_start.start : bisect_right(self._titles, text)], *self._with_id(query)]
        candidates = {word: [with_prefix(self.words, word)] for word in text.split()}
        matches = [
            exact,
            self._by_title[same_start],
            self._containing(candidates.values(), in_title=True),
            self._containing(candidates.values()),
        ]
        best = self._best(matches, limit)
        if len(best) < limit:
            for word, w in typos([word for word in candidates if not word.isdigit()]):  # 1995 is no misspelt 1996
                candidates[word].append(slice(w, w + 1))
            matches += [self._ignoring_spaces(text.replace(" ", "")), self._containing(candidates.values())]
            best = self._best(matches, limit)
        return best

    def _with_id(self, query: str) -> list[int]:
        return [self._ids[query]] if query in self._ids else []

    def _containing(self, candidates: Iterable[list[slice]], in_title: bool = False) -> np.ndarray:
        """Items that have, for each query word, a word in one of its ranges of `words`, if required in their titles."""
        contains_all = np.ones(len(self._popularity_rank), dtype=bool)
        for ranges in candidates:
            contains = np.zeros_like(contains_all)
            for words in ranges:
                part = slice(self._starts[words.start], self._starts[words.stop])
                items = self._by_word[part]
                contains[items[self._in_title[part]] if in_title else items] = True
            contains_all &= contains
        return np.flatnonzero(contains_all)

    def _ignoring_spaces(self, letters: str) -> np.ndarray:
        """Items whose titles without spaces contain `letters`."""
        positions = [match.start() for match in re.finditer(re.escape(letters), self._joined)]
        return np.searchsorted(self._ends, positions, side="right")

    def _best(self, matches: Sequence[Sequence[int] | np.ndarray], limit: int) -> list[int]:
        """The first `limit` items of `matches`, which are ordered best first; ties are broken by popularity."""
        n = len(self._popularity_rank)
        order = np.full(n, n * len(matches))
        for kind, items in reversed(list(enumerate(matches))):
            order[items] = kind * n + self._popularity_rank[items]
        first = np.argpartition(order, limit)[:limit] if limit < n else np.arange(n)
        first = first[order[first] < n * len(matches)]
        return first[np.argsort(order[first])].tolist()


def with_prefix(texts: list[str], prefix: str) -> slice:
    """The range of `texts`, which are sorted, that start with `prefix`."""
    return slice(bisect_left(texts, prefix), bisect_left(texts, prefix + LAST))
