"""Any header, any window, any target, any strategy: the scanner finds what hashlib finds."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.work.kernel import Scanner, available_strategies, header_hash


@settings(max_examples=60, deadline=None)
@given(
    header76=st.binary(min_size=76, max_size=76),
    start=st.one_of(st.integers(0, 2**32 - 1), st.integers(2**32 - 200, 2**32 - 1)),
    count=st.integers(0, 300),
    target=st.one_of(st.integers(0, 2**256 - 1), st.integers(240, 256).map(lambda bits: 2**bits - 1)),
    strategy=st.sampled_from(available_strategies()),
)
def test_finds_what_hashlib_finds(header76: bytes, start: int, count: int, target: int, strategy) -> None:
    nonces = [(start + index) % 2**32 for index in range(count)]
    expected = [nonce for nonce in nonces if header_hash(header76, nonce) <= target]
    assert Scanner(strategy=strategy).scan(header76, start, count, target) == expected
