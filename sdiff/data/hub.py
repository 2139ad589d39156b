"""Tables from the Hugging Face Hub. Needs the library `datasets`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from sdiff.base.errors import SDiffError
from sdiff.base.files import replacing, sweep


def hub_table(name: str, folder: Path) -> Path:
    """Path of the train part of a Hub data set, as a Parquet file in `folder`. Downloads it if it is not there yet.

    Raises:
        SDiffError: `datasets` is not installed, or the data set cannot be loaded.
    """
    path = folder / f"{name.replace('/', '--')}.parquet"
    sweep(folder)  # also on a cache hit, which writes nothing and so would not sweep
    if path.is_file():
        return path
    try:
        hub = import_module("datasets")
    except ImportError:
        raise SDiffError("hf: needs the library datasets: run pip install datasets.") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            hub.load_dataset(name, split="train").to_parquet(temporary)
    except Exception as error:  # from the network, the Hub's libraries or the data set's own code
        raise SDiffError(f"Cannot load {name} from the Hub: {' '.join(str(error).split())[:300]}") from error
    return path
