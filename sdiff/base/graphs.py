"""CUDA graphs: a GPU repeats a recorded sequence of kernels in one launch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock

import torch
from cachetools import LRUCache
from torch import Tensor

from sdiff.base.errors import SDiffError, brief

WARM_UP = 3  # calls before a capture, as torch recommends
KEPT = 16  # graphs per owner
CAPTURING = Lock()  # a process can capture one graph at a time


def static_shapes() -> bool:
    """Whether `$SDIFF_CUDA_GRAPHS` is on: training and lists then use static shapes, and CUDA graphs on a GPU.

    Raises SDiffError for a value other than 0 and 1.
    """
    value = os.environ.get("SDIFF_CUDA_GRAPHS") or "0"
    if value not in ("0", "1"):
        raise SDiffError(f"SDIFF_CUDA_GRAPHS must be 0 or 1, not {brief(value)}.")
    return value == "1"


@dataclass(frozen=True, eq=False)
class Captured:
    """A captured graph, and the tensors that it reads and writes at every replay."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    output: Tensor

    def replay(self, inputs: tuple[Tensor, ...]) -> Tensor:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        return self.output


class Graphs:
    """Calls functions on tensors. On a GPU, the first calls are plain, then a graph is captured and replayed.

    A function must have static shapes and never wait for the GPU. Each call has its full effect: warm-up calls do the
    work of the call, and a capture alone has no effect. On a CPU, every call is a plain one. See "CUDA graphs" in the
    manual of torch.

    Args:
        generators: random generators on the device that the functions use, besides the default one.
    """

    def __init__(self, device: torch.device, *generators: torch.Generator) -> None:
        self.device, self.generators = device, generators
        self.calls: Counter[Hashable] = Counter()
        self.captured: LRUCache[Hashable, Captured] = LRUCache(KEPT)
        if device.type == "cuda":
            with torch.cuda.device(device):
                self.pool, self.side = torch.cuda.graph_pool_handle(), torch.cuda.Stream()

    def __call__(self, key: Hashable, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """`function(*inputs)`. On a GPU, the result may be overwritten by the next call with the same key.

        Args:
            key: equal for calls that do the same with tensors of the same shapes and types.
        """
        if self.device.type != "cuda":
            return function(*inputs)
        with torch.cuda.device(self.device):
            if key not in self.captured:
                self.calls[key] += 1
                if self.calls[key] <= WARM_UP:
                    return self._warm_up(function, inputs)
                self.captured[key] = self._capture(function, inputs)
            return self.captured[key].replay(inputs)

    def _warm_up(self, function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
        """A plain call on a side stream, as a capture needs it."""
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            output = function(*inputs)
        torch.cuda.current_stream().wait_stream(self.side)
        return output

    def _capture(self, function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Captured:
        with torch.inference_mode(False):  # later calls copy into them in any mode
            own = tuple(x.clone() for x in inputs)
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        # thread_local: other threads may use the GPU meanwhile.
        with CAPTURING, torch.cuda.graph(graph, self.pool, self.side, capture_error_mode="thread_local"):
            output = function(*own)
        return Captured(graph, own, output)
