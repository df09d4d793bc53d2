"""What strangers do in great numbers or with great persistence, each a function of the server's address.

They use blocking sockets and are called in a process of their own, so that they slow down the server and not the test.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import sys
import time
from collections.abc import Callable

Server = tuple[str, int]
PATIENCE_S = 15.0
NOTIFY = b'"method":"mining.notify"'
PING = b'{"id":1,"method":"mining.ping","params":[]}\n'
SUBSCRIBE = b'{"id":1,"method":"mining.subscribe","params":["stranger/1"]}\n'


_CHEAP = (
    PING,
    SUBSCRIBE,
    b'{"id":1,"method":"mining.nonsense","params":[]}\n',
    b"\n",
    b"{}\n",
    b"x\n",
    b'{"id":1,"method":"mining.authorize","params":["flood.m1","x"]}\n',
    b'{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000"}]}\n',
    b'{"id":1,"method":"mining.extranonce.subscribe","params":[]}\n',
    b'{"id":1,"result":true,"error":null}\n',
)


def connect(server: Server, number: int = 0, *, receive_bytes: int | None = None) -> socket.socket:
    """Connect, on Linux from one of two hundred addresses of this computer."""
    sock = socket.socket()
    if receive_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    if sys.platform == "linux":
        sock.bind((f"127.0.0.{2 + number % 200}", 0))
    sock.settimeout(PATIENCE_S)
    sock.connect(server)
    return sock


def authorize(user: str) -> bytes:
    return (
        SUBSCRIBE
        + json.dumps({"id": 2, "method": "mining.authorize", "params": [user, "x"]}).encode()
        + b"\n"
    )


def begin(server: Server, user: str, **options: int) -> tuple[socket.socket, str, str]:
    """Connect as a machine does; return the connection, and id and time of the first job."""
    sock = connect(server, **options)
    sock.sendall(authorize(user))
    data = b""
    while NOTIFY not in data or not data.endswith(b"\n"):
        data += sock.recv(4_096)
    params = json.loads(next(line for line in data.split(b"\n") if NOTIFY in line))["params"]
    return sock, params[0], params[7]


def submit(user: str, job: str, ntime: str, nonce: int) -> bytes:
    return (
        f'{{"id":4,"method":"mining.submit","params":["{user}","{job}","0000000000000000","{ntime}","{nonce:08x}"]}}\n'
    ).encode()


def pour(sock: socket.socket, data: bytes) -> None:
    """Send as much of it as the server takes."""
    try:
        sock.sendall(data)
    except (ConnectionError, TimeoutError):
        return


def last_words(sock: socket.socket) -> bytes:
    """Read until the server closes; it must."""
    data = b""
    with sock:
        try:
            while part := sock.recv(65_536):
                data = data[-1_000:] + part
        except ConnectionError:
            pass
    return data


def reset(sock: socket.socket) -> None:
    """Vanish without a goodbye."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# --- what strangers do ----------------------------------------------------------------------------------------------


def garbage(server: Server) -> None:
    """Random bytes, with line ends here and there."""
    chance = random.Random(1)
    for number in range(40):
        sock = connect(server, number)
        pour(sock, chance.randbytes(300_000).replace(b"\x00", b"\n"))
        last_words(sock)


def megabyte_lines(server: Server) -> None:
    for number in range(40):
        sock = connect(server, number)
        pour(sock, b'{"id":1,"method":"mining.submit","params":["' + b"x" * (1 << 20))
        last_words(sock)


def cheap_requests(server: Server) -> None:
    """What costs the server little, without end."""
    for line in _CHEAP:
        for known in (False, True):
            sock = begin(server, "flood.m1")[0] if known else connect(server)
            pour(sock, line * (2_000_000 // len(line)))
            last_words(sock)


def worthless_shares(server: Server) -> None:
    """Shares that are none: of jobs never sent, of nobody, and with a hash that is not below the target."""
    for kind in range(6):
        sock, job, ntime = begin(server, "flood.m1", number=kind)
        user = "nobody.m1" if kind % 3 == 1 else "flood.m1"
        job = "dead" if kind % 3 == 2 else job
        pour(sock, b"".join(submit(user, job, ntime, nonce) for nonce in range(20_000)))
        last_words(sock)


def thousand_connects(server: Server) -> None:
    """A thousand connections as fast as they can be made, each ended in another way."""
    started = time.monotonic()
    for number in range(1_000):
        sock = connect(server, number)
        match number % 4:
            case 0:
                sock.close()
            case 1:
                reset(sock)
            case 2:
                sock.sendall(SUBSCRIBE)
                sock.close()
            case _:
                sock.sendall(authorize(f"passer{number}.{'m' * 60}"))
                reset(sock)
    sys.stdout.write(f"1,000 connects in {time.monotonic() - started:.2f} s; ")


def silent(server: Server) -> None:
    """Three hundred connections that say nothing, or a byte now and then, until they are told to go."""
    socks = [connect(server, number) for number in range(300)]
    for byte in b'{"id":1,"method":"min':
        for sock in socks[:100]:
            pour(sock, bytes([byte]))
    told = [last_words(sock) for sock in socks]
    assert all(b"Not authorized in time" in words for words in told)


def deaf_to_jobs(server: Server) -> None:
    """Machines that ask for another target, and so for another job, again and again, and never read one."""
    wishes = b"".join(
        b'{"id":1,"method":"mining.suggest_difficulty","params":[%b]}\n' % wish
        for wish in (b"1e-6", b"1e-7") * 10
    )
    _never_read(server, lambda _number: authorize("deaf.m1") + wishes * 15, wishes)


def deaf_to_answers(server: Server) -> None:
    """Machines that hand in worthless shares, less than would fill the server's buffer, and never read an answer."""
    shares = b"".join(submit("deaf.m1", "dead", "00000000", nonce) for nonce in range(2_400))
    _never_read(server, lambda _number: authorize("deaf.m1") + shares)


def deaf_to_errors(server: Server) -> None:
    """Connections that talk nonsense and never hear that they are told so."""
    _never_read(server, lambda number: (PING if number % 2 else b"{}\n") * 50_000)


def _never_read(server: Server, says: Callable[[int], bytes], goes_on: bytes = b"") -> None:
    """Say something on thirty connections and stay, deaf, until `leave`."""
    for number in range(30):
        sock = connect(server, number, receive_bytes=2_048)
        _staying.append(sock)
        sock.settimeout(0.2)
        pour(sock, says(number))
    for _ in range(40 if goes_on else 0):
        for sock in _staying:
            pour(sock, goes_on)
        time.sleep(0.1)


_staying: list[socket.socket] = []


def leave() -> None:
    """End the connections that were left open."""
    for sock in _staying:
        sock.close()
    _staying.clear()
