from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

from sdiff.catalog import Catalog
from sdiff.datasets import load_dataset


@pytest.fixture(scope="module")
def catalog():
    return Catalog(load_dataset("demo"))


def test_rows_come_in_the_order_asked_for_with_everything_joined(catalog):
    dataset = load_dataset("demo")
    rows = catalog.rows([7, 3, 11], [0.5, 0.4, 0.3], held_out=[3])
    assert [row.rank for row in rows] == [1, 2, 3]
    assert [row.id for row in rows] == [dataset.split.items.ids[i] for i in (7, 3, 11)]
    assert [row.title for row in rows] == [dataset.items.title[i] for i in (7, 3, 11)]
    assert [row.popularity for row in rows] == [dataset.split.train.item_counts[i] for i in (7, 3, 11)]
    assert [row.held_out for row in rows] == [False, True, False]
    assert rows[0].score == 0.5 and rows[0].year == dataset.items.year[7]
    assert catalog.rows([]) == []


def test_threads_get_their_own_answers(catalog):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: catalog.rows([i % 900])[0], range(800)))
    ids = load_dataset("demo").split.items.ids
    assert [row.id for row in answers] == [ids[i % 900] for i in range(800)]


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
def test_the_catalog_is_read_only_and_reaches_nothing_outside(catalog, statement):
    with pytest.raises(duckdb.Error):
        catalog._connection.cursor().execute(statement)
