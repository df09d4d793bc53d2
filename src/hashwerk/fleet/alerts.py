"""Alerts: one per cause, with its end; joined where many machines have one cause; never a storm.

A cause must last before it is told, and be gone for a while before it counts as over. When most machines of a breaker, of a
feeder, or of the site have the same trouble at the same time, that is one alert about the breaker, the feeder, the site.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from hashwerk.fleet.causes import TITLES, Cause, CauseKind
from hashwerk.fleet.place import Place

#: Told only after so many seconds: what passes by itself wakes nobody.
_PATIENCE_S: Final = {
    CauseKind.HEAT: 20.0,
    CauseKind.FAN: 20.0,
    CauseKind.UNREACHABLE: 60.0,
    CauseKind.NONSENSE: 60.0,
    CauseKind.IDENTITY: 0.0,
    CauseKind.ORDER: 0.0,
    CauseKind.FAULT: 0.0,
}
_DEFAULT_PATIENCE_S: Final = 60.0


class AlertSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How alerts are joined and when they are told."""

    pace: float = 1.0  # scales all waiting; below 1 for simulated halls that live faster
    clear_s: float = 120.0
    look_s: float = 0.0  # so long a new process needs to hear of every machine, or to know that it is silent
    joint_machines: int = 4  # so many at least make a joint alert,
    joint_share: float = 0.5  # and such a share of the breaker or feeder
    kind_limit: int = 12  # more alerts of one kind than this become one about the site
    notices_per_minute: int = 10


class Topology(Protocol):
    """How machines hang together."""

    def place(self, subject: str) -> Place | None:
        """Return where a machine stands; None for what is no machine."""
        ...

    def population(self, name: str) -> int:
        """Return how many machines there are on ``breaker B1``, on ``feeder F1``, or on the ``site``."""
        ...


class NoticeKind(enum.Enum):
    """What is told."""

    RAISED = "raised"
    GREW = "grew"
    OVER = "over"
    DIGEST = "digest"  # more than can be told one by one


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One cause, open or over."""

    id: str
    kind: CauseKind
    subject: str
    part: str
    title: str
    text: str
    machines: tuple[str, ...]
    since: float
    told_at: float | None = None
    over_at: float | None = None
    times: int = 1  # how often it came back
    acknowledged_by: str | None = None
    is_silenced: bool = False
    is_untold: bool = False  # all the while it was silenced: nobody has heard of it


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be told to people now."""

    kind: NoticeKind
    at: float
    text: str
    alert: Alert | None = None


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody is told of what fits, until a moment. None fits everything."""

    until: float
    who: str
    kind: CauseKind | None = None
    subject: str | None = None


@dataclass(slots=True)
class _Open:
    alert: Alert
    last_seen: float | None  # None: taken up from the record, nobody has looked yet
    told_machines: int = 0


@dataclass(slots=True)
class AlertBook:
    """All alerts of a site. Owned by one task; time is an argument."""

    settings: AlertSettings = field(default_factory=AlertSettings)
    _open: dict[tuple[CauseKind, str, str], _Open] = field(default_factory=dict)
    _over: deque[Alert] = field(default_factory=lambda: deque(maxlen=500))
    _silences: list[Silence] = field(default_factory=list)
    _told: deque[float] = field(default_factory=deque)
    _untold: list[str] = field(default_factory=list)
    _next_id: int = 1

    def update(self, causes: Sequence[Cause], topology: Topology, now: float) -> list[Notice]:
        """Take in everything that is wrong now, of all machines; return what is to be told."""
        notices: list[Notice] = []
        self._silences = [silence for silence in self._silences if silence.until > now]
        for joint, members in _join(causes, topology, self.settings):
            notices += self._see(joint, members, now)
        for cause in causes:  # one that became part of a joint alert is not over
            entry = self._open.get((cause.kind, cause.subject, cause.part))
            if entry is not None:
                entry.last_seen = now
        notices += self._end(now)
        return self._throttle(notices, now)

    def alerts(self) -> list[Alert]:
        """Return the open alerts that have lasted long enough to count, oldest first."""
        told = [entry.alert for entry in self._open.values() if entry.alert.told_at is not None]
        return sorted(told, key=lambda alert: alert.since)

    def past(self) -> list[Alert]:
        """Return alerts that are over, the newest first."""
        return list(reversed(self._over))

    def acknowledge(self, alert_id: str, who: str) -> Alert | None:
        """Note that somebody knows; return the alert, None if it is not open."""
        for entry in self._open.values():
            if entry.alert.id == alert_id:
                entry.alert = msgspec.structs.replace(entry.alert, acknowledged_by=who)
                return entry.alert
        return None

    def silence(self, silence: Silence) -> None:
        """Tell nobody of what fits for a while, whatever was said of the same before; until a moment past: tell again."""
        about = (silence.kind, silence.subject)
        self._silences = [one for one in self._silences if (one.kind, one.subject) != about]
        self._silences.append(silence)

    def silences(self, now: float) -> list[Silence]:
        """Return the silences in force."""
        return [silence for silence in self._silences if silence.until > now]

    def restore(
        self, alerts: Iterable[Alert], last_number: int = 0, silences: Iterable[Silence] = ()
    ) -> None:
        """Take up what was open when the process ended, so that nobody is told twice, nor of what is silenced.

        ``last_number`` is that of the newest alert on record: none is ever given twice.
        """
        self._silences = list(silences)
        self._next_id = max(self._next_id, last_number + 1)
        for alert in alerts:
            key = (alert.kind, alert.subject, alert.part)
            self._open[key] = _Open(alert, last_seen=None, told_machines=len(alert.machines))
            number = alert.id.rpartition("-")[2]
            self._next_id = max(self._next_id, int(number) + 1 if number.isdigit() else 1)

    def _see(self, cause: Cause, machines: tuple[str, ...], now: float) -> list[Notice]:
        key = (cause.kind, cause.subject, cause.part)
        entry = self._open.get(key)
        if entry is None:
            alert = Alert(
                id=f"a-{self._next_id}",
                kind=cause.kind,
                subject=cause.subject,
                part=cause.part,
                title=TITLES[cause.kind],
                text=cause.text,
                machines=machines,
                since=now,
            )
            self._next_id += 1
            entry = self._open[key] = _Open(alert, last_seen=now)
        entry.last_seen = now
        silenced = self._is_silenced(cause, machines)
        entry.alert = msgspec.structs.replace(
            entry.alert, text=cause.text, machines=machines, is_silenced=silenced
        )
        patience_s = _PATIENCE_S.get(cause.kind, _DEFAULT_PATIENCE_S) * self.settings.pace
        if entry.alert.told_at is None and now - entry.alert.since >= patience_s:
            entry.alert = msgspec.structs.replace(entry.alert, told_at=now, is_untold=True)
        if entry.alert.told_at is None or silenced:
            return []
        if entry.alert.is_untold:  # now, or once nobody wants silence any more
            entry.alert = msgspec.structs.replace(entry.alert, is_untold=False)
            entry.told_machines = len(machines)
            return [_notice(NoticeKind.RAISED, entry.alert, now)]
        if len(machines) >= 2 * max(entry.told_machines, 1):
            entry.told_machines = len(machines)
            return [_notice(NoticeKind.GREW, entry.alert, now)]
        return []

    def _end(self, now: float) -> list[Notice]:
        notices: list[Notice] = []
        for key, entry in list(self._open.items()):
            if entry.last_seen is None:  # machines are looked at once before anything counts as over
                entry.last_seen = now + self.settings.look_s
            if now - entry.last_seen < self.settings.clear_s * self.settings.pace:
                continue
            del self._open[key]
            if entry.alert.told_at is None:
                continue
            alert = msgspec.structs.replace(entry.alert, over_at=min(entry.last_seen, now))
            self._over.append(alert)
            if not alert.is_untold:
                notices.append(_notice(NoticeKind.OVER, alert, now))
        return notices

    def _is_silenced(self, cause: Cause, machines: tuple[str, ...]) -> bool:
        return any(
            silence.kind in (None, cause.kind)
            and (
                silence.subject in (None, cause.subject) or (machines and set(machines) == {silence.subject})
            )
            for silence in self._silences
        )

    def _throttle(self, notices: Sequence[Notice], now: float) -> list[Notice]:
        """Hold back what is silenced, and join what is too much for a minute into one notice."""
        while self._told and self._told[0] <= now - 60.0:
            self._told.popleft()
        told: list[Notice] = []
        for notice in notices:
            if notice.alert is not None and notice.alert.is_silenced:
                continue
            if len(self._told) < self.settings.notices_per_minute:
                self._told.append(now)
                told.append(notice)
            else:
                self._untold.append(notice.text)
        if self._untold and len(self._told) < self.settings.notices_per_minute:
            text = f"{len(self._untold)} further notices within the last minute: " + "; ".join(
                self._untold[:5]
            )
            self._untold.clear()
            self._told.append(now)
            told.append(Notice(kind=NoticeKind.DIGEST, at=now, text=text))
        return told


def _notice(kind: NoticeKind, alert: Alert, now: float) -> Notice:
    verb = {NoticeKind.OVER: " (over)", NoticeKind.GREW: " (more machines)"}.get(kind, "")
    return Notice(kind=kind, at=now, text=f"{alert.subject}: {alert.text}{verb}", alert=alert)


def _join(
    causes: Sequence[Cause], topology: Topology, settings: AlertSettings
) -> list[tuple[Cause, tuple[str, ...]]]:
    """Return each cause with its machines; causes that many machines on one breaker, feeder or site share become one."""
    found: list[tuple[Cause, tuple[str, ...]]] = []
    by_kind: dict[CauseKind, list[Cause]] = {}
    for cause in causes:
        by_kind.setdefault(cause.kind, []).append(cause)
    for kind, same in by_kind.items():
        left = same
        for level in ("site", "feeder", "breaker"):
            groups = _groups(left, level, topology)
            left = list(groups.pop(None, []))
            for name, members in groups.items():
                machines = tuple(dict.fromkeys(cause.subject for cause in members))
                population = topology.population(name or "site")
                if len(machines) < max(settings.joint_machines, settings.joint_share * population):
                    left += members
                    continue
                text = f"{len(machines)} of {population} machines: {TITLES[kind]}"
                found.append((Cause(kind=kind, subject=name or "site", text=text), machines))
        if len(left) > settings.kind_limit:
            machines = tuple(dict.fromkeys(cause.subject for cause in left))
            text = f"{len(machines)} machines: {TITLES[kind]}"
            found.append((Cause(kind=kind, subject="site", text=text), machines))
        else:
            found += [(cause, (cause.subject,)) for cause in left]
    return found


def _groups(causes: Iterable[Cause], level: str, topology: Topology) -> dict[str | None, list[Cause]]:
    """Return causes by what they have in common at a level; under None those that stand alone."""
    groups: dict[str | None, list[Cause]] = {}
    for cause in causes:
        place = topology.place(cause.subject)
        name: str | None = None
        if place is not None and level == "site":
            name = "site"
        elif place is not None and (value := getattr(place, level)):
            name = f"{level} {value}"
        groups.setdefault(name, []).append(cause)
    return groups
