import sdiff  # noqa: F401 (before torch, which reads how OpenMP's threads wait only once)
