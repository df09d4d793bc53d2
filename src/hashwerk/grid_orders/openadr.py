"""An OpenADR 2.0b VEN that asks its VTN (pull mode)."""

from __future__ import annotations

import asyncio
import datetime
import logging
from pathlib import Path
from typing import Any, Final

import aiohttp

from hashwerk.clock import Clock
from hashwerk.errors import end_if_cancelled
from hashwerk.grid_orders.intake import Intake, Receive
from hashwerk.grid_orders.notice import NoticeError
from hashwerk.grid_orders.openadr_event import Document, Event, read_event
from hashwerk.grid_orders.openadr_library import (
    LostError,
    ask,
    hear_library,
    open_ven,
    request_id,
    tls_context,
)
from hashwerk.grid_orders.present import nothing_known
from hashwerk.grid_orders.secret import read_secret
from hashwerk.grid_orders.settings import OpenAdrOrders

log = logging.getLogger(__name__)

_RETRY_S: Final = 10.0
#: All events are asked for this often, besides those that are new.
_SYNC_S: Final = 300.0
_LONGEST_POLL_S: Final = 3_600.0
#: OpenADR 2.0b's code of a response to an event that is older than what is known of it.
_OUT_OF_SEQUENCE: Final = 450


class OpenAdr:
    """One VTN.

    Resource handling:
        One HTTP session while `listen` runs, opened anew after a failure.

    Cancellation:
        `listen` ends at once. Orders stand; the next process asks for all events.
    """

    def __init__(
        self, settings: OpenAdrOrders, clock: Clock, memory: Path | None, *, retry_s: float = _RETRY_S
    ) -> None:
        self.name = settings.name
        self.look = nothing_known
        self._settings = settings
        self._clock = clock
        self._retry_s = retry_s
        self._intake = Intake(settings.name, settings.operator, clock, memory)
        self._passphrase = read_secret(settings.name, settings.passphrase_file)
        self._tls = tls_context(settings, self._passphrase)
        self._import_w: tuple[float, float] | None = None  # moment, W
        self._reported: dict[str, float] = {}
        self._modifications: dict[str, int] = {}  # of each event, the highest that was seen
        self.trouble: str | None = None
        hear_library()

    async def listen(self, receive: Receive) -> None:
        """Ask the VTN until cancelled.

        Raises:
            StoreError: If an order cannot be kept; the VTN is not told that it is obeyed.
        """
        while True:
            async with aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls) if self._tls else None,
                headers={"content-type": "application/xml"},
                timeout=aiohttp.ClientTimeout(total=30, sock_connect=5, sock_read=10),
            ) as session:
                try:
                    await self._follow(
                        open_ven(self._settings, self._passphrase, session, self._measured), receive
                    )
                except LostError as error:
                    if self.trouble != str(error):
                        log.warning("orders from %s: %s", self.name, error)
                    self.trouble = str(error)
            end_if_cancelled()
            await asyncio.sleep(self._retry_s)

    async def tell(self, order_id: str, baseline_w: float, import_w: float | None, target_w: float) -> None:
        """Keep what is measured for the next report."""
        if import_w is not None:
            self._import_w = (self._clock.time(), import_w)

    async def _follow(self, ven: Any, receive: Receive) -> None:
        """Register, then ask again and again.

        Raises:
            LostError: If that cannot be gone on with.
        """
        await ask(
            self._settings.url, ven.create_party_registration(ven_id=self._settings.ven_id), "registration"
        )
        if not ven.registration_id:
            raise LostError(f"{self._settings.url} does not register this VEN")
        await ask(self._settings.url, ven.register_reports(ven.reports), "reports", needs_answer=False)
        every_s = self._settings.poll_s or min(_LONGEST_POLL_S, ven.poll_frequency.total_seconds())
        synced_at = None
        while True:
            now = self._clock.monotonic()
            if synced_at is None or now - synced_at >= _SYNC_S:
                kind, payload = await ask(self._settings.url, ven.request_event(), "events")
                synced_at = now
                await self._message(ven, receive, kind, payload, is_all=True)
                if self.trouble is not None:
                    log.info("orders from %s: the VTN answers again", self.name)
                self.trouble = None
            kind, payload = await ask(self._settings.url, ven.poll(), "news")
            await self._message(ven, receive, kind, payload, is_all=False)
            await self._report(ven)
            end_if_cancelled()
            await asyncio.sleep(every_s)

    async def _message(
        self, ven: Any, receive: Receive, kind: str | None, payload: Document, *, is_all: bool
    ) -> None:
        if kind == "oadrDistributeEvent":
            await self._events(ven, receive, payload, is_all=is_all)
        elif kind == "oadrCreateReport":
            await ask(self._settings.url, ven.create_report(payload), "reports", needs_answer=False)
        elif kind == "oadrCancelReport":
            await ask(self._settings.url, ven.cancel_report(payload), "reports", needs_answer=False)
        elif kind in ("oadrRequestReregistration", "oadrCancelPartyRegistration"):
            raise LostError(f"{self._settings.url} asks this VEN to register again")
        elif kind == "oadrResponse":
            code = payload.get("response", {}).get("response_code", 200)
            if code != 200:
                raise LostError(f"{self._settings.url} answers with code {code}")

    async def _events(self, ven: Any, receive: Receive, payload: Document, *, is_all: bool) -> None:
        """Take events in and say which are obeyed. A list of all events ends those that are not in it any more."""
        answers, seen = [], set[str]()
        for document in payload.get("events") or ():
            try:
                event = read_event(self._settings, document)
            except NoticeError as error:
                log.warning("orders from %s: %s", self.name, error)
                continue
            seen.add(event.id)
            code = 200
            if event.modification < self._modifications.get(event.id, 0):
                log.warning("orders from %s: event %s comes again as it was before", self.name, event.id)
                is_obeyed, code = False, _OUT_OF_SEQUENCE
            else:
                self._modifications[event.id] = event.modification
                is_obeyed = self._obey(receive, event)
            if event.wants_answer:
                answers.append(
                    {
                        "response_code": code,
                        "response_description": "OK" if code == 200 else "out of sequence",
                        "opt_type": "optIn" if is_obeyed else "optOut",
                        "request_id": payload.get("request_id"),
                        "modification_number": event.modification,
                        "event_id": event.id,
                    }
                )
        if is_all:
            self._modifications = {key: n for key, n in self._modifications.items() if key in seen}
            for order in self._intake.standing():
                if order.id.partition("/")[0] not in seen:
                    self._intake.end(receive, order.id)
        if answers:
            response = {
                "response_code": 200,
                "response_description": "OK",
                "request_id": payload.get("request_id"),
            }
            message = ven._create_message(
                "oadrCreatedEvent", response=response, event_responses=answers, ven_id=ven.ven_id
            )
            request = ven._perform_request("EiEvent", message)
            await ask(self._settings.url, request, "answers", needs_answer=False)

    def _obey(self, receive: Receive, event: Event) -> bool:
        """Do what an event says; return whether it is obeyed."""
        is_over = event.is_cancelled or event.is_completed
        orders = () if is_over else event.orders
        if event.problem is not None and not is_over:
            log.warning("orders from %s: event %s is not obeyed: %s", self.name, event.id, event.problem)
            return False
        if event.is_test:
            log.info("orders from %s: event %s is a test: nothing is done", self.name, event.id)
            return True
        named = {order.id for order in orders}
        for order in self._intake.standing():
            if order.id.partition("/")[0] == event.id and order.id not in named:
                self._intake.end(receive, order.id)
        is_obeyed = True
        for notice in orders:
            try:
                self._intake.take(receive, notice, is_current=True)
            except NoticeError as error:
                if len(orders) == 1:
                    log.warning("orders from %s: %s", self.name, error)
                    is_obeyed = False
        if orders and not self.look().is_commanded:
            log.warning("orders from %s: event %s is shown only: nothing is commanded", self.name, event.id)
            return False
        return is_obeyed

    # --- reports ---

    def _power_w(self) -> float | None:
        power_w = self.look().import_w
        if power_w is None and self._import_w is not None and self._clock.time() - self._import_w[0] < 60:
            power_w = self._import_w[1]
        return power_w

    def _measured(self) -> list[tuple[datetime.datetime, float]]:
        power_w = self._power_w()
        now = datetime.datetime.fromtimestamp(self._clock.time(), datetime.UTC)
        return [] if power_w is None else [(now, power_w)]

    async def _report(self, ven: Any) -> None:
        """Send the reports that are due. Power that is not known is not reported."""
        now = self._clock.monotonic()
        if self._power_w() is not None:
            for request in ven.report_requests:
                key = request["report_request_id"]
                every = request["granularity"]
                every_s = every.total_seconds() if every else 60.0
                if request["job"] is not None and now - self._reported.get(key, -1e18) >= every_s:
                    self._reported[key] = now
                    await ven.update_report(key)
            for due, job in tuple(ven.scheduler.once):
                if due.timestamp() <= self._clock.time():
                    ven.scheduler.once.remove((due, job))
                    await job()
        while not ven.pending_reports.empty():
            report = ven.pending_reports.get_nowait()
            if not report.intervals:
                continue
            message = ven._create_message(
                "oadrUpdateReport", ven_id=ven.ven_id, request_id=request_id(), reports=[report]
            )
            await ask(
                self._settings.url, ven._perform_request("EiReport", message), "a report", needs_answer=False
            )
