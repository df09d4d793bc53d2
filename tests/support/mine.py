"""A whole mine as a user starts it: `hashwerk run` in a process of its own, on free ports, in a folder of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil


class RunningMine:
    """`hashwerk run` on loopback. Use as an async context manager; it is ended and its log kept on failure."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.log = folder / "run.log"
        self.urls: dict[str, str] = {}
        self.process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> RunningMine:
        """Start, and wait until it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "hashwerk", "run", "--json", "--data-dir", str(self.folder / "data"),
                "--stratum", "127.0.0.1:0", "--web", "127.0.0.1:0", *self.options,
                stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            line = await self.process.stdout.readline()
        message = json.loads(line) if line else {}
        if "ready" not in message:
            async with asyncio.timeout(10):
                await self.process.communicate()
            raise AssertionError(f"the mine did not start: {message}\n{self.log.read_text()[-3000:]}")
        self.urls = message["ready"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it; show its log if the test failed."""
        try:
            await self.stop()
        finally:
            if kind is not None:
                sys.stderr.write(f"--- {self.log} ---\n{self.log.read_text()[-6000:]}\n")

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def stratum(self) -> tuple[str, int]:
        """Host and port of the Stratum server."""
        parts = urlsplit(self.urls["stratum"])
        assert parts.hostname is not None and parts.port is not None
        return parts.hostname, parts.port

    def child(self, verb: str) -> psutil.Process:
        """Return the process of this name: serve, site or mine."""
        for process in psutil.Process(self.pid).children():
            if f"_{verb}" in process.cmdline():
                return process
        raise AssertionError(f"no process {verb} runs")

    def has_other(self, verb: str, pid: int) -> bool:
        """Say whether one process of this name runs, and it is not ``pid``."""
        found = [child.pid for child in self.children() if f"_{verb}" in _command_line(child)]
        return len(found) == 1 and found[0] != pid

    def children(self) -> list[psutil.Process]:
        """Return all processes of the mine but the supervisor."""
        return psutil.Process(self.pid).children(recursive=True)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end and return the exit code; it must end within ten seconds."""
        assert self.process is not None
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it was killed by the test a moment ago
                os.kill(self.process.pid, number)
        async with asyncio.timeout(10):
            return await self.process.wait()

    async def status(self) -> dict[str, Any]:
        """Return the answer of `GET /api/v1/status`."""
        async with httpx.AsyncClient(trust_env=False, base_url=self.urls["web"]) as http:
            answer = await http.get("/api/v1/status")
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
            return found

    async def status_or_none(self) -> dict[str, Any] | None:
        """Return the status, or None while the page is away."""
        try:
            return await self.status()
        except httpx.HTTPError:
            return None

    async def until(
        self, condition: Callable[[dict[str, Any]], bool], *, within_s: float = 30.0
    ) -> dict[str, Any]:
        """Return the first status for which ``condition`` holds."""
        last: object = None
        async with httpx.AsyncClient(trust_env=False, base_url=self.urls["web"]) as http:
            try:
                async with asyncio.timeout(within_s):
                    async for _ in _ticks():
                        try:
                            answer = await http.get("/api/v1/status")
                        except httpx.TransportError as error:
                            last = error
                            continue
                        last = answer.text
                        if answer.status_code == 200 and condition(found := answer.json()):
                            assert isinstance(found, dict)
                            return found
            except TimeoutError:
                raise AssertionError(f"it did not come to it within {within_s} s; last: {last}") from None
        raise AssertionError("unreachable")


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # it ended between being listed and being asked
        return []


async def _ticks() -> AsyncIterator[None]:
    never = asyncio.Event()
    while True:
        yield
        try:
            await asyncio.wait_for(never.wait(), 0.1)
        except TimeoutError:
            continue


async def hashwerk_passwd(password: str) -> tuple[str, tuple[str, str]]:
    """Return what `hashwerk passwd` makes: a password's hash, and a token with its hash."""
    made = []
    for options in ([], ["--token"]):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hashwerk", "passwd", "--json", *options,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate(f"{password}\n".encode())
        made.append(json.loads(output))
    return made[0]["password_hash"], (made[1]["token"], made[1]["token_hash"])


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@asynccontextmanager
async def running_mine(folder: Path, *options: str) -> AsyncIterator[RunningMine]:
    """Run a mine on a regtest chain without its own miner, unless the options say otherwise."""
    told = "--network" in options or any(option.endswith(".toml") for option in options)
    defaults = () if told else ("--network", "regtest")
    async with RunningMine(folder, *defaults, *options) as mine:
        yield mine
