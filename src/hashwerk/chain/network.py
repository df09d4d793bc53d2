"""The networks: what their consensus rules and their ports differ in.

Numbers are those of Bitcoin Core's chain parameters; the rules of testnet4 are written down in BIP-0094.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hashwerk.chain.header import ZERO_HASH, BlockHeader, hash_from_hex
from hashwerk.errors import ConfigError

COINBASE_MATURITY: Final = 100
_DAY_S: Final = 86_400
_TWO_WEEKS_S: Final = 14 * _DAY_S


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """One network's consensus parameters, as far as a miner needs them."""

    name: str
    genesis: BlockHeader
    pow_limit: int  # the easiest legal target
    target_spacing_s: int = 600
    target_timespan_s: int = _TWO_WEEKS_S
    allow_min_difficulty: bool = False  # the 20-minute rule
    no_retarget: bool = False
    bip94: bool = False
    halving_interval: int = 210_000
    coinbase_maturity: int = COINBASE_MATURITY
    p2p_port: int
    rpc_port: int
    address_network: str  # what the address library calls the network whose prefixes hold here

    @property
    def retarget_interval(self) -> int:
        """Number of blocks between two retargets."""
        return self.target_timespan_s // self.target_spacing_s

    @property
    def genesis_hash(self) -> bytes:
        """Hash of the genesis block, internal order."""
        return self.genesis.hash()


def _genesis(merkle_root: str, time: int, nbits: int, nonce: int) -> BlockHeader:
    return BlockHeader(1, ZERO_HASH, hash_from_hex(merkle_root), time, nbits, nonce)


# Main, signet and regtest share the first coinbase; testnet4 has its own.
_FIRST_ROOT: Final = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
_TESTNET4_ROOT: Final = "7aa0a7ae1e223414cb807e40cd57e667b718e42aaf9306db9102fe28912b7b4e"

NETWORKS: Final[dict[str, Network]] = {
    network.name: network
    for network in (
        Network(
            name="main",
            genesis=_genesis(_FIRST_ROOT, 1_231_006_505, 0x1D00FFFF, 2_083_236_893),
            pow_limit=(1 << 224) - 1,
            p2p_port=8333,
            rpc_port=8332,
            address_network="mainnet",
        ),
        Network(
            name="testnet4",
            genesis=_genesis(_TESTNET4_ROOT, 1_714_777_860, 0x1D00FFFF, 393_743_547),
            pow_limit=(1 << 224) - 1,
            allow_min_difficulty=True,
            bip94=True,
            p2p_port=48333,
            rpc_port=48332,
            address_network="testnet",
        ),
        Network(
            name="signet",
            genesis=_genesis(_FIRST_ROOT, 1_598_918_400, 0x1E0377AE, 52_613_770),
            pow_limit=0x377AE << 216,
            p2p_port=38333,
            rpc_port=38332,
            address_network="testnet",
        ),
        Network(
            name="regtest",
            genesis=_genesis(_FIRST_ROOT, 1_296_688_602, 0x207FFFFF, 2),
            pow_limit=(1 << 255) - 1,
            target_timespan_s=_DAY_S,
            allow_min_difficulty=True,
            no_retarget=True,
            halving_interval=150,
            p2p_port=18444,
            rpc_port=18443,
            address_network="regtest",
        ),
    )
}


def network_from_name(name: str) -> Network:
    """Return the network of this name.

    Raises:
        ConfigError: If there is none; the message lists the names.
    """
    try:
        return NETWORKS[name]
    except KeyError:
        raise ConfigError(f"unknown network {name!r}; choose one of: {', '.join(NETWORKS)}") from None
