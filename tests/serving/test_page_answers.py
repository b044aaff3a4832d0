"""What the page says of other models, and where no answer comes, in a real browser and in both forms of the page."""

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from page_fixtures import hosting
from playwright.sync_api import Browser, Page, Route, expect
from test_page import SEVEN, SOON, TWO, draw, half, says, visiting

from mnist_cnn.data_loader import GARMENTS, load_dataset
from mnist_cnn.export import serialized
from mnist_cnn.models.checkpoint import load_checkpoint, save_checkpoint
from mnist_cnn.models.inference_graph import to_onnx
from mnist_cnn.models.torch_model import TorchModel
from mnist_cnn.serving.static_page import write_page
from mnist_cnn.splits import Dataset
from mnist_cnn.train import add_ood_detector, fit
from mnist_cnn.training.config import PRESETS
from server import serving

MARKUP = ("<b>bag</b>", "shoe & sock", "a name that is so long that it needs more than a line of the page")
FORMS = ["server", "static"]
AGAIN = 3000  # milliseconds until the page asks again
SHOWN = "['#digit', '#bars li.best span'].map((one) => document.querySelector(one).innerText)"


@pytest.fixture(scope="module")
def fashion(mnist_data: Path) -> Dataset:
    return load_dataset("fashion-mnist", mnist_data)


def train(dataset: Dataset, classes: tuple[str, ...], folder: Path) -> Path:
    """Train for a moment on a few hundred garments, of as many classes as there are names; return the checkpoint."""
    index = torch.nonzero(dataset.train.labels < len(classes)).flatten()[:600]
    few = Dataset("fashion-mnist", classes, dataset.train[index], dataset.test)
    config = dataclasses.replace(PRESETS["fast"].train, output_dir=folder, device="cpu", batch_size=64)
    path = folder / "garments.pth"
    save_checkpoint(add_ood_detector(fit(few, config), few), path)
    return path


@pytest.fixture(scope="module", params=[GARMENTS, MARKUP], ids=["garments", "markup"])
def model(request: pytest.FixtureRequest, fashion: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(fashion, request.param, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", params=FORMS)
def garments_url(
    request: pytest.FixtureRequest, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Show the page with a model whose accuracy is unknown: by the service, or as static files."""
    if request.param == "server":
        with serving("--checkpoint", str(model)) as (address, _):
            yield address
    else:
        runtime, site = request.getfixturevalue("web_runtime"), tmp_path_factory.mktemp("site")
        found = TorchModel(load_checkpoint(model), model)
        (site / "model.onnx").write_bytes(serialized(to_onnx(found), found.metadata))
        write_page(site / "model.onnx", site, runtime)
        with hosting(site) as address:
            yield address


def test_labels_are_the_models_classes_and_fit(browser: Browser, garments_url: str, model: Path) -> None:
    classes = load_checkpoint(model).classes
    with visiting(browser, garments_url) as page:
        expect(page.locator("#about")).to_have_text("garments, trained on fashion-mnist.", timeout=SOON)
        draw(page, TWO)
        expect(page.locator("#bars li.best")).to_have_count(1, timeout=SOON)
        assert page.locator("#bars li span").all_text_contents() == list(classes)
        labels = [bar.get_attribute("aria-label") for bar in page.locator("meter").all()]
        assert labels == [f"Probability of {name}" for name in classes]
        digit, best = page.evaluate(
            "['#digit', '#bars li.best span'].map((one) => document.querySelector(one).innerText)"
        )
        assert digit == best
        page.locator("#several").check()
        draw(page, half(TWO, 0.5))
        expect(page.locator("#digit")).to_have_text(re.compile(f"^({'|'.join(map(re.escape, classes))})"), timeout=SOON)
        words = page.title() + page.content()
        assert "digit" not in re.sub(r'(id|for)="\w+"', "", words.split("<body>")[1])
        for width in (360, 980):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert (
                page.evaluate("Math.min(...[...document.querySelectorAll('meter')].map((bar) => bar.offsetWidth))") > 60
            )


def fulfil(status: int, body: str, kind: str = "text/html") -> Callable[[Route], None]:
    return lambda route: route.fulfill(status=status, body=body, content_type=kind)


HTML = "<html><title>Bad Gateway</title></html>"
FAILURES: dict[str, tuple[Callable[[Route], None], str]] = {
    "unreachable": (lambda route: route.abort("connectionrefused"), "the server does not answer"),
    "502": (fulfil(502, HTML), "status 502"),
    "503": (fulfil(503, HTML), "status 503"),
    "504": (fulfil(504, ""), "status 504"),
    "captive portal": (fulfil(200, HTML), "status 200"),
    "cut off": (fulfil(200, '{"digit": 4, "prob', "application/json"), "status 200"),
    "foreign": (fulfil(502, '{"detail": "no upstream"}', "application/json"), "status 502"),
}
JARGON = re.compile("Failed to fetch|NetworkError|Unexpected|undefined|JSON|token|null|TypeError")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open a page, with a clock that can be put forward; fail where an exception is not caught."""
    with browser.new_context(viewport={"width": 980, "height": 820}) as context:
        opened = context.new_page()
        uncaught: list[str] = []
        opened.on("pageerror", lambda error: uncaught.append(str(error)))
        opened.clock.install()
        yield opened
        assert not uncaught


def fails(page: Page, *words: str) -> None:
    """Expect a problem told in plain words, and nothing left of the last answer."""
    says(page, "No answer")
    sentence = page.locator("#sure").text_content() or ""
    assert all(word in sentence for word in words), sentence
    assert not JARGON.search(sentence), sentence
    assert page.locator("#bars li.best").count() == 0


@pytest.mark.parametrize("name", FAILURES)
def test_failures_are_told_in_words_and_overcome(page: Page, url: str, name: str) -> None:
    answer, words = FAILURES[name]
    page.route("**/api/**", answer)
    page.goto(url)
    fails(page, words, "mnist-cnn serve", "again by itself")
    page.unroute("**/api/**")
    page.clock.fast_forward(AGAIN)
    says(page, "No digit yet")
    expect(page.locator("#bars li")).to_have_count(10)
    draw(page, TWO)
    says(page, "2")
    page.keyboard.press("Escape")
    page.route("**/api/**", answer)
    draw(page, SEVEN)
    fails(page, words, "mnist-cnn serve", "again by itself")
    page.unroute("**/api/**")
    page.clock.fast_forward(AGAIN)
    says(page, "7")


def test_a_server_that_never_answers_is_given_up(page: Page, url: str) -> None:
    page.add_init_script("{ const real = AbortSignal.timeout; AbortSignal.timeout = (time) => real(time / 100); }")
    page.route("**/api/**", lambda _: None)
    page.goto(url)
    fails(page, "the server does not answer")


def test_a_picture_that_a_proxy_refuses_is_not_sent_again(page: Page, url: str) -> None:
    page.goto(url)
    says(page, "No digit yet")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.route("**/api/v1/predict**", fulfil(413, HTML))
    draw(page, SEVEN)
    fails(page, "too large", "scale it down")
    before = len(sent)
    page.clock.fast_forward(10 * AGAIN)
    page.wait_for_timeout(300)
    assert len(sent) == before


BUSY = "from mnist_cnn.serving import app, batching; batching.QUEUE_SIZE = 0; app.main()"


def test_a_busy_server_says_so(page: Page) -> None:
    with serving(program=(sys.executable, "-c", BUSY)) as (address, _):
        page.goto(address)
        draw(page, SEVEN)
        fails(page, "too many pictures are waiting", "again by itself")


@pytest.mark.parametrize("model", [GARMENTS], ids=["garments"], indirect=True)
def test_a_dead_server_is_told_and_one_with_another_model_is_met(page: Page, model: Path) -> None:
    with serving() as (address, process):
        page.goto(address)
        draw(page, SEVEN)
        says(page, "7")
        process.kill()
        process.wait()
        draw(page, TWO)
        fails(page, "the server does not answer", "mnist-cnn serve")
    with serving("--checkpoint", str(model), "--port", address.rsplit(":")[-1]):
        page.clock.fast_forward(AGAIN)
        expect(page.locator("#digit")).to_have_text(re.compile(f"^({'|'.join(GARMENTS)})$"), timeout=SOON)
        assert page.locator("#bars li span").all_text_contents() == list(GARMENTS)


@pytest.mark.parametrize(
    "file", ["model.json", "mnist_cnn.onnx", "spotter.onnx", "local/worker.js", "local/lines.js", "*.wasm.xz"]
)
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda route: route.abort(), id="unreachable", marks=pytest.mark.long),
        pytest.param(fulfil(404, HTML), id="missing"),
    ],
)
def test_a_page_without_its_model_says_so_and_gets_it(
    page: Page, static_site: Path, file: str, answer: Callable[[Route], None]
) -> None:
    with hosting(static_site) as address:
        page.route(f"**/{file}", answer)
        page.goto(address)
        fails(page, "cannot be loaded", "reload the page", "again by itself")
        page.unroute(f"**/{file}")
        page.clock.fast_forward(AGAIN)
        says(page, "No digit yet")
        draw(page, SEVEN)
        says(page, "7")
