"""Data sets: from files and downloads to interactions, splits and an item catalog."""
