"""What the app holds in memory: opened data sets and models, shared by all visitors, never changed by any of them."""

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

from sdiff.app import journal, prepare
from sdiff.app.space import serving_device
from sdiff.base.errors import SDiffError, brief
from sdiff.base.files import MARK, claimed, scratch
from sdiff.base.paths import CHECKPOINTS, runs_dir, uploads_dir
from sdiff.data.catalog import Catalog
from sdiff.data.datasets import Dataset, load_dataset
from sdiff.data.interactions import Vocabulary
from sdiff.data.registry import REGISTRY
from sdiff.serving.recommender import Recommender
from sdiff.training.trainer import CRITERION
from sdiff.training.validate import read_json

LEFT = (MARK, "model-")  # how names begin in the folder of a run that was killed before it had saved a model
INSTANT = "instant"  # every data set has this model, without a file


EMBEDDED = ("demo",)  # small and always here: opened where they are asked for
MAX_OPEN = 8  # data sets in memory


@dataclass(frozen=True)
class Opened:
    """A data set with its catalog, and the model that needs no training."""

    dataset: Dataset
    catalog: Catalog
    instant: Recommender

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


_open_datasets: LRUCache[str, Opened] = LRUCache(MAX_OPEN)
_lock = Lock()


def open_dataset(key: str) -> Opened:
    """A data set that is in memory; an embedded one is opened first. The others are opened by `openings.opening`, which
    takes long and has a queue of its own.

    Raises:
        SDiffError: it is not in memory.
    """
    journal.note(data=key)
    if key in EMBEDDED:
        return _embedded(key)
    with _lock:
        found = _open_datasets.get(key)
    if found is None:
        raise SDiffError(f"The data set {key} is not open any more: reload the page, or choose it again.")
    return found


def is_open(key: str) -> bool:
    """Whether `open_dataset` answers at once."""
    with _lock:
        return key in EMBEDDED or key in _open_datasets


def keep_open(key: str, opened: Opened) -> None:
    """Keeps a data set in memory for all visitors, in the place of the one that was not used for the longest time."""
    with _lock:
        _open_datasets[key] = opened


# Of callers who ask for the same thing at once, one computes it and the others wait: `condition` sees to that.
@cached(LRUCache(len(EMBEDDED)), condition=Condition())
def _embedded(key: str) -> Opened:
    return opened_here(partial(load_dataset, key))


def opened_here(load: Callable[[], Dataset]) -> Opened:
    """Opens a data set in this process, which waits for it. Raises SDiffError as `prepare.steps`."""
    with TemporaryDirectory() as folder:
        *_, dataset = prepare.steps(load, serving_device(), Path(folder))
        assert isinstance(dataset, Dataset)
        return prepared(dataset, Path(folder))


def prepared(dataset: Dataset, folder: Path) -> Opened:
    """What `prepare.steps` read, with the model that they left in a folder, ready to answer."""
    return Opened(dataset, Catalog(dataset), Recommender.load(folder, serving_device()))


def serve(key: str, checkpoint: str) -> tuple[Opened, Recommender]:
    """A data set with its items in the order of a model's, and the model. Raises SDiffError when it lacks some."""
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
    """A checkpoint by its name, or the model of the data set that needs no training. A checkpoint that was replaced on
    disk is read again."""
    if name == INSTANT:
        return open_dataset(dataset).instant
    folder = _folder(name)
    if folder is None:
        raise SDiffError(f"There is no checkpoint {brief(name)} any more: choose another, or train one.")
    return _model(folder, tuple(_stamp(folder / part) for part in ("config.json", "metrics.json")))


@cached(LRUCache(8), condition=Condition())
def _model(folder: Path, stamps: tuple[tuple[int, ...], ...]) -> Recommender:
    return Recommender.load(folder, serving_device())


def checkpoints(dataset: str | None = None) -> dict[str, Path]:
    """Name -> folder of the checkpoints that ship and then of those trained here, of each the best on validation first.

    With a data-set key, only those trained on it, or on another split of its items. This reads files of every model:
    one that is known by its name is looked up by `open_model`.
    """
    found = {path.parent.name: path.parent for root in (CHECKPOINTS, runs_dir()) for path in root.glob("*/config.json")}
    folders = [*found.values()]
    if dataset is not None:
        same = {dataset} | ({REGISTRY[dataset].same_items_as} if dataset in REGISTRY else set())
        folders = [folder for folder in folders if trained_on(folder) in same]
    return {folder.name: folder for folder in sorted(folders, key=_rank)}


def _folder(name: str) -> Path | None:
    """The folder of a checkpoint, one that was trained here before one that ships; None where there is none."""
    if name in ("", "..") or Path(name).name != name:
        return None
    folders = (root / name for root in (runs_dir(), CHECKPOINTS))
    return next((folder for folder in folders if os.path.exists(folder / "config.json")), None)


def _rank(folder: Path) -> tuple[bool, float, tuple[int, ...]]:
    """Sorts checkpoints: those that ship first, then by recall on validation, best first, and those without by age."""
    try:
        reached = float(read_json(folder / "metrics.json")["valid"][CRITERION])
    except (OSError, ValueError, KeyError, TypeError):
        reached = 0.0
    return folder.parent != CHECKPOINTS, -reached if math.isfinite(reached) else 0.0, _stamp(folder / "config.json")


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
    if name == INSTANT or name.lower() == uploads_dir().name or _folder(name):
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
