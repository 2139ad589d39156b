"""Tests on a GPU: `make test-cuda`. Without one they are skipped."""

import pytest
import torch


@pytest.fixture(autouse=True)
def gpu():
    """The GPU. Skips the test if there is none."""
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU, and CUDA finds none")
    return torch.device("cuda")


@pytest.fixture(params=["0", "1"], ids=["plain", "graphs"])
def graphs(request, monkeypatch):
    """Whether CUDA graphs are on."""
    monkeypatch.setenv("SDIFF_CUDA_GRAPHS", request.param)
    return request.param == "1"
