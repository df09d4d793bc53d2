"""Checks of energy: registers that go on where they stopped, enough of it for the work, and certificates used once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from hashwerk.errors import EvidenceError
from hashwerk.evidence.keys import fingerprint, is_signed
from hashwerk.evidence.leaf import unsigned_certificate
from hashwerk.evidence.meter_signature import check_meter_signature
from hashwerk.evidence.records import Certificate, Direction, Inventory, Meter, Quality, SourceInterval
from hashwerk.evidence.standing import Standing
from hashwerk.evidence.verify.facts import Facts, Reading
from hashwerk.evidence.verify.result import Checks, Label, Verdict, attested_by, counted
from hashwerk.evidence.verify.shares import Work
from hashwerk.evidence.verify.weighed import MinuteWork, interval_of_hashes

#: No machine that can be bought in 2026 needs less: millijoules per 10**12 hashes.
BEST_MACHINE_MJ_PER_TH: Final = 9_500
#: An honest mine fails the bound by chance less than once in so many intervals.
_CONFIDENCE: Final = 1 - 2e-6
SIGN_CERTIFICATE: Final = b"hashwerk/sign/certificate/v1"
HOUR_US: Final = 3_600_000_000


def check_meters(checks: Checks, facts: Facts) -> str:
    """Check that every register goes on where it stopped, in the same meter; return what the readings are worth."""
    signers = set()
    for rows in _registers(facts.readings).values():
        for row in rows:
            meter = row.meter
            if meter.end_us <= meter.start_us:
                checks.failed("meters", f"{meter.meter}: an interval does not end after it starts")
            try:
                signer = check_meter_signature(meter)
            except EvidenceError as error:
                checks.failed("meters", f"{meter.meter}: {error}")
            else:
                signers.add(signer)
        for before, after in pairwise(rows):
            _check_succession(checks, before.meter, after)
    named = sorted(signer for signer in signers if signer is not None)
    label = attested_by(", ".join(named)) if named and None not in signers else str(Label.ASSERTED)
    if facts.meters:
        count = len({meter.serial for meter in facts.meters})
        checks.passed(
            "meters",
            label,
            f"{counted(len(facts.meters), 'reading')} of {counted(count, 'meter')}: each register goes on where it stopped",
        )
    return label


def _registers(readings: Iterable[Reading]) -> dict[tuple[str, int], list[Reading]]:
    """Return the readings of each register by start, registers by name."""
    found: dict[tuple[str, int], list[Reading]] = {}
    for row in readings:
        found.setdefault((row.meter.meter, row.meter.direction), []).append(row)
    return {name: sorted(found[name], key=lambda row: row.meter.start_us) for name in sorted(found)}


def _check_succession(checks: Checks, before: Meter, reading: Reading) -> None:
    after = reading.meter
    name = after.meter
    if after.serial not in (before.serial, reading.declared):
        checks.failed(
            "meters",
            f"{name}: serial {before.serial!r} becomes {after.serial!r}, which nobody had declared by epoch"
            f" {reading.epoch}: the meter was swapped",
        )
        return
    if after.serial == before.serial and after.multiplier_ppm != before.multiplier_ppm:
        checks.failed("meters", f"{name}: the multiplier changes")
    if after.start_us < before.end_us:
        checks.failed("meters", f"{name}: two readings overlap")
    elif after.serial == before.serial and after.start_wh < before.end_wh:
        checks.failed(
            "meters", f"{name}: the register was set back from {before.end_wh} to {after.start_wh} Wh"
        )
    elif (
        after.start_us == before.end_us and after.serial == before.serial and after.start_wh != before.end_wh
    ):
        checks.failed("meters", f"{name}: the register jumps from {before.end_wh} to {after.start_wh} Wh")
    elif after.start_us > before.end_us:
        filled = (
            f"{after.start_wh - before.end_wh} Wh of it from the registers' difference, at residual mix"
            if after.serial == before.serial
            else "and the meter was exchanged in it"
        )
        checks.failed(
            "meter coverage",
            f"{name}: nothing was read from {before.end_us // 1_000_000} to {after.start_us // 1_000_000}; {filled}",
            Verdict.INCOMPLETE,
        )


def check_coverage(checks: Checks, facts: Facts, start_us: int, end_us: int, *, label: str) -> None:
    """Check that every import meter covers the whole period; ``label`` is what its readings are worth."""
    for reason in not_covered(facts.meters, start_us, end_us):
        checks.failed("meter coverage", reason, Verdict.INCOMPLETE)
    checks.passed("meter coverage", label, "every interval of the period has its reading")


def not_covered(meters: Sequence[Meter], start_us: int, end_us: int) -> list[str]:
    """Return in words why import meters do not cover a period; empty if they do."""
    imports = [meter for meter in meters if meter.direction == Direction.IMPORT]
    if not imports:
        return ["energy is claimed and no meter was read"]
    found = []
    for name in sorted({meter.meter for meter in imports}):
        rows = [meter for meter in imports if meter.meter == name]
        if min(row.start_us for row in rows) > start_us or max(row.end_us for row in rows) < end_us:
            found.append(f"{name} does not cover the whole period")
    if not common_intervals(meters):
        found.append("there are no two moments at which all meters were read")
    return found


class Drawn(NamedTuple):
    """Energy drawn between two moments at which every register was read."""

    start_us: int
    end_us: int
    wh: int
    filled_wh: int  # of it from the registers' difference over intervals that were missed
    known: bool  # a meter was exchanged while nothing was read: nobody knows what was drawn


class _Piece(NamedTuple):
    """What one register counted, or must have counted, in an interval."""

    start_us: int
    end_us: int
    wh: int
    filled: bool
    known: bool


def common_intervals(meters: Iterable[Meter]) -> list[Drawn]:
    """Return what was drawn between those times at which every meter was read.

    Export and corrections downwards are taken off, corrections upwards added. A missing interval is filled from the
    difference of the registers.
    """
    registers: dict[tuple[str, int], list[Meter]] = {}
    for row in meters:
        if row.direction <= max(Direction) and row.end_wh >= row.start_wh and row.end_us > row.start_us:
            registers.setdefault((row.meter, row.direction), []).append(row)
    times = [
        {edge for row in rows for edge in (row.start_us, row.end_us)}
        for (_, direction), rows in registers.items()
        if direction in (Direction.IMPORT, Direction.EXPORT)
    ]
    edges = sorted(set.intersection(*times)) if times else []
    sums = [[0, 0, 1] for _ in edges[1:]]
    for (_, direction), rows in registers.items():
        sign = 1 if direction in (Direction.IMPORT, Direction.CORRECTION_UP) else -1
        gaps = direction in (Direction.IMPORT, Direction.EXPORT)
        for piece in _pieces(sorted(rows, key=lambda row: row.start_us), gaps=gaps):
            index = bisect_right(edges, piece.start_us) - 1
            # An edge is common to all registers, so only corrections can reach over one; those count for no interval.
            if 0 <= index < len(sums) and piece.end_us <= edges[index + 1]:
                sums[index][0] += sign * piece.wh
                sums[index][1] += sign * piece.wh if piece.filled else 0
                sums[index][2] &= piece.known
    return [
        Drawn(start, end, wh, max(filled, 0), known=bool(known))
        for (start, end), (wh, filled, known) in zip(pairwise(edges), sums, strict=True)
    ]


def _pieces(rows: Sequence[Meter], *, gaps: bool) -> Iterator[_Piece]:
    for before, after in pairwise(rows):
        yield _piece(before)
        if gaps and after.start_us > before.end_us:
            known = after.serial == before.serial and after.start_wh >= before.end_wh
            wh = after.start_wh - before.end_wh if known else 0
            yield _Piece(before.end_us, after.start_us, wh, filled=True, known=known)
    for row in rows[-1:]:
        yield _piece(row)


def _piece(row: Meter) -> _Piece:
    filled = row.quality == Quality.FILLED
    return _Piece(row.start_us, row.end_us, row.end_wh - row.start_wh, filled=filled, known=True)


def best_efficiency(standing: Standing) -> int | None:
    """Return the J/TH of the best declared machine in millijoules; None: none is declared.

    Learned bounds count before declarations.
    """
    figures = [
        next(
            figure
            for figure in (group.learned_low_mj_per_th, group.learned_mj_per_th, group.declared_mj_per_th)
            if figure is not None
        )
        for group in standing.all(Inventory)
    ]
    return max(min(figures), BEST_MACHINE_MJ_PER_TH) if figures else None


def check_energy_bound(checks: Checks, facts: Facts, work: Work, declared: int | None) -> None:
    """Check that no interval has less energy than the hashes its shares stand for need with the best declared machine."""
    intervals = common_intervals(facts.meters)
    if not intervals:
        return
    efficiency = declared or BEST_MACHINE_MJ_PER_TH
    minutes = MinuteWork(work.minutes)
    spans = [(row.start_us, row.end_us, row.wh) for row in intervals if row.known]
    if len(spans) == len(intervals):
        spans.append((intervals[0].start_us, intervals[-1].end_us, sum(row.wh for row in intervals)))
    for from_us, to_us, wh in spans:
        least, _ = interval_of_hashes(minutes.within(from_us, to_us), _CONFIDENCE)
        needed_wh = least / 1e12 * efficiency / 1000 / 3600
        if wh + 1 < needed_wh:
            checks.failed(
                "energy bound",
                f"from {from_us // 1_000_000} to {to_us // 1_000_000}: {wh} Wh were metered, the work shown needs at"
                f" least {needed_wh:.0f} Wh at {efficiency / 1000:g} J/TH",
            )
    checks.passed(
        "energy bound",
        Label.ASSERTED,
        f"{counted(len(intervals), 'interval has', 'intervals have')} the energy that the work needs at"
        f" {efficiency / 1000:g} J/TH"
        f" ({'declared inventory' if declared else 'the best machine there is; none is declared'})",
    )


def check_sources(checks: Checks, facts: Facts) -> None:
    """Check certificates: used once, for their own hour, and not for more than they say."""
    if not facts.sources and not facts.certificates:
        return
    known: dict[str, Certificate] = {}
    registries = set()
    for certificate in facts.certificates:
        if certificate.id in known:
            checks.failed("sources", f"certificate {certificate.id!r} is cancelled twice")
        known[certificate.id] = certificate
        registries.add(_check_certificate(checks, certificate))
    used: dict[str, int] = {}
    for row in facts.sources:
        if not 0 < row.end_us - row.start_us <= HOUR_US:
            checks.failed(
                "sources", f"{row.name}: an interval of {(row.end_us - row.start_us) / HOUR_US:g} h"
            )
        if row.certificate:
            _check_use(checks, row, known.get(row.certificate))
            used[row.certificate] = used.get(row.certificate, 0) + row.wh
    for id_, wh in used.items():
        if id_ in known and wh > known[id_].wh:
            checks.failed("sources", f"certificate {id_!r} of {known[id_].wh} Wh is used for {wh} Wh")
    named = sorted(name for name in registries if name is not None)
    label = attested_by(", ".join(named)) if named and None not in registries else str(Label.ASSERTED)
    checks.passed(
        "sources",
        label,
        f"{counted(len(facts.certificates), 'certificate')}, each cancelled once within these bundles;"
        f" {counted(len(facts.sources), 'interval')}",
    )


def _check_certificate(checks: Checks, certificate: Certificate) -> str | None:
    """Return the registry whose signature a certificate bears; None: it bears none."""
    if not 0 < certificate.end_us - certificate.start_us <= HOUR_US:
        checks.failed("sources", f"certificate {certificate.id!r} is of more than an hour")
    if not certificate.signature and not certificate.registry_key:
        return None
    body = unsigned_certificate(certificate)
    if not is_signed(certificate.registry_key, SIGN_CERTIFICATE, body, certificate.signature):
        checks.failed("sources", f"certificate {certificate.id!r} is not signed by its registry")
        return None
    return f"registry {certificate.registry} ({fingerprint(certificate.registry_key)[:16]}…)"


def _check_use(checks: Checks, row: SourceInterval, certificate: Certificate | None) -> None:
    if certificate is None:
        checks.failed("sources", f"{row.name}: certificate {row.certificate!r} is not in the bundle")
    elif (row.start_us, row.end_us) != (certificate.start_us, certificate.end_us):
        checks.failed("sources", f"{row.name}: certificate {row.certificate!r} is of another hour")
    elif row.source != certificate.source:
        checks.failed("sources", f"{row.name}: certificate {row.certificate!r} is of another source")
