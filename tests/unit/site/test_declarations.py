"""What a mine declares before its first share."""

from hashwerk.config.site import parse_site
from hashwerk.evidence import records
from hashwerk.site.declarations import declarations

UPSTREAM = """
[[upstream]]
name = "north pool"
url = "stratum+tcp://127.0.0.1:1"
user = "acct"
"""


def test_pools_are_declared_before_their_work() -> None:
    """Else the first epochs of a mine that works for a pool would be incomplete."""
    found = declarations(parse_site(UPSTREAM), private=True, commitment=lambda _: bytes(32))
    assert [record for record in found if isinstance(record, records.PrefixTable)] == [
        records.PrefixTable(upstream="north pool", work_log2=0, prefixes=())
    ]
    own = declarations(parse_site(""), private=True, commitment=lambda _: bytes(32))
    assert not any(isinstance(record, records.PrefixTable) for record in own)
    assert any(isinstance(record, records.Scale) for record in own)
