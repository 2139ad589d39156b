import re
from concurrent.futures import ThreadPoolExecutor

import duckdb
import numpy as np
import pytest

from sdiff.base.errors import SDiffError
from sdiff.data.catalog import TYPOS, Catalog, Filter
from sdiff.data.datasets import Dataset, load_dataset
from sdiff.data.interactions import Interactions, Split, Vocabulary
from sdiff.data.items import Items


@pytest.fixture(scope="module")
def catalog():
    return Catalog(load_dataset("demo"))


def test_rows_are_complete_and_in_the_requested_order(catalog):
    dataset = load_dataset("demo")
    rows = catalog.rows([7, 3, 11], [0.5, 0.4, 0.3], held_out=[3])
    assert [row.rank for row in rows] == [1, 2, 3]
    assert [row.id for row in rows] == [dataset.split.items.ids[i] for i in (7, 3, 11)]
    assert [row.title for row in rows] == [dataset.items.title[i] for i in (7, 3, 11)]
    assert [row.popularity for row in rows] == [dataset.split.train.item_counts[i] for i in (7, 3, 11)]
    assert [row.held_out for row in rows] == [False, True, False]
    assert rows[0].score == 0.5 and rows[0].year == dataset.items.year[7]
    assert catalog.rows([]) == []


TITLES = {
    "tt1": ("Amélie", 2001, "Comedy|Romance"),
    "tt2": ("Spider-Man", 2002, "Action"),
    "tt3": ("The Matrix", 1999, "Action|Sci-Fi"),
    "tt4": ("The Matrix Reloaded", 2003, "Action|Sci-Fi"),
    "tt5": ("The Lord of the Rings", 2001, "Fantasy"),
    "tt6": ("Война и мир", 1966, "Drama"),
    "tt7": ("千と千尋の神隠し", 2001, "Fantasy"),
    "tt8": ("Reloaded", 0, ""),
    "tt9": ("<b>O'Hara</b>; DROP TABLE items", 0, ""),
}


@pytest.fixture(scope="module")
def films():
    items = Vocabulary(tuple(TITLES))
    counts = np.repeat(np.arange(9), np.arange(9, 0, -1))  # earlier items are more popular
    users = Vocabulary(tuple(map(str, range(9))))
    X = Interactions.from_pairs(users, items, np.concatenate([np.arange(n) for n in range(9, 0, -1)]), counts)
    title, year, genres = (list(column) for column in zip(*TITLES.values(), strict=True))
    made_by = [f"maker of {id}" if id < "tt3" else "" for id in TITLES]
    metadata = Items(title, year, genres, {'made by"; --': made_by, "rank": [""] * 9})
    return Catalog(Dataset("films", "", "", Split(X, X, X), metadata))


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("The Matrix", ["tt3", "tt4"]),
        ("matrix", ["tt3", "tt4"]),
        ("reloaded", ["tt8", "tt4"]),  # a full match ranks before a more popular partial match
        ("reloaded the matrix", ["tt4"]),
        ("amelie", ["tt1"]),
        ("AMÉLIE!", ["tt1"]),
        ("spiderman", ["tt2"]),
        ("spider man", ["tt2"]),
        ("spyder-man", ["tt2"]),
        ("matrx", ["tt3", "tt4"]),
        ("lord rings", ["tt5"]),
        ("lrod rings", ["tt5"]),
        ("teh matrix", []),  # three letters are too few for a fuzzy match
        ("nratix", []),  # three typos
        ("война", ["tt6"]),
        ("千尋", ["tt7"]),
        ("tt5", ["tt5"]),
        ("action 2003", ["tt4"]),
        ("2001", ["tt1", "tt5", "tt7"]),
        ("sci-fi reloaded", ["tt4"]),
        ("fantsy", ["tt5", "tt7"]),
        ("0", []),  # an unknown year
        ("o'hara", ["tt9"]),
        ("'; DROP TABLE items; --", ["tt9"]),
        ("zzzz", []),
        ("%", list(TITLES)),
        ("  ", list(TITLES)),
        ("x" * 10_000, []),
    ],
)
def test_items_are_found_by_prefix_word_and_misspelling(films, question, found):
    assert [list(TITLES)[i] for i in films.search(question)] == found


def test_a_match_in_a_title_ranks_before_one_in_a_genre():
    items = Vocabulary(("a", "b", "c"))
    X = Interactions.from_pairs(Vocabulary(("u", "v")), items, np.array([0, 1, 0]), np.array([0, 0, 2]))
    metadata = Items(["Popular", "The King of Comedy", "Comedy"], [1995, 1982, 2002], ["Comedy", "Drama", ""], {})
    films = Catalog(Dataset("films", "", "", Split(X, X, X), metadata))
    assert films.search("comedy") == [2, 1, 0] and films.search("comedy 1995") == [0]


def test_a_filter_selects_by_genre_and_year(films):
    fantasy = Filter(genres=("Fantasy", "Romance"), first_year=2001, last_year=2001)
    assert films.allowed(fantasy).nonzero()[0].tolist() == [0, 4, 6] and films.allowed(Filter()).sum() == 9
    assert [i for i in films.search("the") if films.allowed(Filter(last_year=2000))[i]] == [2]
    assert films.search("", limit=2) == [0, 1]
    with pytest.raises(SDiffError, match="No item has the genre 'Western'"):
        films.allowed(Filter(genres=("Fantasy", "Western")))
    assert films.genres() == ["Action", "Fantasy", "Sci-Fi", "Comedy", "Drama", "Romance"]
    assert films.years() == (1966, 2003)


def test_other_columns_and_any_text_are_kept_unchanged(films):
    rows = films.rows([0, 8])
    assert rows[0].extra == {'made by"; --': "maker of tt1"} and rows[1].extra == {}
    assert rows[1].title == TITLES["tt9"][0] and rows[1].year is None


def test_concurrent_threads_get_their_own_results(catalog):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: catalog.rows([i % 900])[0], range(800)))
    ids = load_dataset("demo").split.items.ids
    assert [row.id for row in answers] == [ids[i % 900] for i in range(800)]


def test_lookups_ask_no_database_because_each_scan_leaks_memory(catalog, monkeypatch):
    monkeypatch.setattr(catalog, "_connection", None)
    assert len(catalog.rows(range(20), [0.1] * 20, held_out=[3])) == 20
    assert catalog.years() and catalog.genres() and catalog.allowed(Filter(("Drama",), 1990)).any()
    assert catalog.search("the")


def test_a_fuzzy_search_scans_no_table_because_each_scan_leaks_memory(films):
    plan = films._connection.execute("EXPLAIN " + TYPOS, [["matrx"], ["matrix"], [1], [2]]).fetchall()[0][1]
    assert re.findall(r"(\w+)[ _]scan", plan.lower()) == ["dummy"]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM items",
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY items TO '/tmp/out.csv'",
        "ATTACH '/tmp/other.db'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
    ],
)
def test_the_catalog_is_read_only_and_isolated(catalog, statement):
    with pytest.raises(duckdb.Error):
        catalog._connection.cursor().execute(statement)
