import json
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save, save_file

from sdiff.base.errors import SDiffError
from sdiff.config import PRESETS
from sdiff.data.interactions import Split
from sdiff.evaluation.baselines import popularity
from sdiff.evaluation.evaluate import evaluate
from sdiff.method.diffusion import score
from sdiff.serving.recommender import Recommender
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.run_state import load_state, resume, save_state
from sdiff.training.trainer import CRITERION, CURVE, Trainer
from sdiff.training.trainer import trained as model_weights
from tests.conftest import CPU, SMALL, same


def trained(split, config=SMALL, seed=0):
    trainer = Trainer(config, split, seed, CPU)
    return trainer, list(trainer.iter_epochs())


@pytest.fixture(scope="module")
def run(split):
    return trained(split)


@pytest.fixture
def saved(run, tmp_path):
    checkpoint = run[0].checkpoint("tastes", "paper")
    checkpoint.save(tmp_path / "model")
    return tmp_path / "model"


def test_training_learns_the_tastes(run, split):
    trainer, progress = run
    assert progress[-1].loss < 0.7 * progress[0].loss
    model = Recommender(trainer.checkpoint("tastes", "paper"), CPU)
    score = lambda x: model.scores(x, model.config, torch.Generator().manual_seed(0))  # noqa: E731
    ours, theirs = evaluate(score, split, "test", CPU), evaluate(popularity(split), split, "test", CPU)
    assert ours["recall@10"] > 0.85 > theirs["recall@10"] + 0.3  # seeds 0 to 7 reach .93 to 1


def test_fit_trains_to_the_end(run, split):
    trainer = Trainer(SMALL, split, 0, CPU)
    assert trainer.fit() is trainer and trainer.finished and trainer.epoch == 30
    assert same(trainer.best.weights, run[0].best.weights)


def test_the_best_epoch_by_validation_is_the_one_kept(run):
    trainer, progress = run
    validated = [p for p in progress if p.valid]
    assert [p.epoch for p in validated] == list(range(5, 31, 5))
    best = max(validated, key=lambda p: p.valid[CRITERION])
    assert trainer.best.epoch == best.epoch == progress[-1].best_epoch
    assert trainer.checkpoint("tastes", "paper").provenance.epoch == best.epoch


@pytest.mark.parametrize("name", PRESETS)
def test_a_seed_gives_bit_identical_results_in_one_run_or_two(name, split, tmp_path):
    config = replace(PRESETS[name], K=12, hidden=32, epochs=7, eval_every=2, batch_size=20)
    whole, epochs = trained(split, config)
    torch.manual_seed(len(epochs))
    np.random.seed(9)  # noqa: NPY002
    first = Trainer(config, split, 0, CPU)
    for progress in first.iter_epochs():
        if progress.epoch == 3:
            break
    save_state(first, tmp_path / "state")
    resumed = Trainer(config, split, 0, CPU)
    resume(resumed, tmp_path / "state")
    rest = [(p.epoch, p.loss, p.valid) for p in resumed.iter_epochs()]
    assert rest == [(p.epoch, p.loss, p.valid) for p in epochs][3:]
    assert same(resumed.model.state_dict(), whole.model.state_dict())
    assert same(resumed.best.weights, whole.best.weights)
    assert resumed.curve == whole.curve == [(p.epoch, p.valid[CRITERION]) for p in epochs if p.valid]
    lists = [
        Recommender(run.checkpoint("tastes", name), CPU).recommend(["i1", "i2"], noise=True) for run in (whole, resumed)
    ]
    assert lists[0] == lists[1]
    if not whole.model.closed_form:
        assert not same(trained(split, config, seed=1)[0].best.weights, whole.best.weights)


@pytest.mark.parametrize("name", PRESETS)
def test_held_out_data_does_not_affect_a_model(name, split):
    config = replace(PRESETS[name], K=12, hidden=16, epochs=2, eval_every=2, batch_size=20)
    valid, test = (replace(part, indices=29 - part.indices) for part in (split.valid, split.test))
    parts = (split.valid, test), (split.test, split.valid), (valid, test)
    others = [Split(split.train, *held_out) for held_out in parts]
    ours, *theirs = (trained(one, config)[0].checkpoint("tastes", name) for one in (split, *others))
    for other in theirs:
        assert same(other.weights, ours.weights), "the graph among them"
        assert torch.equal(other.spectrum.U, ours.spectrum.U) and torch.equal(other.item_counts, ours.item_counts)
    ours, theirs = ours.metrics | {"train_seconds": 0}, [each.metrics | {"train_seconds": 0} for each in theirs]
    assert theirs[0] == ours != theirs[1], "the test part is not read"


def steps_of(trainer):
    """Trains and returns the weights at the start and after each step."""
    weights = [{name: p.detach().clone() for name, p in model_weights(trainer.model).items()}]
    trainer.optimizer.register_step_post_hook(
        lambda *_: weights.append({name: p.detach().clone() for name, p in model_weights(trainer.model).items()})
    )
    trainer.fit()
    return weights


def test_the_running_mean_of_the_weights_is_validated_and_kept(split, monkeypatch):
    validated = []

    def noted(model, x, config, noise):
        validated.append({name: p.detach().clone() for name, p in model_weights(model).items()})
        return score(model, x, config, noise)

    monkeypatch.setattr("sdiff.training.trainer.score", noted)
    trainer = Trainer(SMALL.override({"ema": 0.75, "batch_size": 30, "epochs": 1}), split, 0, CPU)
    first, second, third = steps_of(trainer)  # 60 users: two steps
    for name, start in first.items():
        mean = 0.75 * (0.75 * start + 0.25 * second[name]) + 0.25 * third[name]
        assert not torch.equal(start, third[name])
        for found in (validated[-1][name], trainer.checkpoint("tastes", "paper").weights[name]):
            torch.testing.assert_close(found, mean)


def test_every_epoch_visits_all_users_once_in_a_new_order(split):
    config = SMALL.override({"epochs": 3, "batch_size": 16, "eval_every": 9})
    trainer, batches = Trainer(config, split, 0, CPU), []
    loss = trainer.loss
    trainer.loss = lambda x, *rest: batches.append(x.users.tolist()) or loss(x, *rest)
    trainer.fit()
    assert [len(batch) for batch in batches] == 3 * [16, 16, 16, 12]
    epochs = [[user for batch in batches[first : first + 4] for user in batch] for first in (0, 4, 8)]
    assert all(sorted(epoch) == list(range(60)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in [*epochs, range(60)]}) == 4


def test_dropout_is_active_only_in_training(split):
    trainer = Trainer(SMALL.override({"dropout": 0.3, "epochs": 2, "eval_every": 1}), split, 0, CPU)
    hidden, found = trainer.model.denoiser.mlp[-1], {True: [], False: []}
    hidden.register_forward_pre_hook(lambda layer, given: found[layer.training].append((given[0] == 0).float().mean()))
    trainer.fit()
    assert torch.stack(found[True]).mean().item() == pytest.approx(0.3, abs=0.02)
    assert found[False] and not torch.stack(found[False]).any()


def test_the_noise_of_validation_is_the_same_in_every_epoch(split, monkeypatch):
    weights = Trainer(SMALL, split, 0, CPU).model.state_dict()

    def validations(seed):
        found = []
        monkeypatch.setattr("sdiff.training.trainer.score", lambda *given: found.append(score(*given)) or found[-1])
        trainer = Trainer(SMALL.override({"lr": 0.0, "epochs": 2, "eval_every": 1}), split, seed, CPU)
        trainer.model.load_state_dict(weights)
        trainer.fit()
        return found

    (one, again), (same_seed, _), (other, _) = validations(0), validations(0), validations(1)
    assert torch.equal(one, again) and torch.equal(one, same_seed) and not torch.equal(one, other)


def test_only_the_same_run_can_be_resumed(split, tmp_path):
    state = tmp_path / "training.safetensors"
    with pytest.raises(SDiffError, match="nothing to resume"):
        resume(Trainer(SMALL, split, 0, CPU), state)
    save_state(Trainer(SMALL, split, 0, CPU), state)
    resume(Trainer(SMALL.override({"epochs": 99}), split, 0, CPU), state)
    with pytest.raises(SDiffError, match="another run"):
        resume(Trainer(SMALL, split, 1, CPU), state)
    with pytest.raises(SDiffError, match="another run"):
        resume(Trainer(SMALL.override({"hidden": 65}), split, 0, CPU), state)
    state.write_bytes(b"half a file")
    with pytest.raises(SDiffError, match="damaged"):
        resume(Trainer(SMALL, split, 0, CPU), state)


def test_a_run_of_a_version_without_some_setting_can_be_resumed(split, tmp_path):
    state = tmp_path / "training.safetensors"
    save_state(Trainer(SMALL, split, 0, CPU), state)
    written = state.read_bytes()
    older = written.replace(b'\\"graph_log\\": false, ', b"")
    assert len(older) < len(written)
    size = int.from_bytes(older[:8], "little") - (len(written) - len(older))
    state.write_bytes(size.to_bytes(8, "little") + older[8:])
    resume(Trainer(SMALL, split, 0, CPU), state)
    with pytest.raises(SDiffError, match="another run"):
        resume(Trainer(SMALL.override({"loss": "softmax", "graph_entries": 9}), split, 0, CPU), state)


def test_a_run_can_be_resumed_on_another_kind_of_device(run, split, tmp_path):
    state = tmp_path / "training.safetensors"
    first = Trainer(SMALL.override({"epochs": 5}), split, 0, CPU)
    first.fit()
    save_state(first, state)
    with safe_open(state, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        metadata = file.metadata()
    save_file(tensors | {"generator": torch.zeros(16, dtype=torch.uint8)}, state, metadata)  # as CUDA's is
    second = Trainer(SMALL, split, 0, CPU)
    resume(second, state)
    assert same(second.model.state_dict(), first.model.state_dict())
    rest = list(second.iter_epochs())
    assert rest[-1].epoch == 30 and rest[-1].loss < 0.7 * run[1][0].loss
    assert [p.loss for p in rest] != [p.loss for p in run[1][5:]], "the noise differs"


def test_training_stops_early_without_improvement(split):
    _, progress = trained(split, SMALL.override({"patience": 5, "lr": 0.0}))
    assert progress[-1].epoch == 10, "nothing can improve at learning rate 0, so the first validation stays the best"


def test_training_stops_only_after_a_validation(split):
    _, progress = trained(split, SMALL.override({"patience": 2, "eval_every": 5, "lr": 0.0}))
    assert progress[-1].epoch == 10, "of the epochs 6 to 9 nobody knows whether they are better"


def test_without_a_validation_part_the_last_weights_are_kept(split):
    nothing = split.valid.empty
    trainer, progress = trained(Split(split.train, nothing, split.test), SMALL.override({"epochs": 3, "patience": 1}))
    assert [p.valid for p in progress] == [None] * 3
    checkpoint = trainer.checkpoint("tastes", "paper")
    assert checkpoint.provenance.epoch == 3 and same(checkpoint.weights, trainer.model.state_dict())


def test_training_does_not_use_the_global_generator(split):
    before = torch.get_rng_state()
    Trainer(SMALL, split, 0, CPU)
    assert torch.equal(before, torch.get_rng_state())


def test_a_checkpoint_is_loaded_as_it_was_saved(run, saved):
    checkpoint, loaded = run[0].checkpoint("tastes", "paper"), Checkpoint.load(saved)
    assert loaded.config == checkpoint.config and loaded.items == checkpoint.items
    assert loaded.provenance == checkpoint.provenance and loaded.metrics == checkpoint.metrics
    assert same(loaded.weights, checkpoint.weights)
    assert torch.equal(loaded.spectrum.U, checkpoint.spectrum.U)


def test_a_checkpoint_has_the_time_and_the_curve_of_its_training(run, saved):
    trainer, progress = run
    metrics = Checkpoint.load(saved).metrics
    validated = [p for p in progress if p.valid]
    assert metrics["curve"] == {
        "epoch": [p.epoch for p in validated],
        CRITERION: [round(p.valid[CRITERION], 5) for p in validated],
    }
    assert max(metrics["curve"][CRITERION]) == round(metrics["valid"][CRITERION], 5)
    assert metrics["train_seconds"] == round(trainer.seconds, 3) > 0


def test_a_long_curve_is_thinned_to_its_first_and_last_points_and_some_between(run):
    trainer = copy(run[0])
    trainer.curve = [(epoch, epoch / 5000) for epoch in range(1, 5001)]
    curve = trainer.checkpoint("tastes", "paper").metrics["curve"]
    assert len(curve["epoch"]) == len(curve[CRITERION]) == CURVE
    assert curve["epoch"][0] == 1 and curve["epoch"][-1] == 5000 and curve["epoch"] == sorted({*curve["epoch"]})
    assert len(json.dumps(curve)) < 3000


def test_checkpoints_and_states_of_earlier_versions_have_no_curve_and_no_time(run, saved, tmp_path):
    written = json.loads((saved / "metrics.json").read_text())
    (saved / "metrics.json").write_text(json.dumps({key: written[key] for key in ("weights", "valid")}))
    assert Checkpoint.load(saved).metrics == {"valid": written["valid"]}
    save_state(run[0], tmp_path / "state")
    tensors, state = load_state(tmp_path / "state")
    del state["curve"]
    (tmp_path / "state").write_bytes(save(tensors, metadata={"state": json.dumps(state)}))
    resumed = Trainer(SMALL, run[0].split, 0, CPU)
    resume(resumed, tmp_path / "state")
    assert resumed.epoch == run[0].epoch and resumed.curve == []
    assert "curve" not in resumed.checkpoint("tastes", "paper").metrics


def test_a_state_has_no_copy_of_what_is_computed_from_the_data(split, tmp_path):
    config = SMALL.override({"epochs": 2, "eval_every": 1, "loss": "softmax", "graph_entries": 900, "ema": 0.5})
    trainer = Trainer(config, split, 0, CPU).fit()
    save_state(trainer, tmp_path / "state")
    tensors, state = load_state(tmp_path / "state")
    assert not [name for name in tensors if "graph" in name]
    earlier = tensors | {f"best.{name}": tensor for name, tensor in trainer.fixed.items()}  # as it was written once
    (tmp_path / "earlier").write_bytes(save(earlier, metadata={"state": json.dumps(state)}))
    for name in ("state", "earlier"):
        resumed = Trainer(config, split, 0, CPU)
        resume(resumed, tmp_path / name)
        assert same(resumed.checkpoint("", "").weights, trainer.checkpoint("", "").weights)


@pytest.mark.parametrize(
    "damage",
    [
        {"train_seconds": "long"},
        {"train_seconds": float("nan")},
        {"curve": 5},
        {"curve": {}},
        {"curve": {"epoch": [1, 2], "recall@20": [0.1]}},
        {"curve": {"epoch": ["1"], "recall@20": [0.1]}},
        {"curve": {"epoch": [1], "recall@20": [float("inf")]}},
    ],
    ids=str,
)
def test_metrics_with_an_invalid_time_or_curve_are_ignored(saved, damage):
    metrics = json.loads((saved / "metrics.json").read_text())
    (saved / "metrics.json").write_text(json.dumps(metrics | damage))
    assert Checkpoint.load(saved).metrics == {}


@pytest.mark.parametrize(
    "curve", [5, [1], [[1]], [[0, 0.1]], [[99, 0.1]], [[1, 2.0]], [[2, 0.1], [1, 0.1]], [["1", 0]]]
)
def test_a_state_with_an_invalid_curve_is_refused(run, tmp_path, curve):
    save_state(run[0], tmp_path / "state")
    tensors, state = load_state(tmp_path / "state")
    (tmp_path / "state").write_bytes(save(tensors, metadata={"state": json.dumps(state | {"curve": curve})}))
    with pytest.raises(SDiffError, match="is damaged"):
        resume(Trainer(SMALL, run[0].split, 0, CPU), tmp_path / "state")


def test_saving_again_replaces_the_old_weights_without_leftovers(run, saved):
    Trainer(SMALL, run[0].split, 5, CPU).checkpoint("tastes", "paper").save(saved)
    assert len(list(saved.glob("*.safetensors"))) == 1 and not list(saved.glob(".*"))
    assert Checkpoint.load(saved).provenance.seed == 5


def change(folder, **keys):
    card = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(card | keys))


def test_a_damaged_checkpoint_is_refused(saved, tmp_path):
    with pytest.raises(SDiffError, match="no checkpoint"):
        Checkpoint.load(tmp_path / "nowhere")
    weights = next(saved.glob("*.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(SDiffError, match="checksum"):
        Checkpoint.load(saved)
    weights.unlink()
    with pytest.raises(SDiffError, match="Cannot read"):
        Checkpoint.load(saved)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"schema": 99}, "schema 99"),
        ({"config": {"Kay": 1}}, "Unknown setting 'Kay'"),
        ({"provenance": {"who": "me"}}, "unknown provenance"),
        ({"weights": {}}, "damaged"),
        ({"weights": {"file": "../../../etc/passwd", "sha256": ""}}, "Cannot read"),
        ({"provenance": None}, "damaged"),
    ],
)
def test_an_invalid_config_json_is_refused(saved, keys, message):
    change(saved, **keys)
    with pytest.raises(SDiffError, match=message):
        Checkpoint.load(saved)


def test_a_configuration_that_does_not_match_the_weights_is_refused(saved):
    change(saved, config=SMALL.override({"hidden": 63}).to_dict())
    with pytest.raises(SDiffError, match="do not match"):
        Recommender.load(saved, CPU)


def test_metrics_of_other_weights_are_ignored(saved):
    metrics = json.loads((saved / "metrics.json").read_text())
    (saved / "metrics.json").write_text(json.dumps(metrics | {"weights": "0" * 64}))
    assert Checkpoint.load(saved).metrics == {}
