"""A simulated hall and meters in a site file."""

from __future__ import annotations

import pytest

from hashwerk.config.problems import InvalidConfigError
from hashwerk.config.site import parse_site

HALL = """
[twin]
machines = 4
base = "127.20.0.1"
scale = 1e9

[fleet]
ranges = ["127.20.0.1-127.20.0.4"]
share_scale = 1e9
"""
METER = """
[[meter]]
kind = "modbus-tcp"
name = "main meter"
host = "127.20.0.1"
map = "eastron-sdm630"
max_power_w = 20000
"""


def test_a_hall_and_its_meter() -> None:
    config = parse_site(HALL + METER)
    assert config.twin is not None
    assert config.twin.machines == 4
    assert [one.scope for one in config.meter] == ["site"]
    assert parse_site("").twin is None


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (HALL.replace("share_scale = 1e9", ""), "fleet.share_scale", "scale is 1e+09"),
        (HALL.replace("[fleet]", 'pool = "stratum+tcp://a:1"\n[fleet]'), "twin.pool", "works for this mine"),
        (HALL + '[miner]\nuser = "twin.cpu"\n', "twin.user", "stand for themselves"),
        (HALL.replace("[fleet]", 'models = ["toaster"]\n[fleet]'), "twin", "toaster"),
        (
            HALL
            + '[[upstream]]\nname = "a"\nurl = "stratum+tcp://a:1"\nuser = "b"\n'
            + '[node]\nnetwork = "testnet4"\n',
            "twin",
            "real pools",
        ),
        (
            HALL + '[node]\nkind = "core"\nnetwork = "main"\ncore = { urls = ["http://127.0.0.1:1"] }\n',
            "twin",
            "main network",
        ),
        (HALL + METER + METER, "meter[1].name", "two meters"),
        (HALL + METER + METER.replace("main", "second"), "meter[1].scope", "two meters: 'main meter'"),
        (HALL + METER.replace("eastron-sdm630", "nobody-1"), "meter[0].map", "no register map"),
        (HALL + METER + 'scope = "source:dam"', "meter[0].scope", "no source 'dam'"),
        (METER, "meter", "there is none"),
    ],
)
def test_what_is_refused(text: str, path: str, words: str) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        parse_site(text)
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert path in found, found
    assert words in found[path]
