"""The service as a process of its own."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import requests

from conftest import ROOT, environment

PHOTO, DIGITS = ROOT / "images" / "own_digit.jpg", ROOT / "images" / "own_digits.jpg"


@contextlib.contextmanager
def serving(
    *flags: str, program: Sequence[str | Path] = (sys.executable, "-m", "mnist_cnn.serving.app")
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the program on a free port until the model is loaded; yield its address and the process."""
    command = [*program, "--port", "0", *flags]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as own:
        assert own.stdout
        url = own.stdout.readline().split(" ")[0]
        try:
            for _ in range(100):
                with contextlib.suppress(requests.ConnectionError):
                    if requests.get(f"{url}/readyz", timeout=30).ok:
                        break
                time.sleep(0.1)
            yield url, own
        finally:
            own.terminate()
            own.wait(30)


def post(url: str, body: bytes, kind: str, path: str = "predict") -> requests.Response:
    return requests.post(f"{url}/api/v1/{path}", data=body, headers={"content-type": kind}, timeout=30)
