"""Comparison of lists, reverse steps, metrics of both sides, and exports."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import torch

from sdiff.app.controls import Controls
from sdiff.app.handlers import comparison, leaderboard, measuring, ranking, spectral
from sdiff.app.labels import BASELINE_LABELS, literal
from sdiff.app.page import Page
from sdiff.app.query import Query
from sdiff.app.state import keep_open, open_dataset, opened_here, serve
from sdiff.app.tabs import take_away
from sdiff.app.tabs.compare import CompareTab
from sdiff.app.tabs.grid import Grid
from sdiff.app.tabs.sides import Side
from sdiff.app.views import lists
from sdiff.base.errors import SDiffError
from sdiff.base.paths import CHECKPOINTS, runs_dir
from sdiff.data.catalog import ALL
from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Vocabulary
from sdiff.evaluation.baselines import BASELINES
from sdiff.evaluation.evaluate import evaluate
from sdiff.method.histories import Histories
from sdiff.method.spectrum import SpectralBasis
from sdiff.training.checkpoint import Checkpoint
from tests.conftest import CPU, printed

ONE = Query("demo", "demo", "1")
PAPER = Query("demo", "demo-paper", "1")


def ids(rows):
    return [row.id for row in rows]


def test_a_list_compared_with_itself_does_not_differ():
    found = comparison.compare([ONE, ONE, ONE])
    assert all(ids(rows) == ids(ranking.recommend(ONE).recommendations) for rows in found.lists)
    assert found.shifts == [[0] * 20] * 3 and found.overlaps == [20, 20]
    assert found.words.count("**20 of 20** items in common, in the same order.") == 2


def test_ranking_does_not_modify_the_scores():
    catalog = open_dataset("demo").catalog
    scores = torch.arange(float(len(catalog.allowed(ALL))))[None]
    before = scores.clone()
    x = Histories.from_lists([[3, 4]], CPU)
    ranked = [ranking.ranked(scores, x, query, catalog) for query in (replace(ONE, genres=["Comedy"]), ONE)]
    assert torch.equal(scores, before) and len(ranked[0]) < len(ranked[1]) == 1000


@pytest.mark.parametrize("other", [PAPER, replace(ONE, model="A x"), replace(ONE, settings={"half_life": 15.0})])
def test_shifts_are_ranks_in_the_other_list(other):
    third = replace(ONE, model="popularity")
    found = comparison.compare([ONE, other, third])
    whole = [ids(rows) for rows in comparison.compare([replace(ONE, k=1000), other, third]).lists]
    for side, (rows, than) in enumerate(zip(found.lists, (1, 0, 0), strict=True)):
        assert ids(rows) == whole[side][:20]
        for rank, (id, shift) in enumerate(zip(ids(rows), found.shifts[side], strict=True)):
            assert shift == (whole[than].index(id) - rank if id in whole[than] else None)
    a, *others = map(ids, found.lists)
    assert found.overlaps == [len({*a} & {*each}) for each in others] and found.overlaps[0] < 20
    hits = [sum(row.held_out for row in rows) for rows in found.lists]
    assert "A {}, B {}, C {}.".format(*hits) in found.words


def test_both_sides_have_the_same_filters_and_history():
    asked = replace(ONE, genres=["Comedy"], history=ranking.history_of(ONE)[:5])
    found = comparison.compare([asked, replace(asked, model="popularity")])
    assert all("Comedy" in row.genres for rows in found.lists for row in rows) and all(map(len, found.lists))
    assert not {row.id for rows in found.lists for row in rows} & set(asked.history or ())


def test_a_baseline_side_reports_the_metrics_of_the_baseline():
    head, rows, words = measuring.measure([PAPER, replace(PAPER, model="A x")], "test")
    split = open_dataset("demo").dataset.split
    expected = evaluate(BASELINES["A x"](split), split, "test", CPU)
    assert head == ["measure", "A", "B", "B − A", "meaning"] and [row[0] for row in rows] == list(measuring.HINTS)
    assert float(rows[0][2]) == pytest.approx(expected["recall@20"], abs=1e-4)
    assert float(rows[1][2]) == pytest.approx(expected["ndcg@20"], abs=1e-4)
    kept = serve("demo", "demo-paper")[1].checkpoint.metrics["test"]
    assert float(rows[0][1]) == pytest.approx(kept["recall@20"], abs=1e-4)
    assert f"for {expected['users']} users of the test part" in words and "overstates" in words
    assert "· demo-paper; B: linear graph filter (baseline) · " in words


def test_differences_are_paired_by_user_so_a_side_does_not_differ_from_itself():
    head, rows, words = measuring.measure([ONE, ONE, ONE], "valid")
    assert head[-4:] == ["B − A", "C", "C − A", "meaning"]
    assert all(row[n].startswith("+0.0000") for row in rows for n in (3, 5)) and rows[0][3] == "+0.0000 ± 0.0000"
    assert "overstates" not in words


def test_each_cell_of_the_grid_is_the_evaluation_of_its_pair(monkeypatch):
    monkeypatch.setattr(measuring, "GRID", {"sigma_max": (0.1, 0.5), "alpha_min": (0.0, 0.3)})
    *_, cells = measuring.sensitivity(PAPER)
    pairs = [(cell["sigma_max"], cell["alpha_min"]) for cell in cells]
    assert pairs == [(0.1, 0.0), (0.1, 0.3), (0.5, 0.0), (0.5, 0.3)]
    valid = serve("demo", "demo-paper")[1].checkpoint.metrics["valid"]["recall@20"]
    assert cells[2]["recall@20"] == pytest.approx(valid, abs=0.005), "the pair of the checkpoint, with other noise"


def test_what_was_measured_is_named_with_its_settings_because_the_page_may_change(monkeypatch):
    *_, words = measuring.measure([ONE, replace(ONE, settings={"half_life": 15.0})], "valid")
    title = open_dataset("demo").dataset.title
    assert "· demo; B: " in words and f"· demo, Recency half-life 1.4 → 15 · {title} · " in words
    monkeypatch.setattr(measuring, "GRID", {"sigma_max": (0.1,), "alpha_min": (0.3,)})
    with gr.Blocks():
        tab = Grid(page := Page())
    page.listed = lambda *_: replace(PAPER, settings={"guidance": 1.0, "sigma_max": 0.7})
    *_, last = tab.measured({})
    assert f"Guidance 0.02 → **1** · {literal(title)}: " in last[tab.words]
    assert "Noise ceiling 0" not in last[tab.words], "the grid has values of its own"


@pytest.mark.parametrize(
    ("query", "sizes"),
    [
        (PAPER, (5, 5)),
        (replace(PAPER, settings={"noise": 0.0}), (1, 5)),
        (replace(PAPER, model="instant"), None),
    ],
)
def test_the_grid_varies_only_settings_that_have_an_effect(query, sizes):
    if sizes is None:
        with pytest.raises(SDiffError, match=r"nothing to measure\. This model does not use diffusion"):
            measuring.grid(query)
    else:
        assert tuple(map(len, measuring.grid(query).values())) == sizes


def compare_tab():
    with gr.Blocks():
        page = Page()
        page.controls = Controls()
        return CompareTab(page)


def test_a_trained_model_is_offered_to_both_sides_and_their_choices_stay():
    tab = compare_tab()
    assert tab.offer("") == gr.skip(), "nothing is open yet"
    b, c = tab.offer(json.dumps({"address": ONE.encode()}))
    named = ["demo-paper", "instant", "popularity", "A x"]
    assert {*named} <= {name for _, name in b["choices"]} and len(c["choices"]) == len(b["choices"]) + 1
    assert "value" not in b and "value" not in c


def test_a_side_that_cannot_be_computed_is_reported_and_another_model_can_be_chosen(monkeypatch):
    tab, said = compare_tab(), []
    monkeypatch.setattr(gr, "Warning", lambda text, **_: said.append(text))
    monkeypatch.setattr("sdiff.app.handlers.comparison.sides", lambda _: ["gone", "popularity"])
    values = {part: part.value for side in tab.sides for part in side.inputs}
    values |= {tab.page.tab_states["Compare"]: json.dumps({"address": ONE.encode()}), tab.offered: ""}
    parts = tab.follow(SimpleNamespace(query_params={}), values)
    assert said and all("There is no checkpoint" in text and "gone" in text for text in said)
    assert [name for _, name in parts[tab.sides[0].model]["choices"]] == ["gone", "popularity"]
    assert parts[tab.offered] == "demo"


def test_a_model_that_was_just_chosen_is_listed_with_its_own_settings():
    """Whatever event arrives first: the sliders still show those of the former model."""
    tab = compare_tab()
    b, c = tab.sides
    values = {part: part.value for side in tab.sides for part in side.inputs}
    values |= {tab.page.tab_states["Compare"]: json.dumps({"address": ONE.encode()}), tab.offered: "demo"}
    values |= {
        b.model: "demo-paper",
        c.model: "-",
        tab.side: "b-model=demo&b-half_life=15",
        b.settings["half_life"]: 15,
    }
    own = serve("demo", "demo-paper")[1].config
    for parts in (tab.follow(SimpleNamespace(), values), tab.choose(values), tab.reset(c, values)):
        assert parts[tab.side] == "b-model=demo-paper" and parts[b.words].endswith("with its own settings")
        assert parts[b.settings["T"]]["value"] == own.T and parts[b.settings["half_life"]]["value"] == own.half_life
    values |= {tab.side: "b-model=demo-paper", b.settings["T"]: 3.0} | {
        part: getattr(own, name) for name, part in b.settings.items() if name != "T"
    }
    assert tab.choose(values) == gr.skip(), "the dropdown was only left"
    assert tab.follow(SimpleNamespace(), values)[tab.side] == "b-model=demo-paper&b-T=3"


def test_a_comparison_without_model_asks_for_one(monkeypatch):
    tab, said = compare_tab(), []
    monkeypatch.setattr(gr, "Warning", lambda text, **_: said.append(text))
    values = {part: part.value for side in tab.sides for part in side.inputs} | {tab.side: ""}
    values |= {tab.page.tab_states["Compare"]: json.dumps({"address": ONE.encode()})}
    for none in ("", "-"):
        values |= {tab.sides[0].model: none, tab.sides[1].model: "popularity"}
        assert tab.reset(tab.sides[1], values) == tab.choose(values) == gr.skip()
    assert said == ["Choose a model for B first."] * 4


def test_controls_without_effect_on_a_side_are_disabled_with_the_reason():
    with gr.Blocks():
        side = Side("B")
        side.pick()
        side.fold()
    for model, idle in (("demo-paper", False), ("instant", True)):
        slider = side.settings_of("demo", model)[side.settings["tau"]]
        assert slider["interactive"] != idle and ("does not use diffusion" in slider["info"]) == idle
    without_noise = side.effects(replace(PAPER, settings={"noise": 0.0}))
    off = [name for name, slider in side.settings.items() if not without_noise[slider].interactive]
    assert off == ["sigma_max"] and side.effects(replace(PAPER, model="A x")) == {}


def test_an_impossible_comparison_is_refused_with_a_reason():
    with pytest.raises(SDiffError, match="no checkpoint 'gone'"):
        comparison.compare([ONE, replace(ONE, model="gone")])
    with pytest.raises(SDiffError, match="Unknown user nobody"):
        comparison.compare([replace(ONE, user="nobody"), ONE])
    with pytest.raises(SDiffError, match="sigma_max must be between"):
        comparison.compare([ONE, replace(ONE, settings={"sigma_max": 9})])


def test_a_side_shows_its_model_and_settings():
    assert comparison.describe(replace(ONE, model="A x")).startswith("**linear graph filter (baseline)**")
    assert BASELINE_LABELS.keys() == BASELINES.keys()
    assert "Guidance 0 → **2**" in comparison.describe(replace(ONE, settings={"guidance": 2.0}))
    assert comparison.sides("demo")[-2:] == list(BASELINES)


def test_the_film_goes_from_the_history_over_noise_to_the_list():
    film = spectral.film(PAPER)
    assert [frame.title for frame in film.frames[:3]] == ["The history", "Noised", "Step 1 of 5"]
    np.testing.assert_allclose([frame.t for frame in film.frames], [0, 1, 0.8, 0.6, 0.4, 0.2, 0], atol=1e-6)
    first, noised, *_, last = film.frames
    assert ids(last.lists["vp"]) == ids(ranking.recommend(PAPER).recommendations)[:10]
    for kind in ("vp", "ve", "ddpm"):
        np.testing.assert_array_equal(first.energy[kind], film.history)
        assert first.moves[kind] is None and (noised.energy[kind] != film.history).any()
        before = ids(first.lists[kind])
        shown = zip(ids(noised.lists[kind]), noised.moves[kind] or (), strict=True)
        assert all(move == before.index(id) - rank for rank, (id, move) in enumerate(shown) if id in before)
    quiet = spectral.film(replace(PAPER, settings={"noise": False}))
    assert (
        "no noise is added" in quiet.frames[1].words
        and len(spectral.film(replace(PAPER, settings={"T": 1})).frames) == 3
    )
    again = spectral.film(PAPER)
    assert [frame.lists for frame in again.frames] == [frame.lists for frame in film.frames], "the noise has a seed"


def test_a_film_of_many_steps_shows_a_selection_of_them_and_says_so(monkeypatch):
    long = replace(PAPER, settings={"T": 50})
    some = spectral.film(long)
    assert len(some.frames) == spectral.STEPS + 2 and "20 of the 50 steps are shown" in lists.film(some)
    assert [some.frames[n].title for n in (2, -1)] == ["Step 1 of 50", "Step 50 of 50"]
    monkeypatch.setattr(spectral, "STEPS", 50)
    whole = spectral.film(long)
    assert len(whole.frames) == 52 and "steps are shown" not in lists.film(whole)
    by_title = {frame.title: frame for frame in whole.frames}
    for frame in some.frames:
        same = by_title[frame.title]
        assert (frame.t, frame.words, frame.lists) == (same.t, same.words, same.lists)


def test_the_csv_contains_the_list_and_escapes_formulas(monkeypatch):
    rows = ranking.recommend(ONE).recommendations
    read = list(csv.DictReader(io.StringIO(take_away.list_csv(ONE))))
    assert [row["item"] for row in read] == ids(rows) and [row["title"] for row in read] == [r.title for r in rows]
    assert [float(row["score"]) for row in read] == pytest.approx([row.score for row in rows])
    text = take_away.csv_text(["a", "b"], [["=1+1", -1.5], ["@x", "-y"], ["+z\n", None], ["a=b", "\tq"]])
    cells = list(csv.reader(io.StringIO(text)))[1:]
    assert cells == [["'=1+1", "-1.5"], ["'@x", "'-y"], ["'+z\n", ""], ["a=b", "'\tq"]]


def test_the_csv_of_the_plots_contains_every_plot():
    read = list(csv.DictReader(io.StringIO(take_away.spectrum_csv(PAPER))))
    assert {row["plot"] for row in read} == {"eigenvalue", "SNR", "energy", "alpha", "sigma", "SNR map"}
    lam = [float(row["value"]) for row in read if row["plot"] == "eigenvalue"]
    assert len(lam) == 200 and lam == sorted(lam)


@pytest.mark.parametrize(
    "query",
    [
        replace(PAPER, settings={"guidance": 1.5, "noise": True}, seed=4, k=7, genres=["Comedy"], first_year=1980),
        Query("demo", "instant", "2", k=5, seen=True),
        replace(ONE, history=["12", "55"], settings={"half_life": 3.0}),
    ],
)
def test_the_script_prints_the_list(query):
    rows = ranking.recommend(query).recommendations
    found = [line.split("\t")[1:3] for line in printed(take_away.python(query)).splitlines()]
    assert found == [[row.id, row.title] for row in rows]


def test_seen_items_are_listed_on_request():
    shown = ranking.recommend(replace(ONE, seen=True, k=100))
    assert {row.id for row in shown.recommendations} & shown.past
    html = lists.recommended_table(shown.recommendations, None, shown.past)
    assert html.count("in the history") == len({row.id for row in shown.recommendations} & shown.past)


def test_a_model_with_its_items_in_another_order_gives_the_same_list_and_hits():
    checkpoint, folder = Checkpoint.load(CHECKPOINTS / "demo-paper"), runs_dir() / "reordered"
    order = torch.randperm(len(checkpoint.items), generator=torch.Generator().manual_seed(0))
    items = Vocabulary(tuple(checkpoint.items.ids[i] for i in order))
    spectrum = SpectralBasis(checkpoint.spectrum.U[order], checkpoint.spectrum.lam)
    counts = checkpoint.item_counts[order]
    replace(checkpoint, items=items, spectrum=spectrum, item_counts=counts).save(folder)
    known = replace(PAPER, user="7")  # who has hits in both
    other = replace(known, model="reordered")
    found = comparison.compare([known, other])
    lists = [ranking.recommend(query).recommendations for query in (known, other)]
    films = [spectral.film(query).frames[-1].lists["vp"] for query in (known, other)]
    shutil.rmtree(folder)
    assert any(row.held_out for row in lists[0])
    for a, b in (found.lists, lists, films):
        both = {(row.id, row.held_out) for row in a} & {(row.id, row.held_out) for row in b}
        assert len(both) >= len(a) - 1, "sums in another order round differently"


def test_a_sample_of_users_is_drawn_from_all_of_them_and_what_settings_do_is_measured_on_it():
    split = open_dataset("demo").dataset.split
    users = measuring.sample(split, "valid", 50)
    assert len(users) == 50 and users.max() > 0.8 * len(split.users) and users.min() < 0.2 * len(split.users)
    rows, words = measuring.across_users(ONE)
    assert [own == now for _, own, now in rows] == [True] * 3 and "users, drawn at random" in words
    moved, _ = measuring.across_users(replace(ONE, settings={"beta": 0.8}))
    hits, novelty, catalog = ([float(re.sub("[^0-9.]", "", text)) for text in row[1:]] for row in moved)
    assert hits[1] < hits[0] and novelty[1] > novelty[0] and catalog[1] > catalog[0]


def test_data_with_fewer_items_than_a_list_is_long_can_be_measured(tmp_path):
    rows = [f"u{user},i{(user + n) % 10}" for user in range(12) for n in range(6)]
    (tmp_path / "few.csv").write_text("user,item\n" + "\n".join(rows) + "\n")
    key = str(tmp_path / "few.csv")
    keep_open(key, opened_here(partial(load_dataset, key)))
    query = Query(key, "instant", "u1")
    rows, _ = measuring.across_users(query)
    assert rows[0][0] == "Recall@20"
    *_, standings = leaderboard.leaderboard(key)
    assert all(standing.measured for standing in standings)
    assert measuring.measure([query, replace(query, model="popularity")], "test")[1]
