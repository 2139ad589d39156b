"""Items that are similar to an item, because the same users chose them."""

from __future__ import annotations

import numpy as np

from sdiff.data.interactions import Interactions


def co_occurring(train: Interactions, item: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The n items whose users are most like those of an item.

    The similarity of two items is the cosine of their columns: the number of users who have both, divided by the
    geometric mean of their numbers of users. Items without common users are left out.

    Args:
        item: index of the item.

    Returns:
        Indices (m,), similarities (m,) in [0, 1], and numbers of common users (m,), most similar first; m <= n.
    """
    counts, common = train.item_counts, train.co_occurrence(item)
    similarity = common / np.sqrt(np.maximum(counts, 1) * max(counts[item], 1))
    similarity[item] = 0.0
    first = np.argsort(-similarity, kind="stable")[:n]
    first = first[similarity[first] > 0]
    return first, similarity[first], common[first]
