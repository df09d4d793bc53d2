"""What must hold of a simulated hall and of meters, beyond the type of each setting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hashwerk.config.problems import Problem
from hashwerk.errors import ConfigError
from hashwerk.meters.register_map import load_map
from hashwerk.meters.settings import ModbusRtuMeter, ModbusTcpMeter, ReplayMeter

if TYPE_CHECKING:
    from hashwerk.config.site import SiteConfig


def check_hall(config: SiteConfig) -> Iterator[Problem]:
    """Yield what is wrong with a simulated hall: above all, that it would stand in front of a real network."""
    hall = config.twin
    if hall is None:
        return
    if config.node.network == "main":
        yield Problem(
            "twin",
            "a simulated hall does not work for the main network",
            hint="remove [twin], or use testnet4 or regtest",
        )
    elif config.upstream and config.node.network != "regtest":
        yield Problem(
            "twin", "a simulated hall does not work for real pools", hint="remove [twin] or [[upstream]]"
        )
    if config.miner.enabled and _account(hall.user) == _account(config.miner.user):
        yield Problem(
            "twin.user",
            f"the account {_account(hall.user)!r} is that of [miner] too, whose hashes stand for themselves",
            hint="give the hall an account of its own: in evidence each of its hashes stands for many",
        )
    if hall.pool is not None:
        yield Problem(
            "twin.pool",
            "the hall of a mine works for this mine",
            hint="leave it out; `hashwerk twin --pool` works for another server",
        )
    if config.fleet.is_configured and config.fleet.share_scale != hall.scale:
        yield Problem(
            "fleet.share_scale",
            f"the machines' hash rate is measured wrongly: the hall's scale is {hall.scale:g}",
            hint=f"share_scale = {hall.scale:g}",
        )


def _account(user: str) -> str:
    return user.partition(".")[0]


def check_meters(config: SiteConfig) -> Iterator[Problem]:
    """Yield what is wrong with meters: two of one name or scope, a plant nobody knows, a file that is not there."""
    names = [one.name for one in config.meter]
    scopes = [one.scope for one in config.meter]
    sources = [one.name for one in config.energy.sources]
    if config.meter and not config.fleet.is_configured:
        yield Problem(
            "meter", "meters are read by the fleet, and there is none", hint="set ranges in [fleet]"
        )
    for number, one in enumerate(config.meter):
        path = f"meter[{number}]"
        if names.index(one.name) < number:
            yield Problem(f"{path}.name", f"two meters are called {one.name!r}")
        if scopes.index(one.scope) < number:
            yield Problem(f"{path}.scope", f"{one.scope} has two meters: {names[scopes.index(one.scope)]!r}")
        kind, _, subject = one.scope.partition(":")
        if kind == "source" and subject not in sources:
            yield Problem(
                f"{path}.scope",
                f"there is no source {subject!r}",
                hint=f"one of {', '.join(sources)}" if sources else "add [[energy.sources]] first",
            )
        if isinstance(one, ModbusTcpMeter | ModbusRtuMeter):
            try:
                load_map(one.map)
            except ConfigError as error:
                yield Problem(f"{path}.map", str(error))
        if isinstance(one, ReplayMeter) and not Path(one.path).is_file():
            yield Problem(f"{path}.path", f"there is no file {one.path}")
