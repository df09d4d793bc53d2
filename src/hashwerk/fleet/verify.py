"""Whether a command was carried out: what the machine, its shares and its meter say, each for itself."""

from __future__ import annotations

from typing import Final, assert_never

import msgspec

from hashwerk.fleet.commands import (
    Command,
    Locate,
    Reboot,
    SetFan,
    SetMode,
    SetPools,
    SetPowerLimit,
    Sleep,
    Wake,
)
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.limits import words
from hashwerk.fleet.machine import Reading, WorkState
from hashwerk.fleet.measure import (
    Basis,
    Believed,
    Effect,
    Measured,
    Vote,
    change_by_shares,
    drop_by_meter,
    sleep_by_shares,
)
from hashwerk.fleet.modes import ModePoint
from hashwerk.fleet.states import State
from hashwerk.fleet.timing import Change
from hashwerk.work.poisson import Rate

#: A machine's own meter is not surer than this.
METER_NOISE_W: Final = 25.0
#: Shares that prove that a machine hashes again.
ENOUGH_SHARES: Final = 2

CHANGES: Final[dict[type, Change]] = {
    Sleep: Change.SLEEP,
    Wake: Change.WAKE,
    SetMode: Change.MODE,
    SetPowerLimit: Change.MODE,
    Reboot: Change.REBOOT,
}
"""What takes a machine its time. Everything else is done at once."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A machine as it is known now."""

    key: MachineKey
    state: State
    since: float
    reading: Reading | None
    measured: Measured | None
    power: Believed
    points: tuple[ModePoint, ...] = ()  # how it may run
    is_awaited: bool = (
        False  # this process has not heard of it yet, and it may only be slow: it is not judged so
    )


def machine_says(command: Command, reading: Reading | None, sent_at: float | None) -> Vote:
    """Return what the machine's own reading says; one from before the command says nothing."""
    if reading is None or (sent_at is not None and reading.at <= sent_at):
        return Vote.CANNOT_SAY
    match command:
        case Sleep():
            return _by_state(reading, WorkState.ASLEEP, WorkState.HASHING)
        case Wake(mode):
            awake = _by_state(reading, WorkState.HASHING, WorkState.ASLEEP)
            return Vote.NO if awake is Vote.YES and not _has_mode(reading, mode) else awake
        case SetMode(mode):
            if reading.state is not WorkState.HASHING or reading.mode is None:
                return Vote.CANNOT_SAY
            return Vote.YES if _has_mode(reading, mode) else Vote.NO
        case SetPowerLimit(power_limit_w):
            limit = reading.power_limit_w
            return Vote.CANNOT_SAY if limit is None else _vote(abs(limit - power_limit_w) <= 0.02 * limit)
        case Reboot():
            if reading.uptime_s is None or sent_at is None:
                return Vote.CANNOT_SAY
            return _vote(reading.at - reading.uptime_s >= sent_at - 2.0)
        case Locate(on):
            return Vote.CANNOT_SAY if reading.is_locating is None else _vote(reading.is_locating is on)
        case SetPools(pools):
            if not reading.pools:
                return Vote.CANNOT_SAY
            has = [(_host(slot.url), slot.user) for slot in reading.pools[: len(pools)]]
            return _vote(has == [(_host(pool.url), pool.user) for pool in pools])
        case SetFan():
            return Vote.CANNOT_SAY
        case _:
            assert_never(command)


def effect_of(
    command: Command,
    look: Look,
    *,
    sent_at: float,
    before_w: float | None,
    expected_w: float | None,
    before: Rate | None,
    since: Rate | None,
    is_late: bool = True,
    steady_at: float | None = None,
    expected_hs: float | None = None,
) -> Effect:
    """Return what everybody says on whether a command was carried out.

    Args:
        command: What the machine was told.
        look: The machine as it is known now.
        sent_at: When it was told.
        before_w: What it drew before.
        expected_w: What it was to save, below zero if it was to draw more; None if that is not known.
        before: Its hash rate by shares before it was told.
        since: Its hash rate by shares from when it should have been done until now.
        is_late: Whether it has had the time that it may take: before, that no shares come says nothing against a start.
        steady_at: When its power has settled: what is seen from then on is the effect; None: only whether it did so is asked.
        expected_hs: What it should hash once it does as told; None if that is not known.
    """
    machine = machine_says(command, look.reading, sent_at)
    own_w = metered_since(look.measured, sent_at)
    shares = meter = Vote.CANNOT_SAY
    if isinstance(command, Sleep):
        shares = sleep_by_shares(since, None if before is None else before.hs)
        if expected_w is not None:
            meter = drop_by_meter(before_w, own_w, expected_w, METER_NOISE_W)
    elif isinstance(command, Wake) and since is not None:
        claimed = look.reading.hashrate_hs if look.reading is not None else None
        if since.shares >= ENOUGH_SHARES:
            shares = Vote.YES
        elif is_late and claimed and since.high_hs < 0.5 * claimed:
            shares = Vote.NO
    elif isinstance(command, SetMode | SetPowerLimit):
        shares = change_by_shares(since, None if before is None else before.hs, expected_hs)
        if expected_w is not None:
            meter = drop_by_meter(before_w, own_w, expected_w, METER_NOISE_W)
    after_w, basis = (None, None) if steady_at is None else power_since(look, steady_at)
    effect = Effect(
        machine=machine, shares=shares, meter=meter, before_w=before_w, after_w=after_w, basis=basis
    )
    return msgspec.structs.replace(effect, text=_text(command, effect))


def metered_since(measured: Measured | None, since: float) -> float | None:
    """Return what a machine's own meter showed after a moment; None if there is none, or it was not read since."""
    if measured is None or measured.power_w is None:
        return None
    read_at = measured.at if measured.power_at is None else measured.power_at
    return measured.power_w if read_at > since else None


def seen_at(look: Look, basis: Basis | None) -> float | None:
    """Return when a power was seen by its meter, or by the machine itself."""
    if basis is Basis.METER and look.measured is not None:
        return look.measured.at if look.measured.power_at is None else look.measured.power_at
    return None if basis is None or look.reading is None else look.reading.at


def power_since(look: Look, since: float) -> tuple[float | None, Basis | None]:
    """Return a machine's power as seen after a moment, and by whom: its meter, else the machine itself if it is believed.

    What a curve would have it draw was seen by nobody.
    """
    if (own_w := metered_since(look.measured, since)) is not None:
        return own_w, Basis.METER
    reading = look.reading
    if reading is None or reading.at <= since or look.power.basis is not Basis.REPORTED:
        return None, None
    return reading.power_w, Basis.REPORTED


def _text(command: Command, effect: Effect) -> str:
    who = (("the machine", effect.machine), ("its shares", effect.shares), ("its meter", effect.meter))
    parts = []
    for vote, word in ((Vote.YES, "yes"), (Vote.NO, "no")):
        names = [name for name, said in who if said is vote]
        if names:
            verb = "says" if names in (["the machine"], ["its meter"]) else "say"
            parts.append(f"{' and '.join(names)} {verb} {word}")
    return f"{words(command)}: " + ("; ".join(parts) if parts else "nobody can say")


def _by_state(reading: Reading, yes: WorkState, no: WorkState) -> Vote:
    if reading.state is yes:
        return Vote.YES
    return Vote.NO if reading.state is no else Vote.CANNOT_SAY


def _has_mode(reading: Reading, mode: str | None) -> bool:
    return mode is None or reading.mode is None or reading.mode.casefold() == mode.casefold()


def _vote(is_so: bool) -> Vote:
    return Vote.YES if is_so else Vote.NO


def _host(url: str) -> str:
    return url.rpartition("://")[2].rpartition("@")[2].rstrip("/").lower()
