"""*Settings*: every setting that runs, where it comes from, and no secret."""

from __future__ import annotations

import pytest

from hashwerk.config.origin import DEMONSTRATION, Origins, changed_paths
from hashwerk.config.site import SiteConfig, parse_site
from hashwerk.site.key_lines import KeyLine
from hashwerk.web.settings_frames import is_secret, key_rows, setting_text, settings_frame

FILE = """
[site]
name = "Nordhall"
[web]
password_hash = "$argon2id$v=19$secret"
tokens = ["sha256:{token}"]
[fleet]
ranges = ["10.0.0.0/22"]
[fleet.alarms]
webhook = "https://hooks.example/T0/secret-path"
[fleet.alarms.mqtt]
host = "broker"
password = "mqtt-word"
[[fleet.credentials]]
make = "whatsminer"
user = "super"
password = "machine-word"
""".format(token="ab" * 32)


@pytest.fixture(scope="module")
def frame():
    return settings_frame(parse_site(FILE))


def rows(frame, section):
    return {row["k"]: [cell["t"] for cell in row["c"]] for row in frame[f"rows.settings.{section}"]}


def test_every_setting_is_there_with_its_description(frame):
    for section in SiteConfig.__struct_fields__:
        for path, cells in rows(frame, section).items():
            assert cells[3], f"{path} has no description"
    assert "fleet.limits.starts_a_day" in rows(frame, "fleet")


def test_it_says_what_was_set(frame):
    assert rows(frame, "site")["site.name"][1:3] == ["Nordhall", "● set"]
    assert rows(frame, "fleet")["fleet.control"][1:3] == ["false", "default"]
    assert {row["k"] for row in frame["rows.settings"]} >= {"site.name", "fleet.ranges", "web.tokens"}
    assert "fleet.control" not in {row["k"] for row in frame["rows.settings"]}


def test_no_secret_is_shown(frame):
    shown = str(frame)
    for secret in ("argon2id", "abab", "secret-path", "mqtt-word", "machine-word", "super"):
        assert secret not in shown, secret
    assert rows(frame, "fleet")["fleet.credentials[1].make"][1] == "whatsminer"


@pytest.mark.parametrize(
    ("path", "secret"),
    [
        ("web.password_hash", True),
        ("web.tokens", True),
        ("fleet.credentials[3].user", True),
        ("fleet.credentials[3].make", False),
        ("stratum.limits.authorize_timeout_s", False),
        ("site.name", False),
    ],
)
def test_what_counts_as_a_secret(path, secret):
    assert is_secret(path) is secret


def test_a_login_within_a_url_is_left_out():
    assert setting_text("http://user:word@host:8332/wallet") == "http://host:8332/wallet"
    assert setting_text(("a", "b")) == "a, b"
    assert setting_text(None) == "none"


def test_who_may_come_in(frame):
    assert frame["door.tokens"] == "1"
    assert frame["door.asks"] == "for the password or a token"
    assert frame["door.control"].startswith("dry runs only")
    assert settings_frame(SiteConfig())["door.commands"].startswith("the token in fleet.token")
    assert settings_frame(None)["settings.sections"] == []


def test_it_says_who_set_what_and_what_it_would_be_otherwise():
    config = parse_site(FILE)
    laid_over = dict.fromkeys(changed_paths(SiteConfig(), config), "command line")
    assert {"site.name", "fleet.alarms.mqtt.host", "fleet.credentials[1].make"} <= laid_over.keys()
    assert "fleet.control" not in laid_over
    origins = Origins(
        file="hall.toml", laid_over={"fleet.ranges": "command line", "site.name": DEMONSTRATION}
    )
    frame = settings_frame(config, origins)
    own = {row["k"]: [cell["t"] for cell in row["c"]] for row in frame["rows.settings"]}
    assert own["fleet.ranges"][:4] == ["fleet.ranges", "10.0.0.0/22", "–", "● command line"]
    assert own["fleet.alarms.mqtt.host"][3] == "● hall.toml"
    assert own["site.name"][2:4] == ["My mine", "● demonstration"]
    assert rows(frame, "fleet")["fleet.control"][2] == "default"
    assert frame["settings.read"].startswith(
        "Set in hall.toml and by the command line and by the demonstration, read"
    )
    assert settings_frame(config, Origins())["settings.read"].startswith("There is no site file.")
    assert frame["settings.count.site"].endswith("1 set")


def test_keys_say_what_they_are_for():
    lines = (
        KeyLine(role="signs", fingerprint="ab" * 32, since=1.0, from_epoch=3),
        KeyLine(role="next", fingerprint="cd" * 32),
        KeyLine(role="recovery", fingerprint="ef" * 32, is_here=True),
        KeyLine(role="revoked", fingerprint="01" * 32, since=0.0, from_epoch=0),
    )
    present, coming, recovery, revoked = (row["c"] for row in key_rows(lines))
    assert (present[0]["t"], present[1]["y"], present[3]) == ("● signs now", "ab" * 32, "3")
    assert "hashwerk key rotate" in coming[4]["t"]
    assert (recovery[4]["c"], "take it off" in recovery[4]["t"]) == ("attention", True)
    assert revoked[0]["t"] == "✕ revoked"
