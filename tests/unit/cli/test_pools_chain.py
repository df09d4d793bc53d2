"""`hashwerk pools chain` against a node that answers as Bitcoin Core does."""

from __future__ import annotations

import base64
import csv
import io
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hashwerk.cli import cli
from hashwerk.errors import NodeError
from hashwerk.feeds.pool_accounts.chain_days import read_chain

DAY_1 = 1_750_032_000  # 16 June 2025, 0:00 UTC
TIP = 4_300
RETARGET = 4_032
#: The retarget comes at noon of the first day.
AT_RETARGET = DAY_1 + 43_200


def block_time(height: int) -> int:
    return AT_RETARGET + (height - RETARGET) * 600


def answer(method: str, params: list[Any]) -> Any:
    if method == "getblockcount":
        return TIP
    if method == "getblockhash":
        return f"{params[0]:064x}"
    if method == "getblockheader":
        height = int(params[0], 16)
        bits = "1d00ffff" if height < RETARGET else "1d007fff"  # difficulty 1, then about 2
        return {"height": height, "bits": bits, "mediantime": block_time(height - 5), "difficulty": 0.5}
    assert method == "getblockstats", method
    height, fields = params
    whole = {
        "height": height,
        "time": block_time(height),
        "subsidy": 312_500_000,
        "totalfee": height,
        "txs": 7,
    }
    return {field: whole[field] for field in fields}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[str]:
    cookie = "__cookie__:c00k1e"
    (tmp_path / ".cookie").write_text(cookie)
    expected = "Basic " + base64.b64encode(cookie.encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65_536  # head and body in one packet: else each answer waits for an acknowledgement

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            allowed = self.headers["Authorization"] == expected
            result = answer(request["method"], request["params"]) if allowed else None
            body = json.dumps({"result": result, "error": None, "id": request["id"]}).encode()
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def chain(
    node: str, folder: Path, *arguments: str, first: str = "2025-06-16", last: str = "2025-06-16"
) -> Result:
    command = ["pools", "chain", "--from", first, "--to", last, "--node", node]
    return CliRunner().invoke(cli, [*command, "--cookie-file", str(folder / ".cookie"), *arguments])


def test_the_day_of_a_retarget_has_two_lines_that_reconcile_reads(node: str, tmp_path: Path) -> None:
    result = chain(node, tmp_path)
    assert result.exit_code == 0, result.output
    before, after = list(csv.DictReader(io.StringIO(result.stdout)))
    assert before["day"] == after["day"] == "2025-06-16"
    assert (Decimal(before["difficulty"]), Decimal(after["difficulty"])) == (1, Decimal("2.00003052"))
    heights = range(RETARGET - 72, RETARGET + 72)  # of this day
    assert Decimal(before["fees_high_sat"]) == sum(heights) / Decimal(144)
    assert Decimal(before["fees_low_sat"]) == sum(range(heights[0] - 143, heights[0] + 1)) / Decimal(144)
    path = tmp_path / "chain.csv"
    path.write_text(result.stdout)
    one, two = read_chain(path)(DAY_1, DAY_1 + 86_400)
    assert (one.difficulty, two.difficulty) == (1, Decimal("2.00003052"))
    assert read_chain(path)(DAY_1 + 3_600, DAY_1 + 86_400 + 3_600) == (), "half of that day is not there"


def test_json(node: str, tmp_path: Path) -> None:
    told = json.loads(chain(node, tmp_path, "--json").stdout)
    assert [row["day"] for row in told] == ["2025-06-16", "2025-06-16"]
    assert told[0]["network"]["subsidy_sat"] == 312_500_000


def test_days_that_the_node_does_not_have_are_refused(node: str, tmp_path: Path) -> None:
    result = chain(node, tmp_path, last="2026-06-16")
    assert isinstance(result.exception, NodeError)
    assert "does not yet reach" in str(result.exception)
    young = chain(node, tmp_path, first="2025-05-19", last="2025-05-19")
    assert isinstance(young.exception, NodeError)
    assert "too young" in str(young.exception)


def test_a_node_that_refuses_and_days_that_cannot_be(node: str, tmp_path: Path) -> None:
    (tmp_path / ".cookie").write_text("__cookie__:wrong")
    assert isinstance(chain(node, tmp_path).exception, NodeError)
    assert "lies after" in chain(node, tmp_path, first="2025-06-17").output
