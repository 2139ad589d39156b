"""The model card of a checkpoint: data and their terms, licence, accuracy, settings and command.

It is a README.md as the Hugging Face Hub reads it. Its metadata are written by `huggingface_hub`.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdiff.base.errors import SDiffError
from sdiff.config import PRESETS, Config
from sdiff.data.datasets import FRAME
from sdiff.data.registry import REGISTRY
from sdiff.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

PAPER = "https://doi.org/10.1145/3701551.3703490"
MAIN = ("recall@10", "ndcg@10", "recall@20", "ndcg@20")
TEMPLATE = """---
{metadata}
---

# {title}

A recommender by [S-Diff]({paper}), which is collaborative filtering by anisotropic diffusion
in the spectral domain of the item graph. It recommends items for any history of item ids, also for users who are not in
the training data.

```python
from sdiff import Recommender

model = {load}
model.recommend({history}, k=10)
```

## Data and terms

{data}

The checkpoint contains {items:,} item ids, the number of training interactions of each item, the spectrum of the item
graph and the weights. It contains no users, no histories and no titles.

{terms}

## Accuracy

{accuracy}

## Training

{training}
"""


def model_card(checkpoint: Checkpoint, load: str, license: str = "") -> str:
    """The text of the README.md of a checkpoint.

    Args:
        load: the Python expression that loads the checkpoint.
        license: identifier of the licence on the Hub, such as "mit", in place of that of the data set.

    Raises:
        SDiffError: `huggingface_hub` is not installed.
    """
    popular = np.argsort(-checkpoint.item_counts.numpy(), kind="stable")[:3]
    return TEMPLATE.format(
        metadata=_metadata(checkpoint, license).to_yaml(),
        title=_title(checkpoint),
        paper=PAPER,
        load=load,
        history=json.dumps([checkpoint.items.ids[i] for i in popular], ensure_ascii=False),
        data=_data(checkpoint),
        items=len(checkpoint.items),
        terms=_terms(checkpoint, license),
        accuracy=_accuracy(checkpoint.metrics),
        training=_table({"": "", **_training(checkpoint)}),
    )


def dataset_name(key: str) -> str:
    """The key of a data set without the folders and options of a path, which concern only one machine."""
    return key if key in REGISTRY or key.startswith("hf:") else Path(key.partition("?")[0]).name or "own data"


def command(checkpoint: Checkpoint) -> str:
    """The `sdiff train` command that repeats the training; empty if it was not trained by one command."""
    origin = checkpoint.provenance
    several = origin.trained or "updated" in checkpoint.metrics  # settings of inference were chosen after the training
    if origin.preset not in PRESETS or origin.dataset == FRAME or several:
        return ""
    words = ["--dataset", dataset_name(origin.dataset), "--preset", origin.preset, "--seed", str(origin.seed)]
    if changed := _changed(checkpoint.config, PRESETS[origin.preset]):
        words += ["--set", *changed]
    return f"sdiff train {shlex.join(words)} --out MODEL"


def _changed(config: Config, base: Config) -> list[str]:
    before = base.to_dict()
    return [f"{name}={value}" for name, value in config.to_dict().items() if value != before[name]]


def _metadata(checkpoint: Checkpoint, license: str) -> ModelCardData:
    try:
        from huggingface_hub import EvalResult, ModelCardData
    except ImportError:
        raise SDiffError("A model card needs the library huggingface_hub: run pip install huggingface_hub.") from None
    key, source = dataset_name(checkpoint.provenance.dataset), REGISTRY.get(checkpoint.provenance.dataset)
    licensed: dict[str, Any] = {"license": license or (source.license if source else "") or None}
    if source and not licensed["license"]:
        link = source.terms_at or source.origin
        licensed = {"license": "other", "license_name": f"{source.key}-terms", "license_link": link}
    results = [
        EvalResult(
            task_type="recommendation",
            dataset_type=key.removeprefix("hf:"),
            dataset_name=source.title if source else key,
            dataset_split=part,
            metric_type=name,
            metric_value=round(value, 5),
        )
        for part in ("valid", "test")
        for name, value in checkpoint.metrics.get(part, {}).items()
        if name in MAIN
    ]
    return ModelCardData(
        library_name="sdiff",
        tags=["recommendation", "collaborative-filtering", "diffusion"],
        datasets=[key.removeprefix("hf:")] if key.startswith("hf:") else None,
        model_name=_title(checkpoint),
        eval_results=results or None,
        **licensed,
    )


def _title(checkpoint: Checkpoint) -> str:
    origin = checkpoint.provenance
    source = REGISTRY.get(origin.dataset)
    preset = f", preset {origin.preset}" if origin.preset else ""
    return f"S-Diff{preset}, trained on {source.title if source else dataset_name(origin.dataset)}"


def _data(checkpoint: Checkpoint) -> str:
    key = checkpoint.provenance.dataset
    rows = {"": "", "data set": f"`{dataset_name(key)}`"}
    if source := REGISTRY.get(key):
        rows |= {"title": source.title, "origin": source.origin, "terms": source.terms}
    return _table(rows | {"training interactions": f"{int(checkpoint.item_counts.sum()):,}"})


def _terms(checkpoint: Checkpoint, license: str) -> str:
    source = REGISTRY.get(checkpoint.provenance.dataset)
    if license or (source and source.license):
        return f"Licence of the model: {license or (source and source.license)}."
    if source is None:
        return "The owner of the data has stated no licence here. Ask before you use the model."
    return (
        f"**The model is under the terms of its data: {source.terms}.** See {source.terms_at or source.origin}. The "
        "Apache licence of S-Diff covers the code, not this model."
    )


def _accuracy(metrics: dict[str, Any]) -> str:
    rows = {"this model": metrics} | metrics.get("references", {})
    columns = [(part, name) for part in ("valid", "test") for name in MAIN if name in metrics.get(part, {})]
    if not columns:
        return "Nothing was held out to measure it on."
    body = [[name, *(f"{row[part][metric]:.4f}" for part, metric in columns)] for name, row in rows.items()]
    head = ["model", *(f"{part} {metric}" for part, metric in columns)]
    lines = [head, ["---"] * len(head), *body]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        f"{text}\n\nMeans over {metrics[columns[-1][0]]['users']:,} users. Items of the history are not ranked. "
        "`popularity` recommends the most popular items; `A x` multiplies the history by the adjacency matrix of the "
        "item graph."
    )


def _training(checkpoint: Checkpoint) -> dict[str, str]:
    origin, metrics = checkpoint.provenance, checkpoint.metrics
    rows = {
        "command": f"`{text}`" if (text := command(checkpoint)) else "",
        "settings that differ from the paper's": f"`{', '.join(_changed(checkpoint.config, Config())) or 'none'}`",
        "seed": str(origin.seed),
        "epoch": str(origin.epoch),
        "time": f"{metrics['train_seconds']:.0f} s" if "train_seconds" in metrics else "",
        "device": str(metrics.get("device", "")),
        "split": f"`{origin.data_fingerprint}`",
        "date": origin.created,
        "versions": ", ".join(f"{name} {version}" for name, version in origin.versions.items()),
    }
    return {name: value for name, value in rows.items() if value}


def _table(rows: dict[str, str]) -> str:
    """A table in Markdown of two columns. The first row is the head."""
    (head, *body) = (f"| {name} | {value} |" for name, value in rows.items())
    return "\n".join([head, "|---|---|", *body])
