"""Whether what a file holds can be a model: asked before anything is made of it."""

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

LARGEST = 1 << 20  # bytes of a JSON file that is read
HEADER = 1 << 26  # bytes of a safetensors header, which holds the ids of the items
TENSORS, DIMENSIONS = 1000, 8  # of a file and of a tensor: a model and its training state have a tenth of that
META = torch.device("meta")  # tensors without memory
# By their names in safetensors.
DTYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8}


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
    with safe_open(regular(path), framework="pt") as file:
        # Copied into memory that torch aligns: where it lies decides the last digits of every sum.
        return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def read_header(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """As `read_tensors`, but without the values: the tensors are on the device `META`, and their bytes are not read.

    Raises:
        OSError: it cannot be read.
        ValueError: the header is none, tells of more than any model has, or of another size than the file's.
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
        raise ValueError(f"it holds {len(header):,} tensors")
    tensors, end = {}, 8 + length
    for name, part in header.items():
        shape, dtype = part.get("shape"), DTYPES.get(str(part.get("dtype")))
        valid = isinstance(shape, list) and len(shape) <= DIMENSIONS and all(type(n) is int and n >= 0 for n in shape)
        if not valid or dtype is None:
            raise ValueError(f"its tensor {name[:100]} has an unknown type or shape")
        end += math.prod(shape) * dtype.itemsize
        # Beside a dimension of 0, torch multiplies the others all the same, and fails where that overflows.
        if end > size or math.prod(n or 1 for n in shape) * dtype.itemsize > size:
            raise ValueError("it is shorter than its header says")
        tensors[name] = torch.empty(shape, dtype=dtype, device=META)
    if end < size:
        raise ValueError("it is longer than its header says")
    return tensors, texts


def check_shapes(config: Config, spectrum: SpectralBasis, item_counts: Tensor, weights: Mapping[str, Tensor]) -> None:
    """Raises ValueError where names, types or shapes are not those of a model of this configuration. The tensors may
    be on `META`; however large a model the configuration asks for, none is made."""
    U, lam = spectrum.U, spectrum.lam
    if U.ndim != 2 or U.dtype != torch.float32 or lam.dtype != torch.float32 or lam.shape != U.shape[1:]:
        raise ValueError("its spectrum has other types or shapes")
    if not 0 < len(lam) <= config.K:
        raise ValueError("its spectrum is not one")
    if item_counts.dtype != torch.int64 or item_counts.shape != U.shape[:1]:
        raise ValueError("its item counts are not counts")
    with META:
        expected = Model(config, spectrum.to(META), item_counts.to(META)).state_dict()
    check_alike(weights, expected)


def check_values(spectrum: SpectralBasis, item_counts: Tensor, weights: Mapping[str, Tensor]) -> None:
    """Raises ValueError where tensors of the right shapes hold values that no model has."""
    U, lam = spectrum.U, spectrum.lam
    if not (U.isfinite().all() and ((lam >= 0) & (lam <= 1)).all()):
        raise ValueError("its spectrum is not one")
    if (item_counts < 0).any():
        raise ValueError("its item counts are not counts")
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
    with regular(path).open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"{path.name} is larger than {LARGEST >> 20} MB")
    return data
