"""Reads model files and checks their contents before a model is built from them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from sdiff.base.files import regular
from sdiff.config import Config
from sdiff.method.model import Model
from sdiff.method.spectrum import SpectralBasis

LARGEST = 1 << 20  # maximum size of a JSON file in bytes
HEADER = 1 << 26  # maximum size of a safetensors header in bytes; it contains the item ids
TENSORS, DIMENSIONS = 1000, 8  # maximum per file and per tensor; a training state needs a tenth of that
META = torch.device("meta")  # tensors without memory
# Keys are the names in safetensors.
DTYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8}


def read_json(path: Path) -> Any:
    """Reads a small JSON file. Raises OSError, or ValueError if it is not JSON, too large or nested too deeply."""
    return parse_json(_head(path).decode("utf-8"))


def parse_json(text: str) -> Any:
    """Parses a JSON document. Raises ValueError if it is not JSON or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads the tensors of a safetensors file by name, and its metadata. Raises OSError and SafetensorError."""
    with safe_open(regular(path), framework="pt") as file:
        # Copied into memory aligned by torch: the alignment affects the last digits of every sum.
        return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def read_header(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Like `read_tensors`, but without the values: the tensors are on `META`, and their data is not read.

    Raises:
        OSError: the file cannot be read.
        ValueError: the header is invalid, exceeds the limits of a model, or does not match the size of the file.
    """
    with regular(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > HEADER:
            raise ValueError("its header is too long")
        header, size = parse_json(file.read(length).decode("utf-8")), os.fstat(file.fileno()).st_size
    if not isinstance(header, dict) or not all(isinstance(part, dict) for part in header.values()):
        raise ValueError("its header is not valid")
    texts = header.pop("__metadata__", {})
    if len(header) > TENSORS:
        raise ValueError(f"it has {len(header):,} tensors, more than {TENSORS:,}")
    tensors, end = {}, 8 + length
    for name, part in header.items():
        shape, dtype = part.get("shape"), DTYPES.get(str(part.get("dtype")))
        valid = isinstance(shape, list) and len(shape) <= DIMENSIONS and all(type(n) is int and n >= 0 for n in shape)
        if not valid or dtype is None:
            raise ValueError(f"its tensor {name[:100]} has an unknown type or shape")
        end += math.prod(shape) * dtype.itemsize
        # With a dimension of 0, torch still multiplies the other ones and fails if that overflows.
        if end > size or math.prod(n or 1 for n in shape) * dtype.itemsize > size:
            raise ValueError("it is shorter than its header says")
        tensors[name] = torch.empty(shape, dtype=dtype, device=META)
    if end < size:
        raise ValueError("it is longer than its header says")
    return tensors, texts


def check_shapes(config: Config, spectrum: SpectralBasis, item_counts: Tensor, weights: Mapping[str, Tensor]) -> None:
    """Raises ValueError if names, types or shapes do not match a model of this configuration.

    The tensors may be on `META`. No memory is allocated, however large the configured model is.
    """
    U, lam = spectrum.U, spectrum.lam
    if U.ndim != 2 or U.dtype != torch.float32 or lam.dtype != torch.float32 or lam.shape != U.shape[1:]:
        raise ValueError("its spectrum has invalid types or shapes")
    if not 0 < len(lam) <= config.K:
        raise ValueError("its spectrum has an invalid number of frequencies")
    if item_counts.dtype != torch.int64 or item_counts.shape != U.shape[:1]:
        raise ValueError("its item counts have an invalid type or shape")
    with META:
        expected = Model(config, spectrum.to(META), item_counts.to(META)).state_dict()
    check_alike(weights, expected)


def check_values(spectrum: SpectralBasis, item_counts: Tensor, weights: Mapping[str, Tensor]) -> None:
    """Raises ValueError if tensors of the correct shapes have invalid values."""
    U, lam = spectrum.U, spectrum.lam
    if not (U.isfinite().all() and ((lam >= 0) & (lam <= 1)).all()):
        raise ValueError("its spectrum has invalid values")
    if (item_counts < 0).any():
        raise ValueError("its item counts are negative")
    neighbours = weights.get("graph.neighbours")
    if neighbours is not None and not ((neighbours >= 0) & (neighbours < len(U))).all():
        raise ValueError("its graph has unknown items")


def check_alike(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raises ValueError if the names, types or shapes of tensors differ from the expected ones."""
    for name in tensors.keys() ^ expected.keys():
        raise ValueError(f"its tensors do not match: {name[:100]} is {'unexpected' if name in tensors else 'missing'}")
    for name, tensor in expected.items():
        if (tensors[name].dtype, tensors[name].shape) != (tensor.dtype, tensor.shape):
            raise ValueError(f"its tensors do not match: {name} has another type or shape")


def _head(path: Path) -> bytes:
    with regular(path).open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"{path.name} is larger than {LARGEST >> 20} MB")
    return data
