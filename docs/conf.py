"""Configuration of Sphinx. Building needs no network, and reading loads nothing from elsewhere.

sphinx-build -W docs docs/_build/html                       # runs every example: minutes
sphinx-build -W -D plot_gallery=0 docs docs/_build/html     # text only: seconds
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import covidct

project = "covidct"
author = "The covidct developers"
copyright = "2026, the covidct developers"
version = release = covidct.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "measured",
    "overview",
    "mathml",
    "public_names",
    "public_sets_table",
    "published_table",
    "command_help",
]
exclude_patterns = ["_build", "**/.*"]
templates_path = ["_templates"]
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!covidct\.).*"),  # other projects are not resolved offline
    # Not public, and named in annotations all the same:
    (r"py:class", r"covidct\..*(\._.*|\.(FloatMap|Model|RunDirectory|Splitter))"),
]

autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False
maximum_signature_line_length = 80
autosummary_ignore_module_all = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Stands for the examples that draw nothing.
phantom = Path(__file__).parent / "_build" / "phantom.png"
phantom.parent.mkdir(exist_ok=True)
covidct.load_dataset("phantom", n=2, seed=0)[0][0].save(phantom)

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "image_scrapers": ("figures.scrape",),
    "reset_modules": (),
    "within_subsection_order": "figures.reading_order",
    "doc_module": ("covidct",),
    "backreferences_dir": "reference/generated/examples",
    "default_thumb_file": str(phantom),
    "download_all_examples": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1,
}

html_theme = "pydata_sphinx_theme"
html_title = f"covidct {release}"
html_static_path = ["_static"]
html_css_files = ["covidct.css"]
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {
    "github_url": "https://github.com/covidct/covidct",
    "show_nav_level": 2,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "header_links_before_dropdown": 6,
    "navbar_persistent": ["search-button"],
}
html_sidebars = {page: [] for page in ("index", "install", "glossary", "bibliography")}
