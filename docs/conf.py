"""Sphinx configuration. The Markdown files of the repository are read in place, so their links hold in both forms."""

from pygments.lexers import PythonLexer

import calibrant

project = "calibrant"
author = "calibrant developers"
copyright = author
root_doc = "docs/index"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
include_patterns = ["README.md", "ARCHITECTURE.md", "BENCHMARKS.md", "C*.md", "SECURITY.md", "docs/**"]
exclude_patterns = [".*", "bench", "build", "dist", "examples", "out", "src", "tests", "tools"]

html_theme = "furo"
html_title = "calibrant"
html_copy_source = False
html_show_sphinx = False

myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]

autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 80

# The public names are imported when they are first used; autodoc lists those that a module holds.
for name in calibrant.__all__:
    getattr(calibrant, name)


def setup(app):
    """Configuration examples are highlighted as Python, whose comments, strings and numbers look the same."""
    app.add_lexer("textproto", PythonLexer)
