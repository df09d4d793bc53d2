import math

import pytest

from hashwerk.web.charts import rate_chart, shares_chart, thin_out
from hashwerk.web.frames import mine_frame
from hashwerk.web.history import RANGES, Point
from hashwerk.web.record_frames import event_rows
from hashwerk.web.words import REJECT_WORDS
from hashwerk.work.share import Verdict

HEADINGS = {
    "rows.workers": 11,
    "rows.blocks": 7,
    "rows.rejects": 4,
    "rows.machines": 4,
    "rows.recent_blocks": 5,
}


@pytest.fixture
def frame(view, clock, web_site):
    view.receive(web_site.sample(clock.now))
    return mine_frame(view, clock.now)


def test_rows_have_a_cell_for_each_column(frame):
    for key, columns in HEADINGS.items():
        assert frame[key], key
        assert {len(row["c"]) for row in frame[key]} == {columns}, key


def test_rows_are_told_apart(frame):
    for key in HEADINGS:
        names = [row["k"] for row in frame[key]]
        assert len(set(names)) == len(names)


def test_a_lost_block_says_why_with_a_shape(frame):
    (lost,) = [row for row in frame["rows.blocks"] if "orphaned" in row["c"][2]["t"]]
    assert lost["c"][2]["t"] == "✕ orphaned: another block at this height won"
    assert lost["c"][3]["t"] == "–"


def test_an_absent_machine_has_no_rate_rather_than_zero(frame):
    (away,) = [row for row in frame["rows.workers"] if row["c"][0]["t"] == "home.nano-garage"]
    assert [cell["t"] for cell in away["c"][1:7]] == ["○ away", "–", "–", "–", "–", "–"]


def test_many_rejects_are_marked(frame, view, clock, web_site):
    assert frame["shares.state"] == ""
    view.receive(web_site.sample(clock.now, rejected={"stale": 5_000}))
    assert mine_frame(view, clock.now)["shares.state"] == "attention"


def test_every_reason_of_a_rejection_is_explained():
    assert set(REJECT_WORDS) == {
        verdict.name.lower() for verdict in Verdict if verdict is not Verdict.ACCEPTED
    }


def test_bars_lie_within_their_track(frame):
    for window in ("1m", "10m", "1h", "24h"):
        values = [float(part.split(":")[1].strip(" %")) for part in frame[f"rate.{window}.bar"].split(";")]
        low, high, point = values
        assert 0 <= low < high <= 100
        assert 0 < point < 100


def test_a_rate_without_shares_draws_no_bar(view, clock, web_site):
    view.receive(web_site.sample(clock.now, hashrate={"1m": web_site.Rate(0.0, 0.0, math.inf, 0)}))
    frame = mine_frame(view, clock.now)
    assert frame["rate.1m.bar"] == "display: none"
    assert frame["rate.band"] == "No share has come yet."
    assert frame["rate.10m.figure"] == "–"


def test_events_show_who_what_and_when(web_site, clock):
    rows = event_rows(web_site.SampleLedger(clock.now).events(1))
    assert rows == [
        {
            "k": 240,
            "c": [
                {"e": clock.now},
                "block accepted",
                "block 412 was accepted",
                "height 412, worker demo.cpu",
            ],
        }
    ]


def test_the_chart_draws_a_band_and_leaves_gaps(clock):
    points = [Point(0.0, 10.0, 8.0, 13.0, 5, 1), Point(60.0), Point(120.0, 0.0, 0.0, None, 0, 0)]
    found = [clock.now - 10, clock.now - 3_599, clock.now - 3_601, clock.now - 9]
    options = rate_chart(points, RANGES[0], found, clock.now)
    low, width, rate, blocks = (series["data"] for series in options["series"])
    assert low == [[30_000, 8.0], [90_000, None], [150_000, 0.0]]
    assert width == [[30_000, 5.0], [90_000, None], [150_000, None]]
    dot = {"symbol": "circle", "symbolSize": 5}  # a line would not show a step between gaps
    assert rate == [{"value": [30_000, 10.0], **dot}, [90_000, None], {"value": [150_000, 0.0], **dot}]
    assert [at / 1000 for at, _ in blocks] == [
        clock.now - 3_599,
        clock.now - 10,
    ]  # 9 s ago lies upon 10 s ago


def test_marks_are_thinned_to_what_can_be_seen():
    times = thin_out(range(10_000), 5_000, 100)
    assert times == list(range(5_000, 10_000, 100))


def test_no_bar_is_drawn_for_nothing():
    options = shares_chart([Point(0.0, 10.0, 8.0, 13.0, 5, 0), Point(60.0)], RANGES[0], 3_600.0)
    accepted, rejected = (series["data"] for series in options["series"])
    assert accepted == [[30_000, 5], [90_000, None]]
    assert rejected == [[30_000, None], [90_000, None]]


def test_a_young_mine_does_not_claim_a_full_window(view, clock, web_site):
    view.receive(web_site.sample(clock.now, started_at=clock.now - 30))
    assert mine_frame(view, clock.now)["rate.window"] == "measured over 10 min, or since the mine began"
    view.receive(web_site.sample(clock.now, started_at=clock.now - 601))
    assert mine_frame(view, clock.now)["rate.window"] == "measured over 10 min"
