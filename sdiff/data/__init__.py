"""Data sets: downloads, table files, interactions, splits, item metadata and the catalog."""
