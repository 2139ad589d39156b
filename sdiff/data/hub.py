"""Tables of the Hugging Face Hub, where the library `datasets` is installed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from sdiff.base.errors import SDiffError
from sdiff.base.files import replacing, sweep


def hub_table(name: str, folder: Path) -> Path:
    """The train part of a data set of the Hub as a Parquet file in `folder`, downloaded once.

    Raises:
        SDiffError: `datasets` is not installed, or the set cannot be loaded, for whatever reason it gives.
    """
    path = folder / f"{name.replace('/', '--')}.parquet"
    sweep(folder)  # where the file is there already, no writer comes who would
    if path.is_file():
        return path
    try:
        hub = import_module("datasets")
    except ImportError:
        raise SDiffError("hf: needs the library datasets: pip install 'sdiff[hub]'.") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as whole:
            hub.load_dataset(name, split="train").to_parquet(whole)
    except Exception as error:  # of many libraries: the network's, the Hub's, the set's own
        raise SDiffError(f"Cannot load {name} from the Hub: {' '.join(str(error).split())[:300]}") from error
    return path
