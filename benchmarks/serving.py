"""How many requests a second the service answers, how soon, in how much memory, and how it takes nonsense."""

import contextlib
import csv
import io
import json
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import requests
from PIL import Image
from results import keep
from tqdm import tqdm

from mnist_cnn.classifier import Classifier
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.errors import InputError
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.experiments.study import environment
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.training.config import PRESETS

CLIENTS = 32
RATE = 500  # requests a second at which latency is measured
BESIDE = 48  # the same beside heavy pictures
HEAVY = 2  # clients who post these, each the next one as soon as the last is answered
MALFORMED = (b"{", b'{"pixels": []}', json.dumps({"pixels": [[300] * 28] * 28}).encode(), b"\x00\xff", b"")


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, int, float]]:
    """Run the service in a process of its own; yield its address, process number and seconds until it was ready."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "mnist_cnn.serving.app", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        url = next(iter(service.stdout or ())).split(" ")[0]
        while not answers(f"{url}/readyz"):
            time.sleep(0.02)
        try:
            yield url, service.pid, time.perf_counter() - start
        finally:
            service.terminate()


def answers(url: str) -> bool:
    """Tell whether a page can be had."""
    with contextlib.suppress(requests.ConnectionError, requests.Timeout):
        return requests.get(url, timeout=5).ok
    return False


def resident(process: int) -> float:
    """Return the memory of a process in MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def load_with(url: str, body: bytes, *flags: str) -> dict[str, float]:
    """Let hey ask for the same image again and again; return what it saw, seconds as milliseconds."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "body").write_bytes(body)
        command = ["hey", *flags, "-m", "POST", "-T", "application/json", "-D", f"{folder}/body", "-o", "csv"]
        start = time.perf_counter()
        result = subprocess.run([*command, f"{url}/api/v1/predict"], check=True, capture_output=True, text=True)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    ends = [float(row["offset"]) + float(row["response-time"]) for row in rows]
    milliseconds = [1000 * float(row["response-time"]) for row in rows]
    return {
        "requests": len(rows),
        "failed": sum(row["status-code"] != "200" for row in rows),
        "a_second": len(rows) / max(*ends, 1e-9),
        "p50": float(np.percentile(milliseconds, 50)),
        "p99": float(np.percentile(milliseconds, 99)),
        "seconds": time.perf_counter() - start,
    }


def mixed(url: str, images: Pixels, count: int) -> dict[str, int]:
    """Send images, a tenth of them nonsense, from many clients; hold every answer to that of predict."""
    expected = [answer.digit for answer in Classifier.load().predict(list(images))]
    rng = random.Random(0)  # noqa: S311
    plan = [rng.choice(MALFORMED) if rng.random() < 0.1 else rng.randrange(len(images)) for _ in range(count)]

    def ask(what: bytes | int) -> str:
        whole = isinstance(what, int)
        body = json.dumps({"pixels": images[what].tolist()}).encode() if isinstance(what, int) else what
        answer = requests.post(
            f"{url}/api/v1/predict", data=body, headers={"content-type": "application/json"}, timeout=30
        )
        if answer.status_code == 503:
            return "busy"
        if answer.status_code >= 500:
            return "server_error"
        if isinstance(what, int):
            right = answer.ok and answer.json()["results"][0]["text"] == str(expected[what])
            return "right" if right else "wrong"
        return "refused" if not whole and answer.status_code in (400, 422) else "wrong"

    with ThreadPoolExecutor(CLIENTS) as clients:
        found = list(clients.map(ask, plan))
    return {name: found.count(name) for name in ("right", "wrong", "refused", "busy", "server_error")}


def heavy_pictures() -> dict[str, tuple[str, bytes]]:
    """Make what others may post, each with its endpoint: a large photo, and files made to cost time."""
    patches = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    photo = encoded(np.kron(patches, np.ones((100, 100, 1), np.uint8)), "JPEG")
    scans = encoded(np.full((8000, 8000), 200, np.uint8), "JPEG", progressive=True)
    last = scans.rfind(b"\xff\xc4", 0, scans.rfind(b"\xff\xda"))
    page = np.full((800, 800), 255, np.uint8)
    page.reshape(100, 8, 100, 8)[:, :4, :, :4] = 0
    return {
        "photos of 48 megapixels": ("predict", photo),
        "JPEGs of 80,000 scans": ("predict", scans[:-2] + scans[last:-2] * 80_000 + scans[-2:]),
        "pages of 10,000 specks": ("read", encoded(page, "PNG")),
    }


def encoded(pixels: Pixels, form: str, **options: Any) -> bytes:
    """Write a picture into memory."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


@contextlib.contextmanager
def posting(url: str, body: bytes) -> Iterator[list[int]]:
    """Post a picture again and again from some clients, until the block ends; yield the answers' status codes."""
    codes, stop = list[int](), threading.Event()

    def post() -> None:
        while not stop.is_set():
            answer = requests.post(url, data=body, headers={"content-type": "application/octet-stream"}, timeout=100)
            codes.append(answer.status_code)

    with ThreadPoolExecutor(HEAVY) as clients:
        posts = [clients.submit(post) for _ in range(HEAVY)]
        try:
            yield codes
        finally:
            stop.set()
    for one in posts:
        one.result()


def table(result: dict[str, Any]) -> str:
    """Lay out what was measured."""
    fast = [run["a_second"] for run in result["throughput"]]
    rate = f"{statistics.median(fast):,.0f} ({min(fast):,.0f} to {max(fast):,.0f})"
    p99 = [run["p99"] for run in result["latency"]]
    runs = [*result["throughput"], *result["latency"], *(run for name in result["beside"].values() for run in name)]
    failed, answered = (sum(int(run[what]) for run in runs) for what in ("failed", "requests"))
    mix = result["mixed"]
    beside = {name: [run["p99"] for run in runs] for name, runs in result["beside"].items()}
    lines = [
        "| the service, one image of JSON pixels a request | measured |",
        "|---|---|",
        f"| ready after, s | {result['ready']:.1f} |",
        f"| requests a second, {CLIENTS} clients | {rate} |",
        f"| p99 at {RATE} a second, ms | {statistics.median(p99):.1f} ({min(p99):.1f} to {max(p99):.1f}) |",
        *(
            f"| p99 at {BESIDE} a second, {HEAVY} clients posting {name}, ms "
            f"| {statistics.median(p99):.1f} ({min(p99):.1f} to {max(p99):.1f}) |"
            for name, p99 in beside.items()
        ),
        f"| failed of {answered:,} | {failed} |",
        f"| memory before and after, MiB | {result['before']:.0f}, {result['after']:.0f} |",
        (
            f"| {sum(mix.values()):,} requests, a tenth malformed | {mix['right']:,} right, {mix['wrong']} wrong, "
            f"{mix['refused']:,} refused, {mix['busy']} busy, {mix['server_error']} server errors |"
        ),
        "",
        f"Median of {len(fast)} rounds (range), client and service on the same {result['hardware']}.",
    ]
    return "\n".join(lines) + "\n"


def command(
    requests_a_round: int = 30_000, rounds: int = 3, data_dir: Path | None = None, output: Path = Path("benchmarks")
) -> None:
    """Load the service with hey (Debian's package) and with clients of our own.

    Args:
        requests_a_round: At full speed; the same number, at most, at the steady rate.
        rounds: Of each.
        data_dir: Folder with MNIST, looked in before $MNIST_CNN_DATA and ./data.
        output: Gets serving.json and .md.
    """
    if not shutil.which("hey"):
        raise InputError("hey is not installed; `apt-get install hey`, or see github.com/rakyll/hey")
    images = load_dataset("mnist", data_dir).test.images[:500, 0].numpy()
    body = json.dumps({"pixels": images[0].tolist()}).encode()
    count = str(requests_a_round)
    heavy = heavy_pictures()
    result: dict[str, Any] = {"throughput": [], "latency": [], "beside": {name: [] for name in heavy}}
    result |= environment(PRESETS["default"].train)
    with serving() as (url, process, ready), tqdm(total=(2 + len(heavy)) * rounds + 1, desc="rounds") as bar:
        load_with(url, body, "-n", "1000", "-c", str(CLIENTS))
        result |= {"ready": ready, "before": resident(process)}
        for _ in range(rounds):
            result["throughput"].append(load_with(url, body, "-n", count, "-c", str(CLIENTS)))
            bar.update()
            steady = ("-n", str(min(requests_a_round, 10 * RATE)), "-c", "20", "-q", str(RATE // 20))
            result["latency"].append(load_with(url, body, *steady))
            bar.update()
            for name, (endpoint, picture) in heavy.items():
                with posting(f"{url}/api/v1/{endpoint}", picture) as codes:
                    slow = ("-n", str(min(requests_a_round, 20 * BESIDE)), "-c", "4", "-q", str(BESIDE // 4))
                    run = load_with(url, body, *slow)
                result["beside"][name].append(run | {"heavy": dict(Counter(codes))})
                bar.update()
        result["after"] = resident(process)
        result["mixed"] = mixed(url, images, min(requests_a_round, 5000))
        bar.update()
    keep(output, "serving", result, table(result))


if __name__ == "__main__":
    with exit_codes():
        parse_call(command, None, "serving.py")()
