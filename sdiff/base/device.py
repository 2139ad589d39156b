"""Where the engine computes, and what it says when memory does not suffice."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sdiff.base.errors import SDiffError, brief

Device = torch.device | str  # such as torch.device("cpu"), "cpu" or "cuda:0"
NO_MEMORY = ("out of memory", "not enough memory", "allocate memory", "ALLOC_FAILED")  # of CUDA, the CPU, cuBLAS


def best_device(wanted: Device | None = None) -> torch.device:
    """The device that is wanted; if none is, the GPU where CUDA finds one, else the CPU.

    Raises:
        SDiffError: torch knows no such device, or CUDA finds no such GPU.
    """
    if wanted is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not isinstance(wanted, str | torch.device):
        raise SDiffError(f"The device must be cpu, cuda or a torch.device, not {brief(wanted)}.")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise SDiffError(f"Unknown device {brief(wanted)}: choose cpu or cuda, or leave it out.") from None
    if device.type == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= found:
            raise SDiffError(
                f"There is no {device} here: CUDA finds {found or 'no'} GPU{'s' * (found > 1)}. Leave the device out "
                f"to compute on {'the first one' if found else 'the CPU'}."
            )
    return device


def device_name(device: Device) -> str:
    """The GPU's name, or on how many threads the CPU computes."""
    cuda = torch.device(device).type == "cuda"
    return torch.cuda.get_device_name(device) if cuda else f"cpu, {torch.get_num_threads()} threads"


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
