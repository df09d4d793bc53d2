"""RFC 3161 time-stamping authorities for tests: one that writes its responses in DER itself, and OpenSSL's."""

from __future__ import annotations

import hashlib
import subprocess
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def der(tag: int, *parts: bytes) -> bytes:
    """Return a value in DER."""
    body = b"".join(parts)
    size = len(body)
    if size < 128:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def oid(text: str) -> bytes:
    """Return an object identifier in DER."""
    numbers = [int(part) for part in text.split(".")]
    body = bytearray((40 * numbers[0] + numbers[1],))
    for number in numbers[2:]:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(0x80 | number & 0x7F)
        body += bytes(reversed(digits))
    return der(0x06, bytes(body))


def integer(value: int) -> bytes:
    """Return a whole number in DER."""
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


_NULL = der(0x05)
_SHA256 = der(0x30, oid("2.16.840.1.101.3.4.2.1"), _NULL)
_RSA_SHA256 = der(0x30, oid("1.2.840.113549.1.1.11"), _NULL)


class TestAuthority:
    """Stamps documents at any time it is told. For tests only."""

    __test__ = False

    def __init__(self, name: str = "Test root") -> None:
        self._name = name
        self._root_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.root = self._certificate(name, self._root_key, name, authority=True)
        self.leaf = self._certificate("Test authority", self._key, name, authority=False)
        self._serial = 1

    def with_leaf(self, *, may_stamp: bool = True, until: datetime | None = None) -> TestAuthority:
        """Return the same authority with a signing certificate that is not as it should be."""
        other = copy(self)
        other.leaf = self._certificate(
            "Test authority", self._key, self._name, authority=False, may_stamp=may_stamp, until=until
        )
        return other

    def stamp(self, document: bytes, at: datetime) -> bytes:
        """Return a response (RFC 3161, 2.4.2) for a document."""
        self._serial += 1
        imprint = der(0x30, _SHA256, der(0x04, hashlib.sha256(document).digest()))
        info = der(
            0x30, integer(1), oid("1.2.3.4.1"), imprint, integer(self._serial),
            der(0x18, at.astimezone(UTC).strftime("%Y%m%d%H%M%SZ").encode()),
        )  # fmt: skip
        token = der(0x30, oid("1.2.840.113549.1.7.2"), der(0xA0, self._signed_data(info)))
        return der(0x30, der(0x30, integer(0)), token)

    def _signed_data(self, info: bytes) -> bytes:
        leaf = self.leaf.public_bytes(serialization.Encoding.DER)
        content = oid("1.2.840.113549.1.9.16.1.4")
        cert_id = der(0x30, der(0x30, der(0x30, der(0x04, hashlib.sha256(leaf).digest()))))
        attributes = b"".join(
            sorted(
                [
                    der(0x30, oid("1.2.840.113549.1.9.3"), der(0x31, content)),
                    der(
                        0x30, oid("1.2.840.113549.1.9.4"), der(0x31, der(0x04, hashlib.sha256(info).digest()))
                    ),
                    der(0x30, oid("1.2.840.113549.1.9.16.2.47"), der(0x31, cert_id)),
                ]
            )
        )
        signature = self._key.sign(der(0x31, attributes), padding.PKCS1v15(), hashes.SHA256())
        issuer = der(0x30, self.leaf.issuer.public_bytes(), integer(self.leaf.serial_number))
        signer = der(
            0x30, integer(1), issuer, _SHA256, der(0xA0, attributes), _RSA_SHA256, der(0x04, signature)
        )  # fmt: skip
        return der(
            0x30, integer(3), der(0x31, _SHA256), der(0x30, content, der(0xA0, der(0x04, info))), der(0xA0, leaf),
            der(0x31, signer),
        )  # fmt: skip

    def _certificate(
        self,
        name: str,
        key: rsa.RSAPrivateKey,
        issuer: str,
        *,
        authority: bool,
        may_stamp: bool = True,
        until: datetime | None = None,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2008, 1, 1, tzinfo=UTC))
            .not_valid_after(until or datetime(2008, 1, 1, tzinfo=UTC) + timedelta(days=365 * 60))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if not authority and may_stamp:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
            builder = builder.add_extension(usage, critical=True)
        return builder.sign(self._root_key, hashes.SHA256())


_OPENSSL = """
[req]
distinguished_name = name
prompt = no
[name]
CN = Test root of OpenSSL
[authority]
basicConstraints = critical, CA:true
[middle]
basicConstraints = critical, CA:true
[stamper]
extendedKeyUsage = critical, timeStamping
[tsa]
default_tsa = here
[here]
serial = serial
signer_cert = stamper.pem
certs = chain.pem
signer_key = stamper.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_chain = no
"""


class OpensslAuthority:
    """OpenSSL as a time-stamping authority, with a root, one certificate between, and a signing one. For tests only."""

    def __init__(self, folder: Path, key: str = "rsa") -> None:
        self.folder = folder
        (folder / "ts.cnf").write_text(_OPENSSL)
        (folder / "serial").write_text("01\n")
        kind = ["rsa:2048"] if key == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]
        self._run(
            "req -x509 -config ts.cnf -extensions authority -days 3650 -nodes -keyout root.key -out root.pem",
            kind,
        )
        for name, part, above in (("middle", "middle", "root"), ("stamper", "stamper", "middle")):
            self._run(
                f"req -new -config ts.cnf -subj /CN={name} -nodes -keyout {name}.key -out {name}.csr", kind
            )
            self._run(
                f"x509 -req -in {name}.csr -CA {above}.pem -CAkey {above}.key -CAcreateserial -days 3650 -extfile ts.cnf"
                f" -extensions {part} -out {name}.pem"
            )
        (folder / "chain.pem").write_text((folder / "middle.pem").read_text())
        self.root = x509.load_pem_x509_certificate((folder / "root.pem").read_bytes())

    def answer(self, query: bytes) -> bytes:
        """Return the response to a request (RFC 3161, 2.4.1)."""
        (self.folder / "query.tsq").write_bytes(query)
        self._run("ts -reply -config ts.cnf -queryfile query.tsq -out reply.tsr")
        return (self.folder / "reply.tsr").read_bytes()

    def _run(self, command: str, new_key: list[str] | None = None) -> None:
        more = [] if new_key is None else ["-newkey", *new_key]
        subprocess.run(
            ["openssl", *command.split(), *more],
            cwd=self.folder,
            capture_output=True,
            check=True,
            timeout=60,
        )
