import pytest

from hashwerk.config.web_settings import WebSettings
from hashwerk.web.auth import (
    SESSION_LIFETIME_S,
    TOKEN_PREFIX,
    Credentials,
    LoginBrake,
    Sessions,
    hash_password,
    hash_token,
    new_token,
)

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def password_hash() -> str:
    return hash_password(PASSWORD)


def test_a_password_hash_is_argon2id_and_salted(password_hash):
    assert password_hash.startswith("$argon2id$")
    assert PASSWORD not in password_hash
    assert hash_password(PASSWORD) != password_hash


def test_tokens_differ_and_only_their_hash_is_stored():
    token, hashed = new_token()
    other, _ = new_token()
    assert token != other
    assert token.startswith(TOKEN_PREFIX)
    assert len(token) >= len(TOKEN_PREFIX) + 43  # 256 bits
    assert hashed == hash_token(token)
    assert token not in hashed
    assert WebSettings(tokens=(hashed,)).tokens == (hashed,)


async def test_admits_the_password_and_tokens_and_nothing_else(password_hash):
    token, hashed = new_token()
    credentials = Credentials(WebSettings(password_hash=password_hash, tokens=(hashed,)))
    assert await credentials.admits(PASSWORD)
    assert await credentials.admits(token)
    assert not await credentials.admits("Correct horse")
    assert not await credentials.admits("")
    assert not await credentials.admits(hashed)
    assert not await credentials.admits(password_hash)


async def test_without_a_password_only_tokens_are_admitted():
    _, hashed = new_token()
    assert not await Credentials(WebSettings(tokens=(hashed,))).admits("")


async def test_a_damaged_password_hash_admits_nobody():
    assert not await Credentials(WebSettings(password_hash="$argon2id$broken")).admits("")


def test_sessions_end_by_themselves(password_hash):
    sessions = Sessions(bytes(32), WebSettings(password_hash=password_hash))
    cookie = sessions.issue(1_000.0)
    assert sessions.is_valid(cookie, 1_000.0)
    assert sessions.is_valid(cookie, 1_000.0 + SESSION_LIFETIME_S - 1)
    assert not sessions.is_valid(cookie, 1_000.0 + SESSION_LIFETIME_S)


@pytest.mark.parametrize("cookie", ["", ".", "..", "99999999999.x.y", "9" * 400, "é.ü.ß", "1.2"])
def test_made_up_cookies_are_refused(cookie, password_hash):
    assert not Sessions(bytes(32), WebSettings(password_hash=password_hash)).is_valid(cookie, 0.0)


def test_a_longer_life_cannot_be_written_into_a_cookie(password_hash):
    sessions = Sessions(bytes(32), WebSettings(password_hash=password_hash))
    expiry, _, rest = sessions.issue(0.0).partition(".")
    assert not sessions.is_valid(f"{int(expiry) + 1}.{rest}", 0.0)


def test_a_new_password_or_key_ends_all_sessions(password_hash):
    cookie = Sessions(bytes(32), WebSettings(password_hash=password_hash)).issue(0.0)
    assert not Sessions(bytes(32), WebSettings(password_hash=hash_password("another"))).is_valid(cookie, 0.0)
    assert not Sessions(b"\1" * 32, WebSettings(password_hash=password_hash)).is_valid(cookie, 0.0)


def test_the_brake_doubles_the_wait_after_the_free_failures():
    brake = LoginBrake(free=2)
    brake.failed("a", 0.0)
    assert brake.wait_s("a", 0.0) == 0
    brake.failed("a", 0.0)
    assert brake.wait_s("a", 0.0) == 2
    assert brake.wait_s("a", 1.5) == 0.5
    brake.failed("a", 2.0)
    assert brake.wait_s("a", 2.0) == 4
    assert brake.wait_s("b", 2.0) == 0
    for _ in range(20):
        brake.failed("a", 2.0)
    assert brake.wait_s("a", 2.0) == 300
    brake.succeeded("a")
    assert brake.wait_s("a", 2.0) == 0


def test_the_brake_remembers_a_bounded_number_of_addresses():
    brake = LoginBrake(free=1, capacity=3)
    for address in "abcd":
        brake.failed(address, 0.0)
    assert brake.wait_s("a", 0.0) == 0
    assert brake.wait_s("b", 0.0) > 0
