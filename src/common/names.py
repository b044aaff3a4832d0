"""Valid names of classes, datasets and models, and text made safe to print."""

import re
from collections.abc import Sequence
from datetime import date

MAX_CLASSES = 4096
MAX_CHARACTERS = 255  # the limit of folder names, which are class names too
FORMULA = tuple("=+-@\t\r\n")  # how a cell begins that a spreadsheet computes (OWASP, "CSV Injection")
JOINERS = "\u200c\u200d"  # zero-width joiners of Persian, Hindi and emoji: not printable, but harmless


def check_name(name: object, what: str) -> None:
    """Check that a name can be printed: no escape sequence, no line break, no bidirectional control character.

    Markup is allowed: the web page shows names as text.

    Raises:
        ValueError: it cannot be printed, is empty or too long.
    """
    if (
        not isinstance(name, str)
        or not 1 <= len(name) <= MAX_CHARACTERS
        or not all(character.isprintable() or character in JOINERS for character in name)
    ):
        raise ValueError(f"{what} {repr(name)[:40]}, which is not 1 to {MAX_CHARACTERS} printable characters")


def check_classes(names: Sequence[object]) -> None:
    """Check that class names can be printed and are distinct.

    Raises:
        ValueError: they are not, or there are too many.
    """
    if not 1 <= len(names) <= MAX_CLASSES:
        raise ValueError(f"{len(names):,} classes, which is not 1 to {MAX_CLASSES:,}")
    for name in names:
        check_name(name, "the class")
    if len({*names}) < len(names):
        raise ValueError(f"two classes of the name {max(names, key=names.count)!r}")


def check_date(text: object) -> None:
    """Check that a text is a date, YYYY-MM-DD.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(text, str) or not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError(f"the date {repr(text)[:40]}, which is not YYYY-MM-DD")
    date.fromisoformat(text)


def printable(text: object, limit: int | None = None) -> str:
    r"""Escape control characters and bidirectional overrides (\x1b, \n, \u202e) in the first `limit` characters."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(text)[:limit])


def cell(text: str) -> str:
    """Spell text so that it takes one line of a table and no spreadsheet computes it."""
    return ("'" if text.startswith(FORMULA) else "") + printable(text)
