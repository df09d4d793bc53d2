"""One unsigned transaction that pays all that is due: the rewards of mature blocks in, a payout for each account out.

Everything in it follows from the settlement, in a fixed order: building it twice gives the same bytes, and two copies
of it spend the same coins, so nobody is paid twice. The form is BIP-0174, version 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from hashwerk.chain.address import script_from_address
from hashwerk.chain.header import double_sha256, hash_to_hex
from hashwerk.chain.network import network_from_name
from hashwerk.chain.serial import compact_size
from hashwerk.errors import EvidenceError
from hashwerk.evidence.payout import DUST_SAT, apportion
from hashwerk.evidence.settlement import Settlement, coinbase_outputs

OPERATOR: Final = "operator"
_MAGIC: Final = b"psbt\xff"
_SEQUENCE: Final = 0xFFFF_FFFD  # may be replaced by one with a higher fee (BIP-0125)
# Virtual bytes: without a witness and with the signature of a single key (P2WPKH); scripts of several keys need more.
_TX_VBYTES: Final = 11
_INPUT_VBYTES: Final = 68
_OTHER_INPUT_VBYTES: Final = 150


class Coin(msgspec.Struct, frozen=True):
    """An output of a coinbase that can be spent."""

    txid: bytes
    vout: int
    sat: int
    script: bytes
    transaction: bytes


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """An unsigned batch."""

    psbt: bytes
    txid: str
    inputs: int
    outputs: int
    fee_sat: int


def build_batch(settlement: Settlement, addresses: Mapping[str, str], fee_rate: float) -> Batch:
    """Return the batch of a settlement. What a coinbase has paid to an account's address already is not paid again.

    The network's fee comes out of what is left for the operator; if that is too little, out of all payouts in
    proportion.

    Args:
        settlement: What is due.
        addresses: Account commitment in hexadecimal → address; ``operator`` → who gets what is left.
        fee_rate: Satoshi a virtual byte.

    Raises:
        EvidenceError: If nothing is due or an address is missing.
        ConfigError: If an address is not one of the network.
    """
    network = network_from_name(settlement.network)
    known = {account: script_from_address(address, network) for account, address in addresses.items()}
    coins: list[Coin] = []
    due = dict(settlement.mature)
    for payout in settlement.payouts:
        if payout.block.state == "mature":
            left_over, paid = _coin(settlement.coinbases[payout.block.hash], payout.entries, known)
            coins += left_over
            due |= {account: due.get(account, 0) - sat for account, sat in paid.items()}
    coins.sort(key=lambda coin: (coin.txid, coin.vout))
    due = {account: sat for account, sat in due.items() if sat >= DUST_SAT}
    if not coins or not due:
        raise EvidenceError(
            "nothing is due: no block of the bundle is mature, all amounts stay owed, or coinbases have paid them"
        )
    scripts = {}
    for name in [*(account.hex() for account in due), OPERATOR]:
        if name not in addresses:
            raise EvidenceError(f"no address is given for {name}")
        scripts[name] = known[name]
    size = _TX_VBYTES + sum(9 + len(script) for script in scripts.values())
    size += sum(_INPUT_VBYTES if len(coin.script) == 22 else _OTHER_INPUT_VBYTES for coin in coins)
    fee_sat = -(-int(size * fee_rate * 1000) // 1000)
    left = sum(coin.sat for coin in coins) - sum(due.values())
    if left < fee_sat:
        cut = apportion(fee_sat - left, due)
        due = {account: sat - cut.get(account, 0) for account, sat in due.items()}
        left = fee_sat
    outputs = [(sat, scripts[account.hex()]) for account, sat in due.items()]
    if left - fee_sat >= DUST_SAT:
        outputs.append((left - fee_sat, scripts[OPERATOR]))
    outputs.sort()
    unsigned = _transaction(coins, outputs)
    return Batch(
        psbt=_psbt(unsigned, coins, len(outputs)),
        txid=hash_to_hex(double_sha256(unsigned)),
        inputs=len(coins),
        outputs=len(outputs),
        fee_sat=sum(coin.sat for coin in coins) - sum(sat for sat, _ in outputs),
    )


def _coin(
    coinbase: bytes, entries: Mapping[bytes, int], known: Mapping[str, bytes]
) -> tuple[list[Coin], dict[bytes, int]]:
    """Return the output of a coinbase that the operator holds, the largest, and what others paid to accounts directly.

    An output is an account's if it has exactly the account's amount and script.
    """
    outputs = [(sat, -index, script) for index, (sat, script) in enumerate(coinbase_outputs(coinbase))]
    paid: dict[bytes, int] = {}
    for account, sat in entries.items():
        is_operators = known.get(account.hex()) == known.get(OPERATOR)
        mine = [output for output in outputs if (output[0], output[2]) == (sat, known.get(account.hex()))]
        if mine and not is_operators:
            outputs.remove(mine[0])
            paid[account] = sat
    sat, vout, script = max(outputs, default=(0, 0, b""))
    coins = [Coin(double_sha256(coinbase), -vout, sat, script, coinbase)] if sat else []
    return coins, paid


def _transaction(coins: list[Coin], outputs: list[tuple[int, bytes]]) -> bytes:
    return b"".join(
        [
            (2).to_bytes(4, "little"),
            compact_size(len(coins)),
            *(
                coin.txid + coin.vout.to_bytes(4, "little") + b"\x00" + _SEQUENCE.to_bytes(4, "little")
                for coin in coins
            ),
            compact_size(len(outputs)),
            *(_output(sat, script) for sat, script in outputs),
            bytes(4),
        ]
    )


def _output(sat: int, script: bytes) -> bytes:
    return sat.to_bytes(8, "little") + compact_size(len(script)) + script


def _psbt(unsigned: bytes, coins: list[Coin], outputs: int) -> bytes:
    """Return the PSBT: what signers need to know of each coin is its output, or for old scripts its transaction."""
    parts = [_MAGIC, _pair(b"\x00", unsigned), b"\x00"]
    for coin in coins:
        is_witness = 4 <= len(coin.script) <= 42 and coin.script[0] in (0, *range(0x51, 0x61))
        if is_witness and coin.script[1] == len(coin.script) - 2:
            parts.append(_pair(b"\x01", _output(coin.sat, coin.script)))
        else:
            parts.append(_pair(b"\x00", coin.transaction))
        parts.append(b"\x00")
    return b"".join([*parts, b"\x00" * outputs])


def _pair(key: bytes, value: bytes) -> bytes:
    return compact_size(len(key)) + key + compact_size(len(value)) + value
