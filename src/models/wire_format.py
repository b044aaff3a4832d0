"""Decodes the Protocol Buffers wire format (https://protobuf.dev/programming-guides/encoding) without protobuf."""

from collections.abc import Iterator
from typing import NamedTuple

MAX_FIELDS = 2**18  # of a message and those nested in it: a second's work; an .onnx of `default` has 1,600
MAX_VARINT_BYTES = 10

Value = int | memoryview


class Schema(NamedTuple):
    """Field numbers that a message may have."""

    singular: tuple[int, ...] = ()
    repeated: tuple[int, ...] = ()


class Message:
    """The fields of a message, by number."""

    def __init__(self, content: Value, schema: Schema, budget: Iterator[int] | None = None) -> None:
        """Decode a message.

        Args:
            content: its bytes.
            schema: the fields it may have.
            budget: shared with the enclosing message; ends after `MAX_FIELDS` fields.

        Raises:
            ValueError: it is truncated, has too many fields, an unknown one, or a singular one twice.
        """
        self.budget = iter(range(MAX_FIELDS)) if budget is None else budget
        self.values: dict[int, list[Value]] = {}
        for number, value in read_fields(as_bytes(content)):
            self.spend()
            if number not in schema.repeated and (number not in schema.singular or number in self.values):
                raise ValueError(f"field {number} is unknown or repeated")
            self.values.setdefault(number, []).append(value)

    def spend(self) -> None:
        """Count one more field or packed integer.

        Raises:
            ValueError: the budget is spent.
        """
        if next(self.budget, None) is None:
            raise ValueError(f"more than {MAX_FIELDS:,} fields")

    def integer(self, field: int) -> int:
        """Return a singular integer field, by default 0."""
        (value,) = self.values.get(field, [0])
        if not isinstance(value, int):
            raise ValueError(f"field {field} is not an integer")
        return value

    def content(self, field: int) -> memoryview:
        """Return the bytes of a singular field, by default none."""
        (value,) = self.values.get(field, [memoryview(b"")])
        return as_bytes(value)

    def text(self, field: int) -> str:
        """Return a singular string field, by default empty."""
        return str(self.content(field), "utf-8")

    def texts(self, field: int) -> tuple[str, ...]:
        """Return the values of a repeated string field."""
        return tuple(str(as_bytes(value), "utf-8") for value in self.values.get(field, []))

    def integers(self, field: int) -> tuple[int, ...]:
        """Return the values of a repeated integer field, packed or not."""
        found = []
        for value in self.values.get(field, []):
            for integer in [value] if isinstance(value, int) else read_packed(value):
                self.spend()
                found.append(integer)
        return tuple(found)

    def message(self, field: int, schema: Schema) -> "Message":
        """Return a singular message field, by default an empty message."""
        return Message(self.content(field), schema, self.budget)

    def messages(self, field: int, schema: Schema) -> Iterator["Message"]:
        """Return the values of a repeated message field."""
        return (Message(value, schema, self.budget) for value in self.values.get(field, []))


def as_bytes(value: Value) -> memoryview:
    """Return the bytes of a length-delimited or fixed-size field.

    Raises:
        ValueError: the field is a varint.
    """
    if isinstance(value, int):
        raise ValueError("an integer in place of bytes")
    return value


def read_fields(content: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield number and value of each field of a message.

    Raises:
        ValueError: it is truncated or has an unknown wire type.
    """
    offset = 0
    while offset < len(content):
        tag, offset = read_varint(content, offset)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:  # varint
            value, offset = read_varint(content, offset)
            yield number, value
            continue
        size = {1: 8, 5: 4}.get(wire_type, 0)  # fixed64, fixed32
        if wire_type == 2:  # length-delimited
            size, offset = read_varint(content, offset)
        if wire_type not in (1, 2, 5) or not 0 <= size <= len(content) - offset:
            raise ValueError("cut off, or no protobuf message")
        yield number, content[offset : offset + size]
        offset += size


def read_varint(content: memoryview, offset: int) -> tuple[int, int]:
    """Read the signed 64-bit varint at an offset; return it and the offset after it.

    Raises:
        ValueError: it has no end.
    """
    value = 0
    for index, byte in enumerate(content[offset : offset + MAX_VARINT_BYTES]):
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value - 2**64 if value >= 2**63 else value, offset + index + 1
    raise ValueError("cut off, or no protobuf message")


def read_packed(content: memoryview) -> Iterator[int]:
    """Yield the varints of a packed field."""
    offset = 0
    while offset < len(content):
        value, offset = read_varint(content, offset)
        yield value
