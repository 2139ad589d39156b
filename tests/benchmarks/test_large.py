"""The synthetic catalogue has communities, and its popular items and active users."""

import numpy as np

from benchmarks.large import COMMUNITY, OWN, communities


def test_users_stay_in_their_community_and_few_items_are_popular():
    n_users, n_items, n_pairs = 2_000, 5_000, 100_000
    users, items = communities(n_users, n_items, n_pairs)
    assert len(users) == len(items) == n_pairs
    assert users.min() >= 0 and users.max() < n_users and items.min() >= 0 and items.max() < n_items
    n_communities = n_items // COMMUNITY
    by_user = np.zeros((n_users, n_communities))
    np.add.at(by_user, (users, items % n_communities), 1)
    active = by_user.sum(1) > 30
    shares = by_user[active].max(1) / by_user[active].sum(1)
    assert abs(shares.mean() - (OWN + (1 - OWN) / n_communities)) < 0.05
    counts = np.sort(np.bincount(items, minlength=n_items))[::-1]
    assert counts[: n_items // 10].sum() > n_pairs / 3
    again = communities(n_users, n_items, n_pairs)
    assert (again[0] == users).all() and (again[1] == items).all()
