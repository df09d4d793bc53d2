"""Checks of energy: registers that go on where they stopped, enough of it for the work, and certificates used once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashwerk.errors import EvidenceError
from hashwerk.evidence.keys import fingerprint, is_signed
from hashwerk.evidence.leaf import unsigned_certificate
from hashwerk.evidence.meter_signature import check_meter_signature
from hashwerk.evidence.records import Certificate, Configuration, Direction, Inventory, Meter, SourceInterval
from hashwerk.evidence.standing import Standing
from hashwerk.evidence.verify.facts import Facts
from hashwerk.evidence.verify.result import Checks, Label, Verdict, attested_by
from hashwerk.evidence.verify.shares import BIN_US, Work, total_work
from hashwerk.work.poisson import weighted_intervals

#: No machine that can be bought in 2026 needs less: millijoules per 10**12 hashes.
BEST_MACHINE_MJ_PER_TH: Final = 9_500
#: An honest mine fails the bound by chance less than once in so many intervals.
_CONFIDENCE: Final = 1 - 2e-6
SIGN_CERTIFICATE: Final = b"hashwerk/sign/certificate/v1"
HOUR_US: Final = 3_600_000_000


def check_meters(checks: Checks, facts: Facts, standing: Standing) -> None:
    """Check that every register goes on where it stopped, in the same meter."""
    renamed = {record.name: record.value for record in standing.all(Configuration)}
    signers = set()
    for name, direction in sorted({(meter.meter, meter.direction) for meter in facts.meters}):
        rows = sorted(
            (meter for meter in facts.meters if (meter.meter, meter.direction) == (name, direction)),
            key=lambda meter: meter.start_us,
        )
        for row in rows:
            if row.end_us <= row.start_us:
                checks.failed("meters", f"{name}: an interval ends before it starts")
            try:
                signer = check_meter_signature(row)
            except EvidenceError as error:
                checks.failed("meters", f"{name}: {error}")
            else:
                signers.add(signer)
        for before, after in pairwise(rows):
            _check_succession(checks, before, after, renamed)
    if facts.meters:
        named = sorted(signer for signer in signers if signer is not None)
        label = attested_by(", ".join(named)) if named and None not in signers else str(Label.ASSERTED)
        count = len({meter.serial for meter in facts.meters})
        checks.passed(
            "meters", label, f"{len(facts.meters)} readings of {count} meters go on where they stopped"
        )


def _check_succession(checks: Checks, before: Meter, after: Meter, renamed: dict[str, str]) -> None:
    name = after.meter
    if after.serial != before.serial and renamed.get(f"meter/{name}") != after.serial:
        checks.failed(
            "meters", f"{name}: serial {before.serial!r} becomes {after.serial!r}: the meter was swapped"
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
        checks.failed("meter coverage", f"{name}: an interval is missing", Verdict.INCOMPLETE)


def check_coverage(checks: Checks, facts: Facts, start_us: int, end_us: int, *, asked: bool) -> None:
    """Check that some import meter covers the whole period, if the bundle claims so."""
    if not asked:
        return
    imports = [meter for meter in facts.meters if meter.direction == Direction.IMPORT]
    for name in sorted({meter.meter for meter in imports}):
        rows = [meter for meter in imports if meter.meter == name]
        if min(row.start_us for row in rows) > start_us or max(row.end_us for row in rows) < end_us:
            checks.failed("meter coverage", f"{name} does not cover the whole period", Verdict.INCOMPLETE)
    if not imports:
        checks.failed("meter coverage", "energy is claimed and no meter was read", Verdict.INCOMPLETE)
    elif not common_intervals(facts.meters):
        checks.failed(
            "meter coverage", "there are no two moments at which all meters were read", Verdict.INCOMPLETE
        )
    checks.passed("meter coverage", Label.PROVEN, "every interval of the period has its reading")


def common_intervals(meters: Iterable[Meter]) -> list[tuple[int, int, int]]:
    """Return (start, end, Wh drawn) between those times at which every meter was read.

    Export and corrections downwards are taken off, corrections upwards added.
    """
    rows = list(meters)
    names = {
        (row.meter, row.direction) for row in rows if row.direction in (Direction.IMPORT, Direction.EXPORT)
    }
    if not names:
        return []
    times = [
        {edge for row in rows if (row.meter, row.direction) == name for edge in (row.start_us, row.end_us)}
        for name in names
    ]
    edges = sorted(set.intersection(*times))
    signs = {
        Direction.IMPORT: 1,
        Direction.EXPORT: -1,
        Direction.CORRECTION_UP: 1,
        Direction.CORRECTION_DOWN: -1,
    }
    drawn = [0] * max(0, len(edges) - 1)
    for row in rows:
        index = bisect_right(edges, row.start_us) - 1
        # An edge is common to all registers, so only corrections can reach over one; those count for no interval.
        if 0 <= index < len(drawn) and row.end_us <= edges[index + 1]:
            drawn[index] += signs[Direction(row.direction)] * (row.end_wh - row.start_wh)
    return [(start, end, wh) for (start, end), wh in zip(pairwise(edges), drawn, strict=True)]


def least_hashes(bins: dict[int, NDArray[np.int64]], start_us: int, end_us: int, scale: int) -> float:
    """Return how many hashes were at least made in an interval, by the shares of its whole minutes."""
    first, last = -(-start_us // BIN_US), end_us // BIN_US
    counts = sum((bins[bin_] for bin_ in bins if first <= bin_ < last), np.zeros(129, np.int64))
    if not counts.any():
        return 0.0
    weights = np.ldexp(1.0, np.arange(129))
    low, _ = weighted_intervals(
        float(weights @ counts),
        float(weights**2 @ counts),
        float(weights[np.flatnonzero(counts).max()]),
        _CONFIDENCE,
    )
    return float(low) * scale


def best_efficiency(standing: Standing) -> int:
    """Return the J/TH of the best declared machine in millijoules; learned bounds count before declarations."""
    groups = standing.all(Inventory)
    figures = [
        next(
            figure
            for figure in (group.learned_low_mj_per_th, group.learned_mj_per_th, group.declared_mj_per_th)
            if figure is not None
        )
        for group in groups
    ]
    return max(min(figures, default=BEST_MACHINE_MJ_PER_TH), BEST_MACHINE_MJ_PER_TH)


def check_energy_bound(checks: Checks, facts: Facts, work: Work, efficiency: int, scale: int) -> None:
    """Check that no interval has less energy than its work needs with the best declared machine."""
    intervals = common_intervals(facts.meters)
    if not intervals:
        return
    start, end = intervals[0][0], intervals[-1][1]
    whole = (start, end, sum(wh for _, _, wh in intervals))
    for from_us, to_us, wh in (*intervals, whole):
        needed_wh = least_hashes(work.bins, from_us, to_us, scale) / 1e12 * efficiency / 1000 / 3600
        if wh + 1 < needed_wh:
            checks.failed(
                "energy bound",
                f"from {from_us // 1_000_000} to {to_us // 1_000_000}: {wh} Wh were metered, the work shown needs at"
                f" least {needed_wh:.0f} Wh at {efficiency / 1000:g} J/TH",
            )
    checks.passed(
        "energy bound",
        Label.ASSERTED,
        f"{len(intervals)} intervals have the energy that their work needs at {efficiency / 1000:g} J/TH"
        " (declared inventory)",
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
        f"{len(facts.certificates)} certificates, each cancelled once within these bundles; {len(facts.sources)} intervals",
    )


def _check_certificate(checks: Checks, certificate: Certificate) -> str | None:
    """Return the registry whose signature a certificate bears; None: it bears none."""
    if not 0 < certificate.end_us - certificate.start_us <= HOUR_US:
        checks.failed("sources", f"certificate {certificate.id!r} is of more than an hour")
    if not certificate.signature:
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


def metered_wh(facts: Facts) -> int:
    """Return the energy drawn over the period."""
    return sum(wh for _, _, wh in common_intervals(facts.meters))


__all__ = [
    "BEST_MACHINE_MJ_PER_TH",
    "best_efficiency",
    "check_coverage",
    "check_energy_bound",
    "check_meters",
    "check_sources",
    "common_intervals",
    "least_hashes",
    "metered_wh",
    "total_work",
]
