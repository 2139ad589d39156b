"""Items that nobody has had are placed by their titles and genres."""

import numpy as np
import torch

from sdiff.data.items import Items
from sdiff.experiments.cold_items import features, ridge


def items(*titles: str, genres: str = "", year: int = 0) -> Items:
    return Items([*titles], [year] * len(titles), [genres] * len(titles))


def test_features_are_words_genres_and_decades_of_several_items_weighted_by_rarity():
    some = Items(["The Wolf", "the WOLF!", "The Sea", "Alone"], [1990, 1999, 2001, 0], ["War|Drama", "Drama", "", ""])
    F = features(some)
    assert F.shape == (4, 4), "the, wolf, Drama and 1990-1999; others occur once"
    np.testing.assert_allclose(F[[0]].toarray(), F[[1]].toarray())
    lengths = np.sqrt((F**2).sum(1))
    np.testing.assert_allclose(lengths, [1, 1, 1, 0])
    assert F[[0]].toarray().min() < F[[0]].toarray().max(), "the word of three items counts less than those of two"


def test_without_any_feature_nothing_is_predicted():
    F = features(items("a", "b"))
    assert F.shape == (2, 0)
    U = torch.eye(2)
    assert torch.equal(ridge(F, np.array([True, False]), U, 1.0), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


def test_known_rows_are_kept_and_a_new_item_gets_the_row_of_its_like():
    F = features(Items([*("red car", "red car", "blue sea", "blue sea", "red car")], [0] * 5, [""] * 5))
    U = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [9.0, 9.0]])
    found = ridge(F, np.array([True] * 4 + [False]), U, 1e-9)
    assert torch.equal(found[:4], U[:4])
    torch.testing.assert_close(found[4], torch.tensor([1.0, 0.0]), atol=1e-5, rtol=0)
    weaker = ridge(F, np.array([True] * 4 + [False]), U, 10.0)
    assert 0 < weaker[4, 0] < 0.5, "a stronger regression predicts less"
