"""What must hold between settings, beyond the type of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hashwerk.chain.address import script_from_address
from hashwerk.chain.network import network_from_name
from hashwerk.config.addresses import is_loopback
from hashwerk.config.check_machines import check_hall, check_meters
from hashwerk.config.check_orders import check_grid_orders
from hashwerk.config.problems import Problem
from hashwerk.errors import ConfigError

if TYPE_CHECKING:
    from hashwerk.config.site import SiteConfig


def check_site(config: SiteConfig) -> list[Problem]:
    """Return everything that is wrong between the settings of a site."""
    return [
        *_check_node(config),
        *_check_payout(config),
        *_check_finders(config),
        *_check_listening(config),
        *_check_files(config),
        *_check_accounts(config),
        *_check_energy(config),
        *check_hall(config),
        *check_meters(config),
        *check_grid_orders(config),
    ]


def _check_node(config: SiteConfig) -> Iterator[Problem]:
    if config.node.kind == "kernel" and config.node.network not in ("testnet4", "regtest"):
        yield Problem(
            "node.network",
            f"the embedded node keeps a private chain and does not offer {config.node.network}",
            hint='use testnet4 or regtest, or kind = "core" with your own Bitcoin Core',
        )
    if config.node.kind == "core" and not config.node.core.urls:
        yield Problem(
            "node.core.urls", "no node is named", hint='for example urls = ["http://127.0.0.1:8332"]'
        )


def _check_payout(config: SiteConfig) -> Iterator[Problem]:
    address = config.site.payout_address
    if address is None:
        if config.node.kind == "core" and config.node.network != "regtest":
            yield Problem(
                "site.payout_address",
                f"is required to mine on {config.node.network}",
                hint="the address that block rewards shall go to",
            )
        return
    try:
        script_from_address(address, network_from_name(config.node.network))
    except ConfigError as error:
        yield Problem("site.payout_address", str(error))


def _check_finders(config: SiteConfig) -> Iterator[Problem]:
    payout = config.evidence.payout
    if payout is None:
        return
    if payout.addresses and payout.scheme != "solo":
        yield Problem(
            "evidence.payout.addresses",
            f"a coinbase can pay accounts only with solo: what {payout.scheme} gives is known when the block is found",
            hint="leave them out here; hashwerk payout --psbt pays all that is owed in one transaction",
        )
    for account, address in payout.addresses.items():
        try:
            script_from_address(address, network_from_name(config.node.network))
        except ConfigError as error:
            yield Problem("evidence.payout.addresses", f"{account}: {error}")


def _check_listening(config: SiteConfig) -> Iterator[Problem]:
    open_to_others = not is_loopback(config.web.host)
    for path, host in (("stratum.host", config.stratum.host), ("web.host", config.web.host)):
        if not is_loopback(host) and not config.listen.beyond_loopback:
            yield Problem(
                path,
                f"{host} can be reached by other computers",
                hint="set beyond_loopback = true in [listen] if that is meant",
            )
    if open_to_others and config.web.password_hash is None and not config.web.tokens:
        yield Problem(
            "web.password_hash",
            "a page that others can reach needs a password or a token",
            hint="make one with: hashwerk passwd",
        )
    if (
        config.stratum.port
        and config.stratum.port == config.web.port
        and config.stratum.host == config.web.host
    ):
        yield Problem(
            "web.port", f"port {config.web.port} is also the Stratum server's", hint="choose another"
        )


def _check_files(config: SiteConfig) -> Iterator[Problem]:
    tls = (
        ("stratum.tls_certificate", config.stratum.tls_certificate),
        ("stratum.tls_key", config.stratum.tls_key),
    )
    if config.stratum.tls_port is not None:
        for path, name in tls:
            if name is None:
                yield Problem(path, "is required for a TLS port")
    for path, name in (*tls, ("node.core.cookie_file", config.node.core.cookie_file)):
        if name is not None and path.startswith("stratum") and not Path(name).is_file():
            yield Problem(path, f"there is no file {name}")
    time = config.evidence.time
    told = [(f"authority[{number}].roots_file", one.roots_file) for number, one in enumerate(time.authority)]
    told += [(f"witness[{number}].token_file", one.token_file) for number, one in enumerate(time.witness)]
    for path, name in told:
        if name is not None and not Path(name).expanduser().is_file():
            yield Problem(f"evidence.time.{path}", f"there is no file {name}")


def _check_accounts(config: SiteConfig) -> Iterator[Problem]:
    names = [one.name for one in config.upstream]
    for number, one in enumerate(config.pool_account):
        if one.upstream not in names:
            yield Problem(
                f"pool_account[{number}].upstream",
                f"there is no upstream {one.upstream!r}",
                hint=f"one of {', '.join(names)}" if names else "add an [[upstream]] first",
            )
        if [other.upstream for other in config.pool_account].index(one.upstream) < number:
            yield Problem(f"pool_account[{number}].upstream", f"{one.upstream!r} has two accounts")


def _check_energy(config: SiteConfig) -> Iterator[Problem]:
    names = [one.name for one in config.feed]
    for number, name in enumerate(names):
        if names.index(name) < number:
            yield Problem(f"feed[{number}].name", f"two feeds are called {name!r}")
    try:
        tariff = config.energy.tariff.load()
        if tariff is not None and config.dispatch.enabled and tariff.currency != config.dispatch.currency:
            yield Problem(
                "dispatch.currency",
                f"plans are made in {config.dispatch.currency}, the tariff {tariff.name} is in {tariff.currency}",
                hint="one currency for both",
            )
    except ConfigError as error:
        yield Problem(
            "energy.tariff.name", str(error), hint="a tariff that comes with Hashwerk, or a TOML file"
        )
    dispatch = config.dispatch
    if dispatch.controls and config.fleet.is_configured and not config.fleet.control:
        yield Problem(
            "dispatch.controls",
            "plans cannot be carried out while the fleet may not be commanded",
            hint="set control = true in [fleet] if that is meant",
        )
    if config.policy.rules is not None and not Path(config.policy.rules).is_file():
        yield Problem("policy.rules", f"there is no file {config.policy.rules}")
