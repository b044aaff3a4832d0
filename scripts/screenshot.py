"""Draw README's pictures of the page: digits written with the mouse in a real browser, and each panel open."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from mnist_cnn.synthetic.allographs import DIGITS, jittered_spline

IMAGES = Path(__file__).parent.parent / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WAIT = 60_000  # milliseconds


def write(page: Page, digit: int, form: int = 0, left: float = 0.3, size: float = 0.6) -> None:
    """Write a digit in one of its forms as a person does, in smooth curves."""
    page.evaluate("scrollTo(0, 0)")
    box = page.locator("#canvas").bounding_box() or {"x": 0, "y": 0, "width": 1, "height": 1}
    rng = np.random.default_rng(digit)
    for stroke in DIGITS[digit][form].split("/"):
        points = np.array([point.split(",") for point in stroke.split()], np.float32) / np.float32(100)
        for number, (x, y) in enumerate((1 - size) / 2 * np.array([0, 1]) + size * jittered_spline(rng, points)):
            page.mouse.move(box["x"] + (left + float(x)) * box["width"], box["y"] + float(y) * box["height"])
            if number == 0:
                page.mouse.down()
        page.mouse.up()
    page.locator("#bars li.best").wait_for(timeout=WAIT)
    page.wait_for_timeout(1000)


def take(page: Page, name: str, panel: str | None = None) -> None:
    """Keep what the page looks like, from the top, or from a panel on."""
    page.mouse.move(5, 5)
    page.wait_for_timeout(500)
    if panel:
        page.evaluate(f"document.getElementById('{panel}').scrollIntoView()")
        page.wait_for_timeout(300)
    page.screenshot(path=IMAGES / name)


def unfold(page: Page, panel: str, is_open: bool = True) -> None:
    """Open or close a panel."""
    page.evaluate(f"document.getElementById('{panel}').open = {str(is_open).lower()}")


def draw_all(browser: Browser, url: str) -> None:
    """Take all pictures."""
    page = browser.new_page(viewport={"width": 920, "height": 800})
    page.goto(url)
    write(page, 2)
    take(page, "page.png")
    unfold(page, "inside")
    page.locator("#layers canvas").first.click(position={"x": 90, "y": 10}, timeout=WAIT)
    page.locator("#filter-words", has_text="Layer 1").wait_for(timeout=WAIT)
    page.locator("#evidence-words", has_text="counts most").wait_for(timeout=WAIT)
    take(page, "page_inside.png", "inside")
    unfold(page, "inside", False)
    unfold(page, "fool")
    page.locator('#errors button[title^="A 7"]').first.click(timeout=WAIT)
    page.select_option("#goal", "3")
    page.locator("#smallest").click()
    page.locator("#difference").wait_for(timeout=WAIT)
    take(page, "page_fool.png", "fool")
    unfold(page, "fool", False)
    unfold(page, "teach")
    for digit in (2, 7, 4):
        page.keyboard.press("Escape")
        write(page, digit)
        page.locator("#labels button").nth(digit).click()
        page.locator("#digit", has_text="No digit yet").wait_for(timeout=WAIT)
    page.locator("#learn").click()
    page.locator("#report", has_text="Learned").wait_for(timeout=WAIT)
    write(page, 7)
    page.set_viewport_size({"width": 920, "height": 1000})
    take(page, "page_teach.png")
    phone = browser.new_page(
        viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True, is_mobile=True
    )
    phone.goto(url)
    phone.locator("#several").check(timeout=WAIT)
    for number, digit in enumerate((4, 2, 8)):
        write(phone, digit, left=0.1 + 0.3 * number, size=0.28)
    phone.locator("#digit", has_text="428").wait_for(timeout=WAIT)
    take(phone, "page_phone.png")


def main() -> None:
    """Serve the page, and draw on it."""
    command = [sys.executable, "-m", "mnist_cnn.serving.app", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service, sync_playwright() as playwright:
        url = next(iter(service.stdout or ())).split(" ")[0]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        draw_all(browser, url)
        browser.close()
        service.terminate()


if __name__ == "__main__":
    main()
