"""Ranking metrics, evaluation over users, and baselines."""
