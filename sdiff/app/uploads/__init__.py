"""Tables of visitors: stored, understood, and reported on."""
