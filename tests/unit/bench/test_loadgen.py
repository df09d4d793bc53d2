"""What the load generator sends: real lines, each another share."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from hashwerk.bench.loadgen import LoadGenerator, Machine, obey
from hashwerk.stratum.v1.submits import SUBMIT_DTYPE, scan_submits
from hashwerk.stratum.v1.user_hash import user_hash

AUTHORIZED = b'{"result":true,"error":null,"id":2}\n'
NOTIFY = b'{"id":null,"method":"mining.notify","params":["1f","00","c1","c2",[],"20000000","1d00ffff","65000000",true]}\n'


@pytest.fixture
def machine() -> Iterator[Machine]:
    with socket.socket() as sock:
        yield Machine(sock, "acc.m1")


def test_a_job_is_read_from_pieces(machine: Machine) -> None:
    assert not machine.hear(b'{"id":1,"result":true,"error":null}\n' + NOTIFY[:30])
    assert not machine.hear(NOTIFY[30:])
    assert machine.job == ("1f", "65000000")


@pytest.mark.parametrize("order", [(AUTHORIZED, NOTIFY), (NOTIFY, AUTHORIZED)])
def test_it_is_ready_with_a_job_and_authorized_in_either_order(
    machine: Machine, order: tuple[bytes, bytes]
) -> None:
    first, second = order
    assert not machine.hear(first)
    assert machine.hear(second)


def test_a_refused_user_is_an_error(machine: Machine) -> None:
    with pytest.raises(ConnectionError, match=r"refuses acc\.m1"):
        machine.hear(AUTHORIZED.replace(b"true", b"false"))


def test_an_answer_cut_anywhere_is_one_answer(machine: Machine) -> None:
    lines = AUTHORIZED + NOTIFY
    for cut in range(len(lines)):
        assert machine.whole_lines(lines[:cut]) + machine.whole_lines(lines[cut:]) == lines


def test_with_a_window_of_1_one_share_is_under_way() -> None:
    """Though the server answers the authorisation some time after it sent the job."""
    shares_at_once: list[int] = []
    too_early: list[bool] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(NOTIFY)
            too_early.append(bool(select.select([connection], [], [], 0.2)[0]))
            connection.sendall(AUTHORIZED)
            while data := connection.recv(65_536):
                shares_at_once.append(data.count(b"mining.submit"))
                connection.sendall(b'{"result":true,"error":null,"id":1000000}\n' * shares_at_once[-1])

    with listening:
        server = threading.Thread(target=serve)
        server.start()
        generator = LoadGenerator(*listening.getsockname())
        generator.connect(1)
        result = generator.saturate(0.1, 1)
        generator.close()
        server.join(5)
        assert not server.is_alive()
    assert too_early == [False]
    assert set(shares_at_once) == {1}
    assert 0 < result.accepted <= len(shares_at_once)
    assert result.rejected == 0


def test_shares_are_canonical_lines_and_all_different(machine: Machine) -> None:
    machine.hear(NOTIFY)
    machine.block_shares = 50
    sent = b"".join(bytes(machine.shares(7)) for _ in range(30))
    rows = np.zeros(400, SUBMIT_DTYPE)
    count, at, _ = scan_submits(np.frombuffer(sent, np.uint8), 0, len(sent), rows)
    assert at == len(sent) == count * machine.line_bytes
    assert count == 3 * 50 + 6 * 7  # seven at a time, and what is left of a block
    assert rows["nonce"][:count].tolist() == list(range(count))
    assert set(rows["job"][:count].tolist()) == {0x1F}
    assert set(rows["user_hash"][:count].tolist()) == {user_hash(b"acc.m1")}
    assert json.loads(sent[: machine.line_bytes])["params"][3] == "65000000"


def test_a_new_job_is_worked_on_at_once(machine: Machine) -> None:
    machine.hear(NOTIFY)
    machine.shares(1)
    machine.take_job(NOTIFY.replace(b'"1f"', b'"2e"'))
    assert b'"2e"' in bytes(machine.shares(1))


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown order: dance"):
        obey(LoadGenerator("127.0.0.1", 1), {"do": "dance"})
