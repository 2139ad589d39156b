"""Pipes in place of files, and oversized or malformed files, are refused early with a message."""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sdiff import SDiffError
from sdiff.data.datasets import load_dataset
from sdiff.data.published import published_lists
from sdiff.method.spectrum import cached_basis
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.run_state import resume, save_state
from sdiff.training.trainer import Trainer
from sdiff.training.validate import read_header
from tests.conftest import CPU, ROOT, SMALL

SPECIAL = "a pipe, a device or a socket"


@pytest.fixture
def checkpoint(tmp_path):
    return shutil.copytree(ROOT / "checkpoints" / "demo", tmp_path / "demo")


@pytest.fixture
def pipe(tmp_path):
    """Replaces a file by a named pipe."""
    if sys.platform == "win32":
        pytest.skip("has no named pipes")

    def put(path):
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        return path

    return put


@pytest.mark.parametrize("name", ["interactions.csv", "interactions.csv.gz", "interactions.jsonl", "items.csv"])
def test_a_named_pipe_as_a_table_is_refused(name, tmp_path, pipe):
    (tmp_path / "interactions.csv").write_text("user,item\n" + "".join(f"{u},{i}\n" for u in range(9) for i in "abc"))
    if name.startswith("interactions"):
        (tmp_path / "interactions.csv").unlink()
    path = pipe(tmp_path / name)
    for data in [tmp_path, path] if name != "items.csv" else [tmp_path]:
        with pytest.raises(SDiffError, match=SPECIAL):
            load_dataset(str(data))


@pytest.mark.parametrize("name", ["train_list.npy", "test.txt", "item_map.csv"])
def test_a_named_pipe_as_a_published_list_is_refused(name, tmp_path, pipe):
    pairs = np.stack([np.arange(20) % 5, np.arange(20) % 7], axis=1)
    np.save(tmp_path / "train_list.npy", pairs)
    (tmp_path / "test.txt").write_text("0 1 2\n1 3\n")
    pipe(tmp_path / name)
    with pytest.raises(SDiffError, match=SPECIAL):
        published_lists(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model-*.safetensors", "metrics.json"])
def test_a_named_pipe_as_a_part_of_a_checkpoint_is_refused(name, checkpoint, pipe):
    (path,) = checkpoint.glob(name)
    pipe(path)
    if name == "metrics.json":  # which is optional
        assert Checkpoint.load(checkpoint).metrics == {}
    else:
        with pytest.raises(SDiffError, match=SPECIAL):
            Checkpoint.load(checkpoint)


def test_a_named_pipe_as_a_training_state_or_cached_spectrum_does_not_block(split, tmp_path, pipe, monkeypatch):
    monkeypatch.setenv("SDIFF_CACHE_DIR", str(tmp_path))
    first = cached_basis(split.train, 4)
    [kept] = (tmp_path / "spectra").iterdir()
    pipe(kept)
    assert torch.equal(cached_basis(split.train, 4).U, first.U) and kept.is_file()
    with pytest.raises(SDiffError, match=SPECIAL):
        resume(Trainer(SMALL, split, 0, CPU), pipe(tmp_path / "training.safetensors"))


def sparse(path, tensors: dict[str, list[int]], metadata: dict[str, str]) -> None:
    """A sparse safetensors file of float32 tensors."""
    header, end = {"__metadata__": metadata}, 0
    for name, shape in tensors.items():
        start, end = end, end + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def test_weights_that_do_not_fit_are_refused_before_they_are_hashed_or_read(checkpoint, monkeypatch):
    monkeypatch.setattr("sdiff.training.checkpoint._sha256", lambda path: pytest.fail("hashed"))
    monkeypatch.setattr("sdiff.training.checkpoint.read_tensors", lambda path: pytest.fail("read"))
    [weights] = checkpoint.glob("*.safetensors")
    good, texts = read_header(weights)
    shapes = {name: list(tensor.shape) for name, tensor in good.items()}
    many = {f"model.{n}": [0] for n in range(60_000)}
    for tensors in (many, shapes | {"model.more": [1 << 35]}, shapes | {"item_counts": [1 << 35]}):
        sparse(weights, tensors, texts)
        with pytest.raises(SDiffError, match="damaged"):
            Checkpoint.load(checkpoint)
    header = {"x": {"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 4]}}
    for text in (b"", b"[]", b'{"x": 1}', b"[" * 100_000, json.dumps(header).encode(), b"\xff"):
        with weights.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(1 << 40)
        with pytest.raises(SDiffError, match="damaged"):
            Checkpoint.load(checkpoint)


SHAPES = [
    [1 << 40, 1 << 40, 0],
    [0, 1 << 62],
    [1 << 63, 0],
    [10**30],
    [*[1 << 20] * 7, 0],
    [-1, 0],
    [True],
    [2.0],
    ["2"],
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_impossible_tensor_shape_is_refused_in_checkpoints_and_training_states(shape, checkpoint, split):
    [weights] = checkpoint.glob("*.safetensors")
    trainer, state = Trainer(SMALL, split, 0, CPU), checkpoint / "training.safetensors"
    save_state(trainer, state)
    for path, read in ((weights, lambda: Checkpoint.load(checkpoint)), (state, lambda: resume(trainer, state))):
        _, texts = read_header(path)
        header = {"__metadata__": texts, "x": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text)
        with pytest.raises(SDiffError, match=r"damaged .*(shorter than its header says|unknown type or shape)"):
            read()


def test_a_training_state_that_does_not_fit_is_refused_before_it_is_read(split, tmp_path, monkeypatch):
    trainer, path = Trainer(SMALL, split, 0, CPU), tmp_path / "training.safetensors"
    save_state(trainer, path)
    _, texts = read_header(path)
    monkeypatch.setattr("sdiff.training.run_state.read_tensors", lambda path: pytest.fail("read"))
    for tensors in ({f"adam.{n}.step": [0] for n in range(60_000)}, {"generator": [1 << 37]}):
        sparse(path, tensors, texts)
        with pytest.raises(SDiffError, match="damaged"):
            resume(trainer, path)


def test_a_checkpoint_with_other_dtypes_is_refused(checkpoint):
    [weights] = checkpoint.glob("*.safetensors")
    _, texts = read_header(weights)
    save_file({"spectrum.U": torch.zeros(2, 2, dtype=torch.float16)}, weights, texts)
    with pytest.raises(SDiffError, match="unknown type"):
        Checkpoint.load(checkpoint)
