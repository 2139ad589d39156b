"""Checkpoints on the Hugging Face Hub. Needs the library `huggingface_hub`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdiff.base.errors import SDiffError
from sdiff.serving.model_card import dataset_name, model_card
from sdiff.training.checkpoint import Checkpoint

FILES = ["config.json", "metrics.json", "model-*.safetensors"]
PRIVATE = ("command", "dataset")  # metrics that may contain paths of this machine; the provenance has what matters


def download(name: str, revision: str | None = None, token: str | None = None) -> Path:
    """Downloads the files of a checkpoint to the cache of the Hub's library. Returns their folder.

    Args:
        name: of the repository, such as "owner/name".
        revision: branch, tag or commit; the main branch by default.
        token: by default the one that `hf auth login` stored.

    Raises:
        SDiffError: `huggingface_hub` is not installed, or the repository cannot be read.
    """
    with _hub(f"Cannot load {name} from the Hub") as hub:
        return Path(hub.snapshot_download(name, revision=revision, token=token, allow_patterns=FILES))


def upload(
    checkpoint: Checkpoint, name: str, private: bool | None = None, token: str | None = None, license: str = ""
) -> str:
    """Uploads a checkpoint and its model card in one commit. Returns the address of the repository.

    The path of the data set and the command of the training are left out: they may name folders of this machine.

    Args:
        name: of the repository, such as "owner/name". It is created if it does not exist.
        private: whether a new repository is private; by default as the owner has chosen on the Hub.
        token: as in `download`.
        license: as in `model_card`.

    Raises:
        SDiffError: `huggingface_hub` is not installed, or the repository cannot be written to.
    """
    published = replace(
        checkpoint,
        provenance=replace(checkpoint.provenance, dataset=dataset_name(checkpoint.provenance.dataset)),
        metrics={key: value for key, value in checkpoint.metrics.items() if key not in PRIVATE},
    )
    with _hub(f"Cannot upload to {name}") as hub, tempfile.TemporaryDirectory() as folder:
        api = hub.HfApi(token=token)
        repository = api.create_repo(name, private=private, exist_ok=True)
        published.save(folder)
        card = model_card(published, f'Recommender.from_pretrained("{repository.repo_id}")', license)
        (Path(folder) / "README.md").write_text(card, encoding="utf-8")
        api.upload_folder(
            repo_id=repository.repo_id,
            folder_path=folder,
            commit_message="Upload an S-Diff model",
            delete_patterns=FILES[-1],  # the weights of an earlier model
        )
        return str(repository)


@contextmanager
def _hub(failure: str) -> Iterator[Any]:
    """The Hub's library. In the block, its errors are raised as an SDiffError that begins with `failure`."""
    try:
        import huggingface_hub
    except ImportError:
        raise SDiffError("The Hub needs the library huggingface_hub: run pip install huggingface_hub.") from None
    try:
        yield huggingface_hub
    except SDiffError:
        raise
    except Exception as error:  # from the network or the Hub's library
        raise SDiffError(f"{failure}: {' '.join(str(error).split())[:300]}") from error
