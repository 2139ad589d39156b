"""Whether what a file holds can be a model: asked before anything is made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
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


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file by name, and the texts of its header. Raises OSError and SafetensorError."""
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        # Copied into memory that torch aligns: where it lies decides the last digits of every sum.
        return {name: file.get_tensor(name).clone() for name in names}, file.metadata() or {}


def check_model(config: Config, spectrum: SpectralBasis, item_counts: Tensor, weights: Mapping[str, Tensor]) -> None:
    """Raises ValueError where the tensors are not those of a model of this configuration: however large a model that
    asks for, none is made."""
    U, lam = spectrum.U, spectrum.lam
    if U.ndim != 2 or U.dtype != torch.float32 or lam.dtype != torch.float32 or lam.shape != U.shape[1:]:
        raise ValueError("its spectrum has other types or shapes")
    if not (0 < len(lam) <= config.K and U.isfinite().all() and ((lam >= 0) & (lam <= 1)).all()):
        raise ValueError("its spectrum is not one")
    if item_counts.dtype != torch.int64 or item_counts.shape != U.shape[:1] or (item_counts < 0).any():
        raise ValueError("its item counts are not counts")
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


def _head(path: Path) -> bytes:
    if not path.is_file():  # a pipe would be waited for, a device read for ever
        raise FileNotFoundError(2, "there is no such file", str(path))
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"{path.name} is larger than {LARGEST >> 20} MB")
    return data
