"""Classifies the entries of folders: pictures, hidden files, other files."""

from collections import Counter
from pathlib import Path

from mnist_cnn.common.console import pluralize
from mnist_cnn.pictures.image_io import SUFFIXES

PICTURE, PDF = "picture", ".pdf file"
SYSTEM_NAMES = ("__macosx", "@eadir", "thumbs.db", "desktop.ini")  # of macOS, Synology and Windows, in lower case


def without_pictures(kinds: Counter[str]) -> str:
    """List the kinds other than pictures with their counts, the most frequent first."""
    return ", ".join(pluralize(number, name) for name, number in kinds.most_common() if name != PICTURE)


def is_hidden(path: Path) -> bool:
    """Return whether a file or folder is hidden or the operating system's, like AppleDouble's `._` files."""
    return path.name.startswith(".") or path.name.lower() in SYSTEM_NAMES


def kind(path: Path) -> str:
    """Return the kind of an entry of a folder."""
    if path.is_dir():
        return "hidden folder" if is_hidden(path) else "nested folder"
    if is_hidden(path):
        return "hidden file"
    suffix = path.suffix.lower()
    return PICTURE if suffix in SUFFIXES else f"{suffix} file" if suffix.isprintable() and suffix else "other file"
