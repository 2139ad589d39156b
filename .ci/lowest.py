"""Prints the lowest versions that pyproject.toml allows of what the package needs, as constraints for pip.

Not torch's: which build of it is right depends on the machine.
"""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for need in map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["app"]]):
    if need.name != "torch":
        [lowest] = [bound.version for bound in need.specifier if bound.operator == ">="]
        print(f"{need.name}=={lowest}")
