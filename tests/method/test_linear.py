import pytest
import torch

from sdiff.config import PRESETS
from sdiff.evaluation.baselines import linear_filter, popularity
from sdiff.evaluation.evaluate import evaluate
from sdiff.experiments.baselines.gfcf import gfcf
from sdiff.method.histories import Histories
from sdiff.method.linear import solve
from sdiff.serving.recommender import Recommender
from sdiff.training.trainer import Trainer
from tests.conftest import CPU


def expected_error(W, basis, x, mask, draws=400):
    v_0, generator = basis.gft(x), torch.Generator().manual_seed(0)
    errors = [(basis.gft(x.mask(mask, generator)[0]) @ W.T - v_0).square().sum() for _ in range(draws)]
    return torch.stack(errors).mean().item()


def test_no_other_matrix_denoises_masked_histories_better(basis, tastes):
    x = Histories.from_interactions(tastes, CPU)
    W = solve(basis, x, 0.5)
    best = expected_error(W, basis, x, 0.5)
    for seed in range(5):
        step = torch.randn(W.shape, generator=torch.Generator().manual_seed(seed))
        assert expected_error(W + 0.02 * step, basis, x, 0.5) > best
    assert expected_error(torch.eye(len(W)), basis, x, 0.5) > 1.5 * best


def test_without_a_mask_there_is_nothing_to_denoise(basis, tastes):
    x = Histories.from_interactions(tastes, CPU)
    v_0 = basis.gft(x)
    torch.testing.assert_close(v_0 @ solve(basis, x, 0.0).T, v_0, atol=1e-3, rtol=1e-3)


def test_the_instant_preset_is_one_step_without_noise_and_beats_popularity(split):
    trainer = Trainer(PRESETS["instant"].override({"K": 12, "epochs": 200}), split, 0, CPU)
    progress = list(trainer.iter_epochs())
    assert len(progress) == 1 and progress[0].best_epoch == 1, "for any number of epochs"
    model = Recommender(trainer.checkpoint("tastes", "instant"), CPU)
    score = lambda x: model.scores(x, model.config, torch.Generator())  # noqa: E731
    ours, theirs = evaluate(score, split, "test", CPU), evaluate(popularity(split), split, "test", CPU)
    assert ours["recall@10"] > 0.95 > theirs["recall@10"] + 0.3


def test_the_instant_preset_is_saved_and_loaded_like_any_other(split, tmp_path):
    trainer = Trainer(PRESETS["instant"].override({"K": 12}), split, 0, CPU)
    trainer.fit()
    trainer.checkpoint("tastes", "instant").save(tmp_path)
    assert Recommender.load(tmp_path, CPU).recommend(["i1", "i2"], 3).ids[0] in {f"i{j}" for j in range(10)}


REAL = [pytest.param(dataset, marks=pytest.mark.slow) for dataset in ("ml-latest-small", "ml-1m-diffrec")]


@pytest.mark.parametrize("dataset", ["demo", *REAL])
def test_the_instant_preset_beats_the_linear_filter_on_validation(dataset):
    from sdiff.data.datasets import load_dataset
    from tests.conftest import real_data

    if dataset != "demo":
        real_data({"ml-1m-diffrec": "ml-1m_clean"}.get(dataset, dataset))
    split = load_dataset(dataset).split
    trainer = Trainer(PRESETS["instant"], split, 0, CPU)
    trainer.fit()
    assert trainer.best.valid["recall@20"] > evaluate(linear_filter(split), split, "valid", CPU)["recall@20"]


@pytest.mark.parametrize(("name", "published"), [("filter", linear_filter), ("gfcf", gfcf)])
def test_the_filter_presets_rank_like_the_published_filters(name, published, split, monkeypatch):
    monkeypatch.setattr("sdiff.experiments.baselines.gfcf.K", 12)
    trainer = Trainer(PRESETS[name].override({"K": 12}), split, 0, CPU).fit()
    model = Recommender(trainer.checkpoint("tastes", name), CPU)
    x = Histories.from_interactions(split.train, CPU)
    ours, theirs = model.scores(x, model.config, torch.Generator()), published(split)(x.normalised())
    ours[x.rows, x.items] = theirs[x.rows, x.items] = 0.0  # our graph has no diagonal, and seen items are not ranked
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_the_popularity_discount_divides_scores_by_a_power_of_the_counts(split):
    trainer = Trainer(PRESETS["filter"].override({"K": 12}), split, 0, CPU).fit()
    model = Recommender(trainer.checkpoint("tastes", "filter"), CPU)
    x = Histories.from_interactions(split.train, CPU)
    plain, less = (model.scores(x, model.config.override({"beta": b}), torch.Generator()) for b in (0.0, 0.4))
    divided = plain / (torch.from_numpy(split.train.item_counts).float() + 1) ** 0.4
    torch.testing.assert_close(less, divided)
