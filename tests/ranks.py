"""Programs of the ranks in test_distributed.py: `torchrun -m tests.ranks laws FOLDER`, or `killed RANK AFTER` and a
command line to run. With `killed`, that rank kills itself once, after that many epochs or shards."""

import json
import math
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import save_file

from sdiff.base.distributed import ALONE, Ranks, torchrun
from sdiff.cli.main import main
from sdiff.config import PRESETS
from sdiff.data.datasets import load_dataset
from sdiff.evaluation import evaluate
from sdiff.method.histories import Histories
from sdiff.serving import shards
from sdiff.training.run_state import save_state
from sdiff.training.trainer import Trainer, trained
from tests.conftest import CPU

QUICK = {"K": 16, "hidden": 32}
LOSSES = {
    "paper": PRESETS["paper"].override(QUICK),
    "tuned": PRESETS["tuned"].override({**QUICK, "dropout": 0.0, "mask": 0.5}),
    "temporal": PRESETS["temporal"].override({**QUICK, "dropout": 0.0}),
}
BATCHES = {"uneven": torch.arange(101), "too_few": torch.arange(1)}
TWO_EPOCHS = PRESETS["tuned"].override({**QUICK, "epochs": 2, "folds": 3})


def gradients(ranks: Ranks = ALONE) -> dict[str, torch.Tensor]:
    """The loss and its gradients for each of `LOSSES` and `BATCHES`, with constant random draws."""

    def same(value: float):
        return lambda *shape, **_: torch.full(shape[0] if isinstance(shape[0], tuple) else shape, value)

    split, found = load_dataset("demo").split, {}
    histories = Histories.from_interactions(split.train, CPU)
    for name, config in LOSSES.items():
        trainer = Trainer(config, split, 0, CPU, ranks)
        with (
            mock.patch("torch.rand", same(0.37)),
            mock.patch("torch.randn", same(0.5)),
            mock.patch("torch.randint", lambda low, high, shape, **_: torch.full(shape, (low + high) // 2)),
        ):
            for batch, users in BATCHES.items():
                trainer.optimizer.zero_grad()
                loss = trainer.loss(histories.take(ranks.share(users)), config, trainer.generator).mean(ranks)
                loss.backward()
                found[f"{name}.{batch}.loss"] = ranks.mean(loss.detach())
                found |= {f"{name}.{batch}.{key}": p.grad.clone() for key, p in trained(trainer.model).items()}
    return found


def laws(folder: Path, *words: str) -> int:
    with torchrun() as ranks:
        found = gradients(ranks)
        trainer = Trainer(TWO_EPOCHS, load_dataset("demo").split, 0, CPU, ranks)
        seeds, users, loss = set(), [], trainer.loss

        def watched(x, config, noise):
            seeds.add(noise.initial_seed())
            users.extend(x.users.tolist())
            return loss(x, config, noise)

        trainer.loss = watched
        losses = [progress.loss for progress in trainer.iter_epochs()]
        items = torch.arange(len(trainer.split.items), dtype=torch.float)
        evaluate.SCORES = 99 * len(items)  # several batches
        metrics = evaluate.evaluate(lambda x: items.repeat(len(x), 1), trainer.split, "test", CPU, ranks=ranks)
        save_file(found, folder / f"gradients-{ranks.rank}")
        save_state(trainer, folder / f"state-{ranks.rank}")
        told = {
            "seeds": sorted(seeds),
            "users": users,
            "losses": losses,
            "best": trainer.best.valid,
            "metrics": metrics,
        }
        (folder / f"told-{ranks.rank}").write_text(json.dumps(told))
        print(f"rank {ranks.rank} speaks")
        with mock.patch("sdiff.base.distributed.torchrun", lambda: nullcontext(ranks)):  # joins one group only
            return main(list(words))


def watch(owner: object, name: str, last: float) -> list[None]:
    """Records calls of `owner.name`. The process kills itself instead of making call number `last` + 1."""
    calls, original = [], getattr(owner, name)

    def called(*arguments, **named):
        if len(calls) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        calls.append(None)
        return original(*arguments, **named)

    setattr(owner, name, called)
    return calls


def killed(rank: str, after: str, *words: str) -> int:
    shards.BATCH, shards.BATCHES = 50, 2  # the 900 users of the demo data make nine shards
    doomed = os.environ["RANK"] == rank and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    last = int(after) if doomed else math.inf
    epochs, written = watch(Trainer, "_epoch", last), watch(shards, "write", last)
    status = main(list(words))
    if os.environ["RANK"] == "0":
        print(f"{len(epochs)} epochs and {len(written)} shards")
    return status


if __name__ == "__main__":
    if sys.argv[1] == "laws":
        sys.exit(laws(Path(sys.argv[2]), *sys.argv[3:]))
    else:
        sys.exit(killed(*sys.argv[2:]))
