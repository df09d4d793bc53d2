"""``python -m hashwerk`` and the console script."""

from __future__ import annotations

from hashwerk.cli import main

if __name__ == "__main__":
    main()
