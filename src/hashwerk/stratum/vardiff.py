"""Vardiff: find each machine's share target from the times of its shares, and keep it.

All that a stretch of shares says about a hash rate is in two numbers (see `likelihood`): how many there were,
and the exposure they came from, which changes of target do not disturb. Three questions are asked of them,
each over the stretch that answers it best.

*Has the rate risen, or fallen?* Two CUSUM tests (E. S. Page, "Continuous inspection schemes", Biometrika 41,
1954): the log-likelihood ratio of a rate well outside against one at the edge of what the target is good for,
summed up and begun anew whenever it falls to 0. The stretch since it was last 0 is the best guess at where
the change was, so the new target comes from that stretch alone. Eight shares in no time are a rise.

*Is the target still the right one?* No, if the interval of the rate over everything since the last change
lies wholly outside what the target is good for. Old evidence fades, so that slow drift shows too.

*Why is there nothing?* Until eight shares are there, silence lowers the target as far as the posterior says.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from hashwerk.stratum.likelihood import Cusum, Evidence
from hashwerk.work.poisson import poisson_interval
from hashwerk.work.target import MAX_WORK_LOG2, MIN_WORK_LOG2

#: A target is good for machines up to 2**0.75 faster or slower than it was made for: half a step from
#: rounding, and a quarter so that a machine on the border does not go back and forth.
TOLERANCE_LOG2: Final = 0.75
#: DATUM's vardiff_quickdiff_count, and about the fewest shares that tell a rate to within one step (σ = 0.5).
ENOUGH_SHARES: Final = 8

# Rates, as multiples of the wanted one, between which the CUSUM tests decide. The nearer ones are beyond the
# tolerance of 1.68, so that a machine which its target suits seldom raises an alarm. One ten times too fast is
# found after about ten shares, one ten times too slow after about two minutes.
_RISE_FROM: Final = 2.0
_RISE_TO: Final = 6.0
_RISE_PER_SHARE: Final = math.log(_RISE_TO / _RISE_FROM)
_RISE_PER_EXPECTED: Final = _RISE_FROM - _RISE_TO
_RISE_THRESHOLD: Final = ENOUGH_SHARES * _RISE_PER_SHARE - 0.05
_FALL_FROM: Final = 1 / 2
_FALL_TO: Final = 1 / 6
_FALL_PER_SHARE: Final = math.log(_FALL_TO / _FALL_FROM)
_FALL_PER_EXPECTED: Final = _FALL_FROM - _FALL_TO
_FALL_THRESHOLD: Final = 5.5

#: Standard deviations the interval is wide. It is looked at after every share, so more than the usual two; a
#: first guess from a handful of shares is taken less seriously, so that it is put right within the minute.
_REFINE_Z: Final = 2.8
_FIRST_Z: Final = 1.5
_FIRST_SHARES: Final = 24
_MEMORY_SHARES: Final = 256  # then evidence is halved: 20 minutes at 12 shares a minute
#: The stretch of an alarm was picked because it was extreme. So many shares fewer, or more, make up for it:
#: one for ending with a share (see poisson.stop_at_nth_rate), one for the picking, as simulations show.
_PICKED_SHARES: Final = 2
#: For the same reason a rise's stretch weighs little in what follows, so that an overshoot is soon seen.
_RISE_KEPT_SHARES: Final = 4.0
_SEARCH_STEP_LOG2: Final = 1.5
#: How long a new target is given in the search, in times the wanted time between shares.
_SEARCH_PATIENCE: Final = 0.6
#: A pause, in times the wanted time between shares; of all gaps e**-10 are as long by chance.
_PAUSE: Final = 10.0
#: Exposure is never counted as less than one turn of the event loop: shares that come in one read have no
#: times.
_LEAST_ELAPSED_S: Final = 0.001
#: Whoever is asked for many shares a second is no machine but a proxy for many, and hands in what it has in bursts: by a stalled
#: network, by machines that are polled in turn. A burst has no rate; taken for one it would raise the target a thousandfold, and
#: again. So its rate is not judged by less time than half a second at ten shares a second, 20 ms at two, 5 ms at one.
_BURST_S: Final = 0.5
_BURST_WANTED_S2: Final = 0.005
#: For the same reason a shorter silence than this says nothing: a new target must have reached everybody behind a proxy.
_LEAST_SILENCE_S: Final = 2.0
#: A machine that falls silent may only sleep, and comes back at full speed: its target falls so far and no
#: further…
_SILENT_STEPS: Final = 6
#: …but for one more step each time this has passed without a share.
_SILENT_STEP_S: Final = 600.0


class VardiffSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What vardiff aims at."""

    shares_per_minute: Annotated[float, Meta(gt=0)] = 12.0
    min_work_log2: Annotated[int, Meta(ge=MIN_WORK_LOG2, le=MAX_WORK_LOG2)] = 16  # for 13 kH/s
    max_work_log2: Annotated[int, Meta(ge=MIN_WORK_LOG2, le=MAX_WORK_LOG2)] = 80

    def __post_init__(self) -> None:
        """Refuse what cannot be aimed at.

        Raises:
            ValueError: If the lower bound is above the upper one.
        """
        if self.min_work_log2 > self.max_work_log2:
            raise ValueError(f"min_work_log2 is above max_work_log2: {self.min_work_log2}")


class VardiffState(msgspec.Struct, frozen=True, kw_only=True):
    """All that a `Vardiff` knows, to be handed to another process (msgpack)."""

    settings: VardiffSettings
    work_log2: int
    since: float
    counted_to: float
    last_share_at: float
    last_share_log2: int | None
    in_force: bool
    evidence: Evidence
    rise: Cusum
    fall: Cusum


class Vardiff:
    """The search for one machine's share target. Pure: time comes in, decisions go out."""

    __slots__ = (
        "_counted_to",
        "_evidence",
        "_fall",
        "_in_force",
        "_last_share_at",
        "_last_share_log2",
        "_rise",
        "_settings",
        "_since",
        "_wanted_s",
        "_work_log2",
    )

    def __init__(self, settings: VardiffSettings, start_work_log2: int, now: float) -> None:
        """Begin with a first target, brought within the settings' bounds."""
        self._settings = settings
        self._wanted_s = 60.0 / settings.shares_per_minute
        self._work_log2 = self._within(start_work_log2)
        self._since = self._counted_to = self._last_share_at = now
        self._last_share_log2: int | None = None  # the target when a share last came
        self._in_force = True  # whether shares of the present target have come since it was set
        self._evidence = Evidence()
        self._rise = Cusum()
        self._fall = Cusum()

    @property
    def work_log2(self) -> int:
        """The present target."""
        return self._work_log2

    def set_settings(self, settings: VardiffSettings) -> None:
        """Aim at something else, as when the network's difficulty moves the upper bound; `decide` then obeys."""
        self._settings = settings
        self._wanted_s = 60.0 / settings.shares_per_minute

    def on_shares(self, count: int, now: float, work_log2: int) -> None:
        """Count accepted shares that came since the last call, all of the target ``work_log2``.

        While a new target is on its way to the machine, shares of the old one still come and say that it was
        in force until now. Stragglers after that are left out: their time has been counted.

        Raises:
            ValueError: If ``count`` is negative.
        """
        if count < 0:
            raise ValueError(f"a count cannot be negative: {count}")
        if count == 0:
            return
        if work_log2 == self._work_log2:
            self._in_force = True
        elif self._in_force:
            return
        if self._ends_pause(now):
            self._evidence, self._rise, self._fall = Evidence(), Cusum(), Cusum()
            self._counted_to = now
        elapsed_s = max(now - self._counted_to, _LEAST_ELAPSED_S)
        self._counted_to = max(now, self._counted_to)
        self._last_share_at = self._counted_to
        self._last_share_log2 = work_log2
        self._count(float(count), elapsed_s * 2.0**-work_log2)

    def decide(self, now: float) -> int | None:
        """Return the new target if there is to be one, and count on its being sent at once; else None."""
        within = self._within(self._work_log2)
        if within != self._work_log2:
            return self._change(within, self._evidence, now)
        for evidence in (self._risen(), self._fallen(now), self._unsuitable(now), self._searching(now)):
            if evidence is None:
                continue
            target = self._target(evidence, self._exposure(evidence, now), now)
            if target != self._work_log2:
                return self._change(target, evidence, now)
            if (
                evidence is self._rise.evidence
            ):  # at the upper bound: ask anew, lest the alarm outlive its cause
                self._rise = Cusum()
        return None

    def next_deadline(self) -> float | None:
        """Return when `decide` would lower the target if no share comes until then; None if it never would."""
        if self._work_log2 <= self._settings.min_work_log2:
            return None
        scale = 2.0**self._work_log2
        expected = (_FALL_THRESHOLD - self._fall.score) / _FALL_PER_EXPECTED
        deadline = self._counted_to + expected * self._wanted_s
        if self._evidence.shares < ENOUGH_SHARES:
            limit_hs = scale * 2**-_SEARCH_STEP_LOG2 / self._wanted_s
            exposure = self._evidence.quantile_hs(0, 1.0) / limit_hs
            search = self._counted_to + (exposure - self._evidence.exposure) * scale
            deadline = min(deadline, max(search, self._since + _SEARCH_PATIENCE * self._wanted_s))
        deadline = max(deadline, self._counted_to + _LEAST_SILENCE_S)
        if self._last_share_log2 is not None and self._work_log2 <= self._last_share_log2 - _SILENT_STEPS:
            steps = self._last_share_log2 - _SILENT_STEPS - self._work_log2 + 1
            deadline = max(deadline, self._last_share_at + steps * _SILENT_STEP_S)
        return deadline

    @property
    def is_held_down(self) -> bool:
        """Whether the target is the hardest that may be."""
        return self._work_log2 >= self._settings.max_work_log2

    def hashrate_hs(self, now: float) -> float | None:
        """Return the hash rate that the shares speak for (posterior median); None before there are enough of them.

        It does not depend on whether the target suits the machine: bounds may hold it elsewhere.
        """
        if self._evidence.shares < ENOUGH_SHARES:
            return None
        return self._evidence.quantile_hs(0, self._exposure(self._evidence, now))

    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the hash rate in H/s on which the target rests (Garwood); None before a
        share.

        The stretch it covers was chosen after looking, so it is an explanation of the target and no
        measurement.
        """
        shares, exposure = self._evidence.shares, self._evidence.exposure
        if shares < 1 or exposure <= 0:
            return None
        low, high = poisson_interval(round(shares))
        return low / exposure, high / exposure

    def export(self) -> VardiffState:
        """Return everything this knows, for `from_state` in another process."""
        return VardiffState(
            settings=self._settings,
            work_log2=self._work_log2,
            since=self._since,
            counted_to=self._counted_to,
            last_share_at=self._last_share_at,
            last_share_log2=self._last_share_log2,
            in_force=self._in_force,
            evidence=self._evidence,
            rise=self._rise,
            fall=self._fall,
        )

    @classmethod
    def from_state(cls, saved: VardiffState) -> Vardiff:
        """Return what was exported."""
        vardiff = cls(saved.settings, saved.work_log2, saved.since)
        vardiff._counted_to = saved.counted_to
        vardiff._last_share_at = saved.last_share_at
        vardiff._last_share_log2 = saved.last_share_log2
        vardiff._in_force = saved.in_force
        vardiff._evidence = msgspec.structs.replace(saved.evidence)
        vardiff._rise = Cusum(saved.rise.score, msgspec.structs.replace(saved.rise.evidence))
        vardiff._fall = Cusum(saved.fall.score, msgspec.structs.replace(saved.fall.evidence))
        return vardiff

    # --- counting ---

    def _ends_pause(self, now: float) -> bool:
        """Return whether a share at ``now`` is the first after a silence that lowered the target.

        As in ckpool such a share only starts the clock: the silence says that the machine slept, not how fast it is.
        """
        if self._last_share_log2 is None or self._work_log2 >= self._last_share_log2:
            return False
        return now - self._last_share_at > _PAUSE * self._wanted_s

    def _count(self, shares: float, exposure: float) -> None:
        self._evidence.shares += shares
        self._evidence.exposure += exposure
        if self._evidence.shares > _MEMORY_SHARES:
            fade = _MEMORY_SHARES / 2 / self._evidence.shares
            self._evidence.shares *= fade
            self._evidence.exposure *= fade
        expected = exposure * 2.0**self._work_log2 / self._wanted_s
        self._rise.add(shares * _RISE_PER_SHARE + expected * _RISE_PER_EXPECTED, shares, exposure)
        self._fall.add(shares * _FALL_PER_SHARE + expected * _FALL_PER_EXPECTED, shares, exposure)

    def _silence(self, now: float) -> float:
        """Return the exposure since a share was last counted, once it has lasted."""
        silent_s = now - self._counted_to
        return silent_s * 2.0**-self._work_log2 if silent_s >= _LEAST_SILENCE_S else 0.0

    def _exposure(self, evidence: Evidence, now: float) -> float:
        # A rise is decided on what came: the silence after it is another question.
        silence = 0.0 if evidence is self._rise.evidence else self._silence(now)
        # A burst may be of the target before: then its exposure is of that one.
        of = self._work_log2 if self._last_share_log2 is None else min(self._last_share_log2, self._work_log2)
        least_s = max(_LEAST_ELAPSED_S, min(_BURST_S, _BURST_WANTED_S2 / self._wanted_s**2))
        return max(evidence.exposure + silence, least_s * 2.0**-of)

    # --- the questions ---

    def _risen(self) -> Evidence | None:
        return self._rise.evidence if self._rise.score >= _RISE_THRESHOLD else None

    def _fallen(self, now: float) -> Evidence | None:
        expected = self._silence(now) * 2.0**self._work_log2 / self._wanted_s
        score = self._fall.score + expected * _FALL_PER_EXPECTED
        return self._fall.evidence if score >= _FALL_THRESHOLD else None

    def _unsuitable(self, now: float) -> Evidence | None:
        if self._evidence.shares < ENOUGH_SHARES or not self._in_force:
            return None
        exposure = self._exposure(self._evidence, now)
        z = _FIRST_Z if self._evidence.shares < _FIRST_SHARES else _REFINE_Z
        too_slow = self._offset_log2(self._evidence.quantile_hs(z, exposure)) < -TOLERANCE_LOG2
        too_fast = self._offset_log2(self._evidence.quantile_hs(-z, exposure)) > TOLERANCE_LOG2
        return self._evidence if too_slow or too_fast else None

    def _searching(self, now: float) -> Evidence | None:
        if self._evidence.shares >= ENOUGH_SHARES:
            return None
        if now - self._since < _SEARCH_PATIENCE * self._wanted_s:
            return None
        median_hs = self._evidence.quantile_hs(0, self._exposure(self._evidence, now))
        return self._evidence if self._offset_log2(median_hs) <= -_SEARCH_STEP_LOG2 else None

    # --- the answer ---

    def _offset_log2(self, hashrate_hs: float) -> float:
        """Return how many steps a hash rate is above what the present target is made for."""
        return math.log2(hashrate_hs * self._wanted_s) - self._work_log2

    def _target(self, evidence: Evidence, exposure: float, now: float) -> int:
        if evidence is self._rise.evidence:
            picked = Evidence(evidence.shares - _PICKED_SHARES, evidence.exposure)
            return max(self._nearest(picked, exposure), self._work_log2)
        if evidence is self._fall.evidence:
            evidence = Evidence(evidence.shares + _PICKED_SHARES, evidence.exposure)
        target = self._nearest(evidence, exposure)
        if target >= self._work_log2 or self._last_share_log2 is None:
            return target
        steps = _SILENT_STEPS + int(max(0.0, now - self._last_share_at) // _SILENT_STEP_S)
        return min(max(target, self._last_share_log2 - steps), self._work_log2)

    def _nearest(self, evidence: Evidence, exposure: float) -> int:
        return self._within(round(math.log2(evidence.quantile_hs(0, exposure) * self._wanted_s)))

    def _within(self, work_log2: int) -> int:
        return min(max(work_log2, self._settings.min_work_log2), self._settings.max_work_log2)

    def _change(self, target: int, evidence: Evidence, now: float) -> int:
        exposure = self._exposure(evidence, now)
        kept = min(1.0, _RISE_KEPT_SHARES / evidence.shares) if evidence is self._rise.evidence else 1.0
        self._evidence = Evidence(evidence.shares * kept, exposure * kept)
        self._rise = Cusum()
        self._fall = Cusum()
        self._work_log2 = target
        self._since = self._counted_to = max(now, self._counted_to)
        self._in_force = False
        return target
