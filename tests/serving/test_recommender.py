from pathlib import Path

import numpy as np
import pytest
import torch

from sdiff import Recommender, SDiffError
from sdiff.config import PRESETS
from sdiff.data.interactions import Split
from sdiff.method import diffusion, spectrum
from sdiff.method.histories import Histories
from sdiff.serving.explain import explain
from sdiff.training.trainer import Trainer
from tests.conftest import CPU, SMALL


def untrained(split, **changes):
    """A model with a zero network: its estimate is the mean of v_t and the condition, for any seed."""
    config = SMALL.override({"residual": True} | changes)
    return Recommender(Trainer(config, split, 0, CPU).checkpoint("tastes", "paper"), CPU)


@pytest.fixture(scope="module")
def model(split):
    return untrained(split)


def test_a_new_history_is_folded_in_and_its_taste_is_found(split):
    model = untrained(split, K=3)  # frequency 0 of each of the three tastes, which are disjoint
    for first in (0, 10, 20):
        history = [f"i{first + j}" for j in (3, 1, 8, 5)]
        found = model.recommend(history, k=6)
        assert taste(found.ids) == {first // 10} and not set(found.ids) & set(history)
        assert found.scores == sorted(found.scores, reverse=True)
        assert [model.items.ids[i] for i in found.indices] == found.ids


@pytest.mark.parametrize("preset", ["instant", "filter", "gfcf"])
def test_a_model_that_is_linear_in_the_history_gives_the_most_popular_items_for_an_empty_one(split, preset):
    config = PRESETS[preset].override({"K": 8})
    model = Recommender(Trainer(config, split, 0, CPU).fit().checkpoint("tastes", preset), CPU)
    counts = split.train.item_counts
    found = model.recommend([], k=len(counts))
    assert model.needs_history and found.scores == sorted(counts.tolist(), reverse=True)
    assert [counts[i] for i in found.indices] == found.scores
    mixed = Histories.from_lists([[], [3, 4], []], CPU)
    noise = torch.Generator().manual_seed(0)
    scores = model.scores(mixed, model.config, noise)
    alone = model.scores(mixed.take(torch.tensor([1])), model.config, noise)
    assert torch.equal(scores[0], scores[2]) and torch.allclose(scores[1], alone[0])


def test_other_models_have_scores_of_their_own_for_an_empty_history(model):
    assert not model.needs_history and model.recommend([], k=3).ids


@pytest.mark.parametrize("loss", ["mse", "softmax"])
@pytest.mark.parametrize(("T", "guidance"), [(1, 0.0), (1, 0.7), (3, 0.0), (3, 0.7), (3, -0.5)])
@pytest.mark.parametrize("noise", [1.0, 0.4, 0.0])
def test_scores_equal_algorithm_2_step_by_step(split, loss, T, guidance, noise):
    model = untrained(split, loss=loss, normalise=loss == "softmax")
    settings = {"T": T, "guidance": guidance, "noise": noise, "tau": 1.5, "alpha_min": 0.1, "sigma_max": 0.4}
    found = model.recommend(["i2", "i14", "i3", "i2"], 30, seed=5, exclude_seen=False, **settings)

    U, lam = model.checkpoint.spectrum.U.double(), model.checkpoint.spectrum.lam.double()
    x = torch.zeros(30, dtype=torch.float64)
    x[[2, 14, 3]] = 1 / 3 if loss == "softmax" else 1
    if loss == "softmax":
        U = 30**0.5 * U
    eps = torch.randn(T, 1, len(lam), generator=torch.Generator().manual_seed(5))[:, 0]
    c = v = x @ U

    def probabilities(v):
        return (np.exp(-3) * U @ v + torch.log(torch.from_numpy(split.train.item_counts) + 1.0)).softmax(0)

    for k in range(T, 0, -1):  # from tau down, each estimate noised to the next level
        if loss == "softmax" and k < T:  # the estimate is a history: its own items and, for the share masked, others
            p = torch.where(x > 0, 0.0, probabilities(v))
            v = 0.5 * c + 0.5 * (p / p.sum()) @ U
        kernel = torch.exp(-1.5 * k / T * lam)
        sigma = (1 - kernel**2).clamp(min=0).sqrt().clamp(max=0.4)
        v_t = (0.9 * kernel + 0.1) * v + noise * sigma * eps[T - k]
        v_c, v_u = (v_t + c) / 2, v_t / 2
        v = v_c + guidance * (v_c - v_u)
    scores = probabilities(v) if loss == "softmax" else U @ v
    np.testing.assert_allclose(found.scores, scores[found.indices], rtol=1e-4, atol=1e-5)
    assert sorted(found.indices) == list(range(30)) and found.scores == sorted(found.scores, reverse=True)


def test_a_repeated_item_in_a_history_counts_once(model):
    x = model.encode(["i2", "i14", "i2"])
    assert x.items.tolist() == [2, 14] and x.weights.tolist() == [1, 1] and len(x) == 1
    assert model.recommend(["i2", "i14", "i2"]) == model.recommend(["i2", "i14"])
    by_item = explain(model, ["i2", "i14", "i2"], "i3").by_item
    assert by_item.tolist() == explain(model, ["i2", "i14"], "i3").by_item.tolist()


def test_unknown_ids_in_a_history_are_skipped_on_request(model):
    history = ["nobody", "i2", "", "i14", 3]
    assert model.recommend(history, unknown="ignore") == model.recommend(["i2", "i14"])
    assert model.recommend(["nobody"], unknown="ignore") == model.recommend([])
    with pytest.raises(SDiffError, match="Unknown item nobody, '', 3: the 30 known ids"):
        model.recommend(history)
    for word in ("skip", "", None, True):
        with pytest.raises(SDiffError, match="unknown must be one of error, ignore, not"):
            model.recommend(["i2"], unknown=word)
    with pytest.raises(SDiffError, match="as a list"):
        model.recommend("i2", unknown="ignore")


def test_a_tilde_is_the_home_folder(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    model.checkpoint.save("~/m")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert Recommender.load("~/m", CPU).recommend(["i2"]) == model.recommend(["i2"])
    assert Recommender.load(Path("~/m"), CPU).items == model.items
    with pytest.raises(SDiffError, match="no home folder for '~nobody-has-this-name/m'"):
        Recommender.load("~nobody-has-this-name/m")


def test_a_model_is_shown_in_one_line(model, split):
    assert repr(model) == "Recommender(tastes, preset paper, 30 items, K=12, cpu)"
    assert len(repr(model.checkpoint)) < 500
    unnamed = Recommender(Trainer(SMALL, split, 0, CPU).checkpoint("tastes", ""), CPU)
    assert repr(unnamed) == "Recommender(tastes, 30 items, K=12, cpu)"


def taste(ids):
    return {int(id[1:]) // 10 for id in ids}


def test_the_seed_determines_the_noise_and_has_no_effect_without_it(model):
    history = ["i2", "i14"]
    assert model.recommend(history, seed=1) == model.recommend(history, seed=1) != model.recommend(history, seed=2)
    assert model.recommend(history, seed=1, noise=False) == model.recommend(history, seed=2, noise=False)


def test_settings_have_an_effect_and_invalid_ones_are_refused(model):
    history = ["i2", "i3"]
    assert model.recommend(history, noise=False, guidance=3.0) != model.recommend(history, noise=False, guidance=0.0)
    with pytest.raises(SDiffError, match="did you mean guidance"):
        model.recommend(history, guidence=1)
    with pytest.raises(SDiffError, match="K is fixed"):
        model.recommend(history, K=3)
    with pytest.raises(SDiffError, match="Unknown item x"):
        model.recommend(["x"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        *(({"k": k}, "k must be a whole number") for k in (0, -1, 3.5, "3", None, True, float("nan"), float("inf"))),
        *(({"seed": seed}, "seed must be a whole number") for seed in (-1, 2**31, 2**64, 1.5, "1", None)),
        *(({"candidates": np.ones(n, bool)}, "an array of 30 bool") for n in (1, 29, (30, 1), (2, 30))),
        *(({"candidates": np.ones(30, kind)}, "an array of 30 bool") for kind in ("uint8", "float32", "object")),
        ({"candidates": [1] * 30}, "an array of 30 bool"),
        ({"candidates": ["i1", "nobody"]}, "Unknown item nobody"),
        ({"candidates": "i1"}, "as a list"),
        ({"history": "i2"}, "as a list"),
    ],
    ids=str,
)
def test_a_value_of_the_wrong_type_is_refused(model, wrong, said):
    with pytest.raises(SDiffError, match=said):
        model.recommend(**{"history": ["i2", "i3"]} | wrong)


def test_numpy_numbers_are_accepted_and_allowed_items_can_be_given_by_id(model):
    plain = model.recommend(["i2"], k=5, seed=3)
    assert model.recommend(["i2"], k=np.int64(5), seed=np.uint8(3)) == plain == model.recommend(("i2",), 5.0, seed=3)
    some = model.recommend(["i2"], 30, candidates={"i4", "i7", "i2"})
    assert set(some.ids) == {"i4", "i7"}
    mask = np.isin(np.arange(30), [2, 4, 7])
    assert some == model.recommend(["i2"], 30, candidates=mask)
    assert not model.recommend(["i2"], 30, candidates=[]).ids


@pytest.mark.parametrize("loss", ["softmax", "mse"])
@pytest.mark.parametrize("allowed", [None, np.arange(30) % 3 > 0], ids=["all", "some"])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_the_longest_list_contains_every_allowed_item(split, loss, allowed, exclude_seen):
    config = SMALL.override({"loss": loss, "noise": False})
    checkpoint = Trainer(config, split, 0, CPU).checkpoint("tastes", "paper")
    if loss == "softmax":
        checkpoint.weights["basis.bias"] = torch.linspace(0, 10_000, 30)  # all but the last are at most e^-300
    model, seen = Recommender(checkpoint, CPU), ["i29", "i4", "i7"]
    found = model.recommend(seen, k=30, exclude_seen=exclude_seen, candidates=allowed)
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


def test_similar_items_share_users_and_the_most_alike_come_first(model):
    for item in ("i3", "i14", "i29"):
        similar = model.similar_items(item, k=9)
        assert taste(similar.ids) == {int(item[1:]) // 10} and item not in similar.ids, "tastes are disjoint"
        assert similar.scores == sorted(similar.scores, reverse=True) and max(similar.scores) <= 1 + 1e-6
        assert [model.items.ids[i] for i in similar.indices] == similar.ids
        assert model.similar_items(item, k=4).ids == similar.ids[:4]
    assert len(model.similar_items("i3", k=100).ids) == 29


def test_similarity_is_the_cosine_in_the_low_passed_spectrum_and_symmetric(model):
    spectrum = model.checkpoint.spectrum
    rows = spectrum.U.double() * (1 - spectrum.lam.double())
    S = rows @ rows.T
    S = S / S.diagonal().sqrt()[:, None] / S.diagonal().sqrt()
    for i in range(30):
        found = model.similar_items(f"i{i}", k=29)
        np.testing.assert_allclose(found.scores, S[i, found.indices], atol=1e-5)
        assert sorted(found.indices) == [j for j in range(30) if j != i]


def test_an_item_without_users_has_no_similar_items_and_is_similar_to_none(random_interactions):
    nothing = random_interactions.empty
    model = untrained(Split(random_interactions, nothing, nothing))
    with pytest.raises(SDiffError, match="Item i49 has too few interactions"):
        model.similar_items("i49")
    vectors = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    vectors[49] = 0.0
    model.item_vectors = torch.nn.functional.normalize(vectors)
    similar = model.similar_items("i0", k=100)
    assert len(similar.ids) == 48 and "i49" not in similar.ids and min(similar.scores) < 0
    with pytest.raises(SDiffError, match="Unknown item nobody"):
        model.similar_items("nobody")
    for k in (0, 1.5, "3"):
        with pytest.raises(SDiffError, match="k must be a whole number"):
            model.similar_items("i0", k)


def test_scores_in_tiles_are_those_of_all_items(monkeypatch):
    v, U, bias = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) for shape in ((3, 4), (50, 4), (50,)))
    monkeypatch.setattr(spectrum, "TILE", 7)
    torch.testing.assert_close(spectrum.inverse(v, U), v @ U.T)
    torch.testing.assert_close(spectrum.inverse(v, U, bias), v @ U.T + bias)
    v.requires_grad_()
    spectrum.inverse(v, U, bias).sum().backward()
    torch.testing.assert_close(v.grad, U.sum(0).expand(3, 4))


def test_common_users_are_counted(split):
    X = split.train.matrix().toarray()
    for item in (0, 17, 29):
        assert split.train.co_occurrence(item).tolist() == (X[:, item] @ X).tolist()


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_scores_of_many_users_are_computed_in_blocks(split, noise, monkeypatch):
    model, x = untrained(split), Histories.from_interactions(split.train, CPU)
    config = model.config.override({"T": 5, "noise": noise})
    whole = model.scores(x, config, torch.Generator().manual_seed(0))
    blocks = []
    compute = diffusion.score_with
    monkeypatch.setattr(diffusion, "score_with", lambda eps, m, x, c: blocks.append(len(x)) or compute(eps, m, x, c))
    monkeypatch.setattr(diffusion, "SCORES", 7 * len(split.items))
    monkeypatch.setattr(diffusion, "FEWEST", 1)
    torch.testing.assert_close(model.scores(x, config, torch.Generator().manual_seed(0)), whole)
    assert blocks == [7] * (len(x) // 7) + [len(x) % 7] and blocks[-1]
