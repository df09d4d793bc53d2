"""The page about the API: every call with its parameters, from OpenAPI, without anything from elsewhere."""

from __future__ import annotations

import html
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>API · {title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="/assets/icon.svg"><link rel="stylesheet" href="/assets/hashwerk.css">
<script src="/assets/hashwerk.js"></script></head>
<body class="plain"><main class="reference">
<p><a href="/">← {title}</a></p><h1>API</h1><p>{description}</p>
<p>Beyond this computer every call but <code>/healthz</code> needs
<code>Authorization: Bearer hwk_…</code>; make a token with <code>hashwerk passwd --token</code>.
The machine-readable description is <a href="/openapi.json">/openapi.json</a>.</p>
{calls}</main></body></html>"""


def reference_router(app: FastAPI, title: str) -> APIRouter:
    """Return the route of the page; it describes whatever ``app`` serves when it is first asked for."""
    router = APIRouter(include_in_schema=False)

    @router.get("/api")
    async def reference() -> HTMLResponse:
        schema = app.openapi()
        calls = "".join(
            _call(path, method, call)
            for path, methods in schema["paths"].items()
            for method, call in methods.items()
        )
        description = html.escape(schema["info"]["description"])
        return HTMLResponse(_PAGE.format(title=html.escape(title), description=description, calls=calls))

    return router


def _call(path: str, method: str, call: dict[str, Any]) -> str:
    parameters = "".join(_parameter(parameter) for parameter in call.get("parameters", []))
    where = html.escape(path)
    heading = f'<h2><code>{method.upper()} <a href="{where}">{where}</a></code></h2>'
    listing = f"<dl>{parameters}</dl>" if parameters else ""
    return (
        f'<section class="panel">{heading}<p>{html.escape(call.get("summary", ""))}.</p>{listing}</section>'
    )


def _parameter(parameter: dict[str, Any]) -> str:
    default = parameter.get("schema", {}).get("default")
    words = parameter.get("description", "") + (f" Default {default}." if default is not None else "")
    return f"<dt><code>{html.escape(parameter['name'])}</code></dt><dd>{html.escape(words.strip())}</dd>"
