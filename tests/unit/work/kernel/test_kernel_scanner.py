"""The scanner against hashlib and against headers that were really mined."""

import struct
import threading
from pathlib import Path

import pytest

from hashwerk.work.kernel import Kind, Scanner, Strategy, available_strategies, available_widths, header_hash

SHARED = Path(__file__).resolve().parents[4].parent / "shared" / "data"
GENESIS = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3"
    "888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
)
GENESIS_NONCE = 2_083_236_893
HEADER = bytes(range(76))


def target_of(header: bytes) -> int:
    (nbits,) = struct.unpack_from("<I", header, 72)
    return (nbits & 0xFFFFFF) << 8 * ((nbits >> 24) - 3)


def expected(header76: bytes, start: int, count: int, target: int) -> list[int]:
    nonces = [(start + index) % 2**32 for index in range(count)]
    return [nonce for nonce in nonces if header_hash(header76, nonce) <= target]


@pytest.fixture(params=available_strategies(), ids=lambda strategy: strategy.name)
def scanner(request: pytest.FixtureRequest) -> Scanner:
    return Scanner(strategy=request.param)


def test_the_hash_is_the_one_that_blocks_have() -> None:
    genesis_hash = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
    assert header_hash(GENESIS[:76], GENESIS_NONCE) == int(genesis_hash, 16)


def test_finds_the_nonce_of_the_genesis_block(scanner: Scanner) -> None:
    start = GENESIS_NONCE - 30_011
    assert scanner.scan(GENESIS[:76], start, 65_536, target_of(GENESIS)) == [GENESIS_NONCE]


def test_stops_short_of_a_nonce_beyond_the_count(scanner: Scanner) -> None:
    assert scanner.scan(GENESIS[:76], GENESIS_NONCE - 100, 100, target_of(GENESIS)) == []
    assert scanner.scan(GENESIS[:76], GENESIS_NONCE - 100, 101, target_of(GENESIS)) == [GENESIS_NONCE]
    assert scanner.scan(GENESIS[:76], GENESIS_NONCE + 1, 100, target_of(GENESIS)) == []


def test_a_hash_equal_to_the_target_counts_and_one_above_does_not(scanner: Scanner) -> None:
    exact = header_hash(GENESIS[:76], GENESIS_NONCE)
    assert scanner.scan(GENESIS[:76], GENESIS_NONCE - 8, 16, exact) == [GENESIS_NONCE]
    assert scanner.scan(GENESIS[:76], GENESIS_NONCE - 8, 16, exact - 1) == []


@pytest.mark.parametrize("name", ["btc_headers_0_2016.bin", "btc_headers_665280_665407.bin"])
def test_finds_the_nonces_of_mainnet_headers(scanner: Scanner, name: str) -> None:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"the recorded headers are not there: {path}")
    data = path.read_bytes()
    headers = [data[at : at + 80] for at in range(0, len(data), 80)]
    for header in headers[:: max(1, len(headers) // 60)]:
        (nonce,) = struct.unpack_from("<I", header, 76)
        start = (nonce - 1_500) % 2**32
        assert scanner.scan(header[:76], start, 2_100, target_of(header)) == [nonce]


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 31, 33, 100])
def test_every_count_and_every_hash_of_an_easy_target(scanner: Scanner, count: int) -> None:
    assert scanner.scan(HEADER, 7, count, 2**256 - 1) == list(range(7, 7 + count))
    assert scanner.scan(HEADER, 7, count, 2**255 - 1) == expected(HEADER, 7, count, 2**255 - 1)


def test_goes_on_at_zero_after_the_last_nonce(scanner: Scanner) -> None:
    start, target = 2**32 - 333, 2**252 - 1
    found = scanner.scan(HEADER, start, 1000, target)
    assert found == expected(HEADER, start, 1000, target)
    assert any(nonce >= start for nonce in found)
    assert any(nonce < start for nonce in found)


def test_ends_at_the_limit_and_can_be_taken_up_again(scanner: Scanner) -> None:
    target = 2**251 - 1
    every = expected(HEADER, 0, 3000, target)
    found: list[int] = []
    start = 0
    while part := scanner.scan(HEADER, start, 3000 - start, target, 7):
        assert len(part) <= 7
        found += part
        start = part[-1] + 1
    assert found == every


def test_more_groups_are_found_than_one_list_holds(scanner: Scanner) -> None:
    assert scanner.scan(HEADER, 5, 20_001, 2**256 - 1, 1 << 20) == list(range(5, 20_006))


def test_all_nonces_are_asked_for_and_the_first_few_are_taken(scanner: Scanner) -> None:
    assert scanner.scan(HEADER, 9, 1 << 32, 2**256 - 1, 3) == [9, 10, 11]


def test_targets_that_are_no_powers_of_two(scanner: Scanner) -> None:
    for target in (3 * 2**248, 0xFFFF << 232, (1 << 246) + 12_345, 0):
        assert scanner.scan(HEADER, 0, 4096, target) == expected(HEADER, 0, 4096, target)


def test_threads_share_a_scanner() -> None:
    scanner = Scanner()
    target = 2**244 - 1
    results: dict[int, list[int]] = {}

    def scan(part: int) -> None:
        results[part] = scanner.scan(HEADER, part * 8192, 8192, target)

    threads = [threading.Thread(target=scan, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    found = [nonce for part in range(4) for nonce in results[part]]
    assert found == expected(HEADER, 0, 4 * 8192, target)


def test_refuses_what_is_out_of_range() -> None:
    scanner = Scanner()
    for header, start, count, target, limit in (
        (bytes(80), 0, 1, 0, 1),
        (HEADER, -1, 1, 0, 1),
        (HEADER, 2**32, 1, 0, 1),
        (HEADER, 0, 2**32 + 1, 0, 1),
        (HEADER, 0, 1, 2**256, 1),
        (HEADER, 0, 1, -1, 1),
        (HEADER, 0, 1, 0, 0),
    ):
        with pytest.raises(ValueError, match=r"range|76 bytes"):
            scanner.scan(header, start, count, target, limit)


def test_refuses_a_width_or_strategy_that_the_processor_lacks() -> None:
    with pytest.raises(ValueError, match="3"):
        Scanner(3)
    with pytest.raises(ValueError, match="vector-64"):
        Scanner(strategy=Strategy(Kind.VECTOR, 64))


def test_a_width_is_taken_as_a_vector_strategy() -> None:
    for width in available_widths():
        assert Scanner(width).strategy == Strategy(Kind.VECTOR, width)
