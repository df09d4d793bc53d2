"""Files of the framework are compressed once, and only they."""

from __future__ import annotations

import httpx
from fastapi import FastAPI, Response

from hashwerk.web.packed import PackedOnce


async def test_a_file_is_made_once_and_everything_else_each_time() -> None:
    asked: list[str] = []
    app = FastAPI()

    @app.get("/{path:path}")
    def answer(path: str) -> Response:
        asked.append(path)
        return Response("x" * 5_000 + path, 404 if "missing" in path else 200)

    client = httpx.AsyncClient(transport=httpx.ASGITransport(PackedOnce(app)), base_url="http://mine")
    file, page, missing = "_nicegui/1/static/vue.js", "hall", "_nicegui/1/static/missing.js"
    made = "_nicegui/1/dynamic_resources/now"
    for path in (file, page, missing, made) * 2:
        found = await client.get(f"/{path}", headers={"accept-encoding": "gzip"})
        assert found.headers["content-encoding"] == "gzip"
        assert found.text == "x" * 5_000 + path
    assert asked == [file, page, missing, made, page, missing, made]
    plain = await client.get(f"/{file}", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    part = await client.get(f"/{file}", headers={"range": "bytes=0-1"})
    assert part.text.endswith("vue.js")
    assert asked.count(file) == 3
    await client.aclose()
