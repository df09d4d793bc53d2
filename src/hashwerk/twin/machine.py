"""One virtual machine: its firmware's state, and its plant. Everything is worked out when somebody asks.

Time is an argument and never goes backwards for a machine; what was planned (a sleep in five seconds, mains coming back)
is done at its own moment, in order, before anything else is answered. So thousands of machines need no timers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from hashwerk.twin import physics
from hashwerk.twin.faults import Fault, FaultKind
from hashwerk.twin.models import Model, Timing, limited
from hashwerk.twin.physics import Phase, Plant, Settled

#: A command that is cut short by a reboot gets so far.
_MIDDLE_S: Final = 3.0

_MAX_PLAN: Final = 32

Deed = Callable[["Machine", float], None]


@dataclass(slots=True)
class Slot:
    """A pool as the machine's firmware has it, and what became of its shares."""

    url: str
    user: str
    password: str = "x"  # noqa: S105 - what pools that ask for none are given
    connected: bool = False
    accepted: int = 0
    rejected: int = 0
    accepted_difficulty: float = 0.0
    rejected_difficulty: float = 0.0
    difficulty: float = 0.0
    last_share_at: float = 0.0


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who a machine is and where it stands."""

    index: int
    name: str
    mac: str  # twelve hex digits; the locally administered ones of the twin begin with 02
    serial: str
    breaker: str
    feeder: str
    power_factor: float  # what it draws over what its model draws
    hash_factor: float
    meter_factor: float  # what its own sensor reads over what it draws


@dataclass(slots=True)
class Machine:
    """A machine. Owned by one hall."""

    identity: Identity
    model: Model
    host: str
    plant: Plant
    point: int
    booted_at: float
    seed: int
    haste: float = 1.0
    port: int = 0  # set when it listens
    http_port: int = 0
    asleep: bool = False  # what its firmware wants
    power_limit_w: float | None = None  # below what the point draws, where a firmware has such a limit
    wanted_point: int | None = None  # set, but in force after the next reboot only
    slept_at: float | None = None
    woke_at: float | None = None
    led: bool = False
    slots: list[Slot] = field(default_factory=list)
    next_slots: list[Slot] | None = None  # written, but in force after the next reboot only
    faults: dict[FaultKind, Fault] = field(default_factory=dict)
    plan: list[tuple[float, Deed]] = field(default_factory=list)
    next_at: float = math.inf
    own_mac: str | None = None  # while it shows another's
    hashes_at_boot: float = 0.0
    turns: int = 0  # how often it answered garbage
    best_difficulty: float = 0.0
    extras: dict[str, object] = field(default_factory=dict)  # what one dialect alone keeps

    # --- time ---

    def advance(self, now: float) -> None:
        """Do what was planned up to now, each thing at its moment."""
        while self.next_at <= now:
            at, deed = self.plan.pop(0)
            self.next_at = self.plan[0][0] if self.plan else math.inf
            deed(self, at)

    def schedule(self, at: float, deed: Deed) -> None:
        """Plan something for a moment."""
        self.plan = [
            *self.plan[-_MAX_PLAN + 1 :],
            (at, deed),
        ]  # a controller's memory is small: the latest count
        self.plan.sort(key=lambda entry: entry[0])
        self.next_at = self.plan[0][0]

    # --- the truth ---

    def power_w(self, now: float) -> float:
        """Return the true power at the wall."""
        if self.next_at <= now:
            self.advance(now)
        return self.plant.power_w(now)

    def hashrate_hs(self, now: float) -> float:
        """Return the true hash rate, full size."""
        if self.next_at <= now:
            self.advance(now)
        return self.plant.hashrate_hs(now)

    def phase(self, now: float) -> Phase:
        """Return what it is really doing."""
        self.advance(now)
        return self.plant.phase(now)

    def state(self, now: float) -> Plant:
        """Return everything about it at this moment."""
        self.advance(now)
        return self.plant.advanced(now)

    # --- what it says of itself ---

    def clock(self, now: float) -> int:
        """Return its own clock: Unix seconds, or seconds since boot where it found no time server."""
        return int(now - self.booted_at) if self.model.clock_from_boot else int(now)

    def unix_time(self, clock: float) -> float:
        """Return when its own clock shows a time."""
        return self.booted_at + clock if self.model.clock_from_boot else clock

    def wiggle(self, now: float, what: int) -> float:
        """Return a number in -1 … 1 that changes every five seconds; the same for the same machine, time and ``what``."""
        mixed = (
            self.seed * 0x9E3779B97F4A7C15 + int(now / 5) * 0xBF58476D1CE4E5B9 + what * 0x94D049BB133111EB
        ) % 2**64
        mixed ^= mixed >> 31
        mixed = mixed * 0xD6E8FEB86659FD93 % 2**64
        return (mixed ^ mixed >> 32) % 2**32 / 2**31 - 1

    def reported_power_w(self, now: float) -> float:
        """Return what its own sensor says; a liar's factor included."""
        lie = self.faults.get(FaultKind.LIE)
        return self.power_w(now) * self.identity.meter_factor * (1 if lie is None else lie.factor)

    def hashes_since_boot(self, now: float) -> float:
        """Return the hashes that its own average since start counts, full size."""
        self.advance(now)
        return self.plant.work_until(now)[1] - self.hashes_at_boot

    def board_shares(self) -> tuple[float, ...]:
        """Return each board's share of the hash rate; a dead one has none."""
        dead = self.faults.get(FaultKind.LOSE_BOARD)
        alive = [dead is None or board != dead.board for board in range(self.model.boards)]
        return tuple((1 / max(1, sum(alive))) if lives else 0.0 for lives in alive)

    # --- what can be done to it; all of these are deeds ---

    def goal(self, point: int) -> Settled:
        """Return where this machine settles at a point, in the air that it has and with the boards that it has."""
        target = self.model.points[point]
        nominal_w, rate_hs = target.power_w, target.hashrate_hs
        if self.power_limit_w is not None and self.power_limit_w < nominal_w:
            nominal_w, rate_hs = limited(self.model.points, self.power_limit_w)
        working = sum(1 for share in self.board_shares() if share) / self.model.boards
        power_w = nominal_w * self.identity.power_factor * physics.leakage_factor(self.plant.inlet_c)
        return Settled(
            max(self.model.idle_w, power_w * working),
            rate_hs * self.identity.hash_factor * working,
        )

    @property
    def timing(self) -> Timing:
        """How long things take, the hall's haste included."""
        if self.haste == 1:
            return self.model.timing
        values = msgspec.structs.asdict(self.model.timing)
        return Timing(**{name: value / self.haste for name, value in values.items()})

    def fall_asleep(self, now: float) -> None:
        """Stop hashing."""
        self.asleep, self.slept_at = True, now
        if self.phase_is_running(now):
            course = physics.sleep_course(now, self.timing, self.model.idle_w, self.plant.power_w(now))
            self.plant = self.plant.turned(now, course)

    def wake(self, now: float) -> None:
        """Hash again, at the point set."""
        self.asleep, self.woke_at = False, now
        if self.plant.phase(now) in (Phase.ASLEEP, Phase.FALLING):
            course = physics.start_course(now, self.timing, self.model.idle_w, self.goal(self.point))
            self.plant = self.plant.turned(now, course)

    def set_point(self, now: float, point: int) -> None:
        """Run at another point; where the firmware needs a reboot for that, from the next one on."""
        if self.model.mode_needs_reboot:
            self.wanted_point = point
            return
        self.point = point
        self.settle(now, self.timing.mode_s)

    def limit_power(self, now: float, limit_w: float | None) -> None:
        """Draw no more than so much; None: what the point draws."""
        self.power_limit_w = limit_w
        self.settle(now, self.timing.mode_s)

    def show_mac(self, mac: str | None) -> None:
        """Show another machine's MAC address; None: its own again."""
        own = self.own_mac or self.identity.mac
        self.own_mac = own if mac is not None else None
        self.identity = msgspec.structs.replace(self.identity, mac=mac or own)

    def restart_mining(self, now: float) -> None:
        """Stop and start the mining program: initialise and ramp up once more."""
        if self.phase_is_running(now):
            course = physics.start_course(now, self.timing, self.model.idle_w, self.goal(self.point))
            self.plant = self.plant.turned(now, course)

    def take_over(self) -> None:
        """Bring into force what waited for a restart: a point, pools."""
        if self.wanted_point is not None:
            self.point, self.wanted_point = self.wanted_point, None
        if self.next_slots is not None:
            self.slots, self.next_slots = self.next_slots, None

    def settle(self, now: float, duration_s: float) -> None:
        """Head for the point set, if it hashes: after a change of mode, of air, or of boards."""
        plant = self.plant
        phase = plant.phase(now)
        if phase is Phase.HASHING:
            present = Settled(plant.power_w(now), plant.hashrate_hs(now))
            self.plant = plant.turned(
                now, physics.change_course(now, duration_s, present, self.goal(self.point))
            )
        elif phase is Phase.STARTING:
            course = physics.start_course(now, self.timing, self.model.idle_w, self.goal(self.point))
            self.plant = plant.turned(now, course)

    def reboot(self, now: float) -> None:
        """Start again."""
        if self.plant.phase(now) is not Phase.OFF:
            self._boot(now)

    def lose_mains(self, now: float) -> None:
        """Lose power; everything that was planned inside the machine is forgotten."""
        self.plan = [entry for entry in self.plan if entry[1] in _FROM_OUTSIDE]
        self.next_at = self.plan[0][0] if self.plan else math.inf
        self.plant = self.plant.turned(now, physics.still_course(now, 0.0, Phase.OFF))

    def regain_mains(self, now: float) -> None:
        """Get power again."""
        if self.plant.phase(now) is Phase.OFF:
            self._boot(now)

    def breathe(self, now: float, inlet_c: float) -> None:
        """Get air of another temperature."""
        self.advance(now)
        if inlet_c == self.plant.inlet_c:
            return
        self.plant = msgspec.structs.replace(self.plant.advanced(now), inlet_c=inlet_c)
        if self.plant.phase(now) is Phase.HASHING and now >= self.plant.course[-1].at:
            self.settle(now, 1.0)

    def phase_is_running(self, now: float) -> bool:
        """Return whether it hashes or is about to."""
        return self.plant.phase(now) in (Phase.STARTING, Phase.HASHING)

    def command(self, now: float, at: float, deed: Deed) -> None:
        """Let its firmware do something at a moment of its own, unless a fault has it otherwise."""
        if FaultKind.IGNORE in self.faults:
            return
        if at <= now:
            deed(self, now)
        else:
            self.schedule(at, deed)
        if self.faults.pop(FaultKind.REBOOT, None) is not None:
            self.schedule(max(at, now) + _MIDDLE_S / self.haste, Machine.reboot)

    def set_fans(self, now: float, share: float | None) -> None:
        """Run the fans at a share of their full speed; None gives them back to the firmware's own control."""
        self.plant = msgspec.structs.replace(self.plant.advanced(now), fan_override=share)

    def _boot(self, now: float) -> None:
        """Begin again: some makes forget that they were asleep, and what waited for a reboot comes into force."""
        self.booted_at = now
        self.hashes_at_boot = self.plant.work_until(now)[1]
        self.plan = [entry for entry in self.plan if entry[1] in _FROM_OUTSIDE]
        self.next_at = self.plan[0][0] if self.plan else math.inf
        self.take_over()
        self.asleep = self.asleep and self.model.stays_asleep
        goal = None if self.asleep else self.goal(self.point)
        course = physics.boot_course(now, self.timing, self.model.idle_w, goal)
        self.plant = self.plant.turned(now, course)


#: What happens to a machine whether its firmware runs or not.
_FROM_OUTSIDE: Final[tuple[Deed, ...]] = (Machine.lose_mains, Machine.regain_mains)
