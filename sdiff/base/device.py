"""Where the engine computes, and what it says when memory does not suffice."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sdiff.base.errors import SDiffError

NO_MEMORY = ("out of memory", "not enough memory", "allocate memory", "ALLOC_FAILED")  # of CUDA, the CPU, cuBLAS


def best_device(wanted: torch.device | None = None) -> torch.device:
    """The device that is wanted; if none is, the GPU where CUDA finds one, else the CPU.

    Raises:
        SDiffError: CUDA is wanted where it finds no GPU.
    """
    if wanted is not None and wanted.type == "cuda" and not torch.cuda.is_available():
        raise SDiffError(f"There is no {wanted} here: CUDA finds no GPU. Leave the device out to compute on the CPU.")
    return wanted or torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """The GPU's name, or on how many threads the CPU computes."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"


@contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Out of memory in the block, on a GPU or not, becomes an SDiffError that ends with the advice."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch has a class of its own for CUDA alone
        if isinstance(error, RuntimeError) and not any(text in str(error) for text in NO_MEMORY):
            raise
        raise SDiffError(f"There is not enough memory: {advice}.") from error


def peak_memory_mb() -> int | None:
    """Largest resident size of this process so far; None on Windows, which has no module for it."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024**2 if sys.platform == "darwin" else 1024)
