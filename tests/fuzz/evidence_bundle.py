"""What must hold for any bundle, whoever made it. The fuzzer looks for one for which it does not.

Input: the first byte says what is changed. 0: the bytes of a good bundle, which is sealed again; else what its owner may
sign: records, shares and headers of its last epoch, closed again. Both verifiers must answer, and say the same.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np

from hashwerk.chain.target import compact_from_target
from hashwerk.errors import EvidenceError
from hashwerk.evidence import keys, records, tree
from hashwerk.evidence.bundle import Claim
from hashwerk.evidence.domains import BUNDLE, SIGN_BUNDLE, tagged
from hashwerk.evidence.epoch import Epoch, Group, root_of_accounts, root_of_group
from hashwerk.evidence.leaf import NO_SUMS, SUM_COLUMNS, encode_record, record_hash, record_sums
from hashwerk.evidence.report import figures
from hashwerk.evidence.verify import verify_bundle
from hashwerk.evidence.verify.run import Options
from support.evidence import ALL_CLAIMS, EvidenceSite, decoded, resign, write_bundle

_SEAL = 9 + 128
_LAST = 3
_EXTREMES = (0, 1, 2, 3, 4, 5, 16, 128, 129, 255, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
_PROGRAM = Path(__file__).resolve().parents[2] / "contrib" / "verifier" / "verify_bundle.py"


@functools.cache
def site() -> EvidenceSite:
    """Return a site that logs a little of everything, whose every fourth share is a block."""
    made = EvidenceSite(
        name="fuzz", shares=6, pool=True, nbits=compact_from_target((1 << 250) - 1), start_us=10**15
    )
    for number in range(1, _LAST + 1):
        start = made.last.header.end_us
        made.epoch(
            [
                records.Command(
                    id=number, at_us=start, command="sleep", group="hall", machines=1, reason="", ordered_w=1,
                    before_w=5, after_w=2, effect_us=None,
                ),
                *made.certificate(f"GC-{number}", start, start + 900_000_000),
                records.LocalFact(name="jobs", value="four"),
                records.Configuration(name="meter/main", value="EM-1"),
                records.Rejected(verdict=1, count=2),
            ]
        )  # fmt: skip
    return made


@functools.cache
def second() -> ModuleType:
    """Return the verifier in contrib/."""
    spec = importlib.util.spec_from_file_location("verify_bundle_fuzzed", _PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def good() -> bytes:
    """Return the bundle from which all others are made."""
    return site().bundle(first=1)


def check(data: bytes) -> None:
    """Raise if the verifiers fall over, or do not say the same, or tell figures of what cannot be read."""
    if len(data) < 2:
        return
    bundle = spliced(data[2:]) if data[0] == 0 else signed(data)
    if bundle is None:
        return
    report = verify_bundle(io.BytesIO(bundle), Options(threads=1))
    assert figures(report) or not report.statement
    read, other = second().verify(bundle)
    assert (read is None) == (not report.statement), (report.failures(), dict(other.failed))
    assert str(report.verdict) == other.verdict(), (
        report.failures(),
        dict(other.failed),
        dict(other.lacking),
    )


def spliced(edits: bytes) -> bytes:
    """Return the good bundle with bytes replaced, put in or taken out, and a seal that fits."""
    body = bytearray(good()[:-_SEAL])
    while len(edits) >= 5:
        at = int.from_bytes(edits[:2], "big") % len(body)
        kind, size = edits[2] % 3, edits[3] % 8 + 1
        body[at : at + (0 if kind == 1 else size)] = b"" if kind == 2 else edits[4 : 4 + size]
        edits = edits[4 + size :]
    digest = hashlib.sha256(body).digest()
    key = site().key
    signature = keys.sign(key, SIGN_BUNDLE, tagged(BUNDLE, digest))
    return bytes(body) + b"\xff" + (128).to_bytes(8, "big") + digest + keys.public_bytes(key) + signature


def signed(data: bytes) -> bytes | None:
    """Return a bundle whose last epoch says what the input wants, closed and signed by its owner."""
    made = site()
    last = made.last
    logged = decoded(last)
    groups = [Group(group.account, group.leaves.copy()) for group in last.groups]
    header: dict[str, object] = {}
    claims = ALL_CLAIMS if data[1] & 1 else Claim(data[1] >> 1 & 31)
    edits = data[2:]
    while len(edits) >= 12:
        kind, which, field, mode, value = edits[0], edits[1], edits[2], edits[3], edits[4:12]
        if kind % 8 == 0 and groups:
            _edit_share(groups[which % len(groups)].leaves, field, mode, value)
        elif kind % 8 == 1:
            name = last.header.__struct_fields__[field % len(last.header.__struct_fields__)]
            header[name] = _other(getattr(last.header, name), mode, value)
        elif logged:
            logged = _edit_record(logged, which % len(logged), field, mode, value)
        edits = edits[12:]
    try:
        return write_bundle(
            made, [*made.epochs[1:_LAST], close(logged, groups, header)], first=1, claims=claims
        )
    except (EvidenceError, TypeError, ValueError, OverflowError):
        return None  # not even its owner can write that


def close(logged: list[records.Record], groups: list[Group], header: dict[str, object]) -> Epoch:
    """Close the last epoch as somebody would who checks nothing."""
    made = site()
    encoded = tuple(encode_record(record) for record in logged)
    nodes = [
        tree.Node(record_hash(data), _sums(record), 1) for data, record in zip(encoded, logged, strict=True)
    ]
    root = tree.root(tree.RECORDS, nodes)
    work = {record.id: min(record.work_log2, 128) for record in logged if isinstance(record, records.Job)}
    roots = [
        (group.account, root_of_group(group, {**dict.fromkeys(group.leaves["job"].tolist(), 0), **work}))
        for group in groups
    ]
    accounts = root_of_accounts(roots)
    own = dict(zip(SUM_COLUMNS, root.sums, strict=True))
    own |= {"records_root": root.hash, "records": root.count, "accounts_root": accounts.hash}
    own |= {"shares": accounts.count, "work": accounts.sums[0], "accounts": len(groups)}
    again = resign(made.last, made.key, **{**own, **header})
    return Epoch(again.signed, encoded, tuple(groups))


def _sums(record: records.Record) -> tuple[int, ...]:
    try:
        return record_sums(record)
    except EvidenceError:
        return NO_SUMS


def _edit_share(leaves: np.ndarray, field: int, mode: int, value: bytes) -> None:
    name = leaves.dtype.names[field % len(leaves.dtype.names)]
    at = mode % len(leaves)
    bits = 8 * leaves.dtype[name].itemsize
    new = _other(int(leaves[name][at]), value[0], value)
    leaves[name][at] = (new if isinstance(new, int) else 0) % (1 << bits)


def _edit_record(
    logged: list[records.Record], which: int, field: int, mode: int, value: bytes
) -> list[records.Record]:
    record = logged[which]
    if mode % 16 == 0:
        return [*logged[:which], *logged[which + 1 :]]
    if mode % 16 == 1:
        at = value[0] % (len(logged) + 1)
        return [*logged[:at], record, *logged[at:]]
    name = record.__struct_fields__[field % len(record.__struct_fields__)]
    old = getattr(record, name)
    if mode % 16 == 2:  # what another record says there
        others = [getattr(one, name) for one in logged if type(one) is type(record)]
        new: object = others[value[0] % len(others)]
    else:
        new = _other(old, mode, value)
    return [*logged[:which], msgspec.structs.replace(record, **{name: new}), *logged[which + 1 :]]


def _other(old: object, mode: int, value: bytes) -> object:
    """Return another value of the same kind."""
    number = int.from_bytes(value, "big")
    if old is None or isinstance(old, int):
        base = old or 0
        near = (base + value[0] % 5 - 2, base + number % 2_000_000, max(base - number % 2_000_000, 0))
        return (*near, _EXTREMES[number % len(_EXTREMES)], number >> 8 * (value[7] % 8), None)[mode % 6]
    if isinstance(old, bytes):
        at = number % max(len(old), 1)
        return old[:at] + value[: 1 + mode % 4] + old[at + 1 + mode % 4 :] if mode % 3 else old[:at]
    if isinstance(old, str):
        return value[: mode % 9].decode("latin-1")
    if isinstance(old, tuple):
        return old[::-1] if mode % 2 else old[: number % (len(old) + 1)]
    return old
