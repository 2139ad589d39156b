"""Benchmarks, and the generator of the demo data. Each benchmark prints its result as a line of JSON and can write it
to benchmarks/results.
"""

import sdiff  # noqa: F401 (before torch, which reads the OpenMP settings only once)
