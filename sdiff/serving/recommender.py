"""Recommendations from a trained model for any history of items, known user or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdiff.base.checks import generator, whole
from sdiff.base.device import Device, best_device
from sdiff.base.errors import SDiffError
from sdiff.config import Config
from sdiff.data.interactions import Unknown
from sdiff.evaluation.evaluate import exclude_, top_n
from sdiff.method.diffusion import score
from sdiff.method.histories import Histories
from sdiff.method.model import Model
from sdiff.training.checkpoint import Checkpoint


@dataclass(frozen=True)
class Recommendations:
    """Recommended items, best first.

    Attributes:
        ids: (n,) item ids.
        indices: (n,) their indices in the vocabulary of the model.
        scores: (n,) higher is better. If the model was trained with a softmax loss, a score is the probability of the
            item among all that may be recommended (with `beta`, after the discount); otherwise it has no unit.
    """

    ids: list[str]
    indices: list[int]
    scores: list[float]


class Recommender:
    """Recommends items for histories of items, also those of users who are not in the training data (fold-in).

    Args:
        checkpoint: as returned by `Trainer.checkpoint` or `Checkpoint.load`. `Recommender.load` takes its folder.
        device: such as "cpu" or "cuda:0"; by default the GPU if there is one.

    Raises:
        SDiffError: the weights are not finite or do not match the configuration, or there is no such device.
    """

    def __init__(self, checkpoint: Checkpoint, device: Device | None = None) -> None:
        damaged = [name for name, tensor in checkpoint.weights.items() if not tensor.isfinite().all()]
        if damaged:
            raise SDiffError(
                f"The checkpoint's weights are not all finite numbers ({damaged[0]}): train it again, with a lower "
                f"learning rate (lr)."
            )
        self.checkpoint = checkpoint
        self.config, self.items = checkpoint.config, checkpoint.items
        self.device = best_device(device)
        model = Model(self.config, checkpoint.spectrum.to(self.device), checkpoint.item_counts.to(self.device))
        model = model.to(self.device).eval().requires_grad_(False)
        self.model, self.basis, self.denoiser = model, model.basis, model.denoiser
        try:
            model.load_state_dict(checkpoint.weights)
        except RuntimeError as error:
            raise SDiffError(
                "The checkpoint is damaged, as its weights do not match its configuration: copy it again, or train it "
                "again."
            ) from error

    @classmethod
    def load(cls, folder: Path | str, device: Device | None = None) -> Recommender:
        """Loads a checkpoint.

        Args:
            folder: its folder, or the name of a checkpoint that is included ("demo") or was trained in the app.
            device: as in the constructor.

        Raises:
            SDiffError: the checkpoint is missing or damaged, or its weights are not finite.
        """
        return cls(Checkpoint.load(folder), device)

    def __repr__(self) -> str:
        origin, K = self.checkpoint.provenance, len(self.basis.lam)
        preset = f", preset {origin.preset}" if origin.preset else ""
        return f"Recommender({origin.dataset}{preset}, {len(self.items):,} items, K={K}, {self.device})"

    def recommend(
        self,
        history: Sequence[str | int],
        k: int = 20,
        *,
        seed: int = 0,
        exclude_seen: bool = True,
        allowed: np.ndarray | Iterable[str | int] | None = None,
        unknown: Unknown = "error",
        **settings: Any,
    ) -> Recommendations:
        """The k best items for a history.

        Args:
            history: item ids, oldest first. If it is empty, a model that `needs_history` gives the most popular items.
            k: number of items; fewer are returned if fewer are left.
            seed: seed of the sampling noise.
            exclude_seen: whether to exclude the items of the history.
            allowed: items that may be recommended, as ids or as an array (n_items,) bool in vocabulary order; all by
                default.
            unknown: "error", or "ignore" to skip ids of the history that the model does not know.
            **settings: those of `Config.at_inference`, such as guidance=0.5 or T=1.

        Raises:
            SDiffError: an unknown id; a setting that is unknown, out of range or fixed in training; an invalid k, seed
                or `allowed`.
        """
        x, config, noise = self.encode(history, unknown), self.config.at_inference(settings), generator(seed)
        scores, items = self.top(x, k, config, noise, exclude_seen, self._mask(allowed))
        pairs = [(int(i), float(s)) for s, i in zip(scores[0], items[0], strict=True) if s > -torch.inf]
        return Recommendations([self.items.ids[i] for i, _ in pairs], [i for i, _ in pairs], [s for _, s in pairs])

    def top(
        self,
        x: Histories,
        k: int,
        config: Config,
        noise: torch.Generator,
        exclude_seen: bool = True,
        allowed: np.ndarray | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The k best items for each history of a batch: (scores, items), each (B, min(k, n_items)), best first.

        Args:
            x: (B, n_items) histories, as made by `encode`.
            config: the model's configuration, with the settings of this call.
            noise: CPU generator of the sampling noise.
            exclude_seen: whether to exclude the items of each history.
            allowed: (n_items,) bool, the items that may be recommended; all by default.

        Returns:
            Scores as in `Recommendations`, and item indices. The score is -inf at ranks for which no item is left.

        Raises:
            SDiffError: k is not an integer of at least 1, or a score is not finite.
        """
        k = whole("k", k, 1)
        scores = exclude_(self.scores(x, config, noise), x if exclude_seen else None, allowed)
        values, items = top_n(scores, None, k)
        if self.config.loss == "softmax":
            best = values[:, :1]
            probabilities = (values - best).exp() / scores.sub_(best).exp_().sum(1, keepdim=True)
            values = probabilities.where(values > -torch.inf, -torch.inf)  # 0 may be a probability of a remaining item
        return values, items

    def encode(self, history: Sequence[str | int], unknown: Unknown = "error") -> Histories:
        """A history of item ids, oldest first, as x (1, n_items).

        Raises SDiffError for an unknown id; unknown="ignore" skips it.
        """
        return Histories.from_ids(history, self.items, self.device, unknown)

    def _mask(self, allowed: np.ndarray | Iterable[str | int] | None) -> np.ndarray | None:
        """The argument `allowed` of `recommend` as an array (n_items,) bool."""
        n_items = len(self.items)
        if isinstance(allowed, np.ndarray):
            if allowed.dtype != bool or allowed.shape != (n_items,):
                raise SDiffError(
                    f"allowed must be a list of ids, or an array of {n_items:,} bool, not an array of shape "
                    f"{allowed.shape} and type {allowed.dtype}."
                )
            return allowed
        if allowed is None:
            return None
        mask = np.zeros(n_items, dtype=bool)
        mask[self.items.encode(allowed)] = True
        return mask

    def scores(self, x: Histories, config: Config, noise: torch.Generator) -> Tensor:
        """Scores x_hat (B, n_items) of histories x, in a new tensor: logits if the loss is softmax, else without unit.

        `noise` is a CPU generator, so that the sampling noise is the same on every device. If the model
        `needs_history`, the score for an empty one is the number of training interactions of the item.
        """
        scores = score(self.model, x, config, noise)
        if self.needs_history and (empty := x.offsets.diff() == 0).any():
            scores[empty] = self.checkpoint.item_counts.to(scores)  # (n_items,)
        return scores

    @property
    def needs_history(self) -> bool:
        """Whether the model is linear without a bias, so that its own scores for an empty history are all 0."""
        return self.config.denoiser != "mlp" and self.config.loss != "softmax"
