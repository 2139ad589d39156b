"""The URL describes the page and restores it."""

import pytest

from sdiff.app.query import Query
from sdiff.base.errors import SDiffError


@pytest.mark.parametrize(
    "query",
    [
        Query("demo", "demo", "7"),
        Query("own:0123456789abcdef/my log?user=a&core=5", "instant", "a&b=c", []),
        Query(
            "demo",
            "demo",
            "7",
            ["1", "a,b", "日本"],
            {"guidance": "0.5", "noise": "False"},
            3,
            7,
            True,
            ["Sci-Fi"],
            1990,
            0,
        ),
    ],
)
def test_a_query_survives_the_url(query):
    assert Query.decode(query.encode()) == query


def test_defaults_are_left_out_of_the_url_and_unknown_keys_are_ignored():
    assert Query("demo", "demo", "7").encode() == "dataset=demo&model=demo&user=7"
    assert Query.parse([("__theme", "dark"), ("view", "Train"), ("user", "9"), ("epochs", "3")]) == Query(user="9")


@pytest.mark.parametrize("name", ["k", "seed", "seen", "from", "to"])
def test_an_invalid_number_is_refused(name):
    with pytest.raises(SDiffError, match=f"{name} must be a whole number, not 'many'"):
        Query.parse([(name, "many")])
