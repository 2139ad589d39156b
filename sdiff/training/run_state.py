"""Saves the state of a training run to a file and resumes from it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from sdiff.base.errors import SDiffError
from sdiff.base.files import write_atomically
from sdiff.config import Config
from sdiff.training.trainer import Best, Trainer, trained
from sdiff.training.validate import check_alike, parse_json, read_header, read_tensors

EPOCHS = 10**9  # more than any run
SPARE = 1 << 20  # bytes allowed for a state in addition to weights and moments


def save_state(trainer: Trainer, path: Path) -> None:
    """Writes weights, Adam's moments, the generator and the best result so far. Replaces an older file atomically.

    Raises:
        SDiffError: the file cannot be written.
    """
    tensors = {"generator": trainer.generator.get_state()}
    for part, module in trainer.modules().items():
        tensors |= {f"{part}.{name}": tensor for name, tensor in trained(module).items()}
    tensors |= {
        f"best.{name}": trainer.best.weights[name] for name in trained(trainer.ema_model) if trainer.best.weights
    }
    moments = {} if trainer.model.closed_form else trainer.optimizer.state_dict()["state"]
    for i, adam in moments.items():
        tensors |= {f"adam.{i}.{name}": tensor for name, tensor in adam.items()}
    state = {
        "identity": _identity(trainer),
        "epoch": trainer.epoch,
        "seconds": trainer.seconds,
        "best": [trainer.best.epoch, trainer.best.value, trainer.best.valid],
        "curve": trainer.curve,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(tensors, metadata={"state": json.dumps(state)}))
    except OSError as error:
        raise SDiffError(f"Cannot write {path}: {error.strerror}.") from error


def load_state(
    path: Path, read: Callable[[Path], tuple[dict[str, Tensor], dict[str, str]]] = read_tensors
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the tensors and the metadata written by `save_state`.

    Args:
        read: `read_tensors`, or `read_header` for tensors without values.

    Raises:
        SDiffError: the file is missing or damaged.
    """
    try:
        tensors, metadata = read(path)
        return tensors, parse_json(metadata["state"])
    except FileNotFoundError:
        raise SDiffError(f"There is nothing to resume in {path.parent}: train without --resume first.") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def resume(trainer: Trainer, path: Path) -> None:
    """Restores the state written by `save_state`.

    On the same type of device, training continues exactly as without the interruption; on another, with other noise.

    Raises:
        SDiffError: the state is missing, damaged, or belongs to another run.
    """
    header, state = load_state(path, read_header)
    try:
        written = state["identity"]
        settings = _settings(Config.from_dict(written["config"]))  # of an earlier version, without later settings
        if written | {"config": settings} != _identity(trainer):
            raise SDiffError(
                f"{path} belongs to another run (settings, seed or data differ): choose another folder for this run."
            )
        own = [tensor for module in trainer.modules().values() for tensor in trained(module).values()]
        if _size(header.values()) > 4 * _size(own) + _size(trainer.ema_model.state_dict().values()) + SPARE:
            raise ValueError("its tensors are larger than those of this run")
        _restore(trainer, load_state(path)[0], state)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        if isinstance(error, SDiffError):
            raise
        raise _damaged(path, error) from error


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _identity(trainer: Trainer) -> dict[str, object]:
    return {"config": _settings(trainer.config), "seed": trainer.seed, "data": trainer.split.fingerprint}


def _settings(config: Config) -> dict[str, Any]:
    """The settings that make a run: it may be resumed with other epochs or patience."""
    return {key: value for key, value in config.to_dict().items() if key not in ("epochs", "patience")}


def _damaged(path: Path, error: Exception) -> SDiffError:
    return SDiffError(f"{path} is damaged ({error!s:.200}): delete it and train anew.")


def _restore(trainer: Trainer, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    names = trained(trainer.ema_model)  # states of earlier versions also have what is computed from the data
    weights = {name: tensor for name, tensor in _strip(tensors, "best.").items() if name in names}
    if weights or not names:
        check_alike(weights, names)
        weights = trainer.fixed | weights
    trainer.epoch, trainer.seconds, trainer.best = state["epoch"], state["seconds"], _best(state, weights)
    trainer.curve = _curve(state)
    for part, module in trainer.modules().items():
        check_alike(_strip(tensors, f"{part}."), trained(module))
        module.load_state_dict(_strip(tensors, f"{part}."), strict=False)  # the rest is computed from the data
    if not trainer.model.closed_form:
        adam = _moments(_strip(tensors, "adam."), trainer.optimizer.param_groups[0]["params"])
        trainer.optimizer.load_state_dict(trainer.optimizer.state_dict() | {"state": adam})
    if tensors["generator"].shape == trainer.generator.get_state().shape:
        trainer.generator.set_state(tensors["generator"])
    else:  # the state of another type of device cannot be restored
        trainer.generator.manual_seed(trainer.seed + trainer.epoch)


def _best(state: Mapping[str, Any], weights: dict[str, Tensor]) -> Best:
    """The best result of a state. Raises ValueError or TypeError if its epochs, seconds or best result are invalid."""
    epoch, value, valid = state["best"]
    counts = type(state["epoch"]) is int and type(epoch) is int and 0 <= epoch <= state["epoch"]
    if not (counts and state["epoch"] <= EPOCHS and 0 <= state["seconds"] < math.inf and 0 <= (value or 0) <= 1):
        raise ValueError("its epochs, seconds or best result are not valid")
    if not isinstance(valid, dict) or not all(0 <= metric < math.inf for metric in valid.values()):
        raise ValueError("its best result is not valid")
    return Best(epoch, value, valid, weights)


def _curve(state: Mapping[str, Any]) -> list[tuple[int, float]]:
    """The curve of a state; empty in a state of an earlier version. Raises ValueError or TypeError if it is invalid."""
    curve = [(epoch, recall) for epoch, recall in state.get("curve", [])]
    epochs = [epoch for epoch, _ in curve]
    if not all(type(epoch) is int and 0 < epoch <= state["epoch"] and 0 <= recall <= 1 for epoch, recall in curve):
        raise ValueError("its curve is not valid")
    if epochs != sorted({*epochs}):
        raise ValueError("its curve is not in the order of the epochs")
    return curve


def _moments(tensors: Mapping[str, Tensor], parameters: list[Tensor]) -> dict[int, dict[str, Tensor]]:
    """Adam's moments by parameter index, from tensors named "index.moment". Raises ValueError if they do not match."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, moment = name.partition(".")
        moments.setdefault(int(index), {})[moment] = tensor
    for i, state in moments.items():
        if i not in range(len(parameters)):
            raise ValueError(f"there is no parameter {i}")
        check_alike(state, {"step": torch.zeros(()), "exp_avg": parameters[i], "exp_avg_sq": parameters[i]})
        if not state["step"] >= 0:
            raise ValueError("a step count is negative")
    return moments


def _strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
