"""Settings of Sphinx, which builds this folder's pages and the API reference into a site: `make docs`."""

import sdiff

project, release, author = "S-Diff", sdiff.__version__, "The S-Diff developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]

# The pages also have to read well on GitHub, so links to headings use its anchors.
myst_heading_anchors = 3
highlight_language = "text"  # of indented blocks, most of which are shell commands

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
default_role = "literal"  # docstrings mark code with single backticks
napoleon_use_ivar = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"S-Diff {release}"
html_copy_source = False
html_show_sphinx = False
