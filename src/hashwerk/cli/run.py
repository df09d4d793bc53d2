"""`hashwerk run`: the mine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
import msgspec

from hashwerk.cli.output import json_option, print_json
from hashwerk.errors import ConfigError, HashwerkError

if TYPE_CHECKING:
    from hashwerk.config.origin import Origins
    from hashwerk.config.site import SiteConfig
    from hashwerk.site.messages import Snapshot


@click.command()
@click.argument("site_file", required=False, metavar="[SITE.toml]", type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where everything is kept.")
@click.option("--stratum", metavar="HOST:PORT", help="Where machines connect (default 127.0.0.1:3333).")
@click.option("--web", metavar="HOST:PORT", help="Where the page is (default 127.0.0.1:8080).")
@click.option("--node", metavar="kernel|URL", help="The embedded node, or the RPC address of a Bitcoin Core.")
@click.option(
    "--network", type=click.Choice(["main", "testnet4", "signet", "regtest"]), help="The rules of the chain."
)
@click.option("--start-difficulty", type=float, help="The difficulty a machine begins with.")
@click.option("--payout-address", help="Where block rewards go.")
@click.option("--no-miner", is_flag=True, help="Do not hash with this computer's CPU: no miner, no hall.")
@click.option("--no-hall", is_flag=True, help="No simulated hall, which a mine without a site file has.")
@click.option("--miner-threads", type=click.IntRange(1, 1024), help="How many threads hash.")
@click.option(
    "--listen-beyond-loopback", is_flag=True, help="Allow addresses that other computers can reach."
)
@json_option
def run(site_file: Path | None, as_json: bool, **options: object) -> None:
    """Run the mine: node, Stratum server, ledger, pages, and a CPU miner.

    Without a site file it runs on built-in defaults: a private chain under testnet4 rules, real proof of work, and a small
    simulated hall of 24 machines that hash at a stated scale.

    \b
    Examples:
        hashwerk run
        hashwerk run site.toml
        hashwerk run --node http://127.0.0.1:8332 --network main --payout-address bc1q…
    """
    from hashwerk.site.demo import wants_demo

    config = configure(site_file, options)
    if options.get("no_hall"):
        config = msgspec.structs.replace(config, twin=None)
    has_demo = site_file is None and not options.get("no_hall") and wants_demo(config)
    exit_code = asyncio.run(_run(config, _origins(site_file, config), has_demo=has_demo, as_json=as_json))
    if exit_code:
        raise SystemExit(exit_code)


def configure(site_file: Path | None, options: dict[str, object]) -> SiteConfig:
    """Return the configuration of the file with the command line's options laid over it.

    Raises:
        InvalidConfigError: With every problem found.
    """
    from hashwerk.config.check import check_site
    from hashwerk.config.problems import InvalidConfigError
    from hashwerk.config.site import SiteConfig, load_site

    config = load_site(site_file) if site_file is not None else SiteConfig()
    parts: dict[str, dict[str, object]] = {
        "site": {},
        "node": {},
        "stratum": {},
        "web": {},
        "miner": {},
        "listen": {},
    }
    if (data_dir := options.get("data_dir")) is not None:
        parts["site"]["data_dir"] = str(data_dir)
    if (address := options.get("payout_address")) is not None:
        parts["site"]["payout_address"] = address
    for name in ("stratum", "web"):
        if (value := options.get(name)) is not None:
            parts[name]["host"], parts[name]["port"] = split_host_port(str(value), f"--{name}")
    if (network := options.get("network")) is not None:
        parts["node"]["network"] = network
    if (node := options.get("node")) is not None:
        parts["node"].update(_node_options(str(node), config))
    difficulty = options.get("start_difficulty")
    if isinstance(difficulty, float):
        parts["stratum"]["start_difficulty"] = difficulty
        parts["stratum"]["min_difficulty"] = min(difficulty, config.stratum.min_difficulty)
    if options.get("no_miner"):
        parts["miner"]["enabled"] = False
    if (threads := options.get("miner_threads")) is not None:
        parts["miner"]["threads"] = threads
    if options.get("listen_beyond_loopback"):
        parts["listen"]["beyond_loopback"] = True
    changes = {
        name: msgspec.structs.replace(getattr(config, name), **values)
        for name, values in parts.items()
        if values
    }
    config = msgspec.structs.replace(config, **changes)
    if problems := check_site(config):
        raise InvalidConfigError(str(site_file) if site_file else "command line", problems)
    return config


def split_host_port(text: str, option: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``, ``[IPv6]:PORT``, ``:PORT`` or ``PORT``.

    Raises:
        ConfigError: If it is none of these.
    """
    host, _, port = text.rpartition(":") if not text.isdigit() else ("", "", text)
    if not port.isdigit() or int(port) > 65_535:
        raise ConfigError(f"{option} {text}: write it as HOST:PORT, for example 127.0.0.1:3333")
    return (host.strip("[]") or "127.0.0.1", int(port))


def _node_options(node: str, config: SiteConfig) -> dict[str, object]:
    if node == "kernel":
        return {"kind": "kernel"}
    parts = urlsplit(node)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"--node {node}: write kernel, or the address of a node, for example http://127.0.0.1:8332"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    url = f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
    core: dict[str, object] = {"urls": [url]}
    if parts.username:
        core |= {"user": parts.username, "password": parts.password or ""}
    return {"kind": "core", "core": msgspec.structs.replace(config.node.core, **core)}


def _origins(site_file: Path | None, config: SiteConfig) -> Origins:
    from hashwerk.config.origin import COMMAND_LINE, Origins, changed_paths
    from hashwerk.config.site import SiteConfig, load_site

    written = load_site(site_file) if site_file is not None else SiteConfig()
    return Origins(
        file=None if site_file is None else site_file.name,
        laid_over=dict.fromkeys(changed_paths(written, config), COMMAND_LINE),
    )


async def _run(config: SiteConfig, origins: Origins, *, has_demo: bool, as_json: bool) -> int:
    from hashwerk.config.origin import DEMONSTRATION, changed_paths
    from hashwerk.site.demo import with_demo
    from hashwerk.site.folder import DataFolder, default_data_dir
    from hashwerk.site.mine import Mine

    data_dir = Path(config.site.data_dir) if config.site.data_dir else default_data_dir()
    folder = DataFolder(data_dir, config.node.network)
    folder.prepare()
    folder.lock()
    runtime = _runtime_folder(folder.here)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    view = _JsonView() if as_json else _LiveView() if sys.stderr.isatty() else _PlainView()
    reserved = None
    if has_demo:
        try:
            plain, (config, reserved) = config, with_demo(config, folder.here)
            added = dict.fromkeys(changed_paths(plain, config), DEMONSTRATION)
            origins = msgspec.structs.replace(origins, laid_over=origins.laid_over | added)
        except ConfigError as error:
            view.log("run", f"the mine goes on without its demonstration hall: {error}")
    mine = Mine(config, folder, runtime, view, origins)
    loop.add_signal_handler(signal.SIGHUP, mine.request_upgrade)
    try:
        await mine.run(stop)
    except HashwerkError as error:
        view.close()
        from hashwerk.cli.output import report_error

        report_error(error)
        return error.exit_code
    finally:
        view.close()
        if reserved is not None:
            reserved.close()
        shutil.rmtree(runtime, ignore_errors=True)
        folder.unlock()
    return 0


def _runtime_folder(here: Path) -> Path:
    """Return an empty private folder for local sockets, whose paths must be short (104 bytes on macOS)."""
    runtime = here / "run"
    if len(os.fsencode(runtime)) > 80:
        return Path(tempfile.mkdtemp(prefix="hashwerk-"))
    shutil.rmtree(
        runtime, ignore_errors=True
    )  # left by a mine that was killed; ours is the only one on this folder
    runtime.mkdir(mode=0o700)
    return runtime


class _PlainView:
    """Lines of text, for a log file or a service manager."""

    def __init__(self) -> None:
        self._said = False

    def urls(self, urls: dict[str, str]) -> None:
        """Print where the mine can be reached, once it can."""
        if not self._said and "web" in urls and "stratum" in urls:
            self._said = True
            click.echo(f"Hashwerk is mining. Page: {urls['web']}  Stratum: {urls['stratum']}")

    def busy(self, name: str, message: str) -> None:
        """Print what a process is busy with."""
        click.echo(f"{name}: {message}", err=True)

    def log(self, name: str, line: str) -> None:
        """Print a process's log line."""
        click.echo(f"{name}: {line}", err=True)

    def snapshot(self, snapshot: Snapshot) -> None:
        """Nothing once a second: the log holds changes of state only."""

    def close(self) -> None:
        """Nothing to put back."""


class _JsonView(_PlainView):
    """One JSON object a line, for programs."""

    def urls(self, urls: dict[str, str]) -> None:
        """Print where the mine can be reached, once it can."""
        if not self._said and "web" in urls and "stratum" in urls:
            self._said = True
            print_json({"ready": urls, "pid": os.getpid()}, indent=False)


class _LiveView(_PlainView):
    """A screen that is drawn anew once a second."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console

        from hashwerk.cli.terminal import RunView

        self._view = RunView(Console(stderr=True))
        self._view.live.start()

    def urls(self, urls: dict[str, str]) -> None:
        """Show where the mine can be reached."""
        self._view.urls = urls
        self._view.busy.clear()
        self._view.update()

    def busy(self, name: str, message: str) -> None:
        """Show what a process is busy with."""
        self._view.busy[name] = message
        self._view.update()

    def log(self, name: str, line: str) -> None:
        """Print a process's log line above the view."""
        self._view.log(name, line)

    def snapshot(self, snapshot: Snapshot) -> None:
        """Draw the state of the mine."""
        self._view.update(snapshot)

    def close(self) -> None:
        """Leave the last state on the screen."""
        self._view.live.stop()
