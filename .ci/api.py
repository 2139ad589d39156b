"""Writes the API reference from the docstrings to build/api. Every warning is an error.

python .ci/api.py
"""

import inspect
import warnings
from dataclasses import fields
from pathlib import Path

import pdoc

import sdiff

warnings.simplefilter("error")
for name in sdiff.__all__:  # import what the package imports lazily
    getattr(sdiff, name)
# pdoc does not read the metadata of fields
attributes = "".join(f"    {f.name}: {f.metadata['help']}.\n" for f in fields(sdiff.Config))
sdiff.Config.__doc__ = f"{inspect.getdoc(sdiff.Config)}\n\nAttributes:\n{attributes}"
pdoc.render.configure(docformat="google", footer_text=f"S-Diff {sdiff.__version__}", search=True, math=False)
pdoc.pdoc("sdiff", output_directory=Path("build/api"))
print(f"build/api/index.html: {len([*Path('build/api').rglob('*.html')])} pages")
