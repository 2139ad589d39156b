"""Distributed processes started by `torchrun`. All use of process groups is in this module."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sdiff.base.errors import SDiffError

T = TypeVar("T")
# Rank 0 may compute a spectrum for hours while the others wait. torchrun detects ranks that died.
TIMEOUT = timedelta(days=1)


@dataclass(frozen=True)
class Ranks:
    """This process's rank among the `size` processes of a task.

    In a process not started by torchrun, each method returns its input. Otherwise, all ranks must call the same methods
    in the same order.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        launched: whether torchrun started them.
    """

    rank: int = 0
    size: int = 1
    launched: bool = False

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which prints and writes files."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This rank's contiguous part of `rows`. Parts differ by at most one row and may be empty."""
        return rows.tensor_split(self.size)[self.rank]

    def sum(self, x: Tensor) -> Tensor:
        """Sum of x over the ranks, bitwise equal on all of them."""
        if self.launched:
            x = x.clone()
            dist.all_reduce(x)  # in place
        return x

    def mean(self, x: Tensor) -> Tensor:
        """Mean of x over the ranks."""
        return self.sum(x) / self.size if self.launched else x

    def from_first(self, make: Callable[[], Tensor], device: torch.device) -> Tensor:
        """Calls `make` on rank 0 alone and sends the resulting matrix to the `device` of every rank. Needs torchrun."""
        source = make().to(device) if self.first else torch.empty(0, 0, device=device)
        shape = torch.tensor(source.shape, device=device)
        dist.broadcast(shape, 0)
        matrix = source if self.first else torch.empty(*shape.tolist(), device=device)
        dist.broadcast(matrix, 0)
        return matrix

    def averaged(self, loss: Callable[..., T], model: nn.Module) -> Callable[..., T]:
        """`loss` bound to `model`, with gradients averaged over the ranks in the backward pass.

        The model's parameters and buffers are first set to those of rank 0.
        """
        if not (self.launched and any(p.requires_grad for p in model.parameters())):
            return partial(loss, model)
        averaged = DistributedDataParallel(_Loss(loss, model))
        averaged.broadcast_buffers = False  # buffers never change, and sending a large graph takes seconds a step
        return averaged

    def wait(self) -> None:
        """Blocks until all ranks have called it."""
        if self.launched:
            dist.barrier()


class _Loss(nn.Module):
    """A loss as a module, because DistributedDataParallel wraps the forward pass of a module."""

    def __init__(self, loss: Callable[..., Any], model: nn.Module) -> None:
        super().__init__()
        self.loss, self.model = loss, model

    def forward(self, *arguments: Any) -> Any:
        return self.loss(self.model, *arguments)


ALONE = Ranks()


@contextmanager
def torchrun() -> Iterator[Ranks]:
    """Context manager that sets up the process group of torchrun. In the block, only rank 0 prints to stdout.

    It yields this process's rank, or the only one if the process was not started by torchrun.

    The backend is nccl if CUDA is available, with one GPU per process as CUDA's current device, else gloo.

    Raises:
        SDiffError: there are more processes than GPUs, or the options of torchrun make restarted processes hang.
    """
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        yield ALONE
        return
    try:
        rank, size, _ = (int(os.environ.get(name, "")) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
        restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    except ValueError:
        raise SDiffError(
            "RANK, WORLD_SIZE and MASTER_ADDR are set, but not as torchrun does: start with torchrun, or unset them."
        ) from None
    if restarts and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # The shared store keeps the addresses of dead processes, so restarted ones would hang.
        raise SDiffError(
            "With --max-restarts, start torchrun with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its environment, and on "
            "several machines with --rdzv-backend c10d."
        )
    if torch.cuda.is_available():
        local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= gpus:
            raise SDiffError(f"Each process needs its own GPU, and this machine has {gpus}: start fewer processes.")
        torch.cuda.set_device(local)
        dist.init_process_group("nccl", timeout=TIMEOUT, device_id=torch.device("cuda", local))
    else:
        dist.init_process_group("gloo", timeout=TIMEOUT)
    with redirect_stdout(sys.stdout if rank == 0 else None):
        yield Ranks(rank, size, launched=True)
    dist.destroy_process_group()  # not after an error: other ranks may be waiting, and torchrun ends them
