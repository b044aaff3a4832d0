"""What lies in a folder beside the pictures that can be read."""

from collections import Counter
from pathlib import Path

from mnist_cnn.common.console import pluralize
from mnist_cnn.pictures.image_io import SUFFIXES

PICTURE = "picture"
SYSTEMS = ("__macosx", "@eadir", "thumbs.db", "desktop.ini")  # of macOS, Synology and Windows, in lower case


def without_pictures(kinds: Counter[str]) -> str:
    """Say what there is besides pictures, the most first."""
    return ", ".join(pluralize(number, name) for name, number in kinds.most_common() if name != PICTURE)


def is_hidden(path: Path) -> bool:
    """Tell what systems put beside a person's own files, AppleDouble's `._` files too."""
    return path.name.startswith(".") or path.name.lower() in SYSTEMS


def kind(path: Path) -> str:
    """Say what an entry of a class folder is."""
    if path.is_dir():
        return "hidden folder" if is_hidden(path) else "nested folder"
    if is_hidden(path):
        return "hidden file"
    suffix = path.suffix.lower()
    return PICTURE if suffix in SUFFIXES else f"{suffix} file" if suffix.isprintable() and suffix else "other file"
