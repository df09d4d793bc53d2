"""Payout addresses: every kind on every network, and every way to get one wrong.

Addresses are examples of BIP-0173 and BIP-0350, the first coinbase, and the same keys on test networks.
"""

from __future__ import annotations

import pytest

from hashwerk.chain.address import script_from_address
from hashwerk.chain.network import NETWORKS
from hashwerk.errors import ConfigError

P2PKH = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
P2SH = "3P14159f73E4gFr7JterCCQh9QjiTjiZrG"
P2WPKH = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
P2WSH = "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3"
P2TR = "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"
TEST_P2PKH = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"
TEST_P2SH = "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc"
TEST_P2WPKH = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
REGTEST_P2WPKH = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
KEY_HASH = "751e76e8199196d454941c45d1b3a323f1433bd6"


@pytest.mark.parametrize(
    ("address", "network", "script"),
    [
        (P2PKH, "main", "76a91462e907b15cbf27d5425399ebf6f0fb50ebb88f1888ac"),
        (P2SH, "main", "a914e9c3dd0c07aac76179ebc76a6c78d4d67c6c160a87"),
        (P2WPKH, "main", "0014" + KEY_HASH),
        (P2WPKH.upper(), "main", "0014" + KEY_HASH),
        (P2WSH, "main", "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262"),
        (P2TR, "main", "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
        (TEST_P2PKH, "testnet4", "76a914243f1394f44554f4ce3fd68649c19adc483ce92488ac"),
        (TEST_P2SH, "testnet4", "a9144e9f39ca4688ff102128ea4ccda34105324305b087"),
        (TEST_P2WPKH, "testnet4", "0014" + KEY_HASH),
        (TEST_P2WPKH, "signet", "0014" + KEY_HASH),
        (TEST_P2PKH, "regtest", "76a914243f1394f44554f4ce3fd68649c19adc483ce92488ac"),
        (TEST_P2SH, "regtest", "a9144e9f39ca4688ff102128ea4ccda34105324305b087"),
        (REGTEST_P2WPKH, "regtest", "0014" + KEY_HASH),
    ],
)
def test_every_kind_of_address(address: str, network: str, script: str) -> None:
    assert script_from_address(address, NETWORKS[network]).hex() == script


@pytest.mark.parametrize(
    ("address", "network", "words"),
    [
        (P2PKH, "testnet4", "is for main, the mine is on testnet4; expected tb1"),
        (P2PKH, "regtest", "is for main, the mine is on regtest; expected bcrt1"),
        (P2TR, "signet", "is for main, the mine is on signet"),
        (TEST_P2PKH, "main", "is for a test network, the mine is on main; expected bc1"),
        (TEST_P2WPKH, "main", "is for a test network"),
        (TEST_P2WPKH, "regtest", "is for a test network, the mine is on regtest"),
        (TEST_P2WPKH.upper(), "regtest", "is for a test network, the mine is on regtest"),
        (REGTEST_P2WPKH, "main", "is for regtest"),
        (REGTEST_P2WPKH, "testnet4", "is for regtest"),
    ],
)
def test_an_address_of_another_network(address: str, network: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        script_from_address(address, NETWORKS[network])


@pytest.mark.parametrize(
    "address",
    [
        "",
        "bc1",
        "satoshi",
        P2PKH[:-1] + "b",
        P2PKH[:-1],
        P2WPKH[:-1] + "5",
        P2TR[:-1] + "1",
        "0" + P2PKH,
        " " + P2PKH,
        P2PKH + "\n",
        "bitcoin:" + P2PKH,
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",  # version 1 in bech32, not bech32m
        "bc1qrmslsh3a4x",
        "é" * 34,
        "1" * 10_000,
    ],
)
def test_what_is_no_address_is_called_so(address: str) -> None:
    with pytest.raises(ConfigError, match="not a Bitcoin address"):
        script_from_address(address, NETWORKS["main"])


def test_mixed_case_is_named() -> None:
    with pytest.raises(ConfigError, match="mixes upper and lower case"):
        script_from_address("bc1Q" + P2WPKH[4:], NETWORKS["main"])


@pytest.mark.parametrize(
    "address",
    [
        "BC1SW50QGDZ25J",  # version 16
        "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs",  # version 2
        "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",  # version 1, 40 bytes
    ],
)
def test_well_formed_addresses_that_anybody_could_empty_are_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="nobody can own yet"):
        script_from_address(address, NETWORKS["main"])
