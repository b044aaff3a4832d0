"""Clients that send too much, read nothing or never end cost bounded memory and time, and others are answered."""

import contextlib
import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from hostile import encoded, specks
from test_sandbox import in_time, tree
from test_serve import serving

DRAWING = json.dumps({"pixels": [[0] * 28] * 28}).encode()
HEAD = b"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
JSON = {"content-type": "application/json"}
MEBIBYTE = 2**20
CLIENTS = 5  # of each kind
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory and children are read from /proc")


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[str, int]]:
    with serving() as (url, process):
        yield url, process.pid


def peak(process: int) -> int:
    """Return the most memory that a process had, in bytes."""
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def connections(process: int) -> int:
    """Return how many files and connections a process has open."""
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def counted(url: str) -> dict[str, float]:
    """Read the counts of requests, refusals and digits that are not zero."""
    lines = re.findall(r"^(mnist_\w+_(?:total|count)\S*) (\S+)$", requests.get(f"{url}/metrics", timeout=30).text, re.M)
    return {name: float(value) for name, value in lines if "/metrics" not in name}


def test_fifty_uploads_of_ten_megabytes_at_once_stay_in_bounded_memory(service: tuple[str, int]) -> None:
    url, process = service
    noise = np.random.default_rng(0).integers(0, 256, (1800, 1800, 3), dtype=np.uint8)
    picture = encoded(Image.fromarray(noise), "PNG", compress_level=0)
    assert 9_700_000 < len(picture) < 9_999_000
    kinds = [picture, bytes(9_999_000), bytes(10_100_000)]

    def upload(number: int) -> requests.Response:
        body = kinds[number // 2 % 3]
        if number % 2:
            return requests.post(f"{url}/api/predict", files={"file": ("a.png", body)}, timeout=100)
        return requests.post(f"{url}/api/predict", data=body, headers={"content-type": "image/png"}, timeout=100)

    for _ in range(2):
        with ThreadPoolExecutor(50) as clients:
            answers = list(clients.map(upload, range(50)))
        assert {answer.status_code for answer in answers} <= {200, 413, 422, 503}
        assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
    assert peak(process) < 400 * MEBIBYTE
    assert all(peak(child) < 1700 * MEBIBYTE for child in tree(process) - {process})
    assert [upload(number).status_code for number in range(6)] == [200, 200, 422, 422, 413, 413]


MANY = specks(30, 11)
ASK_MANY = HEAD.replace(b"predict", b"predict?several=true&images=true") + b"Content-Length: %d\r\n\r\n" % len(MANY)
LARGE = b"GET /docs/ui/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
HOSTILE: dict[str, tuple[bytes, bytes]] = {  # what is sent first, and then for ever
    "a head without an end": (HEAD, b"X: y\r\n" * 1000),
    "a header without an end": (HEAD + b"X: ", b"y" * 65536),
    "an address without an end": (b"GET /", b"y" * 65536),
    "trailers without an end": (CHUNKED + b"1\r\nx\r\n0\r\n", b"X: y\r\n" * 1000),
    "a trailer without an end": (CHUNKED + b"1\r\nx\r\n0\r\nX: ", b"y" * 65536),
    "a chunk's extension without an end": (CHUNKED + b"1;", b"y" * 65536),
    "tiny chunks without an end": (CHUNKED, b"1\r\nx\r\n" * 10_000),
    "a body without an end": (CHUNKED, b"10000\r\n" + bytes(65536) + b"\r\n"),
    "a body without an end that nobody wants": (
        b"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
        bytes(65536),
    ),
    "requests without an end": (GET, GET * 1000),
    "pages asked for and never read": (b"", b"GET /web/draw.js HTTP/1.1\r\nHost: x\r\n\r\n"),
    "half a head": (HEAD, b""),
    "half a body": (HEAD + b"Content-Length: 1000\r\n\r\nx", b""),
    "a large answer never read": (ASK_MANY + MANY, b""),
    "a large page never read": (LARGE * 9, b""),
}


def test_hostile_clients_are_hung_up_on_and_others_are_answered_meanwhile(service: tuple[str, int]) -> None:
    url, process = service
    before, stop = connections(process), time.monotonic() + 60

    def attack(name: str, raw: socket.socket) -> None:
        first, again = HOSTILE[name]
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(ConnectionError):
            raw.sendall(first)
            while again:
                assert time.monotonic() < stop, f"{name} is not hung up on"
                raw.sendall(again)

    with contextlib.ExitStack() as stack, ThreadPoolExecutor(CLIENTS * len(HOSTILE)) as threads:
        raws = [(name, stack.enter_context(connect(url))) for name in HOSTILE for _ in range(CLIENTS)]
        attacks = threads.map(lambda pair: attack(*pair), raws)
        for _ in range(50):
            answer = requests.post(f"{url}/api/predict", data=DRAWING, headers=JSON, timeout=8)
            assert answer.status_code == 200
            time.sleep(0.05)
        list(attacks)
        assert in_time(lambda: connections(process) <= before, 60)
    assert peak(process) < 400 * MEBIBYTE
