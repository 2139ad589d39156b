"""Handlers, figures and lists, without a server or browser."""

import json
import os
import re
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from statistics import median
from threading import Event, get_native_id
from types import SimpleNamespace

import gradio as gr
import numpy as np
import plotly.graph_objects as go
import pytest

from sdiff.app import state
from sdiff.app.controls import Controls
from sdiff.app.handlers import (
    explanations,
    item_pages,
    measuring,
    openings,
    pickers,
    ranking,
    spectral,
    training,
    waves,
)
from sdiff.app.labels import PRESET_LABELS, RECALL, SOLVED, preset_label
from sdiff.app.page import Page, query_of
from sdiff.app.processes import runs
from sdiff.app.query import Query
from sdiff.app.state import checkpoints, keep_open, new_run, open_dataset, open_model, opened_here, serve
from sdiff.app.tabs.compare import CompareTab
from sdiff.app.tabs.diffusion import DiffusionTab
from sdiff.app.tabs.recommend import RecommendTab
from sdiff.app.tabs.train import TrainTab
from sdiff.app.tabs.waves import WavesTab
from sdiff.app.views import figures, lists, progress
from sdiff.base.errors import SDiffError
from sdiff.base.files import claimed
from sdiff.base.paths import runs_dir
from sdiff.config import PRESETS
from sdiff.data.catalog import Row
from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Split, Vocabulary
from sdiff.data.registry import REGISTRY
from sdiff.evaluation.baselines import BASELINES
from sdiff.evaluation.evaluate import evaluate
from sdiff.training.auto import Candidate, Step
from sdiff.training.trainer import Progress
from tests.conftest import CPU, run

ONE = Query("demo", "demo", "1")


@pytest.fixture(scope="module")
def view():
    return spectral.spectral_view(Query("demo", "demo-paper", "1"))


@pytest.fixture(scope="module")
def schedule():
    return spectral.schedule_view(Query("demo", "demo-paper", "1"))


def assert_plotly_finds_nothing_wrong(unchecked):
    checked = go.Figure(unchecked.to_dict())
    assert json.loads(checked.to_json()) == json.loads(unchecked.to_json())


def test_a_view_contains_the_history_the_list_and_its_notes():
    split = open_dataset("demo").dataset.split
    shown = ranking.recommend(Query("demo", "demo-paper", "1", k=15))
    history = [split.items.ids[i] for i in split.train.history(0)]
    assert [row.id for row in shown.history] == history[::-1]
    assert len(shown.recommendations) == 15 and not {row.id for row in shown.recommendations} & set(history)
    held_out = {split.items.ids[i] for part in (split.valid, split.test) for i in part.history(0)}
    assert [row.held_out for row in shown.recommendations] == [row.id in held_out for row in shown.recommendations]
    assert shown.changed == "All settings are the model's own."


def test_the_list_equals_that_of_the_python_api():
    shown = ranking.recommend(Query("demo", "demo-paper", "1", None, {"guidance": 1.5}, 3, 10))
    split = open_dataset("demo").dataset.split
    history = [split.items.ids[i] for i in split.train.history(0)]
    same = open_model("demo-paper", "demo").recommend(history, 10, seed=3, guidance=1.5)
    assert [row.id for row in shown.recommendations] == same.ids
    assert shown.changed.startswith("Guidance 0.02 → **1.5**, noise seed 0 → **3**: **")
    off = ranking.recommend(Query("demo", "demo-paper", "1", None, {"noise": False}, 3, 10))
    assert off.changed.startswith("Sampling noise 1 → **0**: **"), "without noise, the seed has no effect"


def test_a_longer_half_life_changes_the_list_of_a_model_that_uses_the_order():
    recent = ranking.recommend(ONE)
    longer = ranking.recommend(replace(ONE, settings={"half_life": 30}))
    assert longer.changed.startswith("Recency half-life 1.4 → **30**: **")
    assert {row.id for row in longer.recommendations} != {row.id for row in recent.recommendations}
    assert all(0 < row.score < 1 for row in recent.recommendations), "a score is a probability"


def test_an_edited_history_shows_the_moves_from_the_original_list():
    true = ranking.history_of(ONE)
    shown = ranking.recommend(ONE)
    same = ranking.recommend(replace(ONE, history=true))
    assert shown.moves is None and same.moves is None and same.recommendations == shown.recommendations
    first = shown.recommendations[0].id
    changed = ranking.recommend(replace(ONE, history=[*true[1:], first]))
    assert changed.history[0].id == first and "(1 added, 1 removed)" in changed.summary
    assert "what if** (reordered)" in ranking.recommend(replace(ONE, history=[*true[1:], true[0]])).summary
    before = [row.id for row in ranking.recommend(replace(ONE, k=1000)).recommendations]
    after = [row.id for row in changed.recommendations]
    assert first not in after
    expected = [before.index(id) - rank if id in before else None for rank, id in enumerate(after)]
    assert changed.moves == expected and any(expected)
    fresh = ranking.recommend(replace(ONE, history=[]))
    assert fresh.history == [] and len(fresh.recommendations) == 20
    with pytest.raises(SDiffError, match="Unknown item nothing"):
        ranking.recommend(replace(ONE, history=["nothing"]))
    bands = [spectral.spectral_view(replace(ONE, history=ids)).energy[0] for ids in (None, true, [])]
    assert (bands[0] == bands[1]).all() and bands[0].sum() > bands[2].sum()


def test_a_filter_keeps_only_matching_items():
    catalog = open_dataset("demo").catalog
    wanted = replace(ONE, genres=["Comedy"], first_year=1990)
    shown = ranking.recommend(wanted)
    assert len(shown.recommendations) == 20
    assert all("Comedy" in row.genres and row.year >= 1990 for row in shown.recommendations)
    assert f"the {catalog.allowed(wanted.wanted).sum()} of 1,185 items that pass the filters" in shown.summary
    best = [row.id for row in ranking.recommend(replace(ONE, k=1185)).recommendations]
    assert [row.id for row in shown.recommendations] == [
        id for id in best if id in {r.id for r in shown.recommendations}
    ]
    with pytest.raises(SDiffError, match="No item has the genre 'None such'"):
        ranking.recommend(replace(ONE, genres=["None such"]))


def test_what_cannot_be_shown_is_refused_with_a_reason():
    with pytest.raises(SDiffError, match="Unknown user"):
        ranking.recommend(Query("demo", "demo", "nobody"))
    with pytest.raises(SDiffError, match="Unknown data set"):
        run(openings.wait_until_open("/etc/passwd"))
    with pytest.raises(SDiffError, match=r"no checkpoint '\.\./demo'"):
        open_model("../demo", "demo")
    with pytest.raises(SDiffError, match="Unknown setting 'exclude_seen'"):
        ranking.recommend(replace(ONE, settings={"exclude_seen": False}))
    with pytest.raises(SDiffError, match=r"does not know .* items of demo"):
        serve("demo", "ml-1m")


def test_a_model_serves_another_split_of_its_items_with_a_note(monkeypatch):
    def reversed_demo(folder):
        demo = load_dataset("demo")
        other = demo.served_by(Vocabulary(demo.split.items.ids[::-1]))
        return Split(other.split.train, other.split.test, other.split.valid), other.items

    raw = replace(REGISTRY["demo"], key="raw", files=(), read=reversed_demo, same_items_as="demo")
    monkeypatch.setitem(REGISTRY, "raw", raw)
    assert pickers.models("raw")[0] == "demo"
    keep_open("raw", opened_here(partial(load_dataset, "raw")))
    shown, own = (ranking.recommend(Query(key, "demo", "1", k=10)) for key in ("raw", "demo"))
    titles = [[row.title for row in listing.recommendations] for listing in (shown, own)]
    assert titles[0] == titles[1]
    assert ["trained on another split" in listing.summary for listing in (shown, own)] == [True, False]
    assert ["trained on demo" in pickers.model_card(key, "demo") for key in ("raw", "demo")] == [True, False]


def test_recall_is_defined_alike_wherever_it_is_shown():
    *_, trained = training.train("demo", "paper", 1, 0, "K=8 hidden=16 eval_every=1", "defined", Event())
    _, across = measuring.across_users(ONE)
    for text in (pickers.model_card("demo", "demo"), trained.status, across, measuring.HINTS["recall@20"]):
        assert RECALL in text


def test_every_data_set_has_a_model_that_needs_no_training():
    assert pickers.models("demo")[0] == "demo" and pickers.models("demo")[-1] == "instant"
    shown = ranking.recommend(Query("demo", "instant", "1", k=5))
    assert len(shown.recommendations) == 5
    again = ranking.recommend(Query("demo", "instant", "1", k=5, seed=9))
    assert shown.recommendations == again.recommendations, "without noise the seed has no effect"
    assert "not trained" in pickers.model_card("demo", "instant")
    spectral.spectral_view(Query("demo", "instant", "1"))


def test_picked_users_match_their_description():
    split = open_dataset("demo").dataset.split
    lengths = {
        pick: split.train.lengths[split.users.index[pickers.pick_user("demo", pick)]] for pick in ("heavy", "light")
    }
    typical = split.train.lengths[split.users.index[pickers.pick_user("demo", "typical")]]
    assert typical == np.sort(split.train.lengths)[450]
    assert lengths["light"] < typical < lengths["heavy"]
    assert pickers.pick_user("demo", "random") in split.users


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 41, "demo", "instant", "uploads", "Uploads"])
def test_model_names_are_plain_and_unused(name):
    with pytest.raises(SDiffError, match=r"Name the model|already"):
        new_run(name)


def test_a_second_run_with_the_same_name_is_refused_before_it_trains():
    with training.QUEUE.enter("twice"), pytest.raises(SDiffError, match="choose another name"):
        list(training.train("demo", "paper", 4, 0, "", " twice", Event()))
    assert len(training.QUEUE) == 0


def test_a_name_claimed_by_another_process_is_refused_and_released_if_no_model_is_saved():
    folder = runs_dir() / "in-two-apps"
    run = training.train("demo", "paper", 4, 0, "K=8 hidden=16", folder.name, Event())
    with claimed(folder):  # as if claimed by another process
        for _ in range(2):
            with pytest.raises(SDiffError, match="choose another name"):
                next(training.train("demo", "paper", 4, 0, "K=8 hidden=16", folder.name, Event()))
    next(run)
    with pytest.raises(BlockingIOError), claimed(folder):  # as another process would
        pass
    run.close()
    assert not folder.exists()


def test_leftovers_of_a_killed_run_do_not_take_a_name_but_other_files_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SDIFF_RUNS_DIR", str(tmp_path))
    folder = tmp_path / "left"
    (folder / ".sdiff-scratch").mkdir(parents=True)
    for name in (".sdiff-claim", "model-0123456789ab.safetensors"):
        (folder / name).touch()
    with state.claimed_run("left") as claimed_folder:
        assert claimed_folder == folder
    for name in ("config.json", "training.safetensors", "notes.txt"):
        (folder / name).touch()
        with pytest.raises(SDiffError, match="taken"):
            new_run("left")
        (folder / name).unlink()
    (tmp_path / "file").touch()
    with pytest.raises(SDiffError, match="taken"):
        new_run("file")


def test_a_model_saved_while_its_name_is_being_claimed_is_not_replaced(monkeypatch):
    @contextmanager
    def after_another_run(folder):
        folder.mkdir()
        (folder / "config.json").touch()
        yield

    monkeypatch.setattr(state, "claimed", after_another_run)
    with pytest.raises(SDiffError, match="taken"), state.claimed_run("just-saved"):
        pass


def test_training_yields_curves_and_a_model_that_can_be_opened():
    views = list(training.train("demo", "paper", 4, 0, "K=8 hidden=16 eval_every=2", "in-a-test", Event()))
    assert views[-1].saved_as == "in-a-test" and views[-1].epochs == [1, 2, 3, 4]
    assert [epoch for epoch, _ in views[-1].valid] == [2, 4]
    assert "in-a-test" in checkpoints("demo") and "in-a-test" not in checkpoints("ml-1m-diffrec")
    assert open_model("in-a-test", "demo").basis.lam.numel() == 8
    assert next(iter(checkpoints("demo"))) == "demo", "shipped models remain the first choice"


def test_auto_trains_what_fits_the_data_and_saves_the_best():
    stop = Event()
    for view in training.choose("demo", 5, 0, "best-of-all", stop):
        if "GF-CF" in view.tried:
            stop.set()
    assert view.saved_as == "best-of-all" and "best-of-all" in checkpoints("demo")
    rows = [re.findall("<td[^>]*>(.*?)</td>", row) for row in view.tried.split("<tr>")[2:]]
    assert [row[0] for row in rows] == [PRESET_LABELS[name].partition(":")[0] for name in ("filter", "gfcf")]
    best, recall, *_ = max(rows, key=lambda row: float(row[1]))
    assert (
        f"is <b>{best}:" in view.status
        and "<p>Stopped on" in view.status
        and f"recall@20 {recall} on validation" in view.status
    )


@pytest.mark.parametrize("kind", ["one", "best"])
def test_every_view_of_a_run_says_for_how_long_and_what_is_expected(kind, in_this_process, monkeypatch):
    monkeypatch.setattr(training, "REDRAW", 0)
    stop = Event()
    if kind == "one":
        views = training.train("demo", "paper", 3, 0, "K=8 hidden=16", "timed-one", stop)
        expected = "the first epoch will show how long it takes"
    else:
        views = training.choose("demo", 5, 0, "timed-best", stop)
        stop.set()
        expected = r'up to <time data-seconds="(300.0|299\.\d)" data-down>[45] min \d+ s</time> to go'
    first, *others, last = views
    assert re.search(rf'<time data-seconds="0\.\d">0 s</time> so far · {expected}', first.status)
    assert others and all("data-down" in view.status for view in others), "the time that is left counts down"
    assert "data-seconds" not in last.status and last.saved_as


def test_a_waiting_run_expects_what_the_runs_before_it_still_take(monkeypatch):
    monkeypatch.setattr(training, "WAIT", 0)
    with (
        training.QUEUE.enter("begun") as begun,
        training.QUEUE.enter("best-of-a-minute", 60),
        closing(training.train("demo", "paper", 3, 0, "", "third", Event())) as waiting,
    ):
        assert "2 other runs" in next(waiting).status
        assert "so far · no estimate yet" in next(waiting).status, "the first run has no epoch"
        begun.end = time.monotonic() + 30
        assert re.search(r'starts within <time data-seconds="(90.0|89\.\d)" data-down>', next(waiting).status)
        begun.end = time.monotonic() - 5
        assert 'data-seconds="60.0" data-down' in next(waiting).status, "a late run counts as about to end"


def test_the_effect_of_a_control_is_told_in_users():
    shown = ranking.recommend(replace(ONE, settings={"beta": 0.5}))
    before, after = re.search(r"the median item has ([\d,]+) → \*\*([\d,]+)\*\* users", shown.changed).groups()
    assert after == f"{round(median(row.popularity for row in shown.recommendations)):,}" and int(after) < int(before)


def test_a_run_ends_with_its_recall_beside_that_of_popularity():
    split = open_dataset("demo").dataset.split
    popular = evaluate(BASELINES["popularity"](split), split, "valid", CPU)["recall@20"]
    *_, last = training.train("demo", "paper", 2, 0, "K=8 hidden=16 eval_every=1", "compared", Event())
    recall = open_model("compared", "demo").checkpoint.metrics["valid"]["recall@20"]
    assert f"recall@20 {recall:.3f} on validation, against {popular:.3f} for popularity" in last.status
    assert progress.result(None, None) == "", "nothing to compare without a validation part"


def test_the_curves_have_the_name_of_the_preset_that_was_trained_last(monkeypatch):
    def out_of_time_after_two(*_):
        for name in ("filter", "gfcf"):
            yield Step(name, Progress(1, 1, 0.5, None, 1, None, 1.0))
            yield Candidate(name, {}, {"recall@20": 0.3}, {}, 1, 1.0)
        yield runs.Ended(1, 1, 0.3, 0.1, None)

    monkeypatch.setattr("sdiff.app.processes.space.choose", out_of_time_after_two)
    *_, before_last, last = training.choose("demo", 5, 0, "out-of-time", Event())
    assert before_last.preset == last.preset == "gfcf" and PRESET_LABELS["instant"] in before_last.status


def test_a_single_epoch_draws_no_empty_axes():
    with gr.Blocks():
        tab = TrainTab(Page())
    views = [training.TrainingView("", [*range(1, n + 1)], [0.1] * n, []) for n in range(4)]
    shown = [*tab._views(SimpleNamespace(session_hash="one"), lambda stop: iter(views))]
    assert [tab.plot in parts for parts in shown] == [False, False, True, True]
    hidden = tab._enlist(SimpleNamespace(session_hash="two"))[tab.plot]
    assert not hidden.visible and shown[2][tab.plot].visible


def test_every_preset_has_a_label():
    assert set(PRESET_LABELS) == set(PRESETS) and len(set(PRESET_LABELS.values())) == len(PRESETS)
    assert preset_label("of an older version") == "of an older version"


def test_stopped_and_abandoned_runs_are_kept():
    stop = Event()
    for view in training.train("demo", "paper", 1000, 0, "K=8 hidden=16 eval_every=1", "stopped", stop):
        if view.epochs:
            stop.set()
    assert "Stopped" in view.status and "stopped" in checkpoints("demo")
    run = training.train("demo", "paper", 1000, 0, "K=8 hidden=16 eval_every=1", "abandoned", Event())
    while not next(run).epochs:
        pass
    run.close()  # as gradio does when the page is closed
    assert "abandoned" in checkpoints("demo")


def test_the_words_of_the_spectral_view_match_its_figures(view):
    assert (np.diff(view.lam) >= 0).all() and len(view.lam) == 200
    figure = figures.eigenvalues(view.lam.tolist(), view.names)
    np.testing.assert_array_equal(figure.data[0].y, view.lam)
    assert figure.layout.shapes[0].x0 == 200, "the cutoff is marked"


def test_infinite_snr_is_drawn_at_the_edge_and_methods_keep_their_colours(view):
    assert np.isinf(view.snr_at_tau["vp"][0])
    figure = figures.snr_by_frequency(view.lam, view.snr_at_tau, view.tau, view.names)
    for unchecked in (figure, figures.band_energy(view.bands, *view.energy, view.names)):
        assert_plotly_finds_nothing_wrong(unchecked)
    assert [trace.name for trace in figure.data] == ["VP", "VE", "DDPM"]
    assert len({trace.line.color for trace in figure.data}) == len({trace.line.dash for trace in figure.data}) == 3
    assert all(np.isfinite(trace.y).all() for trace in figure.data)
    assert figure.data[0].y[0] == figures.SNR_RANGE[1]


def test_the_snr_is_that_of_the_noise_that_sampling_adds(view):
    less = spectral.spectral_view(Query("demo", "demo-paper", "1", settings={"noise": 0.5}))
    for kind, snr in view.snr_at_tau.items():
        np.testing.assert_allclose(less.snr_at_tau[kind], 4 * snr, rtol=1e-5)
    assert "50% of the noise is added" in less.words["snr"] and "of the noise" not in view.words["snr"]
    none = spectral.spectral_view(Query("demo", "demo-paper", "1", settings={"noise": 0.0}))
    assert all(np.isinf(snr).all() for snr in none.snr_at_tau.values())


@pytest.mark.parametrize(("model", "diffuses"), [("demo", True), ("instant", False)])
def test_a_diffusion_is_shown_only_for_a_model_that_uses_it(model, diffuses):
    query = replace(ONE, model=model)
    with gr.Blocks():
        page = Page()
        page.controls = Controls()
        beside, own = RecommendTab(page), DiffusionTab(page)
    page.listed = lambda *_: query
    parts = beside.drawn(query)
    assert parts[beside.noised].visible == (beside.snr in parts) == diffuses
    assert parts[beside.solved].visible != diffuses and parts[beside.solved].value == SOLVED
    film = own.shown({})[own.film]
    assert ("Press Play" in film) == diffuses == (SOLVED not in film)


def test_schedules_and_maps_have_a_panel_for_each_kind(schedule):
    view = schedule
    lines = figures.schedules(view.times, view.shown_lam.tolist(), view.schedules)
    assert len(lines.data) == 2 * 3 * len(view.shown_lam)
    assert sum(trace.showlegend for trace in lines.data) == len(view.shown_lam)
    maps = figures.snr_maps(view.times, view.mapped, view.maps)
    assert [trace.type for trace in maps.data] == ["heatmap"] * 3 and maps.layout.meta == {"click": "wave"}
    assert np.asarray(maps.data[0].z).shape == (len(view.mapped), len(view.times))


def test_the_energy_plot_has_a_line_for_before_noised_and_after(view):
    figure = figures.band_energy(view.bands, *view.energy, view.names)
    assert [len(trace.y) for trace in figure.data] == [20, 20, 20] and figure.layout.yaxis.type == "log"


def test_a_point_of_a_band_has_the_name_of_the_wave_that_a_click_on_it_picks(view):
    names = [f"wave <{k}>" for k in range(1, 201)]
    shown = spectral.film(Query("demo", "demo-paper", "1"))
    film = figures.film(shown.bands, shown.history, [frame.energy for frame in shown.frames], names)
    for figure in (figures.band_energy(view.bands, *view.energy, names), film):
        for trace in figure.data:
            picked = [int(band + 0.5) for band in trace.x]  # as Math.round
            assert [*trace.customdata] == [f"wave &lt;{k}&gt;" for k in picked]
    assert shown.names == view.names


def test_settings_change_the_schedule_and_the_energy(view):
    moved = spectral.spectral_view(Query("demo", "demo-paper", "1", settings={"sigma_max": 0.1, "alpha_min": 0.5}))
    assert (moved.snr_at_tau["vp"][1:] > view.snr_at_tau["vp"][1:]).all()
    assert moved.energy[1].sum() < view.energy[1].sum()
    np.testing.assert_array_equal(moved.energy[0], view.energy[0])


def test_training_curves_mark_the_best_epoch_and_stay_small():
    epochs = list(range(1, 5001))
    valid = [(e, 0.3 if e == 20 else 0.2) for e in epochs]
    figure = figures.training_curves(epochs, [1 / e for e in epochs], valid)
    assert all(len(line.x) <= 400 and line.x[-1] == 5000 for line in figure.data[:2])
    best, unvalidated = figure.data[2], figures.training_curves([1, 2], [0.2, 0.1], [])
    assert tuple(best.x) == (20,) and best.yaxis == "y2" and len(unvalidated.data) == 1
    for unchecked in (figure, unvalidated):
        assert_plotly_finds_nothing_wrong(unchecked)


def test_buttons_name_their_item_and_arrows_show_its_move():
    rows = [Row(rank, id, '"<b>', None, "", 1.0, 1, False) for rank, id in enumerate(('"x', "b", "c", "d"), 1)]
    assert 'data-item="&quot;x" title="Remove &quot;&lt;b&gt;"' in lists.history_table(rows)
    assert 'aria-label="Add &quot;&lt;b&gt;"' in lists.addable_table(rows) and "No item matches" in lists.addable_table(
        []
    )
    shown = lists.recommended_table(rows, [3, -2, None, 0])
    assert [text in shown for text in ("1<small", "▲3", "▼2", "new", "4</td>")] == [True] * 5


@pytest.mark.parametrize("name", ["demo", "demo-paper", "instant"])
def test_an_explanation_names_the_parts_of_a_score_and_they_add_up(name):
    true = ranking.history_of(ONE)
    query = Query("demo", name, "1", k=5, seed=2)
    [*_, row] = ranking.recommend(query).recommendations
    found = explanations.why(query, row.id)
    assert found.row.title == row.title and (found.unit == "score") == (name != "demo")
    if found.unit == "score":
        assert found.score == pytest.approx(row.score, abs=1e-5)
    for account in (found.by_item, found.by_frequency):
        assert sum(value for _, value in account) == pytest.approx(found.score, abs=1e-4)
    named = [part for part, _ in found.by_item]
    assert named[0] == "without a history" and named[-2] == f"the other {len(true) - 6} items" and len(named) == 9
    assert explanations.why(replace(query, history=true), row.id) == found
    assert len(explanations.why(replace(query, history=true[:2]), row.id).by_item) == 4
    once, twice = true[:2], [id for id in true[:2] for _ in range(2)]
    assert explanations.why(replace(query, history=twice), row.id) == explanations.why(
        replace(query, history=once), row.id
    )
    cause, _ = found.by_item[1]
    evil = replace(cause, title="<i>")
    panel = lists.why_panel(replace(found, causes=[evil], by_item=[(evil, 1.0), *found.by_item]))
    assert "<i>" not in panel and f"{found.score:+.3f}" in panel
    bars, folded = panel.split("<details>")
    assert bars.count("<table>") == folded.count("<table>") == 2 and bars.count('class="bar') > len(found.by_frequency)
    carried = waves.carried(query)
    for name, _ in found.by_frequency[:6]:
        numbers, _, called = name.partition(": ")
        start, end = map(int, numbers.split("–"))
        strongest = max(carried.waves[start - 1 : end], key=lambda wave: carried.share[wave.number - 1])
        assert called == strongest.name, "a band is named by its strongest wave"


def test_without_an_order_no_item_is_the_newest():
    rows = [Row(1, "1", "A", None, "", 0.0, 1, False)]
    assert "newest first" in lists.history_table(rows) and "newest" not in lists.history_table(rows, ordered=False)
    assert "vs B" in lists.moving_table("A", rows, [3], "B") and "vs B" not in lists.moving_table("A", rows, None, "B")


def test_titles_are_escaped():
    evil = '<script>alert(1)</script>"&'
    row = Row(1, "1", evil, None, evil, 0.5, 3, True, {evil: evil})
    for html in (lists.history_table([row]), lists.recommended_table([row])):
        assert "<script" not in html and "&lt;script&gt;" in html and "&quot;&amp;" in html


def test_lists_mark_hits_and_scale_bars_by_the_best_score():
    rows = [Row(1, "1", "A", 1999, "Drama", 0.8, 3, True), Row(2, "2", "B", None, "", -0.4, 1234, False)]
    html = lists.recommended_table(rows)
    assert html.count('class="hit"') == 1 and "1,234" in html
    assert "width:67%" in html and "width:0%" in html
    assert "No item is left" in lists.recommended_table([])


def test_a_filtered_list_carries_its_filters_wherever_it_stands():
    wanted = replace(ONE, genres=["Comedy", "Drama"], first_year=1990)
    filters = lists.filters(wanted)
    assert re.findall('data-unfilter="(.*?)"', filters) == ["genre:Comedy", "genre:Drama", "from"]
    assert "to" in re.findall('data-unfilter="(.*?)"', lists.filters(replace(ONE, last_year=1999)))
    assert lists.filters(ONE) == ""
    rows = ranking.recommend(wanted).recommendations
    film = lists.film(spectral.film(replace(wanted, model="demo-paper")), filters)
    for html in (lists.recommended_table(rows, filters=filters), lists.moving_table("A", rows, None, "B", filters)):
        assert filters in html.split("</caption>")[0]
    assert film.count(filters) == film.count("<table>")
    for html in (lists.recommended_table([], filters=filters), lists.moving_table("A", [], None, "B", filters)):
        assert filters in html, "a filter that lets nothing through can be removed"


@pytest.mark.parametrize("pressed", ["genre:Comedy", "from", "to"])
def test_a_pressed_filter_is_removed_and_the_others_stay(pressed):
    with gr.Blocks():
        page = Page()
        page.controls = Controls()
        tab = RecommendTab(page)
    page.query = lambda _: replace(ONE, genres=["Comedy", "Drama"], first_year=1980, last_year=1999)
    parts = tab.unfilter({tab.unwanted: f"{pressed} 1700000000000"})
    left = [parts[page.controls.genres], parts[page.controls.first_year], parts[page.controls.last_year]]
    expected = {
        "genre:Comedy": [["Drama"], 1980, 1999],
        "from": [["Comedy", "Drama"], None, 1999],
        "to": [["Comedy", "Drama"], 1980, None],
    }
    assert left == expected[pressed]
    assert re.findall('data-unfilter="(.*?)"', parts[tab.recommended]) == [
        key for key in ("genre:Comedy", "genre:Drama", "from", "to") if key != pressed
    ]


def test_the_marks_of_ones_own_taste_are_those_of_the_history():
    with gr.Blocks():
        page = Page()
        page.controls = Controls()
        tab = RecommendTab(page)
    shown = [row.id for _, rows in item_pages.shelves("demo") for row in rows]
    film = shown[0]  # perhaps on several shelves
    own = Query("demo", "demo", "", history=[film])

    def marked(parts) -> int:
        return parts.count('aria-pressed="true"')

    page.query = lambda _: own
    assert marked(tab.show_shelves({})) == marked(tab._edited(own, [film])[tab.shelves]) == shown.count(film)
    assert marked(tab.remove(SimpleNamespace(item=film), {})[tab.shelves]) == 0
    page.query = lambda _: replace(ONE, history=[film])
    assert marked(tab.show_shelves({})) == 0, "a click begins a history of one's own"
    left = tab.pick("heavy", {page.opened: ["demo", "demo"]})
    assert left[tab.shelves] == "" and left[tab.taste].open is False


@pytest.mark.parametrize(
    ("query", "possible"),
    [
        (ONE, False),
        (replace(ONE, settings={"guidance": 2.0}), False),
        (replace(ONE, history=["1", "2"]), True),
        (Query("demo", "demo", "", history=["1", "2"], settings={"guidance": 2.0}), False),
    ],
)
def test_the_original_history_can_be_restored_if_a_users_history_is_edited(query, possible):
    with gr.Blocks():
        page = Page()
        page.controls = Controls()
        tab = RecommendTab(page)
    assert tab.shown(query)[tab.true_button].interactive == possible


def test_a_model_is_opened_with_the_noise_seed_of_its_own_settings(opening):
    assert opening.open_checkpoint(["demo", "demo"], "demo")[opening.page.controls.seed].value == 0


def test_every_title_of_an_item_opens_its_page():
    query = Query("demo", "demo-paper", "1", k=5)
    rows = ranking.recommend(query).recommendations
    found = waves.carried(query)
    for html in (
        lists.history_table(rows),
        lists.addable_table(rows),
        lists.items_table(rows, "Found"),
        lists.recommended_table(rows),
        lists.moving_table("A", rows, None, "B"),
        lists.film(spectral.film(query)),
        lists.item_page(item_pages.item_facts(query, rows[0].id)),
    ):
        titles = re.findall(r'<span class="title">(.*?)</span>', html)
        assert titles and all(re.fullmatch('<button [^>]*data-open="[^"]+">.*</button>', title) for title in titles)
    why = explanations.why(query, rows[0].id)
    panel = lists.why_panel(why)
    assert {*re.findall('data-open="(.*?)"', panel)} == {row.id for row, _ in why.by_item if isinstance(row, Row)}
    ends = lists.waves_table(found.waves, found.amplitude, found.share)
    assert len(re.findall("data-open", ends)) >= lists.STRONGEST * waves.TITLES


@pytest.mark.parametrize("name", ["instant", "demo"])
def test_an_empty_history_is_explained_by_what_ranks_the_list(name):
    query = Query("demo", name, "", history=[], k=3)
    first, *_ = ranking.recommend(query).recommendations
    found = explanations.why(query, first.id)
    panel = lists.why_panel(found)
    assert found.popularity == (name == "instant")
    if found.popularity:
        assert found.score == first.score == first.popularity and "number of people" in found.unit
        assert f"ranked by popularity: {first.popularity} people have this item" in panel
    else:
        assert "popularity" not in panel
    for account in (found.by_item, found.by_frequency):
        assert sum(value for _, value in account) == pytest.approx(found.score, abs=1e-4)


def test_the_map_is_sent_once_and_then_only_what_is_marked_on_it():
    with gr.Blocks():
        page = Page()
        page.controls = Controls()
        tab = WavesTab(page)
    axes = dict(zip(tab.axes, (2, 3), strict=True))
    page.listed = lambda *_: ONE
    first = tab.mapped({tab.drawn: "", **axes})
    page.listed = lambda *_: replace(ONE, user="7")
    second = tab.mapped({tab.drawn: first[tab.drawn], **axes})
    assert tab.map in first and tab.map not in second
    marked = waves.marks(replace(ONE, user="7"))
    assert json.loads(second[tab.marks]) == marked | {"waves": [2, 3]} != json.loads(first[tab.marks])
    turned = tab.mapped({tab.drawn: first[tab.drawn], **axes, tab.axes[0]: 4})
    assert tab.map in turned and turned[tab.drawn] != first[tab.drawn]


@pytest.mark.parametrize("history", [None, [], ["1", "2"]])
def test_a_tab_shows_the_list_that_the_page_shows_also_of_an_emptied_history(history):
    query = replace(ONE, history=history, settings={"T": "2"})
    with gr.Blocks():
        page = Page()
        page.controls = Controls()
        tab = RecommendTab(page)
    state = tab.shown(query)[page.list_state]
    assert page.listed("Waves", {page.tab_states["Waves"]: state}) == query_of(state) == query
    for malformed in ("", "{}", "[]", "null", '{"address": 5}', '{"address": "k=x"}'):
        with pytest.raises(SDiffError):
            query_of(malformed)


def test_events_without_progress_have_one_place_of_it(demo):
    """Gradio's page updates all places of the events so far at each message."""
    hidden = [fn for fn in demo.fns.values() if fn.show_progress == "hidden"]
    assert len(hidden) > 30 and len({tuple(part._id for part in fn.show_progress_on) for fn in hidden}) == 1
    lists = [fn for fn in demo.fns.values() if any(part.elem_id == "recommended" for part in fn.outputs)]
    assert lists and all(len(fn.show_progress_on) <= 3 for fn in lists)


def test_compare_waits_for_a_list_without_a_warning(monkeypatch):
    monkeypatch.setattr(gr, "Warning", lambda *_, **__: pytest.fail("a warning was shown"))
    with gr.Blocks():
        page = Page()
        page.controls = Controls()
        tab = CompareTab(page)
        tab.wire(gr.Button().click(None))
        follow = next(fn.fn for fn in gr.context.Context.root_block.fns.values() if fn.api_name == "follow")
    values = {page.tab_states["Compare"]: "", tab.offered: ""}
    assert follow(SimpleNamespace(query_params={}), values) == gr.skip()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority of their own on Linux only")
def test_measurements_of_many_users_run_at_a_lower_priority_than_lists():
    own = os.getpriority(os.PRIO_PROCESS, 0)
    found = measuring.LOW_PRIORITY.submit(lambda: os.getpriority(os.PRIO_PROCESS, get_native_id())).result()
    assert found == min(own + measuring.NICENESS, 19)
    assert os.getpriority(os.PRIO_PROCESS, get_native_id()) == own
