"""Property-based tests of basis, schedule, sampler, recommender, metrics, splits and reading."""

from __future__ import annotations

import csv
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sdiff import Recommender
from sdiff.config import PRESETS
from sdiff.data.ids import MISSING
from sdiff.data.interactions import Interactions, Split
from sdiff.data.readers import read_interactions
from sdiff.data.splits import chronological_split, random_split
from sdiff.evaluation.metrics import ndcg, recall, recall_all
from sdiff.method.diffusion import q_sample, sample
from sdiff.method.histories import Histories
from sdiff.method.schedule import NoiseSchedule
from sdiff.method.spectrum import normalised_adjacency_root, spectral_basis
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.trainer import Trainer
from tests.conftest import CPU, vocabulary

law = settings()
slow_law = settings(max_examples=law.max_examples // 3)
close = dict(atol=2e-4, rtol=1e-4)
PLAIN = {"noise": False, "guidance": 0.5}
shares = st.floats(0, 1, width=32)


@st.composite
def worlds(draw: st.DrawFn, most: int = 24) -> Interactions:
    """Random users, items and pairs, including users and items without pairs."""
    n_users, n_items = draw(st.integers(1, most)), draw(st.integers(2, most))
    cells = st.integers(0, n_users * n_items - 1)
    cell = np.array(draw(st.lists(cells, min_size=1, max_size=4 * most, unique=True)))
    users, items = vocabulary("u", n_users), vocabulary("i", n_items)
    return Interactions.from_pairs(users, items, cell // n_items, cell % n_items, ordered=True)


def dense(interactions: Interactions) -> np.ndarray:
    return interactions.matrix().toarray()


@law
@given(worlds(), st.integers(1, 30))
def test_the_basis_has_the_lowest_frequencies_of_the_laplacian(world, K):
    root = normalised_adjacency_root(world.matrix()).toarray()
    L = np.eye(len(world.items)) - root.T @ root
    every, rank = np.linalg.eigvalsh(L), np.linalg.matrix_rank(root)
    basis = spectral_basis(world, K)
    U, lam = basis.U.double().numpy(), basis.lam.double().numpy()
    assert U.shape == (len(world.items), min(K, rank)), "there is no signal beyond the rank"
    np.testing.assert_allclose(U.T @ U, np.eye(basis.K), **close)
    np.testing.assert_allclose(L @ U, U * lam, **close)
    np.testing.assert_allclose(lam, every[: basis.K], **close)
    assert (np.diff(lam) >= -1e-6).all() and lam.min() >= 0 and lam.max() <= 1
    assert (np.abs(U[world.item_counts == 0]) < 1e-6).all(), "an item of degree zero is zero in every frequency"
    assert (U.max(0) >= np.abs(U).max(0) - 1e-6).all(), "signs are fixed"
    assert torch.equal(spectral_basis(world, K).U, basis.U), "equal data gives equal vectors"


@law
@given(worlds(), st.integers(1, 30))
def test_the_transform_and_its_inverse_are_a_projector_and_the_identity_at_full_rank(world, K):
    x = Histories.from_interactions(world, CPU)
    basis = spectral_basis(world, K)
    torch.testing.assert_close(basis.gft(x), torch.from_numpy(dense(world)).float() @ basis.U, **close)
    once = basis.igft(basis.gft(x))
    torch.testing.assert_close(once @ basis.U @ basis.U.T, once, **close)
    if (world.item_counts > 0).sum() == basis.K:
        torch.testing.assert_close(once, torch.from_numpy(dense(world)).float(), **close)


@slow_law
@given(worlds(most=12), st.randoms(use_true_random=False))
def test_relabelling_items_permutes_the_scores(world, random):
    order = np.array(random.sample(range(len(world.items)), len(world.items)))  # item i is relabelled order[i]
    items = world.items.subset(np.argsort(order))
    moved = Interactions.from_pairs(world.users, items, world.rows, order[world.indices], ordered=True)
    here, there = (scores_of(w, "instant")[1] for w in (world, moved))
    torch.testing.assert_close(here, there[:, order], **close)


def scores_of(train: Interactions, name: str) -> tuple[Recommender, torch.Tensor]:
    """A model with all frequencies after one epoch, and its scores for all users."""
    nothing = train.empty
    config = replace(PRESETS[name], K=40, hidden=8, epochs=1, batch_size=7)
    trainer = Trainer(config, Split(train, nothing, nothing), 0, CPU)
    trainer.fit()
    model = Recommender(trainer.checkpoint("world", name), CPU)
    config = model.config.at_inference(PLAIN)
    return model, model.scores(Histories.from_interactions(train, CPU), config, torch.Generator())


@slow_law
@given(worlds(most=12), st.sampled_from(list(PRESETS)), st.data())
def test_a_list_has_unseen_items_best_first_and_does_not_depend_on_the_batch(world, name, data):
    model, batch = scores_of(world, name)
    ids = model.items.ids
    for history in ([ids[i] for i in world.history(0)], data.draw(st.lists(st.sampled_from(ids))), [], list(ids)):
        k = data.draw(st.integers(1, 30))
        found = model.recommend(history, k, noise=False)
        assert len(found.ids) == len(set(found.ids)) == min(k, len(ids) - len(set(history)))
        assert not set(found.ids) & set(history) and [ids[i] for i in found.indices] == found.ids
        assert np.isfinite(found.scores).all() and found.scores == sorted(found.scores, reverse=True)
        assert set(model.recommend(history, 30, exclude_seen=False).ids) == set(ids)
        assert model.recommend(list(dict.fromkeys(history)), k, noise=False) == found, "a repeated item counts once"
    for user, scores in enumerate(batch):
        alone = model.scores(
            Histories.from_lists([world.history(user)], CPU),
            model.config.at_inference(PLAIN),
            torch.Generator(),
        )
        torch.testing.assert_close(alone[0], scores, **close)
    with tempfile.TemporaryDirectory() as folder:
        model.checkpoint.save(folder)
        assert Recommender(Checkpoint.load(folder), CPU).recommend([ids[0]]) == model.recommend([ids[0]])


@st.composite
def schedules(draw: st.DrawFn) -> NoiseSchedule:
    kind = draw(st.sampled_from(["vp", "ve", "ddpm"]))
    return NoiseSchedule(kind, draw(shares), draw(shares), draw(st.integers(1, 1000)) / 100)


@law
@given(schedules(), st.lists(shares, min_size=1, max_size=9))
def test_a_schedule_starts_at_the_identity_and_is_monotonic_up_to_its_bounds(schedule, frequencies):
    lam = torch.tensor(sorted(frequencies))
    t = torch.linspace(0, schedule.tau, 20)
    alpha, sigma = schedule.alpha(t, lam), schedule.sigma(t, lam)  # (20, K)
    v_0 = torch.linspace(-2, 2, len(lam))
    torch.testing.assert_close(q_sample(schedule, v_0, t[:1], lam, torch.ones(1, len(lam)))[0], v_0)
    assert (alpha.diff(dim=0) <= 1e-6).all() and (sigma.diff(dim=0) >= -1e-6).all()
    assert (alpha >= 0).all() and (sigma <= (1 if schedule.kind == "ddpm" else schedule.sigma_max) + 1e-6).all()
    if schedule.kind == "vp":
        assert (alpha >= schedule.alpha_min - 1e-6).all()
        assert (alpha.diff(dim=1) <= 1e-6).all() and (sigma.diff(dim=1) >= -1e-6).all()
        assert (alpha[:, lam == 0] == 1).all() and (sigma[:, lam == 0] == 0).all(), "the lowest frequency is unchanged"


@law
@given(schedules(), st.integers(1, 9), st.integers(1, 4), st.floats(-1, 5), st.integers(0, 99))
def test_with_an_oracle_denoiser_sampling_ends_at_v_0_in_any_number_of_steps(schedule, T, B, guidance, seed):
    generator = torch.Generator().manual_seed(seed)
    v_0, c = torch.randn(B, 6, generator=generator), torch.randn(B, 1, 6, generator=generator)
    eps = torch.randn(T, B, 6, generator=generator)
    oracle = lambda v_t, c, t: v_0.repeat(len(v_t) // B, 1)  # noqa: E731
    found = sample(oracle, schedule, torch.linspace(0, 1, 6), c, T, guidance, eps)
    torch.testing.assert_close(found, v_0)


@law
@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 30), st.integers(1, 30))
def test_metrics_are_fractions_of_the_best_possible_value(row, missed, k):
    hits, relevant = torch.tensor([row]), torch.tensor([sum(row) + missed])
    assume(relevant.item() > 0)
    values = [metric(hits, relevant, k).item() for metric in (recall, recall_all, ndcg)]
    assert all(0 <= value <= 1 + 1e-6 for value in values) and values[0] >= values[1]
    assert (values[0] == values[1]) or relevant.item() > k
    assert any(values) == any(row[:k])
    best = torch.arange(30)[None] < relevant
    np.testing.assert_allclose([metric(best, relevant, k).item() for metric in (recall, ndcg)], 1, rtol=1e-5)
    earlier = torch.tensor([sorted(row, reverse=True)])
    assert ndcg(earlier, relevant, k) >= ndcg(hits, relevant, k) - 1e-6


@law
@given(worlds(), st.integers(0, 9))
def test_a_split_is_disjoint_complete_and_keeps_the_order(world, seed):
    for split in (chronological_split(world), random_split(world, seed)):
        parts = (split.train, split.valid, split.test)
        np.testing.assert_array_equal(sum(map(dense, parts)), dense(world))
        n = world.lengths
        train = np.where(n, np.maximum(n * 7 // 10, 1), 0)
        np.testing.assert_array_equal(split.train.lengths, train)
        np.testing.assert_array_equal(split.valid.lengths, np.maximum(n * 8 // 10 - train, 0))
        for user in range(len(world.users)):
            place = {item: i for i, item in enumerate(world.history(user))}
            places = [[place[item] for item in part.history(user)] for part in parts]
            assert places == [sorted(p) for p in places]
            merged = split.merged().train.history(user).tolist()
            assert merged == [*split.train.history(user), *split.valid.history(user)]
    chronological = chronological_split(world)
    for user in range(len(world.users)):
        parts = (part.history(user) for part in (chronological.train, chronological.valid, chronological.test))
        assert np.concatenate([*parts]).tolist() == world.history(user).tolist()


ids = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=8).filter(
    # Names of columns and words for missing values are refused as ids, and so are lists and objects.
    lambda text: text == text.strip() and text.lower() not in {"user", "item", *MISSING} and text[0] not in "[{"
)


@slow_law
@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=30, unique=True))
def test_interactions_survive_csv(pairs):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("user", "item"), *pairs])
        found, report = read_interactions(path)
    assert report.rows == len(pairs) and report.faults.count == 0
    assert set(found.users.ids) == {user for user, _ in pairs} and set(found.items.ids) == {item for _, item in pairs}
    for u, user in enumerate(found.users.ids):
        read = [found.items.ids[i] for i in found.history(u)]
        assert sorted(read) == sorted(item for owner, item in pairs if owner == user)
