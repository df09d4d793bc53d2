"""Commands as they are typed."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hashwerk.cli import cli
from hashwerk.cli.run import configure, split_host_port
from hashwerk.config.web_settings import WebSettings
from hashwerk.errors import ConfigError
from hashwerk.web.auth import Credentials


def hashwerk(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hashwerk", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_check_config_prints_every_problem_and_fails(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text("[web]\nprot = 1\nport = 99999\n")
    done = hashwerk("check-config", str(path))
    assert done.returncode == 2
    assert "line 2: web.prot" in done.stderr
    assert "line 3: web.port" in done.stderr
    done = hashwerk("check-config", str(path), "--json")
    assert done.returncode == 2
    assert [problem["line"] for problem in json.loads(done.stdout)["problems"]] == [2, 3]
    path.write_text("")
    assert json.loads(hashwerk("check-config", str(path), "--json").stdout) == {"ok": True, "problems": []}


async def test_passwd_makes_what_the_page_accepts() -> None:
    made = json.loads((await asyncio.to_thread(hashwerk, "passwd", "--json", text="correct horse\n")).stdout)
    token = json.loads((await asyncio.to_thread(hashwerk, "passwd", "--token", "--json")).stdout)
    credentials = Credentials(WebSettings(password_hash=made["password_hash"], tokens=(token["token_hash"],)))
    for secret, admitted in (
        ("correct horse", True), ("wrong horse", False), (token["token"], True), (token["token"] + "x", False)
    ):  # fmt: skip
        assert await credentials.admits(secret) is admitted


def test_a_short_password_is_refused() -> None:
    assert "8 characters" in hashwerk("passwd", text="short\n").stderr


def test_upgrade_without_a_mine_says_so(tmp_path: Path) -> None:
    done = hashwerk("upgrade", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "no mine runs" in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::1]:2", ("::1", 2)),
        (":3", ("127.0.0.1", 3)),
        ("4", ("127.0.0.1", 4)),
    ],
)
def test_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert split_host_port(text, "--web") == expected


@pytest.mark.parametrize("text", ["", "host", "host:", "host:x", "host:70000"])
def test_no_host_and_port(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        split_host_port(text, "--web")


def test_options_lie_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text("[stratum]\nport = 1000\nshares_per_minute = 30.0\n")
    config = configure(
        path, {"stratum": "127.0.0.1:2000", "node": "http://u:p@127.0.0.1:9", "network": "regtest"}
    )
    assert (config.stratum.port, config.stratum.shares_per_minute) == (2000, 30.0)
    assert (config.node.kind, config.node.core.urls, config.node.core.user) == (
        "core",
        ["http://127.0.0.1:9"],
        "u",
    )


def test_the_help_is_there_without_the_heavy_parts() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from hashwerk.cli import cli;"
        "CliRunner().invoke(cli, ['--help']); print(sorted({'numba', 'numpy', 'nicegui', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
    assert CliRunner().invoke(cli, ["--version"]).output.startswith("hashwerk ")
