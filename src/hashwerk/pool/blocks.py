"""Found blocks: built from the share, handed to the node at once, recorded with what became of them."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashwerk.chain.block import assemble_block
from hashwerk.chain.header import hash_to_hex
from hashwerk.errors import NodeError
from hashwerk.pool.jobs import JobBook
from hashwerk.stratum.ports import BlockRecord, Ledger, Node, SubmitOutcome
from hashwerk.work.check import assemble_coinbase, check_share
from hashwerk.work.job import Job

log = logging.getLogger(__name__)

_REMEMBERED: Final = 1_000


class BlockSubmitter:
    """Brings blocks to the node, each once.

    Resource handling:
        One task per block until the node has answered; `close` waits for them.
    """

    def __init__(self, book: JobBook, ledger: Ledger, node: Node) -> None:
        self._book = book
        self._ledger = ledger
        self._node = node
        self._tasks: set[asyncio.Task[None]] = set()
        self._known: dict[bytes, None] = {}

    def submit(self, rows: NDArray[np.void]) -> None:
        """Hand in the blocks that shares are, whatever their verdicts (`work.batch.ROW_DTYPE`)."""
        for row in rows:
            job = self._book.job(int(row["job"]))
            if job is not None and job.upstream is None:
                self._submit(job, row)

    async def close(self) -> None:
        """Wait for the node's answers."""
        await asyncio.gather(*self._tasks)

    def _submit(self, job: Job, row: np.void) -> None:
        extranonce1, extranonce2 = int(row["extranonce1"]), int(row["extranonce2"])
        header, block_hash = check_share(
            job, extranonce1, extranonce2, int(row["ntime"]), int(row["nonce"]), int(row["version"])
        )
        if block_hash in self._known:
            return
        self._known[block_hash] = None
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        block = assemble_block(header, assemble_coinbase(job, extranonce1, extranonce2), job.template)
        found_at, worker_id = int(row["time_us"]) / 1e6, int(row["worker"]) or None
        task = asyncio.get_running_loop().create_task(
            self._hand_in(job, block, block_hash, found_at, worker_id), name="block"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hand_in(
        self, job: Job, block: bytes, block_hash: bytes, found_at: float, worker_id: int | None
    ) -> None:
        try:
            outcome = await self._node.submit_block(block)
        except NodeError as error:
            outcome = SubmitOutcome(accepted=False, reason=str(error))
        template = job.template
        self._ledger.put_block(
            BlockRecord(
                hash=block_hash,
                height=template.height,
                found_at=found_at,
                worker_id=worker_id,
                job_id=job.id,
                reward_sat=template.coinbase_value_sat,
                state="accepted" if outcome.accepted else "rejected",
                reason=outcome.reason,
                confirmations=1 if outcome.accepted else 0,
            )
        )
        words = f"Block {template.height} {'accepted' if outcome.accepted else f'refused: {outcome.reason}'}"
        log.info("%s, %s", words, hash_to_hex(block_hash))
        self._ledger.event("block", words, hash=hash_to_hex(block_hash), job=job.id, worker=worker_id)
