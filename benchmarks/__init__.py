"""One script a question; each prints one JSON line last and can keep it in benchmarks/results."""

import sdiff  # noqa: F401 (before torch, which reads how OpenMP's threads wait only once)
