"""*Evidence*: can I prove it?"""

from __future__ import annotations

from nicegui import ui

from hashwerk.web.board import Board
from hashwerk.web.pages.live_table import LiveTable
from hashwerk.web.pages.sheet import Sheet, box, fixed
from hashwerk.web.pages.shell import copied_line, page_shell, panel

SOURCE = "/api/v1/evidence"


class EvidenceFile(ui.element, component="evidence_file.js"):
    """A place to drop a file, and what the verifier says of it."""


class EvidenceBundle(ui.element, component="evidence_bundle.js"):
    """The evidence of a period as a file to take away."""


def evidence_page(board: Board, title: str) -> None:
    """Build the page for one browser."""
    desk = board.site.evidence
    with page_shell(board, title, "Evidence") as sheet:
        if desk is None:
            _only_files()
            return
        desk.join()
        ui.context.client.on_delete(desk.leave)
        _sentence(sheet)
        with box("div", "evidence-columns"):
            with box("div", "stack"):
                _statement(sheet)
            with box("div", "stack"):
                _check()
                _take_away()
                _services(sheet)
                _key(sheet)
        _epochs(sheet)
        _checks(sheet)


def _only_files() -> None:
    with panel("Evidence", "open"):
        fixed(
            "p",
            "These pages run without a ledger, so there is nothing here to prove. With a mine they show it:",
        )
        copied_line("Command", "hashwerk run")


def _sentence(sheet: Sheet) -> None:
    with box("section", "sentence") as section:
        sheet.text("span", "evidence.glyph", "glyph").props("aria-hidden=true")
        sheet.text("p", "evidence.sentence", "words")
        sheet.text("span", "evidence.calm", "calm")
    sheet.state(section, "evidence.state", "sentence")
    sheet.text("p", "evidence.problem", "attention")


def _statement(sheet: Sheet) -> None:
    with panel("The last hour, as a stranger finds it", "evidence-statement", source=SOURCE):
        sheet.text("p", "evidence.made", "small muted")
        figures = LiveTable(
            [
                ("Figure", ""),
                ("Value", "prose"),
                ("Worth", "prose", "proven: mathematics; attested: by whom; asserted: the operator's word"),
            ],
            label="Figures of the last hour, each with what it is worth",
            empty="No figures yet. They appear when the first epoch with work is closed and checked.",
        )
        sheet.bind("rows.evidence_figures", figures.show)
        with box("p", "legend worths"):
            fixed("span", "◆ proven: mathematics, nobody has to be believed")
            fixed("span", "◈ attested: somebody else who is named says so")
            fixed("span", "◇ asserted: the operator's word")
    with panel("Not shown, and nobody can see it from here", "evidence-not-shown", source=SOURCE):
        lines = LiveTable(
            [("", "prose")],
            label="What the evidence does not show",
            empty="What the evidence cannot show stands here beside the first statement.",
        )
        sheet.bind("rows.evidence_not_shown", lines.show)


def _check() -> None:
    with panel("Verify a file", "evidence-check", source="/api"):
        EvidenceFile()


def _take_away() -> None:
    with panel("Take evidence with you", "evidence-take", source="/api"):
        EvidenceBundle()


def _services(sheet: Sheet) -> None:
    with panel("Who else says when", "evidence-services", source=SOURCE):
        services = LiveTable(
            [("Asked", ""), ("Stamped last", "prose"), ("Now", "prose")],
            label="Who is asked for external time",
            empty="Nobody is asked. Name OpenTimestamps calendars, RFC 3161 authorities or another Hashwerk in"
            " [evidence.time] of the site file; until then the time is the operator's word.",
        )
        sheet.bind("rows.evidence_services", services.show)
        with box("div", "evidence-witness") as lines:
            fixed("p", "This mine is a witness for others, who pin this key:", "small")
            copied_line("Witness", sheet=sheet, key="evidence.witness")
        sheet.state(lines, "evidence.is_witness", "evidence-witness")


def _key(sheet: Sheet) -> None:
    with panel("Who signs", "evidence-key", source=SOURCE):
        fixed(
            "p",
            "Hand the key's fingerprint to whoever is to check your evidence, by a way of its own: on paper, on your"
            " own site. Pinned, it shows that a bundle is yours.",
            "small",
        )
        copied_line("Key", sheet=sheet, key="evidence.key")
        copied_line("Site", sheet=sheet, key="evidence.site")
        copied_line("Check", "hashwerk verify hour.hwe --key FINGERPRINT")


def _epochs(sheet: Sheet) -> None:
    with panel("Epochs", "tall", source="/api/v1/evidence/epochs"):
        table = LiveTable(
            [
                ("Epoch", "number"),
                ("Closed", ""),
                ("Long", "number"),
                ("Shares", "number"),
                ("Work", "number", "Hashes credited, from the shares' targets."),
                (
                    "Time from outside",
                    "",
                    "Who besides the operator says when it existed; one epoch dates all before it.",
                ),
                ("Root", "", "Signed, and carried by the work that follows."),
            ],
            label="Closed epochs, the newest first",
            empty="No epoch is closed yet. Each one is closed about a minute after it began, empty or not.",
        )
        sheet.bind("rows.epochs", table.show)
        fixed(
            "p",
            "hashwerk prove --document last.bin writes what a time-stamping service or a witness signs;"
            " hashwerk prove --stamp puts the answer into the bundle.",
            "small muted stamps",
        )


def _checks(sheet: Sheet) -> None:
    with panel("The last hour, check by check", "evidence-checks", source=SOURCE):
        checks = LiveTable(
            [("About", ""), ("Worth", "prose"), ("What was found", "prose")],
            label="Checks of the last hour's evidence",
            empty="No check has been made yet.",
        )
        sheet.bind("rows.evidence_checks", checks.show)
