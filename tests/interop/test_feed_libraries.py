"""The libraries that are extras, really called: entsoe-py against a server in the platform's own XML, gridstatus' frames."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from hashwerk.energy.ports import Signal
from hashwerk.errors import FeedError
from hashwerk.feeds.settings import EntsoeFeed, GridstatusFeed

NOW = 1_773_144_000
#: 2026-03-29, the day of summer time in Berlin: 23 hours, in quarters.
BEGIN = int(datetime(2026, 3, 28, 23, tzinfo=UTC).timestamp())
QUARTERS = 23 * 4


def document(points: list[tuple[int, float]]) -> str:
    rows = "".join(
        f"<Point><position>{position}</position><price.amount>{amount}</price.amount></Point>"
        for position, amount in points
    )
    return f"""<?xml version="1.0" encoding="utf-8"?>
<Publication_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3">
  <mRID>1</mRID><revisionNumber>1</revisionNumber><type>A44</type>
  <createdDateTime>2026-03-28T11:45:00Z</createdDateTime>
  <period.timeInterval><start>2026-03-28T23:00Z</start><end>2026-03-29T22:00Z</end></period.timeInterval>
  <TimeSeries>
    <mRID>1</mRID><auction.type>A01</auction.type><businessType>A62</businessType>
    <in_Domain.mRID codingScheme="A01">10Y1001A1001A82H</in_Domain.mRID>
    <out_Domain.mRID codingScheme="A01">10Y1001A1001A82H</out_Domain.mRID>
    <contract_MarketAgreement.type>A01</contract_MarketAgreement.type>
    <currency_Unit.name>EUR</currency_Unit.name><price_Measure_Unit.name>MWH</price_Measure_Unit.name>
    <curveType>A03</curveType>
    <Period>
      <timeInterval><start>2026-03-28T23:00Z</start><end>2026-03-29T22:00Z</end></timeInterval>
      <resolution>PT15M</resolution>{rows}
    </Period>
  </TimeSeries>
</Publication_MarketDocument>"""


NOTHING = """<?xml version="1.0" encoding="UTF-8"?>
<Acknowledgement_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0">
  <mRID>x</mRID><createdDateTime>2026-03-28T11:45:00Z</createdDateTime>
  <Reason><code>999</code><text>No matching data found for Data item ENERGY_PRICES.</text></Reason>
</Acknowledgement_MarketDocument>"""


class Platform(BaseHTTPRequestHandler):
    """The transparency platform, on loopback."""

    body = ""
    asked: dict[str, list[str]] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        type(self).asked = parse_qs(urlsplit(self.path).query)
        data = self.body.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Platform]]:
    entsoe = pytest.importorskip(
        "entsoe.entsoe", reason="ENTSOE-PY IS NOT INSTALLED: its adapter is not tried"
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), Platform)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(entsoe, "URL", f"http://127.0.0.1:{server.server_port}/api")
    yield Platform
    server.shutdown()
    thread.join(5)
    server.server_close()


def fetch(tmp_path: Path) -> object:
    from hashwerk.feeds.entsoe import Entsoe

    (tmp_path / "key").write_text("secret-key")
    feed = Entsoe(EntsoeFeed(name="entsoe", area="DE_LU", key_file=str(tmp_path / "key")))
    return asyncio.run(feed.fetch(BEGIN, BEGIN + 23 * 3_600, NOW))


@pytest.mark.filterwarnings("ignore")
def test_a_day_of_summer_time_has_its_92_quarters(platform, tmp_path):
    # Curve type A03 leaves out what is as before: position 5 holds until 9.
    points = [(n, float(n)) for n in range(1, QUARTERS + 1) if n not in (6, 7, 8)]
    platform.body = document(points)
    series = fetch(tmp_path)[Signal.PRICE].as_of(NOW)
    assert series.info.resolution_s == 900
    assert len(series) == QUARTERS
    assert int(series.starts_s[0]) == BEGIN
    assert [series.values[n] for n in (0, 4, 5, 7, 8, 91)] == [1, 5, 5, 5, 9, 92]


@pytest.mark.filterwarnings("ignore")
def test_no_matching_data_is_one_clear_error_without_the_key(platform, tmp_path):
    platform.body = NOTHING
    with pytest.raises(FeedError) as caught:
        fetch(tmp_path)
    assert "secret-key" not in str(caught.value)
    assert platform.asked["securityToken"] == ["secret-key"]


@pytest.mark.filterwarnings("ignore")
def test_frames_of_gridstatus_are_read_and_renamed_columns_noticed():
    pytest.importorskip("gridstatus", reason="GRIDSTATUS IS NOT INSTALLED: its adapter is not tried")
    pandas = importlib.import_module("pandas")
    from hashwerk.feeds.gridstatus import Gridstatus

    feed = Gridstatus(GridstatusFeed(name="ercot", grid="ERCOT", location="HB_HUBAVG"))
    starts = pandas.date_range("2026-03-08 00:00", periods=4, freq="h", tz="US/Central")
    frame = pandas.DataFrame(
        {
            "Time": starts,
            "Interval Start": starts,
            "Interval End": starts + pandas.Timedelta(hours=1),
            "Location": ["HB_HUBAVG", "HB_HUBAVG", "LZ_HOUSTON", "HB_HUBAVG"],
            "SPP": [20.5, float("nan"), 9_000.0, -3.0],
        }
    )
    rows = feed._rows(frame)
    first = int(starts[0].timestamp())
    assert rows == [
        (first, first + 3_600, 20.5),
        (first + 3_600, first + 7_200, None),
        (first + 10_800, first + 14_400, -3.0),
    ]
    with pytest.raises(FeedError, match="lacks the column 'SPP'"):
        feed._rows(frame.rename(columns={"SPP": "Settlement Point Price"}))
