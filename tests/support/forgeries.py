"""The 22 attacks of the evidence facts, each built from a good bundle: what a verifier must refuse, and why.

Most are the operator's own: whatever he holds the key to is signed and sealed again, so it is not the seal that
catches them. `all_forgeries` gives them all, for any verifier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from hashwerk.evidence import keys, records, share_tree, tree
from hashwerk.evidence.bundle import Claim
from hashwerk.evidence.epoch import Epoch, EpochFrame, Group, close_epoch
from hashwerk.evidence.leaf import encode_record
from hashwerk.evidence.payout import apportion
from hashwerk.evidence.share_leaf import leaf_hashes
from support.evidence import (
    ACCOUNTS,
    ALL_CLAIMS,
    EPOCH_US,
    EvidenceSite,
    decoded,
    find_share,
    resign,
    seeded_key,
    with_records,
    write_bundle,
)


class Forgery:
    """A bundle to be refused, by which check, and words of the reason."""

    def __init__(self, data: bytes, check: str, *words: str) -> None:
        self.data, self.check, self.words = data, check, words
        self.name = ""


class Contradiction:
    """Two bundles, each valid alone, that contradict each other."""

    def __init__(self, first: bytes, second: bytes, *words: str) -> None:
        self.first, self.second, self.words = first, second, words
        self.name = ""


def all_forgeries(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    """Yield every forgery of a site of four epochs, with a name that begins with the number of its attack."""
    for name, forge in globals().items():
        if name.startswith("forge_"):
            for number, forgery in enumerate(forge(site)):
                forgery.name = f"{name.removeprefix('forge_')}-{number}"
                yield forgery


def reclosed(
    site: EvidenceSite,
    number: int,
    *,
    logged: list[records.Record] | None = None,
    groups: list[Group] | None = None,
    standing: object = None,
) -> list[Epoch]:
    """Close an epoch again with other leaves, as the owner of the key can; later ones stay as they were."""
    old = site.epochs[number]
    header = old.header
    frame = EpochFrame(
        site=header.site, number=number, start_us=header.start_us, end_us=header.end_us, previous=header.previous,
        key_events=header.key_events, standing=standing or site.standings[number],
    )  # fmt: skip
    new = close_epoch(
        frame,
        site.key,
        decoded(old) if logged is None else logged,
        list(old.groups) if groups is None else groups,
    )
    return [*site.epochs[:number], new, *site.epochs[number + 1 :]]


def changed(group: Group, edit: Callable[[np.ndarray], object]) -> Group:
    leaves = group.leaves.copy()
    result = edit(leaves)
    return Group(group.account, leaves if result is None else result)


def swap(found: list[records.Record], kind: type, **changes: object) -> list[records.Record]:
    """Return records of which the first of a kind is changed."""
    index = next(i for i, record in enumerate(found) if isinstance(record, kind))
    return [*found[:index], msgspec.structs.replace(found[index], **changes), *found[index + 1 :]]


def forge_1_duplicate_share(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    groups = list(site.last.groups)

    def twice(leaves: np.ndarray) -> None:
        for name in leaves.dtype.names:
            if name != "position":
                leaves[name][1] = leaves[name][0]

    groups[0] = changed(groups[0], twice)
    yield Forgery(write_bundle(site, reclosed(site, 4, groups=groups)), "duplicates", "are one header")


def forge_1_duplicate_over_two_epochs(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    """The same share again, one epoch later, with its job logged there too."""
    before = site.epochs[3]
    job = next(
        r for r in decoded(before) if isinstance(r, records.Job) and r.account == before.groups[0].account
    )
    groups = list(site.last.groups)

    def replay(leaves: np.ndarray) -> None:
        for name in leaves.dtype.names:
            if name not in ("position", "time_us"):
                leaves[name][0] = before.groups[0].leaves[name][0]

    groups[0] = changed(groups[0], replay)
    logged = [job, *decoded(site.last)]
    yield Forgery(
        write_bundle(site, reclosed(site, 4, logged=logged, groups=groups)),
        "duplicates",
        "epoch 3",
        "epoch 4",
    )


def forge_2_share_in_two_bundles(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    """Two sites of one operator claim the same upstream shares, which no tag binds."""
    bundles = []
    for name in ("north", "south"):
        other = EvidenceSite(name=name, shares=0, certificates=False)
        other.epoch([records.PrefixTable(upstream="pool", work_log2=4, prefixes=())])
        bare = EvidenceSite(name="same")
        job = bare.job(records.UNBOUND, other.last.header.end_us)
        job = msgspec.structs.replace(
            job, upstream=1, source="pool", site_key=bytes(32), epoch_root=bytes(32)
        )
        groups, _ = other.hash([job], other.last.header.end_us, 10)
        end = other.last.header.end_us + EPOCH_US
        other._close(end, [job, other.meter(end - EPOCH_US, end)], groups)
        bundles.append(other.bundle())
    yield Contradiction(bundles[0], bundles[1], "10 shares are also claimed")


def forge_3_share_replayed_from_another_epoch_or_site(
    site: EvidenceSite,
) -> Iterator[Forgery | Contradiction]:
    # From another site: its job names another key.
    other = EvidenceSite(name="other").run(1)
    yield Forgery(
        write_bundle(site, reclosed(site, 4, logged=decoded(other.last), groups=list(other.last.groups))),
        "binding",
        "a site key that never signed",
    )
    # From another site, whose key is replaced in the record: the coinbase says otherwise.
    forged = [
        msgspec.structs.replace(
            record, site_key=keys.public_bytes(site.key), epoch_root=site.epochs[3].signed.hash()
        )
        if isinstance(record, records.Job)
        else record
        for record in decoded(other.last)
    ]
    bundle = write_bundle(site, reclosed(site, 4, logged=forged, groups=list(other.last.groups)))
    yield Forgery(bundle, "binding", "commits to another site, epoch, account or share target")
    # From an earlier epoch of one's own: it carries the root of then.
    again = write_bundle(
        site, reclosed(site, 4, logged=decoded(site.epochs[1]), groups=list(site.epochs[1].groups))
    )
    yield Forgery(again, "duplicates", "epoch 1", "epoch 4")
    yield Forgery(again, "time bounds", "lies outside it")


def _target_account_or_key_chosen_after_the_fact(
    site: EvidenceSite, what: str, change: dict[str, object]
) -> Iterator[Forgery | Contradiction]:
    logged = [
        msgspec.structs.replace(record, **change)
        if isinstance(record, records.Job) and record.account == ACCOUNTS[0]
        else record
        for record in decoded(site.last)
    ]
    groups = list(site.last.groups)
    if what == "account":  # moved to where the account says it belongs
        merged = np.concatenate([g.leaves for g in groups if g.account in (ACCOUNTS[0], ACCOUNTS[1])])
        merged = merged[np.argsort(merged["position"])]
        kept = [g for g in groups if g.account not in (ACCOUNTS[0], ACCOUNTS[1])]
        groups = sorted([Group(ACCOUNTS[1], merged), *kept], key=lambda g: g.account)
    if what == "target":  # relabelling keeps the shares that are better by luck
        groups = [changed(g, lambda leaves: leaves[:1]) if g.account == ACCOUNTS[0] else g for g in groups]
    yield Forgery(
        write_bundle(site, reclosed(site, 4, logged=logged, groups=groups)),
        "binding",
        "commits to another site, epoch, account or share target",
    )


def forge_4_target_account_or_key_chosen_after_the_fact(
    site: EvidenceSite,
) -> Iterator[Forgery | Contradiction]:
    cases: list[tuple[Any, ...]] = [
        ("target", {"work_log2": 8}),
        ("account", {"account": ACCOUNTS[1]}),
        ("key", {"site_key": keys.public_bytes(seeded_key("thief"))}),
    ]
    for case in cases:
        yield from _target_account_or_key_chosen_after_the_fact(site, *case)


def forge_4_two_tags_in_one_coinbase(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    """A coinbase that commits to two accounts would let its work be claimed by either."""
    job = site.job(ACCOUNTS[0], site.last.header.start_us, root=site.epochs[3].signed.hash())
    at = job.coinbase2.index(b"\x6a\x20")
    output = bytes(8) + b"\x22" + job.coinbase2[at : at + 34]
    twice = job.coinbase2[:4] + b"\x04" + job.coinbase2[5 : at - 9] + output + job.coinbase2[at - 9 :]
    forged = msgspec.structs.replace(job, coinbase2=twice)
    row, _ = find_share(forged, 0, site.last.header.start_us, session=0, work_log2=4)
    groups = [Group(ACCOUNTS[0], np.array([row], site.last.groups[0].leaves.dtype))]
    logged = [forged, *(r for r in decoded(site.last) if isinstance(r, records.Meter))]
    yield Forgery(
        write_bundle(site, reclosed(site, 4, logged=logged, groups=groups)), "binding", "2 commitments"
    )


def forge_5_share_outside_its_time_bounds(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    groups = list(site.last.groups)

    def early(leaves: np.ndarray) -> Iterator[Forgery | Contradiction]:
        leaves["time_us"][3] = site.last.header.start_us - 60_000_000

    bundle = write_bundle(site, reclosed(site, 4, groups=[changed(groups[0], early), *groups[1:]]))
    yield Forgery(bundle, "time bounds", "lies outside it")

    def old(leaves: np.ndarray) -> None:
        leaves["ntime"][3] -= 4000

    bundle = write_bundle(site, reclosed(site, 4, groups=[changed(groups[0], old), *groups[1:]]))
    yield Forgery(bundle, "shares", "before its job's earliest")


def forge_6_work_credited_to_another_account(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    first, second = site.last.groups
    taken = first.leaves[:5]
    more = np.concatenate([second.leaves, taken])
    groups = [
        Group(first.account, first.leaves[5:]),
        Group(second.account, more[np.argsort(more["position"])]),
    ]
    bundle = write_bundle(site, reclosed(site, 4, groups=groups))
    yield Forgery(bundle, "binding", "belongs to another account")


def forge_7_leaf_removed(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    # Under the header that was signed.
    groups = (changed(site.last.groups[0], lambda leaves: leaves[1:]), *site.last.groups[1:])
    missing = Epoch(site.last.signed, site.last.records, groups)
    yield Forgery(write_bundle(site, [*site.epochs[:4], missing]), "sums", "no share stands at position")
    # Closed again without it: the place stays empty.
    yield Forgery(
        write_bundle(site, reclosed(site, 4, groups=list(groups))), "sums", "no share stands at position"
    )
    # A record.
    fewer = with_records(site.last, decoded(site.last)[:-1])
    yield Forgery(write_bundle(site, [*site.epochs[:4], fewer]), "records", "signed were")


def forge_8_leaf_edited(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    def edit(leaves: np.ndarray) -> None:
        leaves["worker"][0] += 1

    groups = (changed(site.last.groups[0], edit), *site.last.groups[1:])
    edited = Epoch(site.last.signed, site.last.records, groups)
    yield Forgery(write_bundle(site, [*site.epochs[:4], edited]), "sums", "do not lead to the root")

    def nonce(leaves: np.ndarray) -> None:
        leaves["nonce"][0] += 1

    groups = (changed(site.last.groups[0], nonce), *site.last.groups[1:])
    yield Forgery(
        write_bundle(site, reclosed(site, 4, groups=list(groups))), "shares", "does not meet its target"
    )
    logged = swap(decoded(site.last), records.Grid, carbon_free_ppm=1_000_000)
    other = with_records(site.last, logged)
    yield Forgery(write_bundle(site, [*site.epochs[:4], other]), "records", "do not lead to the root")


def forge_9_sum_edited(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    more = resign(site.last, site.key, work=site.last.header.work + 16)
    yield Forgery(write_bundle(site, [*site.epochs[:4], more]), "sums", "add up to")
    less = resign(site.last, site.key, import_wh=site.last.header.import_wh - 1)
    yield Forgery(write_bundle(site, [*site.epochs[:4], less]), "records", "signed were")


def forge_10_only_the_total_committed(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    """A tree whose nodes commit to the sum of their children only: amounts could move between them."""

    def total_only(level: list[tree.Node]) -> tree.Node:
        while len(level) > 1:
            above = []
            for i in range(0, len(level) - 1, 2):
                left, right = level[i], level[i + 1]
                work, count = left.sums[0] + right.sums[0], left.count + right.count
                text = work.to_bytes(16, "big") + count.to_bytes(8, "big") + left.hash + right.hash
                above.append(tree.Node(keys.tagged(b"\x02", text), (work,), count))
            level = above + level[len(level) & ~1 :]
        return level[0]

    roots = []
    for group in site.last.groups:
        level = share_tree.leaf_level(leaf_hashes(group.leaves), np.full(len(group.leaves), 4, np.uint8))
        roots.append((group.account, total_only([level.node(i) for i in range(len(level))])))
    root = tree.root(tree.ACCOUNTS, [share_tree.account_leaf(*one) for one in roots])
    broken = resign(site.last, site.key, accounts_root=root.hash)
    yield Forgery(write_bundle(site, [*site.epochs[:4], broken]), "sums", "do not lead to the root")


def forge_11_epoch_removed_reordered_or_dropped_at_the_end(
    site: EvidenceSite,
) -> Iterator[Forgery | Contradiction]:
    one, two, three, four = site.epochs[1:]
    genesis = site.epochs[0]
    yield Forgery(
        write_bundle(site, [genesis, one, three, four]), "epoch chain", "one was removed or reordered"
    )
    yield Forgery(
        write_bundle(site, [genesis, one, three, two, four]), "epoch chain", "one was removed or reordered"
    )
    bundle = write_bundle(site, [genesis, one, two, three], last_epoch=4, end_us=four.header.end_us)
    yield Forgery(bundle, "epoch chain", "are announced", "do not cover the period")
    # Numbered anew after one was taken out: the hash of the one before gives it away.
    renumbered = resign(three, site.key, number=2, start_us=two.header.start_us)
    yield Forgery(write_bundle(site, [genesis, one, renumbered]), "epoch chain", "does not name the hash")


def forge_12_root_not_the_one_in_the_coinbase(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    logged = [
        msgspec.structs.replace(record, epoch_root=site.epochs[2].signed.hash())
        if isinstance(record, records.Job)
        else record
        for record in decoded(site.last)
    ]
    yield Forgery(
        write_bundle(site, reclosed(site, 4, logged=logged)), "binding", "commits to another site, epoch"
    )
    unknown = EvidenceSite(name="site")
    unknown.epochs[0] = site.epochs[0]
    groups, found = site.hash(
        [unknown.job(ACCOUNTS[0], site.last.header.start_us, root=b"\x07" * 32)], site.last.header.start_us, 5
    )
    del found
    job = unknown.job(ACCOUNTS[0], site.last.header.start_us, root=b"\x07" * 32)
    row, _ = find_share(job, 0, site.last.header.start_us, session=0, work_log2=4)
    groups = [Group(ACCOUNTS[0], np.array([row], groups[0].leaves.dtype))]
    yield Forgery(
        write_bundle(site, reclosed(site, 4, logged=[job], groups=groups)),
        "anchor",
        "not of an epoch before it",
    )


def forge_13_energy_under_metered_against_the_inventory(_: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    frugal = EvidenceSite(wh=1_500).run(4)
    yield Forgery(frugal.bundle(), "energy bound", "1500 Wh were metered", "at 18 J/TH")


def _meter_register_set_back_or_swapped(
    site: EvidenceSite, change: dict[str, object], words: str
) -> Iterator[Forgery | Contradiction]:
    logged = swap(decoded(site.last), records.Meter, **change)
    yield Forgery(write_bundle(site, reclosed(site, 4, logged=logged)), "meters", words)


def forge_14_meter_register_set_back_or_swapped(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    cases: list[tuple[Any, ...]] = [
        ({"start_wh": 900_000, "end_wh": 905_000}, "set back"),
        ({"start_wh": 1_500_000, "end_wh": 1_505_000}, "jumps"),
        ({"serial": "EM-2"}, "swapped"),
        ({"multiplier_ppm": 500_000}, "multiplier"),
    ]
    for case in cases:
        yield from _meter_register_set_back_or_swapped(site, *case)


def forge_14_register_that_runs_backwards(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    logged = swap(decoded(site.last), records.Meter, end_wh=0)
    other = with_records(site.last, logged)
    yield Forgery(write_bundle(site, [*site.epochs[:4], other]), "meters", "set back")


def _certificate_cancelled_twice_or_of_another_hour(
    site: EvidenceSite, edit: Callable[[list[records.Record]], list[records.Record]], words: str
) -> Iterator[Forgery | Contradiction]:
    yield Forgery(write_bundle(site, reclosed(site, 4, logged=edit(decoded(site.last)))), "sources", words)


def forge_15_certificate_cancelled_twice_or_of_another_hour(
    site: EvidenceSite,
) -> Iterator[Forgery | Contradiction]:
    cases: list[tuple[Any, ...]] = [
        (lambda r: [*r, next(x for x in r if isinstance(x, records.Certificate))], "cancelled twice"),
        (
            lambda r: swap(
                r,
                records.SourceInterval,
                start_us=r[3].start_us - 7_200_000_000,
                end_us=r[3].start_us - 3_600_000_000,
            ),
            "of another hour",
        ),
        (lambda r: swap(r, records.SourceInterval, wh=12_001), "is used for"),
        (lambda r: swap(r, records.SourceInterval, source=int(records.Source.WIND)), "of another source"),
        (lambda r: swap(r, records.Certificate, wh=20_000), "not signed by its registry"),
        (lambda r: [x for x in r if not isinstance(x, records.Certificate)], "not in the bundle"),
    ]
    for case in cases:
        yield from _certificate_cancelled_twice_or_of_another_hour(site, *case)


def forge_15_certificate_in_two_bundles(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    yield Contradiction(
        site.bundle(), EvidenceSite(name="other").run(4).bundle(), "certificate", "also cancelled"
    )


def forge_16_scale_missing_or_changed(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    without = [r for r in site.standings[1].records if not isinstance(r, records.Scale)]
    yield Forgery(
        write_bundle(site, site.epochs[1:], first=1, standing=tuple(without)), "scale", "no scale is declared"
    )
    other = swap(list(site.standings[1].records), records.Scale, factor=1)
    yield Forgery(
        write_bundle(site, site.epochs[1:], first=1, standing=tuple(other)), "standing", "commits to other"
    )
    turned = EvidenceSite(name="turned").run(1)
    turned.epoch([records.Scale(factor=1, basis="now real")])
    turned.epoch()
    yield Forgery(turned.bundle(), "scale", "changes within the period")


def forge_16_scale_of_an_account_missing_or_changed(_: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    """Half of what each hash stands for, so that half the energy would do."""
    own = records.AccountScale(account=ACCOUNTS[0], factor=2 * 10**15, basis="a scale model")
    honest = EvidenceSite(name="scaled", wh=10_000, account_scales=(own,)).run(2)
    less = [r for r in honest.standings[1].records if not isinstance(r, records.AccountScale)]
    for standing in (less, swap(list(honest.standings[1].records), records.AccountScale, factor=1)):
        yield Forgery(
            write_bundle(honest, honest.epochs[1:], first=1, standing=tuple(standing)),
            "standing",
            "commits to other",
        )
    turned = EvidenceSite(name="scaled", wh=10_000, account_scales=(own,)).run(1)
    turned.epoch([msgspec.structs.replace(own, factor=10**15)])
    turned.epoch()
    yield Forgery(turned.bundle(), "scale", "of account", "changes within the period")
    late = EvidenceSite(name="late", wh=10_000).run(1)
    late.epoch([own])
    late.epoch()
    yield Forgery(late.bundle(), "scale", "of account", "changes within the period")
    nothing = msgspec.structs.replace(own, factor=0)
    yield Forgery(
        EvidenceSite(name="none", account_scales=(nothing,)).run(1).bundle(), "scale", "scale of zero"
    )


def forge_16_energy_for_the_hashes_counted_and_not_for_those_stood_for(
    _: EvidenceSite,
) -> Iterator[Forgery | Contradiction]:
    own = records.AccountScale(account=ACCOUNTS[0], factor=10**18, basis="a scale model")
    yield Forgery(
        EvidenceSite(name="starved", account_scales=(own,)).run(2).bundle(), "energy bound", "were metered"
    )


def forge_17_bundle_cut_short(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    for kept in (0, 10, 20, 1_000, -129, -1):
        yield Forgery(site.bundle()[:kept], "container", "cut short")


def forge_18_key_swapped_without_rotation(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    thief = seeded_key("thief")
    swapped = resign(site.last, thief, key=keys.public_bytes(thief))
    yield Forgery(write_bundle(site, [*site.epochs[:4], swapped]), "key chain", "which no key event allows")
    yield Forgery(write_bundle(site, site.epochs, key=thief), "seal", "does not sign for the site")
    # His own key event, which the committed next key does not fit.
    event = keys.KeyEvent(
        body=msgspec.structs.replace(
            site.key_events[0].body, kind=keys.ROTATION, previous=site.id, key=keys.public_bytes(thief),
            recovery=bytes(32), from_epoch=4,
        ),
        possession=bytes(64),
        authority=bytes(64),
    )  # fmt: skip
    hash_ = keys.event_hash(event.body)
    event = msgspec.structs.replace(
        event,
        possession=keys.sign(thief, keys.SIGN_KEY_EVENT, hash_),
        authority=keys.sign(site.key, keys.SIGN_KEY_EVENT, hash_),
    )
    bundle = write_bundle(site, [*site.epochs[:4], swapped], key=thief, key_events=[*site.key_events, event])
    yield Forgery(bundle, "key chain", "not committed before")


def forge_18_history_signed_again_from_a_middle_root(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    """The owner edits epoch 2 and signs all later ones again; their jobs still carry the roots of the first history."""
    history = list(site.epochs[:2])
    for number in (2, 3, 4):
        old = site.epochs[number]
        logged = decoded(old)
        if number == 2:
            logged.append(records.LocalFact(name="jobs", value="forty"))
        site_like = reclosed(site, number, logged=logged)[number]
        history.append(resign(site_like, site.key, previous=history[-1].signed.hash()))
    yield Forgery(write_bundle(site, history), "anchor", "not of an epoch before it")


def forge_18_revoked_key(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    """Epochs of a revoked key that nobody stamped before the revocation do not stand."""
    new, after = seeded_key("new"), seeded_key("after")
    event = keys.revoke(
        site.key_events[0], site.recovery, new, keys.public_bytes(after), from_epoch=5,
        now_us=site.last.header.end_us,
    )  # fmt: skip
    yield Forgery(
        write_bundle(site, site.epochs, key=new, key_events=[*site.key_events, event]),
        "key chain",
        "not stamped before it was revoked",
    )


def forge_19_payout_that_does_not_sum_or_not_by_the_rule(
    site: EvidenceSite,
) -> Iterator[Forgery | Contradiction]:
    number = next(
        i for i, e in enumerate(site.epochs) if any(isinstance(r, records.Payout) for r in decoded(e))
    )
    logged = decoded(site.epochs[number])
    payout = next(r for r in logged if isinstance(r, records.Payout))
    first = payout.entries[0]
    less = (msgspec.structs.replace(first, sat=first.sat - 1), *payout.entries[1:])
    yield Forgery(
        with_only(site, number, swap(logged, records.Payout, entries=less)), "payouts", "the reward is"
    )
    # To the satoshi the same sum, shared in another way.
    amount = payout.reward_sat - payout.fee_sat
    even = apportion(amount, dict.fromkeys(ACCOUNTS, 1))
    entries = tuple(records.PayoutEntry(account=a, sat=s) for a, s in even.items())
    yield Forgery(
        with_only(site, number, swap(logged, records.Payout, entries=entries)),
        "payouts",
        "not by the declared rule",
    )
    fee = swap(logged, records.Payout, reward_sat=payout.reward_sat + 5, fee_sat=payout.fee_sat + 5)
    yield Forgery(with_only(site, number, fee), "payouts", "the block's coinbase is worth")


def with_only(site: EvidenceSite, number: int, logged: list[records.Record]) -> bytes:
    """Return the bundle up to an epoch that is closed again."""
    return write_bundle(site, reclosed(site, number, logged=logged)[: number + 1], claims=ALL_CLAIMS)


def forge_20_equivocation_between_two_bundles(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    other = reclosed(site, 4, logged=[*decoded(site.last), records.LocalFact(name="jobs", value="four")])
    yield Contradiction(
        site.bundle(), write_bundle(site, other), "equivocation", "another epoch 4 of this site"
    )


def forge_21_attribution_rule_changed_within_the_period(_: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    changing = EvidenceSite().run(1)
    changing.epoch([records.AttributionRule(rule="mine first", parameters="the sun is ours")])
    changing.run(2)
    yield Forgery(changing.bundle(), "attribution", "becomes 'mine first' within the period")
    # Applied to the period it was changed in, with the header to fit: what stood before says otherwise.
    site = EvidenceSite().run(2)
    rule = records.AttributionRule(rule="mine first", parameters="")
    broken = reclosed(site, 2, standing=site.standings[2].after([rule]))
    yield Forgery(write_bundle(site, broken), "standing", "commits to other declarations")


def forge_22_trailing_or_non_canonical_bytes(site: EvidenceSite) -> Iterator[Forgery | Contradiction]:
    good = site.bundle()
    yield Forgery(good + b"\x00", "container", "after the end")
    yield Forgery(good + good, "container", "after the end")
    yield Forgery(b"\x00" + good, "container", "not a bundle")
    # A record with something after its fields, signed and sealed as it stands.
    longer = encode_record(records.LocalFact(name="a", value="b")) + b"\x00"
    epoch = Epoch(site.last.signed, (*site.last.records, longer), site.last.groups)
    yield Forgery(write_bundle(site, [*site.epochs[:4], epoch]), "records", "after the end")
    # Declarations in another order.
    turned = site.standings[1].records[::-1]
    yield Forgery(
        write_bundle(site, site.epochs[1:], first=1, standing=turned), "standing", "not in its order"
    )
    # A claim that nobody defined.
    yield Forgery(
        write_bundle(site, site.epochs, claims=ALL_CLAIMS | Claim(1 << 20)), "container", "does not know"
    )
