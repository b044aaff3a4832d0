"""What classes, datasets and models may be called, wherever the names come from."""

from collections.abc import Sequence

MOST_CLASSES = 4096
MOST_LETTERS = 255  # as many as the name of a folder, which a class may be named by
JOINERS = "\u200c\u200d"  # shape the letters beside them, in Persian, Hindi and emoji: no danger, if not printable


def check_name(name: object, what: str) -> None:
    """Check that a name can be shown: no escape sequence, no line break, nothing that turns the direction of writing.

    Markup is no danger: the page shows names as text.

    Raises:
        ValueError: it cannot, is empty or is too long.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= MOST_LETTERS or not all(map(is_shown, name)):
        raise ValueError(f"{what} {repr(name)[:40]}, which is not 1 to {MOST_LETTERS} printable characters")


def is_shown(letter: str) -> bool:
    """Tell whether a letter, or what joins two, can be shown."""
    return letter.isprintable() or letter in JOINERS


def check_classes(names: Sequence[object]) -> None:
    """Check that classes can be shown and told apart.

    Raises:
        ValueError: they cannot, or are too many.
    """
    if not 1 <= len(names) <= MOST_CLASSES:
        raise ValueError(f"{len(names):,} classes, which is not 1 to {MOST_CLASSES:,}")
    for name in names:
        check_name(name, "the class")
    if len({*names}) < len(names):
        raise ValueError(f"two classes of the name {max(names, key=names.count)!r}")


def one_line(text: object) -> str:
    """Return the beginning of a text, what cannot be printed replaced by spaces."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text)[:300])
