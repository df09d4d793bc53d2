"""The configuration as running, as a declaration in the evidence: one hash, and no secret in it."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from hashwerk.config.site import SiteConfig
from hashwerk.evidence.records import Configuration

#: A setting whose name holds one of these is left out: a hash of a short secret gives it away to whoever tries all.
_SECRET: Final = ("password", "passphrase", "token", "secret", "private", "webhook", "api_key", "key")


def configuration_record(config: SiteConfig) -> Configuration:
    """Return the declaration: SHA-256 over the settings as JSON with sorted keys, without secrets."""
    settings = _without_secrets(msgspec.to_builtins(config))
    data = msgspec.json.encode(settings, order="sorted")
    return Configuration(name="configuration", value=f"sha256:{hashlib.sha256(data).hexdigest()}")


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_secrets(inner)
            for name, inner in value.items()
            if not any(word in str(name).lower() for word in _SECRET)
        }
    return [_without_secrets(inner) for inner in value] if isinstance(value, list | tuple) else value
