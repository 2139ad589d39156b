"""Continues a trained model on data that have grown: new interactions, new users and new items."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sdiff.base.device import Device
from sdiff.base.distributed import ALONE, Ranks
from sdiff.base.errors import SDiffError
from sdiff.data.interactions import Split
from sdiff.method.model import LearntBasis
from sdiff.method.nystroem import carried, neighbours_mean
from sdiff.method.spectrum import SpectralBasis, normalised_adjacency_root
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.trainer import Trainer

PART = 6  # an update trains for patience / PART epochs
LEAST = 0.5  # share of the former interactions that are expected among the present ones, of which some may be left out
FOLDS = 4  # maximum, because a fold takes as much time as an epoch


def update(
    checkpoint: Checkpoint,
    split: Split,
    seed: int,
    device: Device | None = None,
    ranks: Ranks = ALONE,
    epochs: int | None = None,
) -> Trainer:
    """A trainer that continues from the weights of a checkpoint, for a few epochs.

    The weights before the first epoch are validated, too: training keeps them unless it improves them. A model that is
    not trained by epochs (`Model.closed_form`) is computed anew.

    Args:
        split: the data as they are now, former interactions included, since a checkpoint contains none.
        epochs: by default `patience` / `PART`, at least 1.

    Returns:
        The trainer, to be run. The vocabulary of its items has those of the checkpoint first, at the same indices.

    Raises:
        SDiffError: as `Trainer`, or the former interactions are missing.
    """
    config = checkpoint.config.override(checkpoint.provenance.trained)
    split = split.among(checkpoint.items.union(split.items))
    before, now = int(checkpoint.item_counts.sum()), int(split.train.item_counts[: len(checkpoint.items)].sum())
    if now < before * LEAST:
        raise SDiffError(
            f"The training part has only {now:,} interactions with known items, but the model was trained on "
            f"{before:,}: include the former interactions, because the model forgets them otherwise."
        )
    if config.denoiser != "mlp":
        return Trainer(config, split, seed, device, ranks)
    epochs = max(config.patience // PART, 1) if epochs is None else epochs
    config = config.override({"epochs": epochs, "folds": min(config.folds, FOLDS)})
    return Trainer(config, split, seed, device, ranks, grown(checkpoint, split))


def grown(checkpoint: Checkpoint, split: Split) -> Checkpoint:
    """The checkpoint for the items of a split, whose vocabulary begins with that of the checkpoint.

    The spectrum is the former one, carried over to the grown graph, so that each coordinate keeps its meaning for the
    network. In a learnt basis, known items keep their offset from the initial basis. A new item gets the mean offset of
    its neighbours.
    """
    config, former, known = checkpoint.config, checkpoint.spectrum, checkpoint.item_counts
    root = normalised_adjacency_root(split.train.matrix(), config.user_power)
    spectrum, counts = SpectralBasis(carried(root, former.U), former.lam), torch.from_numpy(split.train.item_counts)
    weights = {name: tensor for name, tensor in checkpoint.weights.items() if not name.startswith("graph.")}
    if config.loss == "softmax":
        before, after = (LearntBasis(*of, config).state_dict() for of in ((former, known), (spectrum, counts)))
        for name, start in after.items():
            if start.shape[:1] == counts.shape:  # one row per item
                learnt: Tensor = weights[f"basis.{name}"] - before[name]
                weights[f"basis.{name}"] = start + torch.cat([learnt, neighbours_mean(root, learnt)])
    return replace(checkpoint, items=split.items, item_counts=counts, spectrum=spectrum, weights=weights)


def continued(trainer: Trainer, former: Checkpoint, dataset: str) -> Checkpoint:
    """The checkpoint of an update, with the settings of the former checkpoint, so that it can be updated again.

    Args:
        trainer: as returned by `update`, after its training.
        dataset: key of the data set, recorded in the provenance.
    """
    found = trainer.checkpoint(dataset, former.provenance.preset)
    provenance = replace(found.provenance, trained=former.provenance.trained)
    metrics = found.metrics | {"updated": former.fingerprint}
    return replace(found, config=former.config, provenance=provenance, metrics=metrics)
