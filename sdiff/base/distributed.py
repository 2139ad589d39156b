"""Several processes at one task, as `torchrun` starts them. Nothing else here knows of process groups."""

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
# Others wait while rank 0 makes a spectrum, which may take hours. A rank that died is torchrun's to notice.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Ranks:
    """The processes that share a task, `size` of them, and which one this is.

    A process that torchrun did not start is alone: each method then gives back what it was given. Of the others each
    has to call the same methods in the same order.
    """

    rank: int = 0
    size: int = 1
    launched: bool = False

    @property
    def first(self) -> bool:
        """Whether this is the one that speaks and writes."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This rank's rows, a contiguous part as large as the others' or one larger; none where there are too few."""
        return rows.tensor_split(self.size)[self.rank]

    def sum(self, x: Tensor) -> Tensor:
        """x added up over the ranks; equal on all of them to the last bit."""
        if self.launched:
            x = x.clone()
            dist.all_reduce(x)  # in place
        return x

    def mean(self, x: Tensor) -> Tensor:
        """x averaged over the ranks."""
        return self.sum(x) / self.size if self.launched else x

    def from_first(self, make: Callable[[], Tensor], device: torch.device) -> Tensor:
        """The matrix that `make` gives rank 0 of those launched, which alone calls it, on the `device` of each."""
        made = make().to(device) if self.first else torch.empty(0, 0, device=device)
        shape = torch.tensor(made.shape, device=device)
        dist.broadcast(shape, 0)
        matrix = made if self.first else torch.empty(*shape.tolist(), device=device)
        dist.broadcast(matrix, 0)
        return matrix

    def averaged(self, loss: Callable[..., T], model: nn.Module) -> Callable[..., T]:
        """`loss` of `model`, which takes on rank 0's parameters and buffers; its gradients are averaged over the ranks
        as they arise."""
        if not self.launched:
            return partial(loss, model)
        averaged = DistributedDataParallel(_Loss(loss, model))
        averaged.broadcast_buffers = False  # they stay as they are now: at every step a large graph would cost seconds
        return averaged

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.launched:
            dist.barrier()


class _Loss(nn.Module):
    """A loss as the forward pass of a module, which is what DistributedDataParallel wraps."""

    def __init__(self, loss: Callable[..., Any], model: nn.Module) -> None:
        super().__init__()
        self.loss, self.model = loss, model

    def forward(self, *arguments: Any) -> Any:
        return self.loss(self.model, *arguments)


ALONE = Ranks()


@contextmanager
def torchrun() -> Iterator[Ranks]:
    """The ranks that torchrun started, or this process alone. Inside, rank 0 is the only one whose prints are seen.

    They talk by nccl where each has a GPU of its own, which becomes CUDA's current device, else by gloo.

    Raises:
        SDiffError: more processes than GPUs, or restarts that would not find each other.
    """
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        yield ALONE
        return
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    if restarts and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # torchrun would keep the addresses of the dead where those that start again look for each other: they hang
        raise SDiffError(
            "With --max-restarts, start torchrun with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its environment, and on "
            "several machines with --rdzv-backend c10d."
        )
    if torch.cuda.is_available():
        local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= gpus:
            raise SDiffError(f"Each process needs a GPU of its own, and this machine has {gpus}: start that many.")
        torch.cuda.set_device(local)
        dist.init_process_group("nccl", timeout=PATIENCE, device_id=torch.device("cuda", local))
    else:
        dist.init_process_group("gloo", timeout=PATIENCE)
    with redirect_stdout(sys.stdout if rank == 0 else None):
        yield Ranks(rank, size, launched=True)
    dist.destroy_process_group()  # not after an error, when others may wait for this rank: torchrun ends them
