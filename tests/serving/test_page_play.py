"""What a class plays with on the page: teaching a hand, fooling the network, looking inside it; in a browser."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from test_page import FOUR, SEVEN, SOON, TWO, assert_no_barrier, draw, places, says, visiting

from mnist_cnn.models.onnx_model import PACKAGED, load_onnx
from mnist_cnn.serving.explain import Explainer
from mnist_cnn.serving.static_page import write_single_file
from mnist_cnn.splits import Dataset
from mnist_cnn.synthetic.allographs import DIGITS, jittered_spline

TURN = np.deg2rad(-50)  # the hand's own style: it leans far over
LABELS = [digit for _ in range(5) for digit in range(10)]
TEACH = """async ([drawings, labels]) => {
  const [hand, strokes, reader] = await Promise.all(
    ["./web/hand.js", "./web/strokes.js", "./web/reader.js"].map((path) => import(path)));
  for (const [number, strokes] of drawings.entries()) {
    const { digits } = await reader.read({ strokes }, false, () => null);
    if (digits.length) await hand.keep(digits[0].image.flat(), labels[number]);
  }
  return hand.look();
}"""


@pytest.fixture(params=["url", "static_url"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    with visiting(browser, request.getfixturevalue(request.param)) as opened:
        says(opened, "No digit yet")
        yield opened


def unfold(page: Page, part: str) -> None:
    page.evaluate(f"document.getElementById('{part}').open = true")


def leaning(rng: np.random.Generator, digit: int) -> list[list[list[float]]]:
    """Write a digit as the hand does: strokes in pixels of the canvas."""
    turn = TURN + rng.normal(0, 0.05)
    matrix = 300 * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    strokes = [[point.split(",") for point in stroke.split()] for stroke in DIGITS[digit][0].split("/")]
    splines = [jittered_spline(rng, np.array(stroke, np.float32) / np.float32(100)) for stroke in strokes]
    return [((spline - 0.5) @ matrix + 280).tolist() for spline in splines]


def test_a_hand_is_taught_and_mnist_is_not_forgotten(browser: Browser, static_url: str, mnist: Dataset) -> None:
    rng = np.random.default_rng(0)
    with visiting(browser, static_url) as page:
        says(page, "No digit yet")
        page.evaluate(TEACH, [[leaning(rng, label) for label in LABELS], LABELS])
        page.reload()  # it is remembered
        unfold(page, "teach")
        page.locator("#learn").click(timeout=SOON)
        expect(page.locator("#report")).to_contain_text("From 50 drawings", timeout=4 * SOON)
        hand = page.evaluate(TEACH, [[leaning(rng, label) for label in 2 * LABELS], 2 * LABELS])
        assert hand["next"]["count"] == 100
        assert hand["next"]["before"] < 90
        assert hand["next"]["after"] > 98
        with page.expect_download() as saved:
            page.locator("#keep-hand").click()
        taught = json.loads(Path(saved.value.path()).read_text("utf-8"))["learned"]
        assert taught["before"] - taught["after"] < 0.002
        assert lost_of_all(taught, mnist) == pytest.approx(taught["before"] - taught["after"], abs=2e-4)
        assert_no_barrier(page)


def lost_of_all(taught: dict[str, Any], mnist: Dataset) -> float:
    """Return by how much the share of all test images that are read right falls."""
    images, labels = mnist.test.images[:, 0].numpy(), mnist.test.labels.numpy()
    explainer = Explainer(load_onnx(PACKAGED))
    features, (shipped, biases) = explainer.features(images), explainer.last_weights()
    weights = np.frombuffer(base64.b64decode(taught["weights"]), "<f4").reshape(shipped.shape)
    logits = features @ shipped.T + biases, features @ weights.T + np.array(taught["biases"], np.float32)
    before, after = (float((one.argmax(axis=1) == labels).mean()) for one in logits)
    return before - after


def test_digits_are_labelled_with_keys_and_buttons_and_a_hand_moves_to_another_browser(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    with visiting(browser, url) as page:
        unfold(page, "teach")
        for strokes, digit in ((SEVEN, 7), (FOUR, 4)):
            draw(page, strokes)
            says(page, str(digit))
            if digit == 7:
                page.keyboard.press("7")
            else:
                page.locator("#labels button").nth(4).click()
            says(page, "No digit yet")
        expect(page.locator("#labels button").nth(7)).to_have_text("7●○○○○")
        expect(page.locator("#labels button").nth(4)).to_have_attribute("aria-label", "It is a 4; 1 taught")
        with page.expect_download() as saved:
            page.locator("#keep-hand").click()
        saved.value.save_as(tmp_path / "hand.json")
        page.locator("#take-back").click()
        expect(page.locator("#labels button").nth(4)).to_have_text("4○○○○○")
        page.locator("#forget").click()
        expect(page.locator("#learn")).to_be_disabled()
        assert page.evaluate("localStorage.length") == 0
        (tmp_path / "wrong.json").write_text("{}")
        page.set_input_files("#hand-file", tmp_path / "wrong.json")
        expect(page.locator("#report")).to_contain_text("no hand")
        page.set_input_files("#hand-file", tmp_path / "hand.json")
        expect(page.locator("#labels button").nth(4)).to_have_text("4●○○○○")
        assert_no_barrier(page)


def test_errors_are_browsed_and_altered_and_one_becomes_another_digit(page: Page) -> None:
    unfold(page, "fool")
    errors = page.locator("#errors button")
    expect(errors.first).to_be_visible(timeout=SOON)
    assert 25 <= errors.count() <= 40
    errors.nth(2).click()
    expect(page.locator("#verdict")).to_contain_text("It was written as", timeout=SOON)
    before = page.locator("#verdict").text_content()
    page.locator("#turn").focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#verdict")).not_to_have_text(before or "", timeout=SOON)
    page.select_option("#goal", "3")
    page.locator("#smallest").click()
    expect(page.locator("#difference")).to_be_visible(timeout=SOON)
    expect(page.locator("#change-words")).to_contain_text("at most")
    expect(page.locator("#verdict")).to_contain_text(re.compile("reads 3 [56]"), timeout=SOON)
    before = page.evaluate("document.getElementById('altered').toDataURL()")
    [(x, y)] = places(page.locator("#altered"), [(0.2, 0.2)])
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 10, steps=4)
    page.mouse.up()
    assert page.evaluate("document.getElementById('altered').toDataURL()") != before
    assert_no_barrier(page)


def test_a_map_its_filter_the_evidence_and_the_nearest_digits_are_shown(page: Page) -> None:
    draw(page, TWO)
    says(page, "2")
    unfold(page, "inside")
    maps = page.locator("#layers canvas")
    expect(maps.first).to_be_visible(timeout=SOON)
    maps.nth(1).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#filter-words")).to_contain_text("Layer 2, map 1: its filter, 3 by 3", timeout=SOON)
    maps.first.click(position={"x": 5, "y": 5})
    expect(page.locator("#filter-words")).to_contain_text("Layer 1, map 1: its filter, 6 by 6 for the", timeout=SOON)
    expect(page.locator("#drives-words")).not_to_be_empty()
    expect(page.locator("#evidence li")).to_have_count(10)
    expect(page.locator("#evidence li.best button")).to_have_text("2")
    logits = [float(output) for output in page.locator("#evidence output").all_text_contents()]
    assert int(np.argmax(logits)) == 2
    page.locator("#evidence button").nth(7).click()
    expect(page.locator("#evidence-words")).to_contain_text("counts most for 7: map")
    page.locator("#find").click()
    expect(page.locator("#neighbours figcaption").first).to_have_text(re.compile(r"^a 2, 0\.\d\d$"), timeout=SOON)
    assert_no_barrier(page)


def test_a_drawing_is_shown_again_stroke_by_stroke(browser: Browser, url: str) -> None:
    with visiting(browser, url) as page:
        unfold(page, "inside")
        expect(page.locator("#replay")).to_be_hidden()
        draw(page, FOUR)
        says(page, "4")
        page.locator("#replay").focus()
        page.keyboard.press("Home")
        says(page, "No digit yet")
        page.keyboard.press("End")
        says(page, "4")
        page.keyboard.press("Home")
        page.keyboard.press("Control+z")
        says(page, "4")


def test_both_forms_have_the_same_features_and_gradient(
    browser: Browser, url: str, static_url: str, digits: Dataset
) -> None:
    image = digits.test.images[1, 0].numpy()
    explainer = Explainer(load_onnx(PACKAGED))
    for address in (url, static_url):
        with visiting(browser, address) as page:
            found = page.evaluate(
                """async (image) => {
                  const reader = await import("./web/reader.js");
                  const { values } = await reader.features(Uint8Array.from(image.flat()));
                  const layer = await reader.lastLayer();
                  return { features: [...values], weights: [...layer.weights], biases: [...layer.biases],
                    filter: (await reader.filter(1, 3)).values,
                    toward: await reader.gradient(image, { toward: 3, against: 8 }),
                    map: await reader.gradient(image, { layer: 2, channel: 5 }) };
                }""",
                image.tolist(),
            )
        weights, biases = explainer.last_weights()
        expected = {
            "features": explainer.features(image[None])[0],
            "weights": weights.ravel(),
            "biases": biases,
            "filter": explainer.filter(1, 3).ravel(),
            "toward": explainer.gradient(image, {3: 1, 8: -1}, {}),
            "map": explainer.gradient(image, {}, {(2, 5): 1}),
        }
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=1e-4, err_msg=name)


def test_a_second_visit_needs_no_network(browser: Browser, static_url: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(static_url)
        says(page, "No digit yet")
        page.evaluate("navigator.serviceWorker.ready.then(() => null)")
        context.set_offline(True)
        page.reload()
        draw(page, SEVEN)
        says(page, "7")


def test_one_file_opens_by_double_click(browser: Browser, web_runtime: Path, tmp_path: Path) -> None:
    file = tmp_path / "index.html"
    write_single_file(PACKAGED, file, web_runtime)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    with visiting(browser, file.as_uri()) as page:
        draw(page, SEVEN)
        says(page, "7")
        unfold(page, "fool")
        expect(page.locator("#errors button").first).to_be_visible(timeout=SOON)
