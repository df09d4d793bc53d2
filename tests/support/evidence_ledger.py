"""A ledger's file with accounts, jobs and shares as the server leaves them, for tests of what evidence is made of."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from hashwerk.chain.target import target_from_compact
from hashwerk.chain.template import Template
from hashwerk.evidence import records
from hashwerk.evidence.closer import EpochCloser
from hashwerk.evidence.key_files import SiteKeys
from hashwerk.evidence.keys import public_bytes
from hashwerk.evidence.tag import job_tag, job_tag_preimage
from hashwerk.store import epochs
from hashwerk.store.bundles import Period, write_bundle
from hashwerk.store.connection import connect_reader, connect_writer
from hashwerk.store.jobs import template_hash, write_job
from hashwerk.store.migrations import migrate
from hashwerk.store.open_epoch import prepare_epoch
from hashwerk.store.settings import StoreSettings
from hashwerk.work.job import Job, UpstreamPart
from hashwerk.work.share import SHARE_DTYPE
from hashwerk.work.share import Verdict as ShareVerdict
from support.evidence import ACCOUNTS, EPOCH_US, START_US, EvidenceSite, find_share, seeded_key

KEYS = SiteKeys(seeded_key("site/key"), seeded_key("site/next"), seeded_key("site/recovery"))
DECLARED: list[records.Record] = [
    records.Site(name="site", network="testnet4", private=1),
    records.Scale(factor=1, basis="one hash is one hash"),
    records.PrefixTable(upstream="pool", work_log2=0, prefixes=()),
]


class Ledger:
    """A ledger's file with accounts, jobs and shares as the server leaves them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = connect_writer(path, StoreSettings())
        migrate(self.connection, path)
        self.connection.execute("BEGIN")
        for number, commitment in enumerate(ACCOUNTS, 1):
            self.connection.execute(
                "INSERT INTO accounts VALUES (?, ?, ?, ?, 0.0)",
                (number, f"account {number}", bytes(32), commitment),
            )
        self.connection.execute("INSERT INTO upstreams VALUES (1, 'pool', 'stratum+tcp://pool', 'me', 0.0)")
        self.connection.execute("COMMIT")
        self.maker = EvidenceSite()
        self.position = 0

    def job(self, account: int, at_us: int, root: bytes, *, upstream: bool = False) -> records.Job:
        """Write a job; return it as a record to find shares for."""
        made = self.maker.job(ACCOUNTS[account - 1], at_us, root=root)
        template = Template(
            network="testnet4", height=made.height, version=made.version, prev_hash=made.prev_hash,
            nbits=made.nbits, time=made.ntime, min_time=made.min_time, coinbase_value_sat=made.coinbase_value_sat,
            source="kernel",
        )  # fmt: skip
        preimage = job_tag_preimage(public_bytes(KEYS.current), root, made.account, made.work_log2)
        part = UpstreamPart(
            upstream_id=1, link=1, job_id="a", target=1 << 250, difficulty="1", padding=b"", version_mask=0
        )  # fmt: skip
        job = Job(
            id=made.id, account_id=account, work_log2=made.work_log2, template=template,
            coinbase1=made.coinbase1, coinbase2=made.coinbase2, branch=made.branch, version=made.version,
            version_mask=made.version_mask, ntime=made.ntime, extranonce1_size=4, extranonce2_size=8,
            tag=job_tag(preimage), tag_preimage=preimage, created_at=at_us / 1e6, upstream=part if upstream else None,
        )  # fmt: skip
        self.connection.execute("BEGIN")
        write_job(self.connection, job, template_hash(template))
        self.connection.execute("COMMIT")
        return made

    def shares(
        self, jobs: list[records.Job], start_us: int, count: int, *, refused: int = 0
    ) -> list[tuple[records.Job, bytes, int]]:
        """Write a group of shares, the last ones refused; return those that are blocks: job, hash, time."""
        blocks = []
        rows = np.zeros(count, SHARE_DTYPE)
        for index in range(count):
            job = jobs[index % len(jobs)]
            found, hash_ = find_share(
                job, index, start_us + index * 1_000_000, session=index % 3, work_log2=4
            )
            row = rows[index]
            _, row["time_us"], row["session"], row["worker"], row["job"] = found[:5]
            row["ntime"], row["nonce"], row["version"], row["extranonce1"], row["extranonce2"] = found[5:]
            row["hash_key"], row["work_log2"] = hash_[:16], 4
            if int.from_bytes(hash_, "little") <= target_from_compact(job.nbits) and index < count - refused:
                blocks.append((job, hash_, int(row["time_us"])))
        rows["verdict"][count - refused :] = ShareVerdict.STALE
        self.connection.execute("BEGIN")
        self.connection.execute(
            "INSERT INTO share_groups VALUES (?,?,?,?,?,0)",
            (self.position, count, int(rows["time_us"].min()), int(rows["time_us"].max()), rows.tobytes()),
        )
        self.connection.execute("COMMIT")
        self.position += count
        return blocks

    def close_epoch(self, closer: EpochCloser, end_us: int) -> epochs.PreparedEpoch:
        """Prepare on a reader's connection, as the server does, and store."""
        reader = connect_reader(self.path)
        try:
            prepared = prepare_epoch(reader, closer, end_us)
        finally:
            reader.close()
        self.store(prepared)
        return prepared

    def store(self, prepared: epochs.PreparedEpoch) -> None:
        """Store twice: after a failed commit a write is tried again."""
        for _ in range(2):
            self.connection.execute("BEGIN")
            epochs.store_epoch(self.connection, prepared)
            self.connection.execute("COMMIT")

    def bundle(self, start_us: int = START_US, end_us: int = START_US + 10 * EPOCH_US) -> bytes:
        """Write a bundle from a reader's connection."""
        out = io.BytesIO()
        reader = connect_reader(self.path)
        try:
            period = Period(start_us=start_us, end_us=end_us, fixed_beforehand=True)
            write_bundle(reader, out, KEYS.current, period, now_us=end_us, software="test")
        finally:
            reader.close()
        return out.getvalue()
