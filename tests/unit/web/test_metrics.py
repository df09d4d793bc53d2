import math

from prometheus_client.parser import text_string_to_metric_families

from hashwerk.web.metrics import render_metrics


def read(view, clock):
    text = render_metrics(view, clock).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_before_the_first_report_only_that_is_told(view, clock):
    assert read(view, clock) == {("hashwerk_serving", ()): 0.0}


def test_tells_the_mine(view, clock, web_site):
    view.receive(web_site.sample(clock.now))
    clock.advance(2)
    samples = read(view, clock)
    assert samples["hashwerk_serving", ()] == 1
    assert samples["hashwerk_snapshot_age_seconds", ()] == 2
    assert samples["hashwerk_shares_total", (("verdict", "accepted"),)] == 41_207
    assert samples["hashwerk_shares_total", (("verdict", "stale"),)] == 58
    assert samples["hashwerk_blocks", (("state", "mature"),)] == 311
    assert samples["hashwerk_blocks", (("state", "rejected"),)] == 0
    assert samples["hashwerk_sessions", ()] == 3
    assert samples["hashwerk_node_height", ()] == 412
    assert samples["hashwerk_node_healthy", ()] == 1
    assert samples["hashwerk_template_age_seconds", ()] == 33
    assert samples["hashwerk_submit_latency_seconds", (("quantile", "0.99"),)] == 0.0012
    assert samples["hashwerk_worker_shares_total", (("verdict", "accepted"), ("worker", "demo.cpu"))] == 1_525
    low, rate, high = (
        samples[f"hashwerk_hashrate{bound}_hashes_per_second", (("window", "10m"),)]
        for bound in ("_low", "", "_high")
    )
    assert low < rate < high


def test_what_is_not_known_is_left_out_and_never_zero(view, clock, web_site):
    view.receive(web_site.empty(clock.now))
    names = {name for name, _ in read(view, clock)}
    assert "hashwerk_hashrate_hashes_per_second" not in names
    assert "hashwerk_submit_latency_seconds" not in names
    assert "hashwerk_expected_block_seconds" not in names
    assert "hashwerk_template_age_seconds" in names


def test_an_unbounded_interval_is_infinite(view, clock, web_site):
    view.receive(web_site.sample(clock.now, hashrate={"1m": web_site.Rate(0.0, 0.0, math.inf, 0)}))
    assert read(view, clock)["hashwerk_hashrate_high_hashes_per_second", (("window", "1m"),)] == math.inf
