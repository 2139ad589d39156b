"""Whether what a file holds can be a model, or the state of a run: asked before anything is made of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdiff.config import Config
from sdiff.model import Model
from sdiff.spectrum import SpectralBasis

LARGEST = 1 << 20  # bytes of a JSON file that is read
META = torch.device("meta")  # tensors without memory


def read_json(path: Path) -> Any:
    """A small JSON file. Raises OSError, and ValueError where it is none, too large, or nested too deeply."""
    return parse_json(_head(path).decode("utf-8"))


def parse_json(text: str) -> Any:
    """A JSON document. Raises ValueError where it is none, or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def check_model(config: Config, spectrum: SpectralBasis, item_counts: Tensor, weights: Mapping[str, Tensor]) -> None:
    """Raises ValueError where the tensors are not those of a model of this configuration: however large a model that
    asks for, none is made."""
    U, lam = spectrum.U, spectrum.lam
    if U.ndim != 2 or U.dtype != torch.float32 or lam.dtype != torch.float32 or lam.shape != U.shape[1:]:
        raise ValueError("its spectrum has other types or shapes")
    if not (0 < len(lam) <= config.K and U.isfinite().all() and ((lam >= 0) & (lam <= 1)).all()):
        raise ValueError("its spectrum is none")
    if item_counts.dtype != torch.int64 or item_counts.shape != U.shape[:1] or (item_counts < 0).any():
        raise ValueError("its item counts are none")
    with META:
        expected = Model(config, spectrum.to(META), item_counts.to(META)).state_dict()
    check_alike(weights, expected)
    neighbours = weights.get("graph.neighbours")
    if neighbours is not None and not ((neighbours >= 0) & (neighbours < len(U))).all():
        raise ValueError("its graph has other items")


def check_alike(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raises ValueError where names, types or shapes of tensors differ."""
    for name in found.keys() ^ expected.keys():
        raise ValueError(f"its tensors do not fit: {name[:100]} is {'not expected' if name in found else 'missing'}")
    for name, tensor in expected.items():
        if (found[name].dtype, found[name].shape) != (tensor.dtype, tensor.shape):
            raise ValueError(f"its tensors do not fit: {name} has another type or shape")


def best_of(state: Mapping[str, Any]) -> tuple[int, float | None, dict[str, float]]:
    """The best result that a run's state tells: epoch, value, all of it. Raises ValueError, or what comes of odd types,
    where it tells none, or no epoch or seconds."""
    epoch, value, valid = state["best"]
    counts = type(state["epoch"]) is int and type(epoch) is int and 0 <= epoch <= state["epoch"]
    if not (counts and 0 <= state["seconds"] < math.inf and 0 <= (value or 0) <= 1):
        raise ValueError("its epochs, seconds or best result are no numbers")
    if not isinstance(valid, dict):
        raise ValueError("its best result is none")
    return epoch, value, valid


def moments(tensors: Mapping[str, Tensor], parameters: list[Tensor]) -> dict[int, dict[str, Tensor]]:
    """Adam's moments of parameters, from tensors "index.moment". Raises ValueError where they are not those."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, moment = name.partition(".")
        found.setdefault(int(index), {})[moment] = tensor
    for i, of in found.items():
        if i not in range(len(parameters)):
            raise ValueError(f"there is no parameter {i}")
        check_alike(of, {"step": torch.zeros(()), "exp_avg": parameters[i], "exp_avg_sq": parameters[i]})
        if not of["step"] >= 0:
            raise ValueError("a step has a negative number")
    return found


def _head(path: Path) -> bytes:
    if not path.is_file():  # a pipe would be waited for, a device read for ever
        raise FileNotFoundError(2, "there is no such file", str(path))
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"{path.name} is larger than {LARGEST >> 20} MB")
    return data
