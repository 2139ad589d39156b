"""The training loop (Algorithm 1). It yields its progress and keeps the best weights."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.metadata import version
from threading import RLock
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim.swa_utils import get_ema_multi_avg_fn

import sdiff
from sdiff.base.checks import whole
from sdiff.base.device import Device, best_device, enough_memory
from sdiff.base.distributed import ALONE, Ranks
from sdiff.base.errors import SDiffError
from sdiff.base.graphs import static_shapes
from sdiff.config import Config
from sdiff.data.interactions import Split
from sdiff.evaluation.evaluate import evaluate
from sdiff.method.crossfit import Fold, cross_fit
from sdiff.method.diffusion import root_mean_square, score
from sdiff.method.histories import Histories
from sdiff.method.linear import LinearDenoiser, solve
from sdiff.method.losses import LOSSES
from sdiff.method.model import Model
from sdiff.method.spectrum import shared_basis
from sdiff.training.checkpoint import Checkpoint, Provenance
from sdiff.training.static import StaticSteps

CRITERION = "recall@20"
CURVE = 100  # maximum number of points of a curve in a checkpoint
GLOBAL = RLock()  # guards torch's global generators
Batches = Sequence[tuple[Fold | None, Tensor]]
Steps = Callable[[Batches], Iterator[Tensor]]  # trains on each batch in turn, and yields its loss


@dataclass(frozen=True)
class Progress:
    """Progress after an epoch.

    Attributes:
        epoch: number of the epoch, from 1.
        epochs: maximum number of epochs.
        loss: mean loss in the epoch.
        valid: validation metrics as by `evaluate`; None if this epoch was not validated.
        best_epoch: epoch of the best validation result so far.
        best: that result, recall@20 in [0, 1]; None before the first validation.
        seconds: time of all epochs so far.
    """

    epoch: int
    epochs: int
    loss: float
    valid: dict[str, float] | None
    best_epoch: int
    best: float | None
    seconds: float

    @property
    def eta(self) -> float:
        """Estimated seconds to the maximum number of epochs; early stopping may end sooner."""
        return self.seconds / self.epoch * (self.epochs - self.epoch)


@dataclass
class Best:
    """The best validation result so far and its weights. Before the first validation: the weights of the last epoch."""

    epoch: int = 0
    value: float | None = None
    valid: dict[str, float] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)


class Trainer:
    """One training run: `trainer.fit()`, or `for progress in trainer.iter_epochs(): ...`.

    `trainer.checkpoint(dataset, preset).save(folder)` then saves the best weights.

    With several ranks, each processes its share of the users, in every batch and in validation. Draws that concern all
    ranks come from `generator`, which has the same state on each; masks and noise are drawn by each rank separately.

    Args:
        seed: seed of initial weights, order of users, masks and noise.
        device: such as "cpu" or "cuda:0"; by default the GPU if there is one.
        ranks: as yielded by `torchrun`.
        start: spectrum and weights to start from, over the items of the split. They are validated before the first
            epoch. By default, the spectrum is computed and the weights are random.

    Raises:
        SDiffError: the data set lacks what the configuration needs, there are more ranks than users in a batch, or
            memory is too small.
    """

    def __init__(
        self,
        config: Config,
        split: Split,
        seed: int,
        device: Device | None = None,
        ranks: Ranks = ALONE,
        start: Checkpoint | None = None,
    ) -> None:
        if not len(split.train):
            raise SDiffError("The training part of this data set is empty: choose another data set or split.")
        if config.half_life and not split.train.ordered:
            raise SDiffError(
                "This data set has neither timestamps nor an order, but the preset weights histories by recency: "
                "choose a preset that ignores the order (half_life=0), such as tuned."
            )
        if config.batch_size < ranks.size:
            raise SDiffError(
                f"A batch of {config.batch_size} users cannot be split among {ranks.size} processes: start fewer "
                f"processes, or increase batch_size."
            )
        self.config, self.split, self.seed, self.ranks = config, split, whole("seed", seed, 0), ranks
        self.device = best_device(device)
        if start is None:
            spectrum = shared_basis(split.train, config.K, self.device, ranks, config.user_power)
        else:
            spectrum = start.spectrum.to(self.device)
        counts = torch.from_numpy(split.train.item_counts).to(self.device)
        self.generator = torch.Generator(self.device).manual_seed(self.seed)
        less = "lower hidden, K, memories or time_dim, and train again"
        with enough_memory(less), self._global_generator(self.seed):  # used by the initialisation of nn.Linear
            self.model = Model(config, spectrum, counts).to(self.device)
        self.warm_start = start is not None
        if start is not None:
            self.model.load_state_dict(start.weights, strict=False)  # without the graph, which is built next
        if self.model.graph is not None:
            self.model.graph.build(split.train)
        if config.standardise:
            histories = Histories.from_interactions(split.train, self.device)
            some = histories.take(torch.from_numpy(split.train.lengths.nonzero()[0]).to(self.device))
            self.model.noise_scale.copy_(root_mean_square(self.model.basis, some, config).detach())
        self.folds: list[Fold] = []
        if config.folds:
            with enough_memory("lower folds, graph_entries or K, and train again"):
                entries, p = config.graph_entries, config.user_power
                self.folds = cross_fit(split.train, spectrum, config.folds, entries, p, ranks, exact=start is None)
        self.loss = ranks.averaged(LOSSES[config.loss], self.model)
        self.static = static_shapes() and not ranks.launched and not config.negatives
        fixed = (*self.model.buffers(), *(p for p in self.model.parameters() if not p.requires_grad))
        shared = {id(tensor): tensor for tensor in fixed}  # not copied: the graph may be large
        self.ema_model = deepcopy(self.model, shared) if config.ema else self.model  # validated and saved
        self.averaging = [*trained(self.ema_model).values()], [*trained(self.model).values()]  # means, and weights
        self.epoch, self.seconds, self.best = 0, 0.0, Best()
        self.inference_settings: dict[str, Any] = {}  # settings of inference that were chosen after the training
        self.curve: list[tuple[int, float]] = []  # epoch and validation recall@20

    @cached_property
    def optimizer(self) -> torch.optim.Adam:
        """Made when it is needed: torch then imports its compiler, which takes seconds. Closed forms need none."""
        graphs = self.static and self.device.type == "cuda"
        return torch.optim.Adam(trained(self.model).values(), lr=self.config.lr, fused=True, capturable=graphs)

    @property
    def epochs(self) -> int:
        """Maximum number of epochs; 1 for the closed-form denoiser."""
        return 1 if self.model.closed_form else self.config.epochs

    @property
    def finished(self) -> bool:
        """Whether all `epochs` are done, or validation has not improved for `patience` epochs.

        Without a validation part, training runs for all epochs and keeps the last weights.
        """
        last = self.curve[-1][0] if self.curve else 0  # the last epoch that was validated
        return self.epoch >= self.epochs or last - self.best.epoch >= self.config.patience

    def fit(self) -> Self:
        """Trains until `finished`. Raises SDiffError as `iter_epochs`."""
        for _ in self.iter_epochs():
            pass
        return self

    def iter_epochs(self) -> Generator[Progress, None, None]:
        """Trains until `finished`, and yields the progress after each epoch.

        Raises:
            SDiffError: loss, weights or scores are not finite, or memory is too small; the best weights so far are
                kept. Or there is no epoch to train, or the ranks did not resume from the same state.
        """
        if not (self.epochs or self.warm_start):
            raise SDiffError("With epochs=0, nothing would be trained: set epochs to at least 1.")
        epochs = self.ranks.sum(torch.tensor([self.epoch], device=self.device)).item()
        if epochs != self.epoch * self.ranks.size:
            raise SDiffError(
                "The processes resumed from different states: --out must be a folder that all machines share."
            )
        histories = Histories.from_interactions(self.split.train, self.device)
        users = torch.from_numpy(self.split.train.lengths.nonzero()[0]).to(self.device)
        steps: Steps = partial(self.steps, histories)
        if self.static:
            steps = StaticSteps(histories, len(self.split.items), self.folds, self.generator, self.step)
        validates = len(self.split.valid) > 0
        less = f"lower batch_size (now {self.config.batch_size}), hidden or K, and train again"
        if self.warm_start and validates and not self.epoch:
            self._validate(0)
        while not self.finished:
            started, epoch = time.perf_counter(), self.epoch + 1
            with enough_memory(less):
                mean = self._epoch(histories, users, steps)
                if not (math.isfinite(mean) and self._finite()):
                    raise SDiffError(
                        f"In epoch {epoch} the loss ({mean:.4g}) or the weights are no longer finite numbers: lower "
                        f"the learning rate (lr) and train again."
                    )
                due = validates and (epoch == self.epochs or epoch % self.config.eval_every == 0)
                valid = self._validate(epoch) if due else None
            self.epoch = epoch
            if self.best.value is None:
                self.best = Best(epoch, None, {}, self._weights())
            self.seconds += time.perf_counter() - started
            yield Progress(self.epoch, self.epochs, mean, valid, self.best.epoch, self.best.value, self.seconds)

    def _epoch(self, histories: Histories, users: Tensor, steps: Steps) -> float:
        """One pass over the users in random order, or the closed-form solution. Returns the mean loss."""
        model, config = self.model.train(), self.config
        if model.closed_form:
            if isinstance(model.denoiser, LinearDenoiser):
                model.denoiser.W.data = solve(model.spectrum, histories, config.mask)
            some = histories.take(users[: config.batch_size])  # the loss is only shown
            return LOSSES[config.loss](model, some, config, self.generator).mean().item()
        total = torch.zeros((), device=self.device)
        seed = int(torch.randint(2**31, (), generator=self.generator, device=self.device)) + self.ranks.rank
        with self._global_generator(seed):  # used by nn.Dropout
            batches = self.batches(users)
            for loss, (_, batch) in zip(steps(batches), batches, strict=True):
                total += loss * len(batch)
        return self.ranks.mean(total).item() / len(users)

    def steps(self, histories: Histories, batches: Batches) -> Iterator[Tensor]:
        """Trains on each batch in turn, and yields its loss."""
        noise = self.generator
        if self.ranks.size > 1:
            noise = torch.Generator(self.device).manual_seed(int(torch.randint(2**31, ())))
        for fold, batch in batches:
            yield self.step(histories.take(self.ranks.share(batch)), fold, noise)

    def step(self, x: Histories, fold: Fold | None, noise: torch.Generator) -> Tensor:
        """One gradient step on the histories x of a batch, all of one fold if there are folds. Returns the loss."""
        with self.model.on(fold):
            loss = self.loss(x, self.config, noise).mean(self.ranks)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.config.ema:
            get_ema_multi_avg_fn(self.config.ema)(*self.averaging, 0)
        return loss.detach()

    def batches(self, users: Tensor) -> list[tuple[Fold | None, Tensor]]:
        """The users in random order, in batches; with folds, each batch is of one fold, in random order, too."""

        def shuffled(x: Tensor) -> Tensor:
            return x[torch.randperm(len(x), generator=self.generator, device=self.device)]

        if not self.folds:
            return [(None, batch) for batch in shuffled(users).split(self.config.batch_size)]
        batches = [(fold, batch) for fold in self.folds for batch in shuffled(fold.users).split(self.config.batch_size)]
        return [batches[i] for i in torch.randperm(len(batches), generator=self.generator, device=self.device).tolist()]

    @contextmanager
    def _global_generator(self, seed: int) -> Iterator[None]:
        """Seeds torch's global generators, which all threads share, and restores their state at the end."""
        with GLOBAL, torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield

    def _finite(self) -> bool:
        weights = [tensor for module in self.modules().values() for tensor in trained(module).values()]
        return math.isfinite(get_total_norm(weights, math.inf))  # waits for a GPU once

    def _validate(self, epoch: int) -> dict[str, float]:
        model = self.ema_model.eval()
        noise = torch.Generator(self.device).manual_seed(self.seed + self.ranks.rank)
        valid = evaluate(
            lambda x: score(model, x, self.config, noise),
            self.split,
            "valid",
            self.device,
            ranks=self.ranks,
        )
        self.curve.append((epoch, valid[CRITERION]))
        if self.best.value is None or valid[CRITERION] > self.best.value:
            self.best = Best(epoch, valid[CRITERION], valid, self._weights())
        return valid

    def _weights(self) -> dict[str, Tensor]:
        """A copy of the weights on the CPU."""
        copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in trained(self.ema_model).items()}
        return self.fixed | copies

    @cached_property
    def fixed(self) -> dict[str, Tensor]:
        """The tensors that are not trained, on the CPU. They may be large, so they are copied only once."""
        names = self.ema_model.state_dict().keys() - trained(self.ema_model).keys()
        return {name: tensor.cpu() for name, tensor in self.ema_model.state_dict().items() if name in names}

    def checkpoint(self, dataset: str, preset: str) -> Checkpoint:
        """A checkpoint of the best weights so far, or of the last weights if nothing was validated.

        Args:
            dataset: key of the data set, recorded in the provenance.
            preset: name of the preset, recorded in the provenance.

        Its metrics also contain the time of all epochs so far, `train_seconds`, and the validation recall by epoch,
        `curve`, thinned to `CURVE` points.

        Warns if nothing has been trained yet.
        """
        if not self.epoch and not self.warm_start:
            warnings.warn("The model is not trained yet: call fit() first.", stacklevel=2)
        versions = {"sdiff": sdiff.__version__, "torch": version("torch")}
        provenance = Provenance(
            dataset=dataset,
            data_fingerprint=self.split.fingerprint,
            seed=self.seed,
            epoch=self.best.epoch,
            preset=preset,
            created=datetime.now(UTC).strftime("%Y-%m-%d"),
            versions=versions,
            trained={
                name: own
                for name, value in self.inference_settings.items()
                if (own := getattr(self.config, name)) != value
            },
        )
        metrics: dict[str, Any] = {"train_seconds": round(self.seconds, 3)}
        if self.best.valid:
            metrics["valid"] = self.best.valid
        if self.curve:
            kept = np.unique(np.linspace(0, len(self.curve) - 1, CURVE).round().astype(int))
            epochs, recalls = zip(*(self.curve[i] for i in kept), strict=True)
            metrics["curve"] = {"epoch": [*epochs], CRITERION: [round(recall, 5) for recall in recalls]}
        return Checkpoint(
            self.config.at_inference(self.inference_settings),
            self.split.items,
            torch.from_numpy(self.split.train.item_counts),
            self.model.spectrum.to("cpu"),
            self.best.weights or self._weights(),
            provenance,
            metrics,
        )

    def modules(self) -> dict[str, Model]:
        """The models with trained weights, by name: the model and, with `ema`, the running mean of its weights."""
        return {"model": self.model} | ({"mean": self.ema_model} if self.config.ema else {})


def trained(model: Model) -> dict[str, Tensor]:
    """The trainable parameters, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
