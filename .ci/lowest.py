"""Prints the minimum versions from pyproject.toml as pip constraints.

torch keeps the version that is installed, because the right build depends on the machine. The version comes from the
package's metadata, as pip reads it: the CUDA build's metadata says 2.13.0 where torch.__version__ says 2.13.0+cu130.
"""

import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for need in map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["app"]]):
    [lowest] = [bound.version for bound in need.specifier if bound.operator == ">="]
    print(f"{need.name}=={version('torch') if need.name == 'torch' else lowest}")
