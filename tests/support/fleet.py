"""A small fleet on a virtual clock: machines that do as told after a while, or do not, and a meter over all of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from hashwerk.fleet.batch import Candidate
from hashwerk.fleet.commands import Command, SetMode, Sleep, Wake
from hashwerk.fleet.limits import Limits, Wear, ready_at, why_not
from hashwerk.fleet.machine import Capability, Identity, Outcome, OutcomeKind, Reading, WorkState
from hashwerk.fleet.measure import Measured, MeterReading, believe_power
from hashwerk.fleet.modes import ModePoint, PointSource, published_points
from hashwerk.fleet.orders import Answered, Missed, Order, OrderEvent, OrderSpec, Sent
from hashwerk.fleet.place import Place
from hashwerk.fleet.states import Condition, Trigger
from hashwerk.fleet.timing import Change, Timings, prior_s
from hashwerk.fleet.verify import Look
from hashwerk.work.poisson import Rate, rate_interval

TH = 1e12
ALL = (
    Capability.SLEEP
    | Capability.MODE
    | Capability.REBOOT
    | Capability.LOCATE
    | Capability.POOLS
    | Capability.FAN
)
TRIGGERS = {Sleep: Trigger.TOLD_SLEEP, Wake: Trigger.TOLD_WAKE, SetMode: Trigger.TOLD_MODE}


def identity(number: int = 1, **changes: object) -> Identity:
    """Return who machine ``number`` is."""
    values: dict[str, object] = {
        "mac": f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}",
        "serial": f"sn{number:06d}",
        "make": "avalon",
        "model": "Avalon Q",
        "firmware": "stock",
    }
    return Identity(**(values | changes))  # type: ignore[arg-type]


def reading(number: int = 1, **changes: object) -> Reading:
    """Return what an Avalon Q in its middle mode says."""
    values: dict[str, object] = {
        "at": 1000.0,
        "identity": identity(number),
        "capabilities": ALL,
        "state": WorkState.HASHING,
        "hashrate_hs": 80.7 * TH,
        "power_w": 1400.0,
        "mode": "Standard",
        "modes": ("Eco", "Standard", "Super"),
        "inlet_c": 25.0,
    }
    return Reading(**(values | changes))  # type: ignore[arg-type]


def point(mode: str, power_w: float, rate_th: float) -> ModePoint:
    """Return a mode."""
    return ModePoint(mode=mode, power_w=power_w, hashrate_hs=rate_th * TH, source=PointSource.FIRMWARE)


@dataclass
class SimMachine:
    """A machine: what it truly does, and how it lies."""

    number: int
    power_w: float = 1403.0
    rate_hs: float = 80.7 * TH
    place: Place = field(default_factory=Place)
    fault: str = ""  # ignore, refuse, silent, lie (says asleep and hashes on)
    mode: str = "Standard"
    asleep: bool = False
    says_asleep: bool = False
    due: tuple[float, Command] | None = None
    told: list[Command] = field(default_factory=list)
    slept_at: float | None = None
    condition: Condition = field(default_factory=Condition)
    last: Reading | None = None

    @property
    def key(self) -> str:
        return f"mac:{identity(self.number).mac}"

    def true_w(self) -> float:
        if self.asleep:
            return 20.0
        return self.power_w * (0.6 if self.mode == "Eco" else 1.0)


class SimFleet:
    """Implements the port `hashwerk.fleet.conduct.View` and carries out what is sent."""

    def __init__(
        self,
        machines: list[SimMachine],
        now: float = 10_000.0,
        *,
        metered: bool = True,
        shares: bool = True,
        min_off_s: float = 0.0,
    ) -> None:
        self.machines = {machine.key: machine for machine in machines}
        self.now = now
        self.metered = metered
        self.shares = shares
        self.limits = Limits(min_off_s=min_off_s)
        self.timings = Timings()
        self.history: list[tuple[float, float]] = []
        self.poll()

    # --- the world ---

    def true_w(self) -> float:
        return sum(machine.true_w() for machine in self.machines.values())

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for machine in self.machines.values():
            if machine.due is not None and self.now >= machine.due[0]:
                self._do(machine, machine.due[1])
                machine.due = None
        self.history.append((self.now, self.true_w()))
        self.poll()

    def _do(self, machine: SimMachine, command: Command) -> None:
        if machine.fault == "ignore":
            return
        if isinstance(command, Sleep):
            machine.says_asleep = True
            machine.asleep, machine.slept_at = machine.fault != "lie", self.now
        elif isinstance(command, Wake):
            machine.says_asleep = machine.asleep = False
            machine.mode = command.mode or machine.mode
        elif isinstance(command, SetMode):
            machine.mode = command.mode

    def poll(self) -> None:
        for machine in self.machines.values():
            if machine.fault == "silent":
                machine.condition.miss(self.now, 1)
                continue
            state = WorkState.ASLEEP if machine.says_asleep else WorkState.HASHING
            machine.last = reading(
                machine.number,
                at=self.now,
                state=state,
                mode=machine.mode,
                power_w=20.0 if machine.says_asleep else machine.true_w(),
                hashrate_hs=0.0 if machine.says_asleep else machine.rate_hs,
            )
            machine.condition.see(state, machine.mode, self.now, 300.0)

    def carry_out(self, sent: Sent) -> Answered | Missed:
        machine = self.machines[sent.key]
        machine.told.append(sent.command)
        if machine.fault == "refuse":
            outcome = Outcome(kind=OutcomeKind.REFUSED, message="not now")
            return Answered(at=self.now, key=sent.key, outcome=outcome)
        if machine.fault == "silent":
            return Missed(at=self.now, key=sent.key, attempt=sent.attempt, reason="it cannot be reached")
        machine.due = (self.now + 5.0, sent.command)
        deadline_s = self.deadline_s(sent.key, Change.SLEEP)
        mode = sent.command.mode if isinstance(sent.command, SetMode) else None
        machine.condition.tell(TRIGGERS[type(sent.command)], self.now, deadline_s, mode)
        return Answered(at=self.now, key=sent.key, outcome=Outcome(kind=OutcomeKind.ACCEPTED))

    def apply(self, order: Order, events: list[OrderEvent]) -> list[OrderEvent]:
        """Apply events, and carry out and apply what they send; return all of them."""
        happened: list[OrderEvent] = []
        for event in events:
            order.apply(event)
            happened.append(event)
            if isinstance(event, Sent):
                answer = self.carry_out(event)
                order.apply(answer)
                happened.append(answer)
        return happened

    # --- the view ---

    def look(self, key: str) -> Look | None:
        machine = self.machines[key]
        condition, last = machine.condition, machine.last
        measured = Measured(at=self.now)
        return Look(
            key=key,
            state=condition.state,
            since=condition.since,
            reading=last,
            measured=measured,
            power=believe_power(last, measured, published_points(identity()), idle_w=20.0),
        )

    def candidates(self, spec: OrderSpec) -> list[Candidate]:
        found = []
        for key, machine in self.machines.items():
            look = self.look(key)
            assert look is not None
            found.append(
                Candidate(
                    key=key,
                    place=machine.place,
                    power=look.power,
                    mode=machine.mode,
                    points=(
                        ModePoint(
                            mode="Standard",
                            power_w=machine.power_w,
                            hashrate_hs=machine.rate_hs,
                            source=PointSource.FIRMWARE,
                        ),
                    ),
                    idle_w=20.0,
                    skip=self.why_not(key, Sleep(), spec),
                )
            )
        return found

    def why_not(self, key: str, command: Command, spec: OrderSpec) -> str | None:
        return why_not(
            command,
            state=self.machines[key].condition.state,
            capabilities=ALL,
            wear=self.wear(key),
            limits=self.limits,
            now=self.now,
            must=spec.must,
        )

    def wear(self, key: str) -> Wear:
        return Wear(slept_at=self.machines[key].slept_at)

    def ready_at(self, key: str, command: Command, spec: OrderSpec) -> float | None:
        return None if spec.must else ready_at(command, self.wear(key), self.limits)

    def rate(self, key: str, since: float, until: float) -> Rate | None:
        if not self.shares or until <= since:
            return None
        machine = self.machines[key]
        slept = machine.slept_at if machine.asleep and machine.slept_at is not None else until
        hashing_s = max(0.0, min(until, slept) - since)
        work_log2 = 46  # 70 TH: about one share a second
        return rate_interval({work_log2: int(hashing_s * machine.rate_hs / 2**work_log2)}, until - since)

    def meter(self) -> MeterReading | None:
        return MeterReading(at=self.now, power_w=self.true_w(), scope="site") if self.metered else None

    def deadline_s(self, key: str, change: Change) -> float:
        return self.timings.deadline_s(identity(self.machines[key].number), change)

    def settles_s(self, key: str, change: Change) -> float:
        return prior_s(identity(self.machines[key].number), change)
