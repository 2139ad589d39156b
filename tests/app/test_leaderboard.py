"""The leaderboard: what is written in checkpoints, what is measured here, and what is measured again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from threading import Event

import gradio as gr
import numpy as np
import pytest

from sdiff.app import state
from sdiff.app.handlers import item_pages, leaderboard, measuring, pickers, training
from sdiff.app.handlers.leaderboard import Standing
from sdiff.app.page import Page
from sdiff.app.state import INSTANT, open_dataset
from sdiff.app.tabs import leaderboard as board
from sdiff.base.errors import SDiffError
from sdiff.base.paths import CHECKPOINTS, runs_dir
from sdiff.evaluation.baselines import BASELINES
from sdiff.training.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def standings():
    return {row.model: row for row in [*leaderboard.leaderboard("demo")][-1]}


@pytest.fixture
def copy():
    """Copies a checkpoint that ships into the models trained here."""
    folders = []

    def copied(name: str, of: str = "demo-paper"):
        folders.append(runs_dir() / name)
        shutil.copytree(CHECKPOINTS / of, folders[-1])
        return folders[-1]

    yield copied
    for folder in folders:
        shutil.rmtree(folder)


@pytest.fixture
def measured(monkeypatch):
    """The models that are measured, as they are."""
    names, measure = [], leaderboard.lists_of

    def watched(dataset, side, part, users):
        names.append((side.model, part))
        return measure(dataset, side, part, users)

    monkeypatch.setattr(leaderboard, "lists_of", watched)
    return names


def test_every_model_and_baseline_has_a_row_and_the_best_is_first(standings):
    assert standings.keys() >= {"demo", "demo-paper", INSTANT, *BASELINES}
    recalls = [row.measured["valid"] for row in standings.values()]
    assert recalls == sorted(recalls, reverse=True)
    assert standings["demo"].measured["valid"] > standings["popularity"].measured["valid"]
    assert standings["demo"].measured["coverage"] > standings["popularity"].measured["coverage"]


def test_recorded_figures_are_those_of_the_checkpoint_and_measured_ones_agree_on_all_users(standings):
    split = open_dataset("demo").dataset.split
    assert len(split.users) <= measuring.SAMPLE, "so that the sample is everybody"
    for name in ("demo", "demo-paper"):
        written, row = Checkpoint.load(CHECKPOINTS / name).metrics, standings[name]
        assert row.recorded == {part: written[part]["recall@20"] for part in ("valid", "test")}
        assert row.measured == pytest.approx(row.measured | row.recorded, abs=0.005)
        assert row.seconds == written["train_seconds"]
        assert row.size == sum(path.stat().st_size for path in (CHECKPOINTS / name).iterdir() if path.suffix != ".md")
    for name in BASELINES:
        assert standings[name].recorded == {} and standings[name].seconds is standings[name].size is None
    assert standings[INSTANT].seconds > 0 and standings[INSTANT].size is None


def test_only_new_and_changed_models_are_measured(standings, copy, measured):
    [table] = leaderboard.leaderboard("demo")
    assert not measured and {row.model: row for row in table} == standings
    folder = copy("new")
    tables = [*leaderboard.leaderboard("demo")]
    assert measured == [("new", "valid"), ("new", "test")] and len(tables) == 2
    assert [row.measured is None for row in tables[0] if row.model == "new"] == [True]
    [new] = [row for row in tables[-1] if row.model == "new"]
    assert new == replace(standings["demo-paper"], model="new")
    checkpoint = Checkpoint.load(folder)
    replace(checkpoint, config=checkpoint.config.override({"noise": 0.0})).save(folder)
    [*leaderboard.leaderboard("demo")]
    assert measured == [("new", "valid"), ("new", "test")] * 2


def test_a_model_of_another_split_is_marked_and_its_recorded_figures_are_left_out(copy):
    card = json.loads((copy("elsewhere") / "config.json").read_text())
    card["provenance"]["data_fingerprint"] = "0" * 16
    (runs_dir() / "elsewhere" / "config.json").write_text(json.dumps(card))
    [row] = [row for row in next(leaderboard.leaderboard("demo")) if row.model == "elsewhere"]
    assert row.foreign and row.recorded == {} and "another split" in row.origin


def test_a_damaged_model_has_a_row_with_the_reason_and_the_others_are_measured(copy):
    next(copy("damaged").glob("*.safetensors")).unlink()
    *_, rows = leaderboard.leaderboard("demo")
    assert rows[-1].model == "damaged" and rows[-1].error and rows[-1].measured is None
    assert str(runs_dir()) not in rows[-1].error
    assert all(row.measured for row in rows[:-1])
    cells = board._cells(rows[-1])
    assert cells[0].below == rows[-1].error and [cell.text for cell in cells[1:5]] == ["–"] * 4


@pytest.fixture
def nothing_held_out(monkeypatch):
    """The split of the demo data set as if nothing was held out in it."""
    opened = open_dataset("demo")
    split = opened.dataset.split
    nothing = split.test.empty
    bare = replace(opened, dataset=replace(opened.dataset, split=replace(split, valid=nothing, test=nothing)))
    for module in (leaderboard, pickers, state):
        monkeypatch.setattr(module, "open_dataset", lambda _: bare)
    return bare.dataset.split


def test_without_held_out_items_there_is_no_leaderboard(nothing_held_out):
    with pytest.raises(SDiffError, match="Nothing is held out"):
        next(leaderboard.leaderboard("demo"))


def test_without_held_out_items_the_page_says_so_wherever_they_matter(nothing_held_out, tab):
    parts = tab.known(at(tab))
    assert "Nothing is held out" in parts[tab.words] and "<td" not in parts[tab.table]
    assert not parts[tab.cost_plot].visible and not parts[tab.curves].visible
    assert "held out" not in pickers.data_card("demo")
    with pytest.raises(SDiffError, match=r"^Nothing is held out in this data set, so its models"):
        measuring.sample(nothing_held_out, "valid")
    with pytest.raises(SDiffError, match="Nothing is held out for validation here: use Train a single model"):
        next(training.choose("demo", 5, 0, "nothing-to-choose-on", Event()))


@pytest.fixture(scope="module")
def tab():
    with gr.Blocks():
        return board.Leaderboard(Page())


def at(tab) -> dict:
    """What the open tab sends when it shows nothing yet."""
    return {tab.page.view: "Compare", tab.page.opened: ["demo", "demo"], tab.cost: "training, s", tab.state: ""}


def test_a_running_measurement_draws_nothing_because_another_data_set_may_be_open(standings, copy, tab):
    copy("new")
    steps = [*tab.measured({tab.page.opened: ["demo", "demo"]})]
    assert [parts.keys() for parts in steps] == [{tab.state, tab.buttons.start, tab.buttons.stop}] * 2
    assert [parts[tab.state] for parts in steps] == [""] * 2, "out of date"
    shown = tab.known(at(tab))
    assert "new" in shown[tab.table] and tab.known(at(tab) | {tab.state: shown[tab.state]}) == gr.skip()


def test_a_measurement_ends_when_something_else_is_opened(demo):
    [opened] = [block for block in demo.blocks.values() if block.elem_id == "opened"]
    events = [event for event in demo.fns.values() if (opened._id, "change") in event.targets]
    ended = {demo.fns[index].fn.__qualname__ for event in events for index in event.cancels}
    assert ended == {"Leaderboard.measured", "Grid.measured"}


def test_the_leaderboard_is_looked_at_again_when_its_tab_is_opened(demo):
    [view] = [block for block in demo.blocks.values() if block.elem_id == "view-name"]
    called = [
        event.fn.__qualname__ for event in demo.fns.values() if event.fn and (view._id, "change") in event.targets
    ]
    assert "Leaderboard.known" in called, "because a model may have been trained meanwhile"


@pytest.mark.parametrize("button", ["board", "grid"])
def test_a_measurement_that_waits_for_others_says_so_and_can_be_stopped(demo, button):
    [start] = [block for block in demo.blocks.values() if block.elem_id == button]
    [first] = [event for event in demo.fns.values() if (start._id, "click") in event.targets]
    start, stop = first.fn().values()
    assert first.queue is False and "Waiting in line" in start.value and not start.interactive and stop.interactive


def test_the_words_of_the_leaderboard_are_true_before_a_measurement_and_in_a_read_only_app(tab, monkeypatch):
    before = tab._standings("demo", [Standing("a"), Standing("b")], "training, s")
    assert "best model" not in before[tab.words] and "that you train here" in before[tab.curve_words]
    assert "best model" in tab._standings("demo", [row("a"), Standing("b")], "training, s")[tab.words]
    monkeypatch.setenv("SDIFF_READ_ONLY", "1")
    assert "that you train here" not in tab._standings("demo", [row("a")], "training, s")[tab.curve_words]


def row(name: str, seconds: float | None = None, curve=()) -> Standing:
    return Standing(name, seconds=seconds, size=10**6, curve=[*curve], measured={"valid": 0.3, "test": 0.2})


def test_accuracy_is_drawn_against_a_cost_that_at_least_two_models_have(tab):
    rows = [row("a", 1.0), row("b"), row("c", 0.0), row("d")]
    state = tab._standings("demo", rows, "training, s")
    assert state[tab.cost_plot].visible is False and "at least two" in state[tab.cost_words]
    assert tab._standings("demo", [*rows, row("e", 20.0)], "training, s")[tab.cost_plot].visible
    state = tab._standings("demo", rows, "size, MB")
    figure = json.loads(state[tab.cost_plot].value["plot"])
    assert [(trace["name"], trace["x"], trace["y"]) for trace in figure["data"]] == [(n, [1], [0.3]) for n in "abcd"]
    axis = figure["layout"]["xaxis"]
    assert axis["type"] == "log" and dict(zip(axis["ticktext"], axis["tickvals"], strict=True))["0.5"] == 0.5


def test_the_curves_of_all_models_that_recorded_one_are_drawn_together(tab):
    rows = [row("a", curve=[(1, 0.1), (5, 0.3)]), row("b"), row("c", curve=[(2, 0.2), (4, 0.25)])]
    state = tab._standings("demo", rows, "training, s")
    figure = json.loads(state[tab.curves].value["plot"])
    assert [(trace["name"], trace["x"]) for trace in figure["data"]] == [("a", [1, 5]), ("c", [2, 4])]
    assert "0.3000, of **a** at epoch 5" in state[tab.curve_words]
    state = tab._standings("demo", rows[1:2], "training, s")
    assert state[tab.curves].visible is False and "No model" in state[tab.curve_words]


def test_similar_items_are_those_of_the_same_users(tastes):
    for item in range(30):
        found, similarity, users = item_pages.co_occurring(tastes, item, 30)
        assert {i // 10 for i in found} == {item // 10} and item not in found and len(found) == 9
        assert (np.diff(similarity) <= 0).all() and similarity[-1] > 0 and similarity[0] <= 1
        have = tastes.matrix().toarray() > 0
        np.testing.assert_array_equal(users, [(have[:, item] & have[:, i]).sum() for i in found])
        expected = users / np.sqrt(tastes.item_counts[item] * tastes.item_counts[found])
        np.testing.assert_allclose(similarity, expected)
    assert len(item_pages.co_occurring(tastes, 0, 3)[0]) == 3


def test_an_item_without_users_has_no_similar_items(random_interactions):
    assert [len(part) for part in item_pages.co_occurring(random_interactions, 49, 5)] == [0, 0, 0]
    assert 49 not in item_pages.co_occurring(random_interactions, 0, 50)[0]
