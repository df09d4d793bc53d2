"""The driver of all Avalons: which requests make a reading, and how commands are sent.

A machine answers one command per connection and has one thread, so a poll is one joined request where the firmware knows
them, and one request after another where it does not.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from hashwerk.clock import Clock, SystemClock
from hashwerk.devices.avalon.commands import LEAD_S, Recipient, execute
from hashwerk.devices.avalon.fields import Fields, fields_of
from hashwerk.devices.avalon.models import Dialect, dialect_of, is_avalon
from hashwerk.devices.avalon.reading import reading_of
from hashwerk.devices.cgminer import NoReplyError, ask, joined_request, json_request, text_request
from hashwerk.devices.cgminer_reply import Reply, Section
from hashwerk.devices.neighbours import Neighbours
from hashwerk.errors import DeviceError
from hashwerk.fleet.commands import NEEDS, Command
from hashwerk.fleet.machine import Outcome, OutcomeKind, Reading
from hashwerk.fleet.ports import Address, Credentials

#: How many machines' ways of answering are kept; the longest unused goes first.
_REMEMBERED: Final = 65_536


class _Way(msgspec.Struct, frozen=True):
    """How a machine is best asked: learned from its answers, so that no poll tries twice what failed before."""

    stats: str = "estats"
    is_joined: bool = True
    refuses: frozenset[str] = frozenset()  # readings and questions that it does not know
    polls: int = 0


#: So often is a machine asked anew in the quickest way: its firmware, or what stood in the way, may have changed.
POLLS_BEFORE_ASKING_ANEW: Final = 200


#: What older A-series firmware tells only when asked for it: the field, and the question.
_EXTRA: Final[Mapping[str, str]] = {"PS": "0,hashpower", "WORKMODE": "0,workmode,255"}


class _Poll(msgspec.Struct, frozen=True, kw_only=True):
    """The replies to one poll, taken apart."""

    version: Section
    fields: Fields
    pools: Sequence[Section]
    clock_s: float | None
    dialect: Dialect


class AvalonDriver:
    """Speaks to Canaan's Avalons over the cgminer API, and to their web page where a command needs it.

    *Resource handling*: one short connection at a time for each machine; nothing is kept but how each machine is best
    asked. *Cancellation*: closes the connection; what the machine made of a command is then unknown.
    """

    name = "avalon"

    def __init__(
        self,
        clock: Clock | None = None,
        neighbours: Neighbours | None = None,
        *,
        web_port: int = 80,
        lead_s: int = LEAD_S,
    ) -> None:
        """Prepare to speak; nothing is sent yet.

        Args:
            clock: For the time of each reading.
            neighbours: Hardware addresses of machines that do not tell theirs.
            web_port: Where their page is.
            lead_s: How far ahead of the machine's own clock it is told to sleep and to wake.
        """
        self._clock = clock or SystemClock()
        self._neighbours = neighbours or Neighbours()
        self._web_port = web_port
        self._lead_s = lead_s
        self._ways: OrderedDict[Address, _Way] = OrderedDict()

    async def identify(self, address: Address, *, timeout_s: float) -> Reading | None:
        """Return a first reading if an Avalon answers there, else None."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            version = await self._ask(address, json_request("version"), deadline)
            if not _may_be_avalon(version.first("VERSION")):
                return None
            return self._reading(address, await self._poll(address, deadline))
        except DeviceError:
            return None

    async def read(
        self, address: Address, *, timeout_s: float, credentials: Credentials | None = None
    ) -> Reading:
        """Return what the machine reports now. Reading needs no credentials.

        Raises:
            DeviceError: If it does not answer in time, or with nothing that can be read.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        return self._reading(address, await self._poll(address, deadline))

    async def execute(
        self, address: Address, command: Command, *, timeout_s: float, credentials: Credentials | None = None
    ) -> Outcome:
        """Tell the machine to do something, after asking it who it is: addresses move.

        Raises:
            DeviceError: If it cannot be reached, or is no Avalon: then nothing was sent.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        poll = await self._poll(address, deadline)
        if NEEDS[type(command)] not in poll.dialect.capabilities:
            return Outcome(
                kind=OutcomeKind.UNSUPPORTED,
                message=f"an Avalon {poll.dialect.family} has no {type(command).__name__}",
            )
        recipient = Recipient(
            address=address,
            dialect=poll.dialect,
            fields=poll.fields,
            clock_s=poll.clock_s,
            credentials=credentials or Credentials(),
            web_port=self._web_port,
            lead_s=self._lead_s,
            deadline=deadline,
        )
        return await execute(recipient, command)

    def _reading(self, address: Address, poll: _Poll) -> Reading:
        return reading_of(
            at=self._clock.time(),
            dialect=poll.dialect,
            version=poll.version,
            fields=poll.fields,
            pools=poll.pools,
            clock_s=poll.clock_s,
            capabilities=poll.dialect.capabilities,
            mac=None if poll.version.get("MAC") else self._neighbours.mac(address.host),
        )

    async def _poll(self, address: Address, deadline: float) -> _Poll:
        way, replies, fields = await self._collect(address, self._way(address), deadline)
        version = replies["version"].first("VERSION")
        if not is_avalon(version, fields):
            raise NoReplyError(f"{address.host} does not answer as an Avalon")
        dialect = dialect_of(version, fields)
        if fields and not dialect.is_verbal:
            way, fields = await self._ask_extra(address, way, fields, deadline)
        if way.stats != dialect.stats and dialect.stats not in way.refuses:
            way = msgspec.structs.replace(way, stats=dialect.stats)
        self._remember(address, way)
        status = replies["version"].status
        return _Poll(
            version=version,
            fields=fields,
            pools=replies["pools"].sections.get("POOLS", ()),
            clock_s=None if status is None else status.clock_s,
            dialect=dialect,
        )

    async def _collect(
        self, address: Address, way: _Way, deadline: float
    ) -> tuple[_Way, Mapping[str, Reply], Fields]:
        """Ask for everything that makes a reading, in this way, else in slower ones; return the way that worked, and the fields.

        Where none yields the fields, the last replies are returned all the same: the identity may be among them.
        """
        replies: Mapping[str, Reply] | None = None
        failure: NoReplyError | None = None
        for candidate in _ways_from(way):
            try:
                replies = await self._ask_all(address, candidate, deadline)
            except NoReplyError as error:
                failure = error
                if replies is None and _time_left(deadline) <= 0:
                    raise
                continue
            if fields := fields_of(replies[candidate.stats]):
                return candidate, replies, fields
            if _time_left(deadline) <= 0:
                raise NoReplyError(f"{address.host} does not get through its answer in time")
        if replies is None:
            # In the words of the last try: whoever closes without a word has answered nothing.
            raise failure or NoReplyError(f"{address.host} answers none of the requests that make a reading")
        return way, {**replies, way.stats: Reply()}, Fields("")

    async def _ask_all(self, address: Address, way: _Way, deadline: float) -> Mapping[str, Reply]:
        commands = ("version", way.stats, "pools")
        if way.is_joined:
            reply = await self._ask(address, joined_request(commands), deadline)
            return {command: reply.joined.get(command, Reply()) for command in commands}
        return {command: await self._ask(address, json_request(command), deadline) for command in commands}

    async def _ask_extra(
        self, address: Address, way: _Way, fields: Fields, deadline: float
    ) -> tuple[_Way, Fields]:
        for field, question in _EXTRA.items():
            if field in fields or question in way.refuses:
                continue
            try:
                reply = await self._ask(address, text_request("ascset", question), deadline)
            except DeviceError:
                answer = ""
            else:
                answer = reply.status.message if reply.status is not None and reply.status.is_ok else ""
            if field in Fields(answer):
                fields = fields.joined(answer)
            else:
                way = msgspec.structs.replace(way, refuses=way.refuses | {question})
        return way, fields

    async def _ask(self, address: Address, request: bytes, deadline: float) -> Reply:
        return await ask(address, request, timeout_s=max(_time_left(deadline), 0.0))

    def _way(self, address: Address) -> _Way:
        way = self._ways.get(address, _Way())
        return _Way(way.stats) if way.polls >= POLLS_BEFORE_ASKING_ANEW else way

    def _remember(self, address: Address, way: _Way) -> None:
        self._ways[address] = msgspec.structs.replace(way, polls=way.polls + 1)
        self._ways.move_to_end(address)
        if len(self._ways) > _REMEMBERED:
            self._ways.popitem(last=False)


def _ways_from(way: _Way) -> Iterator[_Way]:
    """Yield ``way``, and then ever slower ones that more firmware knows."""
    yield way
    if way.stats != "estats":
        way = msgspec.structs.replace(way, stats="estats", refuses=way.refuses | {way.stats})
        yield way
    if way.is_joined:
        yield msgspec.structs.replace(way, is_joined=False)


def _may_be_avalon(version: Section) -> bool:
    """Whether it is worth asking on: it names the maker, or names nobody, as some builds do."""
    return is_avalon(version, Fields("")) or not (
        version.keys() & {"PROD", "Type", "Miner", "LUXminer", "BOSminer"}
    )


def _time_left(deadline: float) -> float:
    return deadline - asyncio.get_running_loop().time()
