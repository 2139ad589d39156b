"""The benchmarks put every tensor of every model on the device that they measure."""

import os
import sys

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from benchmarks import inference, training
from sdiff.data.splits import chronological_split
from sdiff.experiments import scaling
from sdiff.experiments.baselines.diffrec import DiffRec, Trained
from tests.conftest import CPU, ROOT

META = torch.device("meta")  # tensors without memory, which an operator does not mix with those of the CPU
FACTORIES = {"arange", "full", "ones", "rand", "randint", "randn", "randperm", "tensor", "zeros"}
OURS = tuple(f"{ROOT / folder}{os.sep}" for folder in ("sdiff", "benchmarks"))


class Placed(TorchFunctionMode):
    """Refuses to make a tensor without a device, which would be on the CPU, in our own code."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        place = sys._getframe(1).f_code.co_filename
        if func.__name__ in FACTORIES and place.startswith(OURS):
            assert kwargs.get("device") is not None, f"{func.__name__} has no device in {place}"
        return func(*args, **kwargs)


def tensors(holder, name="model", seen=None):
    """All tensors that an object holds, by name: its attributes and theirs, in modules, lists and tuples."""
    seen = set() if seen is None else seen
    if id(holder) in seen:
        return
    seen.add(id(holder))
    if isinstance(holder, torch.Tensor):
        yield name, holder
    elif isinstance(holder, dict):
        for key, value in holder.items():
            yield from tensors(value, f"{name}.{key}", seen)
    elif isinstance(holder, list | tuple):
        for i, value in enumerate(holder):
            yield from tensors(value, f"{name}[{i}]", seen)
    elif isinstance(holder, nn.Module) or type(holder).__module__.startswith("sdiff."):
        yield from tensors(vars(holder), name, seen)


@pytest.mark.parametrize("name", ["S-Diff", "S-Diff, fused", "DiffRec", "GiffCF's propagation", "floor"])
def test_lists_make_no_tensor_beside_the_device(name):
    with torch.inference_mode():
        run = inference.contestants(250, 5, CPU)[name]
        with Placed():
            run()


def test_epochs_of_training_make_no_tensor_beside_the_device(tastes):
    split = training.unvalidated(chronological_split(tastes).train)
    for run in training.contestants(split, 1, CPU).values():
        with Placed():
            run()


def test_a_tensor_without_a_device_is_noticed():
    with Placed(), pytest.raises(AssertionError, match="randn has no device"):
        scaling.random_spectrum(9, 2)


def test_all_tensors_of_a_rival_move_with_it(split):
    for model in (DiffRec(30).to(META), Trained(split, META)):
        held = dict(tensors(model))
        assert "model._modules.noise._buffers.alpha_bar" in held
        assert not [name for name, tensor in held.items() if tensor.device != META]
