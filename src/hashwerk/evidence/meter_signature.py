"""Signatures that meters make themselves. What is supported: OCMF, with ECDSA over a NIST or Koblitz curve.

OCMF (Open Charge Metering Format, version 1.0) is a line ``OCMF|payload|signature`` of JSON: the payload names the
meter's serial (MS) and its readings (RD: value RV, unit RU), the signature is hexadecimal DER over SHA-256 of the
payload's bytes as they stand.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hashwerk.errors import EvidenceError
from hashwerk.evidence.keys import key_hash
from hashwerk.evidence.records import Meter

_UNITS_WH = {"Wh": Decimal(1), "kWh": Decimal(1000), "mWh": Decimal("0.001")}


def check_meter_signature(meter: Meter) -> str | None:
    """Return who signed a reading; None: nobody did, and it is the operator's word.

    Raises:
        EvidenceError: If the signature does not hold or says something else than the record.
    """
    if not meter.signed_by:
        return None
    if meter.signed_by != "OCMF":
        raise EvidenceError(f"unknown format of a meter's signature: {meter.signed_by!r}")
    payload = _verified_payload(meter)
    try:
        document = json.loads(payload, parse_float=Decimal)
        serial, readings = document["MS"], document["RD"]
        last = readings[-1]
        value_wh = Decimal(str(last["RV"])) * _UNITS_WH[last["RU"]]
        agrees = serial == meter.serial and value_wh // 1 == meter.end_wh
    except (ValueError, KeyError, IndexError, TypeError, InvalidOperation, RecursionError) as error:
        raise EvidenceError(f"the signed reading cannot be read: {error!r}") from error
    if not agrees:
        raise EvidenceError(f"the meter signed {value_wh} Wh of {serial!r}, the record says {meter.end_wh}")
    return f"meter {meter.serial} ({key_hash(meter.signer_key).hex()[:16]}…)"


def _verified_payload(meter: Meter) -> bytes:
    parts = meter.signed_data.split(b"|")
    if len(parts) != 3 or parts[0] != b"OCMF":
        raise EvidenceError("not a line of OCMF")
    try:
        key: Any = serialization.load_der_public_key(meter.signer_key)
        signature = bytes.fromhex(json.loads(parts[2])["SD"])
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise EvidenceError("the meter's key is not one of an elliptic curve")
        key.verify(signature, parts[1], ec.ECDSA(hashes.SHA256()))
    except (ValueError, KeyError, TypeError, RecursionError, UnsupportedAlgorithm) as error:
        raise EvidenceError(f"the meter's signature cannot be read: {error!r}") from error
    except InvalidSignature as error:
        raise EvidenceError("the meter's signature does not hold") from error
    return parts[1]
