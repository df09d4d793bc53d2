import pytest

from hashwerk.errors import ConfigError
from hashwerk.web.auth import hash_password, new_token
from hashwerk.web.guard import host_name, is_loopback

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def password_hash() -> str:
    return hash_password(PASSWORD)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1:8080", "127.0.0.1"),
        ("[::1]:8080", "::1"),
        ("LocalHost", "localhost"),
        ("localhost.:80", "localhost"),
        ("", ""),
        ("[::1", ""),
    ],
)
def test_reads_the_name_in_a_host_header(host, name):
    assert host_name(host) == name


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False), ("mine", False)],
)
def test_knows_loopback(host, expected):
    assert is_loopback(host) is expected


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "mine.test"])
async def test_own_names_are_served(app_of, client_of, host):
    async with client_of(app_of(allowed_hosts=("mine.test",))) as client:
        assert (await client.get("/api", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8080", "", "10.0.0.5"])
async def test_other_names_are_refused_lest_dns_be_rebound(app_of, client_of, host):
    async with client_of(app_of()) as client:
        response = await client.get("/api/v1/status", headers={"host": host})
    assert response.status_code == 421
    assert "open it as localhost" in response.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_other_sites_cannot_change_anything(app_of, client_of, headers):
    async with client_of(app_of()) as client:
        assert (await client.post("/logout", headers=headers)).status_code == 403


async def test_own_pages_can_post(app_of, client_of):
    headers = {"origin": "http://127.0.0.1:8080", "sec-fetch-site": "same-origin"}
    async with client_of(app_of()) as client:
        assert (await client.post("/logout", headers=headers)).status_code == 303


async def test_websockets_of_other_sites_are_closed(app_of):
    app = app_of()
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/_nicegui_ws/socket.io/",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8080"), (b"origin", b"http://evil.example")],
        "app": app,
    }
    await app(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_headers_forbid_everything_from_elsewhere(app_of, client_of):
    async with client_of(app_of()) as client:
        headers = (await client.get("/api")).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


def test_a_page_for_others_without_password_does_not_start(app_of):
    with pytest.raises(ConfigError, match="hashwerk passwd"):
        app_of(host="0.0.0.0")


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
async def test_once_a_password_is_set_it_is_asked_for(app_of, client_of, password_hash, host):
    async with client_of(app_of(host=host, password_hash=password_hash)) as client:
        for path in ("/api/v1/status", "/metrics", "/openapi.json", "/_nicegui_ws/x", "/assetsx", "/nothing"):
            response = await client.get(path)
            assert response.status_code == 401, path
            assert response.headers["www-authenticate"].startswith("Bearer")
        for path in ("/login", "/assets/hashwerk.css"):
            assert (await client.get(path)).status_code == 200
        assert (await client.get("/healthz")).status_code == 503
        page = await client.get("/work?x=1", headers={"accept": "text/html"})
    assert page.status_code == 303
    assert page.headers["location"] == "/login?next=%2Fwork%3Fx%3D1"


async def test_a_token_opens_the_api(app_of, client_of):
    token, hashed = new_token()
    async with client_of(
        app_of(host="0.0.0.0", tokens=(hashed,)), base_url="http://mine.local:8080"
    ) as client:
        good = await client.get("/metrics", headers={"authorization": f"Bearer {token}"})
        bad = await client.get("/metrics", headers={"authorization": f"Bearer {token}x"})
        basic = await client.get("/metrics", headers={"authorization": f"Basic {token}"})
    assert (good.status_code, bad.status_code, basic.status_code) == (200, 401, 401)


async def test_sign_in_see_and_sign_out(app_of, client_of, password_hash):
    async with client_of(app_of(password_hash=password_hash)) as client:
        entered = await client.post("/login", data={"password": PASSWORD, "next": "/work"})
        assert entered.status_code == 303
        assert entered.headers["location"] == "/work"
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.post("/logout")).status_code == 303
        assert (await client.get("/metrics")).status_code == 401


async def test_wrong_passwords_are_slowed_down(app_of, client_of, password_hash, clock):
    async with client_of(app_of(password_hash=password_hash)) as client:
        for _ in range(5):
            assert (await client.post("/login", data={"password": "guess"})).status_code == 403
        slowed = await client.post("/login", data={"password": PASSWORD})
        assert slowed.status_code == 429
        assert "try again in 2 s" in slowed.text
        clock.advance(2.0)
        assert (await client.post("/login", data={"password": PASSWORD})).status_code == 303


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "/login", "x", "/a\nb"]
)
async def test_signing_in_never_leads_elsewhere(app_of, client_of, password_hash, target):
    async with client_of(app_of(password_hash=password_hash)) as client:
        entered = await client.post("/login", data={"password": PASSWORD, "next": target})
    assert entered.headers["location"] == "/"


async def test_an_endless_form_is_not_read(app_of, client_of, password_hash):
    async with client_of(app_of(password_hash=password_hash)) as client:
        response = await client.post("/login", content=b"password=" + b"x" * 100_000)
    assert response.status_code == 403


async def test_what_was_asked_for_is_shown_escaped(app_of, client_of):
    async with client_of(app_of(title="<b>mine</b>")) as client:
        page = await client.get("/login", params={"next": '/"><script>'})
    assert "<script>" not in page.text.replace('<script src="/assets/hashwerk.js">', "")
    assert "<b>mine" not in page.text
