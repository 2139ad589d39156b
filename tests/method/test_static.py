"""Histories, losses, training and scores with static shapes, compared with the ragged ones."""

from collections import Counter
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sdiff.base.errors import SDiffError
from sdiff.base.graphs import Graphs, static_shapes
from sdiff.config import PRESETS
from sdiff.method.diffusion import score
from sdiff.method.histories import Histories
from sdiff.method.losses import LOSSES
from sdiff.method.model import Model
from sdiff.method.static import DENSE, Padded, StaticScore, capacity_for
from sdiff.serving.recommender import Recommender
from sdiff.training.trainer import Trainer, trained
from tests.conftest import CPU

N = 9  # items
ROWS = [[3, 1, 4, 0, 5], [2], [], [6, 7]]
RAGGED = Histories.from_lists(ROWS, CPU)
SMALL = {"K": 12, "hidden": 16, "epochs": 2, "eval_every": 1, "batch_size": 20}
DRAWS = torch.rand(10_000, generator=torch.Generator().manual_seed(1))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def padded(x, capacity=16, n_items=N):
    return Padded.of(x, torch.arange(len(x)), capacity, n_items)


@pytest.fixture
def equal_draws(monkeypatch):
    """Each call of torch.rand returns the same numbers, so that the draw of an entry does not depend on padding."""
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: DRAWS[: torch.Size(flat(shape)).numel()].view(flat(shape)))


def flat(shape):
    return tuple(shape[0]) if isinstance(shape[0], tuple | list | torch.Size) else shape


@pytest.mark.parametrize("capacity", [8, 16])
def test_padded_histories_are_the_ragged_ones(capacity):
    users = torch.tensor([3, 2, 0])
    ours, theirs = Padded.of(RAGGED, users, capacity, N), RAGGED.take(users)
    assert len(ours) == 3 and len(ours.items) == capacity and torch.equal(ours.users, users)
    assert torch.equal(ours.dense(N), theirs.dense(N)) and torch.equal(ours.size, theirs.size)


@pytest.mark.parametrize("capacity", [8, 16])
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.recent(1.4),
        lambda x: x.normalised(),
        lambda x: x.mask(0.5, generator())[0],
        lambda x: x.mask(0.5, generator())[1],
        lambda x: x.mask(0.5, generator())[0].recent(0.7).normalised(),
        lambda x: x.cut(2.0, generator())[0].recent(0.7),
        lambda x: x.cut(2.0, generator())[1],
    ],
    ids=["recent", "normalised", "shown", "hidden", "recent of shown", "past", "future"],
)
def test_what_changes_a_history_changes_its_padded_form_alike(change, capacity, equal_draws):
    ours, theirs = change(padded(RAGGED, capacity)), change(RAGGED)
    assert len(ours.items) == capacity, "the shape stays"
    torch.testing.assert_close(ours.dense(N), theirs.dense(N))
    torch.testing.assert_close(ours.size, theirs.size)
    matrix = torch.rand(N, 3)
    torch.testing.assert_close(ours.dot(matrix), theirs.dot(matrix))
    scores = torch.arange(4.0 * N).view(4, N)
    assert Counter(ours.at(scores)[ours.present].tolist()) == Counter(theirs.at(scores).tolist())
    assert not ours.at(scores)[~ours.present].any()
    assert torch.equal(ours.fill_(scores.clone(), -torch.inf), theirs.fill_(scores.clone(), -torch.inf))


def test_a_product_with_many_items_is_the_same_without_a_dense_history():
    matrix = torch.rand(16 * DENSE + 1, 3)
    x = padded(RAGGED, 16, len(matrix))
    torch.testing.assert_close(x.dot(matrix), RAGGED.dot(matrix))
    torch.testing.assert_close(x.dot(matrix), x.dense(len(matrix)) @ matrix)


def test_a_capacity_holds_the_entries_and_is_at_most_twice_as_large():
    for n in range(1, 300):
        assert n <= capacity_for(n) < 2 * n
    assert capacity_for(0) == 1


@pytest.mark.parametrize("name", ["paper", "tuned", "temporal"])
def test_loss_and_gradients_do_not_depend_on_padding(name, split, equal_draws):
    config = PRESETS[name].override(SMALL)
    trainer = Trainer(config, split, 0, CPU)
    model = trainer.model.eval()
    histories, users = Histories.from_interactions(split.train, CPU), torch.tensor([5, 0, 31, 17])
    for fold in (None, *trainer.folds[:1]):
        results = []
        for x in (histories.take(users), *(Padded.of(histories, users, n, len(split.items)) for n in (64, 32))):
            model.zero_grad()
            with model.on(fold):
                loss = LOSSES[config.loss](model, x, config, generator(2)).mean()
            loss.backward()
            results.append([loss.detach(), *(p.grad for p in trained(model).values())])
        for result in results[1:]:
            torch.testing.assert_close(result, results[0], rtol=1e-4, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("rows", [[[3, 1, 4]], [[3, 1, 4], [], list(range(20)), [29]]], ids=["one", "batch"])
def test_static_scores_are_the_scores(name, rows, split):
    config = PRESETS[name].override(SMALL)
    trainer = Trainer(config.override({"epochs": 0}), split, 0, CPU)
    model, x = trainer.ema_model.eval(), Histories.from_lists(rows, CPU)
    static = StaticScore(model)
    for settings in ({}, {"noise": 0.5, "guidance": 0.5, "beta": 0.2}):
        own = config.at_inference(settings)
        for shared in (False, True):
            found, expected = (scorer(x, own, generator(4), shared) for scorer in (static, partial(score, model)))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_training_with_static_shapes_is_the_same_where_its_draws_are(split, monkeypatch):
    # With a half-life, histories are cut and not masked: no draw depends on the number of entries.
    config = PRESETS["temporal"].override(SMALL | {"epochs": 4, "dropout": 0.0})
    losses = []
    for switch in ("0", "1"):
        monkeypatch.setenv("SDIFF_CUDA_GRAPHS", switch)
        trainer = Trainer(config, split, 0, CPU)
        assert trainer.static is (switch == "1")
        losses.append([p.loss for p in trainer.iter_epochs()])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


class Waits(Exception):
    pass


class NeverWaits(TorchDispatchMode):
    """Refuses operators for which the host waits for a GPU, or copies a number to it."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "repeat_interleave", "lift_fresh", "_unique2")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        given = args[1] if name in ("index", "index_put", "index_put_") else []
        masks = [i for i in given if i is not None and i.dtype == torch.bool]
        if name in self.NAMES or masks:
            raise Waits(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def watched(monkeypatch):
    calls = []

    def call(self, key, function, *inputs):
        calls.append(key)
        with NeverWaits():
            return function(*inputs)

    monkeypatch.setattr(Graphs, "__call__", call)
    monkeypatch.setenv("SDIFF_CUDA_GRAPHS", "1")
    return calls


@pytest.mark.parametrize("name", ["paper", "tuned", "temporal"])
def test_a_step_of_training_never_waits_for_a_gpu(name, split, watched):
    trainer = Trainer(PRESETS[name].override(SMALL), split, 0, CPU)
    trainer.fit()
    assert len(watched) >= 6, "all steps were watched"
    x = Histories.from_interactions(split.train, CPU).take(torch.arange(4))
    with pytest.raises(Waits), NeverWaits():
        trainer.step(x, None, trainer.generator)


@pytest.mark.parametrize("name", PRESETS)
def test_scores_never_wait_for_a_gpu(name, split, watched):
    trainer = Trainer(PRESETS[name].override(SMALL | {"epochs": 0}), split, 0, CPU)
    model = Recommender(trainer.checkpoint("tastes", name), CPU)
    assert len(model.recommend(["i1", "i2"], 5).ids) == 5 and len(watched) == 1


def test_calls_with_the_same_key_have_the_same_shapes(split, watched, monkeypatch):
    shapes = {}
    call = Graphs.__call__

    def noted(self, key, function, *inputs):
        assert shapes.setdefault((id(self), key), [x.shape for x in inputs]) == [x.shape for x in inputs]
        return call(self, key, function, *inputs)

    monkeypatch.setattr(Graphs, "__call__", noted)
    trainer = Trainer(PRESETS["tuned"].override(SMALL), split, 0, CPU)
    trainer.fit()
    model = Recommender(trainer.checkpoint("tastes", "tuned"), CPU)
    for history in (["i1"], ["i1", "i2", "i3"], ["i4", "i5", "i6", "i7"]):
        model.recommend(history, 5)
    assert len(shapes) > 2


@pytest.mark.parametrize(("value", "on"), [("", False), ("0", False), ("1", True)])
def test_graphs_are_off_unless_asked_for(value, on, monkeypatch):
    monkeypatch.setenv("SDIFF_CUDA_GRAPHS", value)
    assert static_shapes() is on


def test_another_value_of_the_switch_is_refused(monkeypatch):
    monkeypatch.setenv("SDIFF_CUDA_GRAPHS", "yes")
    with pytest.raises(SDiffError, match="must be 0 or 1, not"):
        static_shapes()


def test_the_scores_of_a_large_batch_are_not_padded(split, monkeypatch):
    monkeypatch.setattr("sdiff.method.static.AT_ONCE", 2 * len(split.items))
    monkeypatch.setattr(Padded, "of", None)
    spectrum = Trainer(PRESETS["instant"], split, 0, CPU).model.spectrum
    model = Model(PRESETS["paper"], spectrum, torch.ones(30))
    x = Histories.from_lists([[1], [2], [3]], CPU)
    assert StaticScore(model)(x, PRESETS["paper"], generator()).shape == (3, 30)
