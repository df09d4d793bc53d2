"""Settings of the fleet: the section ``[fleet]`` of a site file."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class CredentialSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the machines of one make ask for. Never logged, never shown, never stored."""

    make: Annotated[str, Meta(description="The make they are for, for example whatsminer.", min_length=1)]
    user: Annotated[str | None, Meta(description="The user; none: the maker's own.")] = None
    password: Annotated[str | None, Meta(description="The password; none: the maker's own.")] = None

    def __repr__(self) -> str:
        """Leave user and password out."""
        return f"CredentialSettings({self.make!r}, …)"


class PoolEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pool that is written into new machines."""

    url: Annotated[
        str,
        Meta(
            description="For example stratum+tcp://10.0.0.2:3333; name and password stand beside it, not in it.",
            min_length=1,
            pattern=r"^[^@\s]+$",
        ),
    ]
    user: Annotated[
        str, Meta(description="Account and machine; {name} stands for the machine's own name.", min_length=1)
    ]
    password: Annotated[str, Meta(description="What the pool asks for.")] = "x"  # noqa: S105

    def __repr__(self) -> str:
        """Leave the password out."""
        return f"PoolEntry({self.url!r}, {self.user!r})"


class JoinSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of a machine that is found for the first time."""

    enabled: Annotated[
        bool, Meta(description="Give new machines their pools without asking; needs control.")
    ] = False
    group: Annotated[str | None, Meta(description="The group they join.")] = None
    pools: Annotated[
        tuple[PoolEntry, ...],
        Meta(
            description="Their pools in order: Hashwerk first, then its standby, then the pool itself.",
            max_length=3,
        ),
    ] = ()


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What machines and their wiring bear."""

    min_on_s: Annotated[
        float, Meta(description="Seconds a machine runs before it is put to sleep again.", ge=0)
    ] = 600.0
    min_off_s: Annotated[float, Meta(description="Seconds a machine sleeps before it is woken.", ge=0)] = (
        300.0
    )
    starts_a_day: Annotated[int, Meta(description="Starts of one machine within a day.", ge=1, le=255)] = 12
    attempts: Annotated[
        int, Meta(description="How often a machine is told before it is given up.", ge=1, le=20)
    ] = 3
    first_retry_s: Annotated[
        float, Meta(description="Seconds before it is told again; twice as long each time.", gt=0)
    ] = 15.0
    kw_per_minute: Annotated[
        float | None,
        Meta(description="How fast the site's power may change, in kW a minute; none: as waves allow."),
    ] = None
    per_breaker: Annotated[int, Meta(description="Machines of one breaker in one wave.", ge=1)] = 4
    per_feeder: Annotated[int, Meta(description="Machines of one feeder in one wave.", ge=1)] = 32
    wave_s: Annotated[float, Meta(description="Seconds between two waves.", gt=0)] = 5.0
    verify_s: Annotated[
        float, Meta(description="Seconds that shares and meters are waited for after a command.", ge=0)
    ] = 180.0
    settle_s: Annotated[
        float, Meta(description="Seconds until the site's meter shows what machines did.", ge=0)
    ] = 15.0


class MqttSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Alerts and sums over MQTT, with discovery by Home Assistant."""

    host: Annotated[str | None, Meta(description="The broker; none: no MQTT.")] = None
    port: Annotated[int, Meta(description="Its port.", ge=1, le=65_535)] = 1883
    tls: Annotated[bool, Meta(description="Speak TLS to it.")] = False
    user: Annotated[str | None, Meta(description="The user, where it asks for one.")] = None
    password: Annotated[str | None, Meta(description="The password, where it asks for one.")] = None
    prefix: Annotated[
        str,
        Meta(description="The first level of all topics.", pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$"),
    ] = "hashwerk"
    discovery: Annotated[
        str | None, Meta(description="Home Assistant's discovery prefix; none: no discovery.")
    ] = "homeassistant"
    machines: Annotated[
        int,
        Meta(
            description="Up to so many machines get entities of their own; a larger fleet has sums only.",
            ge=0,
            le=500,
        ),
    ] = 20

    def __repr__(self) -> str:
        """Leave user and password out."""
        return f"MqttSettings({self.host!r}, {self.port})"


class AlarmSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where trouble begins and who is told."""

    webhook: Annotated[
        Annotated[str, Meta(pattern=r"^https?://")] | None,
        Meta(description="A URL that every notice is posted to as JSON."),
    ] = None
    mqtt: Annotated[MqttSettings, Meta(description="Alerts and sums over MQTT.")] = MqttSettings()
    notices_per_minute: Annotated[
        int, Meta(description="More notices than this within a minute are told as one.", ge=1)
    ] = 10
    chip_max_c: Annotated[float, Meta(description="The hottest chip that is no alarm.")] = 95.0
    inlet_max_c: Annotated[float, Meta(description="The warmest inlet air that is no alarm.")] = 42.0
    accounts: Annotated[
        tuple[str, ...], Meta(description="Accounts that machines may mine for; empty: any.")
    ] = ()
    own_pools: Annotated[
        tuple[str, ...], Meta(description="Hosts of the pools that machines may mine for; empty: any.")
    ] = ()


class FleetSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The machines: where they are looked for, whether they may be commanded, and how carefully."""

    ranges: Annotated[
        tuple[str, ...],
        Meta(
            description="Where machines are: 10.0.0.0/22, 10.0.0.5-10.0.0.90. Nothing is sent elsewhere; empty: no fleet."
        ),
    ] = ()
    control: Annotated[
        bool, Meta(description="Allow commands. Otherwise every command is a dry run that sends nothing.")
    ] = False
    poll_s: Annotated[float, Meta(description="Seconds between two looks at a machine.", gt=0)] = 10.0
    timeout_s: Annotated[
        float, Meta(description="Seconds a machine has for an answer, at the most.", gt=0, le=60)
    ] = 4.0
    concurrency: Annotated[
        int, Meta(description="Machines that are asked at the same time.", ge=1, le=10_000)
    ] = 256
    scan_s: Annotated[
        float | None,
        Meta(description="Seconds between two searches for new machines; none: only when asked."),
    ] = 900.0
    silences: Annotated[
        int, Meta(description="Polls without an answer after which a machine is unreachable.", ge=1)
    ] = 3
    pace: Annotated[
        float,
        Meta(
            description="Scales the expected times of sleeping, waking and alarms; below 1 for simulated halls only.",
            gt=0,
            le=1,
        ),
    ] = 1.0
    share_scale: Annotated[
        float, Meta(description="Hash rate of a machine over that of its twin; 1: real machines.", ge=1)
    ] = 1.0
    report_buttons: Annotated[
        bool, Meta(description="Listen for the IP-report buttons of machines (UDP 14235 and 8888).")
    ] = False
    report_host: Annotated[str, Meta(description="The address to listen on for report buttons.")] = (
        "127.0.0.1"
    )
    places: Annotated[str | None, Meta(description="A CSV file of places that is read at the start.")] = None
    partial: Annotated[
        bool, Meta(description="Whether power is also reduced by lower modes, and not by sleep alone.")
    ] = True
    wish_s: Annotated[
        float,
        Meta(
            description="Seconds the dispatcher leaves a machine as a person told it to run (sleep, wake, mode, limit).",
            ge=0,
        ),
    ] = 1800.0
    on_start: Annotated[
        Literal["continue", "hold"],
        Meta(description="What becomes of orders that were under way when the process died."),
    ] = "continue"
    limits: Annotated[LimitSettings, Meta(description="What machines and their wiring bear.")] = (
        LimitSettings()
    )
    join: Annotated[JoinSettings, Meta(description="What becomes of new machines.")] = JoinSettings()
    alarms: Annotated[AlarmSettings, Meta(description="Where trouble begins and who is told.")] = (
        AlarmSettings()
    )
    credentials: Annotated[
        tuple[CredentialSettings, ...],
        Meta(description="What machines ask for, in sections [[fleet.credentials]]."),
    ] = ()

    @property
    def is_configured(self) -> bool:
        """Whether there is a fleet at all."""
        return bool(self.ranges)

    def __post_init__(self) -> None:
        """Check what types cannot say.

        Raises:
            ValueError: If a range cannot be read; the decoder turns it into a problem with its line.
        """
        for text in self.ranges:
            try:
                range_bounds(text)
            except ValueError as error:
                raise ValueError(f"ranges: not an address range: {text!r} ({error})") from None


def range_bounds(text: str) -> tuple[int, int, int]:
    """Return the IP version, the first and the last address, as numbers, of ``10.0.0.0/22``, one address, or a pair.

    Raises:
        ValueError: If it is none of these.
    """
    first, is_pair, last = (part.strip() for part in text.partition("-"))
    if not is_pair:
        network = ipaddress.ip_network(first, strict=False)
        return network.version, int(network.network_address), int(network.broadcast_address)
    start, end = ipaddress.ip_address(first), ipaddress.ip_address(last)
    if start.version != end.version or int(start) > int(end):
        raise ValueError("its end lies before its start")
    return start.version, int(start), int(end)


class Ranges:
    """The addresses that something may be sent to."""

    __slots__ = ("_bounds",)

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._bounds = [range_bounds(text) for text in texts]

    def __contains__(self, host: str) -> bool:
        """Say whether something may be sent to a host."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        number = int(address)
        return any(
            version == address.version and first <= number <= last for version, first, last in self._bounds
        )
