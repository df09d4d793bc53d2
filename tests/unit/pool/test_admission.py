"""Users as machines write them."""

from __future__ import annotations

import pytest

from hashwerk.pool.admission import NO_MACHINE, User, split_user


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("alice.rig", User("alice", "rig")),
        ("alice", User("alice", NO_MACHINE)),
        ("alice.", User("alice", NO_MACHINE)),
        ("alice.rig.7", User("alice", "rig.7")),
        (" alice . rig ", User("alice", "rig")),
        ("al\x00ice.r\nig", User("alice", "rig")),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.1", User("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "1")),
        ("a" * 63 + ".m", User("a" * 63, "m")),
        ("a.m" + "x" * 100, User("a", "m" + "x" * 63)),
        ("", None),
        (".rig", None),
        ("\x01.rig", None),
        ("a" * 64, None),
    ],
)  # fmt: skip
def test_split_user(user: str, expected: User | None) -> None:
    assert split_user(user) == expected
