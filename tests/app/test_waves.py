"""Names of waves, the map, and an item's page."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from sdiff.app.handlers import item_pages, ranking, waves
from sdiff.app.query import Query
from sdiff.app.settings import SLIDERS, without_effect
from sdiff.app.state import open_dataset, serve
from sdiff.app.views import figures, lists
from sdiff.base.errors import SDiffError
from sdiff.data.catalog import Row
from tests.app.test_ui import assert_plotly_finds_nothing_wrong

ONE = Query("demo", "demo", "1")


@pytest.fixture(scope="module")
def carried():
    return waves.carried(ONE)


def test_a_history_is_the_sum_of_its_waves(carried):
    split, U = open_dataset("demo").dataset.split, serve("demo", "demo")[1].model.spectrum.U.numpy()
    x = np.zeros(len(split.items))
    x[split.train.history(0)] = 1
    np.testing.assert_allclose(carried.amplitude, U.T @ x, atol=1e-4)
    assert carried.share.sum() == pytest.approx(1) and 0 < carried.kept < 1
    assert carried.kept == pytest.approx(np.square(U.T @ x).sum() / x.sum(), rel=1e-4)


def test_a_wave_is_named_by_what_is_frequent_at_one_end_and_rare_at_the_other(carried):
    catalog, U = open_dataset("demo").catalog, serve("demo", "demo")[1].model.spectrum.U.numpy()
    assert carried.waves[0].negative is None and carried.waves[0].name == "widely seen"
    named = [wave for wave in carried.waves[1:] if wave.negative and wave.negative.name and wave.positive.name]
    assert len(named) > 50
    for wave in named[:20]:
        order = np.argsort(U[:, wave.number - 1])
        ends = {"negative": order[: waves.ENDS], "positive": order[::-1][: waves.ENDS]}
        texts = {
            side: [f"{row.genres}, {(row.year or 0) // 10 * 10}s".split(", ") for row in catalog.rows(items.tolist())]
            for side, items in ends.items()
        }
        for side, other in (("negative", "positive"), ("positive", "negative")):
            for name in getattr(wave, side).name.split(", "):
                here, there = (sum(name in text for text in texts[which]) for which in (side, other))
                assert here > there, (wave, name)
        assert wave.positive.titles[0] == catalog.rows([int(order[-1])])[0].title


def test_the_table_of_waves_marks_the_end_where_the_history_stands(carried):
    table = lists.waves_table(carried.waves, carried.amplitude, carried.share)
    strongest = int(np.argmax(carried.share[1:])) + 1
    wave = carried.waves[strongest]
    assert wave.negative
    end = wave.positive if carried.amplitude[strongest] > 0 else wave.negative
    shown = table.split(">" + str(wave.number) + "<")[1].split("</tr>")[0].split("<strong>")[1].split("</strong>")[0]
    assert re.sub("<[^>]*>", "", shown) == lists.escape(", ".join(end.titles))


def test_the_map_holds_every_item_and_its_marks_are_those_of_the_history_and_the_list():
    found = waves.item_map(ONE, 2, 3, 8)
    split, U = open_dataset("demo").dataset.split, serve("demo", "demo")[1].model.spectrum.U.numpy()
    assert np.abs(found.x).max() == np.abs(found.y).max() == 1
    np.testing.assert_allclose(found.x * np.abs(U[:, 1]).max(), U[:, 1], atol=1e-6)
    figure = figures.item_map(found)
    assert_plotly_finds_nothing_wrong(figure)
    *genres, listed, history = figure.data
    assert {id for trace in genres for id in trace.ids} == {*split.items.ids} and len(listed.x) == len(history.x) == 0
    assert sum(len(trace.x) for trace in genres) == len(split.items)
    assert waves.marks(ONE) == {
        "history": ranking.history_of(ONE),
        "list": [row.id for row in ranking.recommend(ONE).recommendations],
    }
    assert waves.item_map(ONE, 0, 999, 8).waves[1].number == 128, "numbers beyond the waves give the nearest"


def test_an_items_page_names_who_has_it_and_what_is_like_it():
    split = open_dataset("demo").dataset.split
    id = split.items.ids[int(split.train.item_counts.argmax())]
    facts = item_pages.item_facts(ONE, id)
    assert facts.seen.startswith(f"{split.train.item_counts.max():,} of {len(split.users):,} people")
    X = split.train.matrix().toarray() > 0
    column = X[:, split.items.encode([id])[0]]
    both = (X & column[:, None]).sum(0) / np.sqrt(np.maximum(X.sum(0), 1))
    both[split.items.encode([id])[0]] = 0
    expected = both[np.argsort(-both)[: item_pages.ALIKE]]
    np.testing.assert_allclose([both[split.items.encode([row.id])[0]] for row in facts.together], expected, rtol=1e-6)
    assert id not in {row.id for row in (*facts.together, *facts.near)} and len(facts.near) == item_pages.ALIKE
    assert facts.row.title in lists.item_page(facts)
    with pytest.raises(SDiffError, match="Unknown item nothing"):
        item_pages.item_facts(ONE, "nothing")


@pytest.mark.parametrize(
    ("column", "text", "url"),
    [
        ("imdbid", "0114709", "https://www.imdb.com/title/tt0114709/"),
        ("IMDb_ID", "tt0114709", "https://www.imdb.com/title/tt0114709/"),
        ("tmdb id", "862", "https://www.themoviedb.org/movie/862"),
        ("tmdb_id", "tt862", None),
        ("imdbid", "unknown", None),
        ("budget", "862", None),
    ],
)
def test_an_id_of_another_site_is_a_link_whatever_the_spelling_of_its_column(column, text, url):
    found = item_pages.link(column, text)
    assert (found and found[1]) == url
    shown = lists.history_table([Row(1, "1", "A", None, "", 0.0, 1, False, {column: text})])
    assert (text in shown) == (url is None), "an id of a link is no text to read"


def test_items_without_genres_have_a_legend_that_says_what_they_are():
    found = waves.item_map(ONE, 2, 3, 8)
    assert [trace.name for trace in figures.item_map(replace(found, kind=["other"] * len(found.kind))).data] == [
        *("items", "the list", "the history")
    ]


def test_personas_are_the_most_popular_items_and_those_of_frequent_mixtures_of_genres():
    (_, crowd), (first, _), (second, _) = personas = item_pages.shelves("demo")[:3]
    by_popularity = sorted((row.popularity for row in crowd), reverse=True)
    assert [row.popularity for row in crowd] == by_popularity and len(crowd) == item_pages.SHELF
    pairs = [name.removeprefix("Loves ").split(" with ") for name in (first, second)]
    assert len({genre for pair in pairs for genre in pair}) == 4
    for pair, (_, rows) in zip(pairs, personas[1:], strict=True):
        assert rows and all({*pair} <= {*row.genres.split(", ")} for row in rows)


def test_shelves_hold_well_known_items_of_their_genre_and_no_item_twice():
    shelves = [shelf for shelf in item_pages.shelves("demo") if shelf[0] in open_dataset("demo").catalog.genres()]
    taken = [row.id for _, rows in shelves for row in rows]
    assert len(shelves) == item_pages.SHELVES and len(taken) == len(set(taken))
    assert all(genre in row.genres for genre, rows in shelves for row in rows)


@pytest.mark.parametrize("name", ["demo", "demo-paper", "instant"])
def test_a_control_that_is_switched_off_changes_no_list_and_the_others_change_one(name):
    query = Query("demo", name, "1", k=100)
    config = serve("demo", name)[1].config
    usual = [row.id for row in ranking.recommend(query).recommendations]
    off = without_effect(config)
    for setting, (_, _, (low, high), _, _) in SLIDERS.items():
        if setting == "half_life" and not config.half_life:
            continue  # not on the page
        values = [low, (low + high) // 2 or (low + high) / 2, high]
        moved = [ranking.recommend(replace(query, settings={setting: value})).recommendations for value in values]
        differ = any([row.id for row in rows] != usual for rows in moved)
        assert differ == (setting not in off), setting
    quiet = without_effect(replace(config, noise=0.0))
    assert {"sigma_max", "seed"} <= quiet.keys()
