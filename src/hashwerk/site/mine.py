"""The running mine as the supervisor sees it: which processes, in which order, and what people are told meanwhile."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from hashwerk.config.origin import Origins
from hashwerk.config.site import SiteConfig
from hashwerk.errors import HashwerkError
from hashwerk.site.child import News, Progress, Ready
from hashwerk.site.folder import DataFolder
from hashwerk.site.link import snapshots
from hashwerk.site.messages import Snapshot
from hashwerk.site.orders import Orders
from hashwerk.site.supervisor import Child, Supervisor, python_command

log = logging.getLogger(__name__)


class View(Protocol):
    """Where the mine's state is shown while it runs."""

    def urls(self, urls: dict[str, str]) -> None:
        """Show where the mine can be reached."""
        ...

    def busy(self, name: str, message: str) -> None:
        """Show what a process is busy with."""
        ...

    def log(self, name: str, line: str) -> None:
        """Show a line of a process's log."""
        ...

    def snapshot(self, snapshot: Snapshot) -> None:
        """Show the state of the mine."""
        ...


class Mine:
    """All processes of one mine.

    Resource handling:
        Every process has ended when `run` returns. The local sockets lie in ``runtime``, which the caller removes.
    """

    def __init__(
        self,
        config: SiteConfig,
        folder: DataFolder,
        runtime: Path,
        view: View,
        origins: Origins = Origins(),  # noqa: B008 - frozen
    ) -> None:
        self._config = config
        self._origins = origins
        self._folder = folder
        self._runtime = runtime
        self._view = view
        self._urls: dict[str, str] = {}
        self._serves = 0
        self._handover: dict[
            str, str
        ] = {}  # of the serve that is ready, and of the one that was started last
        self._upgrades: set[asyncio.Task[None]] = set()
        self._supervisor = Supervisor(self._children(), on_log=view.log, on_news=self._on_news)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until ``stop`` is set.

        Raises:
            ChildFailedError: If a process cannot do its work and starting it again does not help.
        """
        watcher = asyncio.create_task(self._watch(), name="watch")
        try:
            await self._supervisor.run(stop)
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, *self._upgrades, return_exceptions=True)

    def request_upgrade(self) -> None:
        """Replace the serving process by a successor that takes over its sockets."""

        async def upgrade() -> None:
            try:
                await self._supervisor.upgrade("serve")
                for name in ("hall", "site", "mine"):  # of the new version too; no machine notices
                    self._supervisor.restart(name)
                self._view.log("run", "upgraded: the server was replaced and kept its connections")
            except HashwerkError as error:
                self._view.log("run", str(error))

        task = asyncio.get_running_loop().create_task(upgrade())
        self._upgrades.add(task)
        task.add_done_callback(self._upgrades.discard)

    def _children(self) -> list[Child]:
        children = [Child("serve", python_command("_serve"), self._serve_orders)]
        if self._config.twin is not None:
            children.append(Child("hall", python_command("_hall"), self._orders, is_optional=True))
        children.append(Child("site", python_command("_site"), self._orders))
        if self._config.miner.enabled:
            children.append(Child("mine", python_command("_mine"), self._orders))
        return children

    def _orders(self) -> Orders:
        return Orders(
            config=self._config,
            data_dir=str(self._folder.root),
            link=str(self._runtime / "serve.sock"),
            handover="",
            stratum_url=self._urls.get("stratum"),
            stratum_port=_port(self._urls.get("stratum")),
            web_port=_port(self._urls.get("web")),
            origins=self._origins,
        )

    def _serve_orders(self) -> Orders:
        self._serves += 1
        running = self._supervisor.children["serve"].pid is not None
        self._handover["started"] = str(self._runtime / f"handover-{self._serves}.sock")
        return msgspec.structs.replace(
            self._orders(),
            handover=self._handover["started"],
            take_over=self._handover.get("ready") if running else None,
        )

    def _on_news(self, name: str, news: News) -> None:
        match news:
            case Ready():
                if name == "serve":
                    self._handover["ready"] = self._handover["started"]
                self._urls |= news.urls
                self._view.urls(self._urls)
            case Progress():
                self._view.busy(name, news.message)
            case _:
                self._view.log(name, news.message)

    async def _watch(self) -> None:
        async for snapshot in snapshots(self._runtime / "serve.sock"):
            self._view.snapshot(snapshot)


def _port(url: str | None) -> int | None:
    return urlsplit(url).port if url else None
