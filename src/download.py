"""The four files of a published dataset: found on disk or downloaded, and verified before anything reads them."""

import gzip
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NoReturn

import pooch
import requests
from filelock import FileLock
from tqdm import tqdm

from mnist_cnn.common.errors import InputError

DEFAULT_FOLDER = Path("data")
SECONDS_TO_ANSWER = 10  # between two bytes
SECONDS_TO_FINISH = 600  # one file from one mirror
LARGEST_FILE = 64 << 20  # bytes; the largest published one has 26,421,880
BLOCK = 1 << 14  # bytes
COPY = r"( ?\(\d+\)|[ -]\d+)?(\.gz)?"  # how browsers mark a second download, and packed files
DATA = re.compile(
    r".*(ubyte|mnist|t10k).*|.*\.(gz|zip|tar|tgz|7z|rar|npz|csv|pkl|parquet|mat|crdownload|part|partial|download)", re.I
)
"""Names of files that may hold a dataset: whole, packed, half downloaded, in another format or under another name."""
MOST_NAMED = 8


class MirrorError(InputError):
    """No mirror, or not this one, gave the file."""


@dataclass(frozen=True)
class Source:
    """Where a published dataset is on the web, and the SHA-256 of its four files: (of the .gz, unpacked)."""

    folder: str
    mirrors: tuple[str, ...]
    sha256: dict[str, tuple[str, str]]


FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
SOURCES = {
    "mnist": Source(
        folder="MNIST",
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        sha256={
            "train-images-idx3-ubyte": (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            "train-labels-idx1-ubyte": (
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            "t10k-images-idx3-ubyte": (
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            "t10k-labels-idx1-ubyte": (
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        },
    ),
    "fashion-mnist": Source(
        folder="FashionMNIST",
        mirrors=("https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",),
        sha256={
            "train-images-idx3-ubyte": (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            "train-labels-idx1-ubyte": (
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            "t10k-images-idx3-ubyte": (
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            "t10k-labels-idx1-ubyte": (
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        },
    ),
}


def read_published(name: str, data_dir: Path | None) -> tuple[bytes, ...]:
    """Read the four files of a published dataset, unpacked, in the order of `FILES`.

    They are looked for in `data_dir`, then `$MNIST_CNN_DATA`, then `./data` (packed or not, flat or in
    torchvision's layout, also as other programs name them); what is missing is downloaded into `data_dir` or `./data`.

    Raises:
        MirrorError: a file is not on disk and no mirror gave it; what looks like data is named.
        InputError: a file's SHA-256 is wrong; it was not parsed.
    """
    source = SOURCES[name]
    folders = [Path(folder) for folder in (data_dir, os.environ.get("MNIST_CNN_DATA"), DEFAULT_FOLDER) if folder]
    places = [place for folder in folders for place in (folder / source.folder / "raw", folder)]
    contents = []
    for file in FILES:
        try:
            path = find_file(file, places) or download(file, source, data_dir or DEFAULT_FOLDER)
        except MirrorError as error:
            found = found_instead(places)
            raise MirrorError(f"{error}; missing: {lacking(places)}{found}" if found else str(error)) from None
        contents.append(read_verified(path, source.sha256[file]))
    return tuple(contents)


def find_file(file: str, folders: list[Path]) -> Path | None:
    """Return the first copy of `file` in the folders, unpacked or .gz, or None; its own name goes before namesakes."""
    for folder in folders:
        for path in (folder / file, folder / f"{file}.gz", *namesakes(file, folder)):
            if path.is_file():
                return path
    return None


def namesakes(file: str, folder: Path) -> list[Path]:
    """List what programs call `file`, in a folder or, as in Kaggle's archive, in one of such a name below it.

    7-zip writes `train-images.idx3-ubyte`, browsers `train-images-idx3-ubyte (1).gz`.
    """
    name = re.compile(file.replace("-", "[-._]") + COPY, re.IGNORECASE)
    here = [path for path in sorted(folder.glob("*")) if name.fullmatch(path.name)]
    return here + [path for below in here for path in sorted(below.glob("*")) if name.fullmatch(path.name)]


def lacking(folders: list[Path]) -> str:
    """List which of the four files are in none of the folders."""
    return ", ".join(file for file in FILES if not find_file(file, folders))


def found_instead(folders: list[Path]) -> str:
    """Go on with a sentence: what looks like data in the folders or one below them; "" where nothing does."""
    below = (path for folder in folders for pattern in ("*", "*/*") for path in sorted(folder.glob(pattern)))
    there = list(dict.fromkeys(f"{str(path)!r}" for path in below if DATA.fullmatch(path.name) and path.is_file()))
    names = ", ".join([*there[:MOST_NAMED], *["..."] * (len(there) > MOST_NAMED)])
    return f"; found {names}: unpack archives, finish downloads, give files those names" if there else ""


def download(file: str, source: Source, data_dir: Path) -> Path:
    """Download `file` from the first mirror that gives the right bytes; one process at a time.

    Raises:
        MirrorError: none did.
    """
    folder = data_dir / source.folder / "raw"
    path = folder / f"{file}.gz"
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    with FileLock(folder / ".lock"):
        if path.exists():  # another process had the lock and downloaded it
            return path
        for url in mirror_urls(path.name, source):
            try:
                fetch(url, path, source.sha256[file][0])
                return path
            except MirrorError as error:
                failures.append(f"{url} ({error})")
    raise MirrorError(
        f"no mirror gave {path.name}: {', '.join(failures)}; put the four {source.folder} files into {folder}, "
        "or name their folder with --data-dir or a mirror with $MNIST_CNN_MIRROR"
    )


def mirror_urls(file: str, source: Source) -> Iterator[str]:
    """Yield where to ask for `file`: `$MNIST_CNN_MIRROR` first (flat, or a served data folder)."""
    own = os.environ.get("MNIST_CNN_MIRROR")
    if own:
        yield f"{own.rstrip('/')}/{source.folder}/raw/{file}"
        yield f"{own.rstrip('/')}/{file}"
    for mirror in source.mirrors:
        yield mirror + file


def fetch(url: str, path: Path, sha256: str) -> None:
    """Download `url` to `path`, whole and with the right hash or not at all; the caller holds the folder's lock.

    The bytes arrive under one name for all files, so that what a killed process leaves behind goes with the next call.

    Raises:
        MirrorError: the mirror failed, took too long or gave other bytes.
    """
    unfinished = path.with_name(".unfinished")
    try:
        with unfinished.open("wb") as file, tqdm(unit="B", unit_scale=True, delay=0.1) as bar:
            for block in receive(url, bar):
                file.write(block)
                bar.update(len(block))
            file.flush()
            os.fsync(file.fileno())
        if pooch.file_hash(str(unfinished), alg="sha256") != sha256:
            raise MirrorError("wrong SHA-256")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def receive(url: str, bar: "tqdm[NoReturn]") -> Iterator[bytes]:
    """Yield the body of `url` in blocks, `LARGEST_FILE` bytes at most; set the bar's total.

    A thread of its own asks, and is left behind when its time is up: the timeout of requests is for one read, and
    a mirror that trickles headers or a body never runs into it.

    Raises:
        MirrorError: the mirror failed or took longer than `SECONDS_TO_FINISH`.
    """
    blocks: SimpleQueue[bytes | Exception] = SimpleQueue()
    deadline = time.monotonic() + SECONDS_TO_FINISH
    Thread(target=ask, args=(url, blocks, bar), daemon=True).start()
    try:
        while block := blocks.get(timeout=max(0.0, deadline - time.monotonic())):
            if isinstance(block, Exception):
                raise MirrorError(type(block).__name__) from block
            yield block
    except Empty:
        raise MirrorError(f"not finished in {SECONDS_TO_FINISH} seconds") from None


def ask(url: str, blocks: "SimpleQueue[bytes | Exception]", bar: "tqdm[NoReturn]") -> None:
    """Put the body of `url` into `blocks` and then b"", or what went wrong."""
    hooks = {"response": without_redirect_body}
    try:
        with requests.get(url, stream=True, timeout=SECONDS_TO_ANSWER, hooks=hooks) as response:
            response.raise_for_status()
            bar.total = min(int(response.headers.get("Content-Length", 0)), LARGEST_FILE)
            for block in islice(iter(partial(response.raw.read, BLOCK), b""), LARGEST_FILE // BLOCK):
                blocks.put(block)
        blocks.put(b"")
    except Exception as error:
        blocks.put(error)


def without_redirect_body(response: requests.Response, **_: object) -> None:
    """Close a redirect, whose body requests would read to its end, if it has one."""
    if response.is_redirect:
        response.close()


def read_verified(path: Path, sha256: tuple[str, str]) -> bytes:
    """Read a file whose SHA-256 is known: `sha256` holds that of its .gz form, then of its unpacked form.

    Raises:
        InputError: the hash differs.
    """
    packed = path.suffix == ".gz"
    expected = sha256[0 if packed else 1]
    found = pooch.file_hash(str(path), alg="sha256")
    if found != expected:
        raise InputError(
            f"{path} is damaged or another file: its SHA-256 is {found}, expected {expected}; "
            "delete it and run again to download it"
        )
    content = path.read_bytes()
    return gzip.decompress(content) if packed else content
