"""The sections on energy and dispatch: mistakes are found with their line and a hint."""

from __future__ import annotations

import pytest

from hashwerk.config.problems import InvalidConfigError, Problem
from hashwerk.config.site import parse_site


def problems(text: str) -> dict[str, Problem]:
    with pytest.raises(InvalidConfigError) as caught:
        parse_site(text)
    return {problem.path: problem for problem in caught.value.problems}


def test_nothing_is_commanded_until_the_file_says_so() -> None:
    dispatch = parse_site("[site]\n").dispatch
    assert (dispatch.enabled, dispatch.controls) == (True, False)


def test_a_site_with_feeds_a_tariff_and_limits() -> None:
    config = parse_site(
        '[[feed]]\nkind = "energy-charts"\nname = "Day ahead"\nzone = "SE2"\nwatch = { when_stale = "last" }\n'
        '[[feed]]\nkind = "exchange"\nname = "Kraken"\ncurrency = "EUR"\n'
        '[energy.tariff]\nname = "hydro-quebec-cb-large"\n'
        '[dispatch]\ncurrency = "CAD"\npolicy = "strike"\nstrike_per_mwh = 60\n[dispatch.limits]\nfeeders_kw = { F1 = 400 }\n'
        '[policy]\njurisdictions = ["EU", "SE"]\n'
    )
    assert [feed.name for feed in config.feed] == ["Day ahead", "Kraken"]
    assert config.feed[0].watch.when_stale == "last"
    assert config.dispatch.limits.feeders_kw == {"F1": 400}
    assert config.policy.jurisdictions == ("EU", "SE")


@pytest.mark.parametrize(
    ("text", "path", "line", "words"),
    [
        ("[dispatch]\npolicy = 'fastest'\n", "dispatch.policy", 2, "fastest"),
        ("[dispatch]\npolicy = 'carbon budget'\n", "dispatch", 1, "carbon_budget_t_per_day"),
        ("[dispatch.limits]\nfeeders_kw = { A = 0 }\n", "dispatch.limits", 1, "above 0"),
        ("[dispatch.safety]\nchip_warm_c = 110\n", "dispatch.safety", 1, "below chip_hot_c"),
        ("[energy.tariff]\nname = 'no such'\n", "energy.tariff.name", 2, "no such"),
        (
            "[dispatch]\ncurrency = 'EUR'\n[energy.tariff]\nname = 'sichuan-time-of-use'\n",
            "dispatch.currency",
            2,
            "is in CNY",
        ),
        (
            "[energy.tariff]\nname = 'kazakhstan-mining-2023'\ncircumstances = ['love']\n[dispatch]\ncurrency = 'KZT'\n",
            "energy.tariff.name",
            2,
            "it knows: no meter, own power, own renewables",
        ),
        ("[dispatch]\ncontrols = true\n[fleet]\nranges = ['10.0.0.1']\n", "dispatch.controls", 2, "fleet"),
        ("[policy]\nrules = '/nowhere.toml'\n", "policy.rules", 2, "nowhere"),
        (
            "[[feed]]\nkind = 'typical'\nname = 'A'\n[[feed]]\nkind = 'typical'\nname = 'A'\n",
            "feed[1].name",
            6,
            "two feeds",
        ),
    ],
)
def test_a_mistake_has_its_line_and_says_what_to_do(text: str, path: str, line: int, words: str) -> None:
    found = problems(text)
    assert path in found, found
    assert found[path].line == line
    assert words in f"{found[path].message} {found[path].hint}"
