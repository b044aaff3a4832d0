"""Validates .pth archives before and after `torch.load`, so that a crafted file cannot exhaust memory or time.

torch.save writes a zip archive with one pickle and one record per tensor storage. `torch.load(weights_only=True)` runs
no code from the file, but allocates whatever it claims: compressed records, bytearrays of any length, tensors of stride
0 that repeat one number.
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

MAX_PICKLE_BYTES = 4 * 2**20  # a checkpoint of `default` has 8,000
MAX_RECORDS = 2**17
MAX_VALUES = 2**18  # values and tensors, each reference counted
MAX_DEPTH = 20  # of nested values
OWN_KEYS = (b"data_sha256", b"ood_detector")  # keys that only checkpoints of this program have
ALLOWED_GLOBALS = re.compile(r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|torch \w+Storage")
SIGNATURES = {
    b"": "is empty",
    b"\x80": "is a bare pickle, as torch.save wrote before PyTorch 1.6",
    b"\x08": "is an ONNX model, whose name ends in .onnx",
}
"""First bytes of other kinds of files."""


class ArchiveError(ValueError):
    """An invalid archive; the message continues a sentence that begins with the file's name."""


def open_archive(archive: bytes, version: int, intact: bool) -> Any:
    """Load an archive that torch.save wrote.

    Args:
        archive: the bytes of the file.
        version: the expected `format_version`.
        intact: whether its checksum matches.

    Raises:
        ArchiveError: it is damaged, of another version or program, or claims more data than it holds.
    """
    try:
        pickle, copy = repack(archive)
        global_names, found = scan_pickle(pickle)
    except Exception as error:  # zipfile and pickletools raise many types for damaged bytes
        if not intact and any(key in archive for key in OWN_KEYS):
            raise ArchiveError("is damaged (wrong SHA-256)") from None
        if isinstance(error, ArchiveError):
            raise
        raise ArchiveError(f"is damaged or cut off ({printable(error, 300)})") from None
    if found not in (None, version):
        raise ArchiveError(f"has checkpoint format {found}, this program reads {version}")
    if found and not intact:
        raise ArchiveError("is damaged (wrong SHA-256)")
    if code := sorted(name for name in global_names if not ALLOWED_GLOBALS.fullmatch(name)):
        raise ArchiveError(
            f"holds pickled code of another program, which was not run ({printable(', '.join(code), 300)})"
        )
    if not found:
        raise ArchiveError(f"has no checkpoint format (another program wrote it), this program reads {version}")
    try:
        copy.seek(0)
        content = torch.load(copy, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many types for crafted bytes
        raise ArchiveError(f"is no archive that PyTorch can read ({type(error).__name__})") from None
    check_values(content, len(archive))
    return content


def repack(archive: bytes) -> tuple[bytes, io.BytesIO]:
    """Copy an archive of uncompressed, distinct records.

    Only the copy is loaded: an archive can have a second central directory, which PyTorch finds and zipfile does not.

    Returns:
        The pickle, and the copy.

    Raises:
        ArchiveError: it is not an archive of torch.save.
    """
    if not archive.startswith(b"PK"):
        raise ArchiveError(f"{SIGNATURES.get(archive[:1], f'begins with {archive[:8]!r}')}: no PyTorch archive")
    if archive.count(b"PK\x01\x02") > MAX_RECORDS:
        raise ArchiveError(f"has more than {MAX_RECORDS:,} records")
    copy = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(copy, "w") as target:
        records = source.infolist()
        compressed = any(record.compress_type or record.file_size != record.compress_size for record in records)
        repeated = len({record.filename for record in records}) < len(records)
        pickles = [record for record in records if record.filename.endswith("/data.pkl")]
        if compressed or repeated or sum(record.file_size for record in records) > len(archive) or len(pickles) != 1:
            raise ArchiveError("is a zip archive, but not one that torch.save writes")
        if pickles[0].file_size > MAX_PICKLE_BYTES:
            raise ArchiveError(f"holds a pickle of more than {MAX_PICKLE_BYTES:,} bytes")
        for record in records:
            target.writestr(record.filename, source.read(record))
        return source.read(pickles[0]), copy


def scan_pickle(pickle: bytes) -> tuple[set[str], int | None]:
    """Read a pickle's opcodes without executing them.

    Returns:
        The globals it imports, and the integer after the text `format_version`, None if there is none.

    Raises:
        ValueError: it is truncated or no pickle.
    """
    memo = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
    opcodes = [(opcode.name, value) for opcode, value, _ in pickletools.genops(pickle) if opcode.name not in memo]
    global_names = {str(value) for name, value in opcodes if name == "GLOBAL"}
    global_names |= {name for name, _ in opcodes if name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4")}
    versions = (after for (_, value), (_, after) in itertools.pairwise(opcodes) if value == "format_version")
    version = next(versions, None)
    return global_names, version if isinstance(version, int) else None


def check_values(content: object, max_bytes: int) -> None:
    """Check that loaded content is numbers, texts, dicts, lists and tensors of at most `max_bytes` each.

    Raises:
        ArchiveError: it holds another type, or too many or too deeply nested values.
    """
    stack: list[tuple[object, int]] = [(content, 0)]
    for _ in range(MAX_VALUES):
        if not stack:
            return
        value, depth = stack.pop()
        if isinstance(value, Tensor):
            check_tensor(value, max_bytes)
        elif type(value) in (dict, OrderedDict, list, tuple):
            items = [*value, *value.values()] if isinstance(value, dict) else [*value]  # type: ignore[misc]
            stack += [(item, depth + 1) for item in items]
        elif not (value is None or isinstance(value, str | float) or (isinstance(value, int) and abs(value) < 2**63)):
            raise ArchiveError(f"holds {type(value).__name__} {printable(value, 40)}, which is no plain value")
        if depth > MAX_DEPTH or len(stack) > MAX_VALUES:
            break
    raise ArchiveError(f"holds more than {MAX_VALUES:,} values, or values nested more than {MAX_DEPTH} deep")


def check_tensor(tensor: Tensor, max_bytes: int) -> None:
    """Check that a tensor's storage is within bounds and holds every element.

    Raises:
        ArchiveError: it does not, or the tensor requires a gradient.
    """
    storage = tensor.untyped_storage().nbytes()
    if tensor.requires_grad or tensor.numel() * tensor.element_size() > storage or storage > max_bytes:
        raise ArchiveError(f"holds a tensor of shape {tuple(tensor.shape)} with {storage:,} bytes")
