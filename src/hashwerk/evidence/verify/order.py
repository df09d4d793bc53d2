"""The order in which bound shares came, brought together from the accounts they stand by; beyond a limit in files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from hashwerk.chain.target import target_from_compact, work_from_target
from hashwerk.evidence.payout import ShareOrder
from hashwerk.evidence.records import UNBOUND, Job
from hashwerk.evidence.verify.block_shares import BlockShares

#: Shares held in memory, five bytes each; beyond that they go to a file.
MAX_HELD: Final = 4_000_000

Value = dict[tuple[bytes, int, int], int]  # account, coinbase value, expected hashes for a block → hashes


class OrderBuilder:
    """Brings the shares of an epoch, which stand by account, back into the order in which they came.

    Unbound work is left out: it is paid by its pool. Positions may have gaps, as they have in thinned epochs.
    Resource handling: call `close`; what `order` gave can be read after it.
    """

    def __init__(self, max_held: int = MAX_HELD) -> None:
        self._accounts: dict[bytes, int] = {}
        self._account = _Column(np.dtype(np.uint32), max_held)
        self._work = _Column(np.dtype(np.uint8), max_held)
        self.values: dict[int, Value] = {}  # by epoch

    def add(
        self,
        number: int,
        order: Sequence[tuple[bytes, NDArray[np.uint32], NDArray[np.uint8]]],
        *,
        by_job: Mapping[tuple[bytes, int], int],
        credited: Mapping[int, int],
        jobs: Mapping[int, Job],
        blocks: BlockShares,
    ) -> None:
        """Take the shares of an epoch.

        Args:
            number: Of the epoch.
            order: Account, positions and work of each chunk.
            by_job: Shares by account and job.
            credited: What a share of each job is credited, as a power of two.
            jobs: The epoch's jobs by their numbers.
            blocks: Told where those of the epoch stand.
        """
        positions = np.concatenate([part[1] for part in order]) if order else np.empty(0, np.uint32)
        work = np.concatenate([part[2] for part in order]) if order else np.empty(0, np.uint8)
        index = [self._accounts.setdefault(part[0], len(self._accounts)) for part in order]
        account = np.repeat(np.array(index, np.uint32), [len(part[1]) for part in order])
        sequence = np.argsort(positions, kind="stable")
        blocks.place(positions[sequence], len(self._account), jobs)
        self._account.append(account[sequence])
        self._work.append(work[sequence])
        value = self._value(by_job, credited, jobs)
        if value:
            self.values[number] = value

    def value(self, epochs: Iterable[int] | None = None) -> Value:
        """Return the work of epochs, or of all, by account, coinbase value and expected hashes."""
        found: Value = {}
        for number in self.values if epochs is None else epochs:
            for name, hashes in self.values.get(number, {}).items():
                found[name] = found.get(name, 0) + hashes
        return found

    def order(self, *, from_beginning: bool) -> ShareOrder:
        """Return all shares in their order."""
        return ShareOrder(
            tuple(self._accounts), self._account.array(), self._work.array(), from_beginning=from_beginning
        )

    def close(self) -> None:
        """Remove the files."""
        self._account.close()
        self._work.close()

    @staticmethod
    def _value(
        by_job: Mapping[tuple[bytes, int], int], credited: Mapping[int, int], jobs: Mapping[int, Job]
    ) -> Value:
        found: Value = {}
        for (account, number), count in by_job.items():
            if account == UNBOUND:
                continue
            job = jobs[number]
            name = account, job.coinbase_value_sat, work_from_target(target_from_compact(job.nbits))
            found[name] = found.get(name, 0) + (count << credited[number])
        return found


class _Column:
    """An array that grows, in memory up to a limit and in a file beyond it."""

    def __init__(self, dtype: np.dtype[Any], max_held: int) -> None:
        self._dtype = dtype
        self._max_held = max_held
        self._held: list[NDArray[Any]] = []
        self._file: IO[bytes] | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, values: NDArray[Any]) -> None:
        """Add values."""
        self._count += len(values)
        if self._file is None and self._count <= self._max_held:
            self._held.append(values)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
            for held in self._held:
                self._file.write(held.tobytes())
            self._held = []
        self._file.write(values.tobytes())

    def array(self) -> NDArray[Any]:
        """Return all values; of a file they are read as they are needed."""
        if self._file is None:
            return np.concatenate(self._held) if self._held else np.empty(0, self._dtype)
        self._file.flush()
        return np.memmap(self._file, self._dtype, mode="r", shape=(self._count,))

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()
        self._file = None
