"""The command line: one module a verb, loaded only when it is used."""

from __future__ import annotations

import importlib
import sys
from typing import Final

import click

from hashwerk import __version__
from hashwerk.cli.output import report_error
from hashwerk.errors import HashwerkError

#: verb → (module, attribute, one line of help). A new verb is one row here and one module.
COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "run": ("hashwerk.cli.run", "run", "Run the mine: node, Stratum server, ledger, pages."),
    "mine": ("hashwerk.cli.mine", "mine", "Hash for any Stratum server with this machine's CPU."),
    "fleet": ("hashwerk.cli.fleet", "fleet", "Find, watch and command machines."),
    "twin": ("hashwerk.cli.twin", "twin", "Run a simulated hall of virtual machines."),
    "meter": (
        "hashwerk.cli.meter",
        "meter",
        "Read an energy meter alone, to find out what is wrong with it.",
    ),
    "bench": ("hashwerk.cli.bench", "bench", "Measure this machine: hashing kernels, Stratum server."),
    "backtest": (
        "hashwerk.cli.backtest",
        "backtest",
        "Replay real history through policies and limits.",
    ),
    "check-config": (
        "hashwerk.cli.check_config",
        "check_config",
        "Check a site file and report every problem.",
    ),
    "pools": ("hashwerk.cli.pools", "pools", "Compare what was proved here with what pools credit and pay."),
    "prove": ("hashwerk.cli.prove", "prove", "Write the evidence of a period into one file."),
    "verify": ("hashwerk.cli.verify", "verify", "Check evidence offline and say what each check is worth."),
    "payout": ("hashwerk.cli.payout", "payout", "Recompute every account's payout from a bundle."),
    "audit": (
        "hashwerk.cli.audit",
        "audit",
        "Receipts, proofs and sampled openings from a running mine.",
    ),
    "key": ("hashwerk.cli.key", "key", "The site's keys: show, rotate, back up, restore, revoke."),
    "passwd": ("hashwerk.cli.passwd", "passwd", "Make a password hash or an access token for the page."),
    "upgrade": ("hashwerk.cli.upgrade", "upgrade", "Replace the running server without losing a connection."),
}

#: The processes of a mine, started by the supervisor; not for people.
PROCESSES: Final[dict[str, tuple[str, str]]] = {
    "_serve": ("hashwerk.cli.processes", "serve"),
    "_site": ("hashwerk.cli.processes", "site"),
    "_mine": ("hashwerk.cli.processes", "mine"),
    "_hall": ("hashwerk.cli.processes", "hall"),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called, so that `--help` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a verb's command, or None if there is no such verb."""
        entry = COMMANDS.get(cmd_name) or PROCESSES.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(entry[0]), entry[1])
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs from the table, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, "--version", message="hashwerk %(version)s")
def cli() -> None:
    """Hashwerk, the open operating system of a clean Bitcoin mine.

    \b
    Example: start the built-in mine and open the page it prints.
        hashwerk run
    """


def main() -> None:
    """Run the command line and end with an exit code that means something."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except HashwerkError as error:
        report_error(error)
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)
