"""Where each setting that runs comes from: the site's file, the command line, or a demonstration; else it is a default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from hashwerk.config.site import SiteConfig

COMMAND_LINE: Final = "command line"
DEMONSTRATION: Final = "demonstration"


class Origins(msgspec.Struct, frozen=True, kw_only=True):
    """Who set what. What is not named in ``laid_over`` and is no default stands in the file."""

    file: str | None = None
    laid_over: dict[str, str] = {}  # dotted path of a setting → the command line or a demonstration


def changed_paths(before: SiteConfig, after: SiteConfig) -> list[str]:
    """Return the dotted paths of the settings in ``after`` that are not, or not so, in ``before``."""
    known = dict(_leaves(msgspec.to_builtins(before), ""))
    return [
        path
        for path, value in _leaves(msgspec.to_builtins(after), "")
        if path not in known or known[path] != value
    ]


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        for number, inner in enumerate(value, 1):
            yield from _leaves(inner, f"{path}[{number}]")
    else:
        yield path, value
