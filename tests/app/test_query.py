"""An address says what is on the page, and brings it back."""

from urllib.parse import parse_qsl

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
def test_an_address_is_what_its_query_says(query):
    assert Query.parse(parse_qsl(query.encode(), keep_blank_values=True)) == query


def test_what_goes_without_saying_is_not_said_and_other_keys_are_not_looked_at():
    assert Query("demo", "demo", "7").encode() == "dataset=demo&model=demo&user=7"
    assert Query.parse([("__theme", "dark"), ("view", "Train"), ("user", "9"), ("epochs", "3")]) == Query(user="9")


@pytest.mark.parametrize("name", ["k", "seed", "seen", "from", "to"])
def test_a_number_that_is_none_is_said(name):
    with pytest.raises(SDiffError, match=f"{name} must be a whole number, not 'many'"):
        Query.parse([(name, "many")])
