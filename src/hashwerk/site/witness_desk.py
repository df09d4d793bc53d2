"""Serves as a witness for the sites that the settings name: signs one history of each, and keeps the proof of a second one.

Owned by the loop of the `site` process; one request at a time is decided. Nothing is given out before it is on disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hashwerk.clock import Clock
from hashwerk.errors import EvidenceError
from hashwerk.evidence.key_files import read_key, write_key
from hashwerk.evidence.keys import fingerprint, public_bytes
from hashwerk.evidence.stamps import countersign
from hashwerk.evidence.witness import EquivocationError, check_history, read_request
from hashwerk.store.stamp_book import StampBook

log = logging.getLogger(__name__)

#: The witness's key, in the data folder. It is not the site's: that one may be rotated.
KEY: Final = "witness.key"


class UnknownSiteError(EvidenceError):
    """A site that is not named in the settings."""


class WitnessedSite(msgspec.Struct, frozen=True, kw_only=True):
    """How far a site's history is known."""

    site: str
    epoch: int | None  # the last that was signed for; None: none yet
    at: float | None


class ShownTwice(msgspec.Struct, frozen=True, kw_only=True):
    """Two signed headers of one site that contradict each other: anybody can check them."""

    site: str
    at: float
    first: str
    second: str


class WitnessView(msgspec.Struct, frozen=True, kw_only=True):
    """What this witness says of itself."""

    key: str  # fingerprint, for the settings of those who ask
    sites: tuple[WitnessedSite, ...]
    equivocations: tuple[ShownTwice, ...]


class WitnessDesk:
    """The witness of one mine."""

    def __init__(self, book: StampBook, folder: Path, sites: Sequence[str], clock: Clock) -> None:
        """Sign with the key in ``folder``, made on first use, for ``sites``.

        Raises:
            EvidenceError: If the key cannot be read or written.
        """
        self._book = book
        self._sites = frozenset(bytes.fromhex(site) for site in sites)
        self._clock = clock
        self._key = _open_key(folder / KEY)
        self._deciding = asyncio.Lock()

    @property
    def key(self) -> str:
        """The fingerprint of its key."""
        return fingerprint(public_bytes(self._key))

    async def sign(self, events: Sequence[bytes], header: bytes) -> bytes:
        """Return the statement that an epoch exists; the same one if it was given before.

        Raises:
            UnknownSiteError: If the site is not among those that may ask.
            EquivocationError: If the site has shown another history; the proof is kept.
            DecodeError: If the request cannot be read.
            EvidenceError: If it does not hold.
            StoreError: If the book of stamps does not take it.
        """
        now_us = int(self._clock.time() * 1e6)
        asked = await asyncio.to_thread(read_request, events, header, now_us)
        if asked.site not in self._sites:
            raise UnknownSiteError(
                f"site {asked.site.hex()[:16]}… is not among those that this witness signs for"
            )
        async with self._deciding:
            known = await asyncio.to_thread(self._book.around, asked)
            try:
                is_known = check_history(asked, known)
            except EquivocationError as error:
                log.warning("site %s: %s", asked.site.hex(), error)
                await asyncio.to_thread(self._book.convict, asked.site, error.first, error.second, now_us)
                raise
            said = await asyncio.to_thread(self._book.statement, asked) if is_known else None
            if said is None:
                said = countersign(asked.site, asked.number, asked.signed.hash(), self._key, now_us)
                await asyncio.to_thread(self._book.witness, asked, said, now_us)
        return said

    async def view(self) -> WitnessView:
        """Return for whom it signs, and who showed two histories.

        Raises:
            StoreError: If the book of stamps cannot be read.
        """
        newest = await asyncio.to_thread(self._book.newest_witnessed)
        shown = await asyncio.to_thread(self._book.equivocations)
        sites = [
            WitnessedSite(
                site=site.hex(),
                epoch=newest[site].number if site in newest else None,
                at=newest[site].at_us / 1e6 if site in newest else None,
            )
            for site in sorted(self._sites)
        ]
        twice = [
            ShownTwice(
                site=one.site.hex(), at=one.at_us / 1e6, first=one.first.hex(), second=one.second.hex()
            )
            for one in shown
        ]
        return WitnessView(key=self.key, sites=tuple(sites), equivocations=tuple(twice))


def _open_key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        write_key(path, Ed25519PrivateKey.generate())
    return read_key(path)
