"""Sphinx's settings. `make docs` builds; `python -m matchka_docs` lays out what is read."""

import tomllib
from pathlib import Path

from sphinx.application import Sphinx

from matchka_docs.reference.docstrings import mend

_known = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
project = _known["name"]
version = release = _known["version"]
smartquotes = False  # -- begins an option
root_doc = "index"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "sphinx_design"]
exclude_patterns = ["repository/**"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4  # slugs as GitHub makes them
linkcheck_timeout = 10
highlight_language = "text"
suppress_warnings = ["misc.highlighting_failure"]  # placeholders in <…> are no shell, and not every file has a lexer
default_role = "code"  # docstrings mark code by single backticks
add_module_names = False
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = "matchka"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": "matchka"},
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navigation_with_keys": False,
    "show_nav_level": 1,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
}
html_sidebars = {"index": [], "tutorial": [], "glossary": []}


def setup(app: Sphinx) -> None:
    """Register what reads docstrings."""
    app.connect("autodoc-process-docstring", mend)
