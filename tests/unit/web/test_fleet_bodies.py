"""Pools that are written into machines: what is none, and what holds a login, is refused at the door."""

from __future__ import annotations

import msgspec
import pytest
from pydantic import ValidationError

from hashwerk.fleet.settings import PoolEntry
from hashwerk.web.fleet_models import PoolBody

POOL = {"url": "stratum+tcp://10.0.0.2:3333", "user": "site.one"}


def test_a_pool_is_taken():
    assert PoolBody(**POOL).url == msgspec.convert(POOL, PoolEntry).url == POOL["url"]


@pytest.mark.parametrize(
    "url",
    ["foo", "http://10.0.0.2:3333", "stratum+tcp://10.0.0.2", "stratum+tcp://bob:secret@10.0.0.2:3333"],
)
def test_what_is_no_pool_is_refused(url):
    with pytest.raises(ValidationError, match="is no pool"):
        PoolBody(url=url, user="site.one")


def test_a_login_stands_beside_the_address_and_not_in_it():
    """Or it would stand in every record and on every page that names the pool."""
    with pytest.raises(msgspec.ValidationError, match=r"\.url"):
        msgspec.convert(POOL | {"url": "stratum+tcp://bob:secret@10.0.0.2:3333"}, PoolEntry)
