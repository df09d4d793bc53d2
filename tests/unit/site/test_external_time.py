"""External time of a running mine: a calendar, an authority and another Hashwerk stamp its epochs, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
import io
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from hashwerk.chain.network import NETWORKS
from hashwerk.chain.target import compact_from_target
from hashwerk.clock import SystemClock
from hashwerk.config.site import EvidenceSettings
from hashwerk.config.time_settings import (
    AuthoritySettings,
    TimeSettings,
    WitnessOfSettings,
    WitnessSettings,
)
from hashwerk.config.web_settings import WebSettings
from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence import records
from hashwerk.evidence.blockchain import Checkpoint, trusted_chain
from hashwerk.evidence.epoch import SIGNED_HEADER, header_hash
from hashwerk.evidence.key_files import open_keys
from hashwerk.evidence.keys import EVENT
from hashwerk.evidence.stamps import Trust, check_stamp
from hashwerk.evidence.verify import verify_bundle
from hashwerk.evidence.verify.run import Options
from hashwerk.evidence.witness import EquivocationError
from hashwerk.site.evidence_desk import EvidenceDesk
from hashwerk.site.external_time import running_time
from hashwerk.site.stamping import Stamping
from hashwerk.site.time_services import Authority, Calendar, TimeService, Witness, build_services
from hashwerk.site.witness_desk import UnknownSiteError, WitnessDesk
from hashwerk.store import SqliteLedger, epochs
from hashwerk.store.bundles import Period, write_bundle
from hashwerk.store.connection import connect_reader
from hashwerk.store.keeper import EpochKeeper
from hashwerk.store.stamp_book import NAME, StampBook, read_kept
from hashwerk.web.app import create_api
from hashwerk.web.auth import hash_token, new_token
from hashwerk.web.server import serve_web
from hashwerk.web.state import MineView
from hashwerk.web.witness_api import witness_router
from support.evidence import EvidenceSite, resign
from support.time_servers import Calendar as CalendarServer
from support.time_servers import block_with, served
from support.timestamping import OpensslAuthority

WITHIN_S = 30.0
DECLARED = (
    records.Site(name="site", network="testnet4", private=1),
    records.Scale(factor=1, basis="one hash is one hash"),
)
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="NO openssl: no authority is tried")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@dataclass
class Mine:
    """A ledger whose epochs are closed one after the other, two minutes ago and on."""

    path: Path
    end: float = field(default_factory=lambda: time.time() // 60 * 60 - 600)

    async def close(self, count: int) -> None:
        ledger = SqliteLedger(self.path, asyncio.get_running_loop())
        ledger.open()
        keeper = EpochKeeper(
            self.path, open_keys(self.path.parent), ledger.put, declarations=DECLARED, interval_s=60.0
        )
        await asyncio.to_thread(keeper.open, self.end - 30)
        for _ in range(count):
            await asyncio.to_thread(keeper.close_epoch, self.end + 3)
            self.end += 60
        keeper.close()
        ledger.close()

    @property
    def site(self) -> str:
        connection = connect_reader(self.path)
        try:
            last = epochs.last_epoch(connection)
            assert last is not None
            return last.signed.header.site.hex()
        finally:
            connection.close()

    def bundle(self) -> bytes:
        out = io.BytesIO()
        connection = connect_reader(self.path)
        try:
            period = Period(start_us=0, end_us=2**62, fixed_beforehand=False)
            key = open_keys(self.path.parent).current
            write_bundle(connection, out, key, period, now_us=int(time.time() * 1e6), software="test")
        finally:
            connection.close()
        return out.getvalue()


@pytest.fixture
async def mine(tmp_path: Path) -> Mine:
    (tmp_path / "mine").mkdir()
    made = Mine(tmp_path / "mine" / "ledger.sqlite")
    await made.close(2)
    return made


@pytest.fixture(scope="module")
def openssl(tmp_path_factory: pytest.TempPathFactory) -> OpensslAuthority:
    return OpensslAuthority(tmp_path_factory.mktemp("authority"), "ec")


@pytest.fixture
def authority(openssl: OpensslAuthority) -> Iterator[str]:
    with served(lambda _, __, body: (200, openssl.answer(body))) as url:
        yield url


@pytest.fixture
def calendar() -> Iterator[CalendarServer]:
    server = CalendarServer()
    with served(server.answer) as url:
        server.url = url
        yield server


@asynccontextmanager
async def witness(
    folder: Path, *sites: str, token: str | None = None
) -> AsyncIterator[tuple[WitnessDesk, str]]:
    """Serve another Hashwerk that is a witness; yields it and its URL."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    book, clock, ready = StampBook(folder / NAME), SystemClock(), asyncio.Queue[str]()
    book.open()
    desk = WitnessDesk(book, folder, sites, clock)
    settings = WebSettings(port=0, tokens=() if token is None else (hash_token(token),))
    app = create_api(
        MineView(None, clock), settings, clock, session_key=bytes(32), routers=[witness_router(desk)]
    )
    shutdown = asyncio.Event()
    serving = asyncio.create_task(serve_web(app, settings, shutdown, ready.put_nowait))
    try:
        yield desk, await asyncio.wait_for(ready.get(), WITHIN_S)
    finally:
        shutdown.set()
        await serving
        book.close()


@asynccontextmanager
async def stamping(mine: Mine, services: list[TimeService], every_s: float = 60.0) -> AsyncIterator[Stamping]:
    book = StampBook(mine.path.with_name(NAME))
    book.open()
    made = Stamping(
        mine.path,
        book,
        services,
        SystemClock(),
        every_s=every_s,
        look_s=0.05,
        first_pause_s=0.05,
        complete_s=0.1,
    )
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        book.close()


def stamped(mine: Mine) -> dict[str, tuple[int, bool]]:
    """Return service → last epoch it stamped, and whether that waits."""
    return {kept.service.split()[0]: (kept.stamp.epoch, kept.waits) for kept in read_kept(mine.path, 0, 99)}


async def test_epochs_are_stamped_by_all_three_and_again_after_failures(
    mine: Mine, calendar: CalendarServer, authority: str, openssl: OpensslAuthority, tmp_path: Path
) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_bytes((openssl.folder / "root.pem").read_bytes())
    calendar.refusals = 3
    token, _ = new_token()
    (tmp_path / "token").write_text(token)
    async with witness(tmp_path / "witness", mine.site, token=token) as (desk, url):
        settings = TimeSettings(
            calendars=(calendar.url,),
            authority=(AuthoritySettings(url=authority, roots_file=str(roots)),),
            witness=(WitnessOfSettings(url=url, key=desk.key, token_file=str(tmp_path / "token")),),
        )
        async with stamping(mine, build_services(settings)):
            await until(lambda: len(stamped(mine)) == 3)
            assert stamped(mine) == {"OpenTimestamps": (2, True), "RFC": (2, False), "witness": (2, False)}
            assert calendar.asked > 3, "it was asked again until it answered"
            await mine.close(1)
            await until(lambda: {epoch for epoch, _ in stamped(mine).values()} == {3})
        told = (await desk.view()).sites
        assert [(one.site, one.epoch) for one in told] == [(mine.site, 3)]
        # The bundle carries them, and whoever pins the two of them has the time from both.
        data, pinned = mine.bundle(), frozenset({desk.key})
    report = verify_bundle(io.BytesIO(data), Options(threads=1, tsa_roots=(openssl.root,), witnesses=pinned))
    assert report.ok, report.failures()
    label = next(check.label for check in report.checks if check.name == "external time")
    assert label.startswith("attested by")
    assert "witness" in label or "RFC 3161" in label
    # Who pins nobody has a claim without evidence.
    assert verify_bundle(io.BytesIO(data), Options(threads=1)).verdict == "incomplete"


async def test_a_proof_that_waits_is_completed_after_a_restart(mine: Mine, calendar: CalendarServer) -> None:
    async with stamping(mine, [Calendar(calendar.url)]):
        await until(lambda: stamped(mine).get("OpenTimestamps") == (2, True))
    data = mine.bundle()
    assert verify_bundle(io.BytesIO(data), Options(threads=1)).ok, "what waits for its block is no claim"
    first, nbits = NETWORKS["regtest"].genesis, compact_from_target((1 << 255) - 1)
    block = block_with(calendar.root(), first, nbits, 1_296_689_000)
    calendar.mined(1)
    async with stamping(mine, [Calendar(calendar.url)]):
        await until(lambda: stamped(mine) == {"OpenTimestamps": (2, False)})
    (kept,) = read_kept(mine.path, 0, 99)
    chain = trusted_chain("regtest", first.serialize() + block.serialize(), (Checkpoint(0, first.hash()),))
    connection = connect_reader(mine.path)
    (row,) = epochs.read_epochs(connection, 2, 2)
    connection.close()
    shown = check_stamp(kept.stamp, row.signed.header, header_hash(row.signed.header), Trust(chain=chain))
    assert shown.by == "Bitcoin block 1 (OpenTimestamps)"


@pytest.mark.parametrize(
    "answer",
    [(200, b"noise"), (200, b""), (500, b"broken"), (200, bytes(1 << 17)), (302, b"")],
    ids=["noise", "nothing", "broken", "endless", "elsewhere"],
)
async def test_what_is_no_stamp_is_not_kept(mine: Mine, answer: tuple[int, bytes]) -> None:
    with served(lambda *_: answer) as url:
        services: list[TimeService] = [
            Calendar(url), Authority(AuthoritySettings(url=url)), Witness(WitnessOfSettings(url=url, key="ab" * 32)),
        ]  # fmt: skip
        async with stamping(mine, services) as running:
            await until(lambda: all(state.failures > 1 for state in running.states))
    assert read_kept(mine.path, 0, 99) == ()


async def test_an_authority_that_is_not_the_pinned_one_is_not_kept(
    mine: Mine, authority: str, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = OpensslAuthority(tmp_path / "other", "ec")
    service = Authority(AuthoritySettings(url=authority, roots_file=str(other.folder / "root.pem")))
    async with stamping(mine, [service]) as running:
        await until(lambda: running.states[0].failures > 1)
        assert "does not hold" in running.states[0].problem
    assert read_kept(mine.path, 0, 99) == ()


async def test_stamps_are_not_asked_for_more_often_than_said(mine: Mine, calendar: CalendarServer) -> None:
    async with stamping(mine, [Calendar(calendar.url)], every_s=3_600.0):
        await until(lambda: stamped(mine) == {"OpenTimestamps": (2, True)})
        await mine.close(2)
        asked = calendar.asked
        await until(lambda: calendar.asked > asked + 2)  # it asks for the waiting proof meanwhile
        assert stamped(mine) == {"OpenTimestamps": (2, True)}


async def test_nobody_is_asked_who_is_not_named(mine: Mine) -> None:
    async with running_time(EvidenceSettings(), mine.path, mine.path.parent, SystemClock()) as running:
        assert (running.stamping, running.witness, running.problem) == (None, None, "")
    assert not mine.path.with_name(NAME).exists()
    assert not (mine.path.parent / "witness.key").exists()


async def test_what_cannot_start_is_said_and_stops_nothing(mine: Mine) -> None:
    settings = EvidenceSettings(
        time=TimeSettings(authority=(AuthoritySettings(url="http://x", roots_file="/no"),))
    )
    async with running_time(settings, mine.path, mine.path.parent, SystemClock()) as running:
        assert "cannot be read" in running.problem
        assert running.stamping is None


async def test_the_page_is_told_who_stamps(mine: Mine, calendar: CalendarServer) -> None:
    settings = EvidenceSettings(
        time=TimeSettings(calendars=(calendar.url,)), witness=WitnessSettings(sites=("ab" * 32,))
    )
    clock = SystemClock()
    async with running_time(settings, mine.path, mine.path.parent, clock) as running:
        desk = EvidenceDesk(mine.path, mine.path.parent, mine.path.parent / "spool", clock, time=running)
        await until(lambda: stamped(mine) == {"OpenTimestamps": (2, True)})
        view = await desk.read()
    assert view.epochs[0].stamps == ("opentimestamps (waits for its block)",)
    assert view.services[0].name.startswith("OpenTimestamps 127.0.0.1")
    assert (view.services[0].epoch, view.services[0].problem) == (2, "")
    assert view.witness is not None
    assert len(view.witness) == 64


# The witness

SITE = EvidenceSite(name="witnessed", shares=3).run(4)
EVENTS = [EVENT.encode(event) for event in SITE.key_events]


def header(number: int, site: EvidenceSite = SITE) -> bytes:
    return SIGNED_HEADER.encode(site.epochs[number].signed)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[WitnessDesk]:
    book = StampBook(tmp_path / NAME)
    book.open()
    yield WitnessDesk(book, tmp_path, [SITE.id.hex()], SystemClock())
    book.close()


async def test_a_witness_signs_a_number_once_and_says_the_same_again(desk: WitnessDesk) -> None:
    said = await desk.sign(EVENTS, header(2))
    assert await desk.sign(EVENTS, header(2)) == said
    assert await desk.sign(EVENTS, header(4)) != said
    with pytest.raises(EvidenceError, match="goes forwards only"):
        await desk.sign(EVENTS, header(1))
    with pytest.raises(EvidenceError, match="goes forwards only"):
        await desk.sign(EVENTS, header(3))


async def test_a_second_history_is_refused_and_kept_as_proof(desk: WitnessDesk) -> None:
    await desk.sign(EVENTS, header(2))
    other = resign(SITE.epochs[2], SITE.key, records=SITE.epochs[2].header.records + 1)
    with pytest.raises(EquivocationError, match="another epoch 2"):
        await desk.sign(EVENTS, SIGNED_HEADER.encode(other.signed))
    # The epoch after another second one gives itself away too.
    after = resign(SITE.epochs[3], SITE.key, previous=other.signed.hash())
    with pytest.raises(EquivocationError, match="does not follow"):
        await desk.sign(EVENTS, SIGNED_HEADER.encode(after.signed))
    view = await desk.view()
    assert [(one.first, one.second) for one in view.equivocations] == [
        (header(2).hex(), SIGNED_HEADER.encode(other.signed).hex()),
        (header(2).hex(), SIGNED_HEADER.encode(after.signed).hex()),
    ]
    assert view.sites[0].epoch == 2
    await desk.sign(EVENTS, header(3))


async def test_a_witness_signs_for_those_it_is_told_and_what_is_signed(
    desk: WitnessDesk, tmp_path: Path
) -> None:
    stranger = EvidenceSite(name="stranger", shares=0).run(1)
    with pytest.raises(UnknownSiteError):
        await desk.sign([EVENT.encode(event) for event in stranger.key_events], header(1, stranger))
    unsigned = msgspec.structs.replace(SITE.epochs[1].signed, signature=bytes(64))
    ahead = resign(SITE.epochs[1], SITE.key, end_us=int(time.time() * 1e6) + 10**9)
    for data, words in (
        (SIGNED_HEADER.encode(unsigned), "not signed"),
        (SIGNED_HEADER.encode(ahead.signed), "not ended"),
    ):
        with pytest.raises(EvidenceError, match=words):
            await desk.sign(EVENTS, data)
    with pytest.raises(EvidenceError, match="another site"):
        await desk.sign(EVENTS, header(1, stranger))
    with pytest.raises(DecodeError):
        await desk.sign([b"noise"], header(1))
    with pytest.raises(EvidenceError):
        await desk.sign([], header(1))
    assert (await desk.view()).sites[0].epoch is None


async def test_two_histories_are_told_apart_over_http(mine: Mine, tmp_path: Path) -> None:
    """The owner of a key shows another history to the witness: the mine's own stamping is told so, and says it."""
    async with witness(tmp_path / "witness", mine.site) as (desk, url):
        connection = connect_reader(mine.path)
        (row,) = epochs.read_epochs(connection, 2, 2)
        events = [EVENT.encode(event) for event in epochs.read_key_events(connection)]
        connection.close()
        key = open_keys(mine.path.parent).current
        forged = resign(epoch_of(row), key, records=row.signed.header.records + 1)
        await desk.sign(events, SIGNED_HEADER.encode(forged.signed))
        service = Witness(WitnessOfSettings(url=url, key=desk.key))
        async with stamping(mine, [service]) as running:
            await until(lambda: "equivocation" in running.states[0].problem)
        assert len((await desk.view()).equivocations) == 1


def epoch_of(row: epochs.EpochRow) -> epochs.Epoch:
    return epochs.Epoch(row.signed, row.records, ())
