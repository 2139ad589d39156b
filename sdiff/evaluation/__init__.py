"""Ranking metrics, their averages over users, and baselines."""
