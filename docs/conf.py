"""Settings of Sphinx, which builds this folder's pages and the API reference into a site: `make docs`."""

from typing import Any

from sphinx.application import Sphinx

import sdiff

project, release, author = "S-Diff", sdiff.__version__, "The S-Diff developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]

# The pages also have to read well on GitHub, so links to headings use its anchors.
myst_heading_anchors = 3
smartquotes_action = "D"  # dashes, but no curly quotes: U' is a transpose
highlight_language = "text"  # of indented blocks, most of which are shell commands

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_inherit_docstrings = False  # not those of torch.nn.Module
autodoc_preserve_defaults = True
default_role = "literal"  # docstrings mark code with single backticks
napoleon_use_ivar, napoleon_attr_annotations = True, False  # signatures give the types
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"S-Diff {release}"
html_copy_source = False
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    """Shows the default `field(default_factory=dict)` as `{}`, which Sphinx can parse."""

    def spelled(*event: Any) -> tuple[str | None, str | None]:
        *_, arguments, returned = event
        return arguments and arguments.replace("<factory>", "{}"), returned

    app.connect("autodoc-process-signature", spelled)
