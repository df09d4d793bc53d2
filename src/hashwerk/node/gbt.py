"""From Bitcoin Core's ``getblocktemplate`` (BIP-0022, BIP-0023, BIP-0145) to a template that was verified.

A node can be wrong: broken memory, a proxy that cuts, somebody else's program on the port. Days of work are
put into what it says, so all that can be recomputed is. Scripts and coins remain the node's word.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hashwerk.chain.block import MAX_BLOCK_WEIGHT, witness_commitment
from hashwerk.chain.header import double_sha256, hash_from_hex
from hashwerk.chain.nbits import MAX_FUTURE_BLOCK_TIME_S
from hashwerk.chain.network import Network
from hashwerk.chain.subsidy import MAX_MONEY_SAT, subsidy_sat
from hashwerk.chain.target import compact_from_target, target_from_compact
from hashwerk.chain.template import Template, TemplateTransaction
from hashwerk.chain.transaction import Transaction
from hashwerk.errors import DecodeError, NodeError

MAX_BLOCK_SIGOPS_COST: Final = 80_000
#: Soft forks this program builds right blocks for. A node marks with "!" a rule that a miner must know.
_KNOWN_RULES: Final = frozenset({"csv", "segwit", "taproot", "signet", "testdummy"})
#: Challenge of a signet that needs no signature: OP_TRUE.
_OPEN_SIGNET: Final = "51"
_VERSION_MASK: Final = 0xFFFF_FFFF


class InvalidTemplateError(NodeError):
    """The node's template is not one a valid block can be built from."""

    retry = True


class GbtTransaction(msgspec.Struct, frozen=True):
    """A transaction as ``getblocktemplate`` gives it."""

    data: str
    txid: str
    hash: str
    fee: int | None = None
    depends: list[int] = []
    sigops: int | None = None
    weight: int | None = None


class GbtReply(msgspec.Struct, frozen=True):
    """The part of a ``getblocktemplate`` reply that is used."""

    version: int
    previousblockhash: str
    transactions: list[GbtTransaction]
    coinbasevalue: int
    bits: str
    mintime: int
    curtime: int
    height: int
    target: str | None = None
    longpollid: str | None = None
    default_witness_commitment: str | None = None
    rules: list[str] = []
    signet_challenge: str | None = None


class TemplateVerifier:
    """Turns replies into verified templates. Remembers the transactions of the last one: most come again."""

    __slots__ = ("_known", "_network")

    def __init__(self, network: Network) -> None:
        self._network = network
        self._known: dict[bytes, tuple[bytes, int]] = {}  # wtxid to txid and weight

    def verify(self, reply: GbtReply, *, previous_time: int | None, now: float, source: str) -> Template:
        """Return the template of a reply.

        Args:
            reply: What the node said.
            previous_time: Header time of the block it builds on; needed where the 20-minute rule holds.
            now: Unix seconds, UTC.
            source: The node, as the template is to name it.

        Raises:
            InvalidTemplateError: With the first thing found wrong.
        """
        try:
            self._check_rules(reply)
            nbits = self._check_target(reply)
            transactions = self._check_transactions(reply)
            self._check_value(reply)
            self._check_times(reply, now)
            min_time, max_time = self._times(reply, nbits, previous_time)
            return Template(
                network=self._network.name,
                height=reply.height,
                version=reply.version & _VERSION_MASK,
                prev_hash=hash_from_hex(reply.previousblockhash),
                nbits=nbits,
                time=max(reply.curtime, min_time),
                min_time=min_time,
                max_time=max_time,
                coinbase_value_sat=reply.coinbasevalue,
                transactions=transactions,
                witness_commitment=_check_commitment(reply, transactions),
                source=source,
                received_at=now,
            )
        except (DecodeError, ValueError) as error:
            raise InvalidTemplateError(f"{source} sent an invalid template: {error}") from error

    def _check_rules(self, reply: GbtReply) -> None:
        unknown = [rule for rule in reply.rules if rule.startswith("!") and rule[1:] not in _KNOWN_RULES]
        if unknown:
            raise ValueError(f"it demands rules this version does not know: {', '.join(unknown)}")
        if reply.signet_challenge not in (None, _OPEN_SIGNET):
            raise ValueError("blocks of this signet must be signed, and this program has no key for it")

    def _check_target(self, reply: GbtReply) -> int:
        nbits = int(reply.bits, 16)
        target = target_from_compact(nbits)
        if target > self._network.pow_limit:
            raise ValueError(f"nBits {nbits:08x} is easier than {self._network.name} allows")
        if reply.target is not None and int(reply.target, 16) != target:
            raise ValueError(f"target {reply.target} is not that of nBits {nbits:08x}")
        return nbits

    def _check_transactions(self, reply: GbtReply) -> tuple[TemplateTransaction, ...]:
        """Recompute every hash and weight; a known transaction costs no more than one hash."""
        known = {}
        transactions = []
        weight = sigops = 0
        for index, given in enumerate(reply.transactions):
            data = bytes.fromhex(given.data)
            wtxid = double_sha256(data)
            entry = self._known.get(wtxid) or _txid_and_weight(data)
            known[wtxid] = entry
            txid, tx_weight = entry
            if hash_from_hex(given.txid) != txid or hash_from_hex(given.hash) != wtxid:
                raise ValueError(f"transaction {index} ({given.txid}) has another hash than the node says")
            if given.weight is not None and given.weight != tx_weight:
                raise ValueError(f"transaction {index} weighs {tx_weight}, not {given.weight}")
            if any(not 1 <= before <= index for before in given.depends):
                raise ValueError(f"transaction {index} comes before one it depends on")
            weight += tx_weight
            sigops += given.sigops or 0
            transactions.append(
                TemplateTransaction(data=data, txid=txid, wtxid=wtxid, weight=tx_weight, fee_sat=given.fee)
            )
        if len({transaction.txid for transaction in transactions}) != len(transactions):
            raise ValueError("a transaction is in it twice")
        if weight > MAX_BLOCK_WEIGHT or sigops > MAX_BLOCK_SIGOPS_COST:
            raise ValueError(f"its transactions are too many: weight {weight}, signature operations {sigops}")
        self._known = known
        return tuple(transactions)

    def _check_value(self, reply: GbtReply) -> None:
        if reply.height < 1:
            raise ValueError(f"height {reply.height} is below 1")
        fees = [transaction.fee for transaction in reply.transactions]
        limit_sat = MAX_MONEY_SAT
        if all(fee is not None for fee in fees):
            limit_sat = subsidy_sat(self._network, reply.height) + sum(fee or 0 for fee in fees)
        if not 0 <= reply.coinbasevalue <= limit_sat:
            raise ValueError(
                f"the coinbase may be worth {limit_sat} sat at most, the node says {reply.coinbasevalue}"
            )

    def _check_times(self, reply: GbtReply, now: float) -> None:
        if not 0 < reply.mintime <= reply.curtime <= now + MAX_FUTURE_BLOCK_TIME_S:
            raise ValueError(
                f"its times are out of order: mintime {reply.mintime}, curtime {reply.curtime}, "
                f"this machine's clock {int(now)}"
            )

    def _times(self, reply: GbtReply, nbits: int, previous_time: int | None) -> tuple[int, int | None]:
        """Return the window of header times in which these nBits hold (20-minute rule, see `chain.nbits`)."""
        network = self._network
        is_retarget = reply.height % network.retarget_interval == 0
        has_edge = network.allow_min_difficulty and not network.no_retarget and not is_retarget
        if not has_edge or previous_time is None:
            return reply.mintime, None
        edge = previous_time + 2 * network.target_spacing_s
        if reply.curtime > edge:
            # Whether the ordinary nBits are the easiest too is not known; this window is right in both cases.
            return max(reply.mintime, edge + 1), None
        if nbits == compact_from_target(network.pow_limit):
            return reply.mintime, None  # the ordinary nBits are the easiest themselves
        if reply.mintime > edge:
            raise ValueError(f"its earliest time {reply.mintime} lies beyond the 20-minute edge {edge}")
        return reply.mintime, edge


def _txid_and_weight(data: bytes) -> tuple[bytes, int]:
    transaction = Transaction.parse(data)
    if transaction.is_coinbase:
        raise ValueError("there is a coinbase among its transactions")
    return transaction.txid(), transaction.weight()


def _check_commitment(reply: GbtReply, transactions: tuple[TemplateTransaction, ...]) -> bytes | None:
    """Return the witness commitment's output script; needed as soon as any transaction has a witness."""
    if reply.default_witness_commitment is None:
        if any(transaction.txid != transaction.wtxid for transaction in transactions):
            raise ValueError("it has witnesses and no witness commitment")
        return None
    expected = witness_commitment([transaction.wtxid for transaction in transactions])
    if bytes.fromhex(reply.default_witness_commitment) != expected:
        raise ValueError("its witness commitment is not that of its transactions")
    return expected
