"""Draw README's picture of the page: a digit drawn with the mouse in a real browser."""

import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent.parent / "images" / "page.png"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
TWO = [(0.29, 0.34), (0.33, 0.24), (0.42, 0.17), (0.53, 0.16), (0.63, 0.2), (0.68, 0.29), (0.67, 0.39), (0.61, 0.5)]
TWO += [(0.52, 0.6), (0.42, 0.69), (0.31, 0.78), (0.42, 0.77), (0.56, 0.78), (0.72, 0.76)]


def main() -> None:
    """Serve the page, draw on it, and keep what it looks like."""
    command = [sys.executable, "-m", "mnist_cnn.serving.app", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service, sync_playwright() as playwright:
        url = next(iter(service.stdout or ())).split(" ")[0]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport={"width": 920, "height": 800})
        page.goto(url)
        box = page.locator("#canvas").bounding_box() or {"x": 0, "y": 0, "width": 1, "height": 1}
        for number, (x, y) in enumerate(TWO):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
            if number == 0:
                page.mouse.down()
        page.mouse.up()
        page.wait_for_selector("#bars li.best")
        page.mouse.move(5, 5)
        page.wait_for_timeout(500)
        page.screenshot(path=PICTURE)
        browser.close()
        service.terminate()


if __name__ == "__main__":
    main()
