"""Protobuf messages taken apart without the protobuf package: https://protobuf.dev/programming-guides/encoding."""

from collections.abc import Iterator
from typing import NamedTuple

MOST_FIELDS = 2**18  # of a message, those of nested messages too: a second's work; an .onnx of `default` has 1,600
MOST_VARINT = 10  # bytes

Value = int | memoryview


class Known(NamedTuple):
    """The fields that a message may have: once, and any number of times."""

    once: tuple[int, ...] = ()
    often: tuple[int, ...] = ()


class Message:
    """The fields of a message, by number."""

    def __init__(self, content: Value, known: Known, left: Iterator[int] | None = None) -> None:
        """Split a message.

        Args:
            content: its bytes.
            known: the fields it may have.
            left: ends when the message around it has had too many fields.

        Raises:
            ValueError: it is cut off, has too many fields, an unknown one, or one too often.
        """
        self.left = iter(range(MOST_FIELDS)) if left is None else left
        self.values: dict[int, list[Value]] = {}
        for number, value in split(as_bytes(content)):
            self.count()
            if number not in known.often and (number not in known.once or number in self.values):
                raise ValueError(f"field {number} is unknown or repeated")
            self.values.setdefault(number, []).append(value)

    def count(self) -> None:
        """Count one more field or number.

        Raises:
            ValueError: that is one too many.
        """
        if next(self.left, None) is None:
            raise ValueError(f"more than {MOST_FIELDS:,} fields")

    def number(self, field: int) -> int:
        """Return an integer field; 0 where there is none."""
        (value,) = self.values.get(field, [0])
        if not isinstance(value, int):
            raise ValueError(f"field {field} is no number")
        return value

    def content(self, field: int) -> memoryview:
        """Return the bytes of a field; none where there is none."""
        (value,) = self.values.get(field, [memoryview(b"")])
        return as_bytes(value)

    def text(self, field: int) -> str:
        """Return a field of text; empty where there is none."""
        return str(self.content(field), "utf-8")

    def texts(self, field: int) -> tuple[str, ...]:
        """Return the texts of a repeated field."""
        return tuple(str(as_bytes(value), "utf-8") for value in self.values.get(field, []))

    def numbers(self, field: int) -> tuple[int, ...]:
        """Return the integers of a repeated field, packed or not."""
        found = []
        for value in self.values.get(field, []):
            for number in [value] if isinstance(value, int) else varints(value):
                self.count()
                found.append(number)
        return tuple(found)

    def message(self, field: int, known: Known) -> "Message":
        """Return the message in a field; an empty one where there is none."""
        return Message(self.content(field), known, self.left)

    def messages(self, field: int, known: Known) -> Iterator["Message"]:
        """Return the messages of a repeated field."""
        return (Message(value, known, self.left) for value in self.values.get(field, []))


def as_bytes(value: Value) -> memoryview:
    """Return a field's bytes.

    Raises:
        ValueError: it is a number.
    """
    if isinstance(value, int):
        raise ValueError("a number in place of bytes")
    return value


def split(content: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield the number and value of each field of a message.

    Raises:
        ValueError: it is cut off or no message.
    """
    place = 0
    while place < len(content):
        tag, place = varint(content, place)
        kind, size = tag & 7, {1: 8, 5: 4}.get(tag & 7, 0)
        if kind == 0:
            value, place = varint(content, place)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, place = varint(content, place)
        if kind not in (1, 2, 5) or not 0 <= size <= len(content) - place:
            raise ValueError("cut off, or no protobuf message")
        yield tag >> 3, content[place : place + size]
        place += size


def varint(content: memoryview, place: int) -> tuple[int, int]:
    """Read the signed 64-bit integer at a place; return it and the place after it.

    Raises:
        ValueError: it does not end.
    """
    value = 0
    for count, byte in enumerate(content[place : place + MOST_VARINT]):
        value |= (byte & 127) << (7 * count)
        if byte < 128:
            return value - 2**64 if value >= 2**63 else value, place + count + 1
    raise ValueError("cut off, or no protobuf message")


def varints(content: memoryview) -> Iterator[int]:
    """Yield the integers that are packed into a field."""
    place = 0
    while place < len(content):
        value, place = varint(content, place)
        yield value
