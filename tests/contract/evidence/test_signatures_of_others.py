"""RFC 3161 stamps and meters' OCMF signatures, which both verifiers check: each by its own means, with the same word."""

import importlib.util
import io
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hashwerk.evidence import records
from hashwerk.evidence.bundle import Claim, Stamp, StampKind
from hashwerk.evidence.stamps import stamped_document
from hashwerk.evidence.verify import verify_bundle
from hashwerk.evidence.verify.run import Options
from support.evidence import ALL_CLAIMS, EPOCH_US, EditedSite, EvidenceSite
from support.timestamping import OpensslAuthority, TestAuthority

PROGRAM = Path(__file__).resolve().parents[3] / "contrib" / "verifier" / "verify_bundle.py"
SITE = EvidenceSite(name="stamped", shares=6).run(4)
AT = datetime.fromtimestamp(SITE.last.header.end_us / 1e6 + 30, UTC)
DOCUMENT = stamped_document(SITE.last.header)


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_bundle_signatures", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


second = load()


@pytest.fixture(scope="module")
def authority() -> TestAuthority:
    return TestAuthority()


def judged(data: bytes, *roots: x509.Certificate) -> list[tuple[str, set[str]]]:
    """Return verdict and failed checks of both."""
    report = verify_bundle(io.BytesIO(data), Options(threads=1, tsa_roots=roots))
    ders = [root.public_bytes(serialization.Encoding.DER) for root in roots]
    _, other = second.verify(data, roots=ders)
    return [
        (str(report.verdict), {check.name for check in report.failures()}),
        (other.verdict(), set(other.failed) | set(other.lacking)),
    ]


def stamped(response: bytes, claims: Claim = ALL_CLAIMS | Claim.TIME) -> bytes:
    return SITE.bundle(claims=claims, stamps=(Stamp(epoch=4, kind=StampKind.RFC3161, data=response),))


def word(verdict: str, *names: str) -> list[tuple[str, set[str]]]:
    return [(verdict, set(names))] * 2


def test_a_stamp_under_a_pinned_root_gives_the_time(authority: TestAuthority) -> None:
    data = stamped(authority.stamp(DOCUMENT, AT))
    assert judged(data, authority.root) == word("valid")
    assert judged(data) == word("incomplete", "external time"), "nobody pinned anybody"
    root = authority.root.public_bytes(serialization.Encoding.DER)
    bundle, report = second.verify(data, roots=[root])
    assert report.done["external time"] == "attested by an RFC 3161 authority"
    assert bundle is not None


def test_a_stamp_of_an_authority_that_nobody_pinned_shows_nothing(authority: TestAuthority) -> None:
    other = TestAuthority("Somebody else")
    data = stamped(other.stamp(DOCUMENT, AT))
    assert judged(data, authority.root) == word("incomplete", "external time")
    assert judged(data, authority.root, other.root) == word("valid")
    assert judged(stamped(other.stamp(DOCUMENT, AT), ALL_CLAIMS), authority.root) == word("valid"), "no claim"


def test_a_stamp_that_only_bears_the_name_of_the_authority_is_a_forgery(authority: TestAuthority) -> None:
    assert judged(stamped(TestAuthority().stamp(DOCUMENT, AT)), authority.root) == word(
        "invalid", "external time"
    )


def spoiled(response: bytes, what: str, authority: TestAuthority) -> bytes:
    """Return a response with one byte changed: of the time it says, of its signature, or of its certificate."""
    certificate = authority.leaf.public_bytes(serialization.Encoding.DER)
    at = {
        "time": response.index(AT.strftime("%Y%m%d%H%M%SZ").encode()) + 13,
        "signature": len(response) - 1,
        "certificate": response.index(certificate) + len(certificate) - 1,
    }[what]
    return response[:at] + bytes([response[at] ^ 1]) + response[at + 1 :]


@pytest.mark.parametrize("what", ["time", "signature", "certificate"])
def test_a_stamp_that_was_edited_is_refused(what: str, authority: TestAuthority) -> None:
    data = stamped(spoiled(authority.stamp(DOCUMENT, AT), what, authority))
    assert judged(data, authority.root) == word("invalid", "external time")


def test_a_stamp_from_before_the_epoch_s_end_is_refused(authority: TestAuthority) -> None:
    early = datetime.fromtimestamp(SITE.last.header.start_us / 1e6, UTC)
    data = stamped(authority.stamp(DOCUMENT, early))
    assert judged(data, authority.root) == word("invalid", "external time")


def test_a_certificate_that_is_not_for_stamping_or_not_in_force_is_refused(authority: TestAuthority) -> None:
    for broken in (
        authority.with_leaf(may_stamp=False),
        authority.with_leaf(until=datetime(2009, 1, 1, tzinfo=UTC)),
    ):
        assert judged(stamped(broken.stamp(DOCUMENT, AT)), authority.root) == word("invalid", "external time")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="NO openssl: another make's stamps are NOT tried")
@pytest.mark.parametrize("key", ["rsa", "ec"])
def test_a_response_of_openssl(key: str, tmp_path: Path) -> None:
    """A real authority of another make, with a chain of its own: what it stamps now is later than the epoch."""
    openssl = OpensslAuthority(tmp_path, key)
    query = subprocess.run(
        ["openssl", "ts", "-query", "-data", "/dev/stdin", "-sha256", "-cert"], input=DOCUMENT, capture_output=True,
        check=True, timeout=30,
    ).stdout  # fmt: skip
    data = stamped(openssl.answer(query))
    assert judged(data, openssl.root) == word("valid")
    assert judged(data, TestAuthority().root) == word("incomplete", "external time")


# Meters

KEY = ec.generate_private_key(ec.SECP256K1())
DER = KEY.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)


def ocmf(meter: records.Meter, key: ec.EllipticCurvePrivateKey = KEY, **said: object) -> records.Meter:
    """Return a reading as its meter signs it: the register's end in kWh."""
    reading = {"RV": meter.end_wh / 1000, "RU": "kWh"} | {k: v for k, v in said.items() if k != "MS"}
    payload = msgspec.json.encode({"FV": "1.0", "MS": said.get("MS", meter.serial), "RD": [reading]})
    signature = key.sign(payload, ec.ECDSA(hashes.SHA256())).hex().encode()
    return msgspec.structs.replace(
        meter,
        signed_by="OCMF",
        signed_data=b"OCMF|" + payload + b'|{"SD":"' + signature + b'"}',
        signer_key=DER,
    )


def metered(edit: Callable[[records.Meter], records.Meter]) -> bytes:
    def all_meters(_: int, logged: list[records.Record]) -> list[records.Record]:
        return [edit(found) if isinstance(found, records.Meter) else found for found in logged]

    return EditedSite(all_meters, shares=6).run(4).bundle(claims=Claim.ENERGY)


def test_readings_that_the_meter_signed_are_attested_in_both() -> None:
    data = metered(ocmf)
    assert judged(data) == word("valid")
    report = verify_bundle(io.BytesIO(data), Options(threads=1))
    ours = next(check.label for check in report.checks if check.name == "meters")
    theirs = second.verify(data)[1].done["meters"]
    assert ours.startswith("attested by meter EM-1")
    assert theirs.startswith("attested by meters")


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: ocmf(m, RV=1.0),
        lambda m: ocmf(m, MS="EM-9"),
        lambda m: ocmf(m, RU="J"),
        lambda m: ocmf(m, ec.generate_private_key(ec.SECP256K1())),
        lambda m: msgspec.structs.replace(ocmf(m), signed_data=b"OCMF|{}"),
        lambda m: msgspec.structs.replace(ocmf(m), signed_data=b"OCMF|{}|{}"),
        lambda m: msgspec.structs.replace(ocmf(m), signed_data=ocmf(m).signed_data.replace(b'"1.0"', b'"1.1"')),
        lambda m: msgspec.structs.replace(ocmf(m), signer_key=DER[:-1]),
    ],
    ids=["other-wh", "other-meter", "no-unit", "other-key", "cut", "empty", "payload-edited", "key-cut"],
)  # fmt: skip
def test_a_reading_that_its_meter_did_not_sign_so_is_refused_by_both(
    edit: Callable[[records.Meter], records.Meter],
) -> None:
    assert judged(metered(edit)) == word("invalid", "meters")


def test_a_curve_that_the_second_verifier_cannot_judge_leaves_it_incomplete() -> None:
    key = ec.generate_private_key(ec.BrainpoolP512R1())
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    data = metered(lambda meter: msgspec.structs.replace(ocmf(meter, key), signer_key=der))
    assert judged(data) == [("valid", set()), ("incomplete", {"meters"})]


def test_one_reading_that_nobody_signed_makes_them_asserted() -> None:
    first = SITE.start_us + EPOCH_US
    data = metered(lambda meter: meter if meter.end_us == first else ocmf(meter))
    assert judged(data) == word("valid")
    assert second.verify(data)[1].done["meters"] == "asserted"


@pytest.mark.parametrize(
    "curve",
    [
        ec.SECP192R1(), ec.SECP224R1(), ec.SECP256R1(), ec.SECP256K1(), ec.SECP384R1(), ec.SECP521R1(),
        ec.BrainpoolP256R1(), ec.BrainpoolP384R1(),
    ],
    ids=lambda curve: curve.name,
)  # fmt: skip
def test_the_second_verifier_s_own_arithmetic(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signature = key.sign(b"said", ec.ECDSA(hashes.SHA512()))
    assert second.is_signed_by(der, ("sha512", second.EC), b"said", signature)
    assert not second.is_signed_by(der, ("sha512", second.EC), b"sad", signature)
    assert not second.is_signed_by(der, ("sha256", second.EC), b"said", signature)
