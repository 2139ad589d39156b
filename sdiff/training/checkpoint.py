"""Checkpoints on disk: JSON and safetensors, fingerprinted, replaced in one step. A folder holds

config.json               hyper-parameters, provenance and the name of the weights file: the commit point
model-<sha256>.safetensors   weights, spectrum, item counts; item ids in its header
metrics.json              what these weights reach on the data they were trained for
"""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from sdiff.base.errors import SDiffError
from sdiff.base.files import write_atomically
from sdiff.base.paths import checkpoint_dir, expanded
from sdiff.config import Config
from sdiff.data.interactions import Vocabulary
from sdiff.method.spectrum import SpectralBasis
from sdiff.training.validate import check_shapes, check_values, parse_json, read_header, read_json, read_tensors

SCHEMA = 2


@dataclass(frozen=True)
class Provenance:
    """Where the weights come from: data-set key and split fingerprint, seed, best epoch, date and versions."""

    dataset: str
    data_fingerprint: str
    seed: int
    epoch: int
    preset: str = "paper"
    created: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            kind = {"seed": int, "epoch": int, "versions": dict}.get(name, str)
            if type(value) is not kind:
                raise SDiffError(f"The provenance says no {name}, where it should be of type {kind.__name__}.")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that recommending needs, and nothing of the users: item_counts (n_items,), the spectrum, the weights."""

    config: Config
    items: Vocabulary
    item_counts: Tensor = field(repr=False)
    spectrum: SpectralBasis = field(repr=False)
    weights: dict[str, Tensor] = field(repr=False)
    provenance: Provenance
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of weights, spectrum, item counts and ids: of the file that `save` writes."""
        return hashlib.sha256(self._weights_file()).hexdigest()

    def _weights_file(self) -> bytes:
        tensors = {f"model.{name}": tensor for name, tensor in self.weights.items()}
        tensors |= {"spectrum.U": self.spectrum.U, "spectrum.lam": self.spectrum.lam, "item_counts": self.item_counts}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        return save(tensors, metadata={"items": json.dumps(self.items.ids)})

    def save(self, folder: Path | str) -> None:
        """Writes the folder. Until config.json is replaced, at the very end, the old checkpoint is the valid one."""
        folder, data = expanded(folder), self._weights_file()
        digest = hashlib.sha256(data).hexdigest()
        weights = folder / f"model-{digest[:12]}.safetensors"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(weights, data)
            card = {
                "schema": SCHEMA,
                "config": self.config.to_dict(),
                "provenance": asdict(self.provenance),
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
        """Reads a folder, or the checkpoint of that name (`checkpoint_dir`); if it is replaced meanwhile, once more.

        Raises:
            SDiffError: it is missing, damaged, or of another version.
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
                f"There is no checkpoint in {folder} (no config.json): train one with `sdiff train --out {folder}`."
            )
        try:
            card = read_json(folder / "config.json")
            if card["schema"] != SCHEMA:
                raise SDiffError(
                    f"{folder} has checkpoint schema {card['schema']!s:.20}, this version reads {SCHEMA}: train it "
                    f"again."
                )
            unknown = set(card["provenance"]) - {f.name for f in fields(Provenance)}
            if unknown:
                raise SDiffError(
                    f"{folder}/config.json has unknown provenance keys: {', '.join(sorted(unknown)):.200}."
                )
            provenance = Provenance(**card["provenance"])
            config = Config.from_dict(card["config"])
            weights = folder / Path(card["weights"]["file"]).name  # a file beside it, never a path elsewhere
            header, metadata = read_header(weights)  # first, as hashing and reading take as long as the file is large
            items = _vocabulary(parse_json(metadata["items"]))
            check_shapes(config, *_parts(header, len(items)))
            if _sha256(weights) != card["weights"]["sha256"]:
                raise SDiffError(f"{weights} is damaged (its checksum differs from config.json's): copy it again.")
            spectrum, counts, model = _parts(read_tensors(weights)[0], len(items))
            check_values(spectrum, counts, model)
        except OSError as error:
            raise SDiffError(f"Cannot read {error.filename or folder}: {error.strerror}.") from error
        except (KeyError, TypeError, AttributeError, ValueError, SafetensorError) as error:
            if isinstance(error, SDiffError):
                raise
            said = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
            raise SDiffError(f"The checkpoint in {folder} is damaged ({said:.200}): copy or train it again.") from error
        return cls(config, items, counts, spectrum, model, provenance, _metrics(folder, card["weights"]["sha256"]))


def _version(folder: Path) -> tuple[int, int] | None:
    """What differs as soon as config.json has been replaced."""
    with suppress(OSError):
        found = (folder / "config.json").stat()
        return found.st_ino, found.st_mtime_ns


def _metrics(folder: Path, digest: str) -> dict[str, Any]:
    """metrics.json, unless it is absent, damaged, or speaks of other weights."""
    try:
        metrics = read_json(folder / "metrics.json")
        measured = [metrics, *metrics.get("references", {}).values()]
        reached = [row[part]["recall@20"] for row in measured for part in ("valid", "test") if part in row]
        return metrics if metrics.pop("weights") == digest and all(map(math.isfinite, reached)) else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return {}


def _parts(tensors: dict[str, Tensor], n_items: int) -> tuple[SpectralBasis, Tensor, dict[str, Tensor]]:
    """Spectrum, item counts and weights, out of the tensors of a file."""
    spectrum = SpectralBasis(tensors.pop("spectrum.U"), tensors.pop("spectrum.lam"))
    counts = tensors.pop("item_counts")
    if counts.shape != (n_items,):
        raise ValueError(f"its tensors do not fit its {n_items} items")
    return spectrum, counts, {name.removeprefix("model."): tensor for name, tensor in tensors.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _vocabulary(ids: Any) -> Vocabulary:
    if not isinstance(ids, list) or not ids or not all(isinstance(id, str) for id in ids) or len({*ids}) < len(ids):
        raise ValueError("its items are no list of different texts")
    return Vocabulary(tuple(ids))


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
