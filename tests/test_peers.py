"""The rivals' own small pieces, on worlds with known answers."""

import numpy as np
import torch

from benchmarks.peers.gfcf import gfcf
from benchmarks.peers.recency import RECENT
from benchmarks.peers.sasrec import chunks, pad
from sdiff.evaluation import evaluate
from sdiff.histories import Histories
from tests.conftest import CPU

X = Histories.from_lists([[1, 2, 3, 4, 5], [], [6, 7]], CPU)


def test_histories_are_padded_on_the_left_and_keep_the_newest():
    assert pad(X, 3, 9).tolist() == [[3, 4, 5], [9, 9, 9], [9, 6, 7]]


def test_long_histories_are_cut_into_chunks_that_end_at_the_newest():
    cut = chunks(X, 2)
    assert cut.offsets.tolist() == [0, 1, 3, 5, 7] and torch.equal(cut.items, X.items)
    assert pad(cut, 2, 9).tolist() == [[9, 1], [2, 3], [4, 5], [6, 7]]


def test_where_only_the_last_step_tells_the_next_one_the_ridge_finds_it(walks):
    scores = {name: make(walks) for name, make in RECENT.items()}
    first = {name: evaluate(score, walks, "test", CPU)["ndcg@10"] for name, score in scores.items()}
    assert first["next-items ridge"] > 0.9


def test_gf_cf_is_its_formula_in_dense_matrices(split):
    X = split.train.matrix().toarray()
    du, di = (np.maximum(X.sum(axis), 1) for axis in (1, 0))
    root = X / np.sqrt(du)[:, None] / np.sqrt(di)
    _, _, V = np.linalg.svd(root, full_matrices=False)
    V = V[: np.linalg.matrix_rank(root)]  # fewer than 256: the low-pass lets all of them through
    expected = X @ (root.T @ root + 0.3 * np.diag(di**-0.5) @ V.T @ V @ np.diag(di**0.5))
    found = gfcf(split)(Histories.from_interactions(split.train, CPU))
    np.testing.assert_allclose(found, expected, atol=1e-4)
