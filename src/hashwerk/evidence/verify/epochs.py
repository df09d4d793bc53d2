"""Checks of the chain of epochs: numbers, times, hashes, signatures, keys, and what stood when."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from hashwerk.errors import EvidenceError
from hashwerk.evidence.epoch import MAX_CREDIT_LOG2, VERSION, Header, SignedHeader
from hashwerk.evidence.keys import KeyChain, event_hash, fingerprint
from hashwerk.evidence.records import AccountScale, AttributionRule, Record, Scale, Site, Thinning
from hashwerk.evidence.standing import Standing
from hashwerk.evidence.verify.result import Checks, Label, counted


class EpochWalk:
    """Follows headers in the order of the bundle."""

    def __init__(self, checks: Checks, site: bytes, keys: KeyChain | None) -> None:
        self._checks = checks
        self._site = site
        self._keys = keys
        self._last: SignedHeader | None = None
        self.hashes: dict[bytes, int] = {}  # epoch hash → number
        self.headers: list[Header] = []  # of the period
        self.known: dict[int, Header] = {}  # by number, those before the period too
        self.ends_us: dict[int, int] = {}

    def preamble(self, headers: Sequence[SignedHeader]) -> None:
        """Follow the headers before the period."""
        for signed in headers:
            self._follow(signed)

    def epoch(self, signed: SignedHeader) -> None:
        """Follow a header of the period."""
        self._follow(signed)
        self.headers.append(signed.header)

    def _follow(self, signed: SignedHeader) -> None:
        header, where = signed.header, f"epoch {signed.header.number}"
        fail = self._checks.failed
        if header.version != VERSION:
            fail("epoch chain", f"{where}: unknown version {header.version}")
        if header.site != self._site:
            fail("epoch chain", f"{where}: belongs to another site")
        if header.end_us < header.start_us:
            fail("epoch chain", f"{where}: ends before it starts")
        if self._last is None:
            if (header.number == 0) != (header.previous == bytes(32)):
                fail("epoch chain", f"{where}: only epoch 0 has no predecessor")
            if header.number == 0 and (header.start_us != header.end_us or header.shares):
                fail("epoch chain", f"{where}: has a duration or shares, where everything is only declared")
        else:
            self._check_link(self._last, signed)
        if not signed.is_signed():
            fail("epoch chain", f"{where}: the signature is not that of the key it names")
        self._check_key(header, where)
        self._last = signed
        self.hashes[signed.hash()] = header.number
        self.ends_us[header.number] = header.end_us
        self.known[header.number] = header

    def _check_link(self, last: SignedHeader, signed: SignedHeader) -> None:
        header, where = signed.header, f"epoch {signed.header.number}"
        if header.number != last.header.number + 1:
            self._checks.failed(
                "epoch chain", f"{where} follows epoch {last.header.number}: one was removed or reordered"
            )
        elif header.previous != last.hash():
            self._checks.failed("epoch chain", f"{where} does not name the hash of the epoch before it")
        if header.start_us != last.header.end_us:
            self._checks.failed("epoch chain", f"{where} does not begin where the one before it ends")

    def _check_key(self, header: Header, where: str) -> None:
        if self._keys is None:
            return
        try:
            event = self._keys.key_at(header.number)
        except EvidenceError as error:
            self._checks.failed("key chain", f"{where}: {error}")
            return
        if header.key != event.body.key:
            self._checks.failed(
                "key chain",
                f"{where} is signed by {fingerprint(header.key)[:16]}…, which no key event allows there",
            )
        elif header.key_events != event_hash(event.body):
            self._checks.failed("key chain", f"{where} names another key event than the one in force")


class StandingWalk:
    """Follows what stands, and that headers commit to it before it is used."""

    def __init__(self, checks: Checks, records: Sequence[Record]) -> None:
        self._checks = checks
        self.now = Standing().after(records)
        if len(self.now.records) != len(records) or list(self.now.records) != list(records):
            checks.failed("standing", "the list of declarations is not in its order, or holds something else")
        self._scales: set[int] = set()
        self.account_scales: dict[bytes, AccountScale] = {}  # the last in force
        self._scaled = False
        self.site: Site | None = None
        self.thinned = False

    def begin(self, header: Header) -> None:
        """Check the declarations in force in an epoch."""
        where = f"epoch {header.number}"
        if header.standing != self.now.root():
            self._checks.failed("standing", f"{where}: the header commits to other declarations")
        self._check_full(header, where)
        if header.number == 0:
            return  # the epoch in which everything is declared
        scale, site = self.now.find(Scale), self.now.find(Site)
        if scale is None or not scale.factor:
            self._checks.failed("scale", f"{where}: no scale is declared")
        else:
            self._scales.add(scale.factor)
        for own in self.now.all(AccountScale):
            if not own.factor:
                self._checks.failed(
                    "scale", f"{where}: account {own.account.hex()[:16]}… has a scale of zero"
                )
            self._scaled |= own.factor != 1
            self.account_scales[own.account] = own
        if site is None:
            self._checks.failed("scale", f"{where}: no site and chain are declared")
        elif self.site is not None and (site.network, site.private) != (self.site.network, self.site.private):
            self._checks.failed("scale", f"{where}: the chain changes within the period")
        self.site = site or self.site

    def _check_full(self, header: Header, where: str) -> None:
        """Check the fields of the tree before thinning: zero without a thinning, and whole with one."""
        fail, thinning = self._checks.failed, self.now.find(Thinning)
        full = header.full_root != bytes(32), header.full_shares > 0, header.full_work > 0
        if thinning is None:
            if any(full):
                fail("sums", f"{where}: a tree before thinning is named, and nothing was thinned")
            return
        self.thinned = True
        if thinning.work_log2 > MAX_CREDIT_LOG2:
            fail("sums", f"{where}: thinned to 2**{thinning.work_log2} hashes a share")
        if len(set(full)) > 1:
            fail("sums", f"{where}: of the tree before thinning root, count or work is missing")
        if header.full_shares < header.shares or header.full_work < header.full_shares:
            fail(
                "sums", f"{where}: there are more shares after thinning than before, or less work than shares"
            )

    def end(self, header: Header, records: Sequence[Record], *, last: bool) -> None:
        """Apply the changes that an epoch logged; they hold from the next on."""
        if header.number and not last:
            for record in records:
                if isinstance(record, AttributionRule):
                    self._checks.failed(
                        "attribution",
                        f"epoch {header.number}: the rule becomes {record.rule!r} within the period",
                    )
        self.now = self.now.after(records)

    def finish(self, accounts: Mapping[bytes, Collection[int]]) -> None:
        """Say what was found of the scale.

        Args:
            accounts: Those that have shares, each with what its hashes stood for over the epochs.
        """
        for account, factors in sorted(accounts.items()):
            if len(factors) > 1 and len(self._scales) <= 1:
                self._checks.failed(
                    "scale",
                    f"the scale of account {account.hex()[:16]}… changes within the period: {sorted(factors)}",
                )
        if len(self._scales) > 1:
            self._checks.failed("scale", f"the scale changes within the period: {sorted(self._scales)}")
        detail = ", ".join(f"1 : {factor:,}" for factor in sorted(self._scales)) or "no epoch but the first"
        for own in sorted(self.account_scales.values(), key=lambda record: record.account):
            detail += f"; account {own.account.hex()[:16]}… 1 : {own.factor:,}"
        self._checks.passed("scale", Label.ASSERTED, detail)
        self._checks.passed(
            "standing", Label.PROVEN, f"{counted(len(self.now.records), 'declaration')}, each before its use"
        )
        if self.now.find(AttributionRule) is None:
            self._checks.passed("attribution", Label.ASSERTED, "no rule is declared")
        else:
            self._checks.passed(
                "attribution", Label.PROVEN, "declared before the period, unchanged within it"
            )

    @property
    def simulation(self) -> bool:
        """Whether what was declared makes this a simulation."""
        private = self.site is None or bool(self.site.private) or self.site.network != "main"
        return private or self._scaled or self._scales != {1}

    @property
    def scale(self) -> int:
        """The scale in force."""
        return max(self._scales, default=1)
