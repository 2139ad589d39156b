"""Data sets and models in memory. All visitors share them, and nothing changes them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Condition, Lock

from cachetools import LRUCache, cached

from sdiff.app.processes import prepare
from sdiff.app.processes.space import serving_device
from sdiff.app.server import journal
from sdiff.base.errors import SDiffError, brief
from sdiff.base.files import MARK, claimed, scratch
from sdiff.base.paths import CHECKPOINTS, runs_dir, uploads_dir
from sdiff.data.catalog import Catalog
from sdiff.data.datasets import Dataset, load_dataset
from sdiff.data.interactions import Vocabulary
from sdiff.data.registry import EMBEDDED, REGISTRY
from sdiff.serving.recommender import Recommender
from sdiff.training.trainer import CRITERION
from sdiff.training.validate import read_json

LEFT = (MARK, "model-")  # name prefixes of files left by a run that was killed before it saved a model
INSTANT = "instant"  # the closed-form model, which every data set has without a checkpoint file
MAX_OPEN = 8  # data sets in memory


@dataclass(frozen=True)
class Opened:
    """A data set with its catalog. `instant` returns its closed-form model, which may be solved on the first call."""

    dataset: Dataset
    catalog: Catalog
    instant: Callable[[], Recommender]

    def history(self, user: str) -> list[str]:
        """Item ids of a user's training part, oldest first. Raises SDiffError for an unknown user."""
        split = self.dataset.split
        return [split.items.ids[i] for i in split.train.history(self._index(user))]

    def held_out(self, user: str) -> list[str]:
        """Ids of a user's validation and test items. Raises SDiffError for an unknown user."""
        split, index = self.dataset.split, self._index(user)
        return [split.items.ids[i] for part in (split.valid, split.test) for i in part.history(index)]

    def _index(self, user: str) -> int:
        return int(self.dataset.split.users.encode([user], "user")[0])


_open_datasets: LRUCache[str, Opened] = LRUCache(MAX_OPEN)
_lock = Lock()


def open_dataset(key: str) -> Opened:
    """Returns a data set from memory. Opens embedded data sets on first use; `openings.opening` opens the others.

    Raises:
        SDiffError: the data set is not in memory.
    """
    journal.note(data=key)
    if key in EMBEDDED:
        return _embedded(key)
    with _lock:
        opened = _open_datasets.get(key)
    if opened is None:
        raise SDiffError(f"The data set {key} is no longer open: reload the page, or choose it again.")
    return opened


def is_open(key: str) -> bool:
    """Whether `open_dataset` can return the data set."""
    with _lock:
        return key in EMBEDDED or key in _open_datasets


def keep_open(key: str, opened: Opened) -> None:
    """Keeps a data set in memory for all visitors. Beyond `MAX_OPEN`, the least recently used one is dropped."""
    with _lock:
        _open_datasets[key] = opened


# With `condition`, concurrent calls with the same key compute the value once.
@cached(LRUCache(len(EMBEDDED)), condition=Condition())
def _embedded(key: str) -> Opened:
    dataset = load_dataset(key)
    return Opened(dataset, Catalog(dataset), partial(_instant, key))


@cached(LRUCache(len(EMBEDDED)), condition=Condition())
def _instant(key: str) -> Recommender:
    return opened_here(lambda: _embedded(key).dataset).instant()


def opened_here(load: Callable[[], Dataset]) -> Opened:
    """Opens a data set in this process. Raises SDiffError like `prepare.steps`."""
    with TemporaryDirectory() as folder:
        *_, dataset = prepare.steps(load, serving_device(), Path(folder))
        assert isinstance(dataset, Dataset)
        return prepared(dataset, Path(folder))


def prepared(dataset: Dataset, folder: Path) -> Opened:
    """Builds the result of `prepare.steps`: the data set, and the model that they saved in `folder`."""
    model = Recommender.load(folder, serving_device())
    return Opened(dataset, Catalog(dataset), lambda: model)


def serve(key: str, checkpoint: str) -> tuple[Opened, Recommender]:
    """A data set with its items in the model's order, and the model. Raises SDiffError if their items do not match."""
    journal.note(model=checkpoint)
    model, opened = open_model(checkpoint, key), open_dataset(key)
    if model.items.fingerprint != opened.dataset.split.items.fingerprint:
        opened = _reordered(opened, model.items)
    return opened, model


@cached(LRUCache(2), condition=Condition())
def _reordered(opened: Opened, items: Vocabulary) -> Opened:
    dataset = opened.dataset.served_by(items)
    return replace(opened, dataset=dataset, catalog=Catalog(dataset))


def open_model(name: str, dataset: str) -> Recommender:
    """Loads a checkpoint by name, or returns the closed-form model of the data set.

    Checkpoints are cached, and reloaded after a change on disk. Raises SDiffError if there is no such checkpoint.
    """
    if name == INSTANT:
        return open_dataset(dataset).instant()
    folder = folder_of(name)
    if folder is None:
        raise SDiffError(f"There is no checkpoint {brief(name)}: choose another, or train one.")
    return _model(folder, stamps(folder))


def size(folder: Path) -> int:
    """Bytes of the files of the checkpoint in the folder."""
    files = (folder / "config.json", folder / "metrics.json", *folder.glob("model-*.safetensors"))
    return sum(stamp[-1] for file in files if (stamp := _stamp(file)))


def stamps(folder: Path) -> tuple[tuple[int, ...], ...]:
    """Changes whenever the checkpoint in the folder does."""
    return tuple(_stamp(folder / part) for part in ("config.json", "metrics.json"))


@cached(LRUCache(8), condition=Condition())
def _model(folder: Path, stamps: tuple[tuple[int, ...], ...]) -> Recommender:
    return Recommender.load(folder, serving_device())


def checkpoints(dataset: str | None = None) -> dict[str, Path]:
    """Name -> folder of all checkpoints: first those that ship, then those trained here, each by validation score.

    With a data set key, only checkpoints trained on it or on another split of its items. This reads files of every
    checkpoint; `open_model` finds one by its name faster.
    """
    by_name = {
        path.parent.name: path.parent for root in (CHECKPOINTS, runs_dir()) for path in root.glob("*/config.json")
    }
    folders = [*by_name.values()]
    if dataset is not None:
        same = {dataset} | ({REGISTRY[dataset].same_items_as} if dataset in REGISTRY else set())
        folders = [folder for folder in folders if origin(folder, "dataset") in same]
    return {folder.name: folder for folder in sorted(folders, key=_rank)}


def folder_of(name: str) -> Path | None:
    """The folder of a checkpoint, or None. Checkpoints trained here take precedence over those that ship."""
    if name in ("", "..") or Path(name).name != name:
        return None
    folders = (root / name for root in (runs_dir(), CHECKPOINTS))
    return next((folder for folder in folders if os.path.exists(folder / "config.json")), None)


def _rank(folder: Path) -> tuple[bool, float, tuple[int, ...]]:
    """Sort key of checkpoints: those that ship first, then by validation recall, best first, then by age."""
    try:
        score = float(read_json(folder / "metrics.json")["valid"][CRITERION])
    except (OSError, ValueError, KeyError, TypeError):
        score = 0.0
    return folder.parent != CHECKPOINTS, -score if math.isfinite(score) else 0.0, _stamp(folder / "config.json")


def origin(folder: Path, key: str) -> str | None:
    """The `dataset` or `preset` that a checkpoint was trained on, or None if it is damaged. Reads no weights."""
    try:
        return str(read_json(folder / "config.json")["provenance"][key])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def new_run(name: str) -> Path:
    """Folder for a new model.

    Raises:
        SDiffError: the name is taken or invalid, or the folder is not writable.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", name):
        raise SDiffError("Name the model with up to 40 letters, digits, dots, dashes or underscores.")
    with _writing():
        if is_taken(name):
            raise SDiffError(f"The name {name!r} is already taken: choose another name.")
        runs_dir().mkdir(parents=True, exist_ok=True)
        with scratch(runs_dir()):  # fail before training, not after it
            return runs_dir() / name


@contextmanager
def claimed_run(name: str) -> Iterator[Path]:
    """Like `new_run`, and locks the folder. Raises SDiffError also if another run has locked it."""
    folder = new_run(name)
    with ExitStack() as claim:
        with _writing():
            try:
                claim.enter_context(claimed(folder))
            except BlockingIOError:
                raise SDiffError(f"Another run is training a model {name!r}: choose another name.") from None
        yield new_run(name)  # check again: another run may have ended since


def is_taken(name: str) -> bool:
    """Whether a name cannot be used for a new model. Files left by a run that was killed do not count."""
    folder = runs_dir() / name
    if name == INSTANT or name.lower() == uploads_dir().name or folder_of(name):
        return True
    return folder.exists() and not (folder.is_dir() and all(path.name.startswith(LEFT) for path in folder.iterdir()))


@contextmanager
def _writing() -> Iterator[None]:
    """Turns OSErrors into SDiffErrors."""
    try:
        yield
    except OSError as error:
        raise SDiffError(f"Cannot save models ({error.strerror}): check the folder for trained models.") from error


def _stamp(path: Path) -> tuple[int, ...]:
    """Modification time, inode and size of a file, or () if there is none. The time alone could miss a change."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
