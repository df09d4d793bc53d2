"""The networks: genesis hashes that everybody knows, and consistent parameters."""

from __future__ import annotations

import pytest

from hashwerk.chain.header import hash_to_hex
from hashwerk.chain.network import NETWORKS, network_from_name
from hashwerk.chain.target import compact_from_target, hash_meets_target, target_from_compact
from hashwerk.errors import ConfigError

GENESIS_HASHES = {
    "main": "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    "testnet4": "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
    "signet": "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
    "regtest": "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
}


@pytest.mark.parametrize(("name", "genesis_hash"), GENESIS_HASHES.items())
def test_genesis_hash_and_its_proof_of_work(name: str, genesis_hash: str) -> None:
    network = NETWORKS[name]
    assert hash_to_hex(network.genesis_hash) == genesis_hash
    assert hash_meets_target(network.genesis_hash, target_from_compact(network.genesis.nbits))
    assert compact_from_target(network.pow_limit) == network.genesis.nbits


def test_every_network_is_tested_and_listed_under_its_own_name() -> None:
    assert set(NETWORKS) == set(GENESIS_HASHES)
    assert all(network.name == name for name, network in NETWORKS.items())


def test_retarget_intervals() -> None:
    intervals = {name: network.retarget_interval for name, network in NETWORKS.items()}
    assert intervals == {"main": 2016, "testnet4": 2016, "signet": 2016, "regtest": 144}


def test_names_are_found_and_a_wrong_one_is_told_the_right_ones() -> None:
    assert network_from_name("regtest") is NETWORKS["regtest"]
    with pytest.raises(ConfigError, match=r"'testnet3'.*main, testnet4, signet, regtest"):
        network_from_name("testnet3")
