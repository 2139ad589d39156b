"""Device selection and memory."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sdiff.base.checks import whole
from sdiff.base.errors import SDiffError, brief

Device = torch.device | str  # such as torch.device("cpu"), "cpu" or "cuda:0"
NO_MEMORY = ("out of memory", "not enough memory", "allocate memory", "ALLOC_FAILED")  # from CUDA, the CPU, cuBLAS


def best_device(wanted: Device | None = None) -> torch.device:
    """The requested device. By default, the GPU if CUDA finds one, else the CPU.

    Raises:
        SDiffError: torch does not know the device, or CUDA does not find the GPU.
    """
    if wanted is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not isinstance(wanted, str | torch.device):
        raise SDiffError(f"The device must be cpu, cuda or a torch.device, not {brief(wanted)}.")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise SDiffError(f"Unknown device {brief(wanted)}: choose cpu or cuda, or leave it out.") from None
    if device.type not in ("cpu", "cuda"):
        raise SDiffError(f"{device} is not supported: choose cpu or cuda, or leave it out.")
    if device.type == "cuda":
        n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= n_gpus:
            raise SDiffError(
                f"{device} is not available: CUDA finds {n_gpus or 'no'} GPU{'s' * (n_gpus > 1)}. Leave the device out "
                f"to use {'the first one' if n_gpus else 'the CPU'}."
            )
    return device


def device_name(device: Device) -> str:
    """The name of the GPU, or "cpu" and its number of threads."""
    cuda = torch.device(device).type == "cuda"
    return torch.cuda.get_device_name(device) if cuda else f"cpu, {torch.get_num_threads()} threads"


def wait_for(device: Device) -> None:
    """Waits until a GPU has finished its work; calls return earlier. A CPU has finished already."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Turns out-of-memory errors in the block, on a GPU or the CPU, into an SDiffError that ends with `advice`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch has a dedicated class only for CUDA
        if isinstance(error, RuntimeError) and not any(text in str(error) for text in NO_MEMORY):
            raise
        raise SDiffError(f"There is not enough memory: {advice}.") from error


def peak_memory_mb() -> int | None:
    """Peak resident memory of this process in MB. None on Windows, which lacks the `resource` module."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024**2 if sys.platform == "darwin" else 1024)


def generator(seed: int, rank: int = 0) -> torch.Generator:
    """A random generator on the CPU. Each rank gets its own stream from the same seed.

    Raises:
        SDiffError: the seed is not a whole number from 0 to `LARGEST`.
    """
    return torch.Generator().manual_seed(whole("seed", seed, 0) + rank)
