from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from hashwerk.stratum.v1.client import (
    Accepted,
    Authorized,
    ClientJob,
    ClientSession,
    Failed,
    JobReceived,
    MessageShown,
    ReconnectRequested,
    Rejected,
    Subscribed,
)
from support.stratum_sessions import lines

MASK = 0x1FFFE000
NOTIFY = ["1a", "00" * 32, "01", "02", ["33" * 32], "20000000", "207fffff", "00000102", True]


def say(session: ClientSession, *messages: dict[str, Any]) -> list[Any]:
    """Let the server say something and return the events."""
    return session.receive_data(b"".join(json.dumps(message).encode() + b"\n" for message in messages), 0.0)


def notification(method: str, *params: Any) -> dict[str, Any]:
    return {"id": None, "method": method, "params": list(params)}


def reply(request_id: Any, result: Any = True, error: Any = None, **more: Any) -> dict[str, Any]:
    return {"id": request_id, "result": result, "error": error} | more


def ready(**options: Any) -> tuple[ClientSession, ClientJob]:
    """Return a session after the handshake with a job at difficulty 1024."""
    session = ClientSession(user="alice.s19", **options)
    say(session, reply(1, {"version-rolling": True, "version-rolling.mask": "1fffe000"}))
    say(session, reply(2, [[["mining.notify", "tok"]], "0000000a", 8]), reply(3))
    (event,) = say(
        session, notification("mining.set_difficulty", 1024), notification("mining.notify", *NOTIFY)
    )
    session.data_to_send()
    return session, event.job


def submit(session: ClientSession, job: ClientJob, **changes: Any) -> int:
    fields: dict[str, Any] = {"extranonce2": bytes(8), "ntime": 0x102, "nonce": 7, "version_bits": 0x2000}
    return session.submit(job, **fields | changes)


def test_the_handshake() -> None:
    session = ClientSession(
        user="alice.s19", user_agent="hashwerk/1", resume_token="old", suggest_difficulty=64
    )
    assert lines(session.data_to_send()) == [
        {
            "id": 1,
            "method": "mining.configure",
            "params": [
                ["version-rolling"],
                {"version-rolling.mask": "1fffe000", "version-rolling.min-bit-count": 2},
            ],
        },
        {"id": 2, "method": "mining.subscribe", "params": ["hashwerk/1", "old"]},
    ]
    assert say(session, reply(1, {"version-rolling": True, "version-rolling.mask": "00ffe000"})) == []
    assert say(session, reply(2, [[["mining.set_difficulty", "a"], ["mining.notify", "b"]], "0a", 4])) == [
        Subscribed("b")
    ]
    assert lines(session.data_to_send()) == [
        {"id": 3, "method": "mining.authorize", "params": ["alice.s19", "x"]}
    ]
    assert say(session, reply(3)) == [Authorized("alice.s19", None)]
    assert [(line["method"], line["params"]) for line in lines(session.data_to_send())] == [
        ("mining.suggest_difficulty", [64]),
        ("mining.extranonce.subscribe", []),
    ]
    assert say(session, reply(4, None, [20, "Not supported.", None]), reply(5, False)) == []
    assert session.pending == 0


def test_a_job_has_all_that_held_when_it_came() -> None:
    _, job = ready()
    assert (job.job_id, job.prev_hash, job.clean) == ("1a", bytes(32), True)
    assert (job.difficulty, job.extranonce1, job.extranonce2_size, job.version_mask) == (
        1024,
        b"\0\0\0\x0a",
        8,
        MASK,
    )
    assert isinstance(job.difficulty, int)


def test_difficulty_is_for_the_jobs_after_it() -> None:
    session, _ = ready()
    assert say(session, notification("mining.set_difficulty", 0.5)) == []
    (event,) = say(session, notification("mining.notify", *NOTIFY))
    assert event.job.difficulty == 0.5


def test_before_any_difficulty_it_is_1() -> None:
    session = ClientSession(user="u", version_mask=None)
    say(session, reply(1, [[], "0a", 4]))
    (event,) = say(session, notification("mining.notify", *NOTIFY))
    assert (event.job.difficulty, event.job.version_mask) == (1, 0)


def test_a_job_before_the_answer_to_subscribe_waits_for_it() -> None:
    session = ClientSession(user="u", version_mask=None)
    assert say(session, notification("mining.notify", *NOTIFY)) == []
    subscribed, received = say(session, reply(1, [["mining.notify", "tok"], "0a", 4]))
    assert subscribed == Subscribed("tok")
    assert isinstance(received, JobReceived)


def test_a_new_mask_changes_the_job_at_once() -> None:
    session, job = ready()
    assert say(session, notification("mining.set_version_mask", "00ffe000")) == [
        JobReceived(msgspec.structs.replace(job, version_mask=0x00FFE000))
    ]
    assert say(session, notification("mining.set_version_mask", "00ffe000")) == []


def test_set_extranonce_is_for_the_next_job_even_of_the_same_id() -> None:
    session, job = ready()
    assert say(session, notification("mining.set_extranonce", "0b0c", 4)) == []
    (event,) = say(session, notification("mining.notify", *NOTIFY))
    assert (event.job.job_id, event.job.extranonce1, event.job.extranonce2_size) == (
        job.job_id,
        b"\x0b\x0c",
        4,
    )


def test_a_share_and_its_answers() -> None:
    session, job = ready()
    first, second = submit(session, job), submit(session, job, nonce=0xFFFFFFFF)
    sent = lines(session.data_to_send())
    assert [line["id"] for line in sent] == [first, second]
    assert sent[0]["params"] == ["alice.s19", "1a", "00" * 8, "00000102", "00000007", "00002000"]
    assert say(session, reply(second), reply(str(first), None, [23, "Low difficulty share", None])) == [
        Accepted(second),
        Rejected(first, 23, "Low difficulty share"),
    ]
    assert say(session, reply(first), reply(999), reply(1.5), reply("x")) == []


def test_without_version_rolling_there_is_no_sixth_parameter() -> None:
    session, job = ready()
    session.is_rolling_agreed = False
    job = msgspec.structs.replace(job, version_mask=0)
    submit(session, job, version_bits=0)
    assert len(lines(session.data_to_send())[0]["params"]) == 5


def test_once_agreed_there_is_a_sixth_parameter_even_if_no_bit_is_left() -> None:
    session, _ = ready()
    (event,) = say(session, notification("mining.set_version_mask", "00000000"))
    submit(session, event.job, version_bits=0)
    assert lines(session.data_to_send())[0]["params"][5] == "00000000"


def test_our_own_misuse_raises() -> None:
    session, job = ready()
    with pytest.raises(ValueError, match="8 bytes: 4"):
        submit(session, job, extranonce2=bytes(4))
    with pytest.raises(ValueError, match="outside the mask: 00000001"):
        submit(session, job, version_bits=1)


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        ({"result": None, "error": [21, "Job not found", None]}, 21, "Job not found"),
        ({"result": False, "error": [23]}, None, "refused"),
        ({"result": False, "error": ["23", "Low"]}, None, "Low"),
        ({"result": True, "error": [-1, "Miningcore", None]}, -1, "Miningcore"),
        ({"result": None, "error": {"code": 22, "message": "Duplicate"}}, 22, "Duplicate"),
        ({"result": None, "error": {"message": 7}}, None, "refused"),
        ({"result": None, "error": {"code": 22}}, None, "refused"),
        ({"result": None, "error": "Invalid JobID"}, None, "Invalid JobID"),
        ({"result": False, "error": None, "reject-reason": "Above target"}, None, "Above target"),
        ({"result": False, "error": None}, None, "refused without a reason"),
        ({"result": None}, None, "refused without a reason"),
        ({"result": None, "error": 7}, None, "refused"),
        ({"error": True}, None, "refused"),
        ({"result": False, "error": []}, None, "refused without a reason"),
        ({"result": False, "error": "x" * 300}, None, "x" * 256),
    ],
)
def test_every_form_of_refusal_is_read(answer: dict[str, Any], code: int | None, reason: str) -> None:
    session, job = ready()
    request = submit(session, job)
    assert say(session, {"id": request} | answer) == [Rejected(request, code, reason)]


@pytest.mark.parametrize("error", [None, [], {}, False])
def test_no_error_in_any_form_is_none(error: Any) -> None:
    session, job = ready()
    request = submit(session, job)
    assert say(session, reply(request, True, error)) == [Accepted(request)]


@pytest.mark.parametrize(
    ("host", "params", "expected"),
    [
        ("stratum.pool.org", [], (None, None, 0.0, True)),
        ("stratum.pool.org", ["eu.pool.org", 3333, 5], ("eu.pool.org", 3333, 5.0, True)),
        ("stratum.pool.org", ["EU.POOL.ORG.", "3333", 5.5], ("EU.POOL.ORG.", 3333, 5.5, True)),
        ("stratum.pool.org", ["evil.example", 3333], ("evil.example", 3333, 0.0, False)),
        ("stratum.pool.org", ["localhost", 3333], ("localhost", 3333, 0.0, False)),
        ("a.org", ["b.org", 1], ("b.org", 1, 0.0, False)),
        ("10.0.0.1", ["11.0.0.1", 1], ("11.0.0.1", 1, 0.0, False)),
        ("10.0.0.1", ["10.0.0.1", 1], ("10.0.0.1", 1, 0.0, True)),
        ("fe80::1.2", ["fe80::2.2", 1], ("fe80::2.2", 1, 0.0, False)),
        (None, ["x.pool.org", 1], ("x.pool.org", 1, 0.0, False)),
        ("p.o.x", ["q.o.x", 70000, -5], ("q.o.x", None, 0.0, True)),
        ("p.o.x", [7, True, 1e300], (None, None, 3600.0, True)),
        ("p.o.x", ["", "99999", "soon"], (None, None, 0.0, True)),
        ("p.o.x", [None, None, 10**400], (None, None, 3600.0, True)),
    ],
)
def test_reconnect_goes_where_it_may(host: str | None, params: Any, expected: tuple[Any, ...]) -> None:
    session = ClientSession(user="u", host=host)
    assert say(session, notification("client.reconnect", *params)) == [ReconnectRequested(*expected)]


def test_other_messages() -> None:
    session, _ = ready(user_agent="hashwerk/1")
    texts = [notification("client.show_message", text) for text in ("Hello", 7)]
    assert say(session, *texts) == [MessageShown("Hello")]
    assert say(session, reply(None, None, [20, "Line too long", None])) == [MessageShown("Line too long")]
    assert say(session, reply(None), notification("mining.new")) == []
    assert (
        say(session, *({"id": i, "method": m} for i, m in ((77, "client.get_version"), (78, "mining.ping"))))
        == []
    )
    assert say(session, {"id": 79, "method": "mining.new"}) == []
    assert [(line["id"], line.get("result")) for line in lines(session.data_to_send())] == [
        (77, "hashwerk/1"),
        (78, "pong"),
        (79, None),
    ]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (reply(2, None, [20, "Banned", None]), "Banned"),
        (reply(2, True), "no extranonce"),
        (reply(2, [[], "0g", 4]), "no extranonce"),
        (reply(2, [[], "00", 17]), "no extranonce"),
        (reply(2, [[], "00", 0]), "no extranonce"),
        (reply(2, [[], "00", True]), "no extranonce"),
        (reply(2, [[], "00" * 33, 4]), "no extranonce"),
        (reply(3, False), "user not authorized: refused without a reason"),
        (notification("mining.set_difficulty", 0), "bad difficulty"),
        (notification("mining.set_difficulty"), "bad difficulty"),
        (notification("mining.set_version_mask", "x"), "bad version mask"),
        (notification("mining.set_extranonce", "x", 4), "bad extranonce"),
        (notification("mining.set_extranonce"), "bad extranonce"),
        (notification("mining.notify", *NOTIFY[:7]), "bad job: mining.notify has 7 parameters"),
    ],
)
def test_what_no_good_server_says_is_the_end(message: dict[str, Any], reason: str) -> None:
    session = ClientSession(user="u")
    if message["id"] != 2:
        say(session, reply(2, [[], "0a", 4]))
    (event,) = say(session, message)
    assert isinstance(event, Failed)
    assert reason in event.reason
    assert say(session, notification("client.show_message", "too late")) == []


def test_no_stratum_server_at_all() -> None:
    session = ClientSession(user="u")
    (event,) = session.receive_data(b"HTTP/1.1 400 Bad Request\r\n\r\n", 0.0)
    assert event == Failed("not a Stratum server: not a json object")


def test_a_line_without_end() -> None:
    session = ClientSession(user="u", max_line_bytes=2048)
    assert session.receive_data(b"x" * 2048, 0.0) == []
    assert session.receive_data(b"x", 0.0) == [Failed("a line is too long")]
    assert session.receive_data(b"\n{}\n", 0.0) == []


@pytest.mark.parametrize("result", [None, False, {"version-rolling": False}, {"version-rolling": "no"}, {}])
def test_a_server_that_does_not_roll(result: Any) -> None:
    session = ClientSession(user="u")
    say(session, reply(1, result), reply(2, [[], "0a", 4]))
    (event,) = say(session, notification("mining.notify", *NOTIFY))
    assert event.job.version_mask == 0
