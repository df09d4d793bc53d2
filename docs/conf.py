"""Configuration of the documentation build."""

import sys
from pathlib import Path

from hashwerk import __version__

sys.path.insert(0, str(Path(__file__).parent))
from reference_pages import write_reference

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

write_reference(Path(__file__).parent / "reference")
