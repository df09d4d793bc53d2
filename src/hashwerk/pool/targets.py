"""Share targets: what each machine begins with, what it may wish for, and what vardiff makes of its shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hashwerk.clock import Clock
from hashwerk.pool.connection import Connection
from hashwerk.pool.jobs import OWN, JobBook
from hashwerk.pool.seats import Seats
from hashwerk.pool.settings import PoolSettings
from hashwerk.stratum.v1.agents import agent_traits
from hashwerk.stratum.vardiff import Vardiff, VardiffSettings
from hashwerk.work.target import MAX_WORK_LOG2, work_log2_from_difficulty

_NEVER: Final = float("inf")

OnTarget = Callable[[Connection, int], None]


class Targets:
    """Chooses share targets. A change is told to ``on_target``, which sends the job."""

    def __init__(
        self,
        settings: PoolSettings,
        seats: Seats,
        book: JobBook,
        clock: Clock,
        *,
        private_chain: bool,
        on_target: OnTarget,
    ) -> None:
        self._settings = settings
        self._seats = seats
        self._book = book
        self._clock = clock
        self._private_chain = private_chain
        self._on_target = on_target
        self._aims: dict[tuple[int, int], VardiffSettings] = {}  # by bounds; most sessions have the same

    def begin(self, connection: Connection) -> None:
        """Choose a session's first target: its wish, else what it had before, else the settings' start."""
        session, record = connection.session, connection.record
        if session.suggested_difficulty is not None:
            work_log2 = work_log2_from_difficulty(session.suggested_difficulty)
        elif record is not None and record.work_log2 is not None:
            work_log2 = record.work_log2
        else:
            work_log2 = work_log2_from_difficulty(self._settings.start_difficulty)
        self._set(connection, work_log2)

    def wish(self, connection: Connection) -> None:
        """Follow what a working machine asked for by difficulty or by its least difficulty."""
        if not connection.session.is_active:
            return
        before = connection.work_log2
        suggested = connection.session.suggested_difficulty
        self._set(connection, before if suggested is None else work_log2_from_difficulty(suggested))
        if connection.work_log2 != before:
            self._on_target(connection, before)

    def resume(self, connection: Connection) -> None:
        """Note where vardiff stands for a session that was handed over."""
        self._note_deadline(connection)

    def fit(self, connection: Connection) -> None:
        """Bring a session's target within the bounds of the work it is about to get."""
        lowest, highest = self._bounds(connection)
        if not lowest <= connection.work_log2 <= highest:
            self._set(connection, connection.work_log2)

    def look_at(self, seat: int) -> None:
        """Let vardiff see the new shares of a seat, and obey it."""
        connection, note = self._seats[seat], self._seats.notes[seat]
        count, note["new_shares"] = int(note["new_shares"]), 0
        if connection is None or connection.vardiff is None:
            note["deadline"] = _NEVER
            return
        now = self._clock.monotonic()
        vardiff = connection.vardiff
        vardiff.set_settings(self._aim(connection))
        vardiff.on_shares(count, now, int(note["new_work_log2"]))
        decided = vardiff.decide(now)
        if decided is not None and decided != connection.work_log2:
            before, connection.work_log2 = connection.work_log2, decided
            self._on_target(connection, before)
        self._note_deadline(connection)

    def _set(self, connection: Connection, work_log2: int) -> None:
        lowest, highest = self._bounds(connection)
        connection.work_log2 = min(max(work_log2, lowest), highest)
        if self._settings.vardiff:
            connection.vardiff = Vardiff(self._aim(connection), connection.work_log2, self._clock.monotonic())
        self._note_deadline(connection)

    def _note_deadline(self, connection: Connection) -> None:
        deadline = None if connection.vardiff is None else connection.vardiff.next_deadline()
        self._seats.notes[connection.seat]["deadline"] = _NEVER if deadline is None else deadline

    def _aim(self, connection: Connection) -> VardiffSettings:
        bounds = self._bounds(connection)
        aim = self._aims.get(bounds)
        if aim is None:
            lowest, highest = bounds
            aim = self._aims[bounds] = VardiffSettings(
                shares_per_minute=self._settings.shares_per_minute,
                min_work_log2=lowest,
                max_work_log2=highest,
            )
        return aim

    def _bounds(self, connection: Connection) -> tuple[int, int]:
        """Return the easiest and hardest target that settings, machine and network allow; the last two win."""
        settings, session = self._settings, connection.session
        lowest = work_log2_from_difficulty(settings.min_difficulty)
        highest = MAX_WORK_LOG2
        if settings.max_difficulty is not None:
            highest = work_log2_from_difficulty(settings.max_difficulty)
        if session.minimum_difficulty is not None:
            lowest = max(lowest, work_log2_from_difficulty(session.minimum_difficulty))
        lowest = max(lowest, agent_traits(session.user_agent).min_work_log2 or 0)
        work = self._book.work(connection.source)
        if work is not None and not (self._private_chain and connection.source == OWN):
            # A harder share target would have machines throw blocks away, or shares that the pool wants.
            highest = min(highest, work.most_work_log2)
        return min(lowest, highest), highest
