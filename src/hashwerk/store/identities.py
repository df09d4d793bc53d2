"""Accounts, workers and sessions as the ledger has given them out; the rows follow in the queue."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from hashwerk.evidence.tag import account_commitment
from hashwerk.store.codec import plain_text
from hashwerk.store.writes import Write
from hashwerk.stratum.ports import Account, SessionRecord

_SALT_SIZE: Final = 32
#: Ended sessions remembered for resumption; beyond this the oldest are forgotten first.
MAX_RESUMABLE: Final = 200_000

_SESSION_COLUMNS: Final = (
    "id, token, extranonce1, extranonce1_size, extranonce2_size, worker, user_agent, remote, work_log2,"
    " started_at, ended_at"
)


class Identities:
    """Who is known to the ledger. Owned by the event loop's thread."""

    __slots__ = (
        "_accounts",
        "_ended",
        "_entropy",
        "_live",
        "_next_account",
        "_next_worker",
        "_resume_s",
        "_workers",
        "account_names",
        "names",
    )

    def __init__(self, resume_s: float, entropy: Callable[[int], bytes]) -> None:
        self._resume_s = resume_s
        self._entropy = entropy
        self._accounts: dict[str, Account] = {}
        self._workers: dict[tuple[int, str], int] = {}
        self._live: dict[str, SessionRecord] = {}
        self._ended: OrderedDict[str, SessionRecord] = OrderedDict()
        self._next_account = 1
        self._next_worker = 1
        self.names: dict[int, tuple[str, str]] = {}  # worker id → account's name and machine
        self.account_names: dict[int, str] = {}

    def load(self, connection: sqlite3.Connection, now: float) -> None:
        """Read what an earlier run left. Sessions it could not end count as ended now, so they can be
        resumed."""
        for id_, name, commitment in connection.execute("SELECT id, name, commitment FROM accounts"):
            self._accounts[name] = Account(id_, name, commitment)
            self.account_names[id_] = name
            self._next_account = max(self._next_account, id_ + 1)
        for id_, account, machine in connection.execute("SELECT id, account, machine FROM workers"):
            self._workers[account, machine] = id_
            self.names[id_] = self.account_names[account], machine
            self._next_worker = max(self._next_worker, id_ + 1)
        connection.execute("UPDATE sessions SET ended_at = ? WHERE ended_at IS NULL", (now,))
        for row in connection.execute(
            f"SELECT {_SESSION_COLUMNS} FROM sessions WHERE ended_at > ? ORDER BY ended_at DESC LIMIT ?",  # noqa: S608
            (now - self._resume_s, MAX_RESUMABLE),
        ):
            session = _session(row)
            self._ended[session.token] = session
        self._ended = OrderedDict(reversed(self._ended.items()))

    def account(self, name: str, now: float) -> tuple[Account, Write | None]:
        """Return the account of a name, and the write that defines it if it is new."""
        name = plain_text(name)
        known = self._accounts.get(name)
        if known is not None:
            return known, None
        salt = self._entropy(_SALT_SIZE)
        account = Account(self._next_account, name, account_commitment(name, salt))
        self._next_account += 1
        self._accounts[name] = account
        self.account_names[account.id] = name
        row = (account.id, name, salt, account.commitment, now)

        def apply(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO accounts (id, name, salt, commitment, created_at) VALUES (?,?,?,?,?)", row
            )

        return account, Write(apply)

    def worker(self, account_id: int, machine: str, now: float) -> tuple[int, Write | None]:
        """Return the worker id of an account's machine, and the write that defines it if it is new."""
        machine = plain_text(machine)
        known = self._workers.get((account_id, machine))
        if known is not None:
            return known, None
        worker = self._next_worker
        self._next_worker += 1
        self._workers[account_id, machine] = worker
        self.names[worker] = self.account_names[account_id], machine

        def apply(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO workers (id, account, machine, created_at) VALUES (?,?,?,?)",
                (worker, account_id, machine, now),
            )

        return worker, Write(apply)

    def session(self, session: SessionRecord) -> Write:
        """Remember a session, or what changed of it, and return its write."""
        session = msgspec.structs.replace(
            session,
            token=plain_text(session.token),
            user_agent=plain_text(session.user_agent),
            remote=plain_text(session.remote),
        )
        self._ended.pop(session.token, None)
        if session.ended_at is None:
            self._live[session.token] = session
        else:
            self._live.pop(session.token, None)
            self._ended[session.token] = session
            self._forget(session.ended_at)
        row = msgspec.structs.astuple(session)

        def apply(connection: sqlite3.Connection) -> None:
            connection.execute(
                f"INSERT OR REPLACE INTO sessions ({_SESSION_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
                row,
            )

        return Write(apply)

    def find_session(self, token: str, now: float) -> SessionRecord | None:
        """Return the session of a token while it can be resumed."""
        session = self._live.get(token) or self._ended.get(token)
        if session is None or (session.ended_at is not None and session.ended_at <= now - self._resume_s):
            return None
        return session

    def _forget(self, now: float) -> None:
        while self._ended:
            oldest = next(iter(self._ended.values()))
            too_old = oldest.ended_at is not None and oldest.ended_at <= now - self._resume_s
            if not too_old and len(self._ended) <= MAX_RESUMABLE:
                return
            self._ended.popitem(last=False)


def _session(row: tuple[object, ...]) -> SessionRecord:
    names = SessionRecord.__struct_fields__
    return msgspec.convert(dict(zip(names, row, strict=True)), SessionRecord)
