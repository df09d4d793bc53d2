"""HTTP digest authentication (RFC 7616 with MD5 and qop=auth), as the web servers of stock Antminers ask for it."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from hashwerk.twin.http import HttpRequest, HttpResponse

_FIELD: Final = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


def challenge(realm: str, nonce: str) -> HttpResponse:
    """Return the response that asks for a user and a password."""
    value = f'Digest realm="{realm}", nonce="{nonce}", algorithm=MD5, qop="auth"'
    body = b"<html><title>401 Unauthorized</title></html>"
    return HttpResponse(401, body, "text/html", (("WWW-Authenticate", value),))


def is_authorized(request: HttpRequest, *, user: str, password: str, realm: str, nonce: str) -> bool:
    """Return whether a request proves that its sender knows the password."""
    header = request.headers.get("authorization", "")
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "digest":
        return False
    fields = {name.lower(): quoted or bare for name, quoted, bare in _FIELD.findall(rest)}
    if fields.get("username") != user or fields.get("nonce") != nonce or fields.get("realm") != realm:
        return False
    first = _md5(f"{user}:{realm}:{password}")
    second = _md5(f"{request.method}:{fields.get('uri', '')}")
    count, own = fields.get("nc", ""), fields.get("cnonce", "")
    between = f"{nonce}:{count}:{own}:{fields['qop']}" if "qop" in fields else nonce
    return fields.get("response") == _md5(f"{first}:{between}:{second}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
