"""How fast epochs close and bundles verify, and how many bytes a share takes. Budgets stand beside the figures.

Run: ``python benches/evidence.py [--shares N] [--threads N]``. Shares here are not mined: their jobs credit one hash each
(work_log2 = 0), so every header is a share, and hashing, trees and checks cost what they cost for real ones. Bundles are verified
out of files by a process of their own, whose memory is told.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hashwerk.chain.coinbase import build_coinbase
from hashwerk.chain.template import Template
from hashwerk.evidence import records
from hashwerk.evidence.bundle import BundleWriter, Manifest
from hashwerk.evidence.closer import EpochCloser
from hashwerk.evidence.epoch import Epoch
from hashwerk.evidence.key_files import SiteKeys
from hashwerk.evidence.keys import public_bytes
from hashwerk.evidence.standing import Standing
from hashwerk.evidence.tag import job_tag, job_tag_preimage
from hashwerk.evidence.verify import verify_bundle
from hashwerk.evidence.verify.run import Options
from hashwerk.work.share import SHARE_DTYPE

START_US = 1_790_000_000_000_000
CLOSE_BUDGET_S = 0.2
VERIFY_BUDGET_S = 1.5
BYTES_BUDGET = 150
# What a share takes in the ledger: python benches/ledger.py --volume
FRESH_BYTES, PACKED_BYTES = 94, 33
MAXRSS_PER_MIB = 2**20 if sys.platform == "darwin" else 2**10


@dataclass
class BenchSite:
    """Closes epochs of random shares by many machines of a few accounts."""

    accounts: int = 4
    machines: int = 11_000
    thinning: int = 0  # as a power of two; 0: every share is a leaf
    branch: int = 12  # a block of 4,000 transactions

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(6)
        self.keys = SiteKeys(*(Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32) for i in (1, 2, 3)))
        self.closer = EpochCloser(self.keys, (), None, Standing())
        self.declared: list[records.Record] = [
            records.Site(name="bench", network="main", private=1),
            records.Scale(factor=1, basis="bench"),
        ]
        if self.thinning:
            self.declared.append(records.Thinning(work_log2=self.thinning))
        self.epochs = [self.closer.begin(self.declared, START_US)]
        self.job_id = 0

    def job(self, account: int) -> records.Job:
        """Return a job as the server makes it, with a coinbase of two payouts."""
        self.job_id += 1
        commitment = sha256(bytes([account])).digest()
        root, start = self.closer.root, self.closer.start_us or 0
        tag = job_tag(job_tag_preimage(public_bytes(self.keys.current), root, commitment, 0))
        template = Template(
            network="main", height=950_000, version=0x20000000, prev_hash=bytes(32), nbits=0x1702068F,
            time=start // 10**6, min_time=start // 10**6 - 3600, coinbase_value_sat=312_500_000,
            witness_commitment=bytes.fromhex("6a24aa21a9ed") + bytes(32),
        )  # fmt: skip
        parts = build_coinbase(
            template=template, outputs=[(312_500_000, b"\x00\x20" + bytes(32))], pool_tag=b"/Hashwerk/",
            job_number=self.job_id, extranonce_size=12, commitment=tag,
        )  # fmt: skip
        return records.Job(
            id=self.job_id, account=commitment, work_log2=0, height=950_000, prev_hash=bytes(32), nbits=0x1702068F,
            version=0x20000000, version_mask=0x1FFFE000, min_time=template.min_time, max_time=None,
            ntime=template.time, coinbase1=parts.coinbase1, coinbase2=parts.coinbase2,
            branch=tuple(sha256(bytes([i])).digest() for i in range(self.branch)), extranonce1_size=4,
            extranonce2_size=8, coinbase_value_sat=312_500_000, template_hash=bytes(32), source="bench", upstream=0,
            site_key=public_bytes(self.keys.current), epoch_root=root, created_us=start,
        )  # fmt: skip

    def shares(self, jobs: list[records.Job], count: int, length_us: int) -> np.ndarray:
        """Return shares in the order of the ledger."""
        rng, start = self.rng, self.closer.start_us or 0
        rows = np.zeros(count, SHARE_DTYPE)
        rows["time_us"] = start + np.sort(rng.integers(0, length_us, count))
        machine = rng.integers(1, self.machines, count)
        rows["session"] = rows["worker"] = rows["extranonce1"] = machine
        rows["job"] = np.array([job.id for job in jobs], np.uint32)[machine % len(jobs)]
        rows["ntime"] = rows["time_us"] // 1_000_000
        rows["nonce"] = rng.integers(0, 2**32, count)
        rows["version"] = 0x20000000 | rng.integers(0, 2**16, count) << 13
        rows["extranonce2"] = rng.integers(0, 50, count)
        return rows

    def close(self, count: int, length_us: int = 60_000_000) -> tuple[Epoch, float]:
        """Close one epoch; return it and how long that took."""
        jobs = [self.job(account) for account in range(self.accounts)]
        rows = self.shares(jobs, count, length_us)
        end = (self.closer.start_us or 0) + length_us
        started = time.perf_counter()
        epoch = self.closer.close(rows, {job.id: job for job in jobs}, (), end)
        took = time.perf_counter() - started
        self.epochs.append(epoch)
        return epoch, took

    def close_open(self, count: int, length_us: int = 60_000_000) -> tuple[float, float]:
        """Close one epoch as a running mine does; return the processor time while it was open, and that of closing it."""
        jobs = {job.id: job for job in (self.job(account) for account in range(self.accounts))}
        rows, shares = self.shares(list(jobs.values()), count, length_us), self.closer.open_shares()
        end = (self.closer.start_us or 0) + length_us
        started = time.thread_time()
        for second in np.array_split(rows, 60):
            shares.add(second, lambda numbers: [jobs[number] for number in numbers])
        opened = time.thread_time()
        self.closer.seal(shares, (), end)
        return opened - started, time.thread_time() - opened

    def bundle(self, stream: BinaryIO) -> None:
        """Write all epochs."""
        first, last = self.epochs[0].header, self.epochs[-1].header
        manifest = Manifest(
            site=first.site, start_us=first.start_us, end_us=last.end_us, first_epoch=0, last_epoch=last.number,
            claims=0, period_fixed=1, made_us=last.end_us, software="bench", note="",
        )  # fmt: skip
        writer = BundleWriter(stream, manifest, keys=self.closer.events, preamble=[], standing=[])
        for epoch in self.epochs:
            writer.epoch(epoch)
        writer.finish(self.keys.current)


@dataclass
class Verified:
    """What verifying a file cost."""

    took_s: float
    cpu_s: float
    before_mib: float  # the most memory before a byte of the file was read
    most_mib: float


def verify_file(path: Path, threads: int) -> Verified:
    """Verify in a process of its own, which has verified a small bundle before: compiling is not what is measured."""
    arguments = [sys.executable, __file__, "--verify", str(path), "--threads", str(threads)]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, check=True)
    return Verified(**json.loads(done.stdout))


def most_mib() -> float:
    """Return the most memory this process has held. Linux counts a parent's to its child's `ru_maxrss`, but not here."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MAXRSS_PER_MIB


def verify_here(path: Path, threads: int) -> None:
    """Verify and print the cost as JSON."""
    warm = BenchSite()
    warm.close(1000)
    small = io.BytesIO()
    warm.bundle(small)
    verify_bundle(io.BytesIO(small.getvalue()), Options(threads=threads))
    before = most_mib()
    started, cpu = time.perf_counter(), time.process_time()
    with path.open("rb") as stream:
        report = verify_bundle(stream, Options(threads=threads))
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    if not report.ok:
        sys.exit(f"the bench's bundle does not verify: {report.failures()}")
    found = Verified(took, cpu, before, most_mib())
    print(json.dumps(dataclasses.asdict(found)))


def measure_hall(threads: int, *, minutes: int = 10, thinning: int = 7) -> None:
    """Measure some minutes of a day of 99 million shares, of which one in 2**7 becomes a leaf; scale to day and month."""
    a_day = 99_000_000
    count = a_day // 1440
    site = BenchSite(thinning=thinning)
    site.close(1000)
    times = [site.close(count)[1] for _ in range(minutes)]
    kept = sum(epoch.header.shares for epoch in site.epochs[2:])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hall.hwe"
        with path.open("w+b") as stream:
            site.bundle(stream)
        size = path.stat().st_size
        verified = verify_file(path, threads)
    site.close_open(1000)
    taking_in_s, sealing_s = np.median([site.close_open(count) for _ in range(5)], axis=0)
    print(
        f"40 MW hall, {minutes} epochs of a minute with {count:,} shares each, {kept:,} leaves in all: closed in"
        f" {1000 * np.median(times):.0f} ms each (budget {1000 * CLOSE_BUDGET_S:.0f}), {size:,} bytes, verified in"
        f" {verified.took_s:.2f} s, {verified.cpu_s:.2f} s of CPU, {verified.most_mib:.0f} MiB"
    )
    print(
        f"in a running mine: {1000 * taking_in_s:.0f} ms of CPU a minute while an epoch is open, {1000 * sealing_s:.1f} ms to"
        " close it"
    )
    for name, days in (("day", 1), ("month", 30)):
        factor = 1440 * days / minutes
        print(
            f"a {name}: ledger {a_day * days * FRESH_BYTES / 1e9:.1f} GB fresh,"
            f" {a_day * days * PACKED_BYTES / 1e9:.1f} GB packed; epochs"
            f" {(taking_in_s + sealing_s) * 1440 * days:.0f} s of CPU; bundle {size * factor / 1e6:.0f} MB, verified in"
            f" {verified.took_s * factor:.0f} s"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shares", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epoch", type=int, default=100_000, help="shares an epoch")
    parser.add_argument(
        "--hall", action="store_true", help="a day of a 40 MW hall, thinned, from one hour of it"
    )
    parser.add_argument("--verify", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.verify is not None:
        verify_here(arguments.verify, arguments.threads)
        return
    if arguments.hall:
        measure_hall(arguments.threads)
        return
    BenchSite().close(1000)
    site = BenchSite()
    times = [site.close(arguments.epoch)[1] for _ in range(max(1, arguments.shares // arguments.epoch))]
    count = len(times) * arguments.epoch
    print(
        f"close an epoch of {arguments.epoch:,} shares: median {1000 * np.median(times):.0f} ms, worst"
        f" {1000 * max(times):.0f} ms (budget {1000 * CLOSE_BUDGET_S:.0f})"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.hwe"
        started = time.perf_counter()
        with path.open("w+b") as stream:
            site.bundle(stream)
        size = path.stat().st_size
        print(
            f"write {count:,} shares: {time.perf_counter() - started:.2f} s, {size:,} bytes,"
            f" {size / count:.1f} bytes a share (budget {BYTES_BUDGET})"
        )
        site.epochs.clear()
        verified = verify_file(path, arguments.threads)
    print(
        f"verify {count:,} shares on {arguments.threads} threads: {verified.took_s:.2f} s,"
        f" {count / verified.took_s:,.0f} shares/s, {verified.cpu_s:.2f} s of CPU (budget {VERIFY_BUDGET_S * count / 1e6:g} s);"
        f" memory {verified.before_mib:.0f} MiB before, {verified.most_mib:.0f} MiB at most"
    )


if __name__ == "__main__":
    main()
