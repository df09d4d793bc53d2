"""What an operator may set about a node. The site's configuration is composed of these."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class KernelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The embedded node: Bitcoin Core's consensus engine with a private chain of its own."""

    refresh_s: Annotated[
        float, Meta(gt=0, description="A new template is made at least this often, in seconds.")
    ] = 30.0


class CoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bitcoin Core over JSON-RPC, one node or several. All must be on the same network."""

    urls: Annotated[
        list[str],
        Meta(
            min_length=1,
            description="The nodes' RPC addresses, preferred first; without a port, the network's own.",
        ),
    ] = msgspec.field(default_factory=lambda: ["http://127.0.0.1"])
    cookie_file: Annotated[
        str | None,
        Meta(description="Bitcoin Core's .cookie file; read again whenever the node refuses the last one."),
    ] = None
    user: Annotated[str | None, Meta(description="RPC user, with a password instead of a cookie.")] = None
    password: Annotated[str | None, Meta(description="RPC password.")] = None
    long_poll: Annotated[
        bool, Meta(description="Let the node hold the request until there is a new template (BIP-0022).")
    ] = True
    poll_s: Annotated[
        float, Meta(gt=0, description="How often to ask for the tip where there is no long poll, in seconds.")
    ] = 1.0
    refresh_s: Annotated[
        float, Meta(gt=0, description="A new template is asked for at least this often, in seconds.")
    ] = 30.0
    timeout_s: Annotated[
        float, Meta(gt=0, description="A node that has not answered within this many seconds counts as gone.")
    ] = 10.0
    retry_s: Annotated[
        float,
        Meta(gt=0, description="How long to wait before a node that failed is asked again, in seconds."),
    ] = 2.0
