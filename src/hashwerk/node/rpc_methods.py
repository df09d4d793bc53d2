"""The methods of Bitcoin Core's RPC that a pool needs, answered by the embedded node.

Names, fields, error codes and messages are Core's. What a chain without peers and without a mempool has
nothing to say about is left out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from hashwerk import __version__
from hashwerk.chain.address import script_from_address
from hashwerk.chain.block import WITNESS_RESERVED_VALUE, Block, find_witness_commitment
from hashwerk.chain.header import BlockHeader, hash_from_hex, hash_to_hex
from hashwerk.chain.nbits import median_time_past
from hashwerk.chain.network import Network
from hashwerk.chain.target import difficulty_from_target, target_from_compact, work_from_target
from hashwerk.clock import Clock
from hashwerk.errors import ConfigError, DecodeError
from hashwerk.node.core_rpc import (
    RPC_DESERIALIZATION_ERROR,
    RPC_INVALID_ADDRESS_OR_KEY,
    RPC_INVALID_PARAMETER,
    RPC_METHOD_NOT_FOUND,
)
from hashwerk.node.engine import Engine, block_problem
from hashwerk.node.kernel import KernelNode

RPC_MISC_ERROR: Final = -1
RPC_TYPE_ERROR: Final = -3
#: Whose dialect is spoken; some pools look at it.
_CORE_VERSION: Final = 300_000
_HASHRATE_BLOCKS: Final = 120
_MAX_BLOCK_WEIGHT: Final = 4_000_000

Params = list[Any]  # JSON of a stranger: each method checks what it takes


class MethodError(Exception):
    """What a method answers instead of a result."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class RpcMethods:
    """The table of methods over one embedded node."""

    def __init__(self, node: KernelNode, network: Network, clock: Clock) -> None:
        self._node = node
        self._network = network
        self._clock = clock
        self._started_at = clock.monotonic()
        self._methods: dict[str, Callable[[Params], Awaitable[object]]] = {
            "getbestblockhash": self._getbestblockhash,
            "getblockchaininfo": self._getblockchaininfo,
            "getblockcount": self._getblockcount,
            "getblockhash": self._getblockhash,
            "getblockheader": self._getblockheader,
            "getblocktemplate": self._getblocktemplate,
            "getmininginfo": self._getmininginfo,
            "getnetworkinfo": self._getnetworkinfo,
            "preciousblock": self._preciousblock,
            "submitblock": self._submitblock,
            "uptime": self._uptime,
            "validateaddress": self._validateaddress,
        }

    async def call(self, method: str, params: Params) -> object:
        """Return the result of a method.

        Raises:
            MethodError: With the code and message Core would answer.
        """
        function = self._methods.get(method)
        if function is None:
            raise MethodError(RPC_METHOD_NOT_FOUND, "Method not found")
        return await function(params)

    async def _getblocktemplate(self, params: Params) -> object:
        request = _argument(params, 0, dict, "template_request", {})
        if request.get("mode", "template") != "template":
            raise MethodError(RPC_INVALID_PARAMETER, "Invalid mode")
        rules = request.get("rules")
        if not isinstance(rules, list) or "segwit" not in rules:
            raise MethodError(
                RPC_INVALID_PARAMETER,
                'getblocktemplate must be called with the segwit rule set (call with {"rules": ["segwit"]})',
            )
        long_poll_id = request.get("longpollid")
        if isinstance(long_poll_id, str):
            await self._node.wait_for_change(_hash(long_poll_id[:64]))
        template = await self._node.template()
        target = target_from_compact(template.nbits)
        commitment = template.witness_commitment
        return {
            "capabilities": ["proposal"],
            "version": template.version,
            "rules": ["csv", "!segwit", "taproot"],
            "vbavailable": {},
            "vbrequired": 0,
            "previousblockhash": hash_to_hex(template.prev_hash),
            "transactions": [],
            "coinbaseaux": {},
            "coinbasevalue": template.coinbase_value_sat,
            "longpollid": hash_to_hex(template.prev_hash) + "0",
            "target": f"{target:064x}",
            "mintime": template.min_time,
            "mutable": ["time", "transactions", "prevblock"],
            "noncerange": "00000000ffffffff",
            "sigoplimit": 80_000,
            "sizelimit": 4_000_000,
            "weightlimit": _MAX_BLOCK_WEIGHT,
            "curtime": template.time,
            "bits": f"{template.nbits:08x}",
            "height": template.height,
            "default_witness_commitment": None if commitment is None else commitment.hex(),
        }

    async def _submitblock(self, params: Params) -> object:
        text = _argument(params, 0, str, "hexdata")
        try:
            block = bytes.fromhex(text)
        except ValueError:
            raise MethodError(RPC_DESERIALIZATION_ERROR, "Block decode failed") from None
        if block_problem(block) is not None:
            raise MethodError(RPC_DESERIALIZATION_ERROR, "Block decode failed")
        outcome = await self._node.submit_block(with_coinbase_witness(block))
        if outcome.reason == "not-stored":
            raise MethodError(RPC_MISC_ERROR, "the block could not be written to disk")
        return outcome.reason

    async def _getblockchaininfo(self, _params: Params) -> object:
        return await self._node.ask(
            lambda engine: (
                self._tip_view(engine)
                | {
                    "headers": engine.height,
                    "bestblockhash": hash_to_hex(engine.tip),
                    "time": engine.header_at(engine.height).time,
                    "mediantime": median_time_past(engine.header_at, engine.height),
                    "verificationprogress": 1,
                    "initialblockdownload": False,
                    "pruned": False,
                }
            )
        )

    async def _getmininginfo(self, _params: Params) -> object:
        return await self._node.ask(
            lambda engine: (
                self._tip_view(engine) | {"networkhashps": _network_hashrate_hs(engine), "pooledtx": 0}
            )
        )

    def _tip_view(self, engine: Engine) -> dict[str, object]:
        nbits = engine.header_at(engine.height).nbits
        target = target_from_compact(nbits)
        return {
            "chain": self._network.name,
            "blocks": engine.height,
            "bits": f"{nbits:08x}",
            "target": f"{target:064x}",
            "difficulty": difficulty_from_target(target),
            "warnings": [],
        }

    async def _getbestblockhash(self, _params: Params) -> object:
        return await self._node.ask(lambda engine: hash_to_hex(engine.tip))

    async def _getblockcount(self, _params: Params) -> object:
        return await self._node.ask(lambda engine: engine.height)

    async def _getblockhash(self, params: Params) -> object:
        height = _argument(params, 0, int, "height")
        try:
            return await self._node.ask(lambda engine: hash_to_hex(engine.hash_at(height)))
        except IndexError:
            raise MethodError(RPC_INVALID_PARAMETER, "Block height out of range") from None

    async def _getblockheader(self, params: Params) -> object:
        block_hash = _hash(_argument(params, 0, str, "blockhash"))
        verbose = _argument(params, 1, bool, "verbose", True)
        return await self._node.ask(lambda engine: _header_view(engine, block_hash, verbose=verbose))

    async def _preciousblock(self, params: Params) -> object:
        """Accept a known block and change nothing: the engine has no way to prefer one."""
        block_hash = _hash(_argument(params, 0, str, "blockhash"))
        await self._node.ask(lambda engine: _known(engine, block_hash))
        return None

    async def _validateaddress(self, params: Params) -> object:
        address = _argument(params, 0, str, "address")
        try:
            script = script_from_address(address, self._network)
        except ConfigError as error:
            return {"isvalid": False, "error_locations": [], "error": str(error)}
        is_witness = script[0] in (0x00, 0x51)
        view: dict[str, object] = {
            "isvalid": True,
            "address": address,
            "scriptPubKey": script.hex(),
            "isscript": script[0] == 0xA9 or (is_witness and len(script) == 34),
            "iswitness": is_witness,
        }
        if is_witness:
            view |= {"witness_version": 1 if script[0] == 0x51 else 0, "witness_program": script[2:].hex()}
        return view

    async def _getnetworkinfo(self, _params: Params) -> object:
        return {
            "version": _CORE_VERSION,
            "subversion": f"/Hashwerk:{__version__}/",
            "protocolversion": 70_016,
            "localrelay": False,
            "timeoffset": 0,
            "networkactive": False,
            "connections": 0,
            "connections_in": 0,
            "connections_out": 0,
            "networks": [],
            "relayfee": 0.00001,
            "incrementalfee": 0.00001,
            "localaddresses": [],
            "warnings": ["This is a private chain; its coins are worth nothing"],
        }

    async def _uptime(self, _params: Params) -> object:
        return int(self._clock.monotonic() - self._started_at)


def with_coinbase_witness(block: bytes) -> bytes:
    """Return the block with the coinbase's witness added where it only has the commitment, as Core does.

    Pools may hand in the coinbase as it is hashed.
    """
    try:
        parsed = Block.parse(block)
    except DecodeError:
        return block  # the engine is the one to judge
    if not parsed.transactions:
        return block
    coinbase = parsed.transactions[0]
    if not coinbase.is_coinbase or coinbase.has_witness or find_witness_commitment(coinbase.outputs) is None:
        return block
    tx_in = msgspec.structs.replace(coinbase.inputs[0], witness=(WITNESS_RESERVED_VALUE,))
    complete = msgspec.structs.replace(coinbase, inputs=(tx_in,))
    return msgspec.structs.replace(parsed, transactions=(complete, *parsed.transactions[1:])).serialize()


def _known(engine: Engine, block_hash: bytes) -> tuple[int, BlockHeader]:
    found = engine.header(block_hash)
    if found is None:
        raise MethodError(RPC_INVALID_ADDRESS_OR_KEY, "Block not found")
    return found


def _header_view(engine: Engine, block_hash: bytes, *, verbose: bool) -> object:
    height, header = _known(engine, block_hash)
    if not verbose:
        return header.serialize().hex()
    is_active = engine.height_of(block_hash) is not None
    target = target_from_compact(header.nbits)
    view: dict[str, object] = {
        "hash": hash_to_hex(block_hash),
        "confirmations": engine.height - height + 1 if is_active else -1,
        "height": height,
        "version": header.version,
        "versionHex": f"{header.version:08x}",
        "merkleroot": hash_to_hex(header.merkle_root),
        "time": header.time,
        "nonce": header.nonce,
        "bits": f"{header.nbits:08x}",
        "target": f"{target:064x}",
        "difficulty": difficulty_from_target(target),
    }
    if height > 0:
        view["previousblockhash"] = hash_to_hex(header.prev_hash)
    if is_active:
        view["mediantime"] = median_time_past(engine.header_at, height)
        if height < engine.height:
            view["nextblockhash"] = hash_to_hex(engine.hash_at(height + 1))
    return view


def _network_hashrate_hs(engine: Engine) -> float:
    """Return the work of the last 120 blocks over the time they span, as Core's ``getnetworkhashps`` does."""
    first = max(0, engine.height - _HASHRATE_BLOCKS)
    headers = [engine.header_at(height) for height in range(first, engine.height + 1)]
    span_s = max(header.time for header in headers) - min(header.time for header in headers)
    if span_s <= 0:
        return 0.0
    return sum(work_from_target(target_from_compact(header.nbits)) for header in headers[1:]) / span_s


def _hash(text: str) -> bytes:
    try:
        return hash_from_hex(text)
    except DecodeError:
        raise MethodError(
            RPC_INVALID_PARAMETER, f"blockhash must be of length 64 and hexadecimal (not {text[:80]!r})"
        ) from None


_MISSING: Final[Any] = object()


def _argument(params: Params, index: int, kind: type[Any], name: str, default: Any = _MISSING) -> Any:
    """Return one positional argument of the right type."""
    value = params[index] if index < len(params) else None
    if value is None:
        if default is _MISSING:
            raise MethodError(RPC_MISC_ERROR, f"missing argument {index + 1}: {name}")
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise MethodError(RPC_TYPE_ERROR, f"argument {name} is not of the expected type")
    return value
