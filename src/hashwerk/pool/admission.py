"""Who may work, under which name, and with which extranonce: `mining.subscribe` and `mining.authorize`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from hashwerk.clock import Clock
from hashwerk.pool.attribution import Declared, Holder, Row, rows_of
from hashwerk.pool.connection import Connection
from hashwerk.pool.prefixes import Prefix, Prefixes
from hashwerk.pool.room import Room
from hashwerk.pool.seats import NO_SEAT, Seats
from hashwerk.pool.settings import PoolSettings
from hashwerk.stratum.ports import Account, Ledger, SessionRecord
from hashwerk.stratum.v1.events import AuthorizeRequested, SubscribeRequested
from hashwerk.stratum.v1.server import Extranonce
from hashwerk.stratum.v1.user_hash import user_hash

#: Avalon's firmware cuts a user after 63 characters, so an account that is longer could not be told apart.
MAX_ACCOUNT_CHARS: Final = 63
MAX_MACHINE_CHARS: Final = 64
NO_MACHINE: Final = "default"
_TOKEN_BYTES: Final = 16
#: An extranonce1 of so many bytes is a counter that never comes round.
COUNTED_SIZE: Final = 4


class User(NamedTuple):
    """A user as machines write it, ``account.machine``."""

    account: str
    machine: str


def split_user(user: str) -> User | None:
    """Return account and machine, cut at the first dot; None if no account can be read from it.

    Characters that cannot be shown are left out, and a machine that is not named is called ``default``.
    """
    account, _, machine = user.partition(".")
    account, machine = _shown(account), _shown(machine)[:MAX_MACHINE_CHARS]
    if not 0 < len(account) <= MAX_ACCOUNT_CHARS:
        return None
    return User(account, machine or NO_MACHINE)


def _shown(text: str) -> str:
    return "".join(character for character in text if character.isprintable()).strip()


class Admission:
    """Gives sessions their extranonce and their names, and finds the session a machine wants back."""

    def __init__(
        self,
        settings: PoolSettings,
        ledger: Ledger,
        seats: Seats,
        clock: Clock,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._seats = seats
        self._clock = clock
        self._entropy = entropy
        self._by_token: dict[str, Connection] = {}
        self._prefixes: dict[
            int, Prefixes
        ] = {}  # by size of extranonce1, where it is too small to be counted for ever
        self._declared = Declared()
        self._given_up: set[str] = set()  # tokens of sessions whose machine wanted another account
        self._highest = 0  # number among extranonces that are counted for ever
        self.machines: dict[int, str] = {}  # by worker id
        self.room: Callable[[], Room] = lambda: Room(settings.extranonce1_size, settings.extranonce2_size)
        self.on_planes: Callable[[int], None] = lambda _: None  # more planes of extranonces are needed

    def subscribe(self, connection: Connection, event: SubscribeRequested) -> None:
        """Give the session an extranonce: its old one if it names a token that nobody else uses, else a new
        one.

        Raises:
            StoreError: If the ledger has no session id.
        """
        record = self._resumed(connection, event.resume_token)
        if record is None:
            session_id, extranonce1 = self._ledger.next_session()
            room = self.room()
            if room.extranonce1_size < COUNTED_SIZE:
                extranonce1 = self._take_prefix(connection, room.extranonce1_size)
            record = SessionRecord(
                id=session_id,
                token=self._entropy(_TOKEN_BYTES).hex(),
                extranonce1=extranonce1,
                extranonce1_size=room.extranonce1_size,
                extranonce2_size=room.extranonce2_size,
                worker_id=None,
                user_agent=event.user_agent,
                remote=connection.remote,
                work_log2=None,
                started_at=self._clock.time(),
            )
        self.seat(connection, record)
        extranonce = Extranonce(record.extranonce1, record.extranonce1_size, record.extranonce2_size)
        connection.session.accept_subscribe(event.id, extranonce, record.token)

    def seat(self, connection: Connection, record: SessionRecord) -> None:
        """Give a connection its place among the sessions."""
        connection.record = record
        if record.extranonce1_size >= COUNTED_SIZE:
            self._highest = max(self._highest, record.extranonce1)
        connection.seat = self._seats.take(connection, session_id=record.id, extranonce1=record.extranonce1)
        self._by_token[record.token] = connection
        self.note_user(connection)

    def authorize(self, connection: Connection, event: AuthorizeRequested) -> bool:
        """Let a user work, and return whether that was done.

        One connection works for one account: its jobs carry the account's commitment.
        """
        user = split_user(event.user)
        if user is None:
            connection.session.reject_authorize(
                event.id,
                f"User must be ACCOUNT or ACCOUNT.MACHINE, an account of 1 to {MAX_ACCOUNT_CHARS} characters",
            )
            return False
        account = self._ledger.account(user.account)
        if connection.account is not None and connection.account.id != account.id:
            connection.session.reject_authorize(
                event.id,
                f"This connection works for {connection.account.name}; connect again for another account",
            )
            return False
        if self._is_declared_otherwise(connection, account):
            connection.session.reject_authorize(event.id, "This session is another account's; connect again")
            self._send_away(connection)
            return False
        connection.account = account
        worker_id = self._ledger.worker(account.id, user.machine)
        self.machines[worker_id] = user.machine
        connection.session.accept_authorize(event.id, event.user, worker_id)
        self.note_user(connection)
        return True

    def note_user(self, connection: Connection) -> None:
        """Note the first user of a session where the batch looks for it."""
        users = connection.session.users
        if connection.seat != NO_SEAT and users:
            user, worker_id = next(iter(users.items()))
            notes = self._seats.notes[connection.seat]
            notes["user_hash"], notes["worker"] = user_hash(user.encode()), worker_id

    def record(self, connection: Connection, *, ended: bool = False) -> None:
        """Put what is known of a session into the ledger, so that it can be resumed."""
        record = connection.record
        workers = connection.session.users.values()
        if record is None or not workers:
            return
        connection.record = msgspec.structs.replace(
            record,
            worker_id=next(iter(workers)),
            user_agent=connection.session.user_agent,
            remote=connection.remote,
            work_log2=connection.work_log2,
            ended_at=self._clock.time() if ended else None,
        )
        self._ledger.put_session(connection.record)

    def leave(self, connection: Connection) -> None:
        """The connection is gone: its seat is free, and its session may be resumed."""
        if connection.seat != NO_SEAT:
            self._seats.leave(connection.seat)
            connection.seat = NO_SEAT
            self._give_prefix_back(connection)
        if connection.record is not None:
            self.record(connection, ended=True)
            if self._by_token.get(connection.record.token) is connection:
                del self._by_token[connection.record.token]

    def prefixes(self) -> list[Row]:
        """Return which extranonces belong to which account, as it may be declared for the epochs that follow."""
        holders = [
            Holder(record.extranonce1, record.extranonce1_size, connection.account.commitment)
            for connection in self._seats
            if (record := connection.record) is not None
            and connection.account is not None
            and record.extranonce1_size >= COUNTED_SIZE
        ]
        return rows_of(holders, self._highest)

    def hold_declared(self, rows: Iterable[Row]) -> None:
        """From now on nobody works with an extranonce that these rows declare for another account."""
        self._declared.hold(rows)
        for connection in list(self._seats):
            if connection.account is not None and self._is_declared_otherwise(connection, connection.account):
                self._send_away(connection)

    def _is_declared_otherwise(self, connection: Connection, account: Account) -> bool:
        extranonce = connection.session.extranonce
        declared = None if extranonce is None else self._declared.account_of(extranonce)
        return declared is not None and declared != account.commitment

    def _send_away(self, connection: Connection) -> None:
        if connection.record is not None:
            self._given_up.add(connection.record.token)
        connection.drop("This session is another account's")

    def take_over(self, connection: Connection, record: SessionRecord, plane: int) -> None:
        """Give a predecessor's session its place: its extranonce stays its own."""
        if record.extranonce1_size < COUNTED_SIZE:
            size = record.extranonce1_size
            self._prefixes.setdefault(size, Prefixes(size)).occupy(Prefix(record.extranonce1, plane))
            connection.plane = plane
        self.seat(connection, record)

    def _take_prefix(self, connection: Connection, size: int) -> int:
        prefixes = self._prefixes.setdefault(size, Prefixes(size))
        prefix = prefixes.take()
        connection.plane = prefix.plane
        self.on_planes(prefixes.planes)
        return prefix.value

    def _give_prefix_back(self, connection: Connection) -> None:
        extranonce = connection.session.extranonce
        if extranonce is None or extranonce.extranonce1_size >= COUNTED_SIZE:
            return
        prefixes = self._prefixes.get(extranonce.extranonce1_size)
        if prefixes is not None:
            prefixes.give_back(Prefix(extranonce.extranonce1, connection.plane))

    def _resumed(self, connection: Connection, token: str | None) -> SessionRecord | None:
        record = None if token is None else self._ledger.find_session(token)
        if record is None or record.token in self._given_up or record.extranonce1_size < COUNTED_SIZE:
            return None  # of a small extranonce somebody else may be the holder by now
        holder = self._by_token.get(record.token)
        if holder is not None:
            # A machine that lost its connection comes back before we notice; anybody else has only read the
            # token.
            if holder.host != connection.host:
                return None
            self._by_token.pop(record.token)
            holder.record = None
            holder.drop("This session goes on over another connection")
        extranonce2_size = min(record.extranonce2_size, self.room().extranonce2_size)
        return msgspec.structs.replace(
            record, remote=connection.remote, ended_at=None, extranonce2_size=extranonce2_size
        )
