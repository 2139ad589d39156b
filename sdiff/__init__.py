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

# OpenMP threads spin while they wait for work. A recommendation takes hundreds of short steps, so on a busy machine
# spinning threads take the CPU from those that still have work. OpenMP reads this variable when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def __getattr__(name: str) -> Any:
    """Imports torch lazily, so that the command line starts fast and can install its signal handlers first."""
    if name in __all__:
        return getattr(importlib.import_module("sdiff.serving.recommender"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
