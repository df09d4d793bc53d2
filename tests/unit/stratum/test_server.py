from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from hashwerk.stratum.v1.events import (
    AuthorizeRequested,
    Closed,
    Configured,
    DifficultySuggested,
    ExtranonceSubscribed,
    Refused,
    SubmitReceived,
    SubmitRefused,
    SubscribeRequested,
    Throttled,
)
from hashwerk.stratum.v1.server import Extranonce, ServerSession, SessionState, State, Step
from hashwerk.stratum.v1.session_state import TRANSITIONS
from hashwerk.stratum.v1.user_hash import user_hash
from hashwerk.work.share import Verdict
from support.stratum_sessions import EXTRANONCE, SERVER_MASK, active_session, lines, make_job, new_session


def ask(session: ServerSession, method: str, params: Any = None, now: float = 0.0, **more: Any) -> list[Any]:
    """Send a request with id 9 and return the events."""
    request = {"id": 9, "method": method, "params": [] if params is None else params}
    return session.receive_line(json.dumps(request | more).encode(), now)


def answer(session: ServerSession) -> dict[str, Any]:
    """Return the one line the session has to send."""
    (line,) = lines(session.data_to_send())
    return line


SUBMIT = ["alice.s19", "1a", "00000000000000ff", "6927b489", "deadbeef"]


# --- subscribe and authorize ---


def test_subscribe_authorize_job_share() -> None:
    session = new_session()
    assert ask(session, "mining.subscribe", ["cgminer/4.12"]) == [SubscribeRequested(9, "cgminer/4.12", None)]
    session.accept_subscribe(9, EXTRANONCE, "t")
    assert answer(session) == {
        "id": 9,
        "result": [[["mining.set_difficulty", "t"], ["mining.notify", "t"]], "0000000a", 8],
        "error": None,
    }
    assert session.state is State.SUBSCRIBED
    assert ask(session, "mining.authorize", ["alice.s19", "x"]) == [
        AuthorizeRequested(9, "alice.s19", "x", None)
    ]
    session.accept_authorize(9, "alice.s19", 17)
    assert answer(session) == {"id": 9, "result": True, "error": None}
    session.send_job(make_job(0x1A), True, 0.0)
    difficulty, notify = lines(session.data_to_send())
    assert (difficulty["method"], difficulty["params"]) == ("mining.set_difficulty", [1])
    assert (notify["method"], notify["params"][0]) == ("mining.notify", "1a")
    assert ask(session, "mining.submit", SUBMIT) == [
        SubmitReceived(9, "alice.s19", 0x1A, 0xFF, 8, 0x6927B489, 0xDEADBEEF, None)
    ]
    session.accept_share(9)
    assert answer(session) == {"id": 9, "result": True, "error": None}


@pytest.mark.parametrize(
    ("params", "agent", "token"),
    [
        ([], "", None),
        (["bmminer/1.0", "old-token"], "bmminer/1.0", "old-token"),
        (["bosminer", None, "pool", 3333], "bosminer", None),
        ([None, 7], "", None),
        (["a\x07\x1b[31mb" + "c" * 200], "a[31mb" + "c" * 120, None),
        (["a", "t" * 129], "a", None),
        (["a", ""], "a", None),
    ],
)
def test_subscribe_takes_what_miners_send(params: Any, agent: str, token: str | None) -> None:
    assert ask(new_session(), "mining.subscribe", params) == [SubscribeRequested(9, agent, token)]


def test_a_second_subscribe_gets_the_same_extranonce() -> None:
    session = active_session()
    assert ask(session, "mining.subscribe", ["again"]) == []
    assert answer(session)["result"][1:] == ["0000000a", 8]
    session.accept_subscribe(9, Extranonce(0x0B), "other")  # the driver had two requests in one read
    assert answer(session)["result"][1:] == ["0000000a", 8]
    assert session.token == "token-1"


def test_authorize_before_subscribe() -> None:
    session = new_session()
    ask(session, "mining.authorize", ["alice.s19", "x"])
    session.accept_authorize(9, "alice.s19", 17)
    assert session.state is State.AUTHORIZED
    ask(session, "mining.subscribe", [])
    session.accept_subscribe(9, EXTRANONCE, "t")
    assert session.is_active


@pytest.mark.parametrize("params", [[], [None], [""], [7, "x"], ["u" * 192, "x"], ["ü" * 96, "x"], [["a"]]])
def test_a_user_that_is_none_is_refused(params: Any) -> None:
    session = new_session()
    assert ask(session, "mining.authorize", params) == [Refused(9, "Invalid user")]
    assert answer(session)["error"][0] == 24


@pytest.mark.parametrize(
    ("password", "difficulty"),
    [
        ("x", None),
        ("d=1024", 1024.0),
        ("x,d=0.001", 0.001),
        ("d=5e5;stats", 5e5),
        ("pd=7", None),
        ("d=0", None),
        ("d=1e999", None),
        ("d=", None),
        ("d=1x", None),
        (None, None),
        (7, None),
    ],
)
def test_a_difficulty_in_the_password(password: Any, difficulty: float | None) -> None:
    (event,) = ask(new_session(), "mining.authorize", ["alice", password])
    assert event.difficulty == difficulty
    assert event.password == (password if isinstance(password, str) else "")


def test_several_users_and_their_limit() -> None:
    session = active_session(max_users=2)
    ask(session, "mining.authorize", ["bob.1", "x"])
    session.accept_authorize(9, "bob.1", 18)
    assert session.worker_of("bob.1") == 18
    assert session.worker_of_hash(user_hash(b"alice.s19")) == 17
    assert session.worker_of("eve") is None
    assert session.worker_of_hash(user_hash(b"eve")) is None
    assert ask(session, "mining.authorize", ["eve", "x"]) == [Refused(9, "Too many users on one connection")]
    assert ask(session, "mining.authorize", ["bob.1", "x"]) == [AuthorizeRequested(9, "bob.1", "x", None)]


def test_a_rejected_user_changes_nothing() -> None:
    session = new_session()
    ask(session, "mining.authorize", ["alice"])
    session.reject_authorize(9)
    assert answer(session) == {"id": 9, "result": None, "error": [24, "Unauthorized worker", None]}
    assert session.state is State.NEW


def test_the_table_of_states_is_whole() -> None:
    assert set(TRANSITIONS) == {(s, t) for s in State if s is not State.CLOSED for t in Step}
    for (state, step), after in TRANSITIONS.items():
        done = {
            State.NEW: set[Step](),
            State.SUBSCRIBED: {Step.SUBSCRIBE},
            State.AUTHORIZED: {Step.AUTHORIZE},
            State.ACTIVE: {Step.SUBSCRIBE, Step.AUTHORIZE},
        }
        if step is Step.CLOSE:
            assert after is State.CLOSED
        else:
            assert done[after] == done[state] | {step}


# --- submit ---


@pytest.mark.parametrize(
    ("params", "verdict"),
    [
        ([], Verdict.MALFORMED),
        (SUBMIT[:4], Verdict.MALFORMED),
        ([*SUBMIT, None, None], Verdict.MALFORMED),
        ([None, *SUBMIT[1:]], Verdict.MALFORMED),
        ([*SUBMIT[:2], "0ff", *SUBMIT[3:]], Verdict.MALFORMED),
        ([*SUBMIT[:2], "", *SUBMIT[3:]], Verdict.MALFORMED),
        ([*SUBMIT[:2], "00" * 9, *SUBMIT[3:]], Verdict.MALFORMED),
        ([*SUBMIT[:2], "0x", *SUBMIT[3:]], Verdict.MALFORMED),
        ([*SUBMIT[:3], "927b489", SUBMIT[4]], Verdict.MALFORMED),
        ([*SUBMIT[:3], 1764209801, SUBMIT[4]], Verdict.MALFORMED),
        ([*SUBMIT[:4], "0deadbeef"], Verdict.MALFORMED),
        ([*SUBMIT[:4], "deadbee\u0665"], Verdict.MALFORMED),  # a digit, but not hex's
        ([*SUBMIT[:4], "deadbee\n"], Verdict.MALFORMED),
        ([*SUBMIT, "2000"], Verdict.MALFORMED),
        ([*SUBMIT, 7], Verdict.MALFORMED),
        ([SUBMIT[0], "", *SUBMIT[2:]], Verdict.UNKNOWN_JOB),
        ([SUBMIT[0], "123456789", *SUBMIT[2:]], Verdict.UNKNOWN_JOB),
        ([SUBMIT[0], "job-7", *SUBMIT[2:]], Verdict.UNKNOWN_JOB),
        ([SUBMIT[0], 26, *SUBMIT[2:]], Verdict.UNKNOWN_JOB),
    ],
)
def test_a_share_that_names_no_work(params: Any, verdict: Verdict) -> None:
    session = active_session()
    assert ask(session, "mining.submit", params) == [SubmitRefused(9, verdict)]
    assert answer(session)["error"][0] == (21 if verdict is Verdict.UNKNOWN_JOB else 20)


@pytest.mark.parametrize(("last", "bits"), [([], None), ([None], None), (["0000E000"], 0xE000)])
def test_version_bits_null_or_none(last: list[Any], bits: int | None) -> None:
    (event,) = ask(active_session(), "mining.submit", [*SUBMIT, *last])
    assert event.version_bits == bits


def test_shares_before_the_handshake() -> None:
    session = new_session()
    assert ask(session, "mining.submit", SUBMIT) == [SubmitRefused(9, Verdict.NOT_SUBSCRIBED)]
    assert answer(session)["error"][0] == 25
    ask(session, "mining.subscribe")
    session.accept_subscribe(9, EXTRANONCE, "t")
    session.data_to_send()
    assert ask(session, "mining.submit", SUBMIT) == [SubmitRefused(9, Verdict.UNAUTHORIZED)]
    assert answer(session)["error"][0] == 24


def test_a_share_of_a_stranger_or_an_unknown_job_is_for_the_driver_to_judge() -> None:
    """It may be a block."""
    (event,) = ask(active_session(), "mining.submit", ["stranger", "ffffffff", *SUBMIT[2:]])
    assert isinstance(event, SubmitReceived)


# --- extensions ---


@pytest.mark.parametrize(
    ("params", "result", "mask"),
    [
        # bitaxe: everything, no least count of bits
        (
            [["version-rolling"], {"version-rolling.mask": "ffffffff"}],
            {"version-rolling": True, "version-rolling.mask": "1fffe000"},
            SERVER_MASK,
        ),
        (
            [["version-rolling"], {"version-rolling.mask": "00FFF000", "version-rolling.min-bit-count": 16}],
            {"version-rolling": True, "version-rolling.mask": "00ffe000"},
            0x00FFE000,
        ),
        ([["version-rolling"]], {"version-rolling": True, "version-rolling.mask": "1fffe000"}, SERVER_MASK),
        ([["version-rolling"], {"version-rolling.mask": "00000fff"}], {"version-rolling": False}, None),
        (
            [["version-rolling"], {"version-rolling.mask": "xyz"}],
            {"version-rolling": "version-rolling.mask is not eight hex digits"},
            None,
        ),
        (
            [["minimum-difficulty", "subscribe-extranonce", "info", "new-thing", 7], {}],
            {"minimum-difficulty": False, "subscribe-extranonce": True, "info": True, "new-thing": False},
            None,
        ),
        ([[], None], {}, None),
    ],
)
def test_every_extension_has_an_answer(params: Any, result: Any, mask: int | None) -> None:
    session = new_session()
    (event,) = ask(session, "mining.configure", params)
    assert answer(session) == {"id": 9, "result": result, "error": None}
    assert event == Configured(mask, None, {})
    assert session.version_mask == (mask or 0)


def test_configure_says_what_the_machine_is() -> None:
    session = new_session()
    wanted = {
        "minimum-difficulty.value": 2048,
        "info.hw-version": "s19",
        "info.sw-version": 7,
        "info.hw-id": "x" * 200,
    }
    (event,) = ask(session, "mining.configure", [["minimum-difficulty", "info"], wanted])
    assert event == Configured(None, 2048.0, {"hw-version": "s19", "hw-id": "x" * 128})
    assert session.minimum_difficulty == 2048.0
    ask(session, "mining.configure", [["minimum-difficulty"], {"minimum-difficulty.value": 0}])
    assert session.minimum_difficulty is None
    assert lines(session.data_to_send())[-1]["result"] == {"minimum-difficulty": True}


@pytest.mark.parametrize("params", [[], ["version-rolling", {}], [None], [[], []]])
def test_configure_of_a_wrong_form(params: Any) -> None:
    session = new_session()
    assert ask(session, "mining.configure", params) == [Refused(9, "Invalid extensions")]


def test_a_new_mask_holds_at_once_with_a_grace_for_shares_under_way() -> None:
    session = active_session(mask_grace_s=10.0)
    ask(session, "mining.configure", [["version-rolling"], {}])
    session.data_to_send()
    session.set_version_mask(0x00FFE000, 100.0)
    assert answer(session)["params"] == ["00ffe000"]
    assert session.version_mask == 0x00FFE000
    assert session.allowed_version_mask(109.9) == SERVER_MASK
    assert session.allowed_version_mask(110.0) == 0x00FFE000
    session.set_version_mask(0x00FFE000, 120.0)
    assert session.data_to_send() == b""


def test_two_changes_in_a_row_keep_the_grace_of_the_first() -> None:
    session = active_session(mask_grace_s=10.0)
    ask(session, "mining.configure", [["version-rolling"], {}])
    session.set_version_mask(0x00FF0000, 100.0)
    session.set_version_mask(0x000F0000, 105.0)
    assert session.allowed_version_mask(106.0) == SERVER_MASK
    assert session.allowed_version_mask(115.0) == 0x000F0000


def test_a_wider_mask_needs_no_grace() -> None:
    session = active_session()
    ask(session, "mining.configure", [["version-rolling"], {}])
    session.set_version_mask(0x1FFFFFE0, 1.0)
    assert session.allowed_version_mask(1.0) == 0x1FFFFFE0


def test_a_machine_that_never_asked_rolls_nothing() -> None:
    session = active_session()
    session.set_version_mask(0x1FFFFFE0, 1.0)
    assert session.data_to_send() == b""
    assert session.allowed_version_mask(1.0) == 0


@pytest.mark.parametrize(
    ("method", "params", "difficulty"),
    [
        ("mining.suggest_difficulty", [1024], 1024.0),
        ("mining.suggest_difficulty", ["0.5"], 0.5),
        ("mining.suggest_difficulty(2048)", [], 2048.0),
        ("mining.suggest_target", ["00000000ffff" + "0" * 52], 1.0),
    ],
)
def test_a_suggested_difficulty(method: str, params: Any, difficulty: float) -> None:
    session = new_session()
    assert ask(session, method, params) == [DifficultySuggested(difficulty)]
    assert session.suggested_difficulty == difficulty
    assert answer(session)["result"] is True


@pytest.mark.parametrize(
    ("method", "value"),
    [
        *(
            ("mining.suggest_difficulty", value)
            for value in (None, 0, -1, True, "nan", "inf", "x", [], 10**400)
        ),
        *(("mining.suggest_target", value) for value in (None, "", "0" * 64, "f" * 65, "zz", 7)),
    ],
)
def test_a_suggestion_that_is_none(method: str, value: Any) -> None:
    session = new_session()
    assert ask(session, method, [value]) == [Refused(9, "Invalid difficulty")]
    assert answer(session)["error"][0] == 20


def test_extranonce_subscribe_and_set_extranonce() -> None:
    session = active_session()
    with pytest.raises(ValueError, match="takes no new extranonce"):
        session.set_extranonce(Extranonce(0x0B))
    assert ask(session, "mining.extranonce.subscribe") == [ExtranonceSubscribed()]
    assert answer(session)["result"] is True
    session.send_job(make_job(1), True, 0.0)
    session.data_to_send()
    session.set_extranonce(Extranonce(0x0B, 4, 6))
    assert answer(session)["params"] == ["0000000b", 6]
    with pytest.raises(ValueError, match="4 \\+ 8 bytes"):
        session.send_job(make_job(2), False, 0.0)
    session.send_job(make_job(2, extranonce2_size=6), False, 0.0)
    assert session.extranonce_of(1) == EXTRANONCE  # shares of the old job are still the old extranonce's
    assert session.extranonce_of(2) == Extranonce(0x0B, 4, 6)


@pytest.mark.parametrize(("number", "sizes"), [(256, (1, 8)), (-1, (4, 8)), (0, (0, 8)), (0, (4, 9))])
def test_an_extranonce_fits_its_size(number: int, sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="extranonce"):
        Extranonce(number, *sizes)


@pytest.mark.parametrize(
    ("method", "code"),
    [("mining.get_transactions", 20), ("mining.multi_version", 20), ("login", 20), ("", 20)],
)
def test_what_we_do_not_do_is_answered_with_its_id(method: str, code: int) -> None:
    session = new_session()
    ask(session, method, ["x"])
    reply = answer(session)
    assert (reply["id"], reply["error"][0]) == (9, code)
    assert session.state is State.NEW


def test_ping_blank_lines_and_replies() -> None:
    session = active_session()
    assert ask(session, "mining.ping") == []
    assert answer(session)["result"] == "pong"
    assert session.receive_line(b"", 0.0) == []
    assert session.receive_line(b'{"id":1,"result":"cgminer/4.12","error":null}', 0.0) == []
    assert session.data_to_send() == b""


# --- work ---


def test_difficulty_is_sent_before_the_job_it_is_for_and_only_when_it_changes() -> None:
    session = active_session()
    for job_id, work_log2 in ((1, 32), (2, 32), (3, 40), (4, 31)):
        session.send_job(make_job(job_id, work_log2), False, 0.0)
    sent = [(line["method"], line["params"][0]) for line in lines(session.data_to_send())]
    assert sent == [
        ("mining.set_difficulty", 1),
        ("mining.notify", "1"),
        ("mining.notify", "2"),
        ("mining.set_difficulty", 256),
        ("mining.notify", "3"),
        ("mining.set_difficulty", 0.5),
        ("mining.notify", "4"),
    ]
    assert session.sent_work_log2 == 31


def test_jobs_are_remembered_up_to_the_limit() -> None:
    session = active_session(max_jobs=3)
    for job_id in range(1, 6):
        session.send_job(make_job(job_id), False, 0.0)
    assert [session.extranonce_of(job_id) is None for job_id in range(1, 6)] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_line_made_once_serves_all() -> None:
    session = active_session()
    session.send_job(make_job(), True, 0.0, b"the line\n")
    assert session.data_to_send().endswith(b"the line\n")


def test_no_job_before_the_handshake() -> None:
    with pytest.raises(ValueError, match="new"):
        new_session().send_job(make_job(), True, 0.0)
    with pytest.raises(ValueError, match="no extranonce"):
        new_session().reply_subscribed(1)


def test_notifications() -> None:
    session = active_session()
    session.reconnect("pool.example.org", 3333, 5)
    session.show_message("Maintenance at noon")
    assert [(line["method"], line["params"]) for line in lines(session.data_to_send())] == [
        ("client.reconnect", ["pool.example.org", 3333, 5]),
        ("client.show_message", ["Maintenance at noon"]),
    ]


# --- limits ---


def test_a_line_too_long_closes_with_a_reason_on_the_wire() -> None:
    session = active_session(max_line_bytes=1024)
    assert session.receive_data(b"x" * 1025, 1.0) == [Closed("Line too long")]
    assert answer(session) == {"id": None, "result": None, "error": [20, "Line too long", None]}
    assert session.receive_data(b'{"id":1,"method":"mining.ping"}\n', 1.0) == []
    assert session.data_to_send() == b""
    assert session.next_deadline() is None


def test_an_idle_stranger_and_an_idle_machine_are_closed() -> None:
    session = new_session(authorize_timeout_s=60.0)
    session.receive_line(b"", 59.0)  # chatting does not help
    assert session.next_deadline() == 60.0
    assert session.on_time(59.9) == []
    assert session.on_time(60.0) == [Closed("Not authorized in time")]
    session = active_session(idle_timeout_s=100.0)
    session.apply_submits(1, 50.0)
    assert session.next_deadline() == 150.0
    assert session.on_time(150.0) == [Closed("Idle for too long")]
    assert session.on_time(151.0) == []


def test_garbage_costs_until_the_session_is_closed() -> None:
    session = new_session(soft_cost=100.0, hard_cost=200.0, error_cost=25.0)
    events = session.receive_data(b"garbage\n" * 20, 0.0)
    assert [type(event) for event in events] == [Refused] * 5 + [Throttled] + [Refused] * 4 + [Closed]
    answers = lines(session.data_to_send())
    assert len(answers) == 10
    assert answers[-1]["error"][1] == "Too many requests"


def test_above_the_soft_limit_reading_waits_and_only_shares_are_taken() -> None:
    session = active_session(soft_cost=100.0, hard_cost=1000.0, cost_decay_per_s=10.0)
    cost_at_start = session.export(0.0).cost
    (event,) = session.apply_submits(150, 0.0)
    assert event == Throttled(cost_at_start + 150)
    assert session.apply_submits(1, 0.0) == []  # said once
    assert session.read_delay_s(0.0) == pytest.approx((cost_at_start + 51) / 10)
    assert ask(session, "mining.suggest_difficulty", [7]) == []
    assert answer(session)["error"] == [20, "Too many requests", None]
    assert ask(session, "mining.submit", SUBMIT)
    assert session.read_delay_s(60.0) == 0.0
    assert ask(session, "mining.suggest_difficulty", [7], now=60.0)


def test_work_pays_for_its_own_check() -> None:
    session = active_session()
    for second in range(100):  # five times what the decay alone would allow
        session.apply_submits(1000, float(second))
        assert session.apply_verdicts(1000, 0, float(second)) == []
    assert session.read_delay_s(100.0) == 0.0


def test_rejected_shares_do_not() -> None:
    session = active_session()
    events = []
    for second in range(100):
        events += session.apply_submits(100, float(second))
        events += session.apply_verdicts(0, 100, float(second))
    assert {type(event) for event in events[:-1]} == {Throttled}
    assert type(events[-1]) is Closed


def test_a_closed_session_is_silent() -> None:
    session = active_session()
    assert session.close("Server shuts down") == [Closed("Server shuts down")]
    session.data_to_send()
    assert session.close("again") == []
    session.accept_share(1)
    session.send_job(make_job(), True, 0.0)
    session.show_message("x")
    session.accept_authorize(1, "late", 1)
    assert session.data_to_send() == b""
    assert session.apply_submits(1, 0.0) == session.apply_verdicts(1, 1, 0.0) == []
    assert session.state is State.CLOSED


# --- hand-over ---


def test_a_session_lives_on_in_another_process() -> None:
    session = active_session()
    ask(session, "mining.configure", [["version-rolling", "info"], {"info.hw-version": "s19"}])
    ask(session, "mining.extranonce.subscribe")
    session.send_job(make_job(1, 40), True, 0.0)
    session.set_extranonce(Extranonce(0x0B))
    session.send_job(make_job(2, 40), True, 0.0)
    session.set_version_mask(0x00FFE000, 5.0)
    session.receive_data(b'{"id":9,"method":"mining.pi', 5.0)
    wire = msgspec.msgpack.encode(session.export(5.0))
    copy = ServerSession.from_state(msgspec.msgpack.decode(wire, type=SessionState), session.limits)
    assert copy.export(5.0) == session.export(5.0)
    for one in (session, copy):
        one.receive_data(b'ng"}\n', 6.0)
        one.send_job(make_job(3, 40), False, 6.0)
    sent = copy.data_to_send()
    assert sent == session.data_to_send()
    assert b'"pong"' in sent
    assert copy.extranonce_of(1) == EXTRANONCE
    assert copy.worker_of_hash(user_hash(b"alice.s19")) == 17
    assert copy.allowed_version_mask(6.0) == SERVER_MASK
    assert copy.next_deadline() == session.next_deadline()


def test_what_is_held_can_be_taken_by_a_driver_that_reads_itself() -> None:
    session = active_session()
    session.receive_data(b'{"id":9,', 0.0)
    assert session.take_held() == b'{"id":9,'
    assert session.receive_data(b'{"id":9,"method":"mining.ping"}\n', 0.0) == []
    assert answer(session)["result"] == "pong"
