"""What is known of a number decides where the picture leaves doubt, and is doubted where the picture does not."""

from pathlib import Path

import numpy as np
import pytest

from mnist_cnn import Classifier, Reading
from mnist_cnn.common.errors import InputError
from mnist_cnn.constraints import Constraint, constrain, evidence, parse_grid, read_list
from mnist_cnn.fusion import combine
from mnist_cnn.pictures.detections import MIN_PROBABILITY
from mnist_cnn.pictures.preprocess import SIDE
from mnist_cnn.reading import Prediction

IMAGE = np.zeros((SIDE, SIDE), np.uint8)


def detection(score: float, line: int = 0, **classes: float) -> Prediction:
    """Make a detection of a score; `classes` are shares of it, such as d7=0.6."""
    scores = np.full(10, 0.01, np.float32)
    for name, share in classes.items():
        scores[int(name[1])] = score * share
    probabilities, presence = combine(scores, np.full(10, 0.1), 0)
    label = int(probabilities.argmax())
    return Prediction(label, str(label), probabilities, None, (0, 0, 9, 9), line, IMAGE, presence)


ROW = (detection(0.9, d4=1), detection(0.8, d1=1, d7=0.8), detection(0.3, d5=1), detection(0.9, d2=1))
"""A 4, a 1 that may be a 7, something faint, and a 2."""


def read(row: tuple[Prediction, ...] = ROW, **known: object) -> Reading:
    plain = Reading(tuple(one for one in row if one.presence > 0.4))
    return constrain(Reading(row), plain, Constraint(**known), 0.667)  # type: ignore[arg-type]


def test_evidence_is_what_was_combined() -> None:
    joint, absent = evidence(ROW)
    assert (joint.sum(axis=1) + absent).tolist() == pytest.approx([1] * 4)
    assert absent.tolist() == pytest.approx([1 - one.presence for one in ROW])
    scores = np.array([0.01, 0.8, 0.01, 0.01, 0.01, 0.01, 0.01, 0.64, 0.01, 0.01])
    np.testing.assert_allclose(joint[1] / joint[1].sum(), scores / scores.sum(), atol=0.04)
    joint, absent = evidence([detection(MIN_PROBABILITY, d3=1), detection(MIN_PROBABILITY, d3=1, d8=1)])
    assert (joint.max(axis=1) / absent).tolist() == pytest.approx([1, 1], rel=0.3)


def test_what_is_known_decides() -> None:
    assert read(length=3).text == "412"
    assert read(length=4).text == "4152"
    assert [digit.label for digit in read(length=4).digits] == list("4152")
    assert read(at_least=450).text == "472"
    assert read(length=4, at_least=4153).text == "4752"
    assert read(among=["472", "999"]).text == "472"
    assert read(among=["0412", "412"]).text == "412"
    assert [one.text for one in read(length=3, alternatives=2).alternatives] == ["412", "472"]
    assert [one.text for one in read(among=["472", "412", "999"]).alternatives] == ["412", "472"]


def test_a_number_is_confident_by_its_own_probability() -> None:
    doubtful, decided = read(length=3), read(among=["472", "999"])
    assert doubtful.probability == doubtful.alternatives[0].probability < 0.667
    assert not doubtful.confident
    assert decided.probability > 0.667
    assert decided.confident
    assert all(digit.confident for digit in decided.digits)


def test_what_cannot_be_met_is_read_without_and_not_sure() -> None:
    for known in ({"length": 5}, {"among": ["88888888", "7777"]}, {"at_least": 10**6}):
        reading = read(**known)
        assert (reading.text, reading.unmet, reading.confident, reading.alternatives) == ("412", True, False, ())
    assert read((), length=3) == Reading((), ())


def test_each_line_is_a_number() -> None:
    second = (detection(0.9, 1, d3=1), detection(0.9, 1, d3=1))
    reading = read((*ROW, *second), length=3)
    assert (reading.lines, reading.unmet, reading.confident) == (("412", "33"), True, False)
    assert {one.line for one in reading.alternatives} == {0}
    assert read((*ROW, *second), among=["33", "412"]).lines == ("412", "33")


def test_a_listed_digit_may_have_been_missed() -> None:
    reading = read(among=["4182", "999"])
    assert reading.text == "4182"
    assert [digit.label for digit in reading.digits] in ([*"412"], [*"4182"])


WRONG: list[tuple[dict[str, object], str]] = [
    ({"length": 0}, "length is 0; it must be 1 to 20"),
    ({"length": 21}, "length is 21"),
    ({"at_least": -1}, "at-least is -1"),
    ({"at_least": 10**20}, "at-least is 1000"),
    ({"alternatives": 0}, "alternatives is 0"),
    ({"alternatives": 21}, "alternatives is 21"),
    ({"grid": (0, 9)}, "grid is 0"),
    ({"grid": (9, 101)}, "grid is 101"),
    ({"grid": (9, 9), "length": 3}, "grid excludes length"),
    ({"grid": (9, 9), "at_least": 3}, "grid excludes at-least"),
    ({"among": ["1"], "length": 1}, "among excludes length and at-least"),
    ({"length": 2, "at_least": 100}, "no number of length 2 is at least 100"),
    ({"among": []}, "the list of numbers has 0"),
    ({"among": ["1", "a"]}, "number 2 of the list is 'a'"),
    ({"among": ["1" * 21]}, "number 1 of the list"),
    ({"among": ["\u0661"]}, "number 1 of the list"),
    ({"among": [12]}, "as text"),
]


@pytest.mark.parametrize(("known", "words"), WRONG, ids=str)
def test_wrong_values_are_one_line(known: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        Constraint(**known)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has 0; give 1 to 100,000"),
        (b"\n \n", "has 0"),
        (b"12\n1.5\n", "number 2 of the list is '1.5'"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "is no text"),
        (b"1\x1b[31m\n", r"is '1\x1b"),
        (b"1\n" * 100_001, "has 100,001"),
        (b"1" * 3_000_000, "is too large"),
    ],
    ids=range(7),
)
def test_a_file_that_is_no_list_is_one_line(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_list(path)
    assert str(error.value).startswith(str(path))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_list_keeps_leading_zeros_and_skips_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    path.write_bytes(b"\xef\xbb\xbf007\r\n\r\n 12 \r\n7")
    assert read_list(path) == ("007", "12", "7")
    for missing, words in ((tmp_path / "none", "not there"), (tmp_path, "is no file")):
        with pytest.raises(InputError, match=words):
            read_list(missing)


def test_a_grid_is_rows_and_columns() -> None:
    assert parse_grid("9x9") == (9, 9)
    assert parse_grid("46X25") == (46, 25)
    for wrong in ("", "9", "9x", "9*9", "-1x3", "9x9x9", "\u0669x9", "99999x1"):
        with pytest.raises(InputError, match="give ROWSxCOLUMNS"):
            parse_grid(wrong)


def test_only_a_model_of_the_ten_digits_can_be_told_of_numbers() -> None:
    classifier = Classifier.load()
    classifier.reads_digits = False
    with pytest.raises(InputError, match="only a model of the ten digits"):
        classifier.read(np.zeros((90, 90), np.uint8), length=3)
    assert classifier.read(np.zeros((90, 90), np.uint8)) == Reading(())
