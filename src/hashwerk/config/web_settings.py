"""Settings of the pages and the API."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class WebSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pages and API."""

    host: Annotated[
        str,
        Meta(description="The address of the page. Others can reach it on 0.0.0.0 and ::.", min_length=1),
    ] = "127.0.0.1"
    port: Annotated[
        int, Meta(description="The port the page listens on; 0: any free one.", ge=0, le=65_535)
    ] = 8080
    password_hash: Annotated[
        Annotated[str, Meta(pattern=r"^\$argon2id\$")] | None,
        Meta(
            description="The password of the page, as hashwerk passwd prints it. Once set, it is asked for."
        ),
    ] = None
    tokens: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$")], ...],
        Meta(description="Access tokens of programs, as hashwerk passwd --token prints their hashes."),
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(description="Further host names under which browsers may ask for the page, as behind a proxy."),
    ] = ()
    title: Annotated[
        Annotated[str, Meta(max_length=64)] | None,
        Meta(description="The name on every page; none: the name of the mine."),
    ] = None
