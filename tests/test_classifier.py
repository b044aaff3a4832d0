"""The shipped classifier reads pictures of every kind."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from test_checkpoint import make_checkpoint

from drawing import SHEETS, grain, on_page, photo, shape, sheet
from mnist_cnn.classifier import Classifier
from mnist_cnn.common.errors import InputError
from mnist_cnn.evaluate import evaluate
from mnist_cnn.models.checkpoint import load_checkpoint
from mnist_cnn.models.torch_model import TorchModel
from mnist_cnn.pictures.preprocess import SIDE
from mnist_cnn.reading import Reading
from mnist_cnn.splits import Dataset


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load()


def as_png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def as_jpeg(image: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def test_probabilities_are_those_of_evaluate(mnist: Dataset, shipped: Path) -> None:
    checkpoint, classifier = load_checkpoint(shipped), Classifier.load(shipped)
    _, expected = evaluate(checkpoint.build_model(), mnist.test, mnist.classes, checkpoint.temperature)
    np.testing.assert_allclose(classifier.probabilities(mnist.test.images[:, 0].numpy()), expected, atol=1e-5)
    assert classifier.probabilities(np.zeros((0, 28, 28), np.uint8)).shape == (0, 10)


def test_the_test_split_as_png_files_is_read_as_well_as_by_evaluate(classifier: Classifier, mnist: Dataset) -> None:
    pictures = [as_png(image) for image in mnist.test.images[:, 0].numpy()]
    answers = [answer.digit for answer in classifier.predict(pictures)]
    as_they_are = classifier.probabilities(mnist.test.images[:, 0].numpy()).argmax(axis=1)
    labels = mnist.test.labels.numpy()
    assert abs(np.mean(np.array(answers) == labels) - np.mean(as_they_are == labels)) <= 0.0005


def test_a_crossed_digit_is_sure_though_its_foreground_is_not_clear(classifier: Classifier, mnist: Dataset) -> None:
    images = mnist.test.images[:200, 0].numpy().copy()
    for image, height in zip(images, np.random.default_rng(0).integers(6, 22, len(images)), strict=True):
        cv2.line(image, (0, int(height)), (27, 27 - int(height)), 255, 1, cv2.LINE_AA)
    answers = classifier.predict(list(images))
    right = np.array([one.digit == label for one, label in zip(answers, mnist.test.labels[:200].tolist(), strict=True)])
    sure = np.array([one.confident for one in answers])
    assert right.mean() >= 0.97
    assert sure.mean() >= 0.8
    assert right[sure].mean() >= 0.99


@pytest.mark.parametrize("share", [0, 0.025])
def test_a_digit_of_few_black_or_white_pixels_that_fills_its_image_is_read(
    classifier: Classifier, mnist: Dataset, share: float
) -> None:
    digits, labels = mnist.test.images[:200, 0, 4:24, 4:24].numpy(), mnist.test.labels[:200].numpy()
    rng = np.random.default_rng(0)
    small = [cv2.resize(digit, (16, 16), interpolation=cv2.INTER_AREA) > 110 for digit in digits]
    large = [cv2.resize(255 * one.astype(np.uint8), (28, 28), interpolation=cv2.INTER_NEAREST) for one in small]
    answers = classifier.predict([np.where(rng.random((28, 28)) < share, 255 - one, one) for one in large])
    right = np.array([answer.digit for answer in answers]) == labels
    sure = np.array([answer.confident for answer in answers])
    assert right.mean() >= 0.97
    assert sure.mean() >= 0.8
    assert right[sure].mean() >= 0.99


def test_every_real_picture_is_read(classifier: Classifier, real_digits: Path) -> None:
    files = sorted(file for file in real_digits.rglob("*") if file.parent.name.isdigit())
    assert len(files) == 50
    answers = classifier.predict(files)
    wrong = {
        file.name: answer.digit
        for file, answer in zip(files, answers, strict=True)
        if str(answer.digit) != file.parent.name
    }
    assert not wrong
    assert np.mean([answer.confident for answer in answers]) > 0.9


@pytest.mark.parametrize("inverted", [False, True])
def test_photos_of_digits_by_every_hand_are_read(classifier: Classifier, mnist: Dataset, inverted: bool) -> None:
    digits = mnist.train.images[-200:, 0].numpy()
    photos = [photo(on_page([(shape(digit, 150), 60, 90)], 300, 350), seed=i) for i, digit in enumerate(digits)]
    answers = classifier.predict([255 - picture if inverted else picture for picture in photos])
    right = [a.digit == label for a, label in zip(answers, mnist.train.labels[-200:].tolist(), strict=True)]
    assert np.mean(right) >= 0.97


RANGES = {
    255: "uint8 uint16 int16 uint32 int32 uint64 int64 >u2 >i4 float16 float32 float64 >f4 >f8",
    65535: "uint16 uint32 int32 uint64 int64 >u2 >i8 float32 float64 >f4",
    1: "float16 float32 float64 >f2 >f4 >f8",
    0: "bool uint8 int8 uint16 int16 int32 int64 >u2 float32",  # a mask: 0 and 1 alone
}


def layouts(array: np.ndarray) -> list[np.ndarray]:
    """Lay the same pixels [H, W] or [H, W, C] out in memory in every way that NumPy knows."""
    fixed = array.copy()
    fixed.setflags(write=False)
    sparse = np.repeat(np.repeat(array, 2, axis=0), 3, axis=1)[::2, ::3]
    return [array, np.asfortranarray(array), sparse, array[::-1, ::-1].copy()[::-1, ::-1], fixed]


@pytest.mark.parametrize(("most", "dtype"), [(most, dtype) for most, all_ in RANGES.items() for dtype in all_.split()])
def test_arrays_of_every_dtype_range_and_layout_are_the_same_digit(
    classifier: Classifier, mnist: Dataset, most: int, dtype: str
) -> None:
    image = mnist.train.images[0, 0].numpy()
    for grey in (image, photo(on_page([(shape(image, 90), 40, 60)], 170, 200))[:, :, 0]):
        values = (grey > 127) if most == 0 else grey.astype(np.float64) * (most / 255)
        flat = values.astype(dtype)[:, :, None]
        opaque = np.full_like(flat, most or 1)
        kinds = [flat[:, :, 0], flat, np.repeat(flat, 3, axis=2), np.concatenate([flat] * 3 + [opaque], axis=2)]
        pictures = [layout for kind in kinds for layout in layouts(kind)]
        pictures.append(np.broadcast_to(flat, (*grey.shape, 3)))
        before = [picture.copy() for picture in pictures]
        assert [answer.digit for answer in classifier.predict(pictures)] == [5] * len(pictures)
        for picture, copy in zip(pictures, before, strict=True):
            np.testing.assert_array_equal(picture, copy)


def test_boxes_are_in_the_pictures_own_pixels(classifier: Classifier, mnist: Dataset) -> None:
    ink = shape(mnist.train.images[0, 0].numpy(), 900)
    answer = classifier.predict(photo(on_page([(ink, 500, 700)], 2000, 2600)))
    assert answer.digit == 5
    assert answer.box == pytest.approx((700, 500, ink.shape[1], ink.shape[0]), abs=15)
    small = classifier.predict(mnist.train.images[0, 0].numpy())
    assert small.box == (0, 0, SIDE, SIDE)


def test_a_blank_page_has_no_digit(classifier: Classifier) -> None:
    for blank in (
        np.zeros((SIDE, SIDE), np.uint8),
        np.full((300, 200, 3), 240, np.uint8),
        np.full((5, 5), 9, np.uint8),
    ):
        answer = classifier.predict(blank)
        assert (answer.digit, answer.probability, answer.confident, answer.box) == (None, 0, False, None)
        assert classifier.read(blank) == Reading(())


@pytest.mark.parametrize("kind", SHEETS)
def test_a_photo_of_a_blank_sheet_has_no_digit(classifier: Classifier, kind: str) -> None:
    photos = [
        as_jpeg(sheet(kind, seed, *size, paper=paper), quality)
        for size in ((180, 240), (480, 640), (1200, 900))
        for seed, (paper, quality) in enumerate([(245, 40), (215, 90), (150, 40), (70, 90)])
    ]
    answers = classifier.predict(photos)
    found = [answer.digit is not None for answer in answers]
    assert np.mean(found) <= (0.2 if kind in ("lamp", "shadow") else 0)
    assert not any(
        classifier.read(photo).digits for photo, predicted in zip(photos, found, strict=True) if not predicted
    )
    assert not any(answer.confident for answer in answers)


@pytest.mark.parametrize("kind", ["plain", "fine grain", "coarse grain", "fibres", "lamp"])
def test_faint_pencil_on_any_paper_is_read(classifier: Classifier, mnist: Dataset, kind: str) -> None:
    photos = []
    for seed, digit in enumerate(mnist.train.images[-40:, 0].numpy()):
        page = on_page([(shape(digit, 150), 130 + seed, 150 + 5 * seed)], 480, 640) / 255
        pencil = page * (1 + grain(np.random.default_rng(seed), page.shape, 1, 0.2))
        photos.append(as_jpeg((sheet(kind, seed) - 32 * pencil).clip(0, 255), 75))
    right = [a.digit == label for a, label in zip(classifier.predict(photos), mnist.train.labels[-40:], strict=True)]
    assert np.mean(right) >= 0.9


@pytest.mark.parametrize(("side", "slope"), [(32, 0), (64, 0), (200, 0), (200, 0.5)])
def test_soft_edges_and_falling_light_hide_no_digit(
    classifier: Classifier, mnist: Dataset, side: int, slope: float
) -> None:
    light = slope * np.linspace(0, 1, 28)
    digits = mnist.train.images[-40:, 0].numpy() / 255
    soft = [cv2.GaussianBlur(light + digit * (1 - light), (0, 0), 1) for digit in digits]
    pictures = [cv2.resize(one, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1) for one in soft]
    answers = [answer.digit for answer in classifier.predict(pictures)]
    assert np.mean(np.array(answers) == mnist.train.labels[-40:].numpy()) >= 0.95


def test_several_digits_in_reading_order(classifier: Classifier, mnist: Dataset) -> None:
    indices = [int((mnist.train.labels == digit).nonzero()[3]) for digit in range(10)]
    inks = [shape(mnist.train.images[index, 0].numpy(), 90) for index in indices]
    places = [(30 + 150 * (i // 5), 40 + 140 * (i % 5)) for i in range(10)]
    page = on_page([(ink, *place) for ink, place in zip(inks, places, strict=True)], 340, 760)
    reading = classifier.read(photo(page))
    answers = reading.digits
    assert reading.lines == ("01234", "56789")
    assert reading.text == "01234\n56789"
    assert [answer.digit for answer in answers] == list(range(10))
    assert [answer.line for answer in answers] == [0] * 5 + [1] * 5
    for answer, (top, left) in zip(answers, places, strict=True):
        assert answer.box
        assert answer.box[:2] == pytest.approx((left, top), abs=4)


def test_touching_digits_are_parted(classifier: Classifier, mnist: Dataset) -> None:
    digits = [int((mnist.train.labels == digit).nonzero()[3]) for digit in (3, 0, 2)]
    inks = [shape(mnist.train.images[index, 0].numpy(), 90) for index in digits]
    left, parts = 40, []
    for ink in inks:
        parts.append((ink, 40, left))
        left += ink.shape[1] - 4
    assert classifier.read(photo(on_page(parts, 180, 400))).text == "302"


def test_answers_do_not_depend_on_company(classifier: Classifier, mnist: Dataset) -> None:
    pictures = [mnist.test.images[i, 0].numpy() for i in range(30)]
    together = classifier.predict(pictures)
    for alone, answer in zip((classifier.predict(p) for p in pictures), together, strict=True):
        assert alone.digit == answer.digit
        np.testing.assert_allclose(alone.probabilities, answer.probabilities, atol=1e-5)
    assert classifier.classify([]) == []
    assert classifier.predict([]) == []


@pytest.mark.parametrize(
    "images",
    [np.zeros((1, 28, 28)), np.zeros((28, 28), np.uint8), np.zeros((1, 28, 29), np.uint8), torch.zeros(1, 28, 28), [1]],
)
def test_images_of_another_shape_or_type_are_refused(classifier: Classifier, images: np.ndarray) -> None:
    with pytest.raises(InputError, match="uint8 array"):
        classifier.probabilities(images)


def test_a_bad_picture_is_named_by_its_place(classifier: Classifier) -> None:
    with pytest.raises(InputError, match="picture 1: damaged"):
        classifier.predict([np.zeros((9, 9), np.uint8), b"no picture"])


def test_a_half_trained_model_is_refused() -> None:
    with pytest.raises(InputError, match="its training has not ended"):
        TorchModel(make_checkpoint(), Path("half.pth"))
