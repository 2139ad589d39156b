"""A trained model in use: any history in, the top of the unseen items out. No user is ever looked up."""

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
    """Best first: external ids, their indices in the vocabulary, and scores.

    A score is the probability of the item among those that may be recommended where the model was trained by a softmax;
    otherwise it has no unit. Higher is better.
    """

    ids: list[str]
    indices: list[int]
    scores: list[float]


class Recommender:
    """Scores all items for histories of items; users who were not there in training are served alike (fold-in)."""

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
            raise SDiffError("The checkpoint's weights do not fit its configuration: it is damaged.") from error

    @classmethod
    def load(cls, folder: Path | str, device: Device | None = None) -> Recommender:
        """From a checkpoint's folder. Raises SDiffError when that cannot be read, or its weights are not finite."""
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
        """The k best items for a history of item ids, oldest first.

        An empty history is answered too, with what the model expects of anybody. `seed` draws the sampling noise;
        `settings` are those of `Config.at_inference`, such as guidance=0.5 or T=1. `allowed` says which items may be
        recommended, where not all of them may: their ids, or an array (n_items,) of bool in vocabulary order. With
        unknown="ignore", ids of the history that the model does not know are skipped.

        Raises:
            SDiffError: an unknown id; a setting that is unknown, out of range or fixed in training; k, a seed or an
                array of another kind.
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
        """(scores, items), each (B, min(k, n_items)), best first, as `Recommendations` has them.

        Ranks that no item is left for score -inf. `allowed` (n_items,) is of bool. Raises SDiffError where k is not a
        whole number from 1 on.
        """
        k = whole("k", k, 1)
        scores = exclude_(self.scores(x, config, noise), x if exclude_seen else None, allowed)
        values, items = top_n(scores, None, k)
        if self.config.loss == "softmax":
            best = values[:, :1]
            probabilities = (values - best).exp() / scores.sub_(best).exp_().sum(1, keepdim=True)
            values = probabilities.where(values > -torch.inf, -torch.inf)  # a probability may be as small as 0
        return values, items

    def encode(self, history: Sequence[str | int], unknown: Unknown = "error") -> Histories:
        """A history of item ids, oldest first, as x (1, n_items). Raises SDiffError for an unknown id, unless "ignore"
        skips it."""
        return Histories.from_ids(history, self.items, self.device, unknown)

    def _mask(self, allowed: np.ndarray | Iterable[str | int] | None) -> np.ndarray | None:
        """`allowed` of `recommend` as an array (n_items,) of bool."""
        n_items = len(self.items)
        if isinstance(allowed, np.ndarray):
            if allowed.dtype != bool or allowed.shape != (n_items,):
                raise SDiffError(
                    f"allowed must be a list of ids, or an array of {n_items:,} bool, not of shape {allowed.shape} and "
                    f"{allowed.dtype}."
                )
            return allowed
        if allowed is None:
            return None
        mask = np.zeros(n_items, dtype=bool)
        mask[self.items.encode(allowed)] = True
        return mask

    def scores(self, x: Histories, config: Config, noise: torch.Generator) -> Tensor:
        """Scores x_hat (B, n_items) of histories x, in a new tensor."""
        return score(self.model, x, config, noise)
