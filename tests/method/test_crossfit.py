"""Cross-fitting: a fold is computed without its users, in the coordinates of all users."""

import numpy as np
import pytest
import torch

from sdiff.config import Config
from sdiff.data.interactions import Split
from sdiff.method.crossfit import cross_fit, procrustes
from sdiff.method.diffusion import neighbourhood_scores
from sdiff.method.histories import Histories
from sdiff.method.model import Model
from sdiff.method.spectrum import spectral_basis
from sdiff.training.run_state import resume, save_state
from sdiff.training.trainer import Trainer
from tests.conftest import CPU, SMALL

FOLDED = {
    "paper": SMALL.override({"folds": 4, "epochs": 2}),
    "softmax": SMALL.override({"folds": 3, "epochs": 2, "loss": "softmax", "graph_entries": 200, "normalise": True}),
    "learnt": SMALL.override({"folds": 3, "epochs": 2, "loss": "softmax", "basis": "directional", "sampled": 0.5}),
}


def test_the_folds_partition_the_users(tastes, basis):
    folds = cross_fit(tastes, basis, 7, 0)
    users = torch.cat([fold.users for fold in folds])
    assert len(folds) == 7 and users.sort().values.tolist() == list(range(60))
    assert len(cross_fit(tastes, basis, 1000, 0)) == 60, "at most one fold for each user"


@pytest.mark.parametrize("exact", [True, False])
def test_a_fold_does_not_depend_on_the_histories_of_its_users(tastes, basis, exact):
    before = cross_fit(tastes, basis, 4, 200, exact=exact)[1]
    rng = np.random.default_rng(1)
    others = ~np.isin(tastes.rows, before.users.numpy())
    kept = others | (tastes.positions == 0) | (rng.random(len(tastes)) < 0.5)  # the users keep at least one item
    after = cross_fit(tastes.where(kept), basis, 4, 200, exact=exact)[1]
    assert kept.sum() < len(tastes) and torch.equal(before.users, after.users)
    torch.testing.assert_close(before.U, after.U)
    assert before.graph and after.graph
    torch.testing.assert_close(before.graph.weights, after.graph.weights)


def test_the_carried_basis_of_a_fold_is_closer_to_its_own_than_that_of_all_users(tastes):
    basis = spectral_basis(tastes, 20)
    for own, near in zip(cross_fit(tastes, basis, 3, 0), cross_fit(tastes, basis, 3, 0, exact=False), strict=True):
        assert (own.U.T @ near.U).norm() > (own.U.T @ basis.U).norm()


def test_training_takes_the_power_of_the_setting_for_the_basis_and_the_folds(split):
    trainer = Trainer(SMALL.override({"folds": 3, "user_power": 0.25}), split, 0, CPU)
    assert torch.equal(trainer.model.spectrum.U, spectral_basis(split.train, SMALL.K, p=1 / 4).U)
    fold = trainer.folds[0]
    others = split.train.where(~np.isin(split.train.rows, fold.users.numpy()))
    torch.testing.assert_close(fold.U, procrustes(spectral_basis(others, SMALL.K, p=1 / 4).U, trainer.model.spectrum.U))


def test_alignment_undoes_a_rotation_and_keeps_the_subspace(basis):
    R, _ = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(procrustes(basis.U @ R, basis.U), basis.U, atol=1e-5, rtol=0)
    U, _ = torch.linalg.qr(torch.randn(30, 12, generator=torch.Generator().manual_seed(1)))
    turned = procrustes(U, basis.U)
    torch.testing.assert_close(turned @ turned.T, U @ U.T, atol=1e-5, rtol=0)
    assert (turned - basis.U).norm() < (U - basis.U).norm()
    assert procrustes(U[:, :5], basis.U).shape == basis.U.shape, "also if a fold has fewer frequencies"


@pytest.mark.parametrize("name", FOLDED)
def test_a_model_uses_the_basis_and_graph_of_a_fold_only_within_the_block(name, tastes, basis):
    config: Config = FOLDED[name]
    model = Model(config, basis, torch.from_numpy(tastes.item_counts))
    if model.graph:
        model.graph.build(tastes)
    fold = cross_fit(tastes, basis, config.folds, config.graph_entries)[0]
    x = Histories.from_interactions(tastes, CPU)
    scale = 30**0.5 if config.loss == "softmax" else 1.0
    before, v = model.basis.gft(x), torch.randn(60, 12, generator=torch.Generator().manual_seed(0))
    scores = model.scores(v, neighbourhood_scores(model, x, config))
    with model.on(fold):
        torch.testing.assert_close(model.basis.gft(x), scale * x.dot(fold.U), atol=1e-5, rtol=1e-5)
        assert not torch.allclose(model.scores(v, neighbourhood_scores(model, x, config)), scores)
    assert torch.equal(model.basis.gft(x), before) and torch.equal(
        model.scores(v, neighbourhood_scores(model, x, config)), scores
    )


@pytest.mark.parametrize("name", FOLDED)
def test_a_resumed_run_with_folds_equals_an_uninterrupted_one(name, split, tmp_path):
    whole = Trainer(FOLDED[name], split, 0, CPU).fit()
    first = Trainer(FOLDED[name].override({"epochs": 1}), split, 0, CPU).fit()
    save_state(first, tmp_path / "state")
    second = Trainer(FOLDED[name], split, 0, CPU)
    resume(second, tmp_path / "state")
    second.fit()
    for (key, ours), theirs in zip(whole.model.state_dict().items(), second.model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), key


def test_every_user_is_in_one_batch_of_its_fold_per_epoch(split):
    trainer = Trainer(FOLDED["paper"], split, 0, CPU)
    batches = trainer.batches(torch.arange(60))
    assert torch.cat([users for _, users in batches]).sort().values.tolist() == list(range(60))
    assert all(fold and set(users.tolist()) <= set(fold.users.tolist()) for fold, users in batches)
    assert max(len(users) for _, users in batches) <= FOLDED["paper"].batch_size


def test_one_user_is_trained_on_the_basis_of_all_users(tastes, basis, split):
    assert cross_fit(tastes.where(tastes.rows == 3), basis, 5, 0) == []
    alone = Split(*(part.where(part.rows == 3) for part in (split.train, split.valid, split.test)))
    trainer = Trainer(SMALL.override({"folds": 5, "epochs": 1}), alone, 0, CPU).fit()
    assert trainer.epoch == 1 and [fold for fold, _ in trainer.batches(torch.tensor([3]))] == [None]
