"""The rivals' own small pieces, on worlds with known answers."""

import torch

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
