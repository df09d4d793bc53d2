"""Every site file that comes with Hashwerk is one that it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from hashwerk.config.site import load_site

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.toml")), ids=lambda path: path.stem)
def test_an_example_is_a_valid_site_file(path: Path) -> None:
    assert load_site(path).site.name != "My mine"
