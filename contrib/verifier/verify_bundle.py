#!/usr/bin/env python3
"""Verify an evidence bundle with the standard library and an Ed25519 library.

A second reading of `docs/evidence/specification.md` ("section N" below), kept apart from Hashwerk's own code so that
neither can hide a mistake of the other. Clarity before speed.

    python verify_bundle.py BUNDLE [BUNDLE …] [--key FINGERPRINT] [--json]   (--help names more)
    python verify_bundle.py PROOF [--epoch HASH] [--randomness HEX] [--json]

Signatures of RFC 3161 stamps and of meters (OCMF) are checked here by plain arithmetic: RSA of PKCS #1 v1.5 and ECDSA
over the curves below, with SHA-256, SHA-384 or SHA-512. What is signed otherwise (RSA-PSS, SHA-1, other curves, keys in
compressed form) shows nothing here: where it is claimed, the bundle is incomplete and never valid.
"""

import argparse
import base64
import hashlib
import itertools
import json
import math
import struct
import sys
import unicodedata
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_FILE, MAX_SECTION, MAX_RECORD, MAX_SHARES = 1 << 28, 1 << 26, 1 << 22, 1 << 20
SECOND_US = 1_000_000
ZERO = bytes(32)
ANCHOR, TIME, METERS, PAYOUTS = 1, 2, 4, 16  # claims, section 9; 8 asks for nothing that could lack
MAIN_GENESIS = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
BEST_MACHINE_MJ_PER_TH = 9_500

# Section 14: the checks in their order, and what each is worth.
LABELS = {
    "container": "proven", "seal": "proven", "pinned key": "asserted", "key chain": "proven", "epoch chain": "proven",
    "standing": "proven", "scale": "asserted", "records": "proven", "shares": "proven", "duplicates": "proven", "sums": "proven",
    "binding": "proven", "anchor": "proven", "time bounds": "asserted", "external time": "asserted", "uniformity": "proven",
    "chain": "asserted", "meters": "asserted", "meter coverage": "asserted", "energy bound": "asserted",
    "sources": "asserted", "attribution": "proven", "blocks": "proven", "payouts": "proven", "receipts": "proven",
    "other bundles": "proven",
}  # fmt: skip

# Records (records.md). uN: N bytes; i8: signed; b32, b64: as they are; ? optional; * list, of pairs where there is a +.
RECORDS = {
    1: "Job id:u4 account:b32 work_log2:u1 height:u4 prev_hash:b32 nbits:u4 version:u4 version_mask:u4 min_time:u4 max_time:?u4"
    " ntime:u4 coinbase1:bytes coinbase2:bytes branch:*b32 extranonce1_size:u1 extranonce2_size:u1 coinbase_value_sat:u8"
    " template_hash:b32 source:text upstream:u1 site_key:b32 epoch_root:b32 created_us:u8",
    2: "Meter meter:text serial:text multiplier_ppm:u8 direction:u1 start_us:u8 end_us:u8 start_wh:u8 end_wh:u8 quality:u1"
    " signed_by:text signed_data:bytes signer_key:bytes",
    3: "SourceInterval name:text source:u1 start_us:u8 end_us:u8 wh:u8 certificate:text meter:text",
    4: "Certificate id:text registry:text source:u1 start_us:u8 end_us:u8 wh:u8 beneficiary:text registry_key:bytes"
    " signature:bytes",
    5: "Command id:u8 at_us:u8 command:text group:text machines:u4 reason:text ordered_w:?u8 before_w:?u8 after_w:?u8"
    " effect_us:?u8",
    6: "Inventory group:text make:text model:text machines:u4 nominal_hs:u8 declared_mj_per_th:u4 learned_mj_per_th:?u4"
    " learned_low_mj_per_th:?u4 learned_high_mj_per_th:?u4",
    7: "AttributionRule rule:text parameters:text",
    8: "PayoutRule scheme:text fee_ppm:u4 window_ppm:u8 threshold_sat:u8",
    9: "Payout block_hash:b32 height:u4 at_us:u8 position:u4 reward_sat:u8 fee_sat:u8 state:u1 entries:*b32+u8",
    10: "KeyRecord event:b32",
    11: "Scale factor:u8 basis:text",
    12: "Configuration name:text value:text",
    13: "Block hash:b32 height:u4 found_us:u8 reward_sat:u8 job:u4 state:u1",
    14: "Grid factors:text vintage:text start_us:u8 end_us:u8 location_mg_per_kwh:u8 residual_mg_per_kwh:u8 carbon_free_ppm:u4"
    " price_micro_per_mwh:?i8 currency:text",
    15: "Site name:text network:text private:u1",
    16: "PrefixTable upstream:text work_log2:u1 prefixes:*bytes+b32",
    17: "PoolStatement upstream:text start_us:u8 end_us:u8 shares:u8 paid_sat:u8 document:b32",
    18: "LocalFact name:text value:text",
    19: "Thinning work_log2:u1",
    20: "Rejected verdict:u1 count:u8",
    21: "AccountScale account:b32 factor:u8 basis:text",
}
KEY_EVENT = "KeyEvent kind:u1 previous:b32 key:b32 next_hash:b32 recovery:b32 from_epoch:u8 at:u8 possession:b64 authority:b64"
HEADER = (
    "Header version:u1 site:b32 number:u8 start:u8 end:u8 previous:b32 key:b32 key_events:b32 standing_root:b32 accounts_root:b32"
    " accounts:u4 shares:u8 work:u16 records_root:b32 records:u8 import_wh:u8 export_wh:u8 correction_up_wh:u8"
    " correction_down_wh:u8 certificate_wh:u8 payout_sat:u8 full_root:b32 full_shares:u8 full_work:u16 signature:b64"
)
MANIFEST = (
    "Manifest site:b32 start:u8 end:u8 first:u8 last:u8 claims:u4 fixed:u1 made:u8 software:text note:text"
)
SEAL = "Seal digest:b32 key:b32 signature:b64"
WITNESS = "Witness site:b32 number:u8 epoch:b32 at:u8 key:b32 signature:b64"
RECEIPT = "Receipt site:b32 epoch:u8 account:b32 position:u4 leaf:b32 deadline:u8 path:*u1+b32 key:b32 signature:b64"
# Section 5: what stands, and the field that names it where there may be several.
DECLARATIONS = {6: "group", 7: "", 8: "", 11: "", 12: "name", 15: "", 16: "upstream", 19: "", 21: "account"}


class RefusedError(Exception):
    """Bytes that are not the one spelling of anything."""


class Report:
    """Checks by name, with what failed (a contradiction) and what is lacking."""

    def __init__(self) -> None:
        self.done, self.failed, self.lacking = {}, defaultdict(list), defaultdict(list)

    def fail(self, name, what):
        self.failed[name].append(what)

    def lack(self, name, what):
        self.lacking[name].append(what)

    def need(self, condition, name, what):
        if not condition:
            self.fail(name, what)

    def label(self, name, label):
        self.done[name] = label

    def verdict(self):
        return "invalid" if self.failed else "incomplete" if self.lacking else "valid"

    def rows(self):
        """One row a check, with the verdict that it alone would give."""
        for name, usual in LABELS.items():
            found = self.failed[name] if name in self.failed else self.lacking.get(name, [])
            if name in self.done or found:
                worst = "invalid" if name in self.failed else "incomplete" if found else "valid"
                more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
                yield {
                    "name": name, "ok": not found, "verdict": worst, "label": self.done.get(name, usual),
                    "detail": "; ".join(found[:3]) + more,
                }  # fmt: skip


# Section 1 and 2: hashes, signatures, canonical bytes.


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def hashed(domain, *parts):
    return sha(bytes([domain]), *parts)


def dsha(data):
    return sha(sha(data))


def signed(key, words, message, signature):
    """Say whether `signature` is Ed25519 of the words and the message."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(
            signature, f"hashwerk/sign/{words}/v1".encode() + message
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def fingerprint(key):
    return hashed(0x08, key)


class Reader:
    """Read canonical values from bytes, each within the bounds of section 2."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if count > len(self.data) - self.at:
            raise RefusedError(f"cut short at byte {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def u(self, size):
        return int.from_bytes(self.take(size), "big")

    def scalar(self, kind):
        if kind == "bytes":
            if (size := self.u(4)) > 1 << 20:
                raise RefusedError(f"{size} bytes in one field")
            return self.take(size)
        if kind == "text":
            return self.text()
        if kind == "i8":
            return int.from_bytes(self.take(8), "big", signed=True)
        return self.u(int(kind[1:])) if kind[0] == "u" else self.take(int(kind[1:]))

    def text(self):
        if (size := self.u(2)) > 4096:
            raise RefusedError(f"a text of {size} bytes")
        try:
            text = self.take(size).decode()
        except UnicodeDecodeError as error:
            raise RefusedError("a text that is not UTF-8") from error
        if unicodedata.normalize("NFC", text) != text or any(unicodedata.category(c) == "Cc" for c in text):
            raise RefusedError("a text that is not normal")
        return text

    def field(self, kind):
        if kind[0] == "?":
            if (flag := self.u(1)) > 1:
                raise RefusedError(f"an optional field flagged {flag}")
            return self.scalar(kind[1:]) if flag else None
        if kind[0] == "*":
            if (count := self.u(4)) > min(1 << 16, len(self.data) - self.at):
                raise RefusedError(f"a list of {count}")
            kinds = kind[1:].split("+")
            return [
                self.scalar(kinds[0]) if len(kinds) == 1 else tuple(map(self.scalar, kinds))
                for _ in range(count)
            ]
        return self.scalar(kind)

    def path(self, widths):
        """Read the steps of section 13: left, and the sibling as a node of `merkle`."""
        steps = []
        for _ in range(self.u(4)):
            left = self.u(1)
            if left > 1 or self.u(4) != len(widths):
                raise RefusedError("a path of another tree")
            sums, count = tuple(self.u(16) for _ in widths), self.u(8)
            steps.append((left, (self.take(32), sums, count)))
        return steps

    def struct(self, fields):
        name, *columns = fields.split()
        found = SimpleNamespace(kind_name=name)
        for column in columns:
            field, kind = column.split(":")
            setattr(found, field, self.field(kind))
        return found

    def end(self):
        if self.at != len(self.data):
            raise RefusedError(f"{len(self.data) - self.at} bytes too many")


def whole(fields, data):
    """Decode bytes that are exactly one struct."""
    reader = Reader(data)
    found = reader.struct(fields)
    reader.end()
    found.raw = data
    return found


def record(data):
    if not 2 <= len(data) <= MAX_RECORD or data[0] not in RECORDS or data[1] != 1:
        raise RefusedError(f"a record of kind and version {data[:2].hex()}")
    found = whole(RECORDS[data[0]], data[2:])
    found.kind, found.raw, found.leaf_hash = data[0], data, hashed(0x01, data)
    return found


def logged_record(data):
    """Decode a record of an epoch; one that is not canonical stays, as a leaf of kind 0, and fails later."""
    try:
        return record(data)
    except RefusedError as error:
        return SimpleNamespace(kind=0, raw=data, leaf_hash=hashed(0x01, data), error=str(error))


def header(data):
    found = whole(HEADER, data)
    found.hash = hashed(0x06, data[:-64])
    return found


def items(data, most=1 << 26):
    reader = Reader(data)
    if (count := reader.u(4)) > most:
        raise RefusedError(f"{count} items")
    found = [reader.take(reader.u(4)) for _ in range(min(count, len(data)))]
    if len(found) != count:
        raise RefusedError("a list longer than its bytes")
    reader.end()
    return found


# Section 9: the container.

SHARE_FIELDS = (
    "position",
    "time",
    "session",
    "worker",
    "job",
    "ntime",
    "nonce",
    "version",
    "extranonce1",
    "extranonce2",
)
SHARE_SIZES = (4, 8, 4, 4, 4, 4, 4, 4, 8, 8)
LEAF = struct.Struct(">BIQIIIIIIQQ")


def chunk(data):
    """Decode one chunk: its shares as tuples in the order of `SHARE_FIELDS`."""
    reader, columns = Reader(data), []
    if not 1 <= (count := reader.u(4)) <= 16_384:
        raise RefusedError(f"a chunk of {count} shares")
    for size in SHARE_SIZES:
        base, width = reader.u(8), reader.u(1)
        if width > 8:
            raise RefusedError(f"a column of width {width}")
        less = [reader.u(width) for _ in range(count)] if width else [0] * count
        if min(less) or (max(less).bit_length() + 7) // 8 != width or base + max(less) >= 1 << (8 * size):
            raise RefusedError("a column that is not packed in the one way")
        columns.append([base + value for value in less])
    reader.end()
    return list(zip(*columns, strict=True))


class Sections:
    """Sections of a bundle, one after the other."""

    def __init__(self, data):
        if data[:20] != b"HASHWERK-EVIDENCE\x00\x00\x01":
            raise RefusedError("no bundle of this version")
        self.reader = Reader(data)
        self.reader.at = 20
        self.next()

    def next(self):
        self.begin = self.reader.at
        self.kind = None
        if self.begin < len(self.reader.data):
            self.kind, length = self.reader.u(1), self.reader.u(8)
            if length > MAX_SECTION:
                raise RefusedError(f"a section of {length} bytes")
            self.payload = self.reader.take(length)

    def expect(self, kind):
        if self.kind != kind:
            raise RefusedError(f"section {self.kind} where {kind} belongs (byte {self.begin})")
        payload = self.payload
        self.digest = sha(self.reader.data[: self.begin]) if kind == 255 else None
        self.next()
        return payload


def read_bundle(data):
    """Decode everything; nothing is believed yet."""
    sections = Sections(data)
    bundle = SimpleNamespace(manifest=whole(MANIFEST, sections.expect(1)))
    if bundle.manifest.fixed > 1 or bundle.manifest.claims >> 5:
        raise RefusedError("flags or claims that do not exist")
    bundle.events = [whole(KEY_EVENT, item) for item in items(sections.expect(2), 1024)]
    bundle.preamble = [header(item) for item in items(sections.expect(3), 131_072)]
    bundle.declarations = [record(item) for item in items(sections.expect(4))]
    bundle.epochs, shares = [], 0
    while sections.kind == 5:
        epoch = header(sections.expect(5))
        epoch.logged, epoch.groups, epoch.in_order, blocks = [], [], True, []
        while sections.kind == 6:
            blocks.append([logged_record(item) for item in items(sections.expect(6), 1024)])
        if any(len(block) != 1024 for block in blocks[:-1]) or [] in blocks:
            raise RefusedError("records cut otherwise than by 1,024")
        epoch.logged = [found for block in blocks for found in block]
        full = True
        while sections.kind == 7:
            payload = sections.expect(7)
            account, found = payload[:32], chunk(payload[32:])
            if (shares := shares + len(found)) > MAX_SHARES:
                raise RefusedError(f"more than {MAX_SHARES} shares: too many for this verifier")
            if epoch.groups and epoch.groups[-1][0] == account:
                epoch.in_order = epoch.in_order and full
                epoch.groups[-1][1].extend(found)
            else:
                epoch.in_order = epoch.in_order and not (epoch.groups and epoch.groups[-1][0] > account)
                epoch.groups.append((account, found))
            full = len(found) == 16_384
        bundle.epochs.append(epoch)
    if not bundle.epochs:
        raise RefusedError("no epoch")
    bundle.stamps = [whole("Stamp epoch:u8 kind:u1 data:bytes", item) for item in items(sections.expect(8))]
    bundle.blocks = block_headers(sections.expect(9))
    bundle.seal = whole(SEAL, sections.expect(255))
    bundle.digest = sections.digest
    if sections.kind is not None:
        raise RefusedError("bytes after the seal")
    return bundle


def block_headers(data):
    """Decode section 9: the height of the first block, and headers."""
    if not data:
        return None
    if len(data) < 84 or (len(data) - 4) % 80:
        raise RefusedError("block headers of another size")
    height = int.from_bytes(data[:4], "big")
    return height, [data[i : i + 80] for i in range(4, len(data), 80)]


# Sections 4 and 5: trees and declarations.


def merkle(domain, nodes, widths):
    """Add up (hash, sums, count) nodes; raises OverflowError where a sum does not fit."""
    while len(nodes) > 1:
        above = []
        for left, right in zip(nodes[::2], nodes[1::2], strict=False):
            spelled = [
                b"".join(value.to_bytes(width, "big") for value, width in zip(sums, widths, strict=True))
                + count.to_bytes(8, "big")
                + hash_
                for hash_, sums, count in (left, right)
            ]
            sums = tuple(a + b for a, b in zip(left[1], right[1], strict=True))
            for value, width in zip(sums, widths, strict=True):
                value.to_bytes(width, "big")
            above.append((hashed(domain, *spelled), sums, left[2] + right[2]))
        nodes = above + ([nodes[-1]] if len(nodes) % 2 else [])
    return nodes[0] if nodes else (ZERO, (0,) * len(widths), 0)


def record_sums(found):
    """Give the six sums of one record."""
    sums = [0] * 6
    if (
        found.kind == 2 and found.direction < 4 and found.end_wh >= found.start_wh
    ):  # else it adds nothing, and the check of meters fails
        sums[found.direction] = found.end_wh - found.start_wh
    elif found.kind == 4:
        sums[4] = found.wh
    elif found.kind == 9:
        sums[5] = sum(satoshi for _, satoshi in found.entries)
    return tuple(sums)


def stand(standing, logged):
    """Give the declarations in force after an epoch's records: (kind, name) to record."""
    after = dict(standing)
    for found in logged:
        if found.kind in DECLARATIONS:
            field = DECLARATIONS[found.kind]
            name = (found.kind, getattr(found, field) if field else "")
            after[name] = found
            if found.kind == 6 and not found.machines:
                del after[name]
    return after


def standing_root(standing):
    hashes = [standing[name].leaf_hash for name in sorted(standing)]
    return hashed(0x07, len(hashes).to_bytes(4, "big"), *hashes)


# Sections 6 and 7: keys and epochs.


def check_keys(bundle, report):
    """Check the chain of key events; set each event's hash and the site's keys."""
    events, site = bundle.events, bundle.manifest.site
    for event in events:
        event.hash = hashed(0x09, event.raw[:-128])
    genesis = events[0] if events else None
    report.need(genesis and genesis.hash == site, "key chain", "the first key event does not name the site")
    before = None
    for i, event in enumerate(events):
        authority, right = event.key, False
        if event.kind == 0:
            right = before is None and event.previous == ZERO and event.authority == event.possession
        elif event.kind == 1 and before:
            authority = before.key
            right = fingerprint(event.key) == before.next_hash and event.recovery == ZERO
        elif event.kind == 2 and before:
            authority = event.recovery
            right = fingerprint(event.recovery) == genesis.recovery
        if before:
            right = right and event.previous == before.hash
            right = right and event.from_epoch >= before.from_epoch and event.at >= before.at
        right = right and signed(event.key, "key-event", event.hash, event.possession)
        right = right and signed(authority, "key-event", event.hash, event.authority)
        report.need(right, "key chain", f"key event {i} does not follow from the one before")
        before = event


def check_key_records(bundle, report):
    """Check that the key events logged in epochs are of the chain, and took effect there."""
    begins = {event.hash: event.from_epoch for event in bundle.events}
    for epoch in bundle.epochs:
        for found in (found for found in epoch.logged if found.kind == 10):
            right = begins.get(found.event) == epoch.number
            report.need(
                right, "key chain", f"epoch {epoch.number} logs a key event of another epoch, or of nobody"
            )


def event_in_force(events, number):
    return next((event for event in reversed(events) if event.from_epoch <= number), None)


def check_revocations(bundle, report, times):
    """Refuse epochs of a revoked key that no external time shows before its revocation."""
    for i, event in enumerate(bundle.events):
        if event.kind == 2 and i:
            for epoch in bundle.epochs:
                shown = any(number >= epoch.number and at <= event.at for number, at in times)
                if epoch.key == bundle.events[i - 1].key and not shown:
                    report.fail(
                        "key chain", f"epoch {epoch.number} is signed by a revoked key, not shown before that"
                    )


def check_epochs(bundle, report):
    """Check that the headers form one signed chain."""
    manifest, before = bundle.manifest, None
    for epoch in bundle.preamble + bundle.epochs:
        where = f"epoch {epoch.number}"
        right = epoch.version == 1 and epoch.site == manifest.site and epoch.start <= epoch.end
        report.need(right, "epoch chain", f"{where}: another version or site, or it ends before it starts")
        if before:
            right = (epoch.number, epoch.start, epoch.previous) == (
                before.number + 1,
                before.end,
                before.hash,
            )
            report.need(right, "epoch chain", f"{where} does not follow epoch {before.number}")
        if epoch.number == 0:
            right = epoch.previous == ZERO and epoch.start == epoch.end and not epoch.shares
            report.need(right, "epoch chain", "epoch 0 has a duration, shares or something before it")
        event = event_in_force(bundle.events, epoch.number)
        right = event and (epoch.key, epoch.key_events) == (event.key, event.hash)
        report.need(right, "key chain", f"{where} is not signed by the key in force")
        report.need(
            signed(epoch.key, "epoch", epoch.hash, epoch.signature[-64:]),
            "epoch chain",
            f"{where}: signature",
        )
        before = epoch
    first, last = bundle.epochs[0], bundle.epochs[-1]
    said = (manifest.first, manifest.last, manifest.start, manifest.end)
    right = said == (first.number, last.number, first.start, last.end)
    report.need(right, "epoch chain", "the manifest names other epochs or another period")


def check_seal(bundle, report):
    seal, last = bundle.seal, bundle.epochs[-1]
    event = event_in_force(bundle.events, last.number)
    keys = [bundle.events[-1].key, event.key if event else None] if bundle.events else []
    report.need(seal.digest == bundle.digest, "seal", "bytes were changed after sealing")
    report.need(seal.key in keys, "seal", "not sealed by the site's key")
    report.need(signed(seal.key, "bundle", hashed(0x0C, seal.digest), seal.signature), "seal", "signature")


def check_standing(bundle, report):
    """Follow the declarations from epoch to epoch; sets what stands during each."""
    standing = stand({}, bundle.declarations)
    in_order = [found.raw for found in bundle.declarations] == [
        standing[name].raw for name in sorted(standing)
    ]
    report.need(in_order, "standing", "the declarations at the beginning are not in their order")
    scale, bundle.scaled = None, False
    for epoch in bundle.epochs:
        epoch.standing = standing
        report.need(
            standing_root(standing) == epoch.standing_root, "standing", f"epoch {epoch.number}: another root"
        )
        if epoch.number:
            declared, place = standing.get((11, "")), standing.get((15, ""))
            right = declared and place and declared.factor
            report.need(right, "scale", f"epoch {epoch.number}: no scale or no site is declared")
            now = (declared and declared.factor, place and (place.network, place.private))
            report.need(
                scale in (None, now), "scale", f"epoch {epoch.number}: the scale or the chain changed"
            )
            scale = now
        for found in (found for (kind, _), found in standing.items() if kind == 21 and epoch.number):
            report.need(found.factor, "scale", f"epoch {epoch.number}: an account's scale is zero")
            bundle.scaled = bundle.scaled or found.factor != 1
        standing = stand(standing, epoch.logged)
    last = bundle.epochs[-1].standing if bundle.epochs[-1].number else standing
    scale, site = last.get((11, "")), last.get((15, ""))
    bundle.scale, bundle.private = scale.factor if scale else 1, not site or bool(site.private)
    bundle.real = not bundle.private and site.network == "main"
    right = bundle.real and scale and scale.factor == 1 and not bundle.scaled
    bundle.subject = "mine" if right else "simulation"


def check_records(bundle, report):
    for epoch in bundle.epochs:
        try:
            nodes = [(found.leaf_hash, record_sums(found), 1) for found in epoch.logged]
            root, sums, count = merkle(0x03, nodes, (8,) * 6)
        except OverflowError as error:
            report.fail("records", f"epoch {epoch.number}: {error}")
            continue
        for found in (found for found in epoch.logged if not found.kind):
            report.fail("records", f"epoch {epoch.number}: {found.error}")
        said = (epoch.import_wh, epoch.export_wh, epoch.correction_up_wh, epoch.correction_down_wh)
        said += (epoch.certificate_wh, epoch.payout_sat)
        right = (root, sums, count) == (epoch.records_root, said, epoch.records)
        report.need(right, "records", f"epoch {epoch.number}: root, sums or count of the records are others")


# Section 8: jobs and shares.


def coinbase_parts(job):
    """Take the coinbase apart: its script, the place of the extranonces in it, and its outputs (satoshi, script)."""
    size = job.extranonce1_size + job.extranonce2_size
    if max(job.extranonce1_size, job.extranonce2_size) > 8 or not size or len(job.branch) > 24:
        raise RefusedError("sizes of extranonces or branch")
    reader = Reader(job.coinbase1 + bytes(size) + job.coinbase2)
    if len(reader.data) > 100_000:
        raise RefusedError("a coinbase too large")

    def compact():
        first = reader.u(1)
        if first < 0xFD:
            return first
        width = 1 << (first - 0xFC)
        value = int.from_bytes(reader.take(width), "little")
        if value < (0xFD, 1 << 16, 1 << 32)[first - 0xFD]:
            raise RefusedError("a size that is not in its shortest form")
        return value

    reader.take(4)
    if compact() != 1 or reader.take(36) != ZERO + b"\xff" * 4:
        raise RefusedError("no coinbase")
    script = reader.take(compact())
    place = len(job.coinbase1) - (reader.at - len(script))
    if place < 0 or place + size > len(script):
        raise RefusedError("extranonces outside the script")
    reader.take(4)
    count, outputs = compact(), []
    while len(outputs) < count:
        value = int.from_bytes(reader.take(8), "little")
        outputs.append((value, reader.take(compact())))
    reader.take(4)
    reader.end()
    return script, place, outputs


def height_push(height):
    """Spell the height as BIP-0034 blocks do: numbers up to 16 have opcodes of their own."""
    if height <= 16:
        return bytes([0x50 + height if height else 0])
    number = height.to_bytes(height.bit_length() // 8 + 1, "little")
    return bytes([len(number)]) + number


def check_job(bundle, epoch, job, report):
    """Check a job's coinbase, and the tag in it."""
    where = f"job {job.id} of epoch {epoch.number}"
    try:
        coinbase = coinbase_parts(job)
    except RefusedError as error:
        report.fail("binding", f"{where}: {error}")
        return False
    if not (job.work_log2 <= 127 and job.upstream <= 1 and target_of(job.nbits)):
        report.fail("binding", f"{where}: work, kind or nbits out of range")
        return False
    if job.upstream:
        report.need(job.account == ZERO, "binding", f"{where}: unbound work for an account")
        table = epoch.standing.get((16, job.source))
        if table is None:
            report.lack("binding", f"{where}: no table of prefixes was declared for {job.source}")
        else:
            report.need(
                table.work_log2 in (0, job.work_log2), "binding", f"{where}: another target than declared"
            )
        return True
    check_coinbase(job, coinbase, report, where)
    report.need(
        job.site_key in {event.key for event in bundle.events}, "binding", f"{where}: a key of nobody"
    )
    check_anchor(bundle, epoch, job, report, where)
    return True


def check_coinbase(job, coinbase, report, where):
    """Check what a bound job says of its own coinbase."""
    script, place, outputs = coinbase
    tag = sha(
        b"hashwerk/job-tag/v1", job.site_key, job.epoch_root, job.account,
        ((1 << 256 - job.work_log2) - 1).to_bytes(32, "big"),
    )  # fmt: skip
    tags = [script[2:] for _, script in outputs if len(script) == 34 and script[:2] == b"\x6a\x20"]
    report.need(tags == [tag], "binding", f"{where}: its coinbase commits to something else")
    ends = place + job.extranonce1_size + job.extranonce2_size == len(script)
    report.need(
        ends and job.height and script.startswith(height_push(job.height)),
        "binding",
        f"{where}: script of the coinbase",
    )
    report.need(
        sum(v for v, _ in outputs) == job.coinbase_value_sat, "binding", f"{where}: value of the coinbase"
    )


def check_anchor(bundle, epoch, job, report, where):
    """Check that a job carries the root of the epoch that was closed last when it was made."""
    if job.epoch_root == ZERO:
        report.need(
            not bundle.manifest.claims & ANCHOR, "anchor", f"{where} carries no root, which is claimed"
        )
        return
    closed = bundle.by_hash.get(job.epoch_root)
    if closed is None or closed.number >= epoch.number:
        report.fail("anchor", f"{where} carries a root that is of no epoch before")
        return
    after = bundle.by_number.get(closed.number + 1)
    report.need(
        job.created_us + 120 * SECOND_US >= closed.end, "anchor", f"{where} is older than the root it carries"
    )
    if after and job.created_us > after.end + 120 * SECOND_US:
        report.lack("anchor", f"{where} carries an older root than the last one")


def header_hash(job, share, script_cache):
    """Build a share's header and hash it, in internal order."""
    _, _, _, _, _, ntime, nonce, version, extranonce1, extranonce2 = share
    numbers = extranonce1.to_bytes(job.extranonce1_size, "big") + extranonce2.to_bytes(
        job.extranonce2_size, "big"
    )
    root = script_cache.get(numbers)
    if root is None:
        root = dsha(job.coinbase1 + numbers + job.coinbase2)
        for sibling in job.branch:
            root = dsha(root + sibling)
        script_cache[numbers] = root
    little = struct.pack("<III", ntime, job.nbits, nonce)
    return dsha(version.to_bytes(4, "little") + job.prev_hash + root + little)


def check_shares(bundle, report):
    """Hash every share, and check its terms and the sums over all."""
    seen, bundle.shares, bundle.fractions, scales = set(), [], ([], []), {}
    for epoch in bundle.epochs:
        jobs, roots = {}, defaultdict(dict)
        for job in (found for found in epoch.logged if found.kind == 1):
            report.need(
                job.id not in jobs, "binding", f"job {job.id} of epoch {epoch.number} is logged twice"
            )
            jobs[job.id] = job if check_job(bundle, epoch, job, report) else None
        thinning = epoch.standing.get((19, ""))
        accounts, positions = [], []
        for account, shares in epoch.groups:
            leaves = []
            declared = epoch.standing.get((21, account)) or epoch.standing.get((11, ""))
            scale = declared.factor if declared else 0
            if shares and scales.setdefault(account, scale) != scale and not report.failed["scale"]:
                report.fail(
                    "scale", f"epoch {epoch.number}: the scale of account {account.hex()[:16]} changed"
                )
            for share in shares:
                where = f"share {share[0]} of epoch {epoch.number}"
                positions.append(share[0])
                if (job := jobs.get(share[4])) is None:
                    report.fail("shares", f"{where}: its job is not logged in this epoch, or cannot be used")
                    continue
                try:
                    hash_ = header_hash(job, share, roots[job.id])
                except OverflowError:
                    report.fail("shares", f"{where}: an extranonce wider than the job's")
                    continue
                log2 = max(job.work_log2, thinning.work_log2 if thinning else 0)
                found = SimpleNamespace(
                    epoch=epoch, position=share[0], time=share[1], account=account, job=job, hash=hash_
                )
                found.extranonce1 = share[8]
                found.log2, found.value, found.work = (
                    log2,
                    int.from_bytes(hash_, "little"),
                    1 << min(log2, 127),
                )
                found.stands_for = found.work * scale
                check_share(found, share, report, where)
                report.need(hash_[:16] not in seen, "duplicates", f"{where}: its header was counted before")
                seen.add(hash_[:16])
                bundle.shares.append(found)
                bundle.fractions[job.upstream & 1].append((found.value << log2) >> 250)
                found.leaf = sha(LEAF.pack(0, *share))
                leaves.append((found.leaf, (found.work,), 1))
            try:
                root, (work,), count = merkle(0x02, leaves, (16,))
            except OverflowError:
                report.fail("sums", f"epoch {epoch.number}: a sum overflows")
                continue
            leaf = hashed(0x04, account, work.to_bytes(16, "big"), count.to_bytes(8, "big"), root)
            accounts.append((leaf, (work,), count))
        check_sums(epoch, accounts, sorted(positions), report)
    bundle.shares.sort(key=lambda share: (share.epoch.number, share.position))


def check_share(share, fields, report, where):
    _, time, _, _, _, ntime, _, version, _, _ = fields
    job, epoch = share.job, share.epoch
    report.need(
        share.log2 <= 127 and share.value >> (256 - share.log2) == 0, "shares", f"{where} misses its target"
    )
    report.need(not (version ^ job.version) & ~job.version_mask, "shares", f"{where}: version bits")
    latest = job.max_time if job.max_time is not None else ntime
    report.need(job.min_time <= ntime <= latest, "shares", f"{where}: time in the header")
    report.need(
        job.account == share.account, "binding", f"{where} stands with another account than its job's"
    )
    report.need(
        ntime * SECOND_US <= time + 7200 * SECOND_US,
        "shares",
        f"{where}: header far ahead of its receipt",
    )
    report.need(time + SECOND_US >= job.created_us, "shares", f"{where} came before its job")
    within = epoch.start - 10 * SECOND_US <= time <= epoch.end + 10 * SECOND_US
    report.need(within, "time bounds", f"{where} came outside its epoch")


def check_sums(epoch, accounts, positions, report):
    where = f"epoch {epoch.number}"
    try:
        root, (work,), count = merkle(0x05, accounts, (16,))
    except OverflowError:
        report.fail("sums", f"{where}: a sum overflows")
        return
    right = (root, work, count, len(accounts)) == (
        epoch.accounts_root,
        epoch.work,
        epoch.shares,
        epoch.accounts,
    )
    report.need(right, "sums", f"{where}: root, work or count of the shares are others")
    ascending = all(a[0] < b[0] for _, group in epoch.groups for a, b in itertools.pairwise(group))
    report.need(epoch.in_order and ascending, "sums", f"{where}: accounts, chunks or shares out of order")
    full = (epoch.full_root != ZERO, epoch.full_shares > 0, epoch.full_work > 0)
    if (thinning := epoch.standing.get((19, ""))) is None:
        report.need(positions == list(range(len(positions))), "sums", f"{where}: positions are not 0, 1, 2 …")
        report.need(not any(full), "sums", f"{where}: fields of a thinning that was not declared")
        return
    right = len(set(positions)) == len(positions) and (not positions or positions[-1] < epoch.full_shares)
    right = right and epoch.shares <= epoch.full_shares <= epoch.full_work and len(set(full)) == 1
    right = right and thinning.work_log2 <= 127
    report.need(
        right, "sums", f"{where}: positions, or the fields of the tree before thinning, are impossible"
    )


def gamma_below(shape, x):
    """P(shape, x), the lower incomplete gamma function, by its power series."""
    if x <= 0 or x > shape + 200 + 20 * math.sqrt(shape):
        return 0.0 if x <= 0 else 1.0
    term, total, n = 1.0, 1.0, 1
    while term > total * 1e-17:
        term *= x / (shape + n)
        total, n = total + term, n + 1
    return min(1.0, total * math.exp(shape * math.log(x) - x - math.lgamma(shape + 1)))


def check_uniformity(bundle, report):
    for name, bins in zip(("bound", "unbound"), bundle.fractions, strict=True):
        counts = [0] * 64
        for place in bins:
            counts[min(place, 63)] += 1
        while len(counts) > 4 and len(bins) < 5 * len(counts):
            counts = [a + b for a, b in zip(counts[::2], counts[1::2], strict=True)]
        expected = len(bins) / len(counts)
        if expected >= 5:
            chi2 = sum((count - expected) ** 2 for count in counts) / expected
            chance = 1 - gamma_below((len(counts) - 1) / 2, chi2 / 2)
            report.need(
                chance >= 1e-9, "uniformity", f"hashes of {name} work crowd: probability {chance:.0e}"
            )


# Signatures that others make: RSA (PKCS #1 v1.5) and ECDSA with SHA-2, in X.509 certificates, RFC 3161 and OCMF.
# Only checking is done here, of public values, so nothing needs to be secret or fast.


class UncheckedError(Exception):
    """Something that may be right and that this verifier cannot judge: it shows nothing."""


# Object identifier → p, a, b, x and y of the generator, its order (SEC 2, RFC 5639).
CURVES = {
    "2a8648ce3d030101": (  # P-192
        "fffffffffffffffffffffffffffffffeffffffffffffffff fffffffffffffffffffffffffffffffefffffffffffffffc"
        " 64210519e59c80e70fa7e9ab72243049feb8deecc146b9b1 188da80eb03090f67cbf20eb43a18800f4ff0afd82ff1012"
        " 07192b95ffc8da78631011ed6b24cdd573f977a11e794811 ffffffffffffffffffffffff99def836146bc9b1b4d22831"
    ),
    "2b81040021": (  # P-224
        "ffffffffffffffffffffffffffffffff000000000000000000000001 fffffffffffffffffffffffffffffffefffffffffffffffffffffffe"
        " b4050a850c04b3abf54132565044b0b7d7bfd8ba270b39432355ffb4 b70e0cbd6bb4bf7f321390b94a03c1d356c21122343280d6115c1d21"
        " bd376388b5f723fb4c22dfe6cd4375a05a07476444d5819985007e34 ffffffffffffffffffffffffffff16a2e0b8f03e13dd29455c5c2a3d"
    ),
    "2a8648ce3d030107": (  # P-256
        "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"
        " ffffffff00000001000000000000000000000000fffffffffffffffffffffffc"
        " 5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"
        " 6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        " 4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
        " ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
    ),
    "2b8104000a": (  # secp256k1
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f 0 7"
        " 79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
        " 483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
        " fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
    ),
    "2b81040022": (  # P-384
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff"
        " fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000fffffffc"
        " b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef"
        " aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7"
        " 3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f"
        " ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973"
    ),
    "2b81040023": (  # P-521
        "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        " 01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc"
        " 51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109"
        "e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00"
        " c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3d"
        "baa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66"
        " 011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e66"
        "2c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650"
        " 01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        "a51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409"
    ),
    "2b2403030208010107": (  # brainpoolP256r1
        "a9fb57dba1eea9bc3e660a909d838d726e3bf623d52620282013481d1f6e5377"
        " 7d5a0975fc2c3057eef67530417affe7fb8055c126dc5c6ce94a4b44f330b5d9"
        " 26dc5c6ce94a4b44f330b5d9bbd77cbf958416295cf7e1ce6bccdc18ff8c07b6"
        " 8bd2aeb9cb7e57cb2c4b482ffc81b7afb9de27e1e3bd23c23a4453bd9ace3262"
        " 547ef835c3dac4fd97f8461a14611dc9c27745132ded8e545c1d54c72f046997"
        " a9fb57dba1eea9bc3e660a909d838d718c397aa3b561a6f7901e0e82974856a7"
    ),
    "2b240303020801010b": (  # brainpoolP384r1
        "8cb91e82a3386d280f5d6f7e50e641df152f7109ed5456b412b1da197fb71123acd3a729901d1a71874700133107ec53"
        " 7bc382c63d8c150c3c72080ace05afa0c2bea28e4fb22787139165efba91f90f8aa5814a503ad4eb04a8c7dd22ce2826"
        " 04a8c7dd22ce28268b39b55416f0447c2fb77de107dcd2a62e880ea53eeb62d57cb4390295dbc9943ab78696fa504c11"
        " 1d1c64f068cf45ffa2a63a81b7c13f6b8847a3e77ef14fe3db7fcafe0cbd10e8e826e03436d646aaef87b2e247d4af1e"
        " 8abe1d7520f9c2a45cb1eb8e95cfd55262b70b29feec5864e19c054ff99129280e4646217791811142820341263c5315"
        " 8cb91e82a3386d280f5d6f7e50e641df152f7109ed5456b31f166e6cac0425a7cf3ab6af6b7fc3103b883202e9046565"
    ),
}  # fmt: skip
# The hash of a signature by its object identifier; the third is the key's kind.
RSA, EC = "2a864886f70d010101", "2a8648ce3d0201"
SIGNATURES = {
    "2a864886f70d01010b": ("sha256", RSA), "2a864886f70d01010c": ("sha384", RSA), "2a864886f70d01010d": ("sha512", RSA),
    "2a8648ce3d040302": ("sha256", EC), "2a8648ce3d040303": ("sha384", EC), "2a8648ce3d040304": ("sha512", EC),
}  # fmt: skip
HASHES = {"608648016503040201": "sha256", "608648016503040202": "sha384", "608648016503040203": "sha512"}


def any_der(reader):
    """Read the next value of DER, whatever its kind: its tag, what is in it, and all its bytes."""
    start, tag = reader.at, reader.u(1)
    reader.at = start
    return SimpleNamespace(tag=tag, data=der(reader, tag).data, raw=reader.data[start : reader.at])


def all_der(data):
    """Read values of DER to the end."""
    reader, found = Reader(data), []
    while reader.at < len(data):
        found.append(any_der(reader))
    return found


def whole_number(value):
    if value.tag != 0x02 or not value.data or value.data[0] >= 128:
        raise RefusedError("no whole number that is not negative")
    if len(value.data) > 1 and value.data[0] == 0 and value.data[1] < 128:
        raise RefusedError("a whole number that is not in its shortest form")
    return int.from_bytes(value.data, "big")


def is_signed_by(spki, algorithm, message, signature):
    """Say whether `signature` of `message` is by the key of a SubjectPublicKeyInfo; `algorithm` (hash, kind of key)."""
    hash_name, kind = algorithm
    (outer,) = all_der(spki)
    what, key = all_der(outer.data)
    oid, *parameters = all_der(what.data)
    if oid.data.hex() != kind or kind not in (RSA, EC) or key.tag != 0x03 or key.data[:1] != b"\x00":
        raise UncheckedError("a kind of key that is not judged here")
    digest = hashlib.new(hash_name, message).digest()
    if kind == RSA:
        (inside,) = all_der(key.data[1:])
        modulus, exponent = map(whole_number, all_der(inside.data))
        return is_rsa(modulus, exponent, hash_name, digest, signature)
    curve = CURVES.get(parameters[0].data.hex()) if parameters and parameters[0].tag == 0x06 else None
    if curve is None:
        raise UncheckedError("a curve that is not judged here")
    return is_ecdsa([int(number, 16) for number in curve.split()], key.data[1:], digest, signature)


def is_rsa(modulus, exponent, hash_name, digest, signature):
    """Check by RFC 8017, 8.2.2: there is one spelling of what the signature must be of."""
    size = (modulus.bit_length() + 7) // 8
    oid = next(oid for oid, name in HASHES.items() if name == hash_name)
    info = bytes.fromhex("0609" + oid + "0500")
    info = bytes([0x30, len(info)]) + info + bytes([0x04, len(digest)]) + digest
    info = bytes([0x30, len(info)]) + info
    if size < len(info) + 11 or len(signature) != size or exponent < 3:
        return False
    spelled = b"\x00\x01" + b"\xff" * (size - len(info) - 3) + b"\x00" + info
    return pow(int.from_bytes(signature, "big"), exponent, modulus) == int.from_bytes(spelled, "big")


def is_ecdsa(curve, point, digest, signature):
    """Check by SEC 1, 4.1.4."""
    p, a, b, gx, gy, order = curve
    width = (p.bit_length() + 7) // 8
    if len(point) != 1 + 2 * width or point[0] != 4:
        raise UncheckedError("a public key that is not spelled out")
    public = int.from_bytes(point[1 : 1 + width], "big"), int.from_bytes(point[1 + width :], "big")
    if max(public) >= p or (public[1] ** 2 - public[0] ** 3 - a * public[0] - b) % p:
        raise RefusedError("a public key that is not on its curve")
    try:
        (outer,) = all_der(signature)
        r, s = map(whole_number, all_der(outer.data)) if outer.tag == 0x30 else (0, 0)
    except (RefusedError, ValueError):
        return False
    if not (0 < r < order and 0 < s < order):
        return False
    shift = max(0, 8 * len(digest) - order.bit_length())
    number, inverse = int.from_bytes(digest, "big") >> shift, pow(s, -1, order)

    def add(one, other):
        if one is None or other is None:
            return one or other
        if one[0] == other[0]:
            if (one[1] + other[1]) % p == 0:
                return None
            slope = (3 * one[0] ** 2 + a) * pow(2 * one[1], -1, p) % p
        else:
            slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, p) % p
        x = (slope**2 - one[0] - other[0]) % p
        return x, (slope * (one[0] - x) - one[1]) % p

    def times(factor, one):
        total = None
        for bit in f"{factor:b}":
            total = add(total, total)
            total = add(total, one) if bit == "1" else total
        return total

    found = add(times(number * inverse % order, (gx, gy)), times(r * inverse % order, public))
    return found is not None and found[0] % order == r


def moment_of(value):
    """Read UTCTime or GeneralizedTime; gives microseconds."""
    text = value.data.decode("ascii", "replace")
    if value.tag == 0x17:
        text = ("19" if text[:2] >= "50" else "20") + text
    head, _, fraction = text.rstrip("Z").partition(".")
    digits = (head + fraction).isascii() and (head + fraction).isdigit()
    if value.tag not in (0x17, 0x18) or not text.endswith("Z") or len(head) != 14 or not digits:
        raise RefusedError("no time of DER")
    try:
        at = datetime.strptime(head, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise RefusedError("no time of DER") from error
    return int(at.timestamp()) * SECOND_US + int((fraction + "000000")[:6])


def certificate(data):
    """Take a certificate of X.509 apart (RFC 5280, 4.1)."""
    (outer,) = all_der(data)
    body, algorithm, bits = all_der(outer.data)
    fields = all_der(body.data)
    fields = fields[1:] if fields[0].tag == 0xA0 else fields
    extensions = next((all_der(all_der(field.data)[0].data) for field in fields if field.tag == 0xA3), [])
    found = SimpleNamespace(
        raw=data, body=body.raw, serial=fields[0].data, issuer=fields[2].raw, subject=fields[4].raw,
        spki=fields[5].raw, algorithm=all_der(algorithm.data)[0].data.hex(), signature=bits.data[1:],
        times=[moment_of(value) for value in all_der(fields[3].data)], extensions={},
    )  # fmt: skip
    for extension in extensions:
        oid, *critical, value = all_der(extension.data)
        found.extensions[oid.data.hex()] = (bool(critical), value.data)
    return found


def may_stamp(found):
    critical, value = found.extensions.get("551d25", (False, b"\x30\x00"))
    purposes = [purpose.data.hex() for purpose in all_der(all_der(value)[0].data)]
    return critical and "2b06010505070308" in purposes


def may_sign_others(found):
    _, value = found.extensions.get("551d13", (False, b"\x30\x00"))
    parts = all_der(all_der(value)[0].data)
    return bool(parts) and parts[0].tag == 0x01 and parts[0].data != b"\x00"


def leads_to(found, others, roots, at):
    """Say whether a chain of certificates, all in force at a time, leads from one to a root; by names and signatures."""
    for _ in range(8):
        if not found.times[0] <= at <= found.times[1]:
            return False
        if any(found.raw == root.raw for root in roots):
            return True
        above = [one for one in [*roots, *others] if one.subject == found.issuer and may_sign_others(one)]
        signer = next((one for one in above if is_certified(found, one)), None)
        if signer is None:
            return False
        found = signer
    return False


def is_certified(found, by):
    if found.algorithm not in SIGNATURES:
        raise UncheckedError("a certificate's kind of signature is not judged here")
    return is_signed_by(by.spki, SIGNATURES[found.algorithm], found.body, found.signature)


def names_lead(others, roots):
    """Say whether the names of issuers lead to a root's name: whether a verifier who pinned it was spoken of at all."""
    known = {root.subject for root in roots}
    return any(one.subject in known or one.issuer in known for one in others)


def stamped_at(signed_data, info, roots):
    """Check the signature of an RFC 3161 response (RFC 5652, 5.6) under roots that the verifier pinned; gives its time."""
    values = all_der(signed_data)
    others = [
        certificate(value.raw) for field in values if field.tag == 0xA0 for value in all_der(field.data)
    ]
    if not names_lead(others, roots):
        return None
    signers = all_der(values[-1].data)
    if len(signers) != 1 or values[-1].tag != 0x31:
        raise RefusedError("not one signer")
    version, name, digest, *rest = all_der(signers[0].data)
    if version.data != b"\x01" or name.tag != 0x30 or rest[0].tag != 0xA0:
        raise UncheckedError("a signer who is not named by issuer and number, or signs no attributes")
    attributes, algorithm, signature = rest[:3]
    issuer, serial = all_der(name.data)
    signer = next((one for one in others if (one.issuer, one.serial) == (issuer.raw, serial.data)), None)
    if signer is None:
        raise RefusedError("without the certificate of its signer")
    hash_name = HASHES.get(all_der(digest.data)[0].data.hex())
    oid = all_der(algorithm.data)[0].data.hex()
    scheme = (hash_name, oid) if oid == RSA else SIGNATURES.get(oid)
    if hash_name is None or scheme is None:
        raise UncheckedError("a kind of signature that is not judged here")
    said = {}
    for attribute in all_der(attributes.data):
        oid, held = all_der(attribute.data)
        said[oid.data.hex()] = all_der(held.data)[0].data
    at = moment_of(all_der(all_der(info)[0].data)[4])
    right = said.get("2a864886f70d010904") == hashlib.new(hash_name, info).digest()
    right = right and said.get("2a864886f70d010903", b"").hex() == "2a864886f70d0109100104"
    right = right and may_stamp(signer) and leads_to(signer, others, roots, at)
    right = right and is_signed_by(signer.spki, scheme, b"\x31" + attributes.raw[1:], signature.data)
    if not right:
        raise RefusedError("its signature, or the chain of its certificates, does not hold")
    return at


def check_ocmf(found):
    """Check a reading that its meter signed; the signature is over the payload's bytes as they stand."""
    parts = found.signed_data.split(b"|")
    if len(parts) != 3 or parts[0] != b"OCMF":
        raise RefusedError("no line of OCMF")
    try:
        signature = bytes.fromhex(json.loads(parts[2])["SD"])
        if not is_signed_by(found.signer_key, ("sha256", EC), parts[1], signature):
            raise RefusedError("its meter did not sign it")
        said = json.loads(parts[1], parse_float=Decimal)
        last = said["RD"][-1]
        value = Decimal(str(last["RV"])) * {"Wh": 1, "kWh": 1000, "mWh": Decimal("0.001")}[last["RU"]]
        right = said["MS"] == found.serial and value // 1 == found.end_wh
    except (ValueError, KeyError, IndexError, TypeError, InvalidOperation, RecursionError) as error:
        raise RefusedError("what its meter signed cannot be read") from error
    if not right:
        raise RefusedError("its meter signed another reading")
    return hashed(0x08, found.signer_key).hex()[:16]


# Section 12: block headers and external time.


def target_of(nbits):
    """Decode a compact target; 0 for one that is negative, zero or wider than 256 bits."""
    size, mantissa = nbits >> 24, nbits & 0xFFFFFF
    target = mantissa << 8 * (size - 3) if size > 3 else mantissa >> 8 * (3 - size)
    return 0 if mantissa & 0x800000 or target >> 256 else target


def chain_of(first_height, raw, report):
    """Check that headers follow each other with work; gives each with its height, or nothing."""
    hashes = [dsha(block) for block in raw]
    fields = [struct.unpack("<I32s32sIII", block) for block in raw]
    for i, (_, previous, _, _, nbits, _) in enumerate(fields):
        target = target_of(nbits)
        right = 0 < target <= 0xFFFF << 208 and int.from_bytes(hashes[i], "little") <= target
        if i:
            right = right and previous == hashes[i - 1]
            same = (first_height + i) % 2016 != 0
            right = right and (nbits == fields[i - 1][4] if same else may_change(fields, i, target))
        if not right:
            report.fail(
                "chain", f"block {first_height + i}: no work, not on the one before, or another difficulty"
            )
            return []
    return [
        SimpleNamespace(height=first_height + i, hash=hashes[i], root=block[2], time=block[3])
        for i, block in enumerate(fields)
    ]


def may_change(fields, i, target):
    """Say whether the difficulty may change so; without the first block of its period, only by how much."""
    before = target_of(fields[i - 1][4])
    if i < 2016:
        return before // 5 < target < before * 5
    took = min(max(fields[i - 1][3] - fields[i - 2016][3], 302_400), 4_838_400)
    exact = min(before * took // 1_209_600, 0xFFFF << 208)
    shift = max(exact.bit_length() // 8 * 8 - 16, 0)  # the compact form keeps two or three bytes
    return target == exact >> shift << shift


def check_chain(bundle, report, trusted, headers):
    """Check block headers and what jobs build on; gives them by height if they lead to a known one."""
    report.label("chain", "asserted")
    if not bundle.real:
        return {}
    given = [headers[i : i + 80] for i in range(0, len(headers), 80)] if headers else None
    height, raw = bundle.blocks or (0, [])
    if given:
        if len(headers) % 80:
            report.fail("chain", "the headers given are not whole")
            return {}
        first, before = dsha(given[0]), given[0][4:36]
        height, raw = trusted.get(first, trusted.get(before, -1) + 1), given
    blocks = chain_of(height, raw, report)
    if not blocks:
        return {}
    known = trusted.get(blocks[0].hash) == height or trusted.get(raw[0][4:36]) == height - 1
    from_genesis = blocks[0].hash[::-1].hex() == MAIN_GENESIS
    if not known and not (from_genesis and any(trusted.get(block.hash) == block.height for block in blocks)):
        if given:  # what came with the bundle is no claim
            report.fail("chain", "the headers given do not lead to a known block")
        return {}
    report.label("chain", "proven")
    by_height = {block.height: block.hash for block in blocks[:-1]}  # a rival of the last one may have won
    times = {block.hash: block.time for block in blocks}
    jobs = [(epoch, job) for epoch in bundle.epochs for job in epoch.logged if job.kind == 1]
    built_on = {(job.height - 1, job.prev_hash) for _, job in jobs}
    strange = sum(by_height.get(number, hash_) != hash_ for number, hash_ in built_on)
    inside = sum(number in by_height for number, _ in built_on)
    reached = sum(hash_ in times or number in by_height for number, hash_ in built_on)
    report.need(
        20 * strange <= inside, "chain", f"{strange} of {inside} blocks worked on are not in the chain"
    )
    if reached < len(built_on):
        report.lack("chain", "the headers do not reach all that was worked on")
    for epoch, job in jobs:
        early = epoch.end < (times.get(job.prev_hash, 0) - 7200) * SECOND_US
        report.need(not early, "time bounds", f"epoch {epoch.number} ends before its block existed")
    return {block.height: block for block in blocks}


def opentimestamps(stamp, epoch, chain, _):
    """Read an OpenTimestamps file; gives the times of blocks of the chain it leads to."""
    reader, magic = Reader(stamp.data), b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94"
    if reader.take(31) != magic or reader.take(2) != b"\x01\x08" or reader.take(32) != epoch.hash:
        raise RefusedError("no OpenTimestamps file of this epoch")
    blocks = list(attested(reader, epoch.hash, 256))
    reader.end()
    held = [chain[height] for height, _ in blocks if height in chain]
    if any(digest != chain[height].root for height, digest in blocks if height in chain):
        raise RefusedError("does not lead to the block it names")
    return [(min(block.time for block in held) * SECOND_US, "OpenTimestamps")] if held else []


def number_of(reader):
    """Read a number of seven bits a byte, the lowest first."""
    value = shift = 0
    while True:
        byte = reader.u(1)
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value


def sized(reader, least, most):
    if not least <= (size := number_of(reader)) <= most:
        raise RefusedError(f"{size} bytes in a step of an OpenTimestamps file")
    return reader.take(size)


def attested(reader, message, depth):
    """Follow the steps from a message; gives (height, merkle root) of the Bitcoin blocks they lead to."""
    if not depth:
        raise RefusedError("an OpenTimestamps file of more than 256 steps")
    more = True
    while more:
        more = (tag := reader.u(1)) == 0xFF
        tag = reader.u(1) if more else tag
        if tag:
            yield from attested(reader, stepped(tag, reader, message), depth - 1)
            continue
        kind, payload = reader.take(8).hex(), Reader(sized(reader, 0, 8192))
        if kind in (
            "0588960d73d71901",
            "06869a0d73d71b45",
            "30fe8087b5c7ead7",
        ):  # Bitcoin, Litecoin, Ethereum
            height = number_of(payload)
            payload.end()
            if kind.startswith("05"):
                yield height, message
        elif kind == "83dfe30d2ef90c8e":  # a calendar that is to be asked again
            allowed = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._/:"
            if set(sized(payload, 0, 1000)) - set(allowed):
                raise RefusedError("a calendar's address")
            payload.end()


def stepped(tag, reader, message):
    """Apply one step of an OpenTimestamps file."""
    if tag in (0xF0, 0xF1):
        part = sized(reader, 1, 4096)
        message = message + part if tag == 0xF0 else part + message
    elif tag in (0x02, 0x08):
        message = hashlib.new("sha1" if tag == 0x02 else "sha256", message).digest()
    elif tag in (0xF2, 0xF3):
        message = message[::-1] if tag == 0xF2 else message.hex().encode()
    else:
        raise RefusedError(f"unknown step {tag:02x} in an OpenTimestamps file")
    if len(message) > 4096:
        raise RefusedError("a message of more than 4,096 bytes")
    return message


def der(reader, tag):
    """Read one value of DER."""
    if reader.u(1) != tag:
        raise RefusedError(f"no DER value of kind {tag:02x}")
    size = reader.u(1)
    if size >= 128:
        width = size & 127
        size = reader.u(width) if 1 <= width <= 4 else 0
        if size < max(128, 1 << 8 * (width - 1)):
            raise RefusedError("a length of DER that is not in its shortest form")
    return Reader(reader.take(size))


def rfc3161(stamp, epoch, _, trusted):
    """Read an RFC 3161 response; gives its time if it leads to a root that was pinned."""
    whole_ = Reader(stamp.data)
    response = der(whole_, 0x30)
    whole_.end()
    status = der(der(response, 0x30), 0x02).data
    token = der(response, 0x30)
    response.end()
    kinds = [der(token, 0x06).data]
    signed_data = der(der(token, 0xA0), 0x30)
    inside = signed_data.data
    der(signed_data, 0x02), der(signed_data, 0x31)
    content = der(signed_data, 0x30)
    kinds.append(der(content, 0x06).data)
    octets = der(der(content, 0xA0), 0x04)
    info = der(octets, 0x30)
    der(info, 0x02), der(info, 0x06)
    imprint = der(info, 0x30)
    kinds.append(der(der(imprint, 0x30), 0x06).data)
    right = ["2a864886f70d010702", "2a864886f70d0109100104", "608648016503040201"]
    if [kind.hex() for kind in kinds] != right or status not in (b"\x00", b"\x01"):
        raise RefusedError("not granted, or of another kind")
    if der(imprint, 0x04).data != epoch.hash:
        raise RefusedError("of something else")
    if not trusted.roots or status != b"\x00":
        return []
    try:
        at = stamped_at(inside, octets.data, trusted.roots)
    except (ValueError, IndexError) as error:
        raise RefusedError("what is signed cannot be read") from error
    return [] if at is None else [(at, "an RFC 3161 authority")]


def pem(text):
    """Give the certificates of a PEM file."""
    parts = text.split("-----BEGIN CERTIFICATE-----")[1:]
    return [base64.b64decode(part.split("-----END")[0]) for part in parts]


def witness(stamp, epoch, _, trusted):
    """Check what a witness says; gives its time if it was pinned."""
    said = whole(WITNESS, stamp.data)
    right = (said.site, said.number, said.epoch) == (epoch.site, epoch.number, epoch.hash)
    if not right or not signed(said.key, "witness", hashed(0x0E, stamp.data[:80]), said.signature):
        raise RefusedError("broken statement of a witness")
    name = fingerprint(said.key).hex()
    return [(said.at, "witness " + name[:16])] if {name, said.key.hex()} & trusted.witnesses else []


STAMPS = {1: opentimestamps, 2: rfc3161, 3: witness}


def external_times(bundle, report, chain, trusted):
    """Gather (epoch number, latest time) from what can be checked here."""
    times, names = [], set()
    dated = {block.hash: block.time for block in chain.values()}
    for stamp in bundle.stamps:
        epoch = bundle.by_number.get(stamp.epoch)
        if epoch is None:
            report.fail("external time", f"a stamp for epoch {stamp.epoch}, which is not here")
            continue
        try:
            shown = STAMPS[stamp.kind](stamp, epoch, chain, trusted) if len(stamp.data) <= 1 << 16 else None
            if shown is None:
                raise RefusedError("more than 65,536 bytes")
        except (KeyError, RefusedError) as error:
            report.fail("external time", f"epoch {stamp.epoch}: stamp of kind {stamp.kind}: {error}")
            continue
        except UncheckedError as error:
            if bundle.manifest.claims & TIME:
                report.lack("external time", f"epoch {stamp.epoch}: stamp of kind {stamp.kind}: {error}")
            continue
        for at, name in shown:
            late = stamp.kind == 1 or at + 60 * SECOND_US >= epoch.end
            report.need(late, "external time", f"epoch {stamp.epoch}: stamped before its end")
            times.append((epoch.number, at))
            names.add(name)
    for share in bundle.shares:
        if share.hash in dated and (closed := bundle.by_hash.get(share.job.epoch_root)):
            times.append((closed.number, (dated[share.hash] + 7200) * SECOND_US))
            names.add("blocks of the chain")
    if names:
        report.label("external time", "attested by " + ", ".join(sorted(names)))
    if bundle.manifest.claims & TIME:
        shown = max((number for number, _ in times), default=0)
        for epoch in bundle.epochs:
            if epoch.number > shown:
                report.lack("external time", f"epoch {epoch.number} has no time that can be checked here")
    return times


# Section 10: energy.


def check_meters(bundle, report):
    """Check the continuity of registers; gives the readings of each by start."""
    registers, signers = defaultdict(list), set()
    for epoch in bundle.epochs:
        for found in epoch.logged:
            if found.kind == 2:
                registers[found.meter, found.direction].append((found, epoch))
    for (meter, _), readings in registers.items():
        readings.sort(key=lambda pair: pair[0].start_us)
        for found, epoch in readings:
            right = found.direction < 4 and found.end_wh >= found.start_wh and found.end_us > found.start_us
            where = f"meter {meter} in epoch {epoch.number}"
            report.need(right, "meters", f"{where} runs backwards, or in no direction")
            report.need(found.signed_by in ("", "OCMF"), "meters", f"{where}: signed by {found.signed_by!r}")
            signers.add(signer_of(found, where, report))
        for (a, _), (b, epoch) in itertools.pairwise(readings):
            where = f"meter {meter} in epoch {epoch.number}"
            report.need(b.start_us >= a.end_us, "meters", f"{where}: intervals overlap")
            if b.start_us > a.end_us:
                report.lack("meter coverage", f"{where}: nothing was read before its start")
            if a.serial == b.serial:
                right = b.start_wh >= a.end_wh and (b.start_us > a.end_us or b.start_wh == a.end_wh)
                right = right and a.multiplier_ppm == b.multiplier_ppm
                report.need(right, "meters", f"{where}: register {a.end_wh} Wh, then {b.start_wh} Wh")
            else:
                declared = stand(epoch.standing, epoch.logged).get((12, f"meter/{meter}"))
                right = declared and declared.value == b.serial
                report.need(right, "meters", f"{where}: an exchange that was not declared")
    if signers and None not in signers:
        for name in ("meters", "meter coverage"):
            report.label(name, "attested by meters with the keys " + ", ".join(sorted(signers)))
    if bundle.manifest.claims & METERS:
        imports = [readings for (_, direction), readings in registers.items() if direction == 0]
        for readings in imports:
            covered = (
                readings[0][0].start_us <= bundle.manifest.start
                and readings[-1][0].end_us >= bundle.manifest.end
            )
            if not covered:
                report.lack(
                    "meter coverage", f"meter {readings[0][0].meter} was not read over the whole period"
                )
        if not imports:
            report.lack("meter coverage", "no meter")
    return {register: [found for found, _ in readings] for register, readings in registers.items()}


def signer_of(found, where, report):
    """Give the key of the meter that signed a reading; None: nobody did, or it does not hold, or cannot be judged here."""
    if found.signed_by != "OCMF":
        return None
    try:
        return check_ocmf(found)
    except UncheckedError as error:
        report.lack("meters", f"{where}: {error}")
    except (RefusedError, ValueError, IndexError) as error:
        report.fail("meters", f"{where}: {error}")
    return None


def gamma_quantile(shape, chance):
    low, high = 0.0, shape + 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if gamma_below(shape, middle) < chance else (low, middle)
    return low


def counted(register, readings):
    """Give (start, end, Wh drawn) of a register, gaps filled from its difference; None where that is not known."""
    sign = (1, -1, 1, -1)[register[1]] if register[1] < 4 else 0
    usable = [found for found in readings if found.end_wh >= found.start_wh and found.end_us > found.start_us]
    for found in usable:
        yield found.start_us, found.end_us, sign * (found.end_wh - found.start_wh)
    for a, b in itertools.pairwise(usable):
        if register[1] < 2 and b.start_us > a.end_us:
            known = a.serial == b.serial and b.start_wh >= a.end_wh
            yield a.end_us, b.start_us, sign * (b.start_wh - a.end_wh) if known else None


def check_energy(bundle, report, registers):
    """Check that between common readings no less energy was drawn than the shares need on the declared machines."""
    turns = [
        {found.start_us for found in r} | {found.end_us for found in r}
        for (_, d), r in registers.items()
        if d < 2 and r
    ]
    moments = sorted(set.intersection(*turns)) if turns else []
    machines = [found for epoch in bundle.epochs for (kind, _), found in epoch.standing.items() if kind == 6]
    rates = [
        next(
            rate
            for rate in (m.learned_low_mj_per_th, m.learned_mj_per_th, m.declared_mj_per_th)
            if rate is not None
        )
        for m in machines
    ]
    rate = max(min(rates, default=0), BEST_MACHINE_MJ_PER_TH)
    spans = list(itertools.pairwise(moments))
    pieces = [piece for register, found in registers.items() for piece in counted(register, found)]
    unknown = [(start, end) for start, end, wh in pieces if wh is None]
    for start, end in spans + ([(moments[0], moments[-1])] if len(spans) > 1 else []):
        if any(start < to and since < end for since, to in unknown):
            continue  # the meter was exchanged while nothing was read
        drawn = 1 + sum(wh for since, to, wh in pieces if wh is not None and start <= since and to <= end)
        minutes = range(-(-start // 60_000_000), end // 60_000_000)
        works = [share.stands_for for share in bundle.shares if share.time // 60_000_000 in minutes]
        if any(works):
            total, squares = sum(works), sum(work * work for work in works)
            least = gamma_quantile(total * total / squares, 1e-6) * squares / total
            needed = least * rate / (10**12 * 1000 * 3600)
            report.need(
                drawn >= needed, "energy bound", f"{drawn - 1} Wh were drawn, {needed:.0f} Wh are the least"
            )


def check_sources(bundle, report):
    certificates, used, signed_by = {}, defaultdict(int), True
    records = [found for epoch in bundle.epochs for found in epoch.logged]
    for found in (found for found in records if found.kind == 4):
        where = f"certificate {found.id}"
        report.need(found.id not in certificates, "sources", f"{where} twice")
        right = found.start_us < found.end_us <= found.start_us + 3600 * SECOND_US
        report.need(right, "sources", f"{where}: more than an hour, or none")
        if found.registry_key or found.signature:
            bare = found.raw[: -len(found.registry_key) - len(found.signature) - 8] + bytes(8)
            right = signed(found.registry_key, "certificate", bare, found.signature)
            report.need(right, "sources", f"{where}: signature of the registry")
        signed_by = signed_by and bool(found.registry_key)
        certificates[found.id] = found
    for found in (found for found in records if found.kind == 3):
        where = f"source {found.name}"
        report.need(
            found.start_us < found.end_us <= found.start_us + 3600 * SECOND_US,
            "sources",
            f"{where}: interval",
        )
        if found.certificate:
            named = certificates.get(found.certificate)
            if named is None:
                report.fail("sources", f"{where}: certificate {found.certificate} is not here")
                continue
            used[named.id] += found.wh
            same = (named.source, named.start_us, named.end_us) == (
                found.source,
                found.start_us,
                found.end_us,
            )
            report.need(same, "sources", f"{where}: certificate {named.id} is of another hour or source")
            report.need(
                used[named.id] <= named.wh, "sources", f"{where}: certificate {named.id} is of less energy"
            )
    report.label("sources", "attested by the registry" if certificates and signed_by else "asserted")
    for epoch in bundle.epochs[:-1]:
        changed = epoch.number and any(found.kind == 7 for found in epoch.logged)
        report.need(not changed, "attribution", f"the rule was changed in epoch {epoch.number}")


# Section 11: payouts.


def shared(amount, weights):
    """Share satoshi by weights, the remainder to the largest remainders."""
    total = sum(weights.values())
    parts = {account: amount * weight // total for account, weight in weights.items()}
    order = sorted(weights, key=lambda account: (-(amount * weights[account] % total), account))
    for account in order[: amount - sum(parts.values())]:
        parts[account] += 1
    return {account: parts[account] for account in sorted(parts) if parts[account]}


def network_work(nbits):
    return (1 << 256) // (target_of(nbits) + 1)


def weights_at(bundle, rule, place, ends_round):
    """Give the weights of accounts for the block at `place` of the bound shares, or None if the bundle begins too late.

    `ends_round` are the hashes of the blocks that were not reversed, as far as was known.
    """
    shares, weights = bundle.bound, defaultdict(int)
    from_beginning = bundle.epochs[0].number <= 1
    if rule.scheme == "solo":
        return {shares[place].account: 1}
    if rule.scheme == "proportional":
        first = place
        while first and shares[first - 1].hash not in ends_round:
            first -= 1
        for share in shares[first : place + 1]:
            weights[share.account] += share.work
        return weights if first or from_beginning else None
    window_ppm = 8_000_000 if rule.scheme == "tides" else rule.window_ppm
    left = network_work(shares[place].job.nbits) * window_ppm // 10**6
    while place >= 0 and left:
        part = min(left, shares[place].work)
        weights[shares[place].account] += part
        left, place = left - part, place - 1
    return weights if not left or from_beginning else None


def check_blocks(bundle, report, chain):
    """Compare records of blocks with the shares that they are, and with the chain."""
    bundle.by_share = {share.hash: share for share in reversed(bundle.shares)}
    first, last = bundle.epochs[0].start + 10 * SECOND_US, bundle.epochs[-1].end - 10 * SECOND_US
    thinned = any((19, "") in epoch.standing for epoch in bundle.epochs)
    blocks = [(found, epoch) for epoch in bundle.epochs for found in epoch.logged if found.kind == 13]
    heights, state = {block.hash: height for height, block in chain.items()}, {}
    for found, epoch in blocks:
        where = f"block {found.hash[::-1].hex()[:24]} in epoch {epoch.number}"
        report.need(found.state <= 4, "blocks", f"{where}: unknown state {found.state}")
        share = bundle.by_share.get(found.hash)
        if share and is_block(share):
            right = (found.height, found.reward_sat, found.job) == (
                share.job.height, share.job.coinbase_value_sat, share.job.id,
            )  # fmt: skip
            right = right and abs(found.found_us - share.time) <= 10 * SECOND_US
            report.need(right, "blocks", f"{where}: its share says another height, reward, job or time")
        elif first <= found.found_us < last:
            report.need(thinned, "blocks", f"{where} is no share of this bundle, which covers its time")
        state[found.hash] = found
    for hash_, found in state.items():
        height = heights.get(hash_)
        if height is None:
            lost = found.state == 3 and found.height in chain and found.height < max(chain)
            report.need(not lost, "blocks", f"mature block {found.height} is not in the chain")
        else:
            right = height == found.height and (found.state not in (2, 4) or height == max(chain))
            report.need(
                right, "blocks", f"block {found.height}: in the chain, and said to be refused or elsewhere"
            )


def is_block(share):
    return share.value <= target_of(share.job.nbits)


def check_payouts(bundle, report):
    """Check every payout by what was known at the end of its epoch; the last one of a block counts."""
    bundle.bound = [share for share in bundle.shares if not share.job.upstream]
    places = {share.hash: i for i, share in reversed(list(enumerate(bundle.bound)))}

    def lack(name, what):
        if bundle.manifest.claims & PAYOUTS:
            report.lack(name, what)
        else:
            report.label(name, "asserted")

    states, last, paid_until, bundle.paid = {}, {}, 0, 0
    for epoch in bundle.epochs:
        states |= {found.hash: found.state for found in epoch.logged if found.kind == 13}
        for found in (found for found in epoch.logged if found.kind == 9):
            where, rule = f"payout of epoch {epoch.number}", epoch.standing.get((8, ""))
            entries, before = dict(found.entries), last.get(found.block_hash)
            right = [account for account, _ in found.entries] == sorted(entries) and found.state <= 2
            if found.state != 2:
                right = right and sum(entries.values()) + found.fee_sat == found.reward_sat
            report.need(right, "payouts", f"{where}: order, state or sum")
            if found.block_hash == ZERO:
                bundle.paid += sum(entries.values())
            else:
                last[found.block_hash] = found
            if rule is None:
                lack("payouts", f"{where}: no rule was in force")
            elif before and not may_follow(before, found):
                report.fail("payouts", f"{where}: the block is paid twice, or a payment taken back")
            elif rule.scheme == "fpps":
                since, until, known = found.height, found.position, paid_until
                paid_until = max(until, known)
                if found.block_hash != ZERO or found.state == 2:
                    report.fail("payouts", f"{where}: full pay per share is not by block")
                elif not known and bundle.epochs[0].number > 1:
                    lack("payouts", f"{where}: what was paid before is not here")
                elif until > epoch.number or not is_next(bundle, known, since, until):
                    report.fail("payouts", f"{where}: it pays other epochs than those that are next")
                else:
                    exact = by_share(bundle, rule, since, until)
                    report.need(entries == exact, "payouts", f"{where} is not what the rule fpps gives")
            elif (share := bundle.by_share.get(found.block_hash)) is None or not is_block(share):
                lack("payouts", f"{where}: the share of its block is not here")
            else:
                check_one_payout(bundle, report, (where, lack), found, (rule, places.get(share.hash), states))
    for hash_, found in last.items():
        right = found.state == 2 or states.get(hash_) not in (2, 4)
        report.need(right, "payouts", f"the payout of block {found.height} stands, the block was reversed")
        bundle.paid += sum(satoshi for _, satoshi in found.entries)


def may_follow(before, found):
    """Say whether one payout of a block may follow another: once it is mature none does."""
    if before.state == 1:
        return False
    return before.state != found.state or (found.state == 0 and before.entries != found.entries)


def is_next(bundle, known, since, until):
    """Say whether epochs are those that are next by full pay per share: in force in all of them, and none left out."""
    rules = {epoch.number: epoch.standing.get((8, "")) for epoch in bundle.epochs}
    numbers = [
        n
        for n, rule in sorted(rules.items())
        if max(known, 1) <= n < until and rule and rule.scheme == "fpps"
    ]
    return numbers[:1] == [since] and len(numbers) == until - since


def by_share(bundle, rule, since, until):
    """Give what full pay per share gives for the epochs since ≤ n < until."""
    owed, kept = defaultdict(Fraction), Fraction(10**6 - rule.fee_ppm, 10**6)
    for share in bundle.bound:
        if since <= share.epoch.number < until:
            value = Fraction(share.work * share.job.coinbase_value_sat, network_work(share.job.nbits))
            owed[share.account] += value
    return {account: math.floor(value * kept) for account, value in owed.items() if math.floor(value * kept)}


def check_one_payout(bundle, report, named, found, known):
    """Check a payout by block against the rule and the states of blocks at the end of its epoch."""
    (where, lack), (rule, place, states) = named, known
    share = bundle.by_share[found.block_hash]
    state, job = states.get(found.block_hash), share.job
    reward, gone = job.coinbase_value_sat, state in (2, 4)
    right = (
        place is not None and state is not None and rule.scheme in ("solo", "proportional", "pplns", "tides")
    )
    right = right and (found.height, found.position, found.reward_sat) == (job.height, share.position, reward)
    right = right and (found.state == 2) == gone and (found.state != 1 or state == 3)
    if not right:
        report.fail("payouts", f"{where}: block, height, share, reward or state")
        return
    exact, fee = {}, 0
    if not gone:
        fee = reward * rule.fee_ppm // 10**6
        ends_round = {
            hash_
            for hash_, state in states.items()
            if state not in (2, 4) and (one := bundle.by_share.get(hash_)) and is_block(one)
        }
        weights = weights_at(bundle, rule, place, ends_round)
        if weights is None:
            lack("payouts", f"{where}: its window reaches back before the bundle")
            return
        exact = shared(reward - fee, weights) if sum(weights.values()) and reward >= fee else None
    right = (found.fee_sat, dict(found.entries)) == (fee, exact)
    report.need(right, "payouts", f"{where} is not what the rule {rule.scheme} gives")


# Section 13, several bundles, and the whole.


def check_receipts(bundle, report, data):
    if data[:20] != b"HASHWERK-RECEIPTS\x00\x00\x01":
        raise RefusedError("no file of receipts")
    reader, keys = Reader(data), {event.key for event in bundle.events}
    reader.at = 20
    held = {(share.epoch.number, share.position): share for share in bundle.shares}
    thinned = {epoch.number for epoch in bundle.epochs if epoch.full_shares}
    report.label("receipts", "proven")
    while reader.at < len(data):
        found = whole(RECEIPT, reader.take(reader.u(4)))
        root = hashed(0x0B, found.raw[:116])
        for left, sibling in found.path:
            root = hashed(0x0A, sibling, root) if left else hashed(0x0A, root, sibling)
        where = f"receipt for share {found.position} of epoch {found.epoch}"
        genuine = signed(found.key, "receipt", root, found.signature)
        if found.site != bundle.manifest.site or found.key not in keys or not genuine:
            report.lack("receipts", f"{where}: not of this site")
            continue
        share = held.get((found.epoch, found.position))
        right = share and (share.account, share.leaf) == (found.account, found.leaf)
        if share is None and found.epoch in thinned:
            report.lack("receipts", f"{where}: left out by thinning")
        elif bundle.manifest.first <= found.epoch <= bundle.manifest.last:
            report.need(right, "receipts", f"{where}: the bundle holds another share there, or none")
        elif found.epoch > bundle.manifest.last and found.deadline < bundle.manifest.made:
            report.fail("receipts", f"{where}: its epoch is withheld beyond the deadline")
        else:
            report.lack("receipts", f"{where}: its epoch is not here")


def compare(mine, other, report):
    """Look for what two bundles cannot both hold."""
    report.label("other bundles", "proven")
    same = mine.manifest.site == other.manifest.site
    known = {epoch.number: epoch.hash for epoch in other.preamble + other.epochs} if same else {}
    for epoch in mine.preamble + mine.epochs:
        right = known.get(epoch.number, epoch.hash) == epoch.hash
        report.need(right, "other bundles", f"two signed epochs {epoch.number} of one site: equivocation")
    both = {epoch.hash for epoch in mine.epochs} & {epoch.hash for epoch in other.epochs}
    theirs = {share.hash: share for share in other.shares if share.epoch.hash not in both}
    pairs = [
        (share, theirs[share.hash])
        for share in mine.shares
        if share.epoch.hash not in both and share.hash in theirs
    ]
    twice = sum(same or a.job.upstream == b.job.upstream for a, b in pairs)
    report.need(not twice, "other bundles", f"{twice} shares are in another bundle too")
    for a, b in pairs:
        if (
            not same
            and a.job.upstream != b.job.upstream
            and (b.log2, b.job.upstream) < (a.log2, a.job.upstream)
        ):
            mine.elsewhere.add(a.hash)
    ids = [
        {
            (c.registry, c.id)
            for epoch in b.epochs
            if epoch.hash not in both
            for c in epoch.logged
            if c.kind == 4
        }
        for b in (mine, other)
    ]
    report.need(
        not ids[0] & ids[1],
        "other bundles",
        f"certificates are in another bundle too: {sorted(ids[0] & ids[1])}",
    )


def verify(data, *, pinned=None, witnesses=frozenset(), trusted=None, headers=None, roots=()):
    """Check one bundle; gives the decoded bundle (None if it cannot be read) and the report."""
    report = Report()
    for name, label in LABELS.items():
        if name not in ("pinned key", "receipts", "other bundles"):
            report.label(name, label)
    try:
        bundle = read_bundle(data)
    except RefusedError as error:
        report.done = {}
        report.fail("container", str(error))
        return None, report
    known = bundle.preamble + bundle.epochs
    bundle.elsewhere = set()  # hashes of shares that count in another bundle
    bundle.by_hash, bundle.by_number = {e.hash: e for e in known}, {e.number: e for e in known}
    check_keys(bundle, report)
    check_epochs(bundle, report)
    check_key_records(bundle, report)
    check_seal(bundle, report)
    report.label("pinned key", "proven" if pinned else "asserted")
    if pinned:
        mine = {fingerprint(event.key).hex() for event in bundle.events} | {bundle.manifest.site.hex()}
        report.need(pinned.lower() in mine, "pinned key", "the site is not the one that was pinned")
    check_standing(bundle, report)
    check_records(bundle, report)
    check_shares(bundle, report)
    check_uniformity(bundle, report)
    chain = check_chain(bundle, report, trusted or {}, headers)
    others = SimpleNamespace(witnesses=witnesses, roots=[certificate(root) for root in roots])
    report.label("anchor", "asserted" if bundle.private else "proven")
    check_revocations(bundle, report, external_times(bundle, report, chain, others))
    registers = check_meters(bundle, report)
    check_energy(bundle, report, registers)
    check_sources(bundle, report)
    check_blocks(bundle, report, chain)
    check_payouts(bundle, report)
    return bundle, report


def together(found):
    """Add up what several bundles hold, each share once; None where that means nothing."""
    subjects = {bundle.subject if bundle else None for bundle, _ in found}
    epochs = [
        (bundle.manifest.site, epoch.number) for bundle, _ in found if bundle for epoch in bundle.epochs
    ]
    if (
        len(subjects) != 1
        or None in subjects
        or len(set(epochs)) != len(epochs)
        or any(report.verdict() == "invalid" for _, report in found)
    ):
        return None
    shares = [share for bundle, _ in found for share in bundle.shares if share.hash not in bundle.elsewhere]
    return {
        "subject": subjects.pop(),
        "shares": len(shares),
        "hashes": sum(share.stands_for for share in shares),
        "import_wh": sum(epoch.import_wh for bundle, _ in found for epoch in bundle.epochs),
    }


def account_at_pool(share):
    """Say whose an unbound share is by the table that was in force: the longest prefix of its extranonce1, else nobody's."""
    job, table = share.job, share.epoch.standing.get((16, share.job.source))
    accounts = dict(table.prefixes) if table else {}
    name = bytes([job.extranonce1_size]) + share.extranonce1.to_bytes(job.extranonce1_size, "big")
    return next((accounts[name[:n]] for n in range(len(name), 1, -1) if name[:n] in accounts), ZERO)


def work_at_pools(bundle):
    """Add up unbound work by pool and account, as the operator declared it beforehand."""
    found = defaultdict(lambda: [0, 0])
    for share in bundle.shares:
        if share.job.upstream:
            row = found[share.job.source, account_at_pool(share)]
            row[0], row[1] = row[0] + 1, row[1] + share.work
    return [
        {
            "pool": pool,
            "account": None if account == ZERO else account.hex(),
            "shares": shares,
            "hashes": work,
        }
        for (pool, account), (shares, work) in sorted(found.items())
    ]


def statement(bundle):
    """Give the figures that were recomputed; all of them count for a valid bundle only."""
    work = sum(share.work for share in bundle.shares)
    return {
        "site": bundle.manifest.site.hex(), "epochs": len(bundle.epochs), "shares": len(bundle.shares), "hashes": work,
        "scale": bundle.scale, "hashes_at_scale": sum(share.stands_for for share in bundle.shares),
        "import_wh": sum(epoch.import_wh for epoch in bundle.epochs),
        "payout_sat": bundle.paid, "upstream": work_at_pools(bundle),
    }  # fmt: skip


# Section 13: proofs about one epoch.


def signed_header(data):
    found = header(data)
    if not signed(found.key, "epoch", found.hash, found.signature):
        raise RefusedError("the epoch is not signed by the key it names")
    return found


def climb(domain, node, steps, widths):
    """Go up from a node; gives the root, and the sum of what stands before the node."""
    before = 0
    for left, sibling in steps:
        before += sibling[1][0] if left else 0
        try:
            node = merkle(domain, [sibling, node] if left else [node, sibling], widths)
        except OverflowError as error:
            raise RefusedError("a sum overflows") from error
    return node, before


def account_proof(reader):
    """Read and check the sum of one account."""
    found = SimpleNamespace(header=signed_header(reader.scalar("bytes")), account=reader.take(32))
    found.work, found.shares, found.root = reader.u(16), reader.u(8), reader.take(32)
    leaf = hashed(
        0x04, found.account, found.work.to_bytes(16, "big"), found.shares.to_bytes(8, "big"), found.root
    )
    root, found.before = climb(0x05, (leaf, (found.work,), found.shares), reader.path((16,)), (16,))
    if root != (found.header.accounts_root, (found.header.work,), found.header.shares):
        raise RefusedError("the sum does not lead to the root that was signed")
    return found


def share_proof(data):
    """Read and check a share with its job."""
    reader = Reader(data)
    found = account_proof(reader)
    leaf, found.log2, steps = reader.scalar("bytes"), reader.u(1), reader.path((16,))
    again, logged = signed_header(reader.scalar("bytes")), reader.scalar("bytes")
    job, widths = record(logged), (8,) * 6
    root, _ = climb(0x03, (job.leaf_hash, record_sums(job), 1), reader.path(widths), widths)
    reader.end()
    if again.raw != found.header.raw or (root[0], root[2]) != (again.records_root, again.records):
        raise RefusedError("the job does not lead to the root that was signed")
    if len(leaf) != LEAF.size or leaf[0] or job.kind != 1:
        raise RefusedError("no share and its job")
    found.fields = LEAF.unpack(leaf)[1:]
    work = 1 << min(found.log2, 127)
    root, before = climb(0x02, (sha(leaf), (work,), 1), steps, (16,))
    if root != (found.root, (found.work,), found.shares):
        raise RefusedError("the share does not lead to its account's root")
    found.before += before
    found.hashes = work
    holds(found, job)
    return found


def holds(found, job):
    """Hold a share and its job against section 8, as far as one epoch shows."""
    report, where = Report(), f"share {found.fields[0]}"
    report.need(job.work_log2 <= found.log2 <= 127 and job.upstream <= 1, "binding", f"{where}: work or kind")
    report.need(target_of(job.nbits), "binding", f"{where}: nbits out of range")
    report.need(job.id == found.fields[4], "binding", f"{where} is of another job")
    coinbase = coinbase_parts(job)
    if job.upstream:
        report.need(job.account == ZERO, "binding", f"{where}: unbound work for an account")
    else:
        check_coinbase(job, coinbase, report, where)
    try:
        hash_ = header_hash(job, found.fields, {})
    except OverflowError as error:
        raise RefusedError(f"{where}: an extranonce wider than the job's") from error
    share = SimpleNamespace(
        job=job,
        epoch=found.header,
        account=found.account,
        log2=found.log2,
        value=int.from_bytes(hash_, "little"),
    )
    check_share(share, found.fields, report, where)
    if report.failed:
        raise RefusedError("; ".join(what for row in report.failed.values() for what in row))


def check_openings(reader, randomness, epoch):
    """Check that each opening is the share at the point that was drawn for it."""
    opened, drawn, count = signed_header(reader.scalar("bytes")), reader.take(32), reader.u(4)
    if randomness not in (None, drawn) or epoch not in (None, opened.hash):
        raise RefusedError("openings for another draw, or of another epoch")
    shares = reader.field("*bytes")
    if not count or count != len(shares) or not opened.work:
        raise RefusedError(f"{count} draws, {len(shares)} openings")
    for number, data in enumerate(shares):
        text = b"\x0d" + opened.hash + drawn + number.to_bytes(4, "big")
        point = int.from_bytes(hashlib.sha384(text).digest(), "big") % opened.work
        found = share_proof(data)
        if found.header.hash != opened.hash or not found.before <= point < found.before + found.hashes:
            raise RefusedError(f"the opening for hash {point} is another share")
    return opened, {"draws": count, "own_randomness": randomness is not None}


def check_proof(data, *, randomness=None, epoch=None):
    """Check a file with a proof and say what it shows; raises RefusedError where it does not hold."""
    reader = Reader(data)
    if reader.take(17) != b"HASHWERK-PROOF\x00\x00\x01" or len(data) > MAX_SECTION:
        raise RefusedError("not a file with a proof")
    kind = reader.u(1)
    if kind == 1:
        found = account_proof(reader)
        figures = {"account": found.account.hex(), "shares": found.shares, "hashes": found.work}
    elif kind == 3:
        found = share_proof(reader.take(len(data) - reader.at))
        figures = {"account": found.account.hex(), "position": found.fields[0], "hashes": found.hashes}
    elif kind == 4:
        about, figures = check_openings(reader, randomness, epoch)
    else:
        raise RefusedError(f"a proof of kind {kind}")
    reader.end()
    about = about if kind == 4 else found.header
    if epoch not in (None, about.hash):
        raise RefusedError("a proof of another epoch")
    return {"site": about.site.hex(), "key": fingerprint(about.key).hex(), "epoch": about.number} | figures


def show_proof(chosen):
    """Check one file with a proof and print what it shows."""
    randomness, epoch = (value and bytes.fromhex(value) for value in (chosen.randomness, chosen.epoch))
    try:
        shown = {"holds": True} | check_proof(
            chosen.bundles[0].read_bytes(), randomness=randomness, epoch=epoch
        )
    except RefusedError as error:
        shown = {"holds": False, "why": str(error)}
    print(json.dumps(shown, indent=1) if chosen.json else ", ".join(f"{k} {v}" for k, v in shown.items()))  # noqa: T201
    return 0 if shown["holds"] else 1


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description="Verify evidence bundles, written from the specification alone."
    )
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--key", help="fingerprint of a key of the site, or its name, known from elsewhere")
    parser.add_argument(
        "--witness", action="append", default=[], help="key or fingerprint of a witness that you trust"
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="HEIGHT:HASH", help="a block that you know"
    )
    parser.add_argument(
        "--headers", type=Path, help="block headers, 80 bytes each, that lead to a known block"
    )
    parser.add_argument(
        "--tsa-roots", type=Path, help="PEM file with roots of time-stamping authorities that you trust"
    )
    parser.add_argument("--receipts", type=Path, help="a file of receipts to look up in the first bundle")
    parser.add_argument("--epoch", metavar="HASH", help="for a proof: the epoch's hash, known from elsewhere")
    parser.add_argument("--randomness", metavar="HEX", help="for openings: what you drew by")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    if any(path.stat().st_size > MAX_FILE for path in chosen.bundles):
        parser.error(f"a bundle of more than {MAX_FILE} bytes")
    with chosen.bundles[0].open("rb") as first:
        if first.read(14) == b"HASHWERK-PROOF":
            return show_proof(chosen)
    known = (block.split(":") for block in chosen.trust)
    trusted = {bytes.fromhex(hash_)[::-1]: int(height) for height, hash_ in known}
    headers = chosen.headers.read_bytes() if chosen.headers else None
    witnesses = {key.lower() for key in chosen.witness}
    roots = pem(chosen.tsa_roots.read_text()) if chosen.tsa_roots else ()
    found = [
        verify(
            path.read_bytes(),
            pinned=chosen.key,
            witnesses=witnesses,
            trusted=trusted,
            headers=headers,
            roots=roots,
        )
        for path in chosen.bundles
    ]
    if chosen.receipts and found[0][0]:
        try:
            check_receipts(*found[0], chosen.receipts.read_bytes())
        except RefusedError as error:
            found[0][1].fail("receipts", str(error))
    for mine, report in found:
        for other, _ in found:
            if mine and other and mine is not other:
                compare(mine, other, report)
    results = [
        {
            "file": str(path), "verdict": report.verdict(), "subject": bundle.subject if bundle else None,
            "checks": list(report.rows()), "statement": statement(bundle) if bundle else {},
        }
        for path, (bundle, report) in zip(chosen.bundles, found, strict=True)
    ]  # fmt: skip
    if chosen.json:
        several = {"bundles": results, "together": together(found)}
        print(json.dumps(results[0] if len(results) == 1 else several, indent=1))  # noqa: T201
    else:
        for result in results:
            print(f"{result['file']}: {result['verdict']} (subject: {result['subject'] or 'unknown'})")  # noqa: T201
            for row in result["checks"]:
                mark = {"valid": "ok", "invalid": "FAILS", "incomplete": "lacks"}[row["verdict"]]
                print(f"  {row['name']:<15} {mark:<6} {row['label']:<10} {row['detail']}".rstrip())  # noqa: T201
            figures = dict(result["statement"])
            for row in figures.pop("upstream", []):
                owner = row["account"] or "no account named"
                print(f"  for pool {row['pool']}, {owner}: shares {row['shares']}, hashes {row['hashes']}")  # noqa: T201
            print("  " + ", ".join(f"{name} {value}" for name, value in figures.items()))  # noqa: T201
        if len(results) > 1:
            print(f"together: {together(found) or 'these bundles are not added up'}")  # noqa: T201
    return 0 if all(result["verdict"] == "valid" for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
