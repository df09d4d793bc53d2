"""The driver of all makes that `pyasic_rs` knows.

The library runs on threads of its own and has deadlines of its own, some of them of a minute; here every call ends with
ours. What it returns for a machine that is gone is a full set of defaults: that is an error here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec
from pyasic_rs.asic_rs import DataField, MinerFactory

from hashwerk.clock import Clock, SystemClock
from hashwerk.devices.asic_rs.axeos import restart
from hashwerk.devices.asic_rs.commands import capabilities_of, send, why_not
from hashwerk.devices.asic_rs.firmwares import FIRMWARES, firmware_of
from hashwerk.devices.asic_rs.locked import locked_reading
from hashwerk.devices.asic_rs.luxos import is_curtailed
from hashwerk.devices.asic_rs.reading import is_answer, reading_of
from hashwerk.devices.cgminer import DEFAULT_PORT, UnreachableError, ip_address
from hashwerk.devices.neighbours import Neighbours
from hashwerk.devices.words import line_of, without_secrets
from hashwerk.errors import DeviceError
from hashwerk.fleet.commands import Command, SetPools
from hashwerk.fleet.machine import Outcome, OutcomeKind, Reading
from hashwerk.fleet.ports import Address, Credentials

# The library logs whole replies, whatever is in them, and printing them costs the loop tenths of a second.
_CRATES: Final = (
    "antminer",
    "auradine",
    "bitaxe",
    "braiins",
    "epic",
    "luxminer",
    "marathon",
    "nerdaxe",
    "proto",
    "sealminer",
    "vnish",
    "whatsminer",
)
for _crate in (
    "asic_rs",
    "asic_rs_core",
    "hyper_util",
    "reqwest",
    *(f"asic_rs_firmwares_{crate}" for crate in _CRATES),
):
    logging.getLogger(_crate).setLevel(logging.ERROR)

_T = TypeVar("_T")

#: How many machines' handles are kept; the longest unused goes first.
_REMEMBERED: Final = 65_536
_MESSAGE_LENGTH: Final = 200
#: Single chips' values cost a request for each board and are in no reading.
_EXCLUDED: Final = [
    DataField.Chips,
    DataField.BestShare,
    DataField.SessionBestShare,
    DataField.TuningCapabilities,
    DataField.ControlBoardVersion,
    DataField.DevFeeConnected,
    DataField.PsuFans,
]
_NOBODY: Final = Credentials()


class UnknownMachineError(UnreachableError):
    """The library cannot make anything of what is there, if anything is."""


class AsicRsDriver:
    """Speaks to Antminer, WhatsMiner, Braiins OS, LuxOS, VNish, ePIC and more; not to Avalons.

    *Resource handling*: a handle for each machine, without open connections. *Cancellation*: a cancelled call is
    forgotten; what was sent was sent.
    """

    name = "asic-rs"

    def __init__(self, clock: Clock | None = None, neighbours: Neighbours | None = None) -> None:
        self._clock = clock or SystemClock()
        self._neighbours = neighbours or Neighbours()
        self._miners: OrderedDict[tuple[Address, Credentials], Any] = OrderedDict()

    async def identify(self, address: Address, *, timeout_s: float) -> Reading | None:
        """Return a first reading if a known machine answers there, else None."""
        try:
            return await self.read(address, timeout_s=timeout_s)
        except DeviceError:
            return None

    async def read(
        self, address: Address, *, timeout_s: float, credentials: Credentials | None = None
    ) -> Reading:
        """Return what the machine reports now.

        Raises:
            DeviceError: If it does not answer in time, or with nothing that can be read.
        """
        key, deadline = (address, credentials or _NOBODY), asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                return await self._read(key, deadline)
        except TimeoutError:
            self._miners.pop(key, None)
            raise DeviceError(f"{address.host} does not answer within {timeout_s:g} s") from None
        except UnknownMachineError:
            reading = await self._locked(address, deadline)
            if reading is None:
                raise
            return reading

    async def execute(
        self, address: Address, command: Command, *, timeout_s: float, credentials: Credentials | None = None
    ) -> Outcome:
        """Tell the machine to do something, after making sure that it is still the one that it was.

        Raises:
            DeviceError: If it cannot be reached, or is unknown: then nothing was sent.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        key = (address, credentials or _NOBODY)
        try:
            async with asyncio.timeout_at(deadline):
                miner = await self._miner(key)
                if await _call(miner.revalidate, address) is False:
                    self._miners.pop(key, None)
                    miner = await self._miner(key)
        except TimeoutError:
            raise UnreachableError(f"{address.host} does not answer within {timeout_s:g} s") from None
        firmware = firmware_of(miner.firmware)
        refusal = why_not(miner, firmware, command)
        if refusal is not None:
            return Outcome(kind=OutcomeKind.UNSUPPORTED, message=refusal)
        if type(command) in firmware.own:
            return await restart(address, timeout_s=_time_left(deadline))
        outcome = await send(miner, firmware, command, deadline)
        if outcome.message is None:
            return outcome
        # Its words and the library's errors may repeat what was sent.
        pools = command.pools if isinstance(command, SetPools) else ()
        secrets = (key[1].password, *(pool.password for pool in pools))
        return msgspec.structs.replace(outcome, message=line_of(without_secrets(outcome.message, secrets)))

    async def _read(self, key: tuple[Address, Credentials], deadline: float) -> Reading:
        address = key[0]
        miner = await self._miner(key)
        data = await _call(lambda: miner.get_data(exclude=_EXCLUDED), address)
        firmware = firmware_of(miner.firmware)
        asleep = None
        if firmware.name == "luxos":
            asleep = await is_curtailed(address, timeout_s=_time_left(deadline))
        try:
            if is_answer(data):
                return reading_of(
                    data,
                    firmware,
                    at=self._clock.time(),
                    capabilities=capabilities_of(miner, firmware),
                    mac=None if data.mac else self._neighbours.mac(address.host),
                    asleep=asleep,
                )
        except (ValueError, OverflowError, TypeError, AttributeError) as error:
            # The library makes Python's values only when they are looked at, and some numbers have none.
            raise DeviceError(f"{address.host} answers with what cannot be read: {error}") from None
        self._miners.pop(key, None)
        raise DeviceError(f"{address.host} answers nothing that could be read")

    async def _locked(self, address: Address, deadline: float) -> Reading | None:
        return await locked_reading(
            address,
            at=self._clock.time(),
            mac=self._neighbours.mac(address.host),
            timeout_s=_time_left(deadline),
        )

    async def _miner(self, key: tuple[Address, Credentials]) -> Any:
        """Return the library's handle of a machine, asking the machine who it is if it is new.

        Raises:
            DeviceError: If nothing answers there that the library knows, or an Avalon, which has a driver of its own.
        """
        address, credentials = key
        miner = self._miners.get(key)
        if miner is None:
            miner = await _discover(address, credentials)
            self._miners[key] = miner
        self._miners.move_to_end(key)
        if len(self._miners) > _REMEMBERED:
            self._miners.popitem(last=False)
        return miner


async def _discover(address: Address, credentials: Credentials) -> Any:
    host = ip_address(address.host)
    if address.port not in (None, DEFAULT_PORT):
        raise UnreachableError(f"{host}:{address.port}: these makes answer on their usual ports only")
    factory = MinerFactory()
    if credentials.password is not None:
        for firmware in FIRMWARES:
            factory = factory.with_firmware_discovery_auth(
                firmware.library_name, credentials.user or "", credentials.password
            )
    miner = await _call(lambda: factory.get_miner(host), address)
    if miner is None:
        raise UnknownMachineError(f"nothing known answers at {host}")
    if miner.make == "Avalonminer" or str(miner.algo) != "SHA256":
        raise UnreachableError(f"what answers at {host} is not for this driver")
    if credentials.password is not None:
        miner.set_auth(credentials.user or "", credentials.password)
    return miner


async def _call(call: Callable[[], Awaitable[_T]], address: Address) -> _T:
    """Call the library; whatever it raises about a machine, its panics included, is a `DeviceError`."""
    try:
        return await call()
    except Exception as error:
        raise DeviceError(f"{address.host}: {str(error)[:_MESSAGE_LENGTH]}") from None


def _time_left(deadline: float) -> float:
    return max(deadline - asyncio.get_running_loop().time(), 0.0)
