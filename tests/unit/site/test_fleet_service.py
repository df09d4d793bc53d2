"""The running fleet on a small simulated hall: watched, commanded, and held to its ranges."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import msgspec
import pytest

from hashwerk.devices import open_drivers
from hashwerk.errors import DeviceError, FleetError
from hashwerk.fleet.alerts import Alert
from hashwerk.fleet.batch import ReduceAll, ReduceTo
from hashwerk.fleet.causes import CauseKind
from hashwerk.fleet.commands import Locate, PoolTarget, Reboot, SetMode, SetPools, Sleep
from hashwerk.fleet.lease import Holder
from hashwerk.fleet.place import Place, Placement
from hashwerk.fleet.ports import Address
from hashwerk.fleet.settings import FleetSettings, Ranges
from hashwerk.site.fleet.reports import ReportListener, read_report
from hashwerk.site.fleet.service import FleetService
from hashwerk.site.fleet.token import local_token
from hashwerk.site.fleet.wire import Wire
from hashwerk.store.fleet import FleetStore
from hashwerk.twin import Fault, FaultKind
from support.fleet_hall import LIMITS, running_hall, running_service, until

MAC = "02:00:01:00:00:0{}"


async def test_power_goes_down_and_comes_back_and_the_record_says_who_and_why(tmp_path: Path) -> None:
    async with running_hall("127.62.0.1", machines=6) as hall, running_service(hall, tmp_path) as fleet:
        before_w = hall.power_w()
        order = await fleet.curtail(ReduceTo(0.55 * before_w), who="ann", why="the grid asked")
        await until(lambda: order.state.value == "held", "half power")
        assert hall.power_w() <= 0.56 * before_w
        assert order.measured_w == pytest.approx(hall.power_w(), rel=0.02)
        records = await fleet.commands()
        assert {(r.who, r.why, r.command, r.outcome) for r in records} == {
            ("ann", "the grid asked", "sleep", "accepted")
        }
        assert all(record.verdict == "claimed" for record in records), "no shares, no meters of their own"
        columns = fleet.columns()
        assert sorted(columns.states[index] for index in columns.state) == ["asleep"] * 3 + ["hashing"] * 3
        assert len({len(getattr(columns, name)) for name in columns.__struct_fields__[5:]}) == 1
        await fleet.resume(who="ann", why="over")
        await until(lambda: order.state.value == "ended", "restored")
        await until(lambda: hall.power_w() > 0.9 * before_w, "warmed up")
        causes = [row.cause for row in await fleet.transitions(records[0].key)]
        assert "fell asleep as told" in causes
        assert fleet.roster.timings.rows(), "how long it took was learned"
        with pytest.raises(FleetError, match="nothing is curtailed"):
            await fleet.resume(who="ann", why="again")


async def test_without_control_everything_is_a_dry_run(tmp_path: Path) -> None:
    async with (
        running_hall("127.62.1.1", machines=2) as hall,
        running_service(hall, tmp_path, control=False) as fleet,
    ):
        order = await fleet.curtail(ReduceAll(), who="ann", why="a test", dry_run=False)
        await until(lambda: not order.is_open, "ended")
        assert order.text == "dry run: nothing was sent"
        assert len(order.machines) == 2
        assert await fleet.commands() == []
        assert not any(machine.asleep for machine in hall.machines)


async def test_a_hung_machine_delays_nobody_and_maintenance_keeps_everybody_else_away(tmp_path: Path) -> None:
    async with running_hall("127.62.2.1", machines=5) as hall, running_service(hall, tmp_path) as fleet:
        await hall.inject("twin-0001", Fault(kind=FaultKind.HANG))
        hung = fleet.machine(MAC.format(0)).id
        await until(lambda: fleet.machine(hung).state == "unreachable", "the hung one is found out")
        others = [machine for machine in fleet.machines() if machine.id != hung]
        assert all(machine.age_s is not None and machine.age_s < 2.0 for machine in others)
        assert fleet.machine(hung).power_w is None, "unknown, not zero"
        lease = await fleet.hold(MAC.format(1), who="bob")
        assert lease.holder is Holder.MAINTENANCE
        order = await fleet.curtail(ReduceAll(), who="grid", why="a test", must=True)
        await until(lambda: order.state.value == "held", "all others sleep")
        assert order.skips == {hung: "it does not answer", lease.key: "held by maintenance bob"}
        assert [machine.asleep for machine in hall.machines] == [False, False, True, True, True]
        await fleet.abort(order.spec.id, who="ann", why="enough")
        assert order.state.value == "aborted"
        with pytest.raises(FleetError, match="no open order"):
            await fleet.abort(order.spec.id, who="ann", why="again")


async def test_who_woke_by_itself_after_a_power_cut_sleeps_again(tmp_path: Path) -> None:
    async with (
        running_hall("127.62.3.1", "avalon-a1366", machines=1) as hall,
        running_service(hall, tmp_path) as fleet,
    ):
        order = await fleet.curtail(ReduceAll(), who="grid", why="a test")
        await until(lambda: order.state.value == "held", "asleep")
        await hall.inject("twin-0001", Fault(kind=FaultKind.POWER_CUT, duration_s=0.1))
        key = fleet.machines()[0].id
        await until(lambda: order.machines[key].drifts == 1, "the drift is seen")
        await until(lambda: hall.machines[0].asleep, "asleep again")


async def test_an_order_that_is_over_holds_nobody_after_a_restart(tmp_path: Path) -> None:
    """Its end is on disk at once; leases are kept every few seconds, and a power cut may come between."""
    async with running_hall("127.62.41.1", machines=2) as hall:
        async with running_service(hall, tmp_path) as fleet:
            over, hands = (machine.id for machine in fleet.machines())
            now = time.time()
            fleet.roster.leases.take(over, Holder.CURTAILMENT, "o1-over", now, None)
            await fleet.hold(hands, who="bob")  # keeps all leases as they are now
        async with running_service(hall, tmp_path) as fleet:
            assert fleet.machine(over).lease is None
            assert "bob" in (fleet.machine(hands).lease or "")


async def test_a_new_machine_gets_its_pools_and_its_place(tmp_path: Path) -> None:
    pools = [
        {"url": "stratum+tcp://127.0.0.1:3333", "user": "site.{name}"},
        {"url": "stratum+tcp://127.0.0.1:3334", "user": "site.{name}"},
    ]
    async with (
        running_hall("127.62.4.1", machines=2) as hall,
        running_service(hall, tmp_path, join={"enabled": True, "group": "night", "pools": pools}) as fleet,
    ):
        wanted = [(pool["url"], f"site.02000100000{index}") for index in (0, 1) for pool in pools]

        def has() -> bool:
            return [(slot.url, slot.user) for machine in hall.machines for slot in machine.slots] == wanted

        await until(has, "pools are written")
        assert {machine.group for machine in fleet.machines()} == {"night"}
        records = await fleet.commands()
        assert {record.who for record in records} == {"zero-touch"}
        placed = await fleet.place(
            [Placement(mac=MAC.format(1), place=Place(hall="A", row="2"), owner="ann")]
        )
        assert placed == (1, 0)
        assert fleet.machine(MAC.format(1)).place.words() == "hall A, row 2"


async def test_a_new_machine_whose_pools_wait_for_a_reboot_is_rebooted(tmp_path: Path) -> None:
    pools = [{"url": "stratum+tcp://127.0.0.1:3333", "user": "site.{name}"}]
    async with (
        running_hall("127.62.16.1", "avalon-a1246", machines=1) as hall,
        running_service(
            hall, tmp_path, join={"enabled": True, "pools": pools}, limits=LIMITS | {"attempts": 1}
        ) as fleet,
    ):

        def uses_them() -> bool:
            reported = fleet.machines()[0].reported
            return reported is not None and any(
                slot.url == pools[0]["url"] and slot.user == "site.020001000000"
                for slot in reported.pools[:1]
            )

        await until(uses_them, "its pools are in force")
        told = {record.command: record for record in await fleet.commands() if record.who == "zero-touch"}
        assert set(told) == {"use pools stratum+tcp://127.0.0.1:3333", "reboot"}
        taken = told["use pools stratum+tcp://127.0.0.1:3333"]
        assert taken.verdict is None, "nothing has shown it yet"
        assert taken.effect == f"{taken.command}: taken, in force once it has started again"
        assert not fleet.alerts()


async def test_who_is_to_wake_and_is_awake_is_no_longer_to_sleep(tmp_path: Path) -> None:
    async with (
        running_hall("127.62.17.1", machines=1) as hall,
        running_service(hall, tmp_path) as fleet,
    ):
        key = fleet.machines()[0].id
        fleet.roster.wanted(
            fleet.roster.units[key], Sleep()
        )  # it was, by an order that was aborted; then it woke by itself
        (order,) = await fleet.resume(who="ann", why="enough")
        await until(lambda: not order.is_open, "nobody has to be told")
        assert order.skips == {key: "it is hashing already"}
        assert fleet.machine(key).commanded == "wake"


async def test_a_machine_that_was_sold_is_forgotten_for_good(tmp_path: Path) -> None:
    async with running_hall("127.62.18.1", machines=2) as hall, running_service(hall, tmp_path) as fleet:
        sold, kept = sorted(machine.id for machine in fleet.machines())
        with pytest.raises(FleetError, match="still answers"):
            await fleet.forget(sold, who="ann", why="sold")
        await hall.inject("twin-0001", Fault(kind=FaultKind.POWER_CUT, duration_s=3_600.0))
        await until(lambda: fleet.machine(sold).state == "unreachable", "it is gone")
        await fleet.forget(sold, who="ann", why="sold")
        assert [machine.id for machine in fleet.machines()] == [kept]
        (record, *_) = await fleet.commands(key=sold)
        assert (record.who, record.command) == ("ann", "forget it")
    store = FleetStore(tmp_path / "fleet.sqlite")
    assert [record.key for record in store.open().machines] == [kept]
    store.close()


async def test_passwords_are_nowhere(tmp_path: Path) -> None:
    async with running_hall("127.62.5.1", machines=1) as hall, running_service(hall, tmp_path) as fleet:
        command = SetPools((PoolTarget(url="stratum+tcp://127.0.0.1:1", user="a.b", password="hunter2"),))
        order = await fleet.tell(command, who="ann", why="a test", machines=[hall.machines[0].host])
        await until(lambda: not order.is_open, "told")
        assert [slot.password for slot in hall.machines[0].slots] == ["hunter2"], "the machine has it"
        await fleet.save()
    assert _files_with(tmp_path, b"hunter2") == []


def _files_with(folder: Path, secret: bytes) -> list[Path]:
    return [path for path in folder.iterdir() if secret in path.read_bytes()]


async def test_a_reboot_and_a_light_are_seen(tmp_path: Path) -> None:
    async with running_hall("127.62.6.1", machines=1) as hall, running_service(hall, tmp_path) as fleet:
        host = hall.machines[0].host
        light = await fleet.tell(Locate(on=True), who="ann", why="where is it", machines=[host])
        await until(lambda: not light.is_open, "the light is on")
        assert hall.machines[0].led
        booted_at = hall.machines[0].booted_at
        reboot = await fleet.tell(Reboot(), who="ann", why="a test", machines=[host])
        await until(lambda: not reboot.is_open, "rebooted")
        assert hall.machines[0].booted_at > booted_at
        with pytest.raises(FleetError, match="no machine"):
            await fleet.tell(Sleep(), who="ann", why="a test", machines=["10.1.2.3"])


async def test_nothing_is_sent_outside_the_ranges() -> None:
    wire = Wire(open_drivers(), FleetSettings(ranges=("10.9.0.0/24", "10.9.2.5-10.9.2.7")))
    for host in ("10.9.1.0", "10.9.2.8", "127.0.0.1", "not an address"):
        for call in (
            wire.read(Address(host=host), "avalon", "avalon"),
            wire.execute(Address(host=host), "avalon", "avalon", Sleep()),
        ):
            with pytest.raises(FleetError, match="outside the configured ranges"):
                await call
    assert "10.9.2.6" in Ranges(("10.9.2.5-10.9.2.7",))
    with pytest.raises(ValueError, match="ranges: not an address range"):
        FleetSettings(ranges=("10.0.0.0/99",))


async def test_a_call_that_never_ends_is_cut_off() -> None:
    class Stuck:
        name = "stuck"

        async def read(self, address, *, timeout_s, credentials=None):
            await asyncio.Event().wait()

    wire = Wire([Stuck()], FleetSettings(ranges=("127.0.0.1",), timeout_s=0.05))
    with pytest.raises(DeviceError, match=r"does not answer within 1\.05 s"):
        await wire.read(Address(host="127.0.0.1"), None, "avalon")


@pytest.mark.parametrize(
    ("data", "host", "mac"),
    [
        (b"10.0.0.7,AA:BB:CC:00:11:22\x00", "10.0.0.7", "aa:bb:cc:00:11:22"),
        (b"IP:10.0.0.8MAC:AA:BB:CC:00:11:23", "10.0.0.8", "aa:bb:cc:00:11:23"),
        (b"aa-bb-cc-00-11-22", "10.0.0.99", "aa:bb:cc:00:11:22"),
    ],
)
def test_a_button_tells_where_a_machine_is(data: bytes, host: str, mac: str) -> None:
    report = read_report(data, "10.0.0.99", "antminer")
    assert (report.host, report.mac) == (host, mac)


async def test_buttons_are_heard_and_floods_are_not() -> None:
    heard = []
    listener = ReportListener(Ranges(("10.0.0.0/24",)), heard.append)
    await listener.start("127.0.0.1", {"antminer": 0, "whatsminer": 0})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"192.168.0.1,AA:BB:CC:00:11:22", ("127.0.0.1", listener.ports["antminer"]))
        sender.sendto(bytes(range(256)), ("127.0.0.1", listener.ports["antminer"]))
        for number in range(50):
            sender.sendto(
                b"10.0.0.%d,AA:BB:CC:00:11:22" % number, ("127.0.0.1", listener.ports["whatsminer"])
            )
        await until(lambda: len(heard) >= 8, "buttons")
    listener.close()
    assert len(heard) <= 10
    assert {report.make for report in heard} == {"whatsminer"}, (
        "what lies outside the ranges is not looked at"
    )


async def test_a_port_that_somebody_has_costs_its_buttons_and_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
        busy.bind(("127.0.0.1", 0))
        monkeypatch.setattr(
            "hashwerk.site.fleet.reports.PORTS", {"whatsminer": busy.getsockname()[1], "antminer": 0}
        )
        async with (
            running_hall("127.62.14.1", machines=1) as hall,
            running_service(hall, tmp_path, report_buttons=True) as fleet,
        ):
            assert fleet.view().machines == 1
    assert "these buttons are not heard" in caplog.text


def test_the_token_is_for_its_owner_alone(tmp_path: Path) -> None:
    token = local_token(tmp_path)
    assert token.startswith("hwk_")
    assert local_token(tmp_path) == token
    (tmp_path / "fleet.token").chmod(0o644)
    from hashwerk.errors import ConfigError

    with pytest.raises(ConfigError, match="chmod 600"):
        local_token(tmp_path)


async def test_what_a_mode_did_is_on_record_once_its_power_has_settled(tmp_path: Path) -> None:
    async with running_hall("127.62.9.1", "avalon-q", machines=1) as hall:
        async with running_service(hall, tmp_path, metered=False) as fleet:
            await until(lambda: fleet.machines()[0].power_w and fleet.machines()[0].power_w > 1_000, "warm")
            key = fleet.machines()[0].id
            before_w = fleet.machine(key).power_w
            order = await fleet.tell(SetMode("Eco"), who="ann", why="a quiet night", machines=[key])
            await until(lambda: not order.is_open, "it says so")
            (record,) = await fleet.commands()
            assert (record.verdict, record.after_w, record.settled_at) == ("claimed", None, None)
        # What the process did not live to see the next one puts on record.
        async with running_service(hall, tmp_path, metered=False) as fleet:

            async def settled() -> bool:
                return (await fleet.commands())[0].settled_at is not None

            async with asyncio.timeout(20):
                while not await settled():  # noqa: ASYNC110 - many tasks bring it about
                    await asyncio.sleep(0.05)
            (record,) = await fleet.commands()
            assert record.before_w == before_w
            assert record.after_w == pytest.approx(
                hall.machines[0].plant.power_w(hall.clock.time()), rel=0.05
            )
            assert (record.basis, record.verdict) == ("reported", "claimed")
            first = await fleet.tell(SetMode("Super"), who="ann", why="over", machines=[key])
            await until(lambda: not first.is_open, "it says so")
            second = await fleet.tell(SetMode("Eco"), who="ann", why="no, the other", machines=[key])
            await until(lambda: not second.is_open, "it says so again")
            await fleet.effects.look()
            (was,) = [row for row in await fleet.commands() if row.command == "change to mode Super"]
            assert was.effect is not None
            assert "told something else before the effect could be measured" in was.effect


async def test_what_people_do_to_machines_orders_and_alerts_stands_in_the_record_too(tmp_path: Path) -> None:
    async def record(fleet: FleetService) -> list[tuple[str, str, str, str]]:
        rows = [row for row in await fleet.commands() if not row.command.startswith(("sleep", "wake"))]
        assert all(row.effect and row.settled_at for row in rows)
        return [(row.who, row.why, row.command, row.key) for row in reversed(rows)]

    async with running_hall("127.62.10.1", machines=2) as hall:
        async with running_service(hall, tmp_path) as fleet:
            first, second = (machine.id for machine in fleet.machines())
            await fleet.tell(
                Sleep(), who="dispatcher", why="dear power", machines=[first], holder=Holder.DISPATCHER
            )
            await until(lambda: fleet.machine(first).lease, "the dispatcher has it")
            await fleet.hold(first, who="bob", why="a new fan")
            order = await fleet.curtail(ReduceAll(), who="ann", why="the grid asked", must=True)
            await until(lambda: order.state.value == "held", "asleep, but one")
            assert order.skips == {first: "held by maintenance bob"}
            with pytest.raises(FleetError, match="not taken for maintenance"):
                await fleet.release(second, who="cid")
            await fleet.release(first, who="cid", why="bob has gone home")
            assert fleet.machine(first).lease is None
            await fleet.resume(who="ann", why="over")
            await fleet.abort(order.spec.id, who="eve", why="smoke")
            until_at = hall.clock.time() + 3_600.0
            await fleet.silence(
                who="ann", why="the fan is on order", until=until_at, kind=CauseKind.FAN, subject=second
            )
            subject = f"order {order.spec.id}"
            assert await record(fleet) == [
                ("bob", "a new fan", "take over from dispatcher", first),
                ("bob", "a new fan", "take for maintenance", first),
                ("cid", "bob has gone home", "give back from maintenance", first),
                ("ann", "over", "put back what the order changed", subject),
                ("eve", "smoke", "abort the order", subject),
                ("ann", "the fan is on order", "silence alerts of fan", second),
            ]
            await fleet.resume(who="ann", why="all of it")
            await until(lambda: fleet.view().by_state.get("hashing") == 2, "both hash again")
        async with running_service(hall, tmp_path) as fleet:
            (kept,) = fleet.silences()
            assert (kept.who, kept.until, kept.subject) == ("ann", until_at, second), "over a restart too"
            await fleet.silence(who="ann", why="it came", until=0.0, kind=CauseKind.FAN, subject=second)
            assert fleet.silences() == []
            await hall.inject("twin-0001", Fault(kind=FaultKind.HANG))

            def silent() -> Alert | None:
                return next((a for a in fleet.alerts() if a.kind is CauseKind.UNREACHABLE), None)

            alert = await until(silent, "it does not answer")
            await fleet.acknowledge(alert.id, who="bob", why="on my way")
            assert (await record(fleet))[-2:] == [
                ("ann", "it came", "end the silence on alerts of fan", second),
                ("bob", "on my way", f"acknowledge alert {alert.id}", alert.subject),
            ]


async def test_the_dispatcher_leaves_a_machine_as_a_person_told_it(tmp_path: Path) -> None:
    async with running_hall("127.62.11.1", "avalon-q", machines=2) as hall:
        async with running_service(hall, tmp_path, wish_s=600.0) as fleet:
            first, second = (machine.id for machine in fleet.machines())
            order = await fleet.tell(SetMode("Super"), who="ann", why="a cold night", machines=[first])
            await until(lambda: not order.is_open, "done")
            assert " until " in (fleet.machine(first).lease or "")
            await fleet.tell(Locate(on=True), who="ann", why="where is it", machines=[second])
        async with running_service(hall, tmp_path, wish_s=600.0) as fleet:
            plan = await fleet.tell(
                SetMode("Eco"),
                who="dispatcher",
                why="dear power",
                machines=[first, second],
                holder=Holder.DISPATCHER,
            )
            await until(lambda: not plan.is_open, "done")
            assert plan.skips == {first: f"held by operator {order.spec.id}"}, "over a restart too"
            assert set(plan.machines) == {second}
            await fleet.release(first, who="bob", why="the plan may have it")
            assert fleet.machine(first).lease is None
            (newest, *_) = await fleet.commands()
            assert (newest.who, newest.command) == ("bob", "give back from operator")


async def test_an_exchanged_control_board_is_told_and_known_after_a_restart(tmp_path: Path) -> None:
    async with running_hall("127.62.12.1", machines=1) as hall:
        async with running_service(hall, tmp_path) as fleet:
            (unit,) = fleet.roster.units.values()
            assert unit.reading is not None
            assert unit.member.address is not None
            other = msgspec.structs.replace(unit.reading.identity, mac="02:00:09:00:00:09")
            for _ in range(3):  # said again and again, kept once
                changed = msgspec.structs.replace(unit.reading, identity=other)
                fleet.roster.heard(unit.member.address, changed, unit.member.driver)
            alert = await until(
                lambda: next((a for a in fleet.alerts() if a.kind is CauseKind.IDENTITY), None), "it is told"
            )
            assert alert.machines == (unit.key,)
            assert "its control board was exchanged" in alert.text
        async with running_service(hall, tmp_path) as fleet:
            findings = fleet.machine(unit.key).findings
            assert sum("→ 02:00:09:00:00:09" in text for text in findings) == 1
            assert all("UTC: " in text for text in findings)
