"""What the app holds in memory: opened data sets and models, shared by all visitors, never changed by any of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sdiff.atomic import MARK, claimed, scratch
from sdiff.catalog import Catalog
from sdiff.config import preset
from sdiff.datasets import Dataset, load_dataset
from sdiff.errors import SDiffError
from sdiff.interactions import Vocabulary
from sdiff.recommender import Recommender
from sdiff.registry import REGISTRY
from sdiff.soundness import read_json
from sdiff.training import Trainer
from sdiff.ui import journal, uploads
from sdiff.ui.space import serving_device

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "checkpoints"
LEFT = (MARK, "model-")  # how names begin in the folder of a run that was killed before it had saved a model
INSTANT = "instant"  # every data set has this model, without a file


@dataclass(frozen=True)
class Opened:
    """A data set with its catalog."""

    dataset: Dataset
    catalog: Catalog

    def history(self, user: str) -> list[str]:
        """Ids of the items of a user's train part, oldest first. Raises SDiffError for an unknown user."""
        split = self.dataset.split
        return [split.items.ids[i] for i in split.train.history(self._index(user))]

    def held_out(self, user: str) -> list[int]:
        """Indices of the items that a user chose later: those of the other parts. Raises SDiffError likewise."""
        index = self._index(user)
        return [int(i) for part in (self.dataset.split.valid, self.dataset.split.test) for i in part.history(index)]

    def _index(self, user: str) -> int:
        return int(self.dataset.split.users.encode([user], "user")[0])


def runs_dir() -> Path:
    """Where models trained in the app are kept: `$SDIFF_RUNS_DIR`, else `runs` beside app.py."""
    return Path(os.environ.get("SDIFF_RUNS_DIR") or ROOT / "runs")


def uploads_dir() -> Path:
    return runs_dir() / "uploads"


def open_dataset(key: str) -> Opened:
    """A registered data set, or one that was uploaded; paths are not taken from visitors."""
    journal.note(data=key)
    return _dataset(key)


@lru_cache(maxsize=4)
def _dataset(key: str) -> Opened:
    return _opened(load_dataset(key) if key in REGISTRY else uploads.load(key, uploads_dir()))


def serve(key: str, checkpoint: str) -> tuple[Opened, Recommender]:
    """A data set with its items in the order of a model's, and the model. Raises SDiffError when it lacks some."""
    journal.note(model=checkpoint)
    model, opened = open_model(checkpoint, key), open_dataset(key)
    if model.items.fingerprint != opened.dataset.split.items.fingerprint:
        opened = _reordered(key, model.items)
    return opened, model


@lru_cache(maxsize=2)
def _reordered(key: str, items: Vocabulary) -> Opened:
    return _opened(open_dataset(key).dataset.served_by(items))


def _opened(dataset: Dataset) -> Opened:
    return Opened(dataset, Catalog(dataset))


def open_model(name: str, dataset: str) -> Recommender:
    """A checkpoint by its name, or the model that needs no training, solved for the data set when it is first asked
    for. A checkpoint that was replaced on disk is read again."""
    if name == INSTANT:
        return _instant(dataset)
    folder = checkpoints().get(name)
    if folder is None:
        raise SDiffError(f"There is no checkpoint {name!r} any more: choose another, or train one.")
    return _model(folder, tuple(_stamp(folder / part) for part in ("config.json", "metrics.json")))


@lru_cache(maxsize=4)
def _instant(dataset: str) -> Recommender:
    trainer = Trainer(preset("instant"), open_dataset(dataset).dataset.split, 0, serving_device())
    for _ in trainer.fit():
        pass
    return Recommender(trainer.checkpoint(dataset, "instant"), trainer.device)


@lru_cache(maxsize=8)
def _model(folder: Path, stamps: tuple[tuple[int, ...], ...]) -> Recommender:
    return Recommender.load(folder, serving_device())


def checkpoints(dataset: str | None = None) -> dict[str, Path]:
    """Name -> folder of the checkpoints that ship and of those trained here, the newest of these last.

    With a data-set key, only those trained on it, or on another split of its items.
    """
    folders = sorted(SHIPPED.glob("*/config.json")) + sorted(runs_dir().glob("*/config.json"), key=_stamp)
    found = {path.parent.name: path.parent for path in folders}
    if dataset is None:
        return found
    same = {dataset} | ({REGISTRY[dataset].same_items_as} if dataset in REGISTRY else set())
    return {name: folder for name, folder in found.items() if trained_on(folder) in same}


def trained_on(folder: Path) -> str | None:
    """Key of the data set that a checkpoint was trained on, read without its weights; None when it is damaged."""
    try:
        return str(read_json(folder / "config.json")["provenance"]["dataset"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def new_run(name: str) -> Path:
    """Folder for a model that a visitor names.

    Raises:
        SDiffError: a name that is taken or no plain name, or a place where nothing can be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", name):
        raise SDiffError("Name the model with up to 40 letters, digits, dots, dashes or underscores.")
    with _writing():
        if is_taken(name):
            raise SDiffError(f"The name {name!r} is taken already: choose another name.")
        runs_dir().mkdir(parents=True, exist_ok=True)
        with scratch(runs_dir()):  # before an hour of training, not after it
            return runs_dir() / name


@contextmanager
def claimed_run(name: str) -> Iterator[Path]:
    """`new_run`, which no other process can take meanwhile. Raises SDiffError as that, or where another has it."""
    folder = new_run(name)
    with ExitStack() as claim:
        with _writing():
            try:
                claim.enter_context(claimed(folder))
            except BlockingIOError:
                raise SDiffError(f"A run is making a model {name!r} already: choose another name.") from None
        yield new_run(name)  # again, as another run may have ended since


def is_taken(name: str) -> bool:
    """Whether no new model can have this name. What a run that was killed left does not count."""
    folder = runs_dir() / name
    if name == INSTANT or name.lower() == uploads_dir().name or name in checkpoints():
        return True
    return folder.exists() and not (folder.is_dir() and all(path.name.startswith(LEFT) for path in folder.iterdir()))


@contextmanager
def _writing() -> Iterator[None]:
    """Turns errors of the system into a sentence."""
    try:
        yield
    except OSError as error:
        raise SDiffError(f"This app cannot keep a model ({error.strerror}): check the folder of its models.") from error


def _stamp(path: Path) -> tuple[int, ...]:
    """When a file was changed, and which file it is, as clocks may err; nothing where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ino, found.st_size
