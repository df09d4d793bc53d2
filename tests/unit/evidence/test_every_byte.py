"""Every single byte of a good bundle, changed under a seal that is made to fit again: caught, or shown to change no figure."""

import hashlib
import importlib.util
import io
from pathlib import Path

import pytest

from hashwerk.evidence import keys
from hashwerk.evidence.bundle import MAGIC
from hashwerk.evidence.domains import BUNDLE, SIGN_BUNDLE, tagged
from hashwerk.evidence.report import figures
from hashwerk.evidence.verify import Report, Verdict, verify_bundle
from hashwerk.evidence.verify.run import Options
from support.evidence import ACCOUNTS, EPOCH_US, EvidenceSite

OPTIONS = Options(threads=1)
SEAL_SIZE = 9 + 128
#: The manifest from the claims on: a bundle may claim less; whether the period was fixed, when the bundle was made, the
#: names of program and note are the operator's words about his own file, and under his signature.
FREE = range(len(MAGIC) + 9 + 67, len(MAGIC) + 9 + 85)


def small_site() -> EvidenceSite:
    """Return a site with one job, two shares and a reading."""
    site = EvidenceSite(name="small", certificates=False)
    start = site.last.header.end_us
    job = site.job(ACCOUNTS[0], start)
    groups, found = site.hash([job], start, 2)
    assert not found
    site._close(start + EPOCH_US, [job, site.meter(start, start + EPOCH_US)], groups)
    return site


SITE = small_site()
GOOD = SITE.bundle()
BODY = GOOD[:-SEAL_SIZE]


def sealed(body: bytes) -> bytes:
    """Return a bundle of this body with a seal that fits, as the owner of the key can make it."""
    digest = hashlib.sha256(body).digest()
    signature = keys.sign(SITE.key, SIGN_BUNDLE, tagged(BUNDLE, digest))
    return body + b"\xff" + (128).to_bytes(8, "big") + digest + keys.public_bytes(SITE.key) + signature


def flipped(data: bytes, at: int) -> bytes:
    """Return the data with one byte changed, by a change that differs from place to place."""
    return data[:at] + bytes([data[at] ^ (1 + at * 89 % 255)]) + data[at + 1 :]


def verify(data: bytes) -> Report:
    return verify_bundle(io.BytesIO(data), OPTIONS)


def test_the_good_bundle_is_valid() -> None:
    assert sealed(BODY) == GOOD
    assert verify(GOOD).ok


@pytest.mark.parametrize("part", range(8))
def test_whatever_is_changed_and_sealed_again_is_caught_or_changes_no_figure(part: int) -> None:
    shown = figures(verify(GOOD))
    for at in range(part, len(BODY), 8):
        report = verify(sealed(flipped(BODY, at)))
        if report.verdict != Verdict.INVALID:
            assert at in FREE, (at, report.failures())
            assert figures(report) == shown


def test_whatever_is_changed_under_the_old_seal_is_caught() -> None:
    """The seal itself byte by byte; of the rest some, since they all lead to another digest."""
    for at in (*range(0, len(BODY), 25), *range(len(BODY), len(GOOD))):
        assert verify(flipped(GOOD, at)).verdict == Verdict.INVALID, at


def test_the_second_verifier_catches_the_same_bytes() -> None:
    program = Path(__file__).resolve().parents[3] / "contrib" / "verifier" / "verify_bundle.py"
    spec = importlib.util.spec_from_file_location("verify_bundle_bytes", program)
    assert spec
    assert spec.loader
    second = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(second)
    for at in (*range(0, len(BODY), 6), *FREE):
        bad = sealed(flipped(BODY, at))
        _, report = second.verify(bad)
        assert report.verdict() == str(verify(bad).verdict), (at, dict(report.failed), dict(report.lacking))
