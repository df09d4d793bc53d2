"""From one machine to what stands on its page: three truths side by side, its curve, its body, and what it was told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from hashwerk.fleet.machine import Identity, Reading
from hashwerk.fleet.modes import PointSource, published_points
from hashwerk.fleet.states import State
from hashwerk.units import format_duration, format_hashrate
from hashwerk.web import words
from hashwerk.web.charts import curve_chart

if TYPE_CHECKING:
    from hashwerk.fleet.alerts import Alert
    from hashwerk.site.fleet.view import MachineView

Frame = dict[str, Any]
Row = dict[str, Any]

#: State → glyph, how the sentence says it, how urgent it is.
_STATES: Final = {
    State.HASHING.value: ("●", "hashes", ""),
    State.ASLEEP.value: ("○", "sleeps", ""),
    State.FALLING_ASLEEP.value: ("▼", "is falling asleep", ""),
    State.WAKING.value: ("▲", "is waking", ""),
    State.CHANGING_MODE.value: ("◆", "changes its mode of work", ""),
    State.REBOOTING.value: ("◌", "is rebooting", ""),
    State.FAULTY.value: ("■", "reports a fault", "act"),
    State.UNREACHABLE.value: ("■", "does not answer", "act"),
    State.UNKNOWN.value: ("◌", "does not tell what it does", "attention"),
}

_AWAKE: Final = (State.HASHING.value, State.CHANGING_MODE.value)


def machine_frame(machine: MachineView, alerts: Sequence[Alert], now: float) -> Frame:
    """Return what is known of a machine now; ``now`` in Unix seconds, for ages."""
    glyph, says, state = _STATES[machine.state]
    doubts = [text for text in (machine.power_doubt, machine.hashrate_doubt) if text]
    mine = [alert for alert in alerts if machine.id in alert.machines]
    is_odd = bool(doubts) or any(alert.acknowledged_by is None for alert in mine)
    against = (
        " although it was told to sleep" if machine.commanded == "sleep" and machine.state in _AWAKE else ""
    )
    return (
        {
            "m.glyph": "▲" if is_odd and not state else glyph,
            "m.state": state or ("attention" if is_odd else ""),
            "m.sentence": f"{machine.ip or machine.id} {says}{against}, for"
            f" {format_duration(max(0.0, now - machine.since))}{'' if machine.cause == says else f': {machine.cause}'}.",
            "m.doubts": "" if not doubts else f"It {', and it '.join(doubts)}.",
            "m.failure": "" if machine.failure is None else f"The last look at it failed: {machine.failure}.",
            "rows.m.alerts": [
                {"k": a.id, "c": [{"t": "▲", "c": "attention"}, {"e": a.since}, a.text]} for a in mine
            ],
            "m.alerts.state": "" if mine else "none",
            "rows.m.findings": [{"k": text, "c": [text]} for text in machine.findings],
            "m.findings.state": "" if machine.findings else "none",
        }
        | _commanded(machine, now)
        | _reported(machine)
        | _measured(machine)
        | _identity(machine, now)
        | _body(machine.reported)
        | _curve(machine)
    )


def _commanded(machine: MachineView, now: float) -> Frame:
    return {
        "m.told": _told(machine.commanded),
        "m.told.at": "nobody has told it to sleep, wake or change its mode"
        if machine.commanded_at is None
        else f"told {words.format_age(machine.commanded_at, now)}",
        "m.told.deadline": ""
        if machine.deadline is None
        else f"must show within {format_duration(max(0.0, machine.deadline - now))}",
        "m.lease": machine.lease or "nobody",
        "m.starts": f"{machine.starts_today:,}",
        "m.can": ", ".join(name.replace("_", " ") for name in machine.capabilities)
        or "nothing that is known",
    }


def _reported(machine: MachineView) -> Frame:
    reading = machine.reported
    if reading is None:
        return {"m.says": "–", "m.says.power": "it has not answered yet"} | dict.fromkeys(
            (
                "m.says.mode",
                "m.says.limit",
                "m.says.nominal",
                "m.says.errors",
                "m.says.uptime",
                "m.says.age",
                "m.says.work",
            ),
            "–",
        )
    kind = {True: "measured by itself", False: "its firmware's estimate", None: "of unknown origin"}
    power = "says nothing of its power"
    if reading.power_w is not None:
        power = f"{reading.power_w:,.0f} W, {kind[reading.power_is_measured]}"
    return {
        "m.says": format_hashrate(reading.hashrate_hs),
        "m.says.power": power,
        "m.says.work": reading.state.value,
        "m.says.mode": reading.mode or "–",
        "m.says.limit": _watts(reading.power_limit_w),
        "m.says.nominal": format_hashrate(reading.nominal_hashrate_hs),
        "m.says.errors": "–" if reading.hardware_errors is None else _errors(reading, machine.error_share),
        "m.says.uptime": "–" if reading.uptime_s is None else format_duration(reading.uptime_s),
        "m.says.age": "–" if machine.age_s is None else f"{format_duration(machine.age_s)} ago",
    }


def _errors(reading: Reading, share: float | None) -> str:
    count = f"{reading.hardware_errors:,}"
    return count if share is None else f"{count}, {100 * share:.2g} % of its work"


def _measured(machine: MachineView) -> Frame:
    band = "no share has measured it yet"
    if machine.measured_hs is not None and machine.measured_shares is not None:
        low, high = format_hashrate(machine.measured_low_hs), format_hashrate(machine.measured_high_hs)
        band = f"95 % sure: {low} to {high}, from {machine.measured_shares:,} shares"
    basis = {
        "meter": "its meter's",
        "reported": "its own word, borne out by its curve",
        "curve": "its curve's, at the rate of its shares",
        "nothing": "nothing to go by",
    }
    return {
        "m.is": format_hashrate(machine.measured_hs),
        "m.is.band": band,
        "m.is.window": "–"
        if machine.measured_window_s is None
        else format_duration(machine.measured_window_s),
        "m.is.meter": _watts(machine.metered_w)
        if machine.metered_w is not None
        else "has no meter of its own",
        "m.is.power": _watts(machine.power_w),
        "m.is.basis": basis[machine.power_basis],
        "m.is.efficiency": _efficiency(machine.power_w, machine.measured_hs),
    }


def _efficiency(power_w: float | None, rate_hs: float | None) -> str:
    return "–" if power_w is None or not rate_hs else f"{power_w / rate_hs * 1e12:.1f} J/TH"


def _identity(machine: MachineView, now: float) -> Frame:
    place = machine.place
    wiring = ", ".join(
        f"{name} {value}" for name, value in (("breaker", place.breaker), ("feeder", place.feeder)) if value
    )
    return {
        "m.model": f"{machine.make} {machine.model}",
        "m.firmware": " ".join(part for part in (machine.firmware, machine.firmware_version) if part),
        "m.place": place.words() or "not known; hashwerk fleet places takes a list",
        "m.wiring": wiring or "–",
        "m.group": machine.group or "–",
        "m.owner": machine.owner or "–",
        "m.address": machine.ip or "–",
        "m.mac": machine.mac or "–",
        "m.serial": machine.serial or "–",
        "m.worker": machine.worker or "–",
        "m.driver": machine.driver or "–",
        "m.seen": f"first {words.format_age(machine.first_seen_at, now)}, last {words.format_age(machine.seen_at, now)}",
    }


def _body(reading: Reading | None) -> Frame:
    if reading is None:
        return {"m.inlet": "–", "m.chip": "–", "m.fans": "–", "m.complaints": "", "m.unbelieved": ""} | {
            "rows.m.boards": [],
            "rows.m.pools": [],
        }
    return {
        "m.inlet": _degrees(reading.inlet_c),
        "m.chip": _degrees(reading.chip_max_c),
        "m.fans": ", ".join(f"{rpm:,}" for rpm in reading.fans_rpm) + (" rpm" if reading.fans_rpm else "–"),
        "m.complaints": f"In its own words: {'; '.join(reading.complaints)}." if reading.complaints else "",
        "m.unbelieved": f"Not believed of its answer: {'; '.join(reading.doubts)}." if reading.doubts else "",
        "rows.m.boards": [
            {
                "k": board.slot,
                "c": [
                    {"t": f"board {board.slot}", "s": board.slot},
                    {"t": "✕ does not work", "c": "act"}
                    if board.working is False
                    else "● works"
                    if board.working
                    else "not told",
                    format_hashrate(board.hashrate_hs),
                    _degrees(board.temperature_c),
                    "–" if board.chips is None else f"{board.chips:,}",
                ],
            }
            for board in reading.boards
        ],
        "rows.m.pools": [
            {
                "k": number,
                "c": [
                    f"{number}",
                    {"t": _without_login(pool.url), "c": "mono"},
                    pool.user or "–",
                    {True: "● in use", False: "standby", None: "not told"}[pool.active],
                    "–" if pool.accepted is None else f"{pool.accepted:,}",
                    "–" if pool.rejected is None else f"{pool.rejected:,}",
                ],
            }
            for number, pool in enumerate(reading.pools, 1)
        ],
    }


def _without_login(url: str) -> str:
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _curve(machine: MachineView) -> Frame:
    identity = Identity(make=machine.make, model=machine.model, firmware=machine.firmware)
    published = published_points(identity)
    learned = [curve for curve in machine.curves if curve.source == PointSource.LEARNED.value]
    now_hs = machine.measured_hs
    if now_hs is None and machine.reported is not None:
        now_hs = machine.reported.hashrate_hs
    by_mode = {point.mode: point for point in published}
    return {
        "m.chart": curve_chart(
            [(point.hashrate_hs, point.power_w, point.mode) for point in published],
            [(curve.hashrate_hs, curve.power_w, curve.mode) for curve in learned],
            None if now_hs is None or machine.power_w is None else (now_hs, machine.power_w),
        ),
        "m.curve.state": "" if published or learned else "none",
        "rows.m.curves": [
            {
                "k": curve.mode or "",
                "c": [
                    curve.mode or "the only one",
                    f"{curve.power_w:,.0f} W",
                    format_hashrate(curve.hashrate_hs),
                    _efficiency(curve.power_w, curve.hashrate_hs),
                    f"{curve.power_w_per_k:+.1f} W/K" if curve.power_w_per_k else "–",
                    {
                        "t": f"● {curve.source}" if curve.source == "learned" else curve.source,
                        "c": "violet" if curve.source == "learned" else "muted",
                    },
                ],
            }
            for curve in machine.curves
        ],
        "m.learning": _learning(
            {
                curve.mode or "": _against(curve.power_w, by_mode.get(curve.mode))
                if curve.source == "learned"
                else curve.learning or "nothing is being learned: it needs a meter of its own"
                for curve in machine.curves
            }
        ),
    }


def _learning(of_modes: dict[str, str]) -> str:
    """Return what is learned of each mode, or once what holds for all."""
    words_of = set(of_modes.values())
    if len(words_of) == 1:
        text = next(iter(words_of))
        return f"{text[:1].upper()}{text[1:]}."
    return "; ".join(f"{mode}: {text}" if mode else text for mode, text in of_modes.items())


def _against(power_w: float, published: Any) -> str:
    if published is None:
        return "nothing is published of it"
    return f"{100 * (power_w / published.power_w - 1):+.1f} % against {published.power_w:,.0f} W published"


def _told(commanded: str | None) -> str:
    return "Nothing" if not commanded else f"{commanded[:1].upper()}{commanded[1:]}"


def _watts(power_w: float | None) -> str:
    return "–" if power_w is None else f"{power_w:,.0f} W"


def _degrees(temperature_c: float | None) -> str:
    return "–" if temperature_c is None else f"{temperature_c:.0f} °C"
