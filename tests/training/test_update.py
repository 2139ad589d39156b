"""An update continues a model on data that have grown."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sdiff.base.errors import SDiffError
from sdiff.config import PRESETS
from sdiff.data.interactions import Split
from sdiff.data.splits import chronological_split
from sdiff.method.histories import Histories
from sdiff.method.spectrum import SpectralBasis
from sdiff.serving.recommender import Recommender
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.trainer import Trainer
from sdiff.training.update import FOLDS, PART, continued, update
from tests.conftest import CPU, SMALL, same

CONFIGS = {
    "paper": SMALL.override({"epochs": 2}),
    "cross-fitted": SMALL.override(
        {"epochs": 2, "folds": 3, "loss": "softmax", "graph_entries": 200, "normalise": True, "user_power": 0.25}
    ),
    "learnt": SMALL.override({"epochs": 2, "loss": "softmax", "basis": "directional", "ema": 0.5, "half_life": 2}),
}
FILTER = SMALL.override(
    {"residual": True, "noise": 0, "K": 3, "epochs": 1, "lr": 0, "guidance": 0}
)  # its scores are U U'x
NEW = ["i9", "i29"]


@pytest.fixture(scope="module")
def former_split(tastes) -> Split:
    """Without two items and the last nine users."""
    new = tastes.items.encode(NEW)
    return chronological_split(tastes.where(~np.isin(tastes.indices, new) & (tastes.rows < 51)).compact())


def trained(config, split):
    return Trainer(config, split, 0, CPU).fit().checkpoint("tastes", "paper")


@pytest.fixture(scope="module")
def filter_of_tastes(former_split) -> Checkpoint:
    """Its eigenvectors are those of the three tastes, which no user connects."""
    former = trained(FILTER, former_split)
    taste = torch.tensor([int(id[1:]) // 10 for id in former.items.ids])
    U = (taste[:, None] == torch.arange(3)) * former.item_counts[:, None].sqrt()
    return replace(former, spectrum=SpectralBasis((U / U.norm(dim=0)).float(), torch.zeros(3)))


def scores(checkpoint: Checkpoint) -> torch.Tensor:
    """Scores of a history of the ids i0 to i3, with the noise of one seed."""
    model = Recommender(checkpoint, CPU)
    x = Histories.from_ids(["i0", "i1", "i2", "i3"], model.items, CPU)
    return model.scores(x, model.config, torch.Generator().manual_seed(0))[0]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_without_new_data_an_update_starts_at_the_former_model(config, former_split):
    former = trained(config, former_split)
    start = update(former, former_split, 0, CPU, epochs=0).fit().checkpoint("tastes", "paper")
    torch.testing.assert_close(scores(start), scores(former), atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_known_items_keep_their_indices_and_new_ones_follow(config, former_split, split):
    former = trained(config, former_split)
    trainer = update(former, split, 0, CPU, epochs=1).fit()
    found = continued(trainer, former, "grown")
    n = len(former.items)
    assert found.items.ids[:n] == former.items.ids and {*found.items.ids[n:]} == {*split.items.ids} - {
        *former.items.ids
    }
    assert found.item_counts.tolist() == [split.train.item_counts[split.items.index[id]] for id in found.items.ids]
    assert scores(found).isfinite().all()
    assert trainer.split.fingerprint != split.fingerprint and len(trainer.split.train) == len(split.train)


def test_an_update_computes_no_eigenvectors(former_split, split, monkeypatch):
    former = trained(CONFIGS["cross-fitted"].override({"folds": FOLDS + 2}), former_split)
    for module in ("training.trainer", "method.crossfit"):
        monkeypatch.setattr(f"sdiff.{module}.shared_basis", None)
    assert len(update(former, split, 0, CPU).folds) == FOLDS


def test_a_new_item_is_recommended_to_those_of_its_taste_before_any_training(filter_of_tastes, split):
    model = Recommender(update(filter_of_tastes, split, 0, CPU, epochs=0).fit().checkpoint("", ""), CPU)
    for taste, new in enumerate(("i9", None, "i29")):
        found = model.recommend([f"i{10 * taste + j}" for j in range(4)], k=6).ids
        assert {int(id[1:]) // 10 for id in found} == {taste} and (new is None or new in found)


def test_training_that_does_not_improve_the_validation_changes_nothing(filter_of_tastes, split):
    former = replace(filter_of_tastes, config=FILTER.override({"lr": 1.0, "eval_every": 1}))
    trainer = update(former, split, 0, CPU, epochs=3)
    start = trainer.checkpoint("", "").weights
    assert trainer.fit().curve[0][0] == 0 and trainer.best.epoch == 0 and trainer.epoch == 3
    assert trainer.best.value == max(value for _, value in trainer.curve)
    assert same(trainer.checkpoint("", "").weights, start)


@pytest.mark.parametrize("config", [SMALL.override({"epochs": 1}), PRESETS["instant"].override({"K": 8})])
def test_new_interactions_alone_are_refused(former_split, config):
    former = trained(config, former_split)
    nothing = former_split.train.empty
    few = former_split.train.where(former_split.train.rows < 20)
    with pytest.raises(SDiffError, match=r"was trained on \d+: include the former interactions"):
        update(former, Split(few, nothing, nothing), 0, CPU)


def test_a_model_in_closed_form_is_computed_anew(former_split, split):
    config = PRESETS["instant"].override({"K": 8})
    former = trained(config, former_split)
    found = continued(update(former, split, 0, CPU).fit(), former, "grown")
    anew = Trainer(config, split.among(former.items.union(split.items)), 0, CPU).fit().checkpoint("grown", "paper")
    assert same(found.weights, anew.weights) and found.items == anew.items


def test_an_update_is_saved_and_updated_again(former_split, split, tmp_path):
    former = trained(CONFIGS["learnt"].override({"patience": 2 * PART}), former_split)
    trainer = update(former, split, 0, CPU).fit()
    assert trainer.epoch == 2
    found = continued(trainer, former, "grown")
    found.save(tmp_path / "updated")
    again = Checkpoint.load(tmp_path / "updated")
    assert same(again.weights, found.weights) and again.config == former.config and again.provenance.dataset == "grown"
    assert again.metrics["updated"] == former.fingerprint and "command" not in again.metrics
    second = continued(update(again, split, 0, CPU).fit(), again, "grown again")
    assert second.items == found.items and second.metrics["updated"] == found.fingerprint != former.fingerprint


def test_settings_that_were_changed_for_inference_do_not_change_the_training(former_split, split):
    former = trained(CONFIGS["learnt"], former_split)
    provenance = replace(former.provenance, trained={"half_life": 0.0})
    former = replace(former, config=former.config.at_inference({"half_life": 2.0}), provenance=provenance)
    trainer = update(former, split, 0, CPU, epochs=1)
    assert trainer.config.half_life == 0
    again = continued(trainer.fit(), former, "tastes")
    assert again.config.half_life == 2 and again.provenance.trained == {"half_life": 0.0}
