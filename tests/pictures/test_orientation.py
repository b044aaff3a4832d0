"""Pages on their side and upside down are turned; what stands upright, is ambiguous or a lone digit is not."""

import numpy as np
import pytest

from drawing import on_page, photo, shape
from mnist_cnn.classifier import Classifier
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.pictures.orientation import find_upright, turn, turn_back
from mnist_cnn.splits import Dataset
from mnist_cnn.synthetic.glyphs import Glyphs
from mnist_cnn.synthetic.pages import draw_page


def row(mnist: Dataset, digits: str, first: int) -> Pixels:
    """Photograph a row of digits of MNIST's training images: uint8 [H, W]."""
    labels = mnist.train.labels
    images = [mnist.train.images[(labels == int(digit)).nonzero()[first + n, 0], 0] for n, digit in enumerate(digits)]
    inks = [(shape(image.numpy(), 48), 30, 30 + 60 * n) for n, image in enumerate(images)]
    return photo(on_page(inks, 110, 80 + 60 * len(digits)), seed=first)[:, :, 0]


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_rows_are_turned_upright_and_read(mnist: Dataset, quarters: int) -> None:
    classifier, right = Classifier.load(), 0
    texts = ["2745", "734", "5274", "3475", "45237", "7243"]
    for number, text in enumerate(texts):
        given = turn(row(mnist, text, 50 * number), quarters)
        reading = classifier.read(given)
        assert reading.turned in (0, -90 * quarters % 360), "in doubt a picture stays as it is"
        right += reading.turned == -90 * quarters % 360
        for digit in reading.digits if reading.turned == -90 * quarters % 360 else ():
            assert digit.box
            left, top, width, height = digit.box
            assert 0 <= left < left + width <= given.shape[1]
            assert 0 <= top < top + height <= given.shape[0]
            inside = given[top : top + height, left : left + width]
            assert inside.min() < 80 < np.median(given), "the box holds ink of the picture as given"
    assert right >= len(texts) - {0: 0, 2: 2}.get(quarters, 1), "as rarely in doubt as docs/numbers.md says"


def test_boxes_are_those_of_the_upright_picture_turned_with_it(mnist: Dataset) -> None:
    picture, classifier = row(mnist, "27453", 7), Classifier.load()
    upright = classifier.read(picture)
    height, width = picture.shape
    sideways = classifier.read(turn(picture, 3))  # to be turned by 90 degrees clockwise
    assert (sideways.text, sideways.turned, upright.turned) == (upright.text, 90, 0)
    for one, other in zip(upright.digits, sideways.digits, strict=True):
        assert one.box
        left, top, across, down = one.box
        assert other.box == pytest.approx((top, width - left - across, down, across), abs=1)
    assert height < width


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_box_is_turned_back(quarters: int) -> None:
    picture = np.zeros((30, 50), np.uint8)
    picture[4:9, 20:33] = 255
    turned = turn(picture, quarters)
    rows, columns = np.nonzero(turned)
    box = float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)
    assert turn_back(box, quarters, turned.shape) == (20, 4, 33, 9)


def test_a_lone_digit_and_a_number_that_is_one_either_way_up_are_not_turned(mnist: Dataset) -> None:
    for digits in ("7", "4", "1961", "808", "69"):
        for quarters in (0, 2):
            assert find_upright(turn(row(mnist, digits, 3), quarters))[0] == 0, digits
    assert find_upright(turn(row(mnist, "5", 3), 1))[0] == 0


def test_drawn_pages_that_stand_upright_are_not_turned(glyphs: Glyphs) -> None:
    pages = [draw_page(glyphs, 11, number, ((64, 208), (112, 120), (160, 88))[number % 3]) for number in range(60)]
    assert sum(find_upright(page.grey)[0] != 0 for page in pages) == 0
