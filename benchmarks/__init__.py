"""One script a question; each prints one JSON line last and can keep it in benchmarks/results."""
