"""Settings of external time: who is asked to say when an epoch existed, and for whom this site says so."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

_URL = r"^https?://[^\s]+$"
_FINGERPRINT = r"^[0-9a-f]{64}$"


class AuthoritySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time-stamping authority by RFC 3161, asked over HTTP."""

    url: Annotated[str, Meta(description="Where its requests go: https://freetsa.org/tsr.", pattern=_URL)]
    roots_file: Annotated[
        str | None,
        Meta(
            description="PEM file with its root: a stamp that does not lead there is not kept. None: not checked here."
        ),
    ] = None


class WitnessOfSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another Hashwerk that countersigns this site's epochs."""

    url: Annotated[str, Meta(description="Its pages: https://witness.example:8080.", pattern=_URL)]
    key: Annotated[
        str,
        Meta(
            description="Fingerprint of its witness's key, as its page Evidence shows it.",
            pattern=_FINGERPRINT,
        ),
    ]
    token_file: Annotated[
        str | None,
        Meta(description="File with the access token that it gave this site; none: it asks for none."),
    ] = None


class TimeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who besides the operator says when epochs existed. Nobody is asked who is not named here."""

    every_s: Annotated[
        float,
        Meta(
            ge=5,
            le=604_800,
            description="The last epoch is stamped so often; a stamp holds for all epochs before it.",
        ),
    ] = 3_600.0
    calendars: Annotated[
        tuple[Annotated[str, Meta(pattern=_URL)], ...],
        Meta(
            description="OpenTimestamps calendars: https://a.pool.opentimestamps.org. Their proofs end in Bitcoin blocks."
        ),
    ] = ()
    authority: Annotated[
        tuple[AuthoritySettings, ...],
        Meta(description="Time-stamping authorities, each in a section [[evidence.time.authority]]."),
    ] = ()
    witness: Annotated[
        tuple[WitnessOfSettings, ...],
        Meta(description="Other Hashwerks as witnesses, each in a section [[evidence.time.witness]]."),
    ] = ()


class WitnessSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For whom this site is a witness: it countersigns one history of theirs and no other."""

    sites: Annotated[
        tuple[Annotated[str, Meta(pattern=_FINGERPRINT)], ...],
        Meta(
            description="Hashes of the sites that may ask, as `hashwerk key show` prints them there; none: nobody."
        ),
    ] = ()
