"""An address says what is on the page, and brings it back."""

from urllib.parse import parse_qsl

import pytest

from sdiff.errors import SDiffError
from sdiff.ui.links import Link


@pytest.mark.parametrize(
    "link",
    [
        Link("demo", "demo", "7"),
        Link("own:0123456789abcdef/my log?user=a&core=5", "instant", "a&b=c", []),
        Link(
            "demo", "demo", "7", ["1", "a,b", "日本"], {"guidance": "0.5", "noise": "False"}, 3, 7, ["Sci-Fi"], 1990, 0
        ),
    ],
)
def test_a_link_is_what_its_query_says(link):
    assert Link.parse(parse_qsl(link.query(), keep_blank_values=True)) == link


def test_what_goes_without_saying_is_not_said_and_other_keys_are_not_looked_at():
    assert Link("demo", "demo", "7").query() == "dataset=demo&model=demo&user=7"
    assert Link.parse([("__theme", "dark"), ("view", "Train"), ("user", "9"), ("epochs", "3")]) == Link(user="9")


@pytest.mark.parametrize("name", ["k", "seed", "from", "to"])
def test_a_number_that_is_none_is_said(name):
    with pytest.raises(SDiffError, match=f"{name} must be a whole number, not 'many'"):
        Link.parse([(name, "many")])
