"""Baseline models. Each is a function that maps a split to a scorer: histories (B, n_items) -> scores (B, n_items)."""
