"""Clients that send too much, read nothing or never end cost bounded memory and time, and others are answered."""

import contextlib
import itertools
import json
import re
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from test_sandbox import alive, in_time, tree

from hostile import digits_page, encoded
from mnist_cnn.serving.middleware import MAX_CONCURRENT
from mnist_cnn.serving.timeouts import MAX_CONNECTIONS
from server import DIGITS, PHOTO, post, serving

DRAWING = json.dumps({"pixels": [[0] * 28] * 28}).encode()
HEAD = b"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
JSON = {"content-type": "application/json"}
MEBIBYTE = 2**20
CLIENTS = 5  # of each kind
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory and children are read from /proc")


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[str, int]]:
    with serving("--allow-origin", "https://school.example") as (url, process):
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


@pytest.mark.long
def test_fifty_uploads_of_ten_megabytes_at_once_stay_in_bounded_memory(service: tuple[str, int]) -> None:
    url, process = service
    noise = np.random.default_rng(0).integers(0, 256, (1800, 1800, 3), dtype=np.uint8)
    picture = encoded(Image.fromarray(noise), "PNG", compress_level=0)
    assert 9_700_000 < len(picture) < 9_999_000
    kinds = [picture, bytes(9_999_000), bytes(10_100_000)]

    def upload(number: int) -> requests.Response:
        body = kinds[number // 2 % 3]
        if number % 2:
            return requests.post(f"{url}/api/v1/predict", files={"file": ("a.png", body)}, timeout=100)
        return requests.post(f"{url}/api/v1/predict", data=body, headers={"content-type": "image/png"}, timeout=100)

    for _ in range(2):
        with ThreadPoolExecutor(50) as clients:
            answers = list(clients.map(upload, range(50)))
        assert {answer.status_code for answer in answers} <= {200, 413, 422, 503}
        assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
    assert peak(process) < 400 * MEBIBYTE
    assert all(peak(child) < 1700 * MEBIBYTE for child in tree(process) - {process})
    assert [upload(number).status_code for number in range(6)] == [200, 200, 422, 422, 413, 413]


MANY = digits_page(30)
ASK_MANY = HEAD.replace(b"predict", b"read?images=true") + b"Content-Length: %d\r\n\r\n" % len(MANY)
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
            answer = requests.post(f"{url}/api/v1/predict", data=DRAWING, headers=JSON, timeout=8)
            assert answer.status_code == 200
            time.sleep(0.05)
        list(attacks)
        assert in_time(lambda: connections(process) <= before, 60)
    assert peak(process) < 400 * MEBIBYTE


def counted(url: str) -> Counter[str]:
    """Read the counts of requests, refusals and digits."""
    text = requests.get(f"{url}/metrics", timeout=30).text
    found = re.findall(r"^mnist_(\w+_(?:total|count)\S*) (\S+)$", text, re.MULTILINE)
    return Counter({name: int(float(value)) for name, value in found if "/metrics" not in name})


def answered(path: str, status: int) -> Counter[str]:
    return Counter([f'requests_total{{path="{path}",status="{status}"}}', f'request_seconds_count{{path="{path}"}}'])


def refused(path: str, status: int, code: str) -> Counter[str]:
    return answered(path, status) + Counter([f'rejected_total{{code="{code}"}}'])


def abandon(url: str, *parts: bytes) -> None:
    """Send something by hand and go away, without or with a word of the other side."""
    with connect(url) as raw:
        for part in parts:
            raw.sendall(part)


ASK, READ = "/api/v1/predict", "/api/v1/read"
FORM = [("file", ("one.jpg", PHOTO.read_bytes())), ("file", ("bad.jpg", b"nothing"))]
MANY_FILES = [("file", (f"{number}.png", MANY)) for number in range(4)]


@pytest.mark.long
@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda url: requests.get(f"{url}/healthz", timeout=9), answered("/healthz", 200)),
        (lambda url: requests.get(f"{url}/web/app.js", timeout=9), answered("other", 200)),
        (lambda url: requests.get(f"{url}/none/{time.time()}", timeout=9), refused("other", 404, "not_found")),
        (lambda url: requests.request("DELETE", f"{url}/", timeout=9), refused("/", 405, "wrong_method")),
        (lambda url: post(url, b"x", "image/png", "predict?images=maybe"), refused(ASK, 422, "wrong_value")),
        (lambda url: post(url, b"x", "text/plain"), refused(ASK, 415, "unsupported_type")),
        (lambda url: post(url, b"x", "image/png"), refused(ASK, 422, "not_a_picture")),
        (lambda url: post(url, bytes(10_000_001), "image/png"), refused(ASK, 413, "too_large")),
        (lambda url: post(url, digits_page(60), "image/png", "read"), refused(READ, 413, "too_costly")),
        (
            lambda url: requests.post(f"{url}{READ}", files=MANY_FILES, timeout=60),
            refused(READ, 413, "too_many_digits"),
        ),
        (lambda url: requests.post(f"{url}{ASK}", files=FORM[1:], timeout=9), refused(ASK, 422, "not_a_picture")),
        (
            lambda url: requests.post(f"{url}{ASK}", files=FORM, timeout=9),
            answered(ASK, 200) + Counter(['digits_total{digit="4"}']),
        ),
        (
            lambda url: post(url, PHOTO.read_bytes(), "image/jpeg"),
            answered(ASK, 200) + Counter(['digits_total{digit="4"}']),
        ),
        (
            lambda url: post(url, DIGITS.read_bytes(), "image/jpeg", "read"),
            answered(READ, 200) + Counter(f'digits_total{{digit="{digit}"}}' for digit in "17324"),
        ),
        (
            lambda url: requests.options(
                f"{url}{ASK}",
                headers={"origin": "https://school.example", "access-control-request-method": "POST"},
                timeout=9,
            ),
            answered(ASK, 200),
        ),
        (
            lambda url: requests.options(
                f"{url}{ASK}",
                headers={"origin": "https://evil.example", "access-control-request-method": "POST"},
                timeout=9,
            ),
            refused(ASK, 400, "refused"),
        ),
        (
            lambda url: abandon(url, HEAD + b"Content-Length: 9\r\n\r\nx"),
            refused(ASK, 400, "disconnected"),
        ),
        (
            lambda url: abandon(url, HEAD + b"Content-Length: %d\r\n\r\n" % len(MANY) + MANY),
            refused(ASK, 400, "disconnected"),
        ),
        (lambda url: abandon(url, CHUNKED + b"zz\r\n"), refused(ASK, 400, "disconnected")),
        (
            lambda url: abandon(url, b"nonsense\r\n\r\n"),
            refused("other", 400, "invalid_http") - Counter(['request_seconds_count{path="other"}']),
        ),
    ],
    ids=map(str, itertools.count()),
)
def test_each_answer_is_counted_once(
    ask: Callable[[str], object], expected: Counter[str], service: tuple[str, int]
) -> None:
    url, _ = service
    before = counted(url)
    ask(url)
    assert in_time(lambda: counted(url) - before == expected), counted(url) - before
    time.sleep(0.1)
    assert counted(url) - before == expected


@pytest.mark.parametrize("request_line", [b"nonsense", b"GET /healthz?" + b"x" * 65_600 + b" HTTP/1.1"])
def test_invalid_http_gets_a_problem_that_every_operation_documents(
    request_line: bytes, service: tuple[str, int]
) -> None:
    url, _ = service
    with connect(url) as raw:
        raw.sendall(request_line + b"\r\n\r\n")
        response = HTTPResponse(raw)
        response.begin()
        assert (response.status, response.headers["content-type"]) == (400, "application/json")
        assert json.loads(response.read())["code"] == "invalid_http"
    for operations in requests.get(f"{url}/openapi.json", timeout=9).json()["paths"].values():
        for operation in operations.values():
            assert {"400", "503"} <= operation["responses"].keys()


def test_who_is_one_too_many_is_told_or_hung_up_on_and_counted(service: tuple[str, int]) -> None:
    url, process = service
    before, open_before = counted(url), connections(process)
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_CONCURRENT):
            stack.enter_context(connect(url)).sendall(HEAD + b"Content-Length: 9\r\n\r\nx")
        assert in_time(lambda: requests.get(f"{url}/healthz", timeout=9).status_code == 503)
        answer = requests.get(f"{url}/healthz", timeout=9)
        assert (answer.json()["code"], answer.headers["retry-after"]) == ("busy", "5")
        silent = [stack.enter_context(connect(url)) for _ in range(MAX_CONNECTIONS)]
        assert silent[-1].recv(9) == b""
        assert connections(process) < MAX_CONNECTIONS + 100
    assert in_time(lambda: connections(process) <= open_before + 1)
    assert requests.get(f"{url}/healthz", timeout=9).ok
    change = counted(url) - before
    assert change['rejected_total{code="busy"}'] == change['requests_total{path="/healthz",status="503"}'] >= 2
    assert change['rejected_total{code="disconnected"}'] == MAX_CONCURRENT


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=str)
def test_no_process_is_left_behind_by_serve(number: signal.Signals) -> None:
    picture = digits_page(52)  # takes almost all the seconds that a picture may
    ask = HEAD.replace(b"predict", b"read") + b"Content-Length: %d\r\n\r\n" % len(picture) + picture
    with serving() as (url, process), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(url)) for _ in range(3)]
        for client in clients:
            client.sendall(ask)
            time.sleep(0.3)
        begun = tree(process.pid)
        assert len(begun) == 5  # a tracker of resources, a server of forks, two that read pictures
        process.send_signal(number)
        process.wait(30)
        assert in_time(lambda: not alive(begun), 7)
        assert process.stderr
        assert "Traceback" not in process.stderr.read()
        assert clients[-1].recv(13) == (b"" if number == signal.SIGKILL else b"HTTP/1.1 503 ")
