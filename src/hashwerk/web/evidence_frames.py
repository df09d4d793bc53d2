"""The page *Evidence* in words: what is proven, what only asserted, and what nobody can see from here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from hashwerk.evidence.verify.result import counted
from hashwerk.units import format_duration, format_si
from hashwerk.web import words

if TYPE_CHECKING:
    from hashwerk.site.evidence_desk import EpochLine, EvidenceDesk, EvidenceView, ServiceLine, Statement

#: What each check of the verifier is about; what was found, and what that is worth, is another matter.
CHECK_WORDS: Final[dict[str, str]] = {
    "container": "The file as a whole",
    "seal": "The seal of its maker",
    "pinned key": "Who made it",
    "key chain": "The right to sign",
    "epoch chain": "The row of epochs",
    "standing": "Rules declared beforehand",
    "scale": "Hashes that one hash stands for",
    "records": "Records of the epochs",
    "shares": "The work, hashed again",
    "duplicates": "Work counted twice",
    "sums": "Sums of the accounts",
    "binding": "For whom the work counts",
    "anchor": "The history carried in the work",
    "time bounds": "Times of the shares",
    "external time": "Who else says when",
    "uniformity": "How the hashes are spread",
    "chain": "The chain it builds on",
    "meters": "Registers of the meters",
    "meter coverage": "Time without a meter",
    "energy bound": "Energy against work",
    "sources": "Certificates and sources",
    "attribution": "How clean energy was shared out",
    "blocks": "Blocks that were found",
    "payouts": "How rewards were shared",
    "receipts": "Receipts for shares",
    "other bundles": "Other bundles",
}
_STAMPS: Final = {
    "opentimestamps": "OpenTimestamps",
    "rfc3161": "RFC 3161",
    "witness": "a witness",
}
_NO_STAMP: Final = "none: the operator's clock"
_WORTH: Final = {"proven": "◆", "attested": "◈", "asserted": "◇"}


def evidence_frame(desk: EvidenceDesk | None, now: float) -> dict[str, Any]:
    """Return everything the page shows that changes by itself."""
    if desk is None:
        return {}
    view = desk.view()
    state, glyph, sentence = _sentence(view)
    return {
        "evidence.state": state,
        "evidence.glyph": glyph,
        "evidence.sentence": sentence,
        "evidence.calm": _calm(view, now),
        "evidence.key": view.key or "–",
        "evidence.site": view.site or "–",
        "evidence.begun": "" if view.epochs else "none",
        "evidence.problem": view.problem,
        "evidence.made": _made(view, now),
        "rows.evidence_figures": [] if view.statement is None else _figures(view.statement),
        "rows.evidence_checks": [] if view.statement is None else _checks(view.statement),
        "rows.evidence_not_shown": [] if view.statement is None else _not_shown(view.statement),
        "rows.epochs": _epochs(view.epochs),
        "rows.evidence_services": [_service(line, now) for line in view.services],
        "evidence.witness": view.witness or "–",
        "evidence.is_witness": "" if view.witness else "off",
    }


def worth(label: str) -> dict[str, str]:
    """Return the cell of a label: its shapes go with its words, and it looks like the least that is in it."""
    kinds = [kind for kind in _WORTH if kind in label and not label.startswith("not shown")]
    shapes = "".join(_WORTH[kind] for kind in kinds) or "✕"
    return {"t": f"{shapes} {label}", "c": f"worth {kinds[-1] if kinds else 'not'}", "s": label}


def _sentence(view: EvidenceView) -> tuple[str, str, str]:
    """Return state, glyph and the answer to the page's question."""
    made = view.statement
    if made is None:
        if not view.epochs:
            return "", "◌", "Nothing can be proven yet: the first epoch begins with the mine's first minute."
        if view.epochs[0].number == 0:
            return "", "◌", "Not yet: the first epoch is still open. Closed epochs are what can be proven."
        return "", "◌", "The evidence of the last hour is being put together and checked."
    report = made.report
    failed = [check for check in report["checks"] if not check["ok"]]
    if report["verdict"] == "invalid":
        return "act", "■", f"No: the evidence of the last hour contradicts itself. {failed[0]['meaning']}"
    told = _told(report["statement"])
    if report["verdict"] == "incomplete":
        return "attention", "▲", f"In part: {told}. {failed[0]['meaning']}"
    lead = "Yes, as a simulation" if report["subject"] == "simulation" else "Yes"
    return "", "◆", f"{lead}: {told}. {_timed(report)}"


def _told(statement: dict[str, Any]) -> str:
    first, last = statement["period"]["epochs"]
    shares = statement["work"]["shares"]["value"]
    where = "1 epoch" if first == last else f"{last - first + 1:,} epochs"
    what = "1 share" if shares == 1 else f"{shares:,} shares" if shares else "no share yet,"
    return f"{what} in {where}, checked as a stranger would"


def _timed(report: dict[str, Any]) -> str:
    check = next((check for check in report["checks"] if check["name"] == "external time"), None)
    if check is not None and check["ok"] and check["label"].startswith("attested"):
        return f"When it was done is {check['label']}."
    return "When it was done is the operator's word: no epoch has a stamp from outside."


def _calm(view: EvidenceView, now: float) -> str:
    return f"last epoch closed {words.format_age(view.epochs[0].end, now)}" if view.epochs else ""


def _made(view: EvidenceView, now: float) -> str:
    if view.statement is None:
        return "It is made once a minute at most, while somebody looks." if view.epochs else ""
    at = words.format_age(view.statement.at, now)
    size = format_si(view.statement.size, "B")
    newer = "; a newer one is being made" if view.under_way else ""
    return f"{view.statement.report['period']}. Made and checked {at}, {size}{newer}."


def _figures(made: Statement) -> list[dict[str, Any]]:
    rows = []
    for row in made.report["figures"]:
        worth_of = worth(row["label"])
        refused = worth_of["c"].endswith("not")
        value = {"t": row["value"], "c": "refused"} if refused else row["value"]
        rows.append({"k": row["name"], "c": [row["name"], value, worth_of]})
    return rows


def _checks(made: Statement) -> list[dict[str, Any]]:
    return [
        {
            "k": check["name"],
            "c": [
                {"t": CHECK_WORDS.get(check["name"], check["name"]), "h": check["name"]},
                worth(check["label"]) if check["ok"] else {"t": "✕ does not hold", "c": "act"},
                check["detail"] if check["ok"] else f"{check['detail']} {check['meaning']}",
            ],
        }
        for check in made.report["checks"]
    ]


def _not_shown(made: Statement) -> list[dict[str, Any]]:
    lines = made.report["statement"].get("not_shown", [])
    return [{"k": line, "c": [line]} for line in lines]


def _length(length_s: float) -> dict[str, Any]:
    if length_s == 0:
        return {"t": "–", "s": 0, "h": "The site begins here; declarations only."}
    return {"t": format_duration(length_s), "s": length_s}


def _stamped(kind: str) -> str:
    name, _, more = kind.partition(" ")
    return f"{_STAMPS.get(name, name)} {more}".strip()


def _service(line: ServiceLine, now: float) -> dict[str, Any]:
    epoch = "none yet" if line.epoch is None else f"epoch {line.epoch:,}"
    age = "" if line.at is None else f", {words.format_age(line.at, now)}"
    waits = "" if not line.waiting else f"; {counted(line.waiting, 'proof waits', 'proofs wait')} for a block"
    return {
        "k": line.name,
        "c": [
            line.name,
            f"{epoch}{age}{waits}",
            {"t": f"▲ {line.problem}", "c": "attention"} if line.problem else {"t": "stamps", "c": "muted"},
        ],
    }


def _epochs(lines: Sequence[EpochLine]) -> list[dict[str, Any]]:
    """Return a row an epoch, the newest first: a stamp of one epoch dates every one before it."""
    rows, dated_by = [], None
    for line in lines:
        if any(" " not in kind for kind in line.stamps):
            dated_by = line.number
        rows.append(_epoch(line, dated_by))
    return rows


def _epoch(line: EpochLine, dated_by: int | None) -> dict[str, Any]:
    by = ", ".join(_stamped(kind) for kind in dict.fromkeys(line.stamps))
    if not by and dated_by is not None:
        by = f"dated with epoch {dated_by:,}"
    return {
        "k": str(line.number),
        "c": [
            {"t": f"{line.number:,}", "s": line.number},
            {"e": line.end},
            _length(line.end - line.start),
            {"t": f"{line.shares:,}", "s": line.shares},
            {"t": format_si(float(line.work), "H"), "s": float(line.work)},
            {"t": by or _NO_STAMP, "c": "" if by else "muted"},
            {"t": f"{line.root[:16]}…", "h": line.root, "y": line.root, "c": "mono"},
        ],
    }
