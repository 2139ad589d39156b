"""Where the engine computes."""

import torch


def best_device() -> torch.device:
    """The GPU where CUDA finds one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
