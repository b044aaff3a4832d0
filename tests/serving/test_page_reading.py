"""The page without a server reads pictures as Python does, in a real browser, module by module and as a whole."""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from page_fixtures import hosting
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect
from test_page import ONE, SEVEN, SOON, TWO, draw, half, says, visiting

import drawing
from conftest import ROOT
from mnist_cnn import Classifier, Reading
from mnist_cnn.fusion import combine
from mnist_cnn.pictures import candidates, contrast, preprocess, spotter
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.serving.static_page import WEB, page_data
from mnist_cnn.splits import Dataset

RNG = np.random.default_rng(0)
READ = """async ([content, several]) => {
  const { read } = await import("./web/reader.js");
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  return read({ photo: new Blob([bytes]) }, several, () => null);
}"""
PIXELS = "const grey = { width: image[0].length, height: image.length, data: Uint8Array.from(image.flat()) };"


@pytest.fixture(scope="module")
def page(browser: Browser, static_site: Path) -> Iterator[Page]:
    with hosting(static_site) as address, visiting(browser, address) as opened:
        says(opened, "No digit yet")
        yield opened


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load()


def computed(page: Page, module: str, expression: str, image: Pixels) -> np.ndarray[Any, Any]:
    """Compute an expression of `grey`, and of what a module exports, in the page."""
    script = f"async (image) => {{ {PIXELS} const m = await import('./web/local/{module}.js'); {expression} }}"
    return np.array(page.evaluate(script, image.tolist()))


def test_modules_use_constants_that_python_has() -> None:
    known = page_data(Classifier.load())["constants"]
    modules = {path: path.read_text("utf-8") for path in (WEB / "local").glob("*.js")}
    used = [
        (owner, name)
        for text in modules.values()
        for names, owner in re.findall(r"const \{([^}]*)\} = constants\.(\w+);", text)
        for name in re.findall(r"\w+", names)
    ]
    assert len(used) > 40
    assert len({owner for owner, _ in used}) == len(known)
    assert not [name for owner, name in used if name not in known[owner]]


@pytest.mark.parametrize("shape", [(40, 150), (200, 90), (9, 5), (1, 70)])
def test_local_contrast(page: Page, shape: tuple[int, int]) -> None:
    grey = np.asarray(RNG.integers(0, 256, shape), np.uint8)
    grey[: len(grey) // 2] = 200
    found = computed(page, "contrast", "return [...m.localContrast(grey).data];", grey).reshape(shape)
    np.testing.assert_allclose(found, contrast.local_contrast(grey), atol=1e-3)


RESIZES = [  # the last two methods are one of OpenCV's, which truncates
    ("AREA", 62, 35, 0.01),
    ("AREA", 50, 40, 0.01),
    ("AREA", 25, 20, 0.01),
    ("CUBIC", 160, 170, 0.01),
    ("AREA", 103, 30, 0.2),
    ("LINEAR", 211, 99, 0.2),
]


@pytest.mark.parametrize(("method", "width", "height", "differ"), RESIZES)
def test_resize(page: Page, method: str, width: int, height: int, differ: float) -> None:
    grey = cv2.GaussianBlur(np.asarray(RNG.integers(0, 256, (80, 100)), np.uint8), (0, 0), 0.7)
    expected = cv2.resize(grey, (width, height), interpolation=getattr(cv2, f"INTER_{method}")).astype(int)
    expression = f"return [...m.resize(grey, {width}, {height}, m.{method}).data];"
    found = computed(page, "resize", expression, np.asarray(grey, np.uint8)).reshape(height, width)
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() < differ


def test_morphology_and_thresholds(page: Page) -> None:
    grey = np.asarray(cv2.GaussianBlur(np.asarray(RNG.integers(0, 256, (60, 50)), np.uint8), (0, 0), 1.5), np.uint8)
    for size in range(1, 9):
        element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        for name, operation in (("dilate", cv2.dilate), ("erode", cv2.erode)):
            found = computed(page, "morphology", f"return [...m.{name}(grey, m.ellipse({size})).data];", grey)
            np.testing.assert_array_equal(found.reshape(grey.shape), operation(grey, element), f"{name} {size}")
    top_hat = cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, np.ones((33, 33), np.uint8))
    found = computed(page, "morphology", "return [...m.topHat(grey, 33).data];", grey)
    np.testing.assert_array_equal(found.reshape(grey.shape), top_hat)
    level = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0]
    assert computed(page, "morphology", "return m.otsu(grey.data);", grey) == level
    mask = np.asarray(grey > level, np.uint8)
    areas = computed(page, "morphology", "return m.connectedComponents(grey).areas;", mask)
    stats = cv2.connectedComponentsWithStats(mask, connectivity=8)[2]
    assert sorted(areas[1:]) == sorted(stats[1:, cv2.CC_STAT_AREA])


def test_gaussian_blur(page: Page) -> None:
    grey = np.asarray(RNG.integers(0, 256, (40, 30)), np.uint8)
    found = computed(page, "filters", "return [...m.gaussianBlur(grey, 1).data];", grey).reshape(grey.shape)
    assert np.abs(found - cv2.GaussianBlur(grey, (0, 0), 1.0).astype(int)).max() <= 2


def test_pyramids_and_scales(page: Page) -> None:
    for shape in ((1200, 900), (44, 108), (39, 39), (159, 1001), (3000, 2000)):
        found = computed(
            page,
            "spotter",
            f"return m.searchScales({{ width: {shape[1]}, height: {shape[0]} }});",
            np.zeros((1, 1), np.uint8),
        )
        np.testing.assert_allclose(found, spotter.search_scales(shape))
    grey = np.asarray(RNG.integers(0, 256, (161, 203)), np.uint8)
    sizes = computed(page, "spotter", "return m.imagePyramid(grey).map(({ height, width }) => [height, width]);", grey)
    assert sizes.tolist() == [list(level.shape) for level in spotter.image_pyramid(grey)]


@pytest.mark.parametrize("size", [24, 60, 150])
def test_to_mnist_and_augmentations(page: Page, mnist: Dataset, size: int) -> None:
    for digit in mnist.test.images[:12, 0].numpy():
        ink = drawing.shape(digit, size)
        expected = preprocess.to_mnist(ink > 0)
        found = computed(
            page, "preprocess", "return [...m.toMnist(grey).data];", np.asarray(ink > 0, np.uint8)
        ).reshape(28, 28)
        assert np.abs(found - expected).max() <= 3
        augmented = computed(
            page, "candidates", "return m.testTimeAugmentations(grey).map(({ data }) => [...data]);", expected
        )
        turned = np.stack(candidates.test_time_augmentations(expected)).astype(int)
        assert np.abs(augmented.reshape(3, 28, 28) - turned).mean() < 1


def test_mnist_style(page: Page, mnist: Dataset) -> None:
    images = [*mnist.test.images[:20, 0].numpy(), *np.rot90(mnist.test.images[:5, 0].numpy(), axes=(1, 2))]
    images += [
        np.asarray(RNG.integers(0, 256, (28, 28)), np.uint8),
        np.zeros((28, 28), np.uint8),
        np.roll(images[3], 6, 0),
    ]
    found = [bool(computed(page, "preprocess", "return m.isMnistStyle(grey);", image)) for image in images]
    assert found == preprocess.is_mnist_style(np.stack(images)).tolist()
    assert 0 < sum(found) < len(found)


def test_combine(page: Page) -> None:
    scores, probabilities = RNG.random(10).astype(np.float32), RNG.dirichlet(np.ones(10))
    script = "async (given) => (await import('./web/local/fusion.js')).combine(...given)"
    found = page.evaluate(script, [scores.tolist(), probabilities.tolist(), 0.1])
    np.testing.assert_allclose(found, combine(scores, probabilities, 0.1)[0], atol=1e-6)


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1])


def row(mnist: Dataset, first: int, number: int, size: int = 60) -> Pixels:
    inks = [drawing.shape(digit, size) for digit in mnist.test.images[first : first + number, 0].numpy()]
    return drawing.on_page(
        [(ink, size // 2, size // 2 + k * 2 * size) for k, ink in enumerate(inks)], 2 * size, 2 * size * number
    )


def pictures(mnist: Dataset) -> dict[str, bytes]:
    """Draw rows, a page, one digit, blank paper, and pictures that are turned, transparent or coloured."""
    page = np.vstack([row(mnist, 5 * line, 5, 40) for line in range(4)])
    ink = 255 - row(mnist, 60, 4)
    yellow = np.stack([ink, np.full_like(ink, 250), np.full_like(ink, 250)], axis=2)  # blue, green, red
    transparent = np.dstack([np.zeros((*ink.shape, 3), np.uint8), 255 - ink])
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn it right by 90 degrees
    Image.fromarray(np.rot90(drawing.photo(row(mnist, 70, 5)))).save(turned, "jpeg", exif=exif, quality=95)
    return {
        "a row": png(drawing.photo(row(mnist, 0, 6))),
        "light on dark": png(row(mnist, 20, 5)),
        "a page": png(drawing.photo(page, seed=1)),
        "one digit": png(drawing.photo(row(mnist, 30, 1, 150), seed=2)),
        "blank": png(drawing.sheet("coarse grain", 3).astype(np.uint8)),
        "squared": png(
            np.minimum(
                drawing.sheet("squared", 4, 240, 600), 255.0 - drawing.on_page([(row(mnist, 40, 4), 50, 40)], 240, 600)
            ).astype(np.uint8)
        ),
        "yellow": png(yellow),
        "transparent": png(transparent),
        "turned": turned.getvalue(),
        "of MNIST": png(mnist.test.images[7, 0].numpy()),
        "a photo": (ROOT / "images" / "own_digit.jpg").read_bytes(),
        "photo of several": (ROOT / "images" / "own_digits.jpg").read_bytes(),
        "larger than 2600 pixels": png(cv2.resize(drawing.photo(row(mnist, 80, 5)), (3000, 600))),
    }


@pytest.mark.parametrize("several", [False, True])
def test_pictures_are_read_as_python_reads_them(
    page: Page, mnist: Dataset, classifier: Classifier, several: bool
) -> None:
    texts = []
    for name, content in pictures(mnist).items():
        if several:
            expected = classifier.read(content)
        else:
            digit = classifier.predict(content)
            expected = Reading((digit,) if digit.digit is not None else ())
        found = page.evaluate(READ, [base64.b64encode(content).decode(), several])
        assert found["text"] == expected.text, name
        for one, other in zip(found["digits"], expected.digits, strict=True):
            np.testing.assert_allclose(one["probabilities"], other.probabilities, atol=0.02, err_msg=name)
            assert one["confident"] == other.confident, name
            assert one["line"] == other.line, name
            assert one["box"] == pytest.approx(other.box, abs=6), name
        texts.append(expected.text)
    assert sum(map(bool, texts)) >= len(texts) - 2


@pytest.mark.parametrize("picture", ["strings/*", "cheques/*", "blank/*"])
def test_real_numbers_are_read_as_python_reads_them(
    page: Page, classifier: Classifier, real_numbers: Path, picture: str
) -> None:
    for path in sorted(real_numbers.glob(picture))[:3]:
        content = path.read_bytes()
        found = page.evaluate(READ, [base64.b64encode(content).decode(), True])
        assert found["text"] == classifier.read(content).text, path.name


def changed(route: Route, site: Path, model: dict[str, float] | None = None, **modules: dict[str, float]) -> None:
    """Answer with the page's model.json, in which some values of the model and of modules differ."""
    data = json.loads((site / "web" / "model.json").read_text("utf-8"))
    data["model"].update(model or {})
    for name, values in modules.items():
        data["constants"][name].update(values)
    route.fulfill(json=data)


def test_a_picture_that_is_too_large_is_refused_in_words(browser: Browser, static_site: Path) -> None:
    with hosting(static_site) as address, visiting(browser, address) as page:
        page.route("**/model.json", lambda route: changed(route, static_site, image_io={"MAX_PIXELS": 10_000}))
        page.reload()
        page.set_input_files("#file", ROOT / "images" / "own_digit.jpg")
        says(page, "No answer")
        expect(page.locator("#sure")).to_contain_text("pixels; the most is 10,000, scale it down first")


def test_doubt_about_a_probable_digit_says_that_it_is_unlike_others(browser: Browser, static_site: Path) -> None:
    with hosting(static_site) as address, visiting(browser, address) as page:
        page.route("**/model.json", lambda route: changed(route, static_site, {"ood_threshold": 0}))
        page.reload()
        draw(page, SEVEN)
        sentence = r"^Not sure: unlike the digits that the model knows; if it is one, 7 is \d+\.\d % likely$"
        expect(page.locator("#sure")).to_have_text(re.compile(sentence), timeout=SOON)


@pytest.mark.parametrize(
    ("sure", "sentence"),
    [
        (2.0, r"^Not sure: 1 is only \d+\.\d % likely; 2 is only \d+\.\d % likely$"),
        (0.0, "^Not sure: 1, 2 are unlike the digits that the model knows$"),
    ],
)
def test_doubt_about_several_digits_says_which_and_why(
    browser: Browser, static_site: Path, sure: float, sentence: str
) -> None:
    with hosting(static_site) as address, visiting(browser, address) as page:
        page.route(
            "**/model.json", lambda route: changed(route, static_site, {"ood_threshold": 0}, fusion={"SURE": sure})
        )
        page.reload()
        page.locator("#several").check()
        draw(page, [*half(ONE, 0.0), *half(TWO, 0.5)])
        expect(page.locator("#sure")).to_have_text(re.compile(sentence), timeout=SOON)


def test_a_page_of_digits_is_given_up_for_something_newer(
    browser: Browser, static_site: Path, mnist: Dataset, tmp_path: Path
) -> None:
    large = np.tile(np.vstack([row(mnist, 8 * line, 8, 40) for line in range(6)]), (5, 4))
    (tmp_path / "page.png").write_bytes(png(drawing.photo(large)))
    with hosting(static_site) as address, visiting(browser, address) as page:
        says(page, "No digit yet")
        page.locator("#several").check()
        page.set_input_files("#file", tmp_path / "page.png")
        expect(page.locator("#sure")).to_have_text(re.compile(r"^Looking for digits: \d+ %$"), timeout=SOON)
        page.keyboard.press("Escape")
        draw(page, SEVEN)
        says(page, "7")
