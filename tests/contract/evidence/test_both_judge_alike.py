"""What both verifiers must say of bundles that are honest in an unusual way, or dishonest in a small one.

Each case names the verdict and every check that fails, in Hashwerk's own verifier as in the one in contrib/.
"""

import importlib.util
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from hashwerk.cli import cli
from hashwerk.errors import EvidenceError
from hashwerk.evidence import keys, records, tree
from hashwerk.evidence.bundle import Claim, Stamp, StampKind
from hashwerk.evidence.epoch import Epoch, Group
from hashwerk.evidence.leaf import NO_SUMS, SUM_COLUMNS, encode_record, record_hash, record_sums
from hashwerk.evidence.payout import fpps, share_out
from hashwerk.evidence.share_leaf import LEAF_DTYPE
from hashwerk.evidence.verify import together, verify_bundle, verify_bundles
from hashwerk.evidence.verify.run import Options, inspect_bundle
from hashwerk.evidence.verify.seen import SeenHashes
from support.evidence import (
    ACCOUNTS,
    ALL_CLAIMS,
    EPOCH_US,
    NETWORK_WORK,
    REWARD_SAT,
    RULE,
    Edit,
    EditedSite,
    EvidenceSite,
    altered,
    decoded,
    find_share,
    once,
    resign,
    seeded_key,
    without,
    write_bundle,
)

PROGRAM = Path(__file__).resolve().parents[3] / "contrib" / "verifier" / "verify_bundle.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_bundle_again", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


second = load()


def judged(data: bytes) -> dict[str, tuple[str, set[str]]]:
    """Return verdict and failed checks of both."""
    report = verify_bundle(io.BytesIO(data), Options(threads=1))
    _, other = second.verify(data)
    return {
        "ours": (str(report.verdict), {check.name for check in report.failures()}),
        "theirs": (other.verdict(), set(other.failed) | set(other.lacking)),
    }


def both(verdict: str, *names: str) -> dict[str, tuple[str, set[str]]]:
    return {"ours": (verdict, set(names)), "theirs": (verdict, set(names))}


def edited(edit: Edit, epochs: int = 4, **options: object) -> bytes:
    return EditedSite(edit, **options).run(epochs).bundle()


# Payouts


def test_payouts_are_checked_without_a_claim() -> None:
    site = EvidenceSite(name="na").run(2)
    assert judged(site.bundle(claims=Claim.ENERGY)) == both("valid")
    wrong = EditedSite(altered(records.Payout, fee_sat=7)).run(4)
    assert judged(wrong.bundle(claims=Claim.ENERGY)) == both("invalid", "payouts")
    late = EvidenceSite(name="na").run(4)
    found = [judged(late.bundle(first=first, claims=Claim.ENERGY)) for first in range(1, 5)]
    assert found == [both("valid")] * 4, "what reaches back before the bundle was not claimed"


def test_unbound_work_beside_bound_work_is_not_paid() -> None:
    site = EvidenceSite(name="mixed", pool=True).run(4)
    assert {records.UNBOUND, *ACCOUNTS} <= {group.account for epoch in site.epochs for group in epoch.groups}
    assert any(isinstance(record, records.Payout) for epoch in site.epochs for record in decoded(epoch))
    assert judged(site.bundle()) == both("valid")
    inspected = inspect_bundle(io.BytesIO(site.bundle()), Options(keep_order=True, threads=1))
    assert inspected.order is not None
    assert set(inspected.order.accounts) == set(ACCOUNTS)
    assert len(inspected.order.account) == len(site.order)
    told = inspected.report.statement["work"]["upstream"]
    theirs = second.statement(second.verify(site.bundle())[0])["upstream"]
    assert {(row["pool"], row["account"], row["shares"], int(row["hashes"])) for row in told} == {
        (row["pool"], row["account"], row["shares"], row["hashes"]) for row in theirs
    }
    assert len(theirs) == 3, "two accounts, and what no prefix names"


def test_thinned_epochs_are_paid_by_their_leaves() -> None:
    site = EvidenceSite(name="thinned", thinning=6).run(4)
    positions = [int(p) for group in site.last.groups for p in group.leaves["position"]]
    assert max(positions) >= len(positions), "positions have gaps"
    assert any(isinstance(record, records.Payout) for epoch in site.epochs for record in decoded(epoch))
    assert judged(site.bundle()) == both("valid")
    for changes in (
        {"full_root": bytes(32), "full_shares": 0, "full_work": 0},
        {"full_root": bytes(32)},
        {"full_work": 0},
        {"full_shares": site.last.header.shares - 1},
        {"full_work": site.last.header.full_shares - 1},
    ):
        forged = [*site.epochs[:4], resign(site.last, site.key, **changes)]
        assert judged(write_bundle(site, forged)) == both("invalid", "sums"), changes


def payout_again(site: EvidenceSite, state: int, **changes: object) -> records.Payout:
    """Return the site's first payout once more, in another state."""
    first = next(r for e in site.epochs for r in decoded(e) if isinstance(r, records.Payout))
    return msgspec.structs.replace(first, state=state, **changes)


def block_again(site: EvidenceSite, state: int, **changes: object) -> records.Block:
    first = next(r for e in site.epochs for r in decoded(e) if isinstance(r, records.Block))
    return msgspec.structs.replace(first, state=state, **changes)


def one_block() -> EvidenceSite:
    """Return a site that has found exactly one block."""
    site = EvidenceSite(name="one", certificates=False)
    while not site.blocks:
        site.epoch(shares=4)
    assert len(site.blocks) == 1
    return site


def reversed_(site: EvidenceSite) -> list[records.Record]:
    return [block_again(site, 4), payout_again(site, 2, entries=(), fee_sat=0)]


@pytest.mark.parametrize(
    ("story", "verdict"),
    [
        (lambda s: [[block_again(s, 3), payout_again(s, 1)]], "valid"),
        (lambda s: [[block_again(s, 3)], [payout_again(s, 1)]], "valid"),
        (lambda s: [reversed_(s)], "valid"),
        (lambda s: [reversed_(s), [block_again(s, 1), payout_again(s, 0)]], "valid"),
        (lambda s: [[payout_again(s, 0)]], "invalid"),
        (lambda s: [[payout_again(s, 1)]], "invalid"),
        (lambda s: [[block_again(s, 4)]], "invalid"),
        (lambda s: [[payout_again(s, 2, entries=(), fee_sat=0)]], "invalid"),
        (lambda s: [[block_again(s, 3), payout_again(s, 1)], [payout_again(s, 1)]], "invalid"),
        (lambda s: [[block_again(s, 3), payout_again(s, 1)], reversed_(s)], "invalid"),
        (lambda s: [reversed_(s), [payout_again(s, 2, entries=(), fee_sat=0)]], "invalid"),
        (lambda s: [reversed_(s), [payout_again(s, 0)]], "invalid"),
    ],
    ids=[
        "matures", "matures-later", "reorganised", "reorganised-back", "paid-twice", "mature-too-early",
        "left-standing", "reversed-without-cause", "matured-twice", "taken-back", "reversed-twice", "paid-though-gone",
    ],
)  # fmt: skip
def test_a_block_s_payout_follows_what_becomes_of_it(
    story: Callable[[EvidenceSite], list[list[records.Record]]], verdict: str
) -> None:
    site = one_block()
    for logged in story(site):
        site.epoch(logged, shares=0)
    assert judged(site.bundle()) == both(verdict, *(["payouts"] if verdict == "invalid" else []))


def test_a_round_that_grows_because_the_block_before_was_reversed_is_paid_anew() -> None:
    """Proportional: each record is right by what was known in its epoch; the last one counts."""
    rule = msgspec.structs.replace(RULE, scheme="proportional")
    site = EvidenceSite(name="rounds", rule=rule)
    while len(site.blocks) < 2:
        site.epoch(shares=30)
    assert judged(site.bundle()) == both("valid")
    first, other = site.blocks[:2]
    gone = msgspec.structs.replace(logged_block(site, first.hash), state=4)
    back = msgspec.structs.replace(logged_payout(site, first.hash), state=2, entries=(), fee_sat=0)
    blocks = [
        block._replace(state="reversed" if block.hash == first.hash else "pending") for block in site.blocks
    ]
    again = next(p for p in share_out(rule, site.share_order(), blocks) if p.block.hash == other.hash)
    entries = tuple(records.PayoutEntry(account=a, sat=s) for a, s in again.entries.items())
    anew = msgspec.structs.replace(logged_payout(site, other.hash), entries=entries)
    assert anew != logged_payout(site, other.hash)
    site.epoch([gone, back, anew], shares=0)
    assert judged(site.bundle()) == both("valid")


def logged_block(site: EvidenceSite, hash_: bytes) -> records.Block:
    return next(
        r for e in site.epochs for r in decoded(e) if isinstance(r, records.Block) and r.hash == hash_
    )


def logged_payout(site: EvidenceSite, hash_: bytes) -> records.Payout:
    return next(
        r for e in site.epochs for r in decoded(e) if isinstance(r, records.Payout) and r.block_hash == hash_
    )


# Blocks and keys


@pytest.mark.parametrize(
    "changes",
    [{"height": 701}, {"reward_sat": 1}, {"job": 99}, {"found_us": 1}, {"hash": b"\x07" * 32}, {"state": 5}],
)
def test_a_block_is_the_share_it_names(changes: dict[str, object]) -> None:
    bundle = edited(lambda n, r: without(records.Payout)(n, altered(records.Block, **changes)(n, r)))
    assert judged(bundle) == both("invalid", "blocks")


def test_a_block_from_before_the_bundle_is_no_contradiction() -> None:
    site = one_block()
    site.epoch([block_again(site, 3)], shares=0)
    assert judged(site.bundle(first=len(site.epochs) - 1)) == both("valid")


def test_payouts_name_their_block_s_height_and_share() -> None:
    for changes in ({"height": 1}, {"position": 59}):
        assert judged(edited(altered(records.Payout, **changes))) == both("invalid", "payouts")


def test_key_events_that_are_logged_are_those_of_the_chain() -> None:
    genesis = EvidenceSite(name="edited").id
    assert judged(edited(once(0, records.KeyRecord(event=genesis)))) == both("valid")
    for number, event in ((2, genesis), (2, b"\x07" * 32)):
        assert judged(edited(once(number, records.KeyRecord(event=event)))) == both("invalid", "key chain")


# Meters


def exchanged(at: int, declared: int, *, serial: str = "EM-2") -> Edit:
    """From epoch ``at`` on the meter has another serial, which epoch ``declared`` declares."""

    def edit(number: int, logged: list[records.Record]) -> list[records.Record]:
        after = altered(records.Meter, serial="EM-2")(number, logged) if number >= at else logged
        return after + [records.Configuration(name="meter/main", value=serial)] * (number == declared)

    return edit


def test_an_exchange_of_meters_is_declared_by_its_epoch() -> None:
    assert judged(edited(exchanged(3, 1))) == both("valid")
    assert judged(edited(exchanged(3, 3))) == both("valid")
    assert judged(edited(exchanged(3, 4))) == both("invalid", "meters")
    assert judged(edited(exchanged(3, 1, serial="EM-3"))) == both("invalid", "meters")


def test_a_missed_interval_is_filled_and_leaves_it_incomplete() -> None:
    missed = edited(lambda n, r: without(records.Meter)(n, r) if n == 2 else r)
    assert judged(missed) == both("incomplete", "meter coverage")
    statement = verify_bundle(io.BytesIO(missed), Options(threads=1)).statement
    assert statement["energy"]["metered"]["value"] == 20_000
    assert statement["energy"]["filled"]["value"] == 5_000
    swapped = edited(lambda n, r: exchanged(3, 1)(n, without(records.Meter)(n, r) if n == 2 else r))
    assert judged(swapped) == both("incomplete", "meter coverage"), "nobody knows what was drawn between"


@pytest.mark.parametrize("changes", [{"direction": 4}, {"end_wh": 0}])
def test_a_register_without_sense_is_a_matter_of_meters(changes: dict[str, object]) -> None:
    site = EvidenceSite(certificates=False).run(4)
    logged = altered(records.Meter, **changes)(4, decoded(site.last))
    whole = [*site.epochs[:4], resign_records(site, logged)]
    found = judged(write_bundle(site, whole, claims=Claim.PAYOUT))
    assert found["ours"][0] == found["theirs"][0] == "invalid"
    assert "meters" in found["ours"][1] & found["theirs"][1]


def resign_records(site: EvidenceSite, logged: list[records.Record]) -> Epoch:
    """Sign the last epoch with records that nobody honest would close; what has no sums adds nothing."""
    encoded = tuple(encode_record(record) for record in logged)
    sums = []
    for record in logged:
        try:
            sums.append(record_sums(record))
        except EvidenceError:
            sums.append(NO_SUMS)
    nodes = [tree.Node(record_hash(data), one, 1) for data, one in zip(encoded, sums, strict=True)]
    root = tree.root(tree.RECORDS, nodes)
    totals = dict(zip(SUM_COLUMNS, root.sums, strict=True))
    signed = resign(site.last, site.key, records_root=root.hash, records=root.count, **totals)
    return Epoch(signed.signed, encoded, site.last.groups)


# Names of checks


@pytest.mark.parametrize(
    "edit",
    [
        lambda r: [*r, next(x for x in r if isinstance(x, records.Job))],
        lambda r: altered(records.Job, nbits=0x01000000)(4, r),
        lambda r: altered(records.Job, upstream=2)(4, r),
        lambda r: altered(records.Job, work_log2=128)(4, r),
    ],
)
def test_a_job_that_cannot_be_is_a_matter_of_binding(
    edit: Callable[[list[records.Record]], list[records.Record]],
) -> None:
    site = EvidenceSite(shares=6).run(4)
    found = judged(write_bundle(site, [*site.epochs[:4], resign_records(site, edit(decoded(site.last)))]))
    assert found["ours"][0] == found["theirs"][0] == "invalid"
    assert "binding" in found["ours"][1] & found["theirs"][1], found
    assert "container" not in found["ours"][1] | found["theirs"][1], found


def test_a_header_time_far_ahead_is_a_matter_of_shares() -> None:
    site = EvidenceSite().run(3)
    start = site.last.header.end_us
    job = msgspec.structs.replace(site.job(ACCOUNTS[0], start))
    rows = [find_share(job, 0, start + 8_000_000_000, session=0, work_log2=4)[0]]
    group = Group(ACCOUNTS[0], np.array(rows, site.last.groups[0].leaves.dtype))
    group.leaves["time_us"] = start
    site._close(start + EPOCH_US, [job, site.meter(start, start + EPOCH_US)], [group])
    assert judged(site.bundle()) == both("invalid", "shares")


def test_epoch_0_has_no_duration() -> None:
    site = EvidenceSite(shares=3).run(1)
    late = resign(site.epochs[0], site.key, end_us=site.start_us + EPOCH_US)
    found = judged(write_bundle(site, [late]))
    assert found["ours"][0] == found["theirs"][0] == "invalid"
    assert "epoch chain" in found["ours"][1] & found["theirs"][1]


def test_a_certificate_is_signed_or_not_but_not_by_half() -> None:
    for changes in ({"signature": b""}, {"registry_key": b""}):
        assert judged(edited(altered(records.Certificate, **changes))) == both("invalid", "sources")
    bare = {"signature": b"", "registry_key": b""}
    assert judged(edited(altered(records.Certificate, **bare))) == both("valid")


# Stamps


def opentimestamps(digest: bytes, tree: bytes) -> bytes:
    magic = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94"
    return magic + b"\x01\x08" + digest + tree


def attestation(height: int) -> bytes:
    return b"\x00" + bytes.fromhex("0588960d73d71901") + b"\x01" + bytes([height])


def response(imprint: bytes, status: int = 0) -> bytes:
    """Return an RFC 3161 response that nobody signed."""

    def der(tag: int, *parts: bytes) -> bytes:
        body = b"".join(parts)
        size = bytes([len(body)]) if len(body) < 128 else b"\x81" + bytes([len(body)])
        return bytes([tag]) + size + body

    sha256 = der(0x30, bytes.fromhex("0609608648016503040201"), b"\x05\x00")
    info = der(
        0x30, b"\x02\x01\x01", bytes.fromhex("06032a0304"), der(0x30, sha256, der(0x04, imprint)), b"\x02\x01\x07",
        der(0x18, b"20260921120000Z"),
    )  # fmt: skip
    content = der(0x30, bytes.fromhex("060b2a864886f70d0109100104"), der(0xA0, der(0x04, info)))
    signed = der(0x30, b"\x02\x01\x03", der(0x31, sha256), content, der(0x31))
    token = der(0x30, bytes.fromhex("06092a864886f70d010702"), der(0xA0, signed))
    return der(0x30, der(0x30, bytes([2, 1, status])), token)


def garbage(site: EvidenceSite) -> Iterator[tuple[str, int, int, bytes, str]]:
    """Yield name, epoch, kind, data and verdict of stamps that nobody pinned."""
    hash_ = site.last.signed.hash()
    good = opentimestamps(hash_, b"\xf0\x04salt\x08" + attestation(1))
    yield "ots", 4, 1, good, "valid"
    yield (
        "ots-fork",
        4,
        1,
        opentimestamps(hash_, b"\xff" + attestation(1) + b"\x08" + attestation(2)),
        "valid",
    )
    yield "ots-trailing", 4, 1, good + b"\x00", "invalid"
    yield "ots-cut", 4, 1, good[:-1], "invalid"
    yield "ots-other", 4, 1, opentimestamps(bytes(32), attestation(1)), "invalid"
    yield "ots-unknown-step", 4, 1, opentimestamps(hash_, b"\x77" + attestation(1)), "invalid"
    yield "ots-noise", 4, 1, b"noise", "invalid"
    yield "ots-empty", 4, 1, b"", "invalid"
    yield "rfc", 4, 2, response(hash_), "valid"
    yield "rfc-refused", 4, 2, response(hash_, status=2), "invalid"
    yield "rfc-other", 4, 2, response(bytes(32)), "invalid"
    yield "rfc-cut", 4, 2, response(hash_)[:-1], "invalid"
    yield "rfc-trailing", 4, 2, response(hash_) + b"\x00", "invalid"
    yield "rfc-noise", 4, 2, b"noise", "invalid"
    yield "rfc-empty", 4, 2, b"", "invalid"
    yield "witness-noise", 4, 3, b"noise", "invalid"
    yield "unknown-kind", 4, 4, b"", "invalid"
    yield "kind-0", 4, 0, b"", "invalid"
    yield "too-large", 4, 1, bytes(1 << 17), "invalid"
    yield "no-epoch", 9, 1, good, "invalid"


STAMPED = EvidenceSite(name="stamped", shares=6).run(4)


@pytest.mark.parametrize(
    ("epoch", "kind", "data", "verdict"),
    [case[1:] for case in garbage(STAMPED)],
    ids=[case[0] for case in garbage(STAMPED)],
)
def test_stamps_that_say_nothing(epoch: int, kind: int, data: bytes, verdict: str) -> None:
    bundle = STAMPED.bundle(stamps=(Stamp(epoch=epoch, kind=kind, data=data),))
    assert judged(bundle) == both(verdict, *(["external time"] if verdict == "invalid" else []))


def test_a_stamp_may_be_of_an_epoch_before_the_period() -> None:
    early = STAMPED.epochs[2].signed.hash()
    for first, verdict in ((3, "valid"), (4, "valid")):
        stamp = Stamp(epoch=2, kind=StampKind.OPENTIMESTAMPS, data=opentimestamps(early, attestation(1)))
        assert judged(STAMPED.bundle(first=first, stamps=(stamp,), claims=Claim(0))) == both(verdict)


# Keys


def test_epochs_before_the_period_need_no_time_before_a_revocation() -> None:
    """The first epoch of the period is signed by the new key, and names the hash of the one before."""
    site = EvidenceSite(name="revoked", shares=6).run(2)
    new, after = seeded_key("new"), seeded_key("after")
    end = site.last.header.end_us
    site.key_events.append(
        keys.revoke(
            site.key_events[0], site.recovery, new, keys.public_bytes(after), from_epoch=3, now_us=end
        )
    )
    site.key = new
    site.epoch()
    assert judged(site.bundle(first=3, claims=ALL_CLAIMS & ~Claim.PAYOUT)) == both("valid")
    whole = judged(site.bundle(claims=ALL_CLAIMS))
    assert whole == both("invalid", "key chain")


def test_declarations_hold_no_group_that_is_gone() -> None:
    site = EvidenceSite(shares=6).run(2)
    gone = next(r for r in site.standings[1].records if isinstance(r, records.Inventory))
    standing = (msgspec.structs.replace(gone, machines=0), *site.standings[1].records[1:])
    found = judged(write_bundle(site, site.epochs[1:], first=1, standing=standing))
    assert found == both("invalid", "standing")


def test_full_pay_per_share_pays_each_epoch_once() -> None:
    """A record pays the epochs that are over and were not paid before."""
    rule = records.PayoutRule(scheme="fpps", fee_ppm=20_000, window_ppm=0, threshold_sat=0)

    for third, verdict in ((False, "valid"), (True, "invalid")):
        site = EditedSite(no_block_payouts, rule=rule).run(2)
        for since, until in ((1, 3), (1 if third else 3, 5)):
            while len(site.epochs) < until:
                site.epoch()
            site.epoch([due(site, rule, since, until)])
        expected = both(verdict, *(["payouts"] if third else []))
        assert judged(site.bundle()) == expected


def no_block_payouts(_: int, logged: list[records.Record]) -> list[records.Record]:
    return [r for r in logged if not isinstance(r, records.Payout) or r.block_hash == bytes(32)]


def due(site: EvidenceSite, rule: records.PayoutRule, since: int, until: int) -> records.Payout:
    """Return what full pay per share gives for epochs."""
    work: dict[tuple[bytes, int, int], int] = {}
    for epoch in site.epochs[since:until]:
        for group in epoch.groups:
            name = group.account, REWARD_SAT, NETWORK_WORK
            work[name] = work.get(name, 0) + 16 * len(group.leaves)
    amounts = fpps(rule, work)
    return records.Payout(
        block_hash=bytes(32), height=since, at_us=0, position=until, reward_sat=sum(amounts.values()) + 1000, fee_sat=1000,
        state=1, entries=tuple(records.PayoutEntry(account=a, sat=s) for a, s in amounts.items()),
    )  # fmt: skip


def chain_of_two(least: int) -> tuple[EvidenceSite, EvidenceSite, list[int], list[int]]:
    """Return a mine that works for a pool, and that pool: another of ours. Both have every share that is worth 2^4 hashes.

    The mine credits its machines with 2^least, so it also has shares that the pool never saw.
    Returned are also what each credits for its shares.
    """
    pool = EvidenceSite(name="upper", shares=0, certificates=False)
    mine = EvidenceSite(name="lower", shares=0, certificates=False)
    mine.epoch([records.PrefixTable(upstream="upper", work_log2=0, prefixes=())])
    pool.epoch()
    start = pool.last.header.end_us
    bound = pool.job(ACCOUNTS[0], start)
    unbound = msgspec.structs.replace(
        bound, account=records.UNBOUND, upstream=1, source="upper", site_key=bytes(32), epoch_root=bytes(32), work_log2=least
    )  # fmt: skip
    low, high = [], []
    for position in range(80):
        row, hash_ = find_share(unbound, position, start + position, session=1, work_log2=least)
        low.append(row)
        if int.from_bytes(hash_, "little") >> (256 - bound.work_log2) == 0:
            high.append((len(high), *row[1:]))
    for site, job, rows in ((mine, unbound, low), (pool, bound, high)):
        end = start + EPOCH_US
        group = Group(job.account, np.array(rows, LEAF_DTYPE))
        site._close(end, [job, site.meter(start, end)], [group])
    return mine, pool, [1 << least] * len(low), [1 << bound.work_log2] * len(high)


@pytest.mark.parametrize("least", [4, 2])
def test_in_a_chain_of_mines_each_share_counts_once(tmp_path: Path, least: int) -> None:
    mine, pool, low, high = chain_of_two(least)
    files = [tmp_path / "lower.hwe", tmp_path / "upper.hwe"]
    for site, file in zip((mine, pool), files, strict=True):
        file.write_bytes(site.bundle(claims=Claim.ENERGY))
    reports = verify_bundles(files, Options(threads=1))
    assert [report.verdict for report in reports] == ["valid"] * 2, [report.failures() for report in reports]
    for report, other in zip(reports, files[::-1], strict=True):
        said = next(check.detail for check in report.checks if check.name == "other bundles")
        assert f"{len(high)} shares of a chain with {other}" in said
    # Credited alike, the share is the pool's, where it is bound; else the mine's, which has the easier ones too.
    once = (
        {"shares": len(high), "hashes": sum(high)} if least == 4 else {"shares": len(low), "hashes": sum(low)}
    )
    figures = together(reports)["figures"]
    assert figures["shares"]["value"] == once["shares"] < len(low) + len(high)
    assert int(figures["hashes"]["value"]) == once["hashes"] * mine.scale
    assert figures["hashes"]["low"] < once["hashes"] * mine.scale < figures["hashes"]["high"]
    run = subprocess.run(
        [sys.executable, PROGRAM, "--json", *files], capture_output=True, check=False, timeout=30
    )
    theirs = json.loads(run.stdout)
    assert [one["verdict"] for one in theirs["bundles"]] == ["valid"] * 2
    assert theirs["together"]["shares"] == once["shares"]
    assert theirs["together"]["hashes"] == once["hashes"] * mine.scale
    shown = CliRunner().invoke(cli, ["verify", *map(str, files)])
    assert shown.exit_code == 0, shown.output
    assert f"{once['shares']:,} shares" in shown.output


def test_work_for_one_pool_in_two_bundles_is_a_contradiction(tmp_path: Path) -> None:
    mine, _, _, _ = chain_of_two(4)
    rival = EvidenceSite(name="rival", shares=0, certificates=False)
    rival.epoch([records.PrefixTable(upstream="upper", work_log2=0, prefixes=())])
    held = mine.last
    jobs = [record for record in decoded(held) if isinstance(record, records.Job)]
    start = rival.last.header.end_us
    rival._close(start + EPOCH_US, [*jobs, rival.meter(start, start + EPOCH_US)], held.groups)
    files = [tmp_path / "lower.hwe", tmp_path / "rival.hwe"]
    for site, file in zip((mine, rival), files, strict=True):
        file.write_bytes(site.bundle(claims=Claim.ENERGY))
    reports = verify_bundles(files, Options(threads=1))
    assert [report.verdict for report in reports] == ["invalid"] * 2
    assert "80 shares are also claimed by" in reports[0].failures()[0].detail
    assert together(reports)["figures"] == {}
    run = subprocess.run(
        [sys.executable, PROGRAM, "--json", *files], capture_output=True, check=False, timeout=30
    )
    theirs = json.loads(run.stdout)
    assert [one["verdict"] for one in theirs["bundles"]] == ["invalid"] * 2
    assert theirs["together"] is None


def test_bundles_of_many_shares_are_compared_out_of_files() -> None:
    some = np.random.default_rng(5).integers(0, 256, (3_000, 32), np.uint8)
    held, spilled = SeenHashes(), SeenHashes(max_held=100)
    for seen, part in ((held, some[:2_000]), (spilled, some[1_500:])):
        for at in range(0, len(part), 500):
            rows = part[at : at + 500]
            positions, works = np.arange(len(rows), dtype=np.uint32), np.full(len(rows), 5, np.uint8)
            seen.add(rows, 1, positions, works, scale=7, is_bound=True)
    first, second_parts = held.parts(), spilled.parts()
    assert first is not None
    assert second_parts is not None
    common = sum(
        len(np.intersect1d(a["first"], b["first"])) for a, b in zip(first, second_parts, strict=True)
    )
    assert common == 500
    spilled.close()
    assert spilled.parts() is None
    assert held.parts() is not None
