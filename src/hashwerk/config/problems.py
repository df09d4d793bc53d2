"""What is wrong with a configuration: where, what, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hashwerk.errors import ConfigError


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong. ``path`` is the setting as written in TOML, for example ``stratum.port``."""

    path: str
    message: str
    line: int | None = None
    hint: str | None = None

    def __str__(self) -> str:
        """Return one line of text: where, what, hint."""
        where = f"line {self.line}: " if self.line is not None else ""
        name = f"{self.path}: " if self.path else ""
        return f"{where}{name}{self.message}" + (f" ({self.hint})" if self.hint else "")


class InvalidConfigError(ConfigError):
    """A configuration with problems, all of them."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{source}: {count}\n{lines}")
