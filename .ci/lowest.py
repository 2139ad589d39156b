"""Prints the minimum versions from pyproject.toml as pip constraints.

Leaves out torch, because the right build depends on the machine.
"""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for need in map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["app"]]):
    if need.name != "torch":
        [lowest] = [bound.version for bound in need.specifier if bound.operator == ">="]
        print(f"{need.name}=={lowest}")
