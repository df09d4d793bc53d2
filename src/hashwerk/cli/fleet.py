"""`hashwerk fleet`: find machines, look at them, and command them through the running mine."""

from __future__ import annotations

import click

from hashwerk.cli.fleet_look import list_machines, scan, show
from hashwerk.cli.fleet_power import abort, curtail, orders, resume
from hashwerk.cli.fleet_tell import forget, locate, mode, places, pools, reboot


@click.group()
def fleet() -> None:
    """Find, watch and command machines.

    \b
    Example:
        hashwerk fleet scan 10.0.0.0/22
    """


for _command in (
    scan,
    list_machines,
    show,
    curtail,
    resume,
    abort,
    orders,
    mode,
    locate,
    reboot,
    pools,
    places,
    forget,
):
    fleet.add_command(_command)
