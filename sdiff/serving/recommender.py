"""Recommendations from a trained model for any history of items, known user or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from sdiff.base.checks import whole
from sdiff.base.device import Device, best_device, generator
from sdiff.base.errors import SDiffError, brief
from sdiff.base.graphs import static_shapes
from sdiff.base.paths import expanded
from sdiff.config import AUTO, Config
from sdiff.data.frames import read_frame, titles_of
from sdiff.data.interactions import Unknown
from sdiff.evaluation.evaluate import CUTOFFS, exclude_, top_n
from sdiff.evaluation.report import Evaluation
from sdiff.method.diffusion import score
from sdiff.method.histories import Histories
from sdiff.method.model import Model
from sdiff.method.static import StaticScore
from sdiff.serving import frames, hub
from sdiff.training.auto import MINUTES
from sdiff.training.checkpoint import Checkpoint

FIRST = 1000  # items that usually show whether anything connects a history with others
ROUNDING = 1e-6  # relative error of a score that should be 0
NEGLIGIBLE = 1e-6  # length of a row of U (1 - lam), up to which it is only rounding error


@dataclass(frozen=True)
class Recommendations:
    """Recommended items, best first.

    Attributes:
        ids: (n,) item ids.
        indices: (n,) their indices in the vocabulary of the model.
        scores: (n,) higher is better. Those of `similar_items` are cosines. Others are probabilities if the model was
            trained with a softmax loss: that of the item among all that may be recommended (with `beta`, after the
            discount). Otherwise they have no unit.
    """

    ids: list[str]
    indices: list[int]
    scores: list[float]


class Recommender:
    """Recommends items for histories of items, also those of users who are not in the training data (fold-in).

    Args:
        checkpoint: as returned by `Trainer.checkpoint` or `Checkpoint.load`. `Recommender.load` takes its folder.
        device: such as "cpu" or "cuda:0"; by default the GPU if there is one.
        attached: histories and titles; `Recommender.load` reads them from frames.

    Raises:
        SDiffError: the weights are not finite or do not match the configuration, or there is no such device.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: Device | None = None, attached: frames.Attached = frames.NOTHING
    ) -> None:
        damaged = [name for name, tensor in checkpoint.weights.items() if not tensor.isfinite().all()]
        if damaged:
            raise SDiffError(
                f"The checkpoint's weights are not all finite numbers ({damaged[0]}): train it again, with a lower "
                f"learning rate (lr)."
            )
        self.checkpoint, self.attached = checkpoint, attached
        self.config, self.items = checkpoint.config, checkpoint.items
        self.device = best_device(device)
        model = Model(self.config, checkpoint.spectrum.to(self.device), checkpoint.item_counts.to(self.device))
        model = model.to(self.device).eval().requires_grad_(False)
        self.model, self.basis, self.denoiser = model, model.basis, model.denoiser
        self._score = StaticScore(model) if static_shapes() else partial(score, model)
        try:
            model.load_state_dict(checkpoint.weights)
        except RuntimeError as error:
            raise SDiffError(
                "The checkpoint is damaged, as its weights do not match its configuration: copy it again, or train it "
                "again."
            ) from error

    @classmethod
    def fit(
        cls,
        interactions: Any,
        preset: str | Config = AUTO,
        *,
        items: Any = None,
        seed: int = 0,
        minutes: float = MINUTES,
        device: Device | None = None,
        **options: Any,
    ) -> Recommender:
        """Trains on a frame of interactions. The model then knows its users.

        A fifth of each history, the last one if there are times and a random one otherwise, decides the number of
        epochs, and the preset if it is "auto". Then the model is trained again, on all interactions. Keep what you want
        to test on out of the frame.

        Args:
            interactions: a pandas or Polars data frame, or an Arrow table. Columns of users, items and, if there are
                any, ratings and times are recognised by their usual names, such as user_id.
            preset: name of a preset, a `Config`, or "auto" to choose the best preset.
            items: a frame with titles, with columns such as item_id and title. Without it, they are in a column of the
                interactions, if there is one.
            seed: seed of all random choices.
            minutes: with "auto", time for the comparison of all presets.
            device: as in the constructor.
            **options: those of `Reading` that concern a frame: user, item, rating, timestamp, items_id and items_title
                (names of columns), timestamp_format, min_rating, core, skip_faulty and split.

        Raises:
            SDiffError: the frame or an option is invalid, or training fails.
        """
        reading = frames.reading_of(options)
        read, form, report = read_frame(interactions, reading)
        titles = titles_of(read.items, items, interactions, reading, report)
        checkpoint = frames.fitted(read, reading, preset, seed, minutes, device)
        return cls(checkpoint, device, frames.Attached(read, titles, form, reading))

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: Device | None = None,
        *,
        interactions: Any = None,
        items: Any = None,
        unknown: Unknown = "error",
        **options: Any,
    ) -> Recommender:
        """Loads a checkpoint.

        Args:
            folder: its folder, or the name of a checkpoint that is included ("demo") or was trained in the app.
            device: as in the constructor.
            interactions: a frame with the histories of users, because a checkpoint contains none.
            items: a frame with titles, as in `fit`.
            unknown: "error", or "ignore" to leave out interactions with items that the model does not know.
            **options: how to read frames, as in `fit`.

        Raises:
            SDiffError: the checkpoint is missing or damaged, its weights are not finite, or a frame is invalid.
        """
        checkpoint = Checkpoint.load(folder)
        return cls(checkpoint, device, frames.attached(checkpoint.items, interactions, items, unknown, options))

    @classmethod
    def from_pretrained(
        cls,
        name: Path | str,
        device: Device | None = None,
        *,
        revision: str | None = None,
        token: str | None = None,
        **options: Any,
    ) -> Recommender:
        """Loads a checkpoint from the Hugging Face Hub. Downloads it once. Needs the library `huggingface_hub`.

        Args:
            name: of the repository, such as "owner/name", or a local folder.
            device: as in the constructor.
            revision: branch, tag or commit; the main branch by default.
            token: for a private repository; by default the one that `hf auth login` stored.
            **options: interactions, items, unknown and how to read frames, as in `load`.

        Raises:
            SDiffError: the repository cannot be read, `huggingface_hub` is not installed, or as `load`.
        """
        folder = expanded(name)
        return cls.load(folder if folder.is_dir() else hub.download(str(name), revision, token), device, **options)

    def push_to_hub(
        self, name: str, *, private: bool | None = None, token: str | None = None, license: str = ""
    ) -> str:
        """Uploads the checkpoint and a model card to the Hugging Face Hub, for `from_pretrained`.

        The card names the data and their terms, the accuracy, the settings and the command. The upload contains no
        users, histories or titles, and no paths of this machine. Log in first with `hf auth login`, or give a token.

        Args:
            name: of the repository, such as "owner/name". It is created if it does not exist.
            private: whether a new repository is private; by default as the owner has chosen on the Hub.
            token: as in `from_pretrained`.
            license: identifier of the licence on the Hub, such as "mit"; by default that of a registered data set.

        Returns:
            The address of the repository.

        Raises:
            SDiffError: the repository cannot be written to, or `huggingface_hub` is not installed.
        """
        return hub.upload(self.checkpoint, name, private, token, license)

    def save(self, folder: Path | str) -> None:
        """Writes the checkpoint to a folder, for `load`. It contains neither histories nor titles.

        Raises:
            SDiffError: the folder cannot be written to.
        """
        self.checkpoint.save(folder)

    def update(self, interactions: Any, *, items: Any = None, seed: int = 0) -> Recommender:
        """A model that also knows new interactions, users and items, by a short training from the weights of this one.

        The interactions are added to the histories that this model was fitted on or loaded with. The new ones among the
        last fifth of each history decide the number of epochs. If the model has no histories, the frame must contain
        the former interactions, too, as the model would forget them otherwise. Known items keep their indices.

        Args:
            interactions: a frame, read with the options that this model was given.
            items: a frame with titles of new items, as in `fit`.
            seed: seed of the order of users, masks and noise.

        Raises:
            SDiffError: the frame is invalid, the former interactions are missing, or training fails.
        """
        checkpoint, attached = frames.updated(self, interactions, items, seed)
        return Recommender(checkpoint, self.device, attached)

    def __repr__(self) -> str:
        origin, K = self.checkpoint.provenance, len(self.basis.lam)
        preset = f", preset {origin.preset}" if origin.preset else ""
        return f"Recommender({origin.dataset}{preset}, {len(self.items):,} items, K={K}, {self.device})"

    @overload
    def recommend(
        self,
        history: Sequence[str | int],
        k: int = 20,
        *,
        seed: int = 0,
        exclude_seen: bool = True,
        candidates: np.ndarray | Iterable[str | int] | None = None,
        unknown: Unknown = "error",
        **settings: Any,
    ) -> Recommendations: ...

    @overload
    def recommend(
        self,
        *,
        users: Iterable[str | int] | None = None,
        histories: Any = None,
        k: int = 20,
        seed: int = 0,
        exclude_seen: bool = True,
        candidates: np.ndarray | Iterable[str | int] | None = None,
        unknown: Unknown = "error",
        **settings: Any,
    ) -> Any: ...

    def recommend(
        self,
        history: Sequence[str | int] | None = None,
        k: int = 20,
        *,
        users: Iterable[str | int] | None = None,
        histories: Any = None,
        seed: int = 0,
        exclude_seen: bool = True,
        candidates: np.ndarray | Iterable[str | int] | None = None,
        unknown: Unknown = "error",
        **settings: Any,
    ) -> Any:
        """The k best items for one history, or a frame with those of many users, who are ranked in batches.

        Args:
            history: item ids, oldest first. If it is empty, or nothing connects it with other items, a model that
                `needs_history` gives the most popular items.
            k: number of items; fewer are returned if fewer are left.
            users: ids of users of `histories`; all of them by default.
            histories: a frame of interactions, item ids by user (a dict), or a list of lists of item ids. By default,
                the interactions that the model was fitted on or loaded with.
            seed: seed of the sampling noise. The same history, settings and seed give the same list, alone or with
                others.
            exclude_seen: whether to exclude the items of the history.
            candidates: items that may be recommended, as ids or as an array (n_items,) bool in vocabulary order; all by
                default.
            unknown: "error", or "ignore" to skip users without a history, and items of histories or candidates that
                the model does not know.
            **settings: those of `Config.at_inference`, such as guidance=0.5 or T=1.

        Returns:
            `Recommendations` for one history. Otherwise a frame with one row per user and item, in the order of the
            users: the ids, `score`, `rank` from 1, and `title` if titles are known. The frame and its ids are of the
            same kind as those of `histories`, or by default as those that the model was given first.

        Raises:
            SDiffError: an unknown id; a setting that is unknown, out of range or fixed in training; an invalid k, seed
                or `candidates`; or a history and users or histories are given, or none of them and the model has no
                histories.
        """
        config, mask = self.config.at_inference(settings), self._mask(candidates, unknown)
        if not isinstance(exclude_seen, bool | np.bool_):
            raise SDiffError(f"exclude_seen must be True or False, not {brief(exclude_seen)}.")
        if history is not None and not (users is None and histories is None):
            raise SDiffError("Pass either one history, or users, histories or both.")
        if history is None:
            return frames.recommended(self, users, histories, k, config, seed, exclude_seen, mask, unknown)
        scores, items = self.top(self.encode(history, unknown), k, config, generator(seed), exclude_seen, mask)
        left = scores[0] > -torch.inf
        indices = items[0][left].tolist()
        return Recommendations([self.items.ids[i] for i in indices], indices, scores[0][left].tolist())

    def evaluate(
        self,
        test: Any,
        k: int | Sequence[int] = CUTOFFS,
        *,
        histories: Any = None,
        seed: int = 0,
        unknown: Unknown = "error",
        **settings: Any,
    ) -> Evaluation:
        """Evaluates the model on the interactions in a frame, which must have been held out from training.

        Items of the history are not ranked, and interactions of `test` that are in the history are left out.

        Args:
            test: frame of the held-out interactions.
            k: lengths of the lists that are measured.
            histories: as in `recommend`.
            seed: seed of the sampling noise.
            unknown: "error", or "ignore" to leave out users without a history and items that the model does not know.
            **settings: those of `Config.at_inference`.

        Raises:
            SDiffError: as `recommend`, or nothing is held out.
        """
        return frames.evaluated(self, test, histories, k, self.scorer(seed, **settings), unknown)

    def similar_items(self, item: str | int, k: int = 10) -> Recommendations:
        """The k items that are most similar to an item, without the item itself.

        The similarity of two items is the cosine of their rows in `item_vectors`, at most 1. It needs no history, takes
        one product of (n_items, K) by (K,), and does not depend on the denoiser.

        Args:
            item: id of the item.
            k: number of items; fewer are returned if fewer have a place in the spectrum.

        Raises:
            SDiffError: an unknown id, an invalid k, or an item whose vector is zero, because nobody in the
                training data had it or it has few neighbours.
        """
        i, k = int(self.items.encode([item])[0]), whole("k", k, 1)
        if not self._placed[i]:
            raise SDiffError(
                f"Item {item} has too few interactions in the training data to say what is similar to it: choose "
                f"another item."
            )
        scores = self.item_vectors @ self.item_vectors[i]  # (n_items,)
        scores[~self._placed] = -torch.inf
        scores[i] = -torch.inf
        values, items = scores.topk(min(k, int(self._placed.sum()) - 1))
        indices = items.tolist()
        return Recommendations([self.items.ids[i] for i in indices], indices, values.tolist())

    @cached_property
    def item_vectors(self) -> Tensor:
        """(n_items, K) unit vectors, one per item; zero for an item that the K lowest frequencies do not reach.

        They are the rows of U (1 - lam), scaled. 1 - lam is the low-pass of the item graph: with user_power = 1/2, when
        A = U diag(1 - lam) U', these are the rows of A at the K lowest frequencies, so items are similar if their
        neighbourhoods are. Smaller powers have frequencies with lam = 0, which count alike. On ml-latest-small, with
        user_power = 1/2, similar items share more genres and more test users with this weight than with
        (1 - lam)^1/2, a heat kernel, or none.
        """
        spectrum = self.model.spectrum
        rows = spectrum.U * (1 - spectrum.lam)
        length = rows.norm(dim=1, keepdim=True)
        return torch.where(length > NEGLIGIBLE, rows / length, 0.0)

    @cached_property
    def _placed(self) -> Tensor:
        """(n_items,) bool, whether an item has a place in the spectrum."""
        return self.item_vectors.any(1)

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
            noise: CPU generator of the sampling noise, which all histories share: a list does not depend on the others.
            exclude_seen: whether to exclude the items of each history.
            allowed: (n_items,) bool, the items that may be recommended; all by default.

        Returns:
            Scores as in `Recommendations`, and item indices. The score is -inf at ranks for which no item is left.

        Raises:
            SDiffError: k is not an integer of at least 1, or a score is not finite.
        """
        k = whole("k", k, 1)
        scores = exclude_(self.scores(x, config, noise, shared=True), x if exclude_seen else None, allowed)
        values, items = top_n(scores, k)
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

    def _mask(self, allowed: np.ndarray | Iterable[str | int] | None, unknown: Unknown) -> np.ndarray | None:
        """The argument `candidates` of `recommend` as an array (n_items,) bool."""
        if allowed is None:
            return None
        n_items = len(self.items)
        wrong = f"candidates must be a list of ids, or an array of {n_items:,} bool, not "
        if hasattr(allowed, "__array__"):  # also a column of a frame
            listed = np.asarray(allowed)
            if listed.dtype == object and len(listed) and all(isinstance(value, bool) for value in listed.flat):
                listed = listed.astype(bool)
            if listed.ndim != 1 or (listed.dtype == bool and len(listed) != n_items):
                raise SDiffError(f"{wrong}an array of shape {listed.shape} and type {listed.dtype}.")
            if listed.dtype == bool:
                return listed
            allowed = list(listed)
        if isinstance(allowed, list) and len(allowed) == n_items > len({*map(str, allowed)}):
            raise SDiffError(f"{wrong}{n_items:,} ids of which some are the same, such as a mask of 0 and 1.")
        mask = np.zeros(n_items, dtype=bool)
        mask[self.items.encode(allowed, unknown=unknown)] = True
        return mask

    def scores(self, x: Histories, config: Config, noise: torch.Generator, shared: bool = False) -> Tensor:
        """Scores x_hat (B, n_items) of histories x, in a new tensor: logits if the loss is softmax, else without unit.

        `noise` is a CPU generator, so that the sampling noise is the same on every device. With `shared`, all histories
        have the same noise, that of a batch of one. If the model `needs_history`, the score for one that is empty, or
        that nothing connects with other items, is the number of training interactions of the item.
        """
        scores = self._score(x, config, noise, shared)
        if self.needs_history and (alone := _unconnected(scores, x)).any():
            scores[alone] = self.checkpoint.item_counts.to(scores)  # (n_items,)
        return scores

    def by_popularity(self, x: Histories, config: Config) -> bool:
        """Whether the `scores` of one history are the popularity of the items, because the model says nothing."""
        return self.needs_history and bool(_unconnected(self._score(x, config, generator(0), False), x).any())

    def scorer(self, seed: int = 0, rank: int = 0, /, **settings: Any) -> Callable[[Histories], Tensor]:
        """`scores` with settings of `Config.at_inference` and one stream of sampling noise, as `evaluate` takes it.

        Raises SDiffError for an invalid seed, or a setting that is unknown, out of range or fixed in training.
        """
        config, noise = self.config.at_inference(settings), generator(seed, rank)
        return lambda x: self.scores(x, config, noise)

    @property
    def needs_history(self) -> bool:
        """Whether the model is linear without a bias, so that its own scores for an empty history are all 0."""
        return self.config.denoiser != "mlp" and self.config.loss != "softmax"


def _unconnected(scores: Tensor, x: Histories) -> Tensor:
    """Whether the scores (B, n_items) are 0, but for rounding errors, outside of each history: (B,) bool."""
    own = x.at(scores)
    x.fill_(scores, 0.0)  # and back: a copy would take longer
    inside = scores.new_zeros(len(x)).scatter_reduce_(0, x.rows, own.abs(), "amax")

    def quiet(scores: Tensor, inside: Tensor) -> Tensor:
        low, high = torch.aminmax(scores, dim=1)
        return torch.maximum(high, -low) <= ROUNDING * inside

    alone = quiet(scores[:, :FIRST], inside)  # true of few users, so that the other items are rarely looked at
    rows = alone.nonzero()[:, 0]
    alone[rows] = quiet(scores[rows], inside[rows])
    scores[x.rows, x.items] = own
    return alone & (x.offsets.diff() < scores.shape[1])  # there may be no other items
