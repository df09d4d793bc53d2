"""From a payout address to the script that pays it, and back."""

from __future__ import annotations

from typing import Final

from btclib.exceptions import BTClibException
from btclib.script.script_pub_key import ScriptPubKey

from hashwerk.chain.network import Network
from hashwerk.errors import ConfigError

#: Kinds somebody can own. An address of a later witness version is well formed, but until its rules exist
#: anybody could take what is paid to it.
_PAYABLE: Final = frozenset({"p2pkh", "p2sh", "p2wpkh", "p2wsh", "p2tr"})

# Those who know the prefixes of one of these networks use the same ones for all named here.
_COMMON_NAMES: Final = {"mainnet": "main", "testnet": "a test network", "regtest": "regtest"}

_EXPECTED: Final = {
    "mainnet": "bc1…, 1… or 3…",
    "testnet": "tb1…, m…, n… or 2…",
    "regtest": "bcrt1…, m…, n… or 2…",
}


def script_from_address(address: str, network: Network) -> bytes:
    """Return the output script that pays ``address`` on ``network``.

    Base58 (P2PKH, P2SH), bech32 (BIP-0173: P2WPKH, P2WSH) and bech32m (BIP-0350: P2TR).

    Raises:
        ConfigError: If it is not an address, mistyped, of another network, or of a kind nobody can own
            yet. The message says which, in plain words.
    """
    # The library forgives blanks around an address; a payout address is copied exactly or not at all.
    if not address.isascii() or not address.isalnum():
        raise ConfigError(f"not a Bitcoin address: {address!r}")
    if _is_mixed_case_bech32(address):
        raise ConfigError(f"address {address!r} mixes upper and lower case; write it in lower case")
    try:
        decoded = ScriptPubKey.from_address(address)
    except (BTClibException, ValueError) as error:
        raise ConfigError(f"not a Bitcoin address, or mistyped: {address!r} ({error})") from error
    _check_network(address, decoded.network, network)
    if decoded.type not in _PAYABLE:
        raise ConfigError(f"address {address!r} is of a kind nobody can own yet (witness version above 1)")
    return bytes(decoded.script)


def address_from_script(script: bytes, network: Network) -> str | None:
    """Return the address that an output script pays on ``network``; None: it is of no kind that has one here."""
    try:
        known = ScriptPubKey(script, network.address_network)
        return known.address if known.type in _PAYABLE else None
    except (BTClibException, ValueError):
        return None


def _check_network(address: str, found: str, network: Network) -> None:
    """Refuse an address whose prefix belongs to another network."""
    wanted = network.address_network
    # Regtest has its own bech32 prefix, but writes base58 as the test networks do.
    shares_base58 = wanted == "regtest" and found == "testnet" and not address.lower().startswith("tb1")
    if found != wanted and not shares_base58:
        name = _COMMON_NAMES.get(found, found)
        raise ConfigError(
            f"address {address!r} is for {name}, the mine is on {network.name}; expected {_EXPECTED[wanted]}"
        )


def _is_mixed_case_bech32(address: str) -> bool:
    is_bech32 = address.lower().startswith(("bc1", "tb1", "bcrt1"))
    return is_bech32 and address not in (address.lower(), address.upper())
