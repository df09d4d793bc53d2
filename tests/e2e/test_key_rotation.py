"""`hashwerk key rotate` beside a mine that is killed on the way: each change asked for happens once, and all of it verifies."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import psutil
from click.testing import CliRunner

from hashwerk.cli import cli
from hashwerk.evidence.key_files import CURRENT, NEXT, RECOVERY
from support.mine import RunningMine, running_mine
from support.stratum import Peer

#: Every hash is a share; blocks of the private chain are out of reach. Epochs are short.
SITE = (
    "[stratum]\nstart_difficulty = 1e-10\nmin_difficulty = 1e-10\nvardiff = false\n[evidence]\nepoch_s = 5\n"
)


def key(verb: str, data: Path, *more: str, text: str | None = None) -> Any:
    """Run `hashwerk key`."""
    done = CliRunner().invoke(cli, ["key", verb, "--data-dir", str(data), *more, "--json"], input=text)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def kill_9(mine: RunningMine) -> None:
    """Kill the mine: first the supervisor, who would start the others again."""
    processes = [psutil.Process(mine.pid), *mine.children()]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # gone with its parent
            process.kill()
    assert not psutil.wait_procs(processes[1:], timeout=20)[1]


async def work(mine: RunningMine) -> None:
    peer = await Peer.connect(mine.urls["stratum"])
    await peer.begin("ada.rig", "peer/1")
    for nonce in range(5):
        assert await peer.submit(nonce) is True
    await peer.close()


async def test_keys_change_in_a_running_mine_that_is_killed(tmp_path: Path) -> None:
    site, data = tmp_path / "site.toml", tmp_path / "mine" / "data"
    site.write_text(SITE)
    async with running_mine(tmp_path / "mine", str(site), "--no-miner") as mine:
        await work(mine)
        first = key("show", data)["key"]
        key("backup", data, "-o", str(tmp_path / "before.backup"), text="correct horse battery\n")
        assert key("rotate", data) == {"rotated": False, "asked": True}
        # Killed the moment the change is in the ledger: wherever the files are by then, they follow.
        await mine.until(lambda _: len(key("show", data)["events"]) == 2)
        kill_9(mine)
        await mine.stop()
        assert key("rotate", data)["rotated"], "asked once more, of a mine that does not run"
    async with running_mine(tmp_path / "mine", str(site), "--no-miner") as mine:
        await work(mine)
    shown = key("show", data)
    assert [event["kind"] for event in shown["events"]] == ["genesis", "rotation", "rotation"]
    assert shown["key"] != first
    assert not shown["rotation_asked"]
    assert {path.name for path in data.glob("site*.key")} == {CURRENT, NEXT, RECOVERY}
    bundle = str(tmp_path / "hour.hwe")
    run = CliRunner().invoke
    proven = run(cli, ["prove", "--data-dir", str(data), "--from", "-1h", "-o", bundle, "--json"])
    assert proven.exit_code == 0, proven.output
    verified = run(cli, ["verify", bundle, "--key", first, "--json"])
    assert json.loads(verified.stdout)["verdict"] == "valid", verified.output
