"""Benchmarks. Each script prints its result as a line of JSON and can write it to benchmarks/results."""

import sdiff  # noqa: F401 (before torch, which reads the OpenMP settings only once)
