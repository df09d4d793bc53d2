"""Configuration of the documentation build."""

from hashwerk import __version__

project = "Hashwerk"
author = "The Hashwerk authors"
copyright = "2026, the Hashwerk authors"
release = __version__
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Hashwerk {release}"
