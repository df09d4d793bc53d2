"""The one way to write a record as bytes: fields in order, big-endian, nothing optional in the spelling.

A layout is read off a struct's annotations, so the specification, the encoder and the decoder cannot part. Whatever
decodes encodes to the same bytes again: there is no second spelling of any value.
"""

from __future__ import annotations

import typing
import unicodedata
from collections.abc import Callable
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from hashwerk.errors import DecodeError, EvidenceError

MAX_BYTES: Final = 1 << 20
MAX_TEXT_BYTES: Final = 4096
MAX_ITEMS: Final = 1 << 16


class Field(NamedTuple):
    """How a field is written."""

    kind: str  # "uint", "int", "fixed", "bytes" or "text"
    size: int = 0  # bytes of a uint, int or fixed field


U8 = Annotated[int, Field("uint", 1)]
U16 = Annotated[int, Field("uint", 2)]
U32 = Annotated[int, Field("uint", 4)]
U64 = Annotated[int, Field("uint", 8)]
U128 = Annotated[int, Field("uint", 16)]
I64 = Annotated[int, Field("int", 8)]
Hash32 = Annotated[bytes, Field("fixed", 32)]
Signature64 = Annotated[bytes, Field("fixed", 64)]
Blob = Annotated[bytes, Field("bytes")]  # 4 bytes of length, then the bytes
Text = Annotated[
    str, Field("text")
]  # 2 bytes of length, then UTF-8 in normal form C without control characters


class Reader:
    """A position in bytes that moves forwards only."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes.

        Raises:
            DecodeError: If there are fewer.
        """
        end = self.position + size
        if end > len(self.data):
            raise DecodeError(
                f"{size} bytes wanted at {self.position}, {len(self.data) - self.position} left"
            )
        part = self.data[self.position : end]
        self.position = end
        return part

    def uint(self, size: int) -> int:
        """Return the next ``size`` bytes as an unsigned number."""
        return int.from_bytes(self.take(size), "big")

    def finish(self, what: str) -> None:
        """Refuse trailing bytes.

        Raises:
            DecodeError: If there are any.
        """
        if self.position != len(self.data):
            raise DecodeError(f"{len(self.data) - self.position} bytes after the end of the {what}")


class _Codec(NamedTuple):
    write: Callable[[bytearray, Any], None]
    read: Callable[[Reader], Any]
    describe: str


Kind = TypeVar("Kind", bound=msgspec.Struct)


class Layout(Generic[Kind]):
    """The canonical bytes of one struct: its fields in the order of the class, nothing between them."""

    def __init__(self, kind: type[Kind]) -> None:
        hints = typing.get_type_hints(kind, include_extras=True)
        self._kind = kind
        self._codecs = [(name, _codec(hints[name])) for name in kind.__struct_fields__]

    def encode(self, value: Kind) -> bytes:
        """Return the bytes of a struct.

        Raises:
            EvidenceError: If a field does not fit; the message names it.
        """
        out = bytearray()
        for name, codec in self._codecs:
            try:
                codec.write(out, getattr(value, name))
            except (EvidenceError, OverflowError) as error:
                raise EvidenceError(f"{self._kind.__name__}.{name}: {error}") from error
        return bytes(out)

    def read(self, reader: Reader) -> Kind:
        """Return the struct at the reader's position.

        Raises:
            DecodeError: If the bytes are not the one spelling of such a struct.
        """
        values: dict[str, Any] = {}
        for name, codec in self._codecs:
            try:
                values[name] = codec.read(reader)
            except DecodeError as error:
                raise DecodeError(f"{self._kind.__name__}.{name}: {error}") from error
        return self._kind(**values)

    def decode(self, data: bytes) -> Kind:
        """Return the struct that exactly these bytes spell.

        Raises:
            DecodeError: If they do not.
        """
        reader = Reader(data)
        value = self.read(reader)
        reader.finish(self._kind.__name__)
        return value

    def describe(self) -> list[tuple[str, str]]:
        """Return name and spelling of every field, for the specification."""
        return [(name, codec.describe) for name, codec in self._codecs]


def check_text(text: str) -> bytes:
    """Return a text as UTF-8.

    Raises:
        EvidenceError: If it is too long, not in normal form C, or holds control characters.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise EvidenceError(f"not a text: {error}") from error
    if len(data) > MAX_TEXT_BYTES:
        raise EvidenceError(f"text of {len(data)} bytes, {MAX_TEXT_BYTES} are allowed")
    if not unicodedata.is_normalized("NFC", text):
        raise EvidenceError("text is not in normal form C")
    if any(unicodedata.category(letter) == "Cc" for letter in text):
        raise EvidenceError("text holds control characters")
    return data


def _codec(annotation: Any) -> _Codec:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Annotated:
        return _CODECS[arguments[1].kind](arguments[1].size)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _list(_codec(arguments[0]))
    if type(None) in arguments:
        return _optional(_codec(next(part for part in arguments if part is not type(None))))
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        layout = Layout(annotation)
        inner = ", ".join(f"{name}: {text}" for name, text in layout.describe())
        return _Codec(lambda out, value: out.extend(layout.encode(value)), layout.read, f"({inner})")
    raise TypeError(f"no canonical form for {annotation}")


def _uint(size: int) -> _Codec:
    def write(out: bytearray, value: int) -> None:
        if not 0 <= value < 1 << 8 * size:
            raise EvidenceError(f"{value} does not fit {8 * size} bits without sign")
        out += value.to_bytes(size, "big")

    return _Codec(write, lambda reader: reader.uint(size), f"u{8 * size}")


def _int(size: int) -> _Codec:
    def read(reader: Reader) -> int:
        return int.from_bytes(reader.take(size), "big", signed=True)

    return _Codec(
        lambda out, value: out.extend(value.to_bytes(size, "big", signed=True)), read, f"i{8 * size}"
    )


def _fixed(size: int) -> _Codec:
    def write(out: bytearray, value: bytes) -> None:
        if len(value) != size:
            raise EvidenceError(f"{len(value)} bytes instead of {size}")
        out += value

    return _Codec(write, lambda reader: reader.take(size), f"{size} bytes")


def _bytes(_: int) -> _Codec:
    def write(out: bytearray, value: bytes) -> None:
        if len(value) > MAX_BYTES:
            raise EvidenceError(f"{len(value)} bytes, {MAX_BYTES} are allowed")
        out += len(value).to_bytes(4, "big") + value

    def read(reader: Reader) -> bytes:
        size = reader.uint(4)
        if size > MAX_BYTES:
            raise DecodeError(f"{size} bytes announced, {MAX_BYTES} are allowed")
        return reader.take(size)

    return _Codec(write, read, "bytes")


def _text(_: int) -> _Codec:
    def write(out: bytearray, value: str) -> None:
        data = check_text(value)
        out += len(data).to_bytes(2, "big") + data

    def read(reader: Reader) -> str:
        data = reader.take(reader.uint(2))
        try:
            text = data.decode()
            check_text(text)
        except (UnicodeDecodeError, EvidenceError) as error:
            raise DecodeError(f"not a canonical text: {error}") from error
        return text

    return _Codec(write, read, "text")


def _list(item: _Codec) -> _Codec:
    def write(out: bytearray, values: tuple[Any, ...]) -> None:
        if len(values) > MAX_ITEMS:
            raise EvidenceError(f"{len(values)} items, {MAX_ITEMS} are allowed")
        out += len(values).to_bytes(4, "big")
        for value in values:
            item.write(out, value)

    def read(reader: Reader) -> tuple[Any, ...]:
        count = reader.uint(4)
        # Every item has at least one byte, so a lying count costs nothing.
        if count > min(MAX_ITEMS, len(reader.data) - reader.position):
            raise DecodeError(f"{count} items announced")
        return tuple(item.read(reader) for _ in range(count))

    return _Codec(write, read, f"list of {item.describe}")


def _optional(item: _Codec) -> _Codec:
    def write(out: bytearray, value: Any) -> None:
        out.append(0 if value is None else 1)
        if value is not None:
            item.write(out, value)

    def read(reader: Reader) -> Any:
        flag = reader.uint(1)
        if flag > 1:
            raise DecodeError(f"presence is 0 or 1, not {flag}")
        return item.read(reader) if flag else None

    return _Codec(write, read, f"optional {item.describe}")


_CODECS: Final[dict[str, Callable[[int], _Codec]]] = {
    "uint": _uint,
    "int": _int,
    "fixed": _fixed,
    "bytes": _bytes,
    "text": _text,
}
