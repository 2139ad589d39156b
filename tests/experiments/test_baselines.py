"""Parts of the baselines, on data with known answers."""

from collections import deque

import numpy as np
import pytest
import torch

from sdiff.evaluation.evaluate import evaluate
from sdiff.experiments.baselines.bspm import EULER, RUNGE_KUTTA, Setting, sharpened
from sdiff.experiments.baselines.diffrec import LOSSES, STEPS, DiffRec, Noise, Trained
from sdiff.experiments.baselines.gfcf import gfcf
from sdiff.experiments.baselines.giffcf import graph_root
from sdiff.experiments.baselines.lightgcn import LightGCN
from sdiff.experiments.baselines.linkprop import propagated
from sdiff.experiments.baselines.recency import RECENT
from sdiff.experiments.baselines.sasrec import chunks, pad
from sdiff.experiments.table1 import CLOSED, LEARNT
from sdiff.method.histories import Histories
from tests.conftest import CPU

X = Histories.from_lists([[1, 2, 3, 4, 5], [], [6, 7]], CPU)


def test_histories_are_left_padded_and_keep_the_newest_items():
    assert pad(X, 3, 9).tolist() == [[3, 4, 5], [9, 9, 9], [9, 6, 7]]


def test_long_histories_are_cut_into_chunks_that_end_at_the_newest():
    cut = chunks(X, 2)
    assert cut.offsets.tolist() == [0, 1, 3, 5, 7] and torch.equal(cut.items, X.items)
    assert pad(cut, 2, 9).tolist() == [[9, 1], [2, 3], [4, 5], [6, 7]]


def test_the_ridge_learns_that_the_last_item_determines_the_next(walks):
    scores = {name: make(walks) for name, make in RECENT.items()}
    first = {name: evaluate(score, walks, "test", CPU)["ndcg@10"] for name, score in scores.items()}
    assert first["next-items ridge"] > 0.9


def test_gf_cf_equals_its_formula_in_dense_matrices(split):
    X = split.train.matrix().toarray()
    du, di = (np.maximum(X.sum(axis), 1) for axis in (1, 0))
    root = X / np.sqrt(du)[:, None] / np.sqrt(di)
    _, _, V = np.linalg.svd(root, full_matrices=False)
    V = V[: np.linalg.matrix_rank(root)]  # fewer than 256 items, so the low-pass keeps all of them
    expected = X @ (root.T @ root + 0.3 * np.diag(di**-0.5) @ V.T @ V @ np.diag(di**0.5))
    found = gfcf(split)(Histories.from_interactions(split.train, CPU))
    np.testing.assert_allclose(found, expected, atol=1e-4)


LONGER = [pytest.param(name, marks=pytest.mark.slow) for name in LEARNT]


@pytest.mark.parametrize("name", [*LONGER, *(name for name in CLOSED if name != "popularity")])
def test_every_baseline_learns_tastes_that_popularity_misses(name, split):
    score = LEARNT[name](split, 0, 100)[0] if name in LEARNT else CLOSED[name](split)
    popular = evaluate(CLOSED["popularity"](split), split, "test", CPU)["recall@10"]
    assert evaluate(score, split, "test", CPU)["recall@10"] > 1.5 * popular


@pytest.mark.parametrize("name", LEARNT)
def test_a_baseline_is_reproducible_with_a_seed(name, split):
    x = Histories.from_interactions(split.train, CPU).take(torch.arange(5))
    first, second = (LEARNT[name](split, 3, 2)[0](x) for _ in range(2))  # CODIGEM also samples when scoring
    other = LEARNT[name](split, 4, 2)[0](x)
    assert first.isfinite().all() and torch.allclose(first, second) and not torch.allclose(first, other)


def test_embeddings_without_layers_are_not_smoothed(split):
    model = LightGCN(split.train, 0)
    assert torch.equal(model.smoothed(), model.embedding)


def test_layers_smooth_over_the_normalised_bipartite_graph(split):
    model = LightGCN(split.train, 2)
    X = split.train.matrix().toarray()
    whole = np.block([[np.zeros((len(X), len(X))), X], [X.T, np.zeros((X.shape[1], X.shape[1]))]])
    root = np.maximum(whole.sum(1), 1) ** -0.5
    graph, E = root[:, None] * whole * root, model.embedding.detach().numpy()
    np.testing.assert_allclose(model.smoothed().detach(), (E + graph @ E + graph @ graph @ E) / 3, atol=1e-6)


def test_diffrec_noise_increases_and_its_posterior_follows_bayes():
    noise = Noise(5)
    alpha_bar = noise.alpha_bar.double()
    assert (alpha_bar.diff() < 0).all() and (noise.weight > 0).all()
    before, beta = alpha_bar[1], 1 - alpha_bar[2] / alpha_bar[1]  # of the third step
    precision = (1 - beta) / beta + 1 / (1 - before)
    of_xt, of_x0 = (1 - beta).sqrt() / beta / precision, before.sqrt() / (1 - before) / precision
    assert noise.of_xt[2] == pytest.approx(of_xt.item(), rel=2e-2)  # differences of single precision
    assert noise.of_x0[2] == pytest.approx(of_x0.item(), rel=2e-2)


def test_diffrec_with_one_step_is_its_network():
    model = DiffRec(6, (4,), 1).eval()
    x = torch.rand(3, 6)
    with torch.inference_mode():
        torch.testing.assert_close(model.sample(x), model(x, torch.zeros(3)), atol=1e-3, rtol=1e-3)


def test_diffrec_keeps_the_last_losses_of_each_step(split):
    model, kept = Trained(split), [deque(maxlen=LOSSES) for _ in range(STEPS)]
    draws = torch.Generator().manual_seed(0)
    for size in (3, 400, 400, 20):
        t, values = torch.randint(STEPS // 4, (size,), generator=draws), torch.rand(size, generator=draws)
        model._record(t, values)
        for step, value in zip(t.tolist(), values.tolist(), strict=True):
            kept[step].append(value)
        assert [sorted(row[:LOSSES].tolist()) for row in model.losses[: STEPS // 4]] == [
            sorted([*losses, *[0.0] * (LOSSES - len(losses))]) for losses in kept[: STEPS // 4]
        ]


def test_the_largest_eigenvalue_of_the_giffcf_graph_is_one(split):
    root = graph_root(split).toarray()
    assert np.linalg.eigvalsh(root.T @ root)[-1] == pytest.approx(1)


def test_linkprop_equals_its_formula_in_dense_matrices(split):
    X = split.train.matrix().toarray()
    du, di = (np.maximum(X.sum(axis), 1) for axis in (1, 0))
    expected = X * di**-0.25 @ X.T * du**-0.5 @ X * di**-0.75
    found = propagated(split, 0.25, 0.5, 0.75)(Histories.from_interactions(split.train, CPU))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_sharpening_follows_the_heat_equation_backwards_in_its_own_steps(split):
    X = split.train.matrix().toarray()
    du, di = (np.maximum(X.sum(axis), 1) for axis in (1, 0))
    root = X / np.sqrt(du)[:, None] / np.sqrt(di)
    lam, U = np.linalg.eigh(root.T @ root)
    blurred = X @ U * lam @ U.T
    x = Histories.from_interactions(split.train, CPU)
    exact = blurred @ U * np.exp(-0.5 * lam) @ U.T
    np.testing.assert_allclose(sharpened(split, Setting(0.5, 1, RUNGE_KUTTA, 0, 0, False))(x), exact, atol=1e-3)
    euler = blurred @ U * (1 - 0.5 * lam) @ U.T
    mean = sharpened(split, Setting(0.5, 1, EULER, 0, 0, True))(x)
    np.testing.assert_allclose(mean, (blurred + euler) / 2, atol=1e-5)
