"""Checkpoints on disk: JSON and safetensors, fingerprinted, replaced in one step. A folder holds

config.json               hyper-parameters, provenance and the name of the weights file: the commit point
model-<sha256>.safetensors   weights, spectrum, item counts; item ids in its header
metrics.json              what these weights reach on the data they were trained for
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sdiff.atomic import write_atomically
from sdiff.config import Config
from sdiff.errors import SDiffError
from sdiff.interactions import Vocabulary
from sdiff.spectrum import SpectralBasis

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


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that recommending needs, and nothing of the users: item_counts (n_items,), the spectrum, the weights."""

    config: Config
    items: Vocabulary
    item_counts: Tensor
    spectrum: SpectralBasis
    weights: dict[str, Tensor]
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
        folder, data = Path(folder), self._weights_file()
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
        """Reads a folder. Raises SDiffError when it is missing, damaged, or of another version."""
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise SDiffError(
                f"There is no checkpoint in {folder} (no config.json): train one with `sdiff train --out {folder}`."
            )
        try:
            card = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            if card["schema"] != SCHEMA:
                raise SDiffError(
                    f"{folder} has checkpoint schema {card['schema']}, this version reads {SCHEMA}: train it again."
                )
            unknown = set(card["provenance"]) - {f.name for f in fields(Provenance)}
            if unknown:
                raise SDiffError(f"{folder}/config.json has unknown provenance keys: {', '.join(sorted(unknown))}.")
            provenance = Provenance(**card["provenance"])
            config = Config.from_dict(card["config"])
            weights = folder / Path(card["weights"]["file"]).name  # a file beside it, never a path elsewhere
            if hashlib.sha256(weights.read_bytes()).hexdigest() != card["weights"]["sha256"]:
                raise SDiffError(f"{weights} is damaged (its checksum differs from config.json's): copy it again.")
            with safe_open(weights, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
                items = Vocabulary(tuple(json.loads(file.metadata()["items"])))
            spectrum = SpectralBasis(tensors.pop("spectrum.U"), tensors.pop("spectrum.lam"))
            counts = tensors.pop("item_counts")
        except OSError as error:
            raise SDiffError(f"Cannot read the checkpoint in {folder}: {error.strerror}.") from error
        except (KeyError, TypeError, AttributeError, ValueError, SafetensorError) as error:
            if isinstance(error, SDiffError):
                raise
            raise SDiffError(f"The checkpoint in {folder} is damaged ({type(error).__name__}: {error}).") from error
        if spectrum.U.shape != (len(items), spectrum.K) or counts.shape != (len(items),):
            raise SDiffError(f"The checkpoint in {folder} is damaged: its tensors do not fit its {len(items)} items.")
        model = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
        return cls(config, items, counts, spectrum, model, provenance, _metrics(folder, card["weights"]["sha256"]))


def save_state(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Tensors and a JSON document as one file, which replaces an older one in one step."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(tensors, metadata={"state": json.dumps(state)}))
    except OSError as error:
        raise SDiffError(f"Cannot write {path}: {error.strerror}.") from error


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_state` wrote. Raises SDiffError where it is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            return tensors, json.loads(file.metadata()["state"])
    except FileNotFoundError:
        raise SDiffError(f"There is nothing to resume in {path.parent}: train without --resume first.") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise SDiffError(f"{path} is damaged ({error}): delete it and train without --resume.") from error


def _metrics(folder: Path, digest: str) -> dict[str, Any]:
    """metrics.json, unless it is absent or speaks of other weights."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        return metrics if metrics.pop("weights") == digest else {}
    except (OSError, ValueError, KeyError, AttributeError):
        return {}


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
