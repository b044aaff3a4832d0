"""The public face: what `import mnist_cnn` offers, what it costs, and what its types allow."""

import io
import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mnist_cnn
from conftest import ROOT, environment
from mnist_cnn import Classifier, Prediction, Reading
from mnist_cnn.cli import COMMANDS
from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures.image_io import PictureSource
from mnist_cnn.splits import Dataset

PHOTO, DIGITS = ROOT / "images" / "own_digit.jpg", ROOT / "images" / "own_digits.jpg"


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment()
    ).stdout


def test_the_names_are_those_of_the_design() -> None:
    assert set(mnist_cnn.__all__) == {
        *("Classifier", "Prediction", "Reading", "CNN", "ModelConfig", "PdfPage", "load_dataset", "__version__"),
    }
    assert set(mnist_cnn.__all__) <= set(dir(mnist_cnn))
    assert run("from mnist_cnn import *; print(CNN(ModelConfig()).parameter_count())").strip() == "67514"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mnist_cnn.nothing  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "('numpy', 'torch', 'onnxruntime', 'cv2', 'PIL', 'tyro')"
    assert run(f"import sys, mnist_cnn; print([name for name in {heavy} if name in sys.modules])") == "[]\n"
    code = "import sys; from mnist_cnn import Classifier, __version__; print('torch' in sys.modules)"
    assert run(code) == "False\n"


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "mnist_cnn", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment()).stdout
    assert all(command in shown for command in COMMANDS)


OPENED: list[io.BufferedReader] = []


def opened(path: Path) -> io.BufferedReader:
    """Open a file; `predict` and `read` leave it open, and it is closed after the test."""
    OPENED.append(path.open("rb"))
    return OPENED[-1]


@pytest.fixture(autouse=True)
def _close_files() -> Iterator[None]:
    yield
    while OPENED:
        file = OPENED.pop()
        assert not file.closed
        file.close()


SOURCES: dict[str, Callable[[Path], PictureSource]] = {
    "str": str,
    "Path": Path,
    "bytes": Path.read_bytes,
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "open file": opened,
    "file in memory": lambda path: io.BytesIO(path.read_bytes()),
    "PIL image": Image.open,
    "uint8": lambda path: np.asarray(Image.open(path)),
    "uint16": lambda path: np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 257,
    "bool": lambda path: np.asarray(Image.open(path).convert("L")) > 127,
    "float 0..1": lambda path: np.asarray(Image.open(path).convert("L")) / 255,
    "float 0..255": lambda path: np.asarray(Image.open(path).convert("L")).astype(np.float32),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_one_picture_of_any_kind_is_a_prediction_and_a_list_a_list(kind: str) -> None:
    classifier = Classifier.load()
    one = classifier.predict(SOURCES[kind](PHOTO))
    assert isinstance(one, Prediction)
    assert (one.digit, one.label) == (4, "4")
    several = classifier.predict([SOURCES[kind](PHOTO), SOURCES[kind](PHOTO)])
    assert [prediction.digit for prediction in several] == [4, 4]
    assert [prediction.digit for prediction in classifier.predict((SOURCES[kind](PHOTO),))] == [4]
    if kind != "bool":  # a threshold of 127 leaves the lamp's shadow
        assert classifier.read(SOURCES[kind](DIGITS)).text == "17324"


def test_a_reading_has_text_lines_and_digits() -> None:
    reading = Classifier.load().read(DIGITS)
    assert isinstance(reading, Reading)
    assert (reading.text, reading.lines) == ("17324", ("17324",))
    assert [digit.label for digit in reading.digits] == list("17324")
    assert reading.confident == all(digit.confident for digit in reading.digits)
    lefts = [digit.box[0] for digit in reading.digits if digit.box]
    assert lefts == sorted(lefts)
    assert reading.probability == min(digit.probability for digit in reading.digits)


def test_lines_and_long_labels_are_separated() -> None:
    def digit(label: str, line: int) -> Prediction:
        return Prediction(0, label, np.ones(1), None, (0, 0, 1, 1), line, np.zeros((28, 28), np.uint8))

    reading = Reading((digit("Bag", 0), digit("Coat", 0), digit("4", 1), digit("2", 1)))
    assert reading.lines == ("Bag Coat", "42")
    assert reading.text == "Bag Coat\n42"
    assert (Reading(()).text, Reading(()).lines, Reading(()).confident) == ("", (), False)


def test_what_is_no_picture_is_said_in_one_line() -> None:
    classifier = Classifier.load()
    for source, words in (
        (np.zeros((3, 28, 28), np.uint8), "an array of 3 x 28 x 28 is not one picture; .* a batch as a list"),
        (None, "NoneType is not a picture"),
        ({1, 2}, "set is not a picture"),
        ("nowhere.png", "nowhere.png: no such file"),
    ):
        with pytest.raises(InputError, match=words) as error:
            classifier.predict(source)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)


def test_a_classifier_can_be_sent_to_a_worker_process() -> None:
    classifier = Classifier.load()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        sent = pool.submit(classifier.predict, PHOTO).result()
    expected = classifier.predict(PHOTO)
    assert sent.digit == expected.digit
    np.testing.assert_array_equal(sent.probabilities, expected.probabilities)


def test_paths_may_be_text(shipped: Path, mnist: Dataset, mnist_data: Path) -> None:
    assert Classifier.load(str(shipped)).classes == Classifier.load(shipped).classes
    assert mnist_cnn.load_dataset("mnist", str(mnist_data)).name == mnist.name


TYPED = """
from pathlib import Path
import numpy as np
from mnist_cnn import Classifier, Prediction
classifier = Classifier.load("a.onnx")
one: Prediction = classifier.predict("a.png")
two: list[Prediction] = classifier.predict(["a.png", Path("b.png"), b"", np.zeros((9, 9))])
paths: list[Path] = []
three: list[Prediction] = classifier.predict(paths)
text: str = classifier.read(open("a.png", "rb")).text
"""


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        (TYPED, ""),
        (TYPED + "classifier.predict(5)\n", "call-overload"),
        (TYPED + "classifier.predict(open('a.txt'))\n", "call-overload"),
        (TYPED + "four: Prediction = classifier.predict(['a.png'])\n", "assignment"),
        (TYPED + "classifier.read(['a.png'])\n", "arg-type"),
    ],
)
def test_mypy_accepts_only_what_works(code: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "used.py").write_text(code)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(tmp_path / "used.py")]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (found.returncode == 0) == (not wrong), found.stdout
    assert wrong in found.stdout
