"""The site file as a whole: what is refused, on which line, with which advice."""

from pathlib import Path

import msgspec
import pytest

from hashwerk.config.problems import InvalidConfigError, Problem
from hashwerk.config.site import SiteConfig, load_site, parse_site

MAIN = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"


def problems(text: str) -> dict[str, Problem]:
    with pytest.raises(InvalidConfigError) as caught:
        parse_site(text)
    return {problem.path: problem for problem in caught.value.problems}


def test_an_empty_file_is_the_built_in_mine() -> None:
    assert parse_site("") == SiteConfig()


def test_a_full_file() -> None:
    config = parse_site(
        f"""
        [site]
        name = "Hall 3"
        payout_address = "{MAIN}"
        [node]
        kind = "core"
        network = "main"
        [node.core]
        urls = ["http://127.0.0.1:8332", "http://127.0.0.1:8333"]
        [stratum]
        port = 3334
        [stratum.limits]
        max_users = 4
        """
    )
    assert config.site.name == "Hall 3"
    assert config.stratum.limits.max_users == 4
    assert len(config.node.core.urls) == 2


def test_listening_beyond_loopback_must_be_meant_and_guarded() -> None:
    found = problems('[stratum]\nhost = "0.0.0.0"\n[web]\nhost = "::"\n')
    assert found["stratum.host"].line == 2
    assert "beyond_loopback" in (found["stratum.host"].hint or "")
    assert found["web.host"].line == 4
    assert "passwd" in (found["web.password_hash"].hint or "")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_loopback_needs_no_leave(host: str) -> None:
    assert parse_site(f'[web]\nhost = "{host}"\n').web.host == host


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "main"),
        (MAIN[:-1] + "5", ""),
        ("", ""),
    ],
)
def test_a_payout_address_is_checked(address: str, words: str) -> None:
    text = f'[site]\npayout_address = "{address}"\n[node]\nkind = "core"\nnetwork = "main"\n'
    problem = problems(text)["site.payout_address"]
    assert problem.line == 2
    assert words in problem.message


def test_core_on_main_needs_an_address() -> None:
    assert "required" in problems('[node]\nkind = "core"\nnetwork = "main"\n')["site.payout_address"].message


def test_the_embedded_node_offers_private_chains_only() -> None:
    assert problems('[node]\nnetwork = "main"\n')["node.network"].line == 2


def test_tls_needs_its_files() -> None:
    found = problems('[stratum]\ntls_port = 3443\ntls_key = "/nowhere"\n')
    assert "required" in found["stratum.tls_certificate"].message
    assert "/nowhere" in found["stratum.tls_key"].message


def test_two_servers_on_one_port() -> None:
    assert "3333" in problems("[web]\nport = 3333\n")["web.port"].message


def test_all_problems_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('[site]\nnmae = "x"\n[stratum]\nport = "a"\n[miner]\nduty = 2\nthreads = 0\n')
    with pytest.raises(InvalidConfigError) as caught:
        load_site(path)
    assert [problem.line for problem in caught.value.problems] == [2, 4, 6, 7]
    assert str(caught.value).startswith(f"{path}: 4 problems")
    assert "did you mean name?" in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError, match="cannot be read"):
        load_site(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidConfigError, match="UTF-8"):
        load_site(tmp_path / "binary.toml")


def test_the_processes_can_read_the_whole_configuration() -> None:
    """Bounds on a setting that may be missing stand inside its type: outside they fail when a process reads its orders."""
    from hashwerk.site.orders import Orders

    orders = Orders(config=parse_site("[twin]\nmachines = 3\n"), data_dir="data", link="link", handover="")
    assert msgspec.json.decode(msgspec.json.encode(orders), type=Orders) == orders


def test_files_of_external_time_are_there(tmp_path: Path) -> None:
    """A root that is missing would silently leave epochs without a stamp."""
    text = (
        '[[evidence.time.authority]]\nurl = "https://tsa.example/tsr"\nroots_file = "{0}"\n'
        '[[evidence.time.witness]]\nurl = "https://witness.example"\nkey = "{1}"\ntoken_file = "{0}"\n'
    )
    there = tmp_path / "file"
    there.write_text("x")
    parse_site(text.format(there, "ab" * 32))
    with pytest.raises(InvalidConfigError) as refused:
        parse_site(text.format(tmp_path / "none", "ab" * 32))
    assert {problem.path for problem in refused.value.problems} == {
        "evidence.time.authority[0].roots_file",
        "evidence.time.witness[0].token_file",
    }


def test_a_word_that_is_none_of_the_choices_is_told_them() -> None:
    with pytest.raises(InvalidConfigError) as caught:
        parse_site('[node]\nnetwork = "testnet"\n', "site.toml")
    (problem,) = caught.value.problems
    assert problem.line == 2
    assert "is none of main, testnet4, signet, regtest; did you mean 'testnet4'?" in problem.message
