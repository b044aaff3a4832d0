"""What a .pth file must be before and after PyTorch reads it, so that reading it costs no more than its bytes.

torch.save writes a zip archive of a pickle and, one record each, the bytes of tensors. `torch.load(weights_only=True)`
runs no code that a file brings, but unpacks whatever is claimed: compressed records, bytearrays of any length, tensors
that repeat one number for ever.
"""

import io
import itertools
import pickletools
import re
import zipfile
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from mnist_cnn.common.names import printable

MOST_PICKLE = 4 * 2**20  # bytes; a checkpoint of `default` has 8,000
MOST_RECORDS = 2**17
MOST_ITEMS = 2**18  # values and tensors, as often as they are referred to
MOST_DEPTH = 20  # of nested values
OURS = (b"data_sha256", b"ood_detector")  # keys that no other program's checkpoints have
HARMLESS = re.compile(r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|torch \w+Storage")
OTHERS = {
    b"": "is empty",
    b"\x80": "is a bare pickle, as torch.save wrote before PyTorch 1.6",
    b"\x08": "is an ONNX model, whose name ends in .onnx",
}
"""How other files begin."""


class ArchiveError(ValueError):
    """What is wrong with an archive; the message is what follows the file's name."""


def open_archive(archive: bytes, version: int, whole: bool) -> Any:
    """Load an archive.

    Args:
        archive: what torch.save wrote.
        version: of the format, which must be its content's `format_version`.
        whole: whether its SHA-256 is right.

    Raises:
        ArchiveError: it is damaged, of another version or another program, or claims more than it holds.
    """
    try:
        pickle, copy = repacked(archive)
        names, found = look_into(pickle)
    except Exception as error:  # damaged bytes can fail in any way
        if not whole and any(key in archive for key in OURS):
            raise ArchiveError("is damaged (wrong SHA-256)") from None
        if isinstance(error, ArchiveError):
            raise
        raise ArchiveError(f"is damaged or cut off ({printable(error, 300)})") from None
    if found not in (None, version):
        raise ArchiveError(f"has checkpoint format {found}, this program reads {version}")
    if found and not whole:
        raise ArchiveError("is damaged (wrong SHA-256)")
    if code := sorted(name for name in names if not HARMLESS.fullmatch(name)):
        raise ArchiveError(
            f"holds pickled code of another program, which was not run ({printable(', '.join(code), 300)})"
        )
    if not found:
        raise ArchiveError(f"has no checkpoint format (another program wrote it), this program reads {version}")
    try:
        copy.seek(0)
        content = torch.load(copy, map_location="cpu", weights_only=True)
    except Exception as error:  # crafted bytes can fail in any way
        raise ArchiveError(f"is no archive that PyTorch can read ({type(error).__name__})") from None
    check_values(content, len(archive))
    return content


def repacked(archive: bytes) -> tuple[bytes, io.BytesIO]:
    """Copy an archive whose records are stored one beside the other, none compressed.

    The copy holds what was checked here; the archive could have a second table of contents that only PyTorch finds.

    Returns:
        The pickle, and the copy.

    Raises:
        ArchiveError: it is not such an archive.
    """
    if not archive.startswith(b"PK"):
        raise ArchiveError(f"{OTHERS.get(archive[:1], f'begins with {archive[:8]!r}')}: no PyTorch archive")
    if archive.count(b"PK\x01\x02") > MOST_RECORDS:
        raise ArchiveError(f"has more than {MOST_RECORDS:,} records")
    copy = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(copy, "w") as new:
        records = old.infolist()
        packed = any(record.compress_type or record.file_size != record.compress_size for record in records)
        repeated = len({record.filename for record in records}) < len(records)
        pickles = [record for record in records if record.filename.endswith("/data.pkl")]
        if packed or repeated or sum(record.file_size for record in records) > len(archive) or len(pickles) != 1:
            raise ArchiveError("is a zip archive, but not one that torch.save writes")
        if pickles[0].file_size > MOST_PICKLE:
            raise ArchiveError(f"holds a pickle of more than {MOST_PICKLE:,} bytes")
        for record in records:
            new.writestr(record.filename, old.read(record))
        return old.read(pickles[0]), copy


def look_into(pickle: bytes) -> tuple[set[str], int | None]:
    """Find, without loading it, the names a pickle refers to, and the number that follows the text `format_version`.

    Raises:
        ValueError: it is cut off or no pickle.
    """
    puts = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
    steps = [(step.name, value) for step, value, _ in pickletools.genops(pickle) if step.name not in puts]
    names = {str(value) for name, value in steps if name == "GLOBAL"}
    names |= {name for name, _ in steps if name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4")}
    versions = (after for (_, value), (_, after) in itertools.pairwise(steps) if value == "format_version")
    version = next(versions, None)
    return names, version if isinstance(version, int) else None


def check_values(content: object, most: int) -> None:
    """Check that what was loaded is plain: numbers, texts, dicts, lists and tensors of at most so many bytes.

    Raises:
        ArchiveError: it is not.
    """
    waiting: list[tuple[object, int]] = [(content, 0)]
    for _ in range(MOST_ITEMS):
        if not waiting:
            return
        value, depth = waiting.pop()
        if isinstance(value, Tensor):
            check_tensor(value, most)
        elif type(value) in (dict, OrderedDict, list, tuple):
            inner = [*value, *value.values()] if isinstance(value, dict) else [*value]  # type: ignore[misc]
            waiting += [(one, depth + 1) for one in inner]
        elif not (value is None or isinstance(value, str | float) or (isinstance(value, int) and abs(value) < 2**63)):
            raise ArchiveError(f"holds {type(value).__name__} {printable(value, 40)}, which is no plain value")
        if depth > MOST_DEPTH or len(waiting) > MOST_ITEMS:
            break
    raise ArchiveError(f"holds more than {MOST_ITEMS:,} values, or values nested more than {MOST_DEPTH} deep")


def check_tensor(tensor: Tensor, most: int) -> None:
    """Check that a tensor is an ordinary one whose numbers are all there.

    Raises:
        ArchiveError: it is not.
    """
    storage = tensor.untyped_storage().nbytes()
    if tensor.requires_grad or tensor.numel() * tensor.element_size() > storage or storage > most:
        raise ArchiveError(f"holds a tensor of shape {tuple(tensor.shape)} with {storage:,} bytes")
