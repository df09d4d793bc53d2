"""Just enough DER to read what an RFC 3161 response is of, by a rule that a second program can follow to the letter."""

from __future__ import annotations

from typing import Final

from hashwerk.errors import DecodeError

INTEGER: Final = 0x02
OCTETS: Final = 0x04
OBJECT: Final = 0x06
SEQUENCE: Final = 0x30
SET: Final = 0x31
CONTEXT_0: Final = 0xA0
_SIGNED_DATA: Final = bytes.fromhex("2a864886f70d010702")
_TST_INFO: Final = bytes.fromhex("2a864886f70d0109100104")
_SHA256: Final = bytes.fromhex("608648016503040201")
_GRANTED: Final = (b"\x00", b"\x01")


class Der:
    """Values of DER, one after the other. Lengths are definite and in their shortest form."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, tag: int) -> bytes:
        """Return the content of the next value.

        Raises:
            DecodeError: If it is of another kind, or cut short.
        """
        data, at = self._data, self._at
        if len(data) < at + 2 or data[at] != tag:
            raise DecodeError(f"no DER value of kind {tag:02x} at byte {at}")
        size, at = data[at + 1], at + 2
        if size >= 128:
            width = size & 127
            size, at = int.from_bytes(data[at : at + width], "big"), at + width
            if not 1 <= width <= 4 or size < max(128, 1 << 8 * (width - 1)):
                raise DecodeError("a length of DER that is not in its shortest form")
        if at + size > len(data):
            raise DecodeError("a DER value is cut short")
        self._at = at + size
        return data[at : self._at]

    def inside(self, tag: int) -> Der:
        """Return the values inside the next one."""
        return Der(self.take(tag))

    def finish(self) -> None:
        """Refuse what follows.

        Raises:
            DecodeError: If there is anything.
        """
        if self._at != len(self._data):
            raise DecodeError(f"{len(self._data) - self._at} bytes after a DER value")


def timestamp_imprint(data: bytes) -> bytes:
    """Return what an RFC 3161 response (TimeStampResp) is of: the SHA-256 imprint of its TSTInfo.

    Raises:
        DecodeError: If it is no such response, or not granted.
    """
    whole = Der(data)
    response = whole.inside(SEQUENCE)
    whole.finish()
    if response.inside(SEQUENCE).take(INTEGER) not in _GRANTED:
        raise DecodeError("the authority did not grant the stamp")
    token = response.inside(SEQUENCE)
    response.finish()
    if token.take(OBJECT) != _SIGNED_DATA:
        raise DecodeError("not signed data")
    signed = token.inside(CONTEXT_0).inside(SEQUENCE)
    signed.take(INTEGER)
    signed.take(SET)
    content = signed.inside(SEQUENCE)
    if content.take(OBJECT) != _TST_INFO:
        raise DecodeError("not a time-stamp token")
    info = content.inside(CONTEXT_0).inside(OCTETS).inside(SEQUENCE)
    info.take(INTEGER)
    info.take(OBJECT)
    imprint = info.inside(SEQUENCE)
    if imprint.inside(SEQUENCE).take(OBJECT) != _SHA256:
        raise DecodeError("the imprint is not of SHA-256")
    return imprint.take(OCTETS)
