"""The page, in a real browser: drawn and chosen digits are read, and nothing leaves the origin."""

import base64
import functools
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright

from conftest import ROOT
from mnist_cnn.checkpoint import SHIPPED
from test_serve import serving

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
SOON = 10_000  # milliseconds
MODEL = ("--checkpoint", ROOT / "saved_models" / SHIPPED.name)
Points = Sequence[tuple[float, float]]
ONE: list[Points] = [[(0.5, 0.2), (0.5, 0.8)]]
TWO: list[Points] = [
    [(0.3, 0.32), (0.36, 0.22), (0.5, 0.17), (0.63, 0.22), (0.68, 0.34), (0.62, 0.47), (0.32, 0.78), (0.72, 0.78)]
]
FOUR: list[Points] = [[(0.4, 0.2), (0.32, 0.52), (0.68, 0.52)], [(0.62, 0.22), (0.6, 0.82)]]
SEVEN: list[Points] = [[(0.3, 0.22), (0.7, 0.22), (0.45, 0.8)]]
ZERO: list[Points] = [[(0.5, 0.2), (0.34, 0.32), (0.32, 0.6), (0.46, 0.8), (0.64, 0.68), (0.66, 0.36), (0.5, 0.2)]]
STAR: list[Points] = [[(0.1, 0.1), (0.9, 0.9)], [(0.9, 0.1), (0.1, 0.9)], [(0.1, 0.5), (0.9, 0.5)]]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("there is no chromium on this machine")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


@pytest.fixture(scope="module")
def static_url(tmp_path_factory: pytest.TempPathFactory, mnist_data: Path) -> Iterator[str]:
    """Export the page without a server and show it by the simplest of web hosts."""
    folder = tmp_path_factory.mktemp("static")
    npm = shutil.which("npm")
    installed = npm and run(folder, npm, "install", "--ignore-scripts", "onnxruntime-web").returncode == 0
    if not installed:
        pytest.skip("npm cannot install onnxruntime-web here")
    export = run(folder, sys.executable, "-m", "mnist_cnn.export", "--web", "site", *MODEL, "--data-dir", mnist_data)
    assert export.returncode == 0, export.stderr
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=250)


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """Open the page; fail where it writes to the console or asks another origin."""
    with browser.new_context(viewport={"width": 980, "height": 820}, has_touch=True) as context:
        opened = context.new_page()
        said: list[str] = []
        asked: list[str] = []
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(url)
        yield opened
        assert not said
        assert all(address.startswith((url, "blob:")) for address in asked)


def places(canvas: Locator, points: Points) -> list[tuple[float, float]]:
    box = canvas.bounding_box()
    assert box
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]


def draw(page: Page, strokes: Sequence[Points]) -> None:
    for points in strokes:
        first, *others = places(page.locator("#canvas"), points)
        page.mouse.move(*first)
        page.mouse.down()
        for place in others:
            page.mouse.move(*place, steps=5)
        page.mouse.up()


def touch(page: Page, strokes: Sequence[Points]) -> None:
    """Draw with a finger, through the browser's own input."""
    session = page.context.new_cdp_session(page)
    for points in strokes:
        for number, (x, y) in enumerate(places(page.locator("#canvas"), points)):
            kind = "touchMove" if number else "touchStart"
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def says(page: Page, text: str) -> None:
    expect(page.locator("#digit")).to_have_text(text, timeout=SOON)


@pytest.mark.parametrize(
    ("strokes", "digit"),
    [(ONE, "1"), (TWO, "2"), (FOUR, "4"), (SEVEN, "7"), (ZERO, "0")],
    ids=["1", "2", "4", "7", "0"],
)
def test_a_digit_drawn_with_the_mouse_is_read(page: Page, strokes: list[Points], digit: str) -> None:
    draw(page, strokes)
    says(page, digit)
    expect(page.locator("#bars li.best span")).to_have_text(digit)
    assert page.locator("#bars li").count() == 10


def test_a_digit_drawn_with_a_finger_is_read(page: Page) -> None:
    touch(page, SEVEN)
    says(page, "7")


def test_empty_undo_clear_and_keys(page: Page) -> None:
    says(page, "No digit yet")
    expect(page.locator("#undo")).to_be_disabled()
    draw(page, FOUR)
    says(page, "4")
    page.keyboard.press("Control+z")
    expect(page.locator("#digit")).not_to_have_text("4", timeout=SOON)
    page.keyboard.press("Escape")
    says(page, "No digit yet")
    draw(page, SEVEN)
    says(page, "7")
    page.locator("#clear").focus()
    page.keyboard.press("Enter")
    says(page, "No digit yet")


def test_what_is_no_digit_is_marked(page: Page) -> None:
    draw(page, STAR)
    expect(page.locator("#sure")).to_contain_text("Not sure", timeout=SOON)


def test_photos_are_chosen_pasted_and_dropped(page: Page) -> None:
    page.set_input_files("#file", ROOT / "images" / "own_digit.jpg")
    says(page, "4")
    page.locator("#several").check()
    for kind in ("paste", "drop"):
        page.locator("#clear").click()
        says(page, "No digit yet")
        give(page, ROOT / "images" / "own_digits.jpg", kind)
        says(page, "17324")


def give(page: Page, photo: Path, kind: str) -> None:
    """Paste or drop a picture as a person would: the event carries a file."""
    page.evaluate(
        """([content, kind]) => {
          const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
          const carried = new DataTransfer();
          carried.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
          const data = kind === "paste" ? { clipboardData: carried } : { dataTransfer: carried };
          const make = kind === "paste" ? ClipboardEvent : DragEvent;
          document.dispatchEvent(new make(kind, { bubbles: true, cancelable: true, ...data }));
        }""",
        [base64.b64encode(photo.read_bytes()).decode(), kind],
    )


def test_real_pictures_are_read(page: Page, real_digits: Path) -> None:
    for digit in "038":
        page.set_input_files("#file", sorted((real_digits / digit).iterdir())[0])
        says(page, digit)


def test_a_file_that_is_no_picture_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    page.set_input_files("#file", tmp_path / "notes.txt")
    says(page, "That is not a picture")
    page.wait_for_timeout(300)
    says(page, "That is not a picture")


def test_a_late_answer_does_not_replace_a_newer_one(page: Page) -> None:
    held: list[Route] = []
    page.route("**/api/predict**", lambda route: held.append(route), times=1)
    with page.expect_request("**/api/predict**"):
        draw(page, TWO)
    page.keyboard.press("Escape")
    draw(page, SEVEN)
    says(page, "7")
    with page.expect_response("**/api/predict**"):
        held.pop().continue_()
    page.wait_for_timeout(300)
    says(page, "7")


def test_the_page_without_a_server_reads_the_same(page: Page, static_url: str, browser: Browser) -> None:
    alone = browser.new_page(viewport={"width": 980, "height": 820})
    asked: list[str] = []
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(static_url)
    for strokes, digit in ((ONE, "1"), (TWO, "2"), (FOUR, "4"), (SEVEN, "7"), (ZERO, "0")):
        chances = []
        for shown in (page, alone):
            draw(shown, strokes)
            says(shown, digit)
            chances.append([float(bar.get_attribute("value") or 0) for bar in shown.locator("meter").all()])
            shown.keyboard.press("Escape")
            says(shown, "No digit yet")
        assert max(abs(one - other) for one, other in zip(*chances, strict=True)) < 0.05
    alone.locator("#several").check()
    draw(alone, [*half(SEVEN, 0.0), *half(TWO, 0.5)])
    says(alone, "72")
    alone.set_input_files("#file", ROOT / "images" / "own_digit.jpg")
    says(alone, "No answer")
    assert all(address.startswith((static_url, "blob:")) for address in asked)


def half(strokes: Sequence[Points], left: float) -> list[Points]:
    return [[(left + x / 2, 0.25 + y / 2) for x, y in points] for points in strokes]


def test_assistive_technology_finds_no_barrier(page: Page) -> None:
    draw(page, TWO)
    says(page, "2")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (980, "dark")])
def test_it_fits_a_phone_and_a_dark_room(
    browser: Browser, url: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    with browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(url)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(ground[4:].split(",")[0]) < 60) == (scheme == "dark")
