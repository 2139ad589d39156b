"""The engine on a GPU gives the results of the CPU, with and without CUDA graphs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import inference, training
from benchmarks.basis import drawn
from sdiff.base import graphs as cuda_graphs
from sdiff.base.errors import SDiffError
from sdiff.config import PRESETS, Config
from sdiff.data.splits import chronological_split
from sdiff.evaluation.evaluate import evaluate, exclude_, top_n
from sdiff.method.eigen import filtered, largest
from sdiff.method.histories import Histories
from sdiff.method.spectrum import normalised_adjacency_root, spectral_basis
from sdiff.serving.recommender import Recommender
from sdiff.training.run_state import resume, save_state
from sdiff.training.trainer import CRITERION, Trainer
from sdiff.training.update import continued, update
from tests.conftest import CPU, SMALL

QUICK = {"K": 12, "hidden": 32, "epochs": 8, "eval_every": 4, "batch_size": 20}
ROWS = [[0, 3, 4], [25], list(range(12)), [29, 4]]
ASKED = 2 * (cuda_graphs.WARM_UP + 1)  # calls, of which the later ones are replays


def generator(device, seed=0):
    return torch.Generator(device).manual_seed(seed)


def losses(config, split, device):
    return [progress.loss for progress in Trainer(config, split, 0, device).iter_epochs()]


@pytest.mark.parametrize("name", PRESETS)
def test_scores_and_lists_are_those_of_the_cpu(name, split, gpu, graphs):
    trainer = Trainer(PRESETS[name].override(QUICK), split, 0, CPU).fit()
    here, there = (Recommender(trainer.checkpoint("tastes", name), device) for device in (CPU, gpu))
    for settings in ({}, {"noise": 0.5, "guidance": 0.5, "beta": 0.2}):
        config = here.config.at_inference(settings)
        for seed in range(ASKED):  # other noise and other items in each
            rows = [[(item + seed) % 30 for item in row] for row in ROWS]
            x, y = (
                model.scores(Histories.from_lists(rows, model.device), config, generator(CPU, seed))
                for model in (here, there)
            )
            torch.testing.assert_close(x, y.cpu(), atol=1e-3, rtol=1e-3)
    for _ in range(ASKED):
        ours, theirs = (model.recommend(["i1", "i2"], 5) for model in (here, there))
        assert set(ours.ids) == set(theirs.ids)
        np.testing.assert_allclose(sorted(theirs.scores), sorted(ours.scores), rtol=1e-2)


@pytest.mark.parametrize("n_items", [30, 5000])
def test_top_n_is_that_of_the_cpu(n_items, gpu):
    scores = torch.randn(7, n_items, generator=generator(CPU))
    seen = [[3, 5], [], [7], [0], [1], [2], [n_items - 1]]
    ours, theirs = (
        top_n(exclude_(scores.to(device, copy=True), Histories.from_lists(seen, device)), 20) for device in (CPU, gpu)
    )
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b.cpu())
    with pytest.raises(SDiffError, match="not finite"):
        top_n(torch.full((2, n_items), torch.nan, device=gpu), 5)


def test_the_spectrum_is_that_of_the_cpu(gpu):
    train = drawn(900, 700, 12_000)
    root = normalised_adjacency_root(train.matrix())
    a, U = largest(root, 20, gpu)
    assert np.linalg.norm(root.T @ (root @ U) - U * a, axis=0).max() < 1e-6
    np.testing.assert_allclose(np.sort(a), np.sort(largest(root, 20, CPU)[0]), atol=1e-6)
    np.testing.assert_allclose(np.sort(filtered(root, 20, gpu)[0]), np.sort(a), atol=1e-6)
    ours, theirs = spectral_basis(train, 20, CPU), spectral_basis(train, 20, gpu)
    torch.testing.assert_close(ours.lam, theirs.lam, atol=1e-6, rtol=0)
    x = Histories.from_lists([range(n, 700, 30) for n in range(5)], CPU)
    torch.testing.assert_close(ours.igft(ours.gft(x)), theirs.igft(theirs.gft(x)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains(name, split, gpu, graphs):
    config = PRESETS[name].override(QUICK)
    trainer = Trainer(config, split, 0, gpu)
    progress = list(trainer.iter_epochs())
    assert progress[-1].loss < progress[0].loss or trainer.model.closed_form
    assert all(tensor.isfinite().all() for tensor in trainer.best.weights.values())
    model = Recommender(trainer.checkpoint("tastes", name), CPU)
    assert len(model.recommend(["i1", "i2"], 5).ids) == 5


def test_a_model_is_updated_twice(split, gpu):
    config = PRESETS["tuned"].override(QUICK)
    model = Recommender(Trainer(config, split, 0, gpu).fit().checkpoint("tastes", "tuned"), gpu)
    for _ in range(2):
        trainer = update(model.checkpoint, split, 0, gpu).fit()
        model = Recommender(continued(trainer, model.checkpoint, "tastes"), gpu)
    assert len(model.recommend(["i1", "i2"], 5).ids) == 5


def test_training_learns_the_tastes(split, gpu, graphs):
    trainer = Trainer(SMALL, split, 0, gpu).fit()
    model = Recommender(trainer.checkpoint("tastes", "paper"), gpu)
    noise = generator(CPU)
    assert evaluate(lambda x: model.scores(x, model.config, noise), split, "test", gpu)["recall@10"] > 0.95


@pytest.mark.parametrize("name", ["paper", "tuned", "temporal"])
def test_replays_train_like_plain_calls(name, split, gpu, monkeypatch):
    monkeypatch.setenv("SDIFF_CUDA_GRAPHS", "1")
    config = PRESETS[name].override(QUICK | {"epochs": 12})
    replayed = losses(config, split, gpu)
    captures = []
    monkeypatch.setattr(cuda_graphs.Graphs, "_capture", lambda *given: captures.append(given))
    monkeypatch.setattr(cuda_graphs, "WARM_UP", 10**9)
    plain = losses(config, split, gpu)
    assert not captures and replayed == pytest.approx(plain, rel=2e-2)
    assert replayed[0] == pytest.approx(plain[0], rel=1e-4)


def test_graphs_train_like_the_ragged_steps_where_their_draws_are_the_same(split, gpu, monkeypatch):
    config = PRESETS["temporal"].override(QUICK | {"epochs": 12})
    found = []
    for switch in ("0", "1"):
        monkeypatch.setenv("SDIFF_CUDA_GRAPHS", switch)
        found.append(losses(config, split, gpu))
    assert found[1] == pytest.approx(found[0], rel=2e-2)


def test_a_graph_draws_new_numbers_in_each_replay(gpu):
    noise = generator(gpu)
    graphs = cuda_graphs.Graphs(gpu, noise)

    def draw(x):
        return x + torch.rand(1000, generator=noise, device=gpu) + torch.rand(1000, device=gpu)

    drawn = [graphs("draw", draw, torch.full((1000,), float(10 * i), device=gpu)).clone() for i in range(ASKED)]
    assert len(graphs.captured) == 1
    for i, numbers in enumerate(drawn):
        assert ((numbers >= 10 * i) & (numbers < 10 * i + 2)).all(), "inputs are copied"
    assert len({round((numbers - 10 * i).sum().item(), 3) for i, numbers in enumerate(drawn)}) == ASKED


@pytest.mark.parametrize(("first", "then"), [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")])
@pytest.mark.parametrize("name", ["paper", "tuned"])
def test_a_run_continues_on_another_device(name, first, then, split, tmp_path, graphs):
    config = PRESETS[name].override(QUICK | {"epochs": 12})
    trainer = Trainer(config, split, 0, first)
    for progress in trainer.iter_epochs():
        if progress.epoch == 6:
            break
    save_state(trainer, tmp_path / "state")
    resumed = Trainer(config, split, 0, then)
    resume(resumed, tmp_path / "state")
    assert all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(trainer.averaging[0], resumed.averaging[0], strict=True))
    rest = list(resumed.iter_epochs())
    assert [progress.epoch for progress in rest] == list(range(7, 13)) and rest[-1].loss < 1.5 * progress.loss


def test_memory_that_runs_out_is_reported_and_the_gpu_can_be_used_afterwards(split, gpu, graphs):
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(gpu).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(gpu) + 2**26) / total, gpu)
    try:
        with pytest.raises(SDiffError, match="not enough memory: lower"):
            Trainer(Config(K=12, hidden=100_000, epochs=9, batch_size=60), split, 0, gpu).fit()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, gpu)
    torch.cuda.empty_cache()
    assert Trainer(replace(SMALL, epochs=1), split, 0, gpu).fit().finished


def test_all_models_make_lists_and_train(tastes, gpu, graphs):
    assert all(milliseconds > 0 for milliseconds in inference.list_times(300, 10, 5, gpu).values())
    split = training.unvalidated(chronological_split(tastes).train)
    for run in training.contestants(split, 3, gpu).values():
        assert all(run() > 0 for _ in range(3))


def test_validation_is_that_of_the_cpu(split, gpu):
    trainer = Trainer(PRESETS["instant"].override({"K": 12}), split, 0, gpu).fit()
    model = Recommender(trainer.checkpoint("tastes", "instant"), CPU)
    noise = generator(CPU)
    valid = evaluate(lambda x: model.scores(x, model.config, noise), split, "valid", CPU)
    assert trainer.best.valid[CRITERION] == pytest.approx(valid[CRITERION], abs=1e-3)
