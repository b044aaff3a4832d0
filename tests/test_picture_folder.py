"""A person's own pictures are a dataset: to evaluate on, and to fine-tune with."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import Program, assert_one_line_error
from drawing import on_page, photo, shape
from mnist_cnn.checkpoint import SHIPPED, load_checkpoint
from mnist_cnn.data_loader import Dataset, all_as_test, load, rehearse
from mnist_cnn.errors import InputError
from mnist_cnn.evaluate import evaluate
from mnist_cnn.preprocess import SIDE


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    """Fifty photos of the bundled digits, five of each class."""
    folder = tmp_path_factory.mktemp("own") / "mine"
    for digit in range(10):
        (folder / str(digit)).mkdir(parents=True)
        for number, index in enumerate((digits.train.labels == digit).nonzero()[:5, 0]):
            page = on_page([(shape(digits.train.images[index, 0].numpy(), 100), 40, 50)], 190, 200)
            Image.fromarray(photo(page, seed=number)).save(folder / str(digit) / f"{number}.jpg")
    (folder / "notes").mkdir()
    (folder / "notes" / "readme.txt").write_text("not a class")
    return folder


def test_pictures_become_a_dataset(own: Path) -> None:
    dataset = load(str(own))
    assert (dataset.name, dataset.classes) == ("mine", tuple("0123456789"))
    assert torch.bincount(dataset.train.labels).tolist() == [4] * 10
    assert torch.bincount(dataset.test.labels).tolist() == [1] * 10
    assert dataset.train.images.shape == (40, 1, SIDE, SIDE)
    assert len(all_as_test(dataset).test) == 50
    assert dataset.train.images.amax(dim=(1, 2, 3)).eq(255).all()


def test_other_names_are_classes_of_their_own(own: Path, tmp_path: Path) -> None:
    for name, source in (("cross", "4"), ("ring", "0")):
        (tmp_path / "shapes").mkdir(exist_ok=True)
        (tmp_path / "shapes" / name).symlink_to(own / source, target_is_directory=True)
    assert load(str(tmp_path / "shapes")).classes == ("cross", "ring")


def test_a_few_digits_keep_their_labels(own: Path, tmp_path: Path) -> None:
    for name in "37":
        (tmp_path / name).symlink_to(own / name, target_is_directory=True)
    dataset = load(str(tmp_path))
    assert len(dataset.classes) == 10
    assert sorted(set(dataset.train.labels.tolist())) == [3, 7]


def test_a_blank_or_broken_picture_is_named(own: Path, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    Image.fromarray(np.full((50, 50), 220, np.uint8)).save(tmp_path / "1" / "blank.png")
    with pytest.raises(InputError, match=r"blank.png: nothing is drawn on it"):
        load(str(tmp_path))
    (tmp_path / "1" / "blank.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"blank.png: damaged or not a picture"):
        load(str(tmp_path))
    assert own.is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize("name", ["1\x1b[2J", "1\n2", "1\u202e2"])
def test_a_folder_whose_name_cannot_be_shown_is_refused(own: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(own, tmp_path / name)
    shutil.copytree(own, tmp_path / "mine")
    (tmp_path / "mine" / "1").rename(tmp_path / "mine" / name)
    for folder in (tmp_path / name, tmp_path / "mine"):
        with pytest.raises(InputError, match="which is not 1 to 255 printable characters; rename it") as error:
            load(str(folder))
        assert str(error.value).isprintable()


def test_a_rehearsal_is_a_tenth_new(own: Path, digits: Dataset) -> None:
    dataset = load(str(own))
    mixed = rehearse(dataset, digits, count=900)
    assert len(mixed.train) == 900 + 2 * 40
    assert torch.equal(mixed.train.images[-40:], dataset.train.images)
    assert mixed.test is dataset.test


def test_evaluate_scores_a_folder_as_a_whole(program: Program, own: Path, tmp_path: Path) -> None:
    result = program("evaluate.py", "--dataset", own)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "saved_models" / "mnist_cnn_final_on_mine.json").read_text(encoding="utf-8"))
    assert report["count"] == 50
    assert report["accuracy"] >= 0.9


def test_fine_tuning_learns_and_does_not_forget(program: Program, own: Path, tmp_path: Path, mnist_data: Path) -> None:
    flags = ("--dataset", own, "--init-from", SHIPPED, "--data-dir", mnist_data)
    result = program("main.py", *flags)
    assert result.returncode == 0, result.stderr
    tuned, shipped = load_checkpoint(tmp_path / "saved_models" / "mine_cnn_final.pth"), load_checkpoint(SHIPPED)
    assert (tuned.dataset, tuned.train_config["preset"]) == ("mine", "fine-tune")
    mnist, mine = load("mnist", mnist_data), load(str(own))
    on_mnist = [evaluate(c.build_model(), mnist.test, mnist.classes)[0].accuracy for c in (shipped, tuned)]
    assert on_mnist[1] > on_mnist[0] - 0.001
    on_mine = [evaluate(c.build_model(), mine.train, mine.classes)[0].loss for c in (shipped, tuned)]
    assert on_mine[1] < on_mine[0]


def test_fine_tuning_needs_the_same_classes(program: Program, own: Path, tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    for name, source in (("cross", "4"), ("ring", "0")):
        (tmp_path / "two" / name).symlink_to(own / source, target_is_directory=True)
    result = program("main.py", "--dataset", tmp_path / "two", "--init-from", SHIPPED)
    assert_one_line_error(result, "two has cross, ring", "--init-from")
