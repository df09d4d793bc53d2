"""Logs, at the end of each epoch, what became known in it: composed from fleet, energy and the record of meters.

Resource handling:
    One file, the logbook beside the ledger, opened by `open` and closed by `close`.

Cancellation: `run` ends at once; what was not logged yet is logged by the next process, since everything that is composed is on
record elsewhere until it is in the logbook, and how far that is stands in the logbook itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from hashwerk.clock import Clock
from hashwerk.config.site import SiteConfig
from hashwerk.energy.ports import Signal
from hashwerk.errors import EvidenceError, HashwerkError, StoreError
from hashwerk.evidence.leaf import encode_record
from hashwerk.evidence.records import Inventory, LocalFact, Payout, Record
from hashwerk.site.energy.service import EnergyService
from hashwerk.site.fleet.service import FleetService
from hashwerk.site.logbook.certificates import certificate_records
from hashwerk.site.logbook.grid import grid_record
from hashwerk.site.logbook.inventory import inventory_records, is_news
from hashwerk.site.logbook.metered import Metered
from hashwerk.site.logbook.orders import fleet_commands, grid_commands, is_logged
from hashwerk.site.logbook.rewards import payout_rule
from hashwerk.site.logbook.state import LogState, decode_state, encode_state
from hashwerk.site.logbook.words import plain
from hashwerk.store.connection import connect_reader
from hashwerk.store.logbook import THROUGH, Logbook
from hashwerk.store.payouts import PaidBlocks, new_payouts

log = logging.getLogger(__name__)

_STATE: Final = "state"
_INVENTORY: Final = "inventory/"
#: So long the meters have, after the end of an epoch, to show what they counted up to it.
PATIENCE_S: Final = 10.0
_LOOK_S: Final = 0.5
_ORDERS: Final = 50
_HOUR_S: Final = 3_600


class LogWriter:
    """Composes and logs. Owned by the loop of fleet and energy."""

    def __init__(
        self,
        config: SiteConfig,
        folder: Path,
        clock: Clock,
        logbook: Logbook,
        *,
        fleet: FleetService | None,
        energy: EnergyService | None,
    ) -> None:
        """Put the parts together.

        Args:
            config: The site's.
            folder: Where ledger and record of meters lie.
            clock: Where the time comes from.
            logbook: Where records go.
            fleet: The machines; None: there are none.
            energy: Prices and orders of grid operators; None: there are none.
        """
        self._config = config
        self._clock = clock
        self._logbook = logbook
        self._fleet = fleet
        self._energy = energy
        self._metered = Metered(config, folder)
        self._ledger = folder / "ledger.sqlite"
        self._step_s = config.evidence.epoch_s
        self._state = LogState(begun_s=int(clock.time()))
        self._failure = self._complaint = ""

    def open(self) -> None:
        """Open the logbook and go on where the last process ended.

        Raises:
            StoreError: If it cannot be used.
        """
        self._logbook.open()
        kept = self._logbook.kept().get(_STATE)
        if kept is not None:
            try:
                self._state = decode_state(kept)
            except msgspec.DecodeError as error:
                self._logbook.close()
                raise StoreError(f"{self._logbook.path}: where the writer was is damaged: {error}") from error

    def close(self) -> None:
        """Give the logbook back."""
        self._logbook.close()

    async def run(self) -> None:
        """Log at the end of each epoch, until cancelled."""
        while True:
            end_s = (self._clock.time() // self._step_s + 1) * self._step_s
            await asyncio.sleep(max(0.0, end_s - self._clock.time()))
            await self._meters_through(end_s)
            try:
                await self.settle(end_s)
                self._failure = ""
            except HashwerkError as error:
                if str(error) != self._failure:
                    log.error("what is to be evidence waits: %s", error)
                self._failure = str(error)

    async def settle(self, end_s: float) -> Sequence[Record]:
        """Log what became known up to the end of an epoch; return it, once it is durable.

        Raises:
            HashwerkError: If something cannot be read or written: nothing was logged, and it is composed again.
        """
        records, state = await self._compose(end_s)
        # A moment before the end: it belongs to the epoch that ends, and whoever closes that waits for it.
        at_us = int(end_s * 1e6) - 1
        kept = {_STATE: encode_state(state), THROUGH: str(int(end_s * 1e6)).encode()}
        await asyncio.to_thread(self._logbook.append, records, at_us, kept)
        self._state = state
        return records

    async def _meters_through(self, end_s: float) -> None:
        """Wait until meters have shown what they counted up to a moment, but not for long."""
        deadline = self._clock.monotonic() + min(PATIENCE_S, self._step_s / 4)
        while self._clock.monotonic() < deadline:
            if await asyncio.to_thread(self._metered.is_through, int(end_s)):
                return
            await asyncio.sleep(_LOOK_S)

    async def _compose(self, end_s: float) -> tuple[list[Record], LogState]:
        state, until_s = self._state, int(end_s)
        records, state = await asyncio.to_thread(self._metered.compose, state, until_s)
        grid, state = await self._grid(state, until_s)
        commands, state = await self._commands(state)
        certified, state = await self._certified(state)
        declared, state = self._declarations(state, end_s)
        payouts, state = await self._payouts(state, end_s)
        return [*declared, *records, *grid, *commands, *certified, *payouts], state

    async def _grid(self, state: LogState, until_s: int) -> tuple[list[Record], LogState]:
        """Say what the grid is made of, when an hour begins and when it changes."""
        if self._energy is None:
            return [], state
        planner = self._energy.planner
        start_s = max(until_s - max(1, int(self._step_s)), until_s // _HOUR_S * _HOUR_S)
        if start_s >= until_s:  # the epoch ends with the hour
            start_s = max(until_s - max(1, int(self._step_s)), until_s - _HOUR_S)
        record = grid_record(
            self._config.energy,
            self._config.dispatch.currency,
            start_s,
            until_s,
            carbon=planner.carbon,
            clean_share=await planner.signals.series(Signal.CLEAN_SHARE, start_s - _HOUR_S, until_s),
            price=planner.price,
        )
        if record is None:
            return [], state
        hour = start_s // _HOUR_S
        said = encode_record(msgspec.structs.replace(record, start_us=0, end_us=0))
        if state.grid == (hour, said):
            return [], state
        return [record], msgspec.structs.replace(state, grid=(hour, said))

    async def _certified(self, state: LogState) -> tuple[list[Record], LogState]:
        """Log new certificates; a file that cannot be read keeps nothing else waiting."""
        try:
            found, state = await asyncio.to_thread(certificate_records, self._config.evidence, state)
        except EvidenceError as error:
            if str(error) != self._complaint:
                log.error("no certificate is logged: %s", error)
            self._complaint = str(error)
            return [], state
        self._complaint = ""
        return found, state

    async def _payouts(self, state: LogState, end_s: float) -> tuple[list[Record], LogState]:
        """Log how rewards are shared; what cannot be worked out now keeps nothing else waiting."""
        rule = payout_rule(self._config.evidence)
        if rule is None:
            return [], state

        def work_out() -> tuple[list[Payout], PaidBlocks]:
            connection = connect_reader(self._ledger)
            try:
                return new_payouts(connection, rule, state.blocks, int(end_s * 1e6))
            finally:
                connection.close()

        try:
            found, blocks = await asyncio.to_thread(work_out)
        except (StoreError, EvidenceError) as error:
            log.warning("no payout is logged: %s", error)
            return [], state
        return list(found), msgspec.structs.replace(state, blocks=blocks)

    async def _commands(self, state: LogState) -> tuple[list[Record], LogState]:
        found: list[Record] = []
        orders = state.orders
        if self._fleet is not None:
            known = frozenset(orders)
            histories = await asyncio.to_thread(
                self._fleet.store.histories, _ORDERS, lambda order_id: is_logged(order_id, known)
            )
            commands, orders = fleet_commands(histories, orders)
            found += commands
        if self._energy is not None:
            of_grid, orders = grid_commands(
                await asyncio.to_thread(self._energy.record.orders, _ORDERS), orders
            )
            found += of_grid
        return found, msgspec.structs.replace(state, orders=orders)

    def _declarations(self, state: LogState, now: float) -> tuple[list[Record], LogState]:
        """Return machines and facts that are declared otherwise than before."""
        found: list[Record] = []
        declared = dict(state.declared)
        if self._fleet is not None:
            units = self._fleet.roster.units
            before = {
                group.group: group
                for key, data in declared.items()
                if key.startswith(_INVENTORY)
                for group in [msgspec.msgpack.decode(data, type=Inventory)]
            }
            groups = {group.group: group for group in inventory_records(units.values(), now, before)}
            gone = [
                group for name, group in before.items() if name not in groups and group.machines and units
            ]
            for group in [*groups.values(), *(msgspec.structs.replace(group, machines=0) for group in gone)]:
                if is_news(group, before.get(group.group)):
                    found.append(group)
                    declared[_INVENTORY + group.group] = msgspec.msgpack.encode(group)
        for name, value in sorted(self._config.evidence.facts.items()):
            fact = LocalFact(name=plain(name), value=plain(value))
            if declared.get(f"fact/{name}") != encode_record(fact):
                found.append(fact)
                declared[f"fact/{name}"] = encode_record(fact)
        return found, msgspec.structs.replace(state, declared=declared)
