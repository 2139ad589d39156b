"""Rivals: each a function from a split to a scorer, histories (B, n_items) -> scores (B, n_items)."""
