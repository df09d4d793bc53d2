"""What a command did: seen only once the machine's power has settled, by whoever can tell, or said that nobody could."""

from __future__ import annotations

import msgspec
import pytest

from hashwerk.fleet.batch import Step
from hashwerk.fleet.commands import Command, Locate, Reboot, SetMode, SetPowerLimit, Sleep, Wake
from hashwerk.fleet.conduct import Conduct
from hashwerk.fleet.effects import Seen, Steadiness, Told, effect_seen, told
from hashwerk.fleet.machine import Reading, WorkState
from hashwerk.fleet.measure import Basis, Believed, Effect, Measured, Verdict, Vote
from hashwerk.fleet.orders import Progress
from hashwerk.fleet.states import State
from hashwerk.fleet.timing import Change
from hashwerk.fleet.verify import Look, effect_of
from hashwerk.work.poisson import Rate, rate_interval
from support.fleet import TH, identity, point, reading

CONDUCT = Conduct(verify_s=60.0, settle_s=15.0)
KEY = f"mac:{identity(1).mac}"
TOLD_AT = 10_000.0
SETTLES_S, DEADLINE_S = 105.0, 300.0
STEADY_AT = TOLD_AT + SETTLES_S
LATE = TOLD_AT + DEADLINE_S + 60.0 + 30.0
POINTS = (point("Eco", 843.0, 54.2), point("Standard", 1403.0, 80.7), point("Super", 1674.0, 90.0))


def shares(count: int, seconds: float) -> Rate:
    return rate_interval({46: count}, seconds)


class OneMachine:
    """A fleet of one machine: what it says, what a meter shows, what its shares show."""

    def __init__(
        self,
        said: Reading | None = None,
        *,
        metered: tuple[float, float] | None = None,
        rate_hs: float | None = None,
        basis: Basis = Basis.REPORTED,
    ) -> None:
        self.said, self.rate_hs = said, rate_hs
        watts, at = metered or (None, None)
        self.look_now = Look(
            key=KEY,
            state=State.HASHING,
            since=TOLD_AT + 3.0,
            reading=said,
            measured=Measured(at=LATE, power_w=watts, power_at=at),
            power=Believed(power_w=None if said is None else said.power_w, basis=basis),
            points=POINTS,
        )

    def look(self, key: str) -> Look | None:
        return self.look_now if key == KEY else None

    def rate(self, key: str, since: float, until: float) -> Rate | None:
        if self.rate_hs is None:
            return None
        return shares(round(self.rate_hs * (until - since) / 2**46), until - since)

    def settles_s(self, key: str, change: Change) -> float:
        return SETTLES_S

    def deadline_s(self, key: str, change: Change) -> float:
        return DEADLINE_S


def one(command: Command, **changes: object) -> Told:
    values: dict[str, object] = {
        "order_id": "o-1",
        "key": KEY,
        "command": command,
        "at": TOLD_AT,
        "before_w": 1403.0,
        "expected_w": None,
        "mode_before": "Standard",
    }
    return Told(**(values | changes))  # type: ignore[arg-type]


def looked_at(
    command: Told, fleet: OneMachine, conduct: Conduct, now: float, verified: Effect | None = None
) -> Seen | None:
    """Return what is seen of a machine whose power has been what it is for long."""
    steady = Steadiness()
    if fleet.said is not None and fleet.said.power_w is not None:
        steady.add(fleet.look_now.measured.power_w or fleet.said.power_w, TOLD_AT)
    return effect_seen(command, fleet, conduct, now, verified, steady=steady)


def says(at: float, power_w: float | None, mode: str = "Eco", **more: object) -> Reading:
    return reading(1, at=at, power_w=power_w, mode=mode, **more)


def test_a_mode_that_a_machine_reports_at_once_has_no_effect_on_record_until_its_power_has_settled() -> None:
    fleet = OneMachine(says(TOLD_AT + 3.0, 1390.0))
    assert looked_at(one(SetMode("Eco")), fleet, CONDUCT, TOLD_AT + 4.0) is None
    assert looked_at(one(SetMode("Eco")), fleet, CONDUCT, STEADY_AT) is None
    assert looked_at(one(SetMode("Eco")), fleet, CONDUCT, STEADY_AT + 5.0) is None, "what it said was before"


def test_the_machine_s_own_word_counts_once_it_was_said_after_that() -> None:
    fleet = OneMachine(says(STEADY_AT + 1.0, 850.0))
    seen = looked_at(one(SetMode("Eco")), fleet, CONDUCT, STEADY_AT + 2.0)
    assert seen is not None
    assert seen.is_final, "neither meter nor shares will ever say more"
    assert (seen.effect.before_w, seen.effect.after_w, seen.effect.basis) == (1403.0, 850.0, Basis.REPORTED)
    assert seen.effect.verdict is Verdict.CLAIMED


@pytest.mark.parametrize(("watts", "verdict"), [(850.0, Verdict.CONFIRMED), (1395.0, Verdict.CONTRADICTED)])
def test_its_meter_says_more_than_itself(watts: float, verdict: Verdict) -> None:
    fleet = OneMachine(says(STEADY_AT + 1.0, 850.0), metered=(watts, STEADY_AT + 1.0))
    seen = looked_at(one(SetMode("Eco")), fleet, CONDUCT, LATE)
    assert seen is not None
    assert (seen.effect.after_w, seen.effect.basis, seen.effect.verdict) == (watts, Basis.METER, verdict)


def test_a_meter_that_was_read_before_says_nothing() -> None:
    fleet = OneMachine(says(TOLD_AT + 3.0, 1390.0), metered=(1395.0, TOLD_AT - 1.0))
    assert looked_at(one(SetMode("Eco")), fleet, CONDUCT, STEADY_AT + 5.0) is None
    seen = looked_at(one(SetMode("Eco")), fleet, CONDUCT, LATE)
    assert seen is not None
    assert seen.effect.meter is Vote.CANNOT_SAY
    assert seen.effect.after_w is None
    assert seen.effect.text.endswith("the machine says yes; nothing could measure it")


@pytest.mark.parametrize(
    ("rate_th", "verdict"), [(54.2, Verdict.CONFIRMED), (80.7, Verdict.CONTRADICTED), (67.0, Verdict.CLAIMED)]
)
def test_shares_tell_one_mode_from_another_when_there_are_enough(rate_th: float, verdict: Verdict) -> None:
    before = shares(690, 600.0)
    command = one(SetMode("Eco"), before=before)
    fleet = OneMachine(says(STEADY_AT + 1.0, 850.0), rate_hs=rate_th * TH)
    early = looked_at(command, fleet, CONDUCT, STEADY_AT + 2.0)
    assert early is not None
    assert not early.is_final, "shares may still tell; its power is shown meanwhile"
    assert early.effect.after_w == 850.0
    seen = looked_at(command, fleet, CONDUCT, LATE)
    assert seen is not None
    assert seen.is_final
    assert seen.effect.verdict is verdict


def test_a_few_shares_before_accuse_nobody_afterwards() -> None:
    unlucky = shares(3, 10.0)  # about 21 TH/s by chance: half of that is not what it should do in Eco
    fleet = OneMachine(says(STEADY_AT + 1.0, 850.0), rate_hs=54.2 * TH)
    seen = looked_at(one(SetMode("Eco"), before=unlucky), fleet, CONDUCT, LATE)
    assert seen is not None
    assert seen.effect.verdict is Verdict.CONFIRMED, "what its mode hashes is known"
    seen = looked_at(one(SetMode("Eco"), before=unlucky, mode_before="?"), fleet, CONDUCT, LATE)
    assert seen is not None
    assert seen.effect.verdict is Verdict.CLAIMED


def test_a_power_that_was_reckoned_is_not_what_was_seen() -> None:
    fleet = OneMachine(says(STEADY_AT + 1.0, 2245.0), basis=Basis.CURVE)
    seen = looked_at(one(SetMode("Eco")), fleet, CONDUCT, LATE)
    assert seen is not None
    assert (seen.effect.after_w, seen.effect.basis) == (None, None)


def test_a_power_limit_above_what_it_draws_shows_in_nothing() -> None:
    fleet = OneMachine(says(STEADY_AT + 1.0, 1403.0, power_limit_w=2000.0), metered=(1403.0, STEADY_AT + 1.0))
    seen = looked_at(one(SetPowerLimit(2000)), fleet, CONDUCT, LATE)
    assert seen is not None
    assert (seen.effect.meter, seen.effect.verdict) == (Vote.CANNOT_SAY, Verdict.CLAIMED)
    fleet = OneMachine(says(STEADY_AT + 1.0, 900.0, power_limit_w=900.0), metered=(905.0, STEADY_AT + 1.0))
    seen = looked_at(one(SetPowerLimit(900)), fleet, CONDUCT, STEADY_AT + 2.0)
    assert seen is not None
    assert (seen.effect.meter, seen.effect.after_w) == (Vote.YES, 905.0)


def test_what_its_order_measured_stands_while_nothing_measures_it_again() -> None:
    confirmed = Effect(
        machine=Vote.YES, shares=Vote.YES, meter=Vote.CANNOT_SAY, text="sleep: its shares say yes"
    )
    asleep = says(STEADY_AT + 1.0, None, state=WorkState.ASLEEP)
    fleet = OneMachine(asleep, basis=Basis.NOTHING)
    seen = looked_at(one(Sleep()), fleet, CONDUCT, STEADY_AT + 2.0, confirmed)
    assert seen is not None
    assert seen.effect.verdict is Verdict.CONFIRMED
    assert seen.effect.text == "sleep: its shares say yes; nothing measured its power"


def test_who_is_gone_and_who_is_silent_is_not_waited_for_for_ever() -> None:
    gone = looked_at(one(Reboot(), key="mac:gone"), OneMachine(), CONDUCT, TOLD_AT + 1.0)
    assert gone is not None
    assert "no longer in the fleet" in gone.effect.text
    silent = looked_at(one(Wake()), OneMachine(), CONDUCT, LATE)
    assert silent is not None
    assert silent.effect.verdict is Verdict.OPEN
    assert silent.effect.text == "wake: nobody can say; nothing could measure it"


def test_only_what_takes_time_is_watched_and_the_way_back_is_a_rise() -> None:
    step = Step(key=KEY, command=Sleep(), before_w=1403.0, after_w=20.0, mode_before="Eco")
    down = told("o-1", Progress(step=step, sent_at=1.0), None)
    back = told("o-1", Progress(step=step, sent_at=2.0, is_restore=True), None)
    assert down is not None
    assert back is not None
    assert (down.command, down.before_w, down.expected_w) == (Sleep(), 1403.0, 1383.0)
    assert (back.command, back.before_w, back.expected_w) == (Wake("Eco"), 20.0, -1383.0)
    light = msgspec.structs.replace(step, command=Locate(on=True))
    assert told("o-1", Progress(step=light, sent_at=1.0), None) is None


def test_while_only_asked_whether_it_did_so_no_power_is_named() -> None:
    look = OneMachine(says(TOLD_AT + 3.0, 1390.0)).look(KEY)
    assert look is not None
    effect = effect_of(
        SetMode("Eco"), look, sent_at=TOLD_AT, before_w=1403.0, expected_w=None, before=None, since=None
    )
    assert effect.verdict is Verdict.CLAIMED
    assert effect.after_w is None


def test_a_ramp_is_not_the_effect_and_a_machine_that_still_changes_has_none() -> None:
    steady, fleet = Steadiness(), OneMachine(says(STEADY_AT + 1.0, 1300.0))
    command = one(SetMode("Eco"))
    for seconds, power_w in ((1.0, 1300.0), (11.0, 1150.0), (21.0, 1000.0), (31.0, 860.0), (41.0, 855.0)):
        fleet = OneMachine(says(STEADY_AT + seconds, power_w))
        seen = effect_seen(command, fleet, CONDUCT, STEADY_AT + seconds + 1.0, steady=steady)
        assert seen is not None
        assert not seen.is_final, "it falls on, or has not been so for long"
    fleet = OneMachine(says(STEADY_AT + 51.0, 850.0))
    seen = effect_seen(command, fleet, CONDUCT, STEADY_AT + 52.0, steady=steady)
    assert seen is not None
    assert seen.is_final
    assert seen.effect.after_w == 850.0
    fleet.look_now = msgspec.structs.replace(fleet.look_now, state=State.REBOOTING)
    assert effect_seen(one(Reboot()), fleet, CONDUCT, STEADY_AT + 52.0, steady=Steadiness()) is None
    late = effect_seen(one(Reboot()), fleet, CONDUCT, LATE, steady=Steadiness())
    assert late is not None
    assert late.effect.text.endswith("its power had not settled yet")
