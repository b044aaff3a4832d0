"""What the page shows while one draws: answers during a stroke, nothing that moves, what is offered; in both forms."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect
from test_page import SEVEN, SOON, TRIANGLE, TWO, assert_no_barrier, draw, half, places, says, touch, visiting

from mnist_cnn.models.onnx_layers import activation_names
from mnist_cnn.models.onnx_model import PACKAGED
from mnist_cnn.splits import Dataset

PICTURE = """async (strokes) => {
  const { grey, scale, left, top } = (await import("./web/strokes.js")).pictureOf(strokes, true);
  return { width: grey.width, height: grey.height, data: [...grey.data], scale, left, top };
}"""


@pytest.fixture(scope="module", params=["url", "static_url"])
def shared(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    with visiting(browser, request.getfixturevalue(request.param)) as opened:
        says(opened, "No digit yet")
        yield opened


@pytest.fixture
def page(shared: Page) -> Page:
    """Empty the page that the tests of a form share."""
    shared.mouse.up()
    shared.keyboard.press("Escape")
    shared.locator("#several").uncheck()
    says(shared, "No digit yet")
    return shared


def test_the_answer_follows_the_pen(page: Page) -> None:
    first, *others = places(page.locator("#canvas"), SEVEN[0])
    page.mouse.move(*first)
    page.mouse.down()
    page.mouse.move(*others[0], steps=5)
    says(page, "No digit found")
    page.mouse.move(*others[1], steps=5)
    says(page, "7")


def test_a_drawing_of_any_size_is_the_same_picture(page: Page) -> None:
    strokes = [[[560 * x, 560 * y] for x, y in points] for points in (*half(SEVEN, 0.0), *half(TWO, 0.5))]
    small = [[[200 + x / 6, 300 + y / 6] for x, y in points] for points in strokes]
    large, tiny = (page.evaluate(PICTURE, drawn) for drawn in (strokes, small))
    assert abs(large["width"] - tiny["width"]) <= 1
    assert abs(large["height"] - tiny["height"]) <= 1
    assert large["scale"] == pytest.approx(6 * tiny["scale"], rel=0.01)
    dark = [sum(grey < 128 for grey in picture["data"]) for picture in (large, tiny)]
    assert dark[0] == pytest.approx(dark[1], rel=0.03)
    assert dark[0] > 500


def test_several_digits_are_noticed_and_read_when_asked_for(page: Page) -> None:
    draw(page, SEVEN)
    says(page, "7")
    expect(page.locator("#offer")).to_be_hidden()
    page.keyboard.press("Escape")
    draw(page, [*half(SEVEN, 0.0), *half(TWO, 0.5)])
    expect(page.locator("#offer")).to_be_visible(timeout=SOON)
    page.locator("#offer").click()
    says(page, "72")
    expect(page.locator("#several")).to_be_checked()
    expect(page.locator("#offer")).to_be_hidden()


def test_each_digit_of_several_shows_its_probabilities(page: Page) -> None:
    page.locator("#several").check()
    draw(page, [*half(SEVEN, 0.0), *half(TWO, 0.5)])
    expect(page.locator("#spoken")).to_contain_text("72", timeout=SOON)  # the last answer has come
    expect(page.locator(".glyph[aria-current]")).to_have_count(1)
    page.locator(".glyph").nth(1).hover()
    expect(page.locator("#bars li.best span")).to_have_text("2")
    page.locator(".glyph").nth(0).focus()
    expect(page.locator("#bars li.best span")).to_have_text("7")
    assert re.match(r"7 \d+\.\d %, \d \d+\.\d %", page.locator(".glyph").nth(0).get_attribute("title") or "")


@pytest.mark.parametrize(("width", "height"), [(320, 568), (390, 844), (844, 390), (980, 820)])
def test_the_answer_is_in_sight_and_moves_nothing(page: Page, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    before = boxes(page)
    draw(page, SEVEN)
    says(page, "7")
    sure = boxes(page)
    draw(page, TRIANGLE)
    expect(page.locator("#sure")).to_contain_text("Not sure", timeout=SOON)
    assert boxes(page) == sure == before
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for seen in ("#digit", "#sure", "#canvas"):
        box = page.locator(seen).bounding_box()
        assert box
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= height
    page.set_viewport_size({"width": 980, "height": 820})


def boxes(page: Page) -> list[object]:
    return [page.locator(part).bounding_box() for part in ("#digit", "#sure", "#canvas", "#bars", "#clear")]


def test_examples_are_written_and_read(page: Page) -> None:
    page.locator("#examples button").nth(1).press("Enter")
    says(page, "7")
    page.locator("#examples button").nth(2).click()
    says(page, "428")
    expect(page.locator("#several")).to_be_checked()
    page.set_viewport_size({"width": 320, "height": 568})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.set_viewport_size({"width": 980, "height": 820})
    page.locator("#examples button").nth(0).click()
    says(page, "3")
    page.locator("#examples button").nth(1).click()
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    says(page, "No digit yet")


def test_a_screen_reader_has_the_settled_answer_only(page: Page) -> None:
    page.evaluate(
        """() => {
          window.heard = [];
          const spoken = document.getElementById("spoken");
          window.ear = new MutationObserver(() => window.heard.push(spoken.textContent));
          window.ear.observe(spoken, { childList: true });
        }"""
    )
    draw(page, SEVEN)
    expect(page.locator("#spoken")).to_have_text(re.compile(r"^7\. \d+\.\d % likely$"), timeout=SOON)
    assert page.evaluate("window.ear.disconnect() ?? window.heard.length") <= 3


def test_who_answers_is_told(page: Page) -> None:
    expect(page.locator("#model")).to_have_text(
        re.compile(r"^Who answers: [\w-]+ · [\d,]+ weights · trained 20\d\d-\d\d-\d\d · [0-9a-f]{8} · version \d")
    )


def test_no_barrier_where_several_digits_are_doubted(page: Page) -> None:
    page.locator("#several").check()
    draw(page, [*half(SEVEN, 0.0), *half(TWO, 0.5)])
    says(page, "72")
    assert_no_barrier(page)


def test_the_network_is_seen_at_work(page: Page) -> None:
    page.evaluate("document.getElementById('inside').open = true")
    first, *others = places(page.locator("#canvas"), SEVEN[0])
    page.mouse.move(*first)
    page.mouse.down()
    for place in others:
        page.mouse.move(*place, steps=5)
    expect(page.locator("#heat-words")).to_contain_text("speak for 7", timeout=SOON)
    captions = page.locator("#layers figcaption")
    expect(captions).to_have_count(len(activation_names(PACKAGED.read_bytes())))
    assert re.fullmatch(r"Layer 1: \d+ maps of \d+ by \d+", captions.first.text_content() or "")
    coloured = """(id) => {
      const canvas = document.querySelector(id);
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.filter((_, at) => at % 4 === 0 && data[at] !== data[at + 2]).length;
    }"""
    assert page.evaluate(coloured, "#heat") > 20
    assert page.evaluate(coloured, "#layers canvas") > 20
    assert page.evaluate(coloured, "#image") == 0
    page.mouse.up()
    page.locator("#image").hover(position={"x": 6, "y": 6})
    expect(page.locator("#value")).to_have_text("row 1, column 1: grey 0 of 255")
    assert_no_barrier(page)
    page.evaluate("document.getElementById('inside').open = false")


EXPLAIN = """async ([image, digit]) => {
  const { layers, occlusion } = await (await import("./web/reader.js")).explain(image, digit);
  return { layers: layers.map((layer) => ({ ...layer, values: [...layer.values] })), occlusion };
}"""


def test_both_forms_explain_alike(browser: Browser, url: str, static_url: str, digits: Dataset) -> None:
    image = digits.test.images[1, 0].tolist()
    found = []
    for address in (url, static_url):
        with visiting(browser, address) as page:
            found.append(page.evaluate(EXPLAIN, [image, 1]))
    one, other = found
    np.testing.assert_allclose(one["occlusion"], other["occlusion"], atol=0.01)
    assert np.ptp(one["occlusion"]) > 0.1
    for mine, its in zip(one["layers"], other["layers"], strict=True):
        assert (mine["channels"], mine["height"], mine["width"]) == (its["channels"], its["height"], its["width"])
        np.testing.assert_allclose(mine["values"], its["values"], atol=2)


def test_a_phone_offers_its_camera_and_no_keys(browser: Browser, url: str) -> None:
    for phone in (True, False):
        with browser.new_context(has_touch=phone, is_mobile=phone, viewport={"width": 390, "height": 844}) as context:
            page = context.new_page()
            page.goto(url)
            expect(page.locator("label[for=camera]")).to_be_visible(visible=phone)
            expect(page.locator(".keys")).to_be_visible(visible=not phone)
            assert page.locator("#camera").get_attribute("capture") == "environment"
            if phone:
                touch(page, SEVEN)
                says(page, "7")


def test_loading_is_seen(browser: Browser, static_url: str) -> None:
    held: list[Route] = []
    with browser.new_context() as context:
        page = context.new_page()
        page.route("**/mnist_cnn.onnx", lambda route: held.append(route))
        page.goto(static_url)
        expect(page.locator("#sure")).to_have_text(re.compile(r"^Loading the networks: [1-9]\d %$"), timeout=SOON)
        held.pop().continue_()
        says(page, "No digit yet")


def test_the_page_comes_in_four_megabytes(static_site: Path) -> None:
    files = [path.read_bytes() for path in static_site.rglob("*") if path.is_file()]
    assert sum(len(gzip.compress(content)) for content in files) < 4_100_000  # as a host compresses them
