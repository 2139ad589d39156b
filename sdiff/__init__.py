"""S-Diff: collaborative filtering by anisotropic diffusion in the spectral domain of the item graph (WSDM '25).

```python
from sdiff import Recommender, Trainer, load_dataset, preset

dataset = load_dataset("demo")
trainer = Trainer(preset("tuned"), dataset.split, seed=0).fit()
model = Recommender(trainer.checkpoint(dataset.key, "tuned"))
print(model.recommend(["12", "7"], k=10).ids)
```
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from sdiff.base.errors import SDiffError

if TYPE_CHECKING:
    from sdiff.config import PRESETS, Config, preset
    from sdiff.data.datasets import Dataset, load_dataset
    from sdiff.data.interactions import Interactions, Split
    from sdiff.evaluation.evaluate import evaluate
    from sdiff.serving.explain import Explanation, explain
    from sdiff.serving.recommender import Recommendations, Recommender
    from sdiff.training.checkpoint import Checkpoint
    from sdiff.training.trainer import Progress, Trainer

__version__ = "0.1.0"
__all__ = [
    "PRESETS",
    "Checkpoint",
    "Config",
    "Dataset",
    "Explanation",
    "Interactions",
    "Progress",
    "Recommendations",
    "Recommender",
    "SDiffError",
    "Split",
    "Trainer",
    "evaluate",
    "explain",
    "load_dataset",
    "preset",
]
MODULES = {
    "config": ("PRESETS", "Config", "preset"),
    "data.datasets": ("Dataset", "load_dataset"),
    "data.interactions": ("Interactions", "Split"),
    "evaluation.evaluate": ("evaluate",),
    "serving.explain": ("Explanation", "explain"),
    "serving.recommender": ("Recommendations", "Recommender"),
    "training.checkpoint": ("Checkpoint",),
    "training.trainer": ("Progress", "Trainer"),
}

# OpenMP threads spin while they wait for work. A recommendation takes hundreds of short steps, so on a busy machine
# spinning threads take the CPU from those that still have work. OpenMP reads this variable when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """Imports torch lazily, so that the command line starts fast and can install its signal handlers first."""
    for module, names in MODULES.items():
        if name in names:
            value = globals()[name] = getattr(importlib.import_module(f"sdiff.{module}"), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
