import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashwerk.web import words

NOW = 1_750_000_000.0


def test_the_sentence_says_what_happens_and_when_a_block_comes(web_site):
    assert words.mining_sentence(web_site.sample(NOW), NOW) == (
        "3 machines hash at 98.2 MH/s on a private testnet4 chain; a block is expected every 44 s;"
        " the last came 31 s ago."
    )


def test_the_sentence_for_a_mine_without_machines(web_site):
    assert words.mining_sentence(web_site.empty(NOW), NOW) == (
        "No machine has connected yet; work for a private testnet4 chain is ready."
    )
    away = web_site.sample(NOW, workers=web_site.workers(NOW)[3:], workers_total=1)
    assert words.mining_sentence(away, NOW).startswith("No machine is connected, 1 is known;")


def test_the_state_grows_worse_in_steps(web_site):
    def state(snapshot, reason=None, stale=False):
        return words.verdict(snapshot, reason, NOW, stale=stale).state

    good = web_site.sample(NOW)
    assert state(None) == "attention"
    assert state(good) == "good"
    assert state(web_site.empty(NOW)) == "good"
    assert state(web_site.sample(NOW, warnings=["disk is nearly full"])) == "attention"
    assert state(web_site.sample(NOW, workers=web_site.workers(NOW)[3:], workers_total=1)) == "attention"
    assert state(good, "the node gives no work") == "act"
    assert state(good, "the server has not reported for 9 s", stale=True) == "act"


def test_a_lost_server_is_named_in_plain_words(web_site):
    says = words.verdict(web_site.sample(NOW), "the server has not reported for 9 s", NOW, stale=True)
    assert says.sentence == "The server has not reported for 9 s; it is started again by itself."


def test_a_private_chain_is_said_to_be_worth_nothing(web_site):
    node = web_site.sample(NOW).node
    assert "its coins are worth nothing" in words.private_notice(node)
    public = web_site.msgspec.structs.replace(node, private=False, network="main")
    assert words.private_notice(public) == ""
    assert words.chain_name(public) == "Bitcoin"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (91.4e6, 105.3e6, "91.4 – 105 MH/s"),
        (0.0, 3.2e6, "0 – 3.20 MH/s"),
        (950e6, 1.2e9, "0.95 – 1.20 GH/s"),
        (5e6, 1.5e9, "0.01 – 1.50 GH/s"),
        (120.0, 480.0, "120 – 480 H/s"),
        (0.0, math.inf, "–"),
    ],
)
def test_intervals_have_one_unit(low, high, text):
    assert words.format_interval(low, high) == text


@given(st.floats(1e-3, 1e22), st.floats(1.0001, 50))
def test_intervals_keep_their_order(low, factor):
    text = words.format_interval(low, low * factor)
    first, _, second = text.split(" ")[:3]
    assert float(first) <= float(second) * 1.01


@pytest.mark.parametrize(
    ("difficulty", "text"),
    [
        (None, "–"),
        (2.0**-10, "1/1,024"),
        (1, "1"),
        (1.0, "1"),
        (16_384, "16,384"),
        (110.5e12, "110 T"),
        (1e-5 * 3, "3e-05"),
    ],
)
def test_difficulties(difficulty, text):
    assert words.format_difficulty(difficulty) == text


def test_amounts_are_exact(web_site):
    node = web_site.sample(NOW).node
    assert words.format_coins(5_000_000_001, node) == "50.00000001 tBTC"
    assert words.format_coins(1, web_site.msgspec.structs.replace(node, network="main")) == "0.00000001 BTC"


def test_missing_values_are_dashes_and_not_zeros():
    assert words.format_age(None, NOW) == "–"
    assert words.format_ms(None) == "–"
    assert words.format_work(None) == "–"
    assert words.format_share_of(0, 0) == "–"
    assert words.format_rate_interval(None) == "–"


def test_small_things():
    assert words.format_age(NOW - 0.4, NOW) == "now"
    assert words.format_age(NOW + 5, NOW) == "now"
    assert words.format_ms(0.045) == "45 µs"
    assert words.format_ms(1500) == "1.50 s"
    assert words.format_share_of(1, 3) == "33 %"
    assert words.format_share_of(1, 600) == "0.17 %"


def test_figures_stay_with_their_units():
    text = "3 machines hash at 98.2 MH/s; expected every 1 min 34 s; the last came 47 s ago"
    assert words.keep_units(text) == (
        "3 machines hash at 98.2\u00a0MH/s; expected every 1\u00a0min 34\u00a0s; the last came 47\u00a0s ago"
    )
