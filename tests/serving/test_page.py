"""The page, in a real browser: drawn and chosen digits are read, and nothing leaves the origin."""

import base64
import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Route, expect

from conftest import ROOT

SOON = 60_000  # milliseconds, on a busy machine
Points = Sequence[tuple[float, float]]
ONE: list[Points] = [[(0.5, 0.2), (0.5, 0.8)]]
TWO: list[Points] = [
    [(0.3, 0.32), (0.36, 0.22), (0.5, 0.17), (0.63, 0.22), (0.68, 0.34), (0.62, 0.47), (0.32, 0.78), (0.72, 0.78)]
]
FOUR: list[Points] = [[(0.4, 0.2), (0.32, 0.52), (0.68, 0.52)], [(0.62, 0.22), (0.6, 0.82)]]
SEVEN: list[Points] = [[(0.3, 0.22), (0.7, 0.22), (0.45, 0.8)]]
ZERO: list[Points] = [[(0.5, 0.2), (0.34, 0.32), (0.32, 0.6), (0.46, 0.8), (0.64, 0.68), (0.66, 0.36), (0.5, 0.2)]]
STAR: list[Points] = [[(0.1, 0.1), (0.9, 0.9)], [(0.9, 0.1), (0.1, 0.9)], [(0.1, 0.5), (0.9, 0.5)]]
CROSS: list[Points] = [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)]]
HOOK: list[Points] = [[(0.3, 0.2), (0.5, 0.8), (0.7, 0.2)]]
TRIANGLE: list[Points] = [[(0.5, 0.2), (0.2, 0.8), (0.8, 0.8), (0.5, 0.2)]]


@contextlib.contextmanager
def visiting(browser: Browser, url: str) -> Iterator[Page]:
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


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    with visiting(browser, url) as opened:
        yield opened


@pytest.fixture(params=["url", "static_url"])
def either(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """Open the page in both of its forms: with a server and without."""
    with visiting(browser, request.getfixturevalue(request.param)) as opened:
        yield opened


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
    """Draw with a finger."""
    for points in strokes:
        fingers(page, [[point] for point in points])


def fingers(page: Page, steps: Sequence[Sequence[tuple[float, float] | None]], end: str = "touchEnd") -> None:
    """Put fingers on the canvas, through the browser's own input: at each step the place of each that touches."""
    session = page.context.new_cdp_session(page)
    before: set[int] = set()
    for step in steps:
        down = {number: point for number, point in enumerate(step) if point}
        there = places(page.locator("#canvas"), list(down.values()))
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in zip(down, there, strict=True)]
        kind = "touchMove" if set(down) <= before else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        before = set(down)
    session.send("Input.dispatchTouchEvent", {"type": end, "touchPoints": []})


def assert_no_barrier(page: Page) -> None:
    """Assert that axe finds no barrier, light, dark and on a dark phone, where nothing may overflow."""
    size = page.viewport_size
    assert size
    light = Axe().run(page)
    page.emulate_media(color_scheme="dark")
    dark = Axe().run(page)
    page.set_viewport_size({"width": 360, "height": 640})
    phone = Axe().run(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "too wide"
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(size)
    for found in (light, dark, phone):
        assert found.violations_count == 0, found.generate_report()


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


def test_doubt_says_how_improbable_a_digit_is(either: Page) -> None:
    draw(either, CROSS)
    expect(either.locator("#sure")).to_contain_text("Not sure", timeout=SOON)
    sentence, chances = either.evaluate(
        """() => [document.getElementById("sure").textContent,
                  [...document.querySelectorAll("meter")].map((meter) => meter.value)]"""
    )
    assert sentence == f"Not sure: only {100 * max(chances):.1f} % likely"


def test_a_drawing_in_which_no_digit_is_found_is_told_from_none(either: Page) -> None:
    either.locator("#several").check()
    draw(either, TRIANGLE)
    says(either, "No digit found")
    either.keyboard.press("Escape")
    says(either, "No digit yet")


def test_among_several_what_is_no_digit_is_left_out(either: Page) -> None:
    either.locator("#several").check()
    draw(either, [*half(SEVEN, 0.0), *half(TRIANGLE, 0.5)])
    says(either, "7")


@pytest.mark.parametrize("strokes", [TWO, FOUR, SEVEN], ids=["2", "4", "7"])
def test_a_tiny_drawing_is_read(either: Page, strokes: list[Points]) -> None:
    draw(either, [[(0.3 + x / 8, 0.6 + y / 8) for x, y in points] for points in strokes])
    says(either, {id(TWO): "2", id(FOUR): "4", id(SEVEN): "7"}[id(strokes)])


def test_what_is_no_digit_is_marked(either: Page) -> None:
    draw(either, STAR)
    expect(either.locator("#sure")).to_contain_text("Not sure", timeout=SOON)


def test_photos_are_chosen_pasted_and_dropped(either: Page) -> None:
    either.set_input_files("#file", ROOT / "images" / "own_digit.jpg")
    says(either, "4")
    either.locator("#several").check()
    for kind in ("paste", "drop"):
        either.locator("#clear").click()
        says(either, "No digit yet")
        give(either, ROOT / "images" / "own_digits.jpg", kind)
        says(either, "17324")


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


def test_real_pictures_are_read(either: Page, real_digits: Path) -> None:
    for digit in "038":
        either.set_input_files("#file", sorted((real_digits / digit).iterdir())[0])
        says(either, digit)


def test_a_file_that_is_no_picture_is_refused_in_words(either: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    either.set_input_files("#file", tmp_path / "notes.txt")
    says(either, "That is not a picture")
    either.wait_for_timeout(300)
    says(either, "That is not a picture")


def test_a_late_answer_does_not_replace_a_newer_one(page: Page) -> None:
    held: list[Route] = []
    page.route("**/api/v1/predict**", lambda route: held.append(route), times=1)
    with page.expect_request("**/api/v1/predict**"):
        draw(page, TWO)
    page.keyboard.press("Escape")
    draw(page, SEVEN)
    says(page, "7")
    with page.expect_response("**/api/v1/predict**"):
        held.pop().continue_()
    page.wait_for_timeout(300)
    says(page, "7")


def test_the_page_without_a_server_reads_the_same(page: Page, static_url: str, browser: Browser) -> None:
    with visiting(browser, static_url) as alone:
        for strokes, digit in ((ONE, "1"), (TWO, "2"), (FOUR, "4"), (SEVEN, "7"), (ZERO, "0")):
            for shown in (page, alone):
                draw(shown, strokes)
                says(shown, digit)
            for _ in range(100):  # an answer to the first part of the strokes may be on a page still
                difference = max(abs(one - other) for one, other in zip(chances(page), chances(alone), strict=True))
                if difference < 0.02:
                    break
                time.sleep(0.1)
            assert difference < 0.02
            for shown in (page, alone):
                shown.keyboard.press("Escape")
                says(shown, "No digit yet")
        alone.locator("#several").check()
        draw(alone, [*half(SEVEN, 0.0), *half(TWO, 0.5)])
        says(alone, "72")


def chances(page: Page) -> list[float]:
    """Return the probability of each class that the page shows."""
    return [float(bar.get_attribute("value") or 0) for bar in page.locator("meter").all()]


def half(strokes: Sequence[Points], left: float) -> list[Points]:
    return [[(left + x / 2, 0.25 + y / 2) for x, y in points] for points in strokes]


def test_assistive_technology_finds_no_barrier(page: Page) -> None:
    draw(page, TWO)
    says(page, "2")
    assert_no_barrier(page)


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
