"""The documentation site: ``make docs``. Warnings are errors, so that a dead link or a missing docstring fails."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# What Airflow writes when it is imported goes to the build directory, not to the home directory.
os.environ.setdefault("AIRFLOW_HOME", str(Path(__file__).resolve().parent / "_build" / "airflow"))
os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
os.environ["COLUMNS"] = "84"  # argparse wraps usage lines at the width of the terminal
sys.path.insert(0, str(Path(__file__).resolve().parent / "_ext"))

from airflow_eip_provider import __version__

project = "airflow-eip-provider"
author = "The airflow-eip-provider authors"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinxarg.ext",
    "sphinxcontrib.mermaid",
    "eip_reference",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
myst_ref_domains = ["std", "py"]
myst_fence_as_directive = ["mermaid"]  # GitHub draws these fences, too

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # in the signature they hide the parameters' names; the text says what each is
autodoc_class_signature = "mixed"
autodoc_inherit_docstrings = False  # a docstring of Amazon's operator is not ours to publish
add_module_names = False
autodoc_preserve_defaults = True
mermaid_fullscreen = False
smartquotes = False  # of --option they make a dash

nitpicky = True
nitpick_ignore_regex = [
    # Other projects' classes: the build needs no network, so there is no inventory to look them up in.
    (r"py:.*", r"(?!airflow_eip_provider\.).*"),
    # Modules and types of the implementation that a docstring names; the reference has the public ones.
    (r"py:.*", r"airflow_eip_provider\.(?!(operators|sensors|hooks|triggers|task_groups|links)\.(eip|emr|azure)\.).*"),
]
copybutton_prompt_text = "$ "

highlight_language = "text"  # of blocks that name none: help of commands

html_theme = "furo"
html_title = "airflow-eip-provider"
html_static_path = ["_static"]
html_css_files = ["eip.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
