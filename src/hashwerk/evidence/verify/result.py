"""What a verification says: checks with their labels, one verdict, and never more than was shown."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

#: Most failures that are listed for one check.
MAX_FAILURES: Final = 20


class Label(StrEnum):
    """What a check is worth."""

    PROVEN = "proven"  # mathematics
    ATTESTED = "attested"  # by a named third party's signature or chain
    ASSERTED = "asserted"  # the operator's word


class Verdict(StrEnum):
    """What a bundle is."""

    VALID = "valid"  # every claim it makes holds
    INCOMPLETE = "incomplete"  # a claim that was asked for lacks its evidence
    INVALID = "invalid"  # a contradiction


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check of a bundle."""

    name: str
    ok: bool
    label: str  # "proven", "attested by …" or "asserted"
    detail: str
    meaning: str = ""  # for a failure: what it means
    consequence: Verdict = Verdict.VALID


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found."""

    verdict: Verdict
    subject: str  # "mine" or "simulation"
    checks: tuple[Check, ...]
    statement: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the bundle is valid."""
        return self.verdict == Verdict.VALID

    def failures(self) -> tuple[Check, ...]:
        """Return the checks that failed."""
        return tuple(check for check in self.checks if not check.ok)

    def as_data(self) -> dict[str, Any]:
        """Return what `hashwerk verify --json` prints."""
        return {
            "verdict": str(self.verdict),
            "subject": self.subject,
            "checks": [
                {
                    "name": check.name,
                    "ok": check.ok,
                    "label": check.label,
                    "detail": check.detail,
                    **({} if check.ok else {"meaning": check.meaning, "consequence": str(check.consequence)}),
                }
                for check in self.checks
            ],
            "statement": self.statement,
        }


#: Every check in the order of the report: name → what its failure means.
CHECKS: Final[dict[str, str]] = {
    "container": "The file is not one whole bundle in its one spelling: cut short, damaged, or with bytes added.",
    "seal": "The file was changed after it was sealed, or sealed by someone else.",
    "pinned key": "The bundle is not by the operator whose key was pinned.",
    "key chain": "The right to sign did not pass from key to key as committed.",
    "epoch chain": "An epoch was removed, reordered, invented or signed by the wrong key.",
    "standing": "Scale, rules or inventory in force are not those that were declared before.",
    "scale": "The scale is missing or changed within the period, so no figure can be read.",
    "records": "A record was removed, edited or added after the epoch was closed.",
    "shares": "Work is claimed that was not done, or not under the terms of its job.",
    "duplicates": "One piece of work is counted more than once.",
    "sums": "Shares or sums of an account were removed, edited or added after the epoch was closed.",
    "binding": "A job's coinbase does not commit to the site, account and share target it is counted for.",
    "anchor": "A job does not carry the root of an epoch closed before it: the history was made afterwards.",
    "time bounds": "Shares lie outside the time that is claimed for them.",
    "external time": "Nobody but the operator says when the work was done.",
    "uniformity": "The hashes are not spread as chance spreads them: shares were selected or relabelled.",
    "chain": "The jobs do not build on the chain that the site claims to mine.",
    "meters": "A meter's register runs backwards, jumps, or belongs to another meter.",
    "meter coverage": "For a part of the period no meter says what was used.",
    "energy bound": "Less energy was metered than the work shown needs.",
    "sources": "A certificate is used twice, for another hour, or for more than it says.",
    "attribution": "The rule that shares out clean energy was changed within the period.",
    "blocks": "A block is named that was not found here, or not for the reward that is named.",
    "payouts": "A reward was not shared by the declared rule, to the satoshi.",
    "receipts": "A receipt was given for a share that the epoch does not hold there.",
    "other bundles": "Another bundle contradicts this one, or claims the same work or certificates.",
}


#: The same where a check only lacks its evidence: nothing contradicts. What is not here means the same in both cases.
LACKING: Final[dict[str, str]] = {
    "binding": "Work for a pool is claimed that was not declared before.",
    "anchor": "Jobs carry an older root than they could: it is not shown that they were made when they say.",
    "chain": "The headers that were given do not reach all that the jobs build on.",
    "payouts": "Whether rewards were shared by the declared rule cannot be recomputed from this file alone.",
    "receipts": "There are receipts that cannot be held against this file.",
    "other bundles": "The bundles could not be compared in full.",
    "meters": "What a meter is said to have signed cannot be judged here.",
}


class Checks:
    """Collects what checks find."""

    __slots__ = ("_failed", "_passed", "_worst")

    def __init__(self) -> None:
        self._passed: dict[str, tuple[str, str]] = {}
        self._failed: dict[str, list[str]] = {}
        self._worst: dict[str, Verdict] = {}

    def passed(self, name: str, label: str, detail: str) -> None:
        """Note that a check passed, unless something of it failed."""
        self._check_name(name)
        self._passed[name] = (label, detail)

    def failed(self, name: str, detail: str, consequence: Verdict = Verdict.INVALID) -> None:
        """Note a failure: what and where."""
        self._check_name(name)
        found = self._failed.setdefault(name, [])
        if len(found) < MAX_FAILURES:
            found.append(detail)
        if self._worst.get(name) != Verdict.INVALID:
            self._worst[name] = consequence

    def has_failed(self, name: str) -> bool:
        """Return whether something of a check failed."""
        return name in self._failed

    def is_contradicted(self, name: str) -> bool:
        """Return whether a check found a contradiction, not only a lack."""
        return self._worst.get(name) == Verdict.INVALID

    def labels(self) -> dict[str, str]:
        """Return what each check that passed is worth."""
        return {name: label for name, (label, _) in self._passed.items()}

    @property
    def verdict(self) -> Verdict:
        """The verdict so far."""
        found = set(self._worst.values())
        if Verdict.INVALID in found:
            return Verdict.INVALID
        return Verdict.INCOMPLETE if found else Verdict.VALID

    def results(self) -> tuple[Check, ...]:
        """Return all checks that were made, in the order of `CHECKS`."""
        found = []
        for name, meaning in CHECKS.items():
            label, detail = self._passed.get(name, (str(Label.PROVEN), ""))
            if name in self._failed:
                found.append(
                    Check(
                        name=name,
                        ok=False,
                        label=label,
                        detail="; ".join(self._failed[name]),
                        meaning=LACKING.get(name, meaning)
                        if self._worst[name] == Verdict.INCOMPLETE
                        else meaning,
                        consequence=self._worst[name],
                    )
                )
            elif name in self._passed:
                found.append(Check(name=name, ok=True, label=label, detail=detail))
        return tuple(found)

    @staticmethod
    def _check_name(name: str) -> None:
        if name not in CHECKS:
            raise KeyError(name)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, or with the words that follow it: ``one`` for one, else ``many`` (with an s)."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def attested_by(whom: str) -> str:
    """Return the label of what a third party says."""
    return f"{Label.ATTESTED} by {whom}"
