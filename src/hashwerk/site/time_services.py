"""Who says when an epoch existed: OpenTimestamps calendars, RFC 3161 authorities, and other Hashwerks as witnesses.

Each service is asked over HTTP, bounded in time and bytes, and what it answers is checked before anybody keeps it.
Cancellation: a cancelled request is closed at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import httpx
import msgspec
from cryptography import x509
from opentimestamps.calendar import DEFAULT_CALENDAR_WHITELIST, UrlWhitelist
from opentimestamps.core.notary import BitcoinBlockHeaderAttestation, PendingAttestation
from opentimestamps.core.op import OpSHA256
from opentimestamps.core.serialize import (
    BytesDeserializationContext,
    BytesSerializationContext,
    DeserializationError,
)
from opentimestamps.core.timestamp import DetachedTimestampFile, Timestamp

from hashwerk.config.time_settings import AuthoritySettings, TimeSettings, WitnessOfSettings
from hashwerk.errors import ConfigError, EvidenceError
from hashwerk.evidence.bundle import Stamp, StampKind
from hashwerk.evidence.epoch import SIGNED_HEADER, SignedHeader
from hashwerk.evidence.stamps import MAX_STAMP_BYTES, Trust, check_stamp, stamped_document

_TIMEOUT_S: Final = 20.0
#: Calendars answer with some hundred bytes, authorities with a few kilobytes of certificates.
_MAX_REPLY: Final = MAX_STAMP_BYTES


class ServiceError(EvidenceError):
    """A service does not answer, or not with a stamp; it is asked again later."""

    retry = True


class EquivocationClaimedError(EvidenceError):
    """A witness says that it was shown another history of this site."""


class Epoch(NamedTuple):
    """What is to be stamped, and the key events that a witness wants to see."""

    signed: SignedHeader
    events: tuple[bytes, ...]

    @property
    def number(self) -> int:
        """The epoch's number."""
        return self.signed.header.number


class Given(NamedTuple):
    """A stamp, and whether it waits for its block."""

    stamp: Stamp
    waits: bool = False


class TimeService(Protocol):
    """Somebody who stamps epochs."""

    name: str

    async def stamp(self, epoch: Epoch) -> Given:
        """Have an epoch stamped.

        Raises:
            ServiceError: If that does not succeed now.
            EvidenceError: If the service refuses for good.
        """
        ...

    async def complete(self, stamp: Stamp) -> Given | None:
        """Return a waiting stamp once it waits no more; None: it still does.

        Raises:
            ServiceError: If that does not succeed now.
        """
        ...


def build_services(settings: TimeSettings) -> list[TimeService]:
    """Return everybody who is named in the settings.

    Raises:
        ConfigError: If a file cannot be read.
    """
    return [
        *(Calendar(url, settings.calendars) for url in settings.calendars),
        *(Authority(one) for one in settings.authority),
        *(Witness(one) for one in settings.witness),
    ]


class Calendar:
    """An OpenTimestamps calendar. Its proof waits some hours for a Bitcoin block, then it is fetched once more."""

    def __init__(self, url: str, trusted: Sequence[str] = ()) -> None:
        self.name = f"OpenTimestamps {_host(url)}"
        self._url = url.rstrip("/")
        # A calendar names where its proof will be; only well-known calendars and those in the settings are asked.
        self._whitelist = UrlWhitelist([one.rstrip("/") for one in (url, *trusted)])

    async def stamp(self, epoch: Epoch) -> Given:
        """Hand the epoch's hash in."""
        digest = epoch.signed.hash()
        reply = await _ask("POST", f"{self._url}/digest", self.name, content=digest)
        file = DetachedTimestampFile(OpSHA256(), _timestamp(reply, digest, self.name))
        return self._given(epoch.number, file)

    async def complete(self, stamp: Stamp) -> Given | None:
        """Ask each calendar that the proof names whether a block holds it by now."""
        file = DetachedTimestampFile.deserialize(BytesDeserializationContext(stamp.data))
        pending = [
            (step, made.uri.rstrip("/"))
            for step in _steps(file.timestamp)
            for made in sorted(step.attestations)
            if isinstance(made, PendingAttestation)
        ]
        for step, uri in pending:
            if uri not in self._whitelist and uri not in DEFAULT_CALENDAR_WHITELIST:
                continue
            reply = await _ask("GET", f"{uri}/timestamp/{step.msg.hex()}", self.name, missing_is_none=True)
            if reply is not None:
                step.merge(_timestamp(reply, step.msg, self.name))
        given = self._given(stamp.epoch, file)
        return None if given.waits else given

    def _given(self, epoch: int, file: DetachedTimestampFile) -> Given:
        found = [made for _, made in file.timestamp.all_attestations()]
        if not found:
            raise ServiceError(f"{self.name} gave a proof that proves nothing")
        context = BytesSerializationContext()
        file.serialize(context)
        waits = not any(isinstance(made, BitcoinBlockHeaderAttestation) for made in found)
        return Given(Stamp(epoch=epoch, kind=StampKind.OPENTIMESTAMPS, data=context.getbytes()), waits)


class Authority:
    """A time-stamping authority by RFC 3161."""

    def __init__(self, settings: AuthoritySettings) -> None:
        """Read its root.

        Raises:
            ConfigError: If the file cannot be read.
        """
        self.name = f"RFC 3161 {_host(settings.url)}"
        self._url = settings.url
        self._roots = () if settings.roots_file is None else _roots(Path(settings.roots_file))

    async def stamp(self, epoch: Epoch) -> Given:
        """Ask for a stamp of the epoch's document, with the certificates of who signs."""
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

        document = stamped_document(epoch.signed.header)
        request = TimestampRequestBuilder(document, HashAlgorithm.SHA256, nonce=True, cert_req=True).build()
        reply = await _ask(
            "POST", self._url, self.name, content=request.as_bytes(), kind="application/timestamp-query"
        )
        stamp = Stamp(epoch=epoch.number, kind=StampKind.RFC3161, data=reply or b"")
        _check(stamp, epoch, Trust(tsa_roots=self._roots), self.name, is_pinned=bool(self._roots))
        return Given(stamp)

    async def complete(self, stamp: Stamp) -> Given | None:
        """Its stamps wait for nothing."""
        return Given(stamp)


class Witness:
    """Another Hashwerk."""

    def __init__(self, settings: WitnessOfSettings) -> None:
        """Read the access token.

        Raises:
            ConfigError: If the file cannot be read.
        """
        self.name = f"witness {_host(settings.url)}"
        self._url = settings.url.rstrip("/")
        self._key = settings.key
        self._token = None if settings.token_file is None else _token(Path(settings.token_file))

    async def stamp(self, epoch: Epoch) -> Given:
        """Show it the epoch and the keys.

        Raises:
            EquivocationClaimedError: If it was shown another history before.
        """
        asked = {
            "keys": [event.hex() for event in epoch.events],
            "header": SIGNED_HEADER.encode(epoch.signed).hex(),
        }
        reply = await _ask(
            "POST",
            f"{self._url}/api/v1/witness",
            self.name,
            content=msgspec.json.encode(asked),
            kind="application/json",
            token=self._token,
        )
        try:
            said = bytes.fromhex(msgspec.json.decode(reply or b"", type=dict[str, str])["statement"])
        except (msgspec.DecodeError, KeyError, ValueError) as error:
            raise ServiceError(f"{self.name} answers no statement") from error
        stamp = Stamp(epoch=epoch.number, kind=StampKind.WITNESS, data=said)
        _check(stamp, epoch, Trust(witnesses=frozenset({self._key})), self.name, is_pinned=True)
        return Given(stamp)

    async def complete(self, stamp: Stamp) -> Given | None:
        """Its statements wait for nothing."""
        return Given(stamp)


def _check(stamp: Stamp, epoch: Epoch, trust: Trust, name: str, *, is_pinned: bool) -> None:
    from hashwerk.evidence.stamps import UntrustedStampError

    try:
        check_stamp(stamp, epoch.signed.header, epoch.signed.hash(), trust)
    except UntrustedStampError as error:
        if is_pinned:
            raise ServiceError(f"{name}: {error}") from error
    except EvidenceError as error:
        raise ServiceError(f"{name}: {error}") from error


async def _ask(
    method: str,
    url: str,
    name: str,
    *,
    content: bytes | None = None,
    kind: str = "application/x-www-form-urlencoded",
    token: str | None = None,
    missing_is_none: bool = False,
) -> bytes | None:
    """Return the body of an answer; None: not found, where that is an answer.

    Raises:
        EquivocationClaimedError: If a witness says 409.
        ServiceError: If there is no answer, or another one than 200.
    """
    headers = {"accept": "application/vnd.opentimestamps.v1, */*"}
    if content is not None:
        headers["content-type"] = kind
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    body = bytearray()
    try:
        async with (
            httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as http,
            http.stream(method, url, content=content, headers=headers) as answer,
        ):
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > _MAX_REPLY:
                    raise ServiceError(f"{name} answers more than {_MAX_REPLY} bytes")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServiceError(f"{name} does not answer: {type(error).__name__}") from error
    if answer.status_code == 404 and missing_is_none:
        return None
    if answer.status_code == 409:
        raise EquivocationClaimedError(f"{name} refuses: {_detail(bytes(body))}")
    if answer.status_code != 200:
        raise ServiceError(f"{name} answers {answer.status_code}: {_detail(bytes(body))}")
    return bytes(body)


def _detail(body: bytes) -> str:
    try:
        text = str(msgspec.json.decode(body, type=dict[str, object])["detail"])
    except (msgspec.DecodeError, KeyError):
        text = body[:200].decode("ascii", "replace")
    return "".join(letter for letter in text[:200] if letter.isprintable()) or "nothing more"


def _timestamp(reply: bytes | None, message: bytes, name: str) -> Timestamp:
    try:
        return Timestamp.deserialize(BytesDeserializationContext(reply or b""), message)
    except (DeserializationError, ValueError, RecursionError, OverflowError) as error:
        raise ServiceError(f"{name} answers no timestamp") from error


def _steps(timestamp: Timestamp) -> list[Timestamp]:
    return [timestamp, *(step for above in timestamp.ops.values() for step in _steps(above))]


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _roots(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(path.expanduser().read_bytes()))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: the roots of the time-stamping authority cannot be read: {error}"
        ) from error


def _token(path: Path) -> str:
    try:
        token = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the witness's token cannot be read: {error}") from error
    if not token:
        raise ConfigError(f"{path} is empty")
    return token
