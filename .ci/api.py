"""Writes the API reference from the docstrings to build/api. Every warning is an error.

python .ci/api.py
"""

import warnings
from pathlib import Path

import pdoc

import sdiff

warnings.simplefilter("error")
for name in sdiff.__all__:  # import what the package imports lazily
    getattr(sdiff, name)
pdoc.render.configure(docformat="google", footer_text=f"S-Diff {sdiff.__version__}", search=True, math=False)
pdoc.pdoc("sdiff", "!sdiff.app", "!sdiff.cli", "!sdiff.experiments", output_directory=Path("build/api"))
print(f"build/api/index.html: {len([*Path('build/api').rglob('*.html')])} pages")
