"""Servers of external time for tests, on this computer: an OpenTimestamps calendar and an RFC 3161 authority over HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

from opentimestamps.core.notary import BitcoinBlockHeaderAttestation, PendingAttestation
from opentimestamps.core.op import OpAppend, OpPrepend, OpSHA256
from opentimestamps.core.serialize import BytesSerializationContext
from opentimestamps.core.timestamp import Timestamp

from hashwerk.chain.header import BlockHeader

Answer = tuple[int, bytes]


class Calendar:
    """Takes digests, salts them, and proves them by a merkle tree once a block holds its root.

    As the calendars of the project do: POST /digest gives a pending attestation of a salted hash, GET /timestamp/HASH says 404
    until then and gives the way to the block afterwards.
    """

    def __init__(self) -> None:
        self.url = ""
        self.refusals = 0  # so many requests are answered with 503 first
        self.asked = 0
        self._lock = Lock()
        self._commitments: list[bytes] = []
        self._proofs: dict[bytes, bytes] = {}

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Answer a request."""
        with self._lock:
            self.asked += 1
            if self.refusals:
                self.refusals -= 1
                return 503, b"later"
            if (method, path) == ("POST", "/digest") and len(body) <= 64:
                return 200, self._take(body)
            if method == "GET" and path.startswith("/timestamp/"):
                proof = self._proofs.get(bytes.fromhex(path.removeprefix("/timestamp/")))
                return (404, b"Pending confirmation in Bitcoin blockchain") if proof is None else (200, proof)
            return 404, b""

    def _take(self, digest: bytes) -> bytes:
        timestamp = Timestamp(digest)
        committed = timestamp.ops.add(OpAppend(os.urandom(16))).ops.add(OpSHA256())
        committed.attestations.add(PendingAttestation(self.url))
        self._commitments.append(committed.msg)
        return _serialized(timestamp)

    def root(self) -> bytes:
        """Return the merkle root over what was taken, for the block that is to hold it."""
        return self._tree(prove_at=None)

    def mined(self, height: int) -> None:
        """A block at a height holds the root: from now on the way there is given out."""
        with self._lock:
            self._tree(prove_at=height)

    def _tree(self, prove_at: int | None) -> bytes:
        leaves = [Timestamp(commitment) for commitment in self._commitments]
        level = leaves
        while len(level) > 1:
            above = []
            for left, right in zip(level[::2], level[1::2], strict=False):
                joined = left.ops.add(OpAppend(right.msg))
                right.ops[OpPrepend(left.msg)] = joined
                above.append(joined.ops.add(OpSHA256()))
            level = above + ([level[-1]] if len(level) % 2 else [])
        if prove_at is not None:
            level[0].attestations.add(BitcoinBlockHeaderAttestation(prove_at))
            self._proofs = {leaf.msg: _serialized(leaf) for leaf in leaves}
        return bytes(level[0].msg)


def _serialized(timestamp: Timestamp) -> bytes:
    context = BytesSerializationContext()
    timestamp.serialize(context)
    return bytes(context.getbytes())


def block_with(root: bytes, before: BlockHeader, nbits: int, time_s: int) -> BlockHeader:
    """Return a header that follows another and holds a merkle root; for targets that a few tries meet."""
    for nonce in range(1_000):
        header = BlockHeader(1, before.hash(), root, time_s, nbits, nonce)
        if header.hash()[31] < 128:
            return header
    raise AssertionError("no header")


@contextmanager
def served(answer: Callable[[str, str, bytes], Answer]) -> Iterator[str]:
    """Serve answers over HTTP on this computer; yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say("GET")

        def do_POST(self) -> None:
            self._say("POST")

        def _say(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            status, said = answer(method, self.path, body)
            self.send_response(status)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
