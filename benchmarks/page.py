"""How soon the page answers a point of a stroke, with a server and without, in a real browser."""

import contextlib
import functools
import os
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright
from results import keep

from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.errors import InputError
from mnist_cnn.experiments.study import environment
from mnist_cnn.models.onnx_model import PACKAGED
from mnist_cnn.serving.static_page import check_runtime, write_page
from mnist_cnn.synthetic.allographs import DIGITS, jittered_spline
from mnist_cnn.training.config import PRESETS
from serving import serving

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
RATE = 60  # points a second, as a mouse gives them
NOTE = """
window.noted = { points: [], questions: [], answers: [] };
const note = (what) => window.noted[what].push(performance.now());
addEventListener("pointermove", () => note("points"), true);
const [ask, post] = [window.fetch, Worker.prototype.postMessage];
window.fetch = (...given) => (note("questions"), ask(...given));
Worker.prototype.postMessage = function (...given) { note("questions"); post.apply(this, given); };
addEventListener("DOMContentLoaded", () => {
  const answer = document.getElementById("digit");
  new MutationObserver(() => note("answers")).observe(answer, { childList: true });
});
"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def hosting(folder: Path) -> Iterator[str]:
    """Show a folder by the simplest of web hosts; yield its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def measure(browser: Browser, url: str, digits: int, rounds: int) -> dict[str, Any]:
    """Draw each digit some times; return how long each point waited for the first answer that was asked after it."""
    page = browser.new_page()
    page.add_init_script(NOTE)
    start = time.perf_counter()
    page.goto(url)
    page.locator("#bars li").first.wait_for(timeout=60_000)
    ready = time.perf_counter() - start
    waits: list[float] = []
    rng = np.random.default_rng(0)
    for template in [templates[0] for templates in DIGITS[:digits]] * (rounds + 1):
        noted = draw(page, rng, template)
        questions, answers = (np.array(noted[what]) for what in ("questions", "answers"))
        for point in noted["points"]:
            asked = questions[questions >= point]
            answered = answers[answers >= asked[0]] if len(asked) else asked
            waits += [float(answered[0] - point)] if len(answered) else []
    page.close()
    waits = waits[len(waits) // (rounds + 1) :]  # without the first round, which warms up
    return {"points": len(waits), "ready": ready, **{f"p{n}": float(np.percentile(waits, n)) for n in (50, 95)}}


def draw(page: Page, rng: np.random.Generator, template: str) -> dict[str, list[float]]:
    """Draw a digit with the mouse, and wait for the last answer; return what was noted."""
    box = page.locator("#canvas").bounding_box() or {"x": 0, "y": 0, "width": 1, "height": 1}
    page.evaluate("Object.values(window.noted).forEach((times) => times.splice(0))")
    for stroke in template.split("/"):
        points = np.array([point.split(",") for point in stroke.split()], np.float32) / np.float32(100)
        for number, (x, y) in enumerate(0.3 + 0.5 * jittered_spline(rng, points)):
            page.mouse.move(box["x"] + float(x) * box["width"], box["y"] + float(y) * box["height"])
            if number == 0:
                page.mouse.down()
            time.sleep(1 / RATE)
        page.mouse.up()
    page.wait_for_timeout(500)
    noted: dict[str, list[float]] = page.evaluate("window.noted")
    page.keyboard.press("Escape")
    page.wait_for_timeout(200)
    return noted


def table(result: dict[str, Any]) -> str:
    """Lay out what was measured."""
    rows = [
        f"| {name} | {one['points']:,} | {one['p50']:.0f} | {one['p95']:.0f} | {one['ready']:.1f} |"
        for name, one in result["forms"].items()
    ]
    lines = [
        "| the page | points drawn | p50 from a point to its answer, ms | p95, ms | ready after, s |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"Headless Chromium, {RATE} points a second, {result['hardware']}; load average {result['load']:.1f}.",
    ]
    return "\n".join(lines) + "\n"


def command(
    digits: int = 10,
    rounds: int = 3,
    runtime: Path = Path("node_modules/onnxruntime-web"),
    output: Path = Path("benchmarks"),
) -> None:
    """Draw digits on the page and time its answers, with Playwright and Chromium.

    Args:
        digits: How many digits are drawn, from 0 on.
        rounds: How often each digit is drawn, after once to warm up.
        runtime: Folder of the npm package onnxruntime-web, beside xz-decompress.
        output: Gets page.json and .md.
    """
    check_runtime(runtime)
    chromium = shutil.which("chromium")
    if not chromium:
        raise InputError("chromium is not installed; `apt-get install chromium`")
    result: dict[str, Any] = environment(PRESETS["default"].train) | {"load": os.getloadavg()[0], "forms": {}}
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        with serving() as (url, *_):
            result["forms"]["with `mnist-cnn serve`"] = measure(browser, url, digits, rounds)
        write_page(PACKAGED, Path(folder), runtime)
        with hosting(Path(folder)) as url:
            result["forms"]["as static files"] = measure(browser, url, digits, rounds)
        browser.close()
    keep(output, "page", result, table(result))


if __name__ == "__main__":
    with exit_codes():
        parse_call(command, None, "page.py")()
