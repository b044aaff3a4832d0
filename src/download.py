"""Finds the files of published datasets on disk or downloads them, and verifies their hashes before use."""

import bz2
import gzip
import os
import re
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NoReturn

import pooch
import requests
from filelock import FileLock
from tqdm import tqdm

from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import atomic_write, remove_partial_files
from mnist_cnn.sources import ANY_IDX, SOURCES, Source

DEFAULT_FOLDER = Path("data")
READ_TIMEOUT = 10  # seconds of one read
TOTAL_TIMEOUT = 600  # seconds of one file from one mirror
MAX_BYTES = 64 << 20  # of a file; the largest published one has 26,421,880
BLOCK = 1 << 14  # bytes
COPY_SUFFIX = r"( ?\(\d+\)|[ -]\d+)?(\.gz)?"  # of a browser's second download, and of packed files
DATA_NAMES = re.compile(
    r".*(ubyte|mnist|t10k).*|.*\.(gz|zip|tar|tgz|7z|rar|npz|csv|pkl|parquet|mat|crdownload|part|partial|download)", re.I
)
"""File names that suggest a dataset: whole, packed, partially downloaded, in another format or of another name."""
MAX_LISTED = 8


class MirrorError(InputError):
    """A mirror, or every mirror, failed to serve a file."""


def read_published(name: str, data_dir: Path | None) -> tuple[bytes, ...]:
    """Read the files of a published dataset, unpacked: those of train, then those of test, images before labels.

    They are searched in `data_dir`, `$MNIST_CNN_DATA` and `./data`, packed or not, flat or in torchvision's layout,
    also under the names that other programs give them. Missing files are downloaded into `data_dir` or `./data`.

    Raises:
        MirrorError: a file is not on disk and no mirror serves it; files that look like data are listed.
        InputError: a file's hash is wrong; it was not parsed.
    """
    source = SOURCES[name]
    roots = [Path(folder) for folder in (data_dir, os.environ.get("MNIST_CNN_DATA"), DEFAULT_FOLDER) if folder]
    folders = [folder for root in roots for folder in (root / source.folder / "raw", root / source.folder, root)]
    paths, contents = find_files(folders, source), []
    paths = {file: path for file, path in paths.items() if path.parent not in roots or not is_of_another(path, source)}
    for file in source.hashes:
        try:
            paths[file] = paths.get(file) or download(file, source, data_dir or DEFAULT_FOLDER)
        except MirrorError as error:
            if not (others := list_data(folders)):
                raise
            missing = ", ".join(name for name in source.hashes if name not in paths)
            raise MirrorError(f"{error}; missing: {missing}{others}") from None
        contents += read_verified(paths[file], source.hashes[file], source.members)
    return tuple(contents)


def is_of_another(path: Path, source: Source) -> bool:
    """Return whether a file is one of another published dataset, whose files may have the same names."""
    others = [other.hashes.values() for other in SOURCES.values() if other is not source]
    return hash_of(path, "")[2] in chain.from_iterable(chain.from_iterable(others))


def find_files(folders: list[Path], source: Source = ANY_IDX) -> dict[str, Path]:
    """Find the first copy of each file in the folders, unpacked or packed; exact names before variants.

    Unpacked files are found where their hash is known.
    """
    found = {}
    for file, (_, unpacked) in source.hashes.items():
        packed = f"{file}{source.suffix}"
        names = ((folder / file, folder / packed, *variants(file, folder)) for folder in folders)
        usable = (path for path in chain.from_iterable(names) if unpacked or path.suffix == source.suffix)
        if path := next(filter(Path.is_file, usable), None):
            found[file] = path
    return found


def variants(file: str, folder: Path) -> list[Path]:
    """List the variants of a file's name in a folder or, as in Kaggle's archive, in subfolders of such names.

    7-zip writes `train-images.idx3-ubyte`, browsers `train-images-idx3-ubyte (1).gz`.
    """
    name = re.compile(file.replace("-", "[-._]") + COPY_SUFFIX, re.IGNORECASE)
    here = [path for path in sorted(folder.glob("*")) if name.fullmatch(path.name)]
    return here + [path for below in here for path in sorted(below.glob("*")) if name.fullmatch(path.name)]


def list_data(folders: list[Path]) -> str:
    """List files that look like data in the folders or their subfolders, to end an error message with; "" if none."""
    paths = (path for folder in folders for pattern in ("*", "*/*") for path in sorted(folder.glob(pattern)))
    found = dict.fromkeys(f"{str(path)!r}" for path in paths if DATA_NAMES.fullmatch(path.name) and path.is_file())
    names = ", ".join([*found][:MAX_LISTED] + ["..."] * (len(found) > MAX_LISTED))
    return f"; found {names}: unpack archives, finish downloads, give files those names" if found else ""


def download(file: str, source: Source, data_dir: Path) -> Path:
    """Download `file`, packed, from the first mirror that serves the right bytes; processes take turns.

    Raises:
        MirrorError: no mirror did.
    """
    folder = data_dir / source.folder / "raw"
    path = folder / f"{file}{source.suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    with FileLock(folder / ".lock"):
        if path.exists():  # downloaded by the process that held the lock
            return path
        remove_partial_files(folder)
        for url in mirror_urls(path.name, source):
            try:
                fetch(url, path, source.hashes[file][0], source.max_bytes or MAX_BYTES)
                return path
            except MirrorError as error:
                failures.append(f"{url} ({error})")
    raise MirrorError(
        f"no mirror gave {path.name}: {', '.join(failures)}; put the {source.folder} files into {folder}, "
        "or name their folder with --data-dir or a mirror with $MNIST_CNN_MIRROR"
    )


def mirror_urls(file: str, source: Source) -> Iterator[str]:
    """Yield the URLs of `file`, those on `$MNIST_CNN_MIRROR` first (a data folder that is served, or a flat one)."""
    if custom := os.environ.get("MNIST_CNN_MIRROR"):
        yield f"{custom.rstrip('/')}/{source.folder}/raw/{file}"
        yield f"{custom.rstrip('/')}/{file}"
    for mirror in source.mirrors:
        yield mirror + file


def fetch(url: str, path: Path, expected: str, max_bytes: int) -> None:
    """Download `url` to `path` atomically, at most `max_bytes`.

    Raises:
        MirrorError: the mirror failed, took too long or served other bytes.
    """
    with atomic_write(path) as temporary:
        with temporary.open("wb") as file, tqdm(unit="B", unit_scale=True, delay=0.1) as bar:
            for block in stream(url, bar, max_bytes):
                file.write(block)
                bar.update(len(block))
        kind, _, actual = hash_of(temporary, expected)
        if actual != expected:
            raise MirrorError(f"wrong {kind}")


def stream(url: str, bar: "tqdm[NoReturn]", max_bytes: int) -> Iterator[bytes]:
    """Yield the body of `url` in blocks, at most `max_bytes`; set the bar's total.

    The request runs in a thread that is abandoned at the deadline: the timeout of requests is for a single read, so a
    mirror that trickles headers or a body never exceeds it. More than `MAX_BYTES` have more time.

    Raises:
        MirrorError: the mirror failed or took longer than `TOTAL_TIMEOUT`.
    """
    blocks: SimpleQueue[bytes | Exception] = SimpleQueue()
    seconds = TOTAL_TIMEOUT * max(1, max_bytes // MAX_BYTES)
    deadline = time.monotonic() + seconds
    Thread(target=request_blocks, args=(url, blocks, bar, max_bytes), daemon=True).start()
    try:
        while block := blocks.get(timeout=max(0.0, deadline - time.monotonic())):
            if isinstance(block, Exception):
                raise MirrorError(type(block).__name__) from block
            yield block
    except Empty:
        raise MirrorError(f"not finished in {seconds} seconds") from None


def request_blocks(url: str, blocks: "SimpleQueue[bytes | Exception]", bar: "tqdm[NoReturn]", max_bytes: int) -> None:
    """Put the body of `url`, at most `max_bytes`, into `blocks`, then b"" or the exception."""
    try:
        with requests.get(url, stream=True, timeout=READ_TIMEOUT, hooks={"response": close_redirect}) as response:
            response.raise_for_status()
            bar.total = min(int(response.headers.get("Content-Length", 0)), max_bytes)
            for block in islice(iter(partial(response.raw.read, BLOCK), b""), -(-max_bytes // BLOCK)):
                blocks.put(block)
        blocks.put(b"")
    except Exception as error:
        blocks.put(error)


def close_redirect(response: requests.Response, **_: object) -> None:
    """Close a redirect before requests reads its body, which may be endless."""
    if response.is_redirect:
        response.close()


def hash_of(path: Path, expected: str) -> tuple[str, str, str]:
    """Return the kind of an expected hash, its digits, and the hash of that kind of a file, as in `Source.hashes`."""
    if expected.startswith("md5:"):
        return "MD5", expected[4:], f"md5:{pooch.file_hash(str(path), alg='md5')}"
    return "SHA-256", expected, str(pooch.file_hash(str(path), alg="sha256"))


def read_verified(path: Path, hashes: tuple[str, str], members: tuple[str, ...] = ()) -> list[bytes]:
    """Read a file and unpack it if its name says so, after checking its hash: (packed, unpacked).

    Returns:
        Its content, or the unpacked `members` of a .zip.

    Raises:
        InputError: the hash differs.
    """
    packed = path.suffix in (".gz", ".bz2", ".zip")
    expected = hashes[0 if packed else 1]
    kind, digits, actual = hash_of(path, expected)
    if actual != expected:
        raise InputError(
            f"{path} is damaged or another file: its {kind} is {actual.removeprefix('md5:')}, expected {digits}; "
            "delete it and run again to download it"
        )
    if members:
        with zipfile.ZipFile(path) as archive:
            return [gzip.decompress(archive.read(member)) for member in members]
    unpack = {".gz": gzip.decompress, ".bz2": bz2.decompress}.get(path.suffix, bytes)
    return [unpack(path.read_bytes())]
