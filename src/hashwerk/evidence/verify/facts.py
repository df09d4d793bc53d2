"""What the records of a bundle say, collected while it streams by, and the checks that need only one record or epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence import tree
from hashwerk.evidence.epoch import Header
from hashwerk.evidence.job_record import check_range, coinbase_problems, parse_coinbase
from hashwerk.evidence.keys import KeyChain
from hashwerk.evidence.leaf import NO_SUMS, SUM_COLUMNS, decode_record, record_hash, record_sums
from hashwerk.evidence.records import (
    Block,
    Certificate,
    Command,
    Configuration,
    Grid,
    Job,
    KeyRecord,
    LocalFact,
    Meter,
    Payout,
    PoolStatement,
    PrefixTable,
    Record,
    Rejected,
    SourceInterval,
)
from hashwerk.evidence.standing import Standing
from hashwerk.evidence.tag import ZERO_ROOT
from hashwerk.evidence.tree import Node
from hashwerk.evidence.verify.result import Checks, Verdict

#: Most bytes of coinbases in one epoch: the table of jobs is held in memory.
MAX_EPOCH_COINBASES: Final = 256 << 20
#: A job may carry an older root for as long as it takes to close an epoch and to tell the server.
ROOT_SLACK_US: Final = 120_000_000


class Reading(NamedTuple):
    """A meter's record, where it was logged, and which serial was declared for the meter by then."""

    meter: Meter
    epoch: int
    declared: str | None


class Facts:
    """Everything but shares."""

    def __init__(self) -> None:
        self.meters: list[Meter] = []
        self.readings: list[Reading] = []
        self.sources: list[SourceInterval] = []
        self.certificates: list[Certificate] = []
        self.certificate_epochs: dict[str, int] = {}
        self.commands: list[Command] = []
        self.grids: list[Grid] = []
        self.payouts: list[tuple[int, Payout]] = []
        self.blocks: dict[bytes, list[tuple[int, Block]]] = {}  # as logged, with the epoch
        self.key_records: list[tuple[int, bytes]] = []  # epoch, hash of a key event
        self.pool_statements: list[PoolStatement] = []
        self.local: list[LocalFact] = []
        self.rejected: dict[int, int] = {}
        self.prev_hashes: dict[bytes, tuple[int, int]] = {}  # → height of the job, first epoch
        self.anchored = 0
        self.bound = 0
        self.upstream = 0
        self.roots: dict[tuple[int, int], int] = {}  # epoch, job → the epoch whose root it carries

    def take_epoch(self, number: int, records: Sequence[Record], standing: Standing) -> None:
        """Keep what the records of an epoch say.

        Args:
            number: Of the epoch.
            records: In their order.
            standing: The declarations in force in it.
        """
        exchanged = {record.name: record.value for record in standing.all(Configuration)}
        exchanged |= {record.name: record.value for record in records if isinstance(record, Configuration)}
        for record in records:
            if isinstance(record, Meter):
                self.meters.append(record)
                self.readings.append(Reading(record, number, exchanged.get(f"meter/{record.meter}")))
            else:
                self._take(number, record)

    def _take(self, number: int, record: Record) -> None:
        if isinstance(record, SourceInterval):
            self.sources.append(record)
        elif isinstance(record, Certificate):
            self.certificates.append(record)
            self.certificate_epochs.setdefault(record.id, number)
        elif isinstance(record, Command):
            self.commands.append(record)
        elif isinstance(record, Grid):
            self.grids.append(record)
        elif isinstance(record, Payout):
            self.payouts.append((number, record))
        elif isinstance(record, Block):
            self.blocks.setdefault(record.hash, []).append((number, record))
        elif isinstance(record, KeyRecord):
            self.key_records.append((number, record.event))
        elif isinstance(record, PoolStatement):
            self.pool_statements.append(record)
        elif isinstance(record, LocalFact):
            self.local.append(record)
        elif isinstance(record, Rejected):
            self.rejected[record.verdict] = self.rejected.get(record.verdict, 0) + record.count


def read_records(checks: Checks, header: Header, encoded: Sequence[bytes]) -> list[Record]:
    """Return the records of an epoch and check that they are those that were signed.

    A register that runs backwards or has no direction adds nothing, and the check of meters says so.
    """
    where = f"epoch {header.number}"
    decoded: list[Record] = []
    nodes: list[Node] = []
    for data in encoded:
        sums = NO_SUMS
        try:
            record = decode_record(data)
        except DecodeError as error:
            checks.failed("records", f"{where}: {error}")
        else:
            decoded.append(record)
            try:
                sums = record_sums(record)
            except EvidenceError as error:
                checks.failed("meters", f"{where}: {error}")
        nodes.append(Node(record_hash(data), sums, 1))
    try:
        root = tree.root(tree.RECORDS, nodes)
    except EvidenceError as error:
        checks.failed("records", f"{where}: {error}")
        return decoded
    signed = tuple(getattr(header, name) for name in SUM_COLUMNS)
    if root.count != header.records or root.sums != signed:
        checks.failed(
            "records", f"{where}: the records are {root.count} with sums {root.sums}; signed were {signed}"
        )
    if root.hash != header.records_root:
        checks.failed("records", f"{where}: the records do not lead to the root that was signed")
    return decoded


class JobCheck:
    """Checks what the coinbases of jobs commit to."""

    def __init__(
        self,
        checks: Checks,
        facts: Facts,
        keys: KeyChain | None,
        epochs: dict[bytes, int],
        ends_us: dict[int, int],
    ) -> None:
        """Take what jobs are checked against.

        Args:
            checks: Where failures go.
            facts: Where what was found goes.
            keys: The site's keys; None: the bundle's are broken.
            epochs: Hash of each epoch so far → its number; grows while the bundle is read.
            ends_us: When each ended; grows likewise.
        """
        self._checks = checks
        self._facts = facts
        self._keys = keys
        self._epochs = epochs
        self._ends_us = ends_us

    def jobs(self, header: Header, records: Sequence[Record], standing: Standing) -> list[Job]:
        """Return the jobs of an epoch whose coinbases can be read."""
        where = f"epoch {header.number}"
        jobs: list[Job] = []
        numbers: set[int] = set()
        size = 0
        for record in records:
            if not isinstance(record, Job):
                continue
            if record.id in numbers:
                self._checks.failed("binding", f"{where}: job {record.id} stands twice in one epoch")
                continue
            numbers.add(record.id)
            size += len(record.coinbase1) + len(record.coinbase2) + 32 * len(record.branch)
            if size > MAX_EPOCH_COINBASES:
                self._checks.failed(
                    "shares", f"{where}: its jobs are larger than {MAX_EPOCH_COINBASES} bytes"
                )
                break
            try:
                coinbase = parse_coinbase(record)
                check_range(record)
            except DecodeError as error:
                self._checks.failed("binding", f"{where}: {error}")
                continue
            jobs.append(record)
            for problem in coinbase_problems(record, coinbase):
                self._checks.failed("binding", f"{where}: job {record.id} {problem}")
            self._facts.prev_hashes.setdefault(record.prev_hash, (record.height, header.number))
            if record.upstream:
                self._check_upstream(where, record, standing)
            else:
                self._check_own(header, record)
        return jobs

    def _check_upstream(self, where: str, job: Job, standing: Standing) -> None:
        self._facts.upstream += 1
        tables = [table for table in standing.all(PrefixTable) if table.upstream == job.source]
        if not tables:
            self._checks.failed(
                "binding",
                f"{where}: job {job.id} is of pool {job.source!r}, which was not declared before",
                Verdict.INCOMPLETE,
            )
        elif tables[0].work_log2 not in (0, job.work_log2):
            self._checks.failed(
                "binding",
                f"{where}: job {job.id} credits another target than was declared for {job.source!r}",
            )

    def _check_own(self, header: Header, job: Job) -> None:
        where = f"epoch {header.number}: job {job.id}"
        self._facts.bound += 1
        if self._keys is not None and not self._keys.has(job.site_key):
            self._checks.failed("binding", f"{where} names a site key that never signed for this site")
        if job.epoch_root != ZERO_ROOT:
            self._check_root(header, job, where)

    def _check_root(self, header: Header, job: Job, where: str) -> None:
        number = self._epochs.get(job.epoch_root)
        if number is None or number >= header.number:
            self._checks.failed("anchor", f"{where} carries a root that is not of an epoch before it")
            return
        following = self._ends_us.get(number + 1)
        if job.created_us + ROOT_SLACK_US < self._ends_us[number]:
            self._checks.failed(
                "anchor", f"{where} carries the root of epoch {number}, which was not closed yet"
            )
        elif following is not None and following + ROOT_SLACK_US < job.created_us:
            self._checks.failed(
                "anchor",
                f"{where} carries the root of epoch {number}, which was not the last closed",
                Verdict.INCOMPLETE,
            )
        self._facts.anchored += 1
        self._facts.roots[header.number, job.id] = number
