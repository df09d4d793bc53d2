"""The supervisor with real processes: order, restart, refusal, end."""

import asyncio
import os
import signal
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from hashwerk.errors import HashwerkError
from hashwerk.site.child import News, Ready
from hashwerk.site.supervisor import Child, ChildFailedError, Supervisor


class Nothing(msgspec.Struct):
    """No orders."""


def child(name: str, code: str) -> Child:
    return Child(name, [sys.executable, "-c", textwrap.dedent(code)], Nothing)


GOOD = """
    import sys, signal
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.stdin.readline()
    print('{"type":"ready","urls":{}}', flush=True)
    sys.stdin.read()
"""


class Watch:
    """Collects news, and tells when enough children have been ready."""

    def __init__(self) -> None:
        self.ready: list[str] = []
        self.lines: list[str] = []
        self.changed = asyncio.Event()

    def news(self, name: str, news: News) -> None:
        if isinstance(news, Ready):
            self.ready.append(name)
        self.changed.set()

    def log(self, _name: str, line: str) -> None:
        self.lines.append(line)
        self.changed.set()

    async def until_ready(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.ready) < count:
                self.changed.clear()
                await self.changed.wait()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_starts_in_order_restarts_the_fallen_and_ends_all() -> None:
    watch, stop = Watch(), asyncio.Event()
    supervisor = Supervisor([child("a", GOOD), child("b", GOOD)], on_log=watch.log, on_news=watch.news)
    task = asyncio.create_task(supervisor.run(stop))
    await watch.until_ready(2)
    assert watch.ready == ["a", "b"]
    first, other = supervisor.children["a"].pid, supervisor.children["b"].pid
    assert first is not None and other is not None
    os.kill(first, signal.SIGKILL)
    await watch.until_ready(3)
    second = supervisor.children["a"].pid
    assert second not in (None, first)
    assert supervisor.children["b"].pid == other
    assert any("SIGKILL" in line for line in watch.lines)
    stop.set()
    async with asyncio.timeout(6):
        await task
    assert not alive(other)
    assert second is not None and not alive(second)


async def test_a_child_that_cannot_work_ends_the_mine_with_its_words() -> None:
    code = """
        import sys
        sys.stdin.readline()
        print('{"type":"failed","message":"port 1 is taken","retry":false,"exit_code":5}', flush=True)
        sys.exit(5)
    """
    watch = Watch()
    supervisor = Supervisor([child("a", code), child("b", GOOD)], on_log=watch.log, on_news=watch.news)
    with pytest.raises(ChildFailedError, match="port 1 is taken") as caught:
        async with asyncio.timeout(20):
            await supervisor.run(asyncio.Event())
    assert caught.value.exit_code == 5
    assert watch.ready == []


async def test_a_child_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashwerk.site.supervisor.STOP_DEADLINE_S", 0.3)
    stubborn = GOOD.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN").replace(
        "sys.stdin.read()", "signal.pause()"
    )
    watch, stop = Watch(), asyncio.Event()
    supervisor = Supervisor([child("a", stubborn)], on_log=watch.log, on_news=watch.news)
    task = asyncio.create_task(supervisor.run(stop))
    await watch.until_ready(1)
    pid = supervisor.children["a"].pid
    stop.set()
    async with asyncio.timeout(5):
        await task
    assert pid is not None and not alive(pid)
    assert any("killed" in line for line in watch.lines)


async def test_the_successor_of_an_upgrade_is_the_child_afterwards() -> None:
    watch, stop = Watch(), asyncio.Event()
    supervisor = Supervisor([child("a", GOOD)], on_log=watch.log, on_news=watch.news)
    task = asyncio.create_task(supervisor.run(stop))
    await watch.until_ready(1)
    first = supervisor.children["a"].pid
    assert first is not None
    upgrade = asyncio.create_task(supervisor.upgrade("a"))
    await watch.until_ready(2)
    os.kill(first, signal.SIGTERM)  # what a predecessor does by itself after the hand-over
    async with asyncio.timeout(10):
        while supervisor.children["a"].pid in (None, first):
            await asyncio.wait([task], timeout=0.02)
    assert supervisor.children["a"].starts == 2
    async with asyncio.timeout(5):
        await upgrade
    stop.set()
    async with asyncio.timeout(6):
        await task


async def test_a_successor_that_fails_leaves_the_child_alone(tmp_path: Path) -> None:
    fails = tmp_path / "fails"
    code = f"import os, sys\nif os.path.exists({str(fails)!r}): sys.exit(3)\n" + textwrap.dedent(GOOD)
    watch, stop = Watch(), asyncio.Event()
    supervisor = Supervisor([child("a", code)], on_log=watch.log, on_news=watch.news)
    task = asyncio.create_task(supervisor.run(stop))
    await watch.until_ready(1)
    before = supervisor.children["a"].pid
    fails.touch()
    async with asyncio.timeout(10):
        with pytest.raises(HashwerkError, match="exit code 3"):
            await supervisor.upgrade("a")
    assert supervisor.children["a"].pid == before
    stop.set()
    async with asyncio.timeout(6):
        await task
