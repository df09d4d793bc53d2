"""Run all checks over a bundle, streaming: one section in memory at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import numpy as np
from cryptography import x509
from numpy.typing import NDArray

from hashwerk.errors import DecodeError, EvidenceError, HashwerkError
from hashwerk.evidence.blockchain import Checkpoint, HeaderChain, trusted_chain
from hashwerk.evidence.bundle import BundleReader, Claim, Manifest, RecordsPart
from hashwerk.evidence.epoch import MAX_CREDIT_LOG2, Header, SignedHeader
from hashwerk.evidence.keys import KeyChain, event_hash, fingerprint
from hashwerk.evidence.payout import FoundBlock, ShareOrder
from hashwerk.evidence.receipt import Receipt
from hashwerk.evidence.records import Job, PayoutRule, Record, Thinning
from hashwerk.evidence.stamps import Trust
from hashwerk.evidence.verify import energy, time
from hashwerk.evidence.verify.block_shares import BlockShare
from hashwerk.evidence.verify.blocks import check_blocks
from hashwerk.evidence.verify.compare import Summary, check_receipts, compare, receipts_of
from hashwerk.evidence.verify.epochs import EpochWalk, StandingWalk
from hashwerk.evidence.verify.facts import Facts, JobCheck, read_records
from hashwerk.evidence.verify.figures import Shown
from hashwerk.evidence.verify.order import OrderBuilder
from hashwerk.evidence.verify.payouts import PayoutCheck, found_blocks
from hashwerk.evidence.verify.result import Checks, Label, Report, Verdict, counted
from hashwerk.evidence.verify.seen import SeenHashes
from hashwerk.evidence.verify.shares import EpochShares, ShareContext, Work
from hashwerk.evidence.verify.statement import make_statement

#: An honest set of shares fails the test of uniformity by chance once in so many.
UNIFORM_LIMIT: Final = 1e-9


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the verifier brings along."""

    headers: bytes | None = None  # block headers, 80 bytes each
    checkpoints: tuple[Checkpoint, ...] | None = None  # None: those that come with the program
    key: str | None = None  # fingerprint of any key of the site, or the site's own hash
    tsa_roots: tuple[x509.Certificate, ...] = ()
    witnesses: frozenset[str] = frozenset()
    receipts: tuple[Receipt, ...] = ()
    keep_order: bool = False  # hand out the order of shares, to recompute payouts by another rule
    threads: int | None = None


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A report, and what was read on the way."""

    report: Report
    summary: Summary | None
    order: ShareOrder | None = None
    blocks: tuple[FoundBlock, ...] = ()
    value: dict[tuple[bytes, int, int], int] = {}
    rule: PayoutRule | None = None  # declared in the last epoch
    network: str = ""
    block_shares: dict[bytes, BlockShare] = {}  # the shares that were blocks, by hash

    @property
    def coinbases(self) -> dict[bytes, bytes]:
        """Coinbases without witness of the blocks, by hash."""
        return {block.hash: self.block_shares[block.hash].coinbase() for block in self.blocks}


def verify_bundle(source: Path | BinaryIO, options: Options | None = None) -> Report:
    """Check one bundle.

    Raises:
        OSError: If the file cannot be read.
    """
    return inspect_bundle(source, options or Options()).report


def verify_bundles(paths: Sequence[Path], options: Options | None = None) -> list[Report]:
    """Check several bundles, each for itself and against the others.

    Raises:
        OSError: If a file cannot be read.
    """
    return verify_together([(str(path), path) for path in paths], options or Options())


def verify_together(files: Sequence[tuple[str, Path]], options: Options) -> list[Report]:
    """Check several bundles that have names, each for itself and against the others.

    Receipts are held against the bundles of their epochs.

    Raises:
        OSError: If a file cannot be read.
    """
    receipts = receipts_of([_manifest(path) for _, path in files], options.receipts)
    with ExitStack() as stack:
        found = [
            inspect_bundle(path, msgspec.structs.replace(options, receipts=own), stack)
            for (_, path), own in zip(files, receipts, strict=True)
        ]
        return compare([(name, one.report, one.summary) for (name, _), one in zip(files, found, strict=True)])


def _manifest(path: Path) -> Manifest | None:
    with path.open("rb") as stream:
        try:
            return BundleReader(stream).manifest
        except DecodeError:
            return None


def inspect_bundle(source: Path | BinaryIO, options: Options, keep: ExitStack | None = None) -> Verified:
    """Check one bundle and return what was read on the way.

    Args:
        source: The bundle.
        options: What the verifier brings along.
        keep: Takes over the shares that were seen, so that bundles of many shares can be compared; None: those in files go.
    """
    if isinstance(source, Path):
        with source.open("rb") as stream:
            return inspect_bundle(stream, options, keep)
    checks = Checks()
    try:
        reader = BundleReader(source)
    except DecodeError as error:
        checks.failed("container", str(error))
        return Verified(report=_unreadable(checks), summary=None)
    if reader.manifest.claims & ~int(sum(Claim)) or reader.manifest.period_fixed > 1:
        checks.failed("container", "the manifest holds a claim or flag that this program does not know")
        return Verified(report=_unreadable(checks), summary=None)
    threads = options.threads or min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) if threads > 1 else _AtOnce() as pool:
        seen, order = SeenHashes(), OrderBuilder()
        with ExitStack() as stack:
            stack.callback(order.close)
            (keep or stack).callback(seen.close)
            return _Run(reader, options, checks, pool, seen=seen, order=order).run()


class _AtOnce(Executor):
    """Does everything where it is asked for: one thread needs no other."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do it, and return a future that is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except HashwerkError as error:
            future.set_exception(error)
        return future


def _unreadable(checks: Checks) -> Report:
    return Report(verdict=checks.verdict, subject="unknown", checks=checks.results(), statement={})


def uniform_chance(counts: NDArray[np.int64]) -> tuple[float, int] | None:
    """Return how likely counts in equal bins are if they are uniform, and in how many bins; None: too few to say.

    Bins are joined until at least five are expected in each: below that the statistic has not its distribution.
    """
    from scipy.stats import chi2

    total = int(counts.sum())
    while len(counts) > 4 and total < 5 * len(counts):
        counts = counts.reshape(-1, 2).sum(axis=1)
    expected = total / len(counts)
    if expected < 5:
        return None
    statistic = float(np.sum((counts - expected) ** 2) / expected)
    return float(chi2.sf(statistic, len(counts) - 1)), len(counts)


class _Run:
    """One pass over one bundle."""

    def __init__(
        self,
        reader: BundleReader,
        options: Options,
        checks: Checks,
        pool: Executor,
        *,
        seen: SeenHashes,
        order: OrderBuilder,
    ) -> None:
        self.reader, self.options, self.checks, self.seen, self.order = reader, options, checks, seen, order
        self.manifest = reader.manifest
        self.claims = Claim(reader.manifest.claims & sum(Claim))
        self.keys = self._key_chain()
        self.walk = EpochWalk(checks, reader.manifest.site, self.keys)
        self.standing = StandingWalk(checks, reader.standing)
        self.facts, self.work = Facts(), Work()
        wanted: dict[int, set[int]] = {}
        for receipt in options.receipts:
            wanted.setdefault(receipt.body.epoch, set()).add(receipt.body.position)
        self.context = ShareContext(checks, pool, self.work, seen, wanted)
        self.job_check = JobCheck(checks, self.facts, self.keys, self.walk.hashes, self.walk.ends_us)
        self.rules: dict[int, PayoutRule] = {}
        self.efficiency: int | None = None

    def run(self) -> Verified:
        """Read it all, then conclude."""
        try:
            self._read()
        except DecodeError as error:
            self.checks.failed("container", str(error))
            return Verified(report=_unreadable(self.checks), summary=None)
        self.checks.passed("container", Label.PROVEN, f"{self.reader.size:,} bytes in their one spelling")
        return self._conclude()

    def _read(self) -> None:
        self.walk.preamble(self.reader.preamble)
        signed: SignedHeader | None = None
        encoded: list[bytes] = []
        shares: _Later | None = None
        for part in self.reader.parts():
            if isinstance(part, SignedHeader):
                if signed is not None:
                    self._end_epoch(signed, encoded, shares)
                signed, encoded, shares = part, [], None
                self.walk.epoch(part)
            elif isinstance(part, RecordsPart):
                encoded += part.encoded
            elif signed is not None:
                if shares is None:
                    shares = self._begin_shares(signed, encoded)
                shares.shares.add(part.account, part.leaves)
        if signed is not None:
            self._end_epoch(signed, encoded, shares)

    def _begin_shares(self, signed: SignedHeader, encoded: Sequence[bytes]) -> _Later:
        header = signed.header
        self.standing.begin(header)
        records = read_records(self.checks, header, encoded)
        jobs = self.job_check.jobs(header, records, self.standing.now)
        thinning = self.standing.now.find(Thinning)
        least = 0 if thinning is None else thinning.work_log2
        work = {job.id: min(max(job.work_log2, least), MAX_CREDIT_LOG2) for job in jobs}
        if header.number:
            best = energy.best_efficiency(self.standing.now)
            if best is not None:
                self.efficiency = min(self.efficiency or best, best)
        rule = self.standing.now.find(PayoutRule)
        if rule is not None:
            self.rules[header.number] = rule
        self.facts.take_epoch(header.number, records, self.standing.now)
        shares = EpochShares(self.context, header, jobs, work, self.standing.now)
        return _Later(shares, {job.id: job for job in jobs}, work, records)

    def _end_epoch(self, signed: SignedHeader, encoded: Sequence[bytes], shares: _Later | None) -> None:
        header = signed.header
        later = shares or self._begin_shares(signed, encoded)
        later.shares.finish()
        self.order.add(
            header.number,
            later.shares.order,
            by_job=later.shares.by_job,
            credited=later.work,
            jobs=later.jobs,
            blocks=self.work.blocks,
        )
        self.standing.end(header, later.records, last=header.number == self.manifest.last_epoch)

    def _key_chain(self) -> KeyChain | None:
        try:
            chain = KeyChain(self.reader.keys)
        except EvidenceError as error:
            self.checks.failed("key chain", str(error))
            return None
        if chain.site != self.manifest.site:
            self.checks.failed("key chain", "the keys are those of another site")
        return chain

    def _conclude(self) -> Verified:
        checks, headers = self.checks, self.walk.headers
        self._conclude_epochs(headers)
        self.standing.finish(self.work.scales)
        self._conclude_shares()
        chain = self._chain()
        simulation = self.standing.simulation
        private = self.standing.site is None or bool(self.standing.site.private)
        asked = bool(self.claims & Claim.TIME)
        after, latest = time.check_chain(checks, self.facts, chain, private=private)
        time.check_lower_bounds(checks, headers, latest)
        trust = Trust(chain=chain, tsa_roots=self.options.tsa_roots, witnesses=self.options.witnesses)
        externals, doubts = time.check_stamps(checks, self.reader.stamps, self.walk.known, trust)
        externals += time.anchors(self.work.blocks, self.facts.roots, chain)
        bounds = time.bounds(headers, after, externals)
        self._check_revoked(bounds)
        time.conclude_time(checks, bounds, doubts, asked=asked)
        first, last = headers[0], headers[-1]
        label = energy.check_meters(checks, self.facts)
        if self.claims & Claim.ENERGY:
            energy.check_coverage(checks, self.facts, first.start_us, last.end_us, label=label)
        energy.check_energy_bound(checks, self.facts, self.work, self.efficiency)
        energy.check_sources(checks, self.facts)
        block_shares = self.work.blocks.among(self._named_blocks())
        check_blocks(checks, self.facts, block_shares, headers, chain, thinned=self.standing.thinned)
        payouts = PayoutCheck(
            checks,
            self.facts,
            self.rules,
            shares=block_shares,
            order=self.order,
            from_beginning=first.number <= 1,
            asked=bool(self.claims & Claim.PAYOUT),
        )
        payouts.run()
        check_receipts(checks, self.options.receipts, self.manifest, headers, keys=self.keys, work=self.work)
        subject = "simulation" if simulation else "mine"
        report = Report(
            verdict=checks.verdict,
            subject=subject,
            checks=checks.results(),
            statement=make_statement(
                Shown(
                    manifest=self.manifest,
                    headers=headers,
                    standing=self.standing,
                    facts=self.facts,
                    work=self.work,
                    checks=checks,
                    bounds=bounds,
                    efficiency_mj_per_th=self.efficiency,
                    pinned=self.options.key is not None,
                    block_shares=block_shares,
                    payouts=payouts.last,
                    lacking=len(payouts.lacking),
                )
            ),
        )
        summary = Summary.of(self.manifest, self.walk, self.facts, self.seen, self.work)
        return Verified(
            report=report,
            summary=summary,
            order=self.order.order(from_beginning=first.number <= 1) if self.options.keep_order else None,
            blocks=tuple(found_blocks(self.facts, block_shares)),
            value=self.order.value(),
            rule=self.rules.get(last.number),
            network="" if self.standing.site is None else self.standing.site.network,
            block_shares=block_shares,
        )

    def _named_blocks(self) -> set[bytes]:
        """Return the hashes that records name as blocks."""
        return {*self.facts.blocks, *(payout.block_hash for _, payout in self.facts.payouts)}

    def _conclude_epochs(self, headers: Sequence[Header]) -> None:
        checks, manifest = self.checks, self.manifest
        first, last = headers[0], headers[-1]
        if (first.number, last.number) != (manifest.first_epoch, manifest.last_epoch):
            checks.failed(
                "epoch chain",
                f"epochs {manifest.first_epoch} to {manifest.last_epoch} are announced,"
                f" {first.number} to {last.number} are here",
            )
        if (first.start_us, last.end_us) != (manifest.start_us, manifest.end_us):
            checks.failed("epoch chain", "the epochs do not cover the period that is announced")
        checks.passed(
            "epoch chain", Label.PROVEN, f"epochs {first.number} to {last.number}, each signed, none missing"
        )
        self._check_seal(last)
        if self.keys is not None:
            self._check_key_records(self.keys)
            names = fingerprint(self.keys.events[-1].body.key)
            checks.passed(
                "key chain",
                Label.PROVEN,
                f"{counted(len(self.keys.events), 'key event')}; the key is {names}",
            )
        self._check_pin()

    def _check_key_records(self, keys: KeyChain) -> None:
        """Check that what was logged of keys is an event of the chain, in the epoch in which it took effect."""
        epochs = {event_hash(event.body): event.body.from_epoch for event in keys.events}
        for number, event in self.facts.key_records:
            if epochs.get(event) != number:
                what = (
                    "is not in the chain of keys" if event not in epochs else f"is of epoch {epochs[event]}"
                )
                self.checks.failed("key chain", f"epoch {number} logs a key event that {what}")

    def _check_seal(self, last: Header) -> None:
        seal = self.reader.seal
        if seal is None or seal.digest != self.reader.digest or not seal.is_signed():
            self.checks.failed("seal", "the seal is not that of these bytes")
        elif self.keys is not None and seal.key not in (last.key, self.keys.events[-1].body.key):
            self.checks.failed(
                "seal", f"sealed by {fingerprint(seal.key)[:16]}…, which does not sign for the site now"
            )
        self.checks.passed("seal", Label.PROVEN, "sealed by the site's key")

    def _check_pin(self) -> None:
        if self.options.key is None:
            self.checks.passed(
                "pinned key", Label.ASSERTED, "no key was pinned: who the operator is was not checked"
            )
            return
        wanted = self.options.key.lower().replace(":", "")
        names = {self.manifest.site.hex()}
        if self.keys is not None:
            names |= {fingerprint(event.body.key) for event in self.keys.events}
        if self.keys is None or wanted not in names:
            self.checks.failed("pinned key", f"the bundle is not by the key {wanted[:16]}…")
        self.checks.passed("pinned key", Label.PROVEN, f"signed under the pinned key {wanted[:16]}…")

    def _conclude_shares(self) -> None:
        checks, facts = self.checks, self.facts
        found = self.seen.duplicate()
        if found is not None:
            (epoch, position), (other, at) = found
            checks.failed(
                "duplicates",
                f"the shares at position {position} of epoch {epoch} and at {at} of epoch {other} are one header",
            )
        count = int(self.work.counts().sum())
        checks.passed(
            "shares", Label.PROVEN, f"{counted(count, 'share')} hashed again, each below its target"
        )
        checks.passed("duplicates", Label.PROVEN, "no header is counted twice in this bundle")
        accounts = counted(len(self.work.accounts), "account adds up", "accounts add up")
        checks.passed("sums", Label.PROVEN, f"{accounts} to what was signed")
        checks.passed("records", Label.PROVEN, "every record leads to a signed root")
        checks.passed(
            "time bounds",
            Label.ASSERTED,
            "receive times lie within their epochs, header times within their jobs'",
        )
        text = f"{counted(facts.bound, 'job commits', 'jobs commit')} to site, account and target"
        if facts.upstream:
            jobs = counted(facts.upstream, "job is an upstream pool's", "jobs are an upstream pool's")
            text += f"; {jobs}, whose work is unbound"
        checks.passed("binding", Label.PROVEN, text)
        if self.claims & Claim.ANCHOR and facts.anchored < facts.bound:
            checks.failed(
                "anchor",
                f"{counted(facts.bound - facts.anchored, 'job carries', 'jobs carry')} no root of an epoch before",
            )
        private = self.standing.site is None or bool(self.standing.site.private)
        text = f"the root of the last closed epoch is in {facts.anchored:,} of {counted(facts.bound, 'job')}"
        if private:
            text += "; on a private chain, whose work is cheap, that shows nothing to others"
        checks.passed("anchor", Label.PROVEN if facts.anchored and not private else Label.ASSERTED, text)
        self._check_uniform()

    def _check_uniform(self) -> None:
        """Check that hash over target is spread by chance, apart for bound and unbound work."""
        for bound, counts in self.work.uniform.items():
            found = uniform_chance(counts)
            if found is None:
                continue
            chance, bins = found
            what = "bound" if bound else "unbound"
            if chance < UNIFORM_LIMIT:
                self.checks.failed(
                    "uniformity",
                    f"hash over target of {what} work is spread so with probability {chance:.1e} only",
                )
            self.checks.passed(
                "uniformity", Label.PROVEN, f"hash over target: chance {chance:.2g} in {bins} bins"
            )

    def _chain(self) -> HeaderChain | None:
        site, part = self.standing.site, self.reader.chain
        headers = self.options.headers
        given = headers is not None
        if headers is None and part is not None:
            headers = part.headers
        if headers is None or site is None:
            return None
        try:
            return trusted_chain(site.network, headers, self.options.checkpoints)
        except HashwerkError as error:
            if given or self.claims & Claim.TIME:
                self.checks.failed("chain", str(error), Verdict.INVALID if given else Verdict.INCOMPLETE)
            return None

    def _check_revoked(self, bounds: Sequence[time.Bounds]) -> None:
        """Epochs signed by a revoked key stand only if they were stamped before the revocation."""
        if self.keys is None:
            return
        for bound in bounds:
            try:
                revoked = self.keys.revoked_at_us(self.keys.key_at(bound.epoch))
            except EvidenceError:
                continue  # named by the walk already
            if revoked is not None and (bound.before_us is None or bound.before_us > revoked):
                self.checks.failed(
                    "key chain",
                    f"epoch {bound.epoch} is signed by a revoked key and was not stamped before it was revoked",
                )


class _Later(msgspec.Struct):
    """The epoch under way."""

    shares: EpochShares
    jobs: dict[int, Job]
    work: dict[int, int]
    records: list[Record]
