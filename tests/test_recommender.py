import numpy as np
import pytest
import torch

from sdiff import Recommender, SDiffError
from sdiff.histories import Histories
from sdiff.training import Trainer
from tests.conftest import CPU, SMALL


@pytest.fixture(scope="module")
def model(split):
    trainer = Trainer(SMALL, split, 0, CPU)
    list(trainer.fit())
    return Recommender(trainer.checkpoint("tastes", "paper"), CPU)


def taste(ids):
    return {int(id[1:]) // 10 for id in ids}


def test_a_history_nobody_ever_had_is_folded_in_and_its_taste_found(model):
    for first in (0, 10, 20):
        history = [f"i{first + j}" for j in (3, 1, 8, 5)]
        found = model.recommend(history, k=6, noise=False)
        assert taste(found.ids) == {first // 10} and not set(found.ids) & set(history)
        assert found.scores == sorted(found.scores, reverse=True)
        assert [model.items.ids[i] for i in found.indices] == found.ids


def test_the_seed_decides_and_without_noise_there_is_nothing_to_decide(model):
    history = ["i2", "i14"]
    assert model.recommend(history, seed=1) == model.recommend(history, seed=1) != model.recommend(history, seed=2)
    assert model.recommend(history, seed=1, noise=False) == model.recommend(history, seed=2, noise=False)


def test_settings_act_and_wrong_ones_are_said(model):
    history = ["i2", "i3"]
    assert model.recommend(history, noise=False, guidance=3.0) != model.recommend(history, noise=False, guidance=0.0)
    with pytest.raises(SDiffError, match="did you mean guidance"):
        model.recommend(history, guidence=1)
    with pytest.raises(SDiffError, match="K is fixed"):
        model.recommend(history, K=3)
    with pytest.raises(SDiffError, match="Unknown item x"):
        model.recommend(["x"])
    with pytest.raises(SDiffError, match="at least 1"):
        model.recommend(history, k=0)


@pytest.mark.parametrize("loss", ["softmax", "mse"])
@pytest.mark.parametrize("allowed", [None, np.arange(30) % 3 > 0], ids=["all", "some"])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_every_item_that_may_be_recommended_is_in_the_longest_list_however_unlikely(split, loss, allowed, exclude_seen):
    config = SMALL.override({"loss": loss, "noise": False})
    checkpoint = Trainer(config, split, 0, CPU).checkpoint("tastes", "paper")
    if loss == "softmax":
        checkpoint.weights["basis.bias"] = torch.linspace(0, 10_000, 30)  # all but the last are e^-300 and less
    model, seen = Recommender(checkpoint, CPU), ["i29", "i4", "i7"]
    found = model.recommend(seen, k=30, exclude_seen=exclude_seen, allowed=allowed)
    scores = model.scores(Histories.from_lists([[29, 4, 7]], CPU), model.config, torch.Generator())[0]
    order = scores.argsort(descending=True).tolist()
    out = {29, 4, 7} if exclude_seen else set()
    assert found.indices == [i for i in order if i not in out and (allowed is None or allowed[i])]
    if loss == "softmax":
        probabilities = scores[found.indices].double().softmax(0)
        np.testing.assert_allclose(found.scores, probabilities, rtol=1e-4, atol=1e-30)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_scores_like_the_cpu(model):
    other = Recommender(model.checkpoint, torch.device("cuda"))
    rows = [[0, 3, 4], [25], list(range(12))]
    for noise in (False, True):
        config = model.config.at_inference({"noise": noise, "guidance": 0.5})
        here, there = (
            m.scores(Histories.from_lists(rows, m.device), config, torch.Generator().manual_seed(0))
            for m in (model, other)
        )
        torch.testing.assert_close(here, there.cpu(), atol=1e-4, rtol=1e-4)
