"""S-Diff: collaborative filtering by anisotropic diffusion in the spectral domain of the item graph (WSDM '25)."""

__version__ = "0.1.0"

from sdiff.errors import SDiffError
from sdiff.recommender import Recommendations, Recommender

__all__ = ["Recommendations", "Recommender", "SDiffError"]
