"""Work of our own: jobs built from the node's template, each bound to its account and target by a tag in the coinbase."""

from __future__ import annotations

from hashwerk.chain.coinbase import build_coinbase
from hashwerk.chain.target import target_from_compact, work_from_target
from hashwerk.chain.template import Template
from hashwerk.evidence.tag import ZERO_ROOT, job_tag, job_tag_preimage
from hashwerk.pool.payees import Payees
from hashwerk.pool.room import Room
from hashwerk.pool.settings import PoolSettings
from hashwerk.stratum.ports import Account
from hashwerk.work.branch import fast_merkle_branch
from hashwerk.work.job import Job


class OwnWork:
    """One template, from which the jobs of accounts and targets are made."""

    __slots__ = ("_branch", "_payees", "_settings", "_site_key", "epoch_root", "template")

    def __init__(
        self,
        template: Template,
        settings: PoolSettings,
        *,
        site_key: bytes,
        payees: Payees,
        epoch_root: bytes = ZERO_ROOT,
        before: OwnWork | None = None,
    ) -> None:
        """Take a template; the branch of the work ``before`` is used again if the transactions are the same."""
        self.template = template
        self._settings = settings
        self._site_key = site_key
        self._payees = payees
        self.epoch_root = epoch_root  # of the last closed epoch; the next jobs carry it
        self._branch: tuple[bytes, ...]
        if before is not None and template.transactions == before.template.transactions:
            self._branch = before._branch
        else:
            self._branch = fast_merkle_branch([transaction.txid for transaction in template.transactions])

    @property
    def prev_hash(self) -> bytes:
        """The block it builds on."""
        return self.template.prev_hash

    @property
    def version_mask(self) -> int:
        """The bits machines may roll."""
        return self._settings.version_mask

    @property
    def most_work_log2(self) -> int:
        """The hardest share target that every block of the template meets."""
        return work_from_target(target_from_compact(self.template.nbits)).bit_length() - 1

    @property
    def is_repeating(self) -> bool:
        """Whether two of its jobs could have work in common: never, each has its number in the coinbase."""
        return False

    def build(self, *, job_id: int, account: Account, work_log2: int, room: Room, now: float) -> Job:
        """Return the job of an account and target.

        Raises:
            CoinbaseSizeError: If the coinbase does not fit.
        """
        template, settings = self.template, self._settings
        preimage = job_tag_preimage(self._site_key, self.epoch_root, account.commitment, work_log2)
        tag = job_tag(preimage)
        parts = build_coinbase(
            template=template,
            outputs=self._payees.outputs(account.name, template.coinbase_value_sat),
            pool_tag=settings.pool_tag.encode(),
            job_number=job_id,
            extranonce_size=sum(room),
            commitment=tag,
        )
        return Job(
            id=job_id,
            account_id=account.id,
            work_log2=work_log2,
            template=template,
            coinbase1=parts.coinbase1,
            coinbase2=parts.coinbase2,
            branch=self._branch,
            version=template.version & ~settings.version_mask,
            version_mask=settings.version_mask,
            ntime=_ntime(template, now),
            extranonce1_size=room.extranonce1_size,
            extranonce2_size=room.extranonce2_size,
            tag=tag,
            tag_preimage=preimage,
            created_at=now,
        )


def _ntime(template: Template, now: float) -> int:
    """Return the time to begin with: the template's, moved on by its age, within its bounds."""
    age_s = max(0.0, now - template.received_at) if template.received_at else 0.0
    ntime = max(template.time + int(age_s), template.min_time)
    return ntime if template.max_time is None else min(ntime, template.max_time)
