"""S-Diff: collaborative filtering by anisotropic diffusion in the spectral domain of the item graph (WSDM '25)."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from sdiff.base.errors import SDiffError

if TYPE_CHECKING:
    from sdiff.serving.recommender import Recommendations, Recommender

__version__ = "0.1.0"
__all__ = ["Recommendations", "Recommender", "SDiffError"]

# OpenMP's threads wait for work awake by default, and a list is made in hundreds of short steps: beside other busy
# processes each wait takes the processor from the thread that is waited for. OpenMP reads this once, with torch.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def __getattr__(name: str) -> Any:
    """Imports torch only when it is needed, so that the command line can set itself up first."""
    if name in __all__:
        return getattr(importlib.import_module("sdiff.serving.recommender"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
