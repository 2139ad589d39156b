"""Devices by name, and missing devices."""

import pytest
import torch

from sdiff import Recommender, SDiffError
from sdiff.base.device import best_device, device_name
from sdiff.evaluation.baselines import popularity
from sdiff.evaluation.evaluate import evaluate, evaluate_users
from sdiff.method.spectrum import spectral_basis
from sdiff.training.trainer import Trainer
from tests.conftest import CPU, SMALL


def test_a_device_can_be_given_by_name(split):
    assert best_device("cpu") == best_device(CPU) == CPU
    trainer = Trainer(SMALL.override({"epochs": 1}), split, 0, "cpu").fit()
    model = Recommender(trainer.checkpoint("tastes", "paper"), "cpu")
    assert trainer.device == model.device == CPU
    score = popularity(split)
    assert evaluate(score, split, "test", "cpu") == evaluate(score, split, "test", CPU)
    assert torch.equal(spectral_basis(split.train, 5, "cpu").U, spectral_basis(split.train, 5, CPU).U)
    lists = [evaluate_users(score, split, "test", device).items for device in ("cpu", CPU)]
    assert (lists[0] == lists[1]).all()
    assert device_name("cpu") == device_name(CPU)


@pytest.mark.parametrize("wanted", ["gpu", "", "CPU 0", "cuda:x", 0, 1.5, b"cpu", "mps", "meta"])
def test_an_unknown_device_is_refused(wanted):
    with pytest.raises(SDiffError, match=r"choose cpu or cuda|The device must be cpu, cuda or"):
        best_device(wanted)


@pytest.mark.parametrize(("gpus", "said"), [(0, "finds no GPU"), (1, "finds 1 GPU[.]"), (2, "finds 2 GPUs")])
def test_a_missing_gpu_is_reported(gpus, said, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    for wanted in (f"cuda:{gpus}", torch.device("cuda", gpus + 1)):
        with pytest.raises(SDiffError, match=said):
            best_device(wanted)
    if gpus:
        assert best_device("cuda") == best_device() == torch.device("cuda")
        assert best_device(f"cuda:{gpus - 1}").index == gpus - 1
