"""Which extranonces are declared for whom, and that nobody else works with them."""

from hashwerk.pool.attribution import MAX_ROWS, Declared, Holder, Row, named, rows_of
from hashwerk.stratum.v1.server import Extranonce

ANNA, BERT = bytes([1]) * 32, bytes([2]) * 32


def test_a_block_that_is_full_and_one_accounts_is_one_row() -> None:
    holders = [Holder(number, 4, ANNA) for number in (1, 2, 300, 301)] + [
        Holder(600, 4, ANNA),
        Holder(601, 4, BERT),
    ]
    assert rows_of(holders, highest=601) == [
        Row(b"\x04\x00\x00\x00", ANNA),
        Row(b"\x04\x00\x00\x01", ANNA),
        Row(b"\x04\x00\x00\x02\x58", ANNA),
        Row(b"\x04\x00\x00\x02\x59", BERT),
    ]
    # While numbers of a block can still be given out, it is nobody's as a whole.
    assert rows_of(holders[:4], highest=301)[1:] == [
        Row(named(300, 4), ANNA),
        Row(named(301, 4), ANNA),
    ]


def test_sizes_are_never_mistaken_for_each_other() -> None:
    declared = Declared()
    declared.hold(rows_of([Holder(0, 4, ANNA), Holder(5, 8, BERT)], highest=5))
    assert declared.account_of(Extranonce(0, 4, 8)) == ANNA
    assert declared.account_of(Extranonce(5, 8, 8)) == BERT
    assert declared.account_of(Extranonce(5, 4, 8)) is None
    assert declared.account_of(Extranonce(0, 8, 8)) is None


def test_the_longest_prefix_counts() -> None:
    declared = Declared()
    declared.hold([Row(b"\x04\x00\x00\x01", ANNA), Row(b"\x04\x00\x00\x01\x07", BERT)])
    assert declared.account_of(Extranonce(0x107, 4, 8)) == BERT
    assert declared.account_of(Extranonce(0x108, 4, 8)) == ANNA
    assert declared.account_of(Extranonce(0x208, 4, 8)) is None


def test_rows_are_bounded() -> None:
    holders = [Holder(256 * number, 4, ANNA) for number in range(MAX_ROWS + 9)]
    assert rows_of(holders, highest=0) == [Row(named(256 * number, 4), ANNA) for number in range(MAX_ROWS)]
