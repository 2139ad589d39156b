"""Checkpoints on disk, in JSON and safetensors, replaced atomically. A checkpoint folder contains:

config.json                  hyper-parameters, provenance and the name of the weights file; written last
model-<sha256>.safetensors   weights, spectrum, item counts; item ids in its header
metrics.json                 metrics of these weights on the data set that they were trained on, and of their training:
                             the seconds of all epochs, and the validation recall by epoch
"""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from sdiff.base.errors import SDiffError
from sdiff.base.files import write_atomically
from sdiff.base.paths import checkpoint_dir, expanded
from sdiff.config import Config
from sdiff.data.datasets import located, relative
from sdiff.data.interactions import Vocabulary
from sdiff.method.spectrum import SpectralBasis
from sdiff.training.validate import check_shapes, check_values, parse_json, read_header, read_json, read_tensors

SCHEMA = 2


@dataclass(frozen=True)
class Provenance:
    """Origin of the weights of a checkpoint.

    Attributes:
        dataset: key of the data set, with absolute paths.
        data_fingerprint: `Split.fingerprint` of the split.
        seed: seed of the run.
        epoch: epoch of the weights.
        preset: name of the preset.
        created: ISO date.
        versions: versions of sdiff and torch.
        trained: settings that had these values in training, and others in the configuration of the checkpoint.

    Raises:
        SDiffError: a value has the wrong type.
    """

    dataset: str
    data_fingerprint: str
    seed: int
    epoch: int
    preset: str = "paper"
    created: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    trained: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            kind = {"seed": int, "epoch": int, "versions": dict, "trained": dict}.get(name, str)
            if type(value) is not kind:
                raise SDiffError(f"Invalid provenance: {name} must be of type {kind.__name__}.")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything needed to recommend. It contains no user data.

    Attributes:
        config: settings of the training, and defaults of the sampling.
        items: item ids.
        item_counts: (n_items,) number of training interactions of each item.
        spectrum: of the item graph.
        weights: tensors of the model, by name.
        provenance: data set, seed and versions.
        metrics: what metrics.json contains, such as `metrics["valid"]["recall@20"]`; may be empty. The keys of
            `Trainer.checkpoint` are missing in checkpoints of earlier versions.
    """

    config: Config
    items: Vocabulary
    item_counts: Tensor = field(repr=False)
    spectrum: SpectralBasis = field(repr=False)
    weights: dict[str, Tensor] = field(repr=False)
    provenance: Provenance
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of weights, spectrum, item counts and item ids, which is the checksum of the weights file."""
        return hashlib.sha256(self._weights_file()).hexdigest()

    def _weights_file(self) -> bytes:
        tensors = {f"model.{name}": tensor for name, tensor in self.weights.items()}
        tensors |= {"spectrum.U": self.spectrum.U, "spectrum.lam": self.spectrum.lam, "item_counts": self.item_counts}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        return save(tensors, metadata={"items": json.dumps(self.items.ids)})

    def save(self, folder: Path | str) -> None:
        """Writes the checkpoint. An older checkpoint in the folder stays valid until config.json is replaced, last.

        The path of a data set is written relative to the folder, so that both can be moved together.

        Raises:
            SDiffError: the folder cannot be written to.
        """
        folder, data = expanded(folder), self._weights_file()
        digest = hashlib.sha256(data).hexdigest()
        weights = folder / f"model-{digest[:12]}.safetensors"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(weights, data)
            card = {
                "schema": SCHEMA,
                "config": self.config.to_dict(),
                "provenance": asdict(self.provenance) | {"dataset": relative(self.provenance.dataset, folder)},
                "items_fingerprint": self.items.fingerprint,
                "weights": {"file": weights.name, "sha256": digest},
            }
            write_atomically(folder / "config.json", _json(card))
            if self.metrics:
                write_atomically(folder / "metrics.json", _json({"weights": digest} | self.metrics))
            for old in folder.glob("model-*.safetensors"):
                if old != weights:
                    old.unlink()
        except OSError as error:
            raise SDiffError(f"Cannot write the checkpoint to {folder}: {error.strerror}.") from error

    @classmethod
    def load(cls, folder: Path | str) -> Checkpoint:
        """Reads a checkpoint. Retries if it is replaced while reading.

        Args:
            folder: its folder, or the name of a checkpoint that is included ("demo") or was trained in the app.

        Raises:
            SDiffError: the checkpoint is missing, damaged, or of another version.
        """
        folder = checkpoint_dir(folder)
        while True:
            version = _version(folder)
            try:
                return cls._load(folder)
            except SDiffError:
                if version == _version(folder):
                    raise

    @classmethod
    def _load(cls, folder: Path) -> Checkpoint:
        if not (folder / "config.json").exists():
            raise SDiffError(
                f"There is no checkpoint in {folder} (no config.json): train one with `sdiff train --dataset "
                f"DATA --out {folder}`."
            )
        try:
            card = read_json(folder / "config.json")
            if card["schema"] != SCHEMA:
                raise SDiffError(
                    f"{folder} has checkpoint schema {card['schema']!s:.20}, but this version reads only {SCHEMA}: "
                    f"train the model again."
                )
            unknown = set(card["provenance"]) - {f.name for f in fields(Provenance)}
            if unknown:
                raise SDiffError(
                    f"{folder}/config.json has unknown provenance keys: {', '.join(sorted(unknown)):.200}."
                )
            provenance = Provenance(**card["provenance"])
            provenance = replace(provenance, dataset=located(provenance.dataset, folder))
            config = Config.from_dict(card["config"])
            weights = folder / Path(card["weights"]["file"]).name  # only a file in this folder
            header, metadata = read_header(weights)  # before hashing and reading, which are slow for a large file
            items = _vocabulary(parse_json(metadata["items"]))
            check_shapes(config, *_parts(header, len(items)))
            if _sha256(weights) != card["weights"]["sha256"]:
                raise SDiffError(f"{weights} is damaged (its checksum differs from config.json): copy it again.")
            spectrum, counts, model = _parts(read_tensors(weights)[0], len(items))
            check_values(spectrum, counts, model)
        except OSError as error:
            raise SDiffError(f"Cannot read {error.filename or folder}: {error.strerror}.") from error
        except (KeyError, TypeError, AttributeError, ValueError, SafetensorError) as error:
            if isinstance(error, SDiffError):
                if str(folder) in str(error):
                    raise
                raise SDiffError(f"Cannot use the checkpoint in {folder}: {error}") from error
            reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
            raise SDiffError(
                f"The checkpoint in {folder} is damaged ({reason:.200}): copy it again, or train it again."
            ) from error
        return cls(config, items, counts, spectrum, model, provenance, _metrics(folder, card["weights"]["sha256"]))


def read_origin(folder: Path) -> tuple[Provenance, dict[str, Any]]:
    """Provenance and metrics of the checkpoint in a folder. Reads no weights. Raises SDiffError if it is damaged."""
    try:
        card = read_json(folder / "config.json")
        return Provenance(**card["provenance"]), _metrics(folder, card["weights"]["sha256"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, SDiffError):
            raise
        raise SDiffError(f"{folder}/config.json is damaged: copy the checkpoint again, or train it again.") from error


def _version(folder: Path) -> tuple[int, int] | None:
    """Inode and modification time of config.json, which change when it is replaced."""
    with suppress(OSError):
        stat = (folder / "config.json").stat()
        return stat.st_ino, stat.st_mtime_ns


def _metrics(folder: Path, digest: str) -> dict[str, Any]:
    """The contents of metrics.json; empty if it is missing, damaged, or belongs to other weights."""
    try:
        metrics = read_json(folder / "metrics.json")
        measured = [metrics, *metrics.get("references", {}).values()]
        recalls = [row[part]["recall@20"] for row in measured for part in ("valid", "test") if part in row]
        curve = metrics.get("curve", {"epoch": [], "recall@20": []})
        points = [*zip(curve["epoch"], curve["recall@20"], strict=True)]
        numbers = [*recalls, metrics.get("train_seconds", 0), *(number for point in points for number in point)]
        return metrics if metrics.pop("weights") == digest and all(map(math.isfinite, numbers)) else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return {}


def _parts(tensors: dict[str, Tensor], n_items: int) -> tuple[SpectralBasis, Tensor, dict[str, Tensor]]:
    """Splits the tensors of a file into spectrum, item counts and weights."""
    spectrum = SpectralBasis(tensors.pop("spectrum.U"), tensors.pop("spectrum.lam"))
    counts = tensors.pop("item_counts")
    if counts.shape != (n_items,):
        raise ValueError(f"its tensors do not match its {n_items} items")
    return spectrum, counts, {name.removeprefix("model."): tensor for name, tensor in tensors.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _vocabulary(ids: Any) -> Vocabulary:
    if not isinstance(ids, list) or not ids or not all(isinstance(id, str) for id in ids) or len({*ids}) < len(ids):
        raise ValueError("its item ids are not a list of distinct strings")
    return Vocabulary(tuple(ids))


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
