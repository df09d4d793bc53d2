"""The supervisor: starts the processes of a mine, watches them, starts a fallen one again, ends them in order.

It holds no state of the mine and does no work of its own, so there is little in it that could fail. A child that falls is started
again with a growing pause; the others go on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from hashwerk.errors import HashwerkError
from hashwerk.site.child import Failed, News, Progress, Ready, news_decoder

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 30.0
STEADY_AFTER_S: Final = 60.0
FIRST_TRIES: Final = 3  # a process that has never been ready is not tried more often
STOP_DEADLINE_S: Final = 4.0  # all of them together; the whole mine ends within five seconds
LINE_LIMIT_BYTES: Final = 1 << 20


class ChildFailedError(HashwerkError):
    """A process of the mine cannot do its work and starting it again does not help."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(slots=True)
class Child:
    """One process of the mine. ``orders`` is called for each start and gives what the process is told.

    An optional one is not waited for, and where it cannot do its work the others go on without it.
    """

    name: str
    command: Sequence[str]
    orders: Callable[[], msgspec.Struct]
    is_optional: bool = False
    process: asyncio.subprocess.Process | None = None
    successor: asyncio.subprocess.Process | None = None
    ready: Ready | None = None
    starts: int = 0
    failure: Failed | None = None
    has_been_ready: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self.process.pid if self.process is not None and self.process.returncode is None else None


class Supervisor:
    """Keeps the given children running until `stop` is set.

    Resource handling:
        Two pipes are read per child (news, log). Whatever way `run` ends, every child has ended before it returns.

    Cancellation:
        Cancelling `run` ends the children like a stop does.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        on_log: Callable[[str, str], None],
        on_news: Callable[[str, News], None] | None = None,
    ) -> None:
        self.children = {child.name: child for child in children}
        self._on_log = on_log
        self._on_news = on_news or (lambda _name, _news: None)
        self._stopping = False
        self._readers: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Start the children one after the other, each when the one before is ready, and keep them running.

        Raises:
            ChildFailedError: If a child says that it cannot do its work and that trying again does not help.
        """
        try:
            async with asyncio.TaskGroup() as group:
                keepers = [group.create_task(self._start_in_order(group, stop), name="start")]
                await stop.wait()
                self._stopping = True
                for task in [*keepers, *self._keepers]:
                    task.cancel()
        except* ChildFailedError as errors:
            raise errors.exceptions[0] from None
        finally:
            self._stopping = True
            await self._end_all()

    _keepers: list[asyncio.Task[None]]

    async def _start_in_order(self, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        self._keepers = []
        for child in self.children.values():
            self._keepers.append(group.create_task(self._keep(child, stop), name=f"keep-{child.name}"))
            if not child.is_optional:
                await child.has_been_ready.wait()

    async def _keep(self, child: Child, stop: asyncio.Event) -> None:
        pause_s = FIRST_PAUSE_S
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            child.process = await self._spawn(child)
            started_at = loop.time()
            code = await child.process.wait()
            while child.successor is not None:  # handed over: the successor is the child now
                child.process, child.successor = child.successor, None
                started_at = loop.time()
                code = await child.process.wait()
            if stop.is_set():
                return
            if (hopeless := _hopeless(child, code)) is not None:
                if not child.is_optional:
                    raise hopeless
                self._on_log(child.name, f"the mine goes on without its {child.name}: {hopeless}")
                return
            if loop.time() - started_at > STEADY_AFTER_S:
                pause_s = FIRST_PAUSE_S
            why = child.failure.message if child.failure else _describe_exit(code)
            log.warning("%s ended (%s); starting it again in %.2g s", child.name, why, pause_s)
            self._on_log(child.name, f"{child.name} ended ({why}); starting it again in {pause_s:.2g} s")
            child.ready = child.failure = None
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def upgrade(self, name: str) -> None:
        """Replace a child by a successor, to which it hands its sockets over before it ends by itself.

        Raises:
            HashwerkError: If the child is not running, is being replaced already, or the successor fails; in the last case
                the child goes on as if nothing had happened, unless it had handed over already.
        """
        child = self.children[name]
        if child.process is None or child.pid is None or child.successor is not None:
            raise HashwerkError(f"{name} is not running, or an upgrade is under way")
        before = child.process
        successor = child.successor = await self._spawn(child)
        ended = [asyncio.ensure_future(process.wait()) for process in (before, successor)]
        try:
            await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in ended:
                waiting.cancel()
        if successor.returncode is not None and before.returncode is None:
            child.successor = None
            raise HashwerkError(
                f"the new {name} ended ({_describe_exit(successor.returncode)}); the old one goes on"
            )

    def restart(self, name: str) -> None:
        """End a child, if there is one of this name; it is started again."""
        child = self.children.get(name)
        if child is not None and child.process is not None and child.pid is not None:
            child.process.terminate()

    async def _spawn(self, child: Child) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *child.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT_BYTES,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then ends the others in order
        )
        child.starts += 1
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError):  # it died at once: wait() tells
            process.stdin.write(msgspec.json.encode(child.orders()) + b"\n")
            await process.stdin.drain()
        for reader in (self._read_news(child, process), self._read_log(child, process)):
            task = asyncio.get_running_loop().create_task(reader)
            self._readers.add(task)
            task.add_done_callback(self._readers.discard)
        return process

    async def _read_news(self, child: Child, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            try:
                news = news_decoder.decode(line)
            except msgspec.DecodeError:
                self._on_log(child.name, line.decode(errors="replace").rstrip())
                continue
            match news:
                case Ready():
                    child.ready = news
                    child.has_been_ready.set()
                case Failed():
                    child.failure = news
                case Progress():
                    pass
            self._on_news(child.name, news)

    async def _read_log(self, child: Child, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self._on_log(child.name, line.decode(errors="replace").rstrip())

    async def _end_all(self) -> None:
        """End the children in the reverse order of their start: hashing, pages, then the one that holds the ledger."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_DEADLINE_S
        for child in reversed(self.children.values()):
            for process in (child.successor, child.process):
                if process is not None and process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.send_signal(signal.SIGTERM)
        for child in self.children.values():
            for process in (child.successor, child.process):
                if process is not None:
                    await self._await_end(child.name, process, deadline)
        for task in list(self._readers):
            task.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    async def _await_end(self, name: str, process: asyncio.subprocess.Process, deadline: float) -> None:
        remaining_s = max(0.05, deadline - asyncio.get_running_loop().time())
        try:
            await asyncio.wait_for(process.wait(), remaining_s)
        except TimeoutError:
            self._on_log(
                name, f"{name} did not end in time and is killed; everything it acknowledged is on disk"
            )
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def python_command(*arguments: str) -> list[str]:
    """Return the command line that runs a verb of this very Hashwerk."""
    return [sys.executable, "-m", "hashwerk", *arguments]


def _hopeless(child: Child, code: int) -> ChildFailedError | None:
    """Return why starting a child again does not help; None if it may, as for one that has been ready once."""
    failure = child.failure
    says_so = failure is not None and not failure.retry
    if child.has_been_ready.is_set() and not (child.is_optional and says_so):
        return None
    if not says_so and child.starts < FIRST_TRIES:
        return None
    if failure is not None:
        return ChildFailedError(failure.message, failure.exit_code)
    return ChildFailedError(f"{child.name} ended: {_describe_exit(code)}; its log says why", 1)


def _describe_exit(code: int) -> str:
    if code < 0:
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"
