"""The site file: one TOML, decoded to typed structs, checked as a whole.

Every setting carries its documentation here or in the settings struct of the part that it configures; the reference page of the
documentation is generated from these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hashwerk.config.decode import decode_struct, line_numbers, line_of, parse_toml
from hashwerk.config.problems import InvalidConfigError, Problem
from hashwerk.config.time_settings import TimeSettings, WitnessSettings
from hashwerk.config.web_settings import WebSettings
from hashwerk.dispatch.backtest.settings import BacktestSettings
from hashwerk.dispatch.settings import DispatchSettings
from hashwerk.energy.settings import EnergySettings
from hashwerk.feeds.settings import FeedSettings, PoolAccountSettings
from hashwerk.fleet.settings import FleetSettings
from hashwerk.grid_orders.settings import GridOrderSettings
from hashwerk.meters.settings import MeterSettings
from hashwerk.node.settings import CoreSettings, KernelSettings
from hashwerk.policy.settings import PlaceSettings
from hashwerk.pool.settings import PoolSettings
from hashwerk.pool.upstream.settings import UpstreamSettings
from hashwerk.store.settings import StoreSettings
from hashwerk.twin.settings import HallSettings


class SiteSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mine as a whole."""

    name: Annotated[str, Meta(description="Shown on every page.", min_length=1, max_length=64)] = "My mine"
    data_dir: Annotated[
        str | None, Meta(description="The data folder; None: the user's own folder for application data.")
    ] = None
    payout_address: Annotated[
        str | None,
        Meta(
            description="Where block rewards go. Required with Bitcoin Core; the private chain pays a script anyone can spend."
        ),
    ] = None


class ListenSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may connect."""

    beyond_loopback: Annotated[
        bool,
        Meta(
            description="Allow addresses other than this computer's own. The page then asks for a password or a token."
        ),
    ] = False


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The node that gives templates and takes blocks."""

    kind: Annotated[
        Literal["kernel", "core"],
        Meta(
            description="kernel: Bitcoin Core's consensus code, embedded, on a private chain. core: your Bitcoin Core over RPC."
        ),
    ] = "kernel"
    network: Annotated[
        Literal["main", "testnet4", "signet", "regtest"],
        Meta(description="The rules. The embedded node offers testnet4 and regtest."),
    ] = "testnet4"
    kernel: Annotated[KernelSettings, Meta(description="Settings of the embedded node.")] = KernelSettings()
    core: Annotated[CoreSettings, Meta(description="Settings of Bitcoin Core over RPC.")] = CoreSettings()


class MinerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The miner on this computer's CPU."""

    enabled: Annotated[bool, Meta(description="Hash with this computer's CPU, at low priority.")] = True
    threads: Annotated[
        Annotated[int, Meta(ge=1, le=1024)] | None,
        Meta(description="How many threads hash; none: all cores but one, at least one."),
    ] = None
    duty: Annotated[float, Meta(description="The part of the time each thread hashes.", gt=0, le=1)] = 1.0
    user: Annotated[str, Meta(description="Account and machine it works for.", min_length=1)] = "demo.cpu"


class PayoutSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By which rule rewards are shared. It is declared before it is applied."""

    scheme: Annotated[
        Literal["solo", "proportional", "pplns", "tides", "fpps"],
        Meta(
            description="All to the finder; by work since the block before; by work in a window; in one of eight difficulties;"
            " every share at its expected value, whether blocks are found or not."
        ),
    ]
    fee_percent: Annotated[float, Meta(ge=0, le=100, description="Kept by the operator.")] = 0.0
    window: Annotated[
        float, Meta(gt=0, le=1_000, description="With pplns: the window in multiples of the difficulty.")
    ] = 2.0
    threshold_sat: Annotated[int, Meta(ge=0, description="Less than this stays owed.")] = 0
    addresses: Annotated[
        dict[str, str],
        Meta(
            description="With solo: account to address. Its blocks pay there in their coinbase, the fee to the operator."
        ),
    ] = {}


class EvidenceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log that proves the work."""

    epoch_s: Annotated[
        float,
        Meta(ge=5, le=3_600, description="An epoch closes this often; the jobs that follow carry its root."),
    ] = 60.0
    facts: Annotated[
        dict[str, str],
        Meta(
            description="What you say of the place, by name: people employed, taxes paid. It stands in statements."
        ),
    ] = {}
    certificates: Annotated[
        str | None,
        Meta(
            description="JSON file of granular certificates that were cancelled for the site; none: there are none."
        ),
    ] = None
    payout: Annotated[
        PayoutSettings | None,
        Meta(description="How the rewards of own blocks are shared among accounts; none: they are not."),
    ] = None
    time: Annotated[TimeSettings, Meta(description="Who besides the operator says when epochs existed.")] = (
        TimeSettings()
    )
    witness: Annotated[WitnessSettings, Meta(description="For whom this site is a witness.")] = (
        WitnessSettings()
    )


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is written to the log."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least important message that is written."),
    ] = "info"


class SiteConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a mine is told."""

    site: Annotated[SiteSettings, Meta(description="The mine as a whole.")] = SiteSettings()
    listen: Annotated[ListenSettings, Meta(description="Who may connect.")] = ListenSettings()
    node: Annotated[NodeSettings, Meta(description="The node that gives templates and takes blocks.")] = (
        NodeSettings()
    )
    stratum: Annotated[PoolSettings, Meta(description="The Stratum server.")] = PoolSettings()
    upstream: Annotated[
        tuple[UpstreamSettings, ...],
        Meta(
            description="Pools that machines may work for, each in a section [[upstream]]; none: own templates only."
        ),
    ] = ()
    pool_account: Annotated[
        tuple[PoolAccountSettings, ...],
        Meta(
            description="Accounts at pools whose books are compared with the ledger, each in a section [[pool_account]]."
        ),
    ] = ()
    ledger: Annotated[StoreSettings, Meta(description="The durable record.")] = StoreSettings()
    web: Annotated[WebSettings, Meta(description="Pages and API.")] = WebSettings()
    fleet: Annotated[
        FleetSettings, Meta(description="The machines that are watched and commanded; none without ranges.")
    ] = FleetSettings()
    twin: Annotated[
        HallSettings | None,
        Meta(
            description="A simulated hall that works for this mine; none: no hall. Never with the main network."
        ),
    ] = None
    meter: Annotated[
        tuple[MeterSettings, ...],
        Meta(
            description="What measures the site, its feeders, breakers, machines and plants, each in a section [[meter]]."
        ),
    ] = ()
    feed: Annotated[
        tuple[FeedSettings, ...],
        Meta(
            description="Who is asked for prices, carbon, difficulty and the coin's price, each in a section [[feed]]."
        ),
    ] = ()
    energy: Annotated[
        EnergySettings, Meta(description="The site's energy: contract, sources, grid, attribution.")
    ] = EnergySettings()
    dispatch: Annotated[
        DispatchSettings, Meta(description="Which machines run when, and whether plans are carried out.")
    ] = DispatchSettings()
    grid_order: Annotated[
        tuple[GridOrderSettings, ...],
        Meta(
            description="Ways by which orders of grid operators arrive, each in a section [[grid_order]]; the API is one besides."
        ),
    ] = ()
    policy: Annotated[PlaceSettings, Meta(description="Where the site stands: whose rules bind it.")] = (
        PlaceSettings()
    )
    miner: Annotated[MinerSettings, Meta(description="The miner on this computer's CPU.")] = MinerSettings()
    evidence: Annotated[EvidenceSettings, Meta(description="The log that proves the work.")] = (
        EvidenceSettings()
    )
    backtest: Annotated[
        BacktestSettings | None,
        Meta(description="What `hashwerk backtest` replays; the running mine has no use for it."),
    ] = None
    log: Annotated[LogSettings, Meta(description="What is written to the log.")] = LogSettings()


def parse_site(text: str, source: str = "site.toml") -> SiteConfig:
    """Return the configuration a TOML text stands for.

    Raises:
        InvalidConfigError: With every problem found, each with its line.
    """
    from hashwerk.config.check import check_site

    values, problems = parse_toml(text)
    if problems:
        raise InvalidConfigError(source, problems)
    lines = line_numbers(text)
    config, problems = decode_struct(SiteConfig, values, lines)
    if config is not None:
        problems = [
            msgspec.structs.replace(problem, line=line_of(problem.path, lines))
            for problem in check_site(config)
        ]
    if problems or config is None:
        raise InvalidConfigError(source, sorted(problems, key=lambda problem: problem.line or 0))
    return config


def load_site(path: Path) -> SiteConfig:
    """Return the configuration in a file.

    Raises:
        InvalidConfigError: If it cannot be read or has problems.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidConfigError(str(path), [Problem("", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise InvalidConfigError(
            str(path), [Problem("", f"is not UTF-8 text at byte {error.start}")]
        ) from error
    return parse_site(text, str(path))
