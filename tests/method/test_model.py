import pytest
import torch

from sdiff.base.errors import SDiffError
from sdiff.config import PRESETS, Config
from sdiff.data.interactions import Interactions, Split
from sdiff.method.diffusion import condition
from sdiff.method.histories import Histories
from sdiff.method.losses import ranking_loss
from sdiff.method.model import Model
from sdiff.serving.recommender import Recommender
from sdiff.training.run_state import resume, save_state
from sdiff.training.trainer import Trainer
from tests.conftest import CPU

LEARNT = Config(K=12, loss="softmax", basis="tied", normalise=True, sampled=1.0, residual=True, hidden=16)


def learnt(spectrum, tastes, **settings) -> Model:
    return Model(LEARNT.override(settings), spectrum, torch.from_numpy(tastes.item_counts))


def test_a_learnt_basis_is_initialised_with_the_eigenvectors(basis, tastes):
    x = Histories.from_interactions(tastes, CPU)
    start = learnt(basis, tastes).basis
    torch.testing.assert_close(start.gft(x), len(basis.U) ** 0.5 * basis.gft(x))
    popularity = torch.log(torch.from_numpy(tastes.item_counts) + 1.0)
    logits = start.log_scale.exp() * len(basis.U) * basis.igft(basis.gft(x)) + popularity
    torch.testing.assert_close(start.igft(start.gft(x)), logits)


def test_the_scores_of_selected_items_equal_those_among_all(basis, tastes):
    v = torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
    for inverse in (basis, learnt(basis, tastes).basis, learnt(basis, tastes, basis="directional").basis):
        for items in (slice(7, 8), slice(10, 20)):
            torch.testing.assert_close(inverse.igft(v, items), inverse.igft(v)[:, items])


@pytest.mark.parametrize(("kind", "matrices"), [("fixed", 0), ("tied", 1), ("directional", 2)])
def test_the_basis_setting_determines_which_bases_are_trained(basis, tastes, kind, matrices):
    parameters = learnt(basis, tastes, basis=kind).basis.parameters()
    assert sum(p.requires_grad and p.shape == basis.U.shape for p in parameters) == matrices


def test_every_weight_gets_a_gradient_and_seen_items_are_no_targets(basis, tastes):
    x = Histories.from_interactions(tastes, CPU)
    for settings in (
        {"memories": 2, "half_life": 2.0, "basis": "directional"},
        {"fusion": "concat", "graph_entries": 150},
    ):
        model = learnt(basis, tastes, **settings)
        if model.graph is not None:
            model.graph.build(tastes)
        with torch.no_grad():  # a residual network starts at zero, where its gradient vanishes
            model.denoiser.mlp[-1].weight.normal_(generator=torch.Generator().manual_seed(0))
        loss = ranking_loss(model, x, LEARNT.override(settings), torch.Generator().manual_seed(0)).mean()
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters() if p.requires_grad)


def test_the_generalised_cross_entropy_converges_to_the_cross_entropy(basis, tastes):
    x, model = Histories.from_interactions(tastes, CPU), learnt(basis, tastes)

    def loss(q):
        return ranking_loss(model, x, LEARNT.override({"q": q}), torch.Generator().manual_seed(0)).mean().item()

    assert loss(1e-4) == pytest.approx(loss(0), rel=1e-3)
    with torch.no_grad():  # all hidden items are equally likely
        model.basis.log_scale.fill_(-torch.inf)  # pyright: ignore
        model.basis.bias.zero_()  # pyright: ignore
    shown, hidden = x.mask(LEARNT.mask, torch.Generator().manual_seed(0))
    n_p = hidden.offsets.diff() / (30 - shown.offsets.diff())
    expected = ((1 - n_p[hidden.rows] ** 0.5) / 0.5).mean().item()
    assert loss(0.5) == pytest.approx(expected, rel=1e-4)


def test_a_residual_denoiser_is_initialised_as_the_mean_of_v_t_and_the_condition(basis, tastes):
    model = learnt(basis, tastes)
    v_t, c = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.denoiser(v_t, c[:, None], torch.rand(5)), (v_t + c) / 2)


def test_memories_are_the_same_history_with_increasing_half_lives(basis):
    x = Histories.from_lists([[0, 1, 2, 3]], CPU)
    config = Config(K=12, half_life=1.0, memories=3)
    c = condition(basis, x, config)
    assert c.shape == (1, 3, 12)
    for memory, half_life in enumerate((1.0, 4.0, 16.0)):
        torch.testing.assert_close(c[:, memory], basis.gft(x.recent(half_life)))
    flat = condition(basis, x, config.at_inference({"half_life": 0}))
    torch.testing.assert_close(flat, basis.gft(x)[:, None].expand(1, 3, 12))


@pytest.mark.parametrize("setting", [{"basis": "tied"}, {"graph_entries": 100}])
def test_settings_that_need_the_softmax_loss_are_refused_without_it(setting):
    with pytest.raises(SDiffError, match="needs loss=softmax"):
        Config(**setting)


QUICK = {"K": 12, "hidden": 32, "epochs": 200, "eval_every": 20, "batch_size": 100, "lr": 1e-2, "ema": 0.9}


def top_hit(config: Config, split: Split) -> float:
    """Share of the walks whose next item ranks first among the unseen ones."""
    trainer = Trainer(config.override(QUICK), split, 0, CPU)
    trainer.fit()
    model = Recommender(trainer.checkpoint("walks", ""), CPU)
    found = [model.recommend([f"i{i}" for i in split.train.history(u)], 1).ids[0] for u in range(100)]
    return sum(found[u] == f"i{split.valid.history(u)[0]}" for u in range(100)) / 100


@pytest.mark.slow
def test_the_temporal_preset_learns_what_comes_next_and_the_tuned_one_cannot(walks):
    assert top_hit(PRESETS["temporal"], walks) > 0.9
    assert top_hit(PRESETS["tuned"], walks) < 0.7


def test_the_temporal_preset_refuses_data_without_an_order(walks):
    unordered = Split(*(Interactions.from_pairs(p.users, p.items, p.rows, p.indices) for p in
                        (walks.train, walks.valid, walks.test)))  # fmt: skip
    with pytest.raises(SDiffError, match=r"neither timestamps nor an order.*tuned"):
        Trainer(PRESETS["temporal"], unordered, 0, CPU)
    Trainer(PRESETS["tuned"], unordered, 0, CPU)


@pytest.mark.slow
def test_a_model_with_a_learnt_basis_is_saved_loaded_and_resumed(walks, tmp_path):
    config = PRESETS["temporal"].override(QUICK | {"epochs": 40})
    whole = Trainer(config, walks, 0, CPU)
    whole.fit()
    first = Trainer(config, walks, 0, CPU)
    for progress in first.iter_epochs():
        if progress.epoch == 20:
            break
    save_state(first, tmp_path / "state.safetensors")
    second = Trainer(config, walks, 0, CPU)
    resume(second, tmp_path / "state.safetensors")
    second.fit()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
    whole.checkpoint("walks", "temporal").save(tmp_path / "kept")
    loaded = Recommender.load(tmp_path / "kept", CPU)
    history = [f"i{i}" for i in walks.train.history(0)]
    assert loaded.recommend(history, 5) == Recommender(second.checkpoint("walks", "temporal"), CPU).recommend(
        history, 5
    )


@pytest.mark.parametrize("normalise", [True, False])
def test_an_estimate_combines_shown_items_with_expected_hidden_items(basis, tastes, normalise):
    """v_0 in the item domain: a history whose mass is 1 - m on what is shown, and m on the rest by its probability."""
    config = LEARNT.override({"mask": 0.3, "normalise": normalise})
    model = Model(config, basis, torch.from_numpy(tastes.item_counts))
    x = Histories.from_interactions(tastes, CPU)
    c = condition(model.basis, x, config).mean(1)
    v0_hat = torch.randn(60, 12, generator=torch.Generator().manual_seed(0))
    p = model.scores(v0_hat, None).masked_fill(x.dense(30) > 0, -torch.inf).softmax(1)
    size = torch.ones(60, 1) if normalise else x.size[:, None]
    expected = size * (0.7 * x.normalised().dense(30) + 0.3 * p)
    torch.testing.assert_close(model.v_0(v0_hat, c, x, None), expected @ model.basis.U_in)


def test_with_the_squared_error_the_output_is_the_estimate(basis, tastes):
    model = Model(Config(K=12), basis, torch.from_numpy(tastes.item_counts))
    v0_hat = torch.randn(60, 12)
    assert model.v_0(v0_hat, v0_hat, Histories.from_interactions(tastes, CPU), None) is v0_hat


def test_a_history_of_every_item_has_an_estimate(basis, tastes):
    model = learnt(basis, tastes)
    x = Histories.from_lists([list(range(30)), [3, 4]], CPU)
    c = condition(model.basis, x, LEARNT).mean(1)
    assert model.v_0(c, c, x, None).isfinite().all()
