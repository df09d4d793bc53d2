"""*Work*: is every hash counted?"""

from __future__ import annotations

from hashwerk.web.board import Board
from hashwerk.web.pages.live_table import LiveTable
from hashwerk.web.pages.ranges import RangedChart
from hashwerk.web.pages.sheet import Sheet, box, fixed
from hashwerk.web.pages.shell import NO_BLOCK_YET, connect_lines, facts, page_shell, panel, sentence


def work_page(board: Board, title: str) -> None:
    """Build the page for one browser."""
    with page_shell(board, title, "Work") as sheet:
        sentence(sheet)
        with box("div", "columns three"):
            _template(sheet)
            _shares(sheet)
            _latency(sheet)
        _chart(sheet)
        _machines(sheet)
        _upstreams(sheet)
        _books(sheet)
        with box("div", "columns"):
            with box("div", "stack"):
                _rejects(sheet)
                _accounts(sheet)
            with panel("Connect a machine", "open"):
                connect_lines(sheet)
        _blocks(sheet)


def _template(sheet: Sheet) -> None:
    with panel("Template", source="/api/v1/template"):
        facts(
            sheet,
            [
                ("For block", "template.height"),
                ("Received", "template.age"),
                ("Transactions", "template.transactions"),
                ("Reward", "template.value"),
                ("Target nBits", "template.nbits"),
                ("Builds on", "template.prev"),
                ("Jobs open", "jobs"),
            ],
        )


def _shares(sheet: Sheet) -> None:
    with panel("Shares", source="/api/v1/status"):
        sheet.text("p", "shares.accepted", "figure number")
        fixed("p", "accepted, each one on disk before it was acknowledged", "small")
        sheet.text("p", "shares.minute", "small")
        sheet.text("p", "shares.rejected", "small")
        sheet.text("p", "shares.reasons", "small muted")


def _latency(sheet: Sheet) -> None:
    with panel("Latency", source="/metrics"):
        facts(
            sheet,
            [
                ("Share answered, median", "latency.p50"),
                ("Share answered, 99 %", "latency.p99"),
                ("Share on disk, 99 %", "latency.commit"),
                ("New block to last job", "template.latency"),
            ],
        )
        fixed("p", "Over the last minute, from receipt to answer; the network comes on top.", "small muted")


def _chart(sheet: Sheet) -> None:
    with panel("Shares over time", "wide-chart", source="/api/v1/series"):
        RangedChart(sheet, "shares", "Shares accepted and rejected over time")
        with box("p", "legend"):
            fixed("span", "accepted", "key key-accepted")
            fixed("span", "rejected", "key key-rejected")
        sheet.text("p", "history.trouble", "attention")


def _machines(sheet: Sheet) -> None:
    with panel("Machines", source="/api/v1/workers"):
        table = LiveTable(
            [
                ("Machine", "name"),
                ("State", ""),
                ("Hash rate 10 min", "number"),
                ("95 % interval", "number"),
                ("1 h", "number"),
                ("Difficulty", "number", "Set for each machine from the likelihood of its share times."),
                ("Shares/min", "number", "Expected at this hash rate and difficulty."),
                ("Accepted", "number"),
                ("Rejected", "number"),
                ("Last share", "number"),
                ("Program", "program"),
            ],
            label="Machines with their hash rates, difficulties and shares",
            empty="No machine has connected yet. Enter the lines under “Connect a machine” on yours.",
            sortable=True,
        )
        sheet.bind("rows.workers", table.show)
        sheet.text("p", "machines.more", "small muted")


def _upstreams(sheet: Sheet) -> None:
    with panel("Upstream pools", source="/api/v1/upstreams"):
        table = LiveTable(
            [
                ("Pool", "name"),
                ("State", ""),
                ("Machines", "number"),
                ("Seen here 10 min", "number", "Hash rate from the shares of its jobs, as counted here."),
                (
                    "It accepted 10 min",
                    "number",
                    "Hash rate from the shares it said it accepted. Not yet credit.",
                ),
                ("Accepted", "number"),
                ("Refused", "number"),
                ("Lost", "number", "Shares without an answer, or that could not be handed in."),
                ("Answer, median", "number"),
                ("Difficulty", "number"),
                ("Last job", "number"),
                ("Why", "prose"),
            ],
            label="Upstream pools: what they had of us and what they made of it",
            empty="No upstream pool is configured: all work is built here. Add [[upstream]] to the site's file to mine"
            " for one.",
            sortable=True,
        )
        sheet.bind("rows.upstreams", table.show)
        fixed(
            "p",
            "What happened between pools, the newest first; machines keep their connections.",
            "small muted",
        )
        switches = LiveTable(
            [("When", "number"), ("Pool", "name"), ("What happened", "prose")],
            label="What happened between pools",
            empty="Nothing has happened between pools.",
        )
        sheet.bind("rows.switches", switches.show)


def _books(sheet: Sheet) -> None:
    with panel("What pools credited", source="/api/v1/upstreams/books"):
        verdicts = LiveTable(
            [
                ("Pool", "name"),
                ("Its books", ""),
                ("Days compared", "number"),
                ("Compared", "number"),
                ("Because", "prose"),
            ],
            label="Pools' accounts: whether their books agree with ours",
            empty="That a pool accepts a share is not yet credit. Add [[pool_account]] to the site's file, and its books are"
            " compared with ours every hour.",
        )
        sheet.bind("rows.verdicts", verdicts.show)
        days = LiveTable(
            [
                ("Pool", "name"),
                ("Day", "number"),
                ("Proved here", "number", "Hash rate of the day, from shares that were checked here."),
                ("It accepted", "number", "Hash rate of the day, from the shares it said it accepted."),
                ("It credited", "number", "Hash rate of the day in its own books."),
                ("Difference", "number", "Credited less accepted."),
                ("Credited, sat", "number"),
                ("Owed, sat", "number", "By the scheme's formula; needs the network's days and the fee."),
                ("What differs", "prose"),
            ],
            label="Day by day: proved here, accepted, credited and paid there",
            empty="No day has been compared.",
            sortable=True,
        )
        sheet.bind("rows.books", days.show)


def _accounts(sheet: Sheet) -> None:
    with panel("Accounts", source="/api/v1/accounts"):
        table = LiveTable(
            [
                ("Account", "name"),
                ("Connected", "number"),
                ("10 min", "number"),
                ("1 h", "number"),
                ("24 h", "number"),
            ],
            label="Accounts with the hash rates of their machines",
            empty="An account appears when its first machine connects.",
            sortable=True,
        )
        sheet.bind("rows.accounts", table.show)


def _blocks(sheet: Sheet) -> None:
    with panel("Blocks", "tall", source="/api/v1/blocks"):
        table = LiveTable(
            [
                ("Height", "number"),
                ("Found", ""),
                ("State", ""),
                ("Confirmations", "number", "A reward can be spent after 100 blocks."),
                ("Reward", "number"),
                ("Found by", ""),
                ("Hash", ""),
            ],
            label="Blocks found",
            empty=NO_BLOCK_YET,
            sortable=True,
        )
        sheet.bind("rows.blocks", table.show)


def _rejects(sheet: Sheet) -> None:
    with panel("Rejected, by reason", source="/api/v1/status"):
        table = LiveTable(
            [("Reason", ""), ("Shares", "number"), ("Of all", "number"), ("What it means", "prose")],
            label="Rejected shares by reason",
            empty="No share was rejected.",
            sortable=True,
        )
        sheet.bind("rows.rejects", table.show)
