"""A site with easy targets whose evidence is made in a moment: real headers, really hashed, and everything else a site logs."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hashwerk.chain.coinbase import build_coinbase
from hashwerk.chain.merkle import root_from_branch
from hashwerk.chain.target import compact_from_target, target_from_compact, work_from_target
from hashwerk.chain.template import Template
from hashwerk.evidence import epoch as epochs
from hashwerk.evidence import keys, records
from hashwerk.evidence.bundle import BundleWriter, ChainPart, Claim, Manifest, Stamp
from hashwerk.evidence.epoch import (
    Epoch,
    EpochFrame,
    Group,
    SignedHeader,
    close_epoch,
    root_of_accounts,
    root_of_group,
)
from hashwerk.evidence.leaf import decode_record, encode_record
from hashwerk.evidence.payout import FoundBlock, ShareOrder, share_out
from hashwerk.evidence.share_leaf import LEAF_DTYPE
from hashwerk.evidence.standing import Standing
from hashwerk.evidence.tag import ZERO_ROOT, account_commitment, job_tag, job_tag_preimage
from hashwerk.evidence.tree import Node

START_US = 1_790_000_000_000_000 // 3_600_000_000 * 3_600_000_000
EPOCH_US = 900_000_000
WORK_LOG2 = 4
#: One hash in 2**9 is a block.
NBITS = compact_from_target((1 << 247) - 1)
NETWORK_WORK = work_from_target(target_from_compact(NBITS))
REWARD_SAT = 312_500_123
ACCOUNTS = tuple(account_commitment(name, bytes([i]) * 32) for i, name in enumerate(("ada", "bob", "cleo")))
RULE = records.PayoutRule(scheme="pplns", fee_ppm=10_000, window_ppm=100_000, threshold_sat=0)


def seeded_key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


@dataclass
class EvidenceSite:
    """Makes epochs one after the other. Everything is drawn from ``name``, so two runs give the same bytes."""

    name: str = "site"
    private: bool = True
    network: str = "testnet4"
    scale: int = 10**15
    nbits: int = NBITS
    prev_hash: bytes = bytes(range(32))
    height: int = 700
    start_us: int = START_US
    shares: int = 60  # an epoch
    wh: int = 5_000  # an epoch, drawn from the grid
    certificates: bool = True
    anchored: bool = True
    thinning: int | None = None
    rule: records.PayoutRule = RULE
    account_scales: tuple[records.AccountScale, ...] = ()
    pool: bool = False  # every fourth share is an upstream pool's work
    epochs: list[Epoch] = field(default_factory=list)
    full: Node | None = None  # of the shares before thinning, for the epoch that is closed next

    def __post_init__(self) -> None:
        self.key, self.next_key = seeded_key(self.name + "/key"), seeded_key(self.name + "/next")
        self.recovery = seeded_key(self.name + "/recovery")
        self.key_events = [
            keys.genesis(
                self.key, keys.public_bytes(self.next_key), keys.public_bytes(self.recovery), self.start_us
            )
        ]
        self.id = keys.event_hash(self.key_events[0].body)
        self.standings = [Standing()]
        self.job_id = 0
        self.register_wh = 1_000_000
        self.order: list[tuple[bytes, int]] = []
        self.blocks: list[FoundBlock] = []
        self._close(self.start_us, self.declarations(), [])

    def declarations(self) -> list[records.Record]:
        declared: list[records.Record] = [
            records.Site(name=self.name, network=self.network, private=int(self.private)),
            records.Scale(factor=self.scale, basis="a scale model" if self.scale > 1 else "one hash is one hash"),
            records.Inventory(
                group="hall", make="avalon", model="Q", machines=100, nominal_hs=90 * 10**12,
                declared_mj_per_th=18_600, learned_mj_per_th=18_900, learned_low_mj_per_th=18_000,
                learned_high_mj_per_th=19_500,
            ),
            records.AttributionRule(rule="pro rata", parameters="by metered load"),
            self.rule,
            *self.account_scales,
        ]  # fmt: skip
        if self.thinning is not None:
            declared.append(records.Thinning(work_log2=self.thinning))
        if self.pool:
            prefixes = tuple(
                records.Prefix(prefix=bytes([4, 0, 0, 0, number]), account=account)
                for number, account in enumerate(ACCOUNTS[:2], 1)
            )
            declared.append(records.PrefixTable(upstream="pool", work_log2=WORK_LOG2, prefixes=prefixes))
        return declared

    @property
    def last(self) -> Epoch:
        return self.epochs[-1]

    def run(self, count: int = 4) -> EvidenceSite:
        """Close so many epochs with shares, meters, certificates and payouts."""
        for _ in range(count):
            self.epoch()
        return self

    def epoch(self, extra: list[records.Record] | None = None, *, shares: int | None = None) -> Epoch:
        """Close one epoch of a quarter of an hour."""
        start = self.last.header.end_us
        jobs = [self.job(account, start) for account in ACCOUNTS]
        if self.pool:
            jobs.append(self.pool_job(start))
        groups, found = self.hash(jobs, start, self.shares if shares is None else shares)
        energy = self.energy(start, start + EPOCH_US)
        return self._close(start + EPOCH_US, [*jobs, *energy, *found, *(extra or [])], groups)

    def job(
        self, account: bytes, at_us: int, *, work_log2: int = WORK_LOG2, root: bytes | None = None
    ) -> records.Job:
        """Make a job whose coinbase carries the tag."""
        self.job_id += 1
        if root is None:
            root = self.last.signed.hash() if self.anchored else ZERO_ROOT
        site_key = keys.public_bytes(self.key)
        tag = job_tag(job_tag_preimage(site_key, root, account, work_log2))
        template = Template(
            network=self.network, height=self.height, version=0x20000000, prev_hash=self.prev_hash, nbits=self.nbits,
            time=at_us // 10**6, min_time=at_us // 10**6 - 3600, coinbase_value_sat=REWARD_SAT, source="test",
            witness_commitment=bytes.fromhex("6a24aa21a9ed") + bytes(32),
        )  # fmt: skip
        parts = build_coinbase(
            template=template, outputs=[(REWARD_SAT, b"\x00\x20" + bytes(32))], pool_tag=b"Hashwerk",
            job_number=self.job_id, extranonce_size=12, commitment=tag,
        )  # fmt: skip
        return records.Job(
            id=self.job_id, account=account, work_log2=work_log2, height=template.height,
            prev_hash=template.prev_hash, nbits=template.nbits, version=0x20000000, version_mask=0x1FFFE000,
            min_time=template.min_time, max_time=None, ntime=template.time, coinbase1=parts.coinbase1,
            coinbase2=parts.coinbase2, branch=(hashlib.sha256(b"tx").digest(),), extranonce1_size=4,
            extranonce2_size=8, coinbase_value_sat=REWARD_SAT, template_hash=bytes(32), source="test", upstream=0,
            site_key=site_key, epoch_root=root, created_us=at_us,
        )  # fmt: skip

    def pool_job(self, at_us: int) -> records.Job:
        """Make a job of an upstream pool, whose coinbase binds nobody."""
        job = self.job(records.UNBOUND, at_us)
        return msgspec.structs.replace(
            job, upstream=1, source="pool", site_key=bytes(32), epoch_root=bytes(32)
        )

    def hash(
        self, jobs: list[records.Job], start_us: int, count: int
    ) -> tuple[list[Group], list[records.Record]]:
        """Find shares for the jobs in turn; the work of each account is its turn's."""
        rows: dict[bytes, list[tuple[int, ...]]] = {}
        every: dict[bytes, list[tuple[int, ...]]] = {}
        found: list[records.Record] = []
        credited = max(WORK_LOG2, self.thinning or 0)
        for position in range(count):
            job = jobs[(position * position + len(self.epochs)) % len(jobs)]
            time_us = start_us + EPOCH_US * position // max(count, 1)
            session = position % 5
            row, hash_ = find_share(job, position, time_us, session=session, work_log2=job.work_log2)
            every.setdefault(job.account, []).append(row)
            if int.from_bytes(hash_, "little") >> (256 - max(job.work_log2, credited)):
                continue
            rows.setdefault(job.account, []).append(row)
            if job.account == records.UNBOUND:
                continue
            self.order.append((job.account, max(job.work_log2, credited)))
            if int.from_bytes(hash_, "little") <= target_from_compact(self.nbits):
                found += self._block(job, hash_, position, time_us)
        if self.thinning is not None:
            work = {job.id: job.work_log2 for job in jobs}
            whole = [Group(account, np.array(every[account], LEAF_DTYPE)) for account in sorted(every)]
            self.full = root_of_accounts([(group.account, root_of_group(group, work)) for group in whole])
        return [Group(account, np.array(rows[account], LEAF_DTYPE)) for account in sorted(rows)], found

    def _block(self, job: records.Job, hash_: bytes, position: int, time_us: int) -> list[records.Record]:
        """Log a found block and how its reward is shared."""
        at = len(self.order) - 1
        self.blocks.append(
            FoundBlock(
                hash_, job.height, at, REWARD_SAT, work_from_target(target_from_compact(job.nbits)), "pending"
            )
        )
        logged: list[records.Record] = [
            records.Block(
                hash=hash_, height=job.height, found_us=time_us, reward_sat=REWARD_SAT, job=job.id, state=1
            )
        ]
        if self.nbits == NBITS and self.rule.scheme != "fpps":
            shared = share_out(self.rule, self.share_order(), self.blocks)[-1]
            entries = tuple(records.PayoutEntry(account=a, sat=s) for a, s in sorted(shared.entries.items()))
            logged.append(
                records.Payout(
                    block_hash=hash_,
                    height=job.height,
                    at_us=time_us,
                    position=position,
                    reward_sat=REWARD_SAT,
                    fee_sat=shared.fee_sat,
                    state=0,
                    entries=entries,
                )
            )
        return logged

    def share_order(self) -> ShareOrder:
        names = tuple(sorted({account for account, _ in self.order}))
        return ShareOrder(
            names,
            np.array([names.index(account) for account, _ in self.order], np.uint32),
            np.array([work for _, work in self.order], np.uint8),
            from_beginning=True,
        )

    def energy(self, start: int, end: int) -> list[records.Record]:
        """Read the meter; at the hour, cancel a certificate and name the grid's mix."""
        logged: list[records.Record] = [self.meter(start, end)]
        hour = 4 * EPOCH_US
        if end % hour == 0 and self.certificates:
            logged += self.certificate(f"GC-{end // hour}", end - hour, end)
        if end % hour == 0:
            logged.append(
                records.Grid(
                    factors="test set",
                    vintage="2026",
                    start_us=end - hour,
                    end_us=end,
                    location_mg_per_kwh=350_000,
                    residual_mg_per_kwh=600_000,
                    carbon_free_ppm=400_000,
                    price_micro_per_mwh=-5_000_000,
                    currency="EUR",
                )
            )
        return logged

    def meter(self, start: int, end: int, **changes: object) -> records.Meter:
        before = self.register_wh
        self.register_wh += self.wh
        reading = records.Meter(
            meter="main", serial="EM-1", multiplier_ppm=1_000_000, direction=0, start_us=start, end_us=end,
            start_wh=before, end_wh=self.register_wh, quality=0, signed_by="", signed_data=b"", signer_key=b"",
        )  # fmt: skip
        return msgspec.structs.replace(reading, **changes)

    def certificate(self, name: str, start: int, end: int) -> list[records.Record]:
        from hashwerk.evidence.leaf import unsigned_certificate
        from hashwerk.evidence.verify.energy import SIGN_CERTIFICATE

        registry = seeded_key("registry")
        certificate = records.Certificate(
            id=name, registry="Test Registry", source=records.Source.HYDRO, start_us=start, end_us=end, wh=12_000,
            beneficiary=self.name, registry_key=b"", signature=b"",
        )  # fmt: skip
        signature = keys.sign(registry, SIGN_CERTIFICATE, unsigned_certificate(certificate))
        return [
            msgspec.structs.replace(
                certificate, registry_key=keys.public_bytes(registry), signature=signature
            ),
            records.SourceInterval(
                name="river", source=records.Source.HYDRO, start_us=start, end_us=end, wh=12_000, certificate=name,
                meter="",
            ),
        ]  # fmt: skip

    def _close(self, end_us: int, logged: list[records.Record], groups: list[Group]) -> Epoch:
        before = self.epochs[-1] if self.epochs else None
        frame = EpochFrame(
            site=self.id,
            number=len(self.epochs),
            start_us=end_us if before is None else before.header.end_us,
            end_us=end_us,
            previous=bytes(32) if before is None else before.signed.hash(),
            key_events=keys.event_hash(self.key_events[-1].body),
            standing=self.standings[-1],
        )
        epoch = close_epoch(frame, self.key, logged, groups, full=self.full)
        self.full = None
        self.epochs.append(epoch)
        self.standings.append(self.standings[-1].after(logged))
        return epoch

    def bundle(self, first: int = 0, last: int | None = None, **options: object) -> bytes:
        """Return the bundle of these epochs."""
        last = len(self.epochs) - 1 if last is None else last
        return write_bundle(self, self.epochs[first : last + 1], first=first, **options)


Edit = Callable[[int, list[records.Record]], list[records.Record]]


class EditedSite(EvidenceSite):
    """A site that logs other records than the usual ones in some epoch, before it is closed and signed."""

    def __init__(self, edit: Edit, **options: object) -> None:
        self.edit = edit
        super().__init__(name="edited", **options)

    def _close(self, end_us: int, logged: list[records.Record], groups: list[Group]) -> Epoch:
        return super()._close(end_us, self.edit(len(self.epochs), logged), groups)


def without(kind: type) -> Edit:
    """Log no record of a kind."""
    return lambda _, logged: [found for found in logged if not isinstance(found, kind)]


def once(number: int, *more: records.Record) -> Edit:
    """Log more in one epoch."""
    return lambda now, logged: [*logged, *more] if now == number else logged


def altered(kind: type, number: int | None = None, **changes: object) -> Edit:
    """Change every record of a kind, in one epoch or in all."""
    return lambda now, logged: [
        msgspec.structs.replace(found, **changes)
        if isinstance(found, kind) and number in (None, now)
        else found
        for found in logged
    ]


ALL_CLAIMS = Claim.ANCHOR | Claim.ENERGY | Claim.SOURCE | Claim.PAYOUT


def write_bundle(
    site: EvidenceSite,
    part: list[Epoch],
    *,
    first: int = 0,
    claims: Claim = ALL_CLAIMS,
    stamps: tuple[Stamp, ...] = (),
    chain: ChainPart | None = None,
    preamble: list[SignedHeader] | None = None,
    standing: tuple[records.Record, ...] | None = None,
    key: Ed25519PrivateKey | None = None,
    key_events: list[keys.KeyEvent] | None = None,
    **changes: object,
) -> bytes:
    """Write epochs as they are given, whether they fit together or not."""
    manifest = Manifest(
        site=site.id, start_us=part[0].header.start_us, end_us=part[-1].header.end_us,
        first_epoch=part[0].header.number, last_epoch=part[-1].header.number, claims=int(claims), period_fixed=1,
        made_us=min(part[-1].header.end_us + 1_000_000, 2**64 - 1), software="test", note="",
    )  # fmt: skip
    out = io.BytesIO()
    if preamble is None:
        preamble = [epoch.signed for epoch in site.epochs[max(0, first - 3) : first]]
    writer = BundleWriter(
        out,
        msgspec.structs.replace(manifest, **changes),
        keys=site.key_events if key_events is None else key_events,
        preamble=preamble,
        standing=site.standings[first].records if standing is None else standing,
    )
    for epoch in part:
        writer.epoch(epoch)
    writer.finish(key or site.key, stamps=stamps, chain=chain)
    return out.getvalue()


def find_share(
    job: records.Job, position: int, time_us: int, *, session: int, work_log2: int
) -> tuple[tuple[int, ...], bytes]:
    """Hash until a header meets the target; return the leaf's fields and the header's hash."""
    extranonce1, extranonce2, ntime = session + 1, position, time_us // 10**6
    coinbase = job.coinbase1 + extranonce1.to_bytes(4, "big") + extranonce2.to_bytes(8, "big") + job.coinbase2
    txid = hashlib.sha256(hashlib.sha256(coinbase).digest()).digest()
    root = root_from_branch(txid, job.branch)
    head = hashlib.sha256(struct.pack("<I32s32sII", job.version, job.prev_hash, root, ntime, job.nbits))
    for nonce in range(1 << 32):
        inner = head.copy()
        inner.update(nonce.to_bytes(4, "little"))
        hash_ = hashlib.sha256(inner.digest()).digest()
        if int.from_bytes(hash_, "little") >> (256 - work_log2) == 0:
            row = (
                position,
                time_us,
                session,
                session,
                job.id,
                ntime,
                nonce,
                job.version,
                extranonce1,
                extranonce2,
            )
            return row, hash_
    raise AssertionError("no share")


def resign(epoch: Epoch, signer: Ed25519PrivateKey, **changes: object) -> Epoch:
    """Return the epoch with another header, signed again by whoever holds the key."""
    header = msgspec.structs.replace(epoch.header, **changes)
    signature = keys.sign(signer, epochs.SIGN_EPOCH, epochs.header_hash(header))
    return Epoch(SignedHeader(header=header, signature=signature), epoch.records, epoch.groups)


def decoded(epoch: Epoch) -> list[records.Record]:
    return [decode_record(data) for data in epoch.records]


def with_records(epoch: Epoch, changed: list[records.Record]) -> Epoch:
    """Return the epoch with other records under the header that was signed."""
    return Epoch(epoch.signed, tuple(encode_record(record) for record in changed), epoch.groups)
