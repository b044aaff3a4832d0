"""A person's own pictures are a dataset: to evaluate on, and to fine-tune with."""

import dataclasses
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import Program, assert_one_line_error
from drawing import on_page, photo, shape
from hostile import encoded
from mnist_cnn.common.errors import InputError
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.evaluate import evaluate
from mnist_cnn.models.checkpoint import SHIPPED, load_checkpoint, save_checkpoint
from mnist_cnn.pictures.preprocess import SIDE
from mnist_cnn.splits import Dataset, all_as_test, rehearse
from mnist_cnn.training.dataset import with_rehearsal


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    """Fifty photos of the bundled digits, five of each class."""
    folder = tmp_path_factory.mktemp("own") / "mine"
    for digit in range(10):
        (folder / str(digit)).mkdir(parents=True)
        for number, index in enumerate((digits.train.labels == digit).nonzero()[:5, 0]):
            page = on_page([(shape(digits.train.images[index, 0].numpy(), 100), 40, 50)], 190, 200)
            Image.fromarray(photo(page, seed=number)).save(folder / str(digit) / f"{number}.jpg")
    return folder


def linked(folder: Path, own: Path, names: dict[str, str]) -> Path:
    """Fill a folder with classes: the photos of a digit under another name."""
    for name, digit in names.items():
        (folder / name).mkdir(parents=True)
        for file in (own / digit).iterdir():
            (folder / name / file.name).symlink_to(file)
    return folder


def test_pictures_become_a_dataset(own: Path) -> None:
    dataset = load_dataset(str(own))
    assert (dataset.name, dataset.classes) == ("mine", tuple("0123456789"))
    assert torch.bincount(dataset.train.labels).tolist() == [4] * 10
    assert torch.bincount(dataset.test.labels).tolist() == [1] * 10
    assert dataset.train.images.shape == (40, 1, SIDE, SIDE)
    assert len(all_as_test(dataset).test) == 50
    assert dataset.train.images.amax(dim=(1, 2, 3)).eq(255).all()


def test_heic_is_a_picture_of_a_class(own: Path, tmp_path: Path) -> None:
    folder = linked(tmp_path / "mine", own, {"0": "0", "1": "1"})
    with Image.open(own / "0" / "0.jpg") as photo:
        (folder / "0" / "5.HEIC").write_bytes(encoded(photo, "HEIF"))
    assert len(all_as_test(load_dataset(str(folder))).test) == 11


def test_other_names_are_classes_of_their_own(own: Path, tmp_path: Path) -> None:
    for name, source in (("cross", "4"), ("ring", "0")):
        (tmp_path / "shapes").mkdir(exist_ok=True)
        (tmp_path / "shapes" / name).symlink_to(own / source, target_is_directory=True)
    assert load_dataset(str(tmp_path / "shapes")).classes == ("cross", "ring")


SKIPPED = {
    ".ipynb_checkpoints/0-checkpoint.jpg": "1 hidden folder",
    "__MACOSX/0.jpg": "1 hidden folder",
    ".git/0.png": "1 hidden folder",
    "@eaDir/0.jpg": "1 hidden folder",
    ".DS_Store": "1 hidden file",
    "Thumbs.db": "1 hidden file",
    "0/._0.jpg": "1 hidden file",
    "0/.DS_Store": "1 hidden file",
    "0/Thumbs.db": "1 hidden file",
    "0/@eaDir/0.jpg": "1 hidden folder",
    "0/more/5.jpg": "1 nested folder",
    "0/folder.png/5.jpg": "1 nested folder",
    "0/5.PDF": "1 .pdf file",
    "0/notes.txt": "1 .txt file",
    "0/5": "1 other file",
    "labels.csv": "1 stray file",
    "0.jpg": "1 stray file",
}


@pytest.mark.parametrize("name", SKIPPED)
def test_what_is_no_picture_of_a_class_is_skipped_and_said(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder = linked(tmp_path / "mine", own, {str(digit): str(digit) for digit in range(10)})
    expected = load_dataset(str(folder))
    assert capsys.readouterr().err == ""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes((own / "0" / "0.jpg").read_bytes())
    dataset = load_dataset(str(folder))
    assert capsys.readouterr().err == f"skipped in {folder}: {SKIPPED[name]}\n"
    assert dataset.classes == expected.classes
    assert torch.equal(dataset.train.images, expected.train.images)
    assert torch.equal(dataset.test.labels, expected.test.labels)


def test_what_is_skipped_is_said_in_one_line(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    linked(tmp_path, own, {"a": "0", "b": "1"})
    for name in ("a/1.pdf", "b/2.PDF", "b/3.Pdf", "a/._1.jpg", "b/._2.jpg", "list.csv"):
        (tmp_path / name).touch()
    load_dataset(str(tmp_path))
    assert capsys.readouterr().err == f"skipped in {tmp_path}: 3 .pdf files, 2 hidden files, 1 stray file\n"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "it is empty"),
        (["1.PDF", "2.pdf"], "2 .pdf files"),
        (["1.pdf"], "1 .pdf file"),
        (["1.svg"], "1 .svg file"),
        (["._1.png"], "1 hidden file"),
        (["inside/1.png"], "1 nested folder"),
    ],
)
def test_a_class_without_a_picture_is_named(own: Path, tmp_path: Path, files: list[str], words: str) -> None:
    linked(tmp_path, own, {name: name for name in "012456789"})
    (tmp_path / "3").mkdir()
    for file in files:
        (tmp_path / "3" / file).parent.mkdir(exist_ok=True)
        (tmp_path / "3" / file).touch()
    with pytest.raises(InputError, match=re.escape(f"the class {tmp_path / '3'} holds no picture")) as error:
        load_dataset(str(tmp_path))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize("name", ["a\nb", "a\tb", "\x1b[31m", "a\u2028b", os.fsdecode(b"\xff")])
def test_class_names_that_cannot_be_printed_are_refused(own: Path, tmp_path: Path, name: str) -> None:
    linked(tmp_path, own, {"a": "0", name: "1"})
    with pytest.raises(InputError, match="which is not 1 to 255 printable characters; rename it") as error:
        load_dataset(str(tmp_path))
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "name", ["\u00e9", "\u6570\u5b57", "\U0001f469\u200d\U0001f467", "a b", "1.5", "x,y", "$x$", "#", "con-"]
)
def test_other_class_names_are_taken(own: Path, tmp_path: Path, name: str) -> None:
    assert load_dataset(str(linked(tmp_path, own, {"zz": "0", name: "1"}))).classes == tuple(sorted(("zz", name)))


def test_an_accent_is_one_name_however_the_file_system_keeps_it(own: Path, tmp_path: Path) -> None:
    assert load_dataset(str(linked(tmp_path, own, {"e\u0301": "0", "z": "1"}))).classes == ("\u00e9", "z")


def test_suffixes_of_any_case_are_read(own: Path, tmp_path: Path) -> None:
    for suffix in ("jpg", "JPG", "Jpg"):
        for name in "ab":
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{suffix}.{suffix}").symlink_to(
                own / "4" / f"{len(list((tmp_path / name).iterdir()))}.jpg"
            )
    assert len(all_as_test(load_dataset(str(tmp_path))).test) == 6


def test_more_classes_than_a_byte_counts(digits: Dataset, tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number:03}").mkdir()
        Image.fromarray(digits.test.images[0, 0].numpy()).save(tmp_path / f"{number:03}" / "0.png")
    assert load_dataset(str(tmp_path)).train.labels.tolist() == list(range(300))


def test_a_few_digits_keep_their_labels(own: Path, tmp_path: Path) -> None:
    for name in "37":
        (tmp_path / name).symlink_to(own / name, target_is_directory=True)
    dataset = load_dataset(str(tmp_path))
    assert len(dataset.classes) == 10
    assert sorted(set(dataset.train.labels.tolist())) == [3, 7]


def test_a_blank_or_broken_picture_is_named(own: Path, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    Image.fromarray(np.full((50, 50), 220, np.uint8)).save(tmp_path / "1" / "blank.png")
    with pytest.raises(InputError, match=r"blank.png: nothing is drawn on it"):
        load_dataset(str(tmp_path))
    (tmp_path / "1" / "blank.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"blank.png: damaged or not a picture"):
        load_dataset(str(tmp_path))
    assert own.is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize("name", ["1\x1b[2J", "1\n2", "1\u202e2"])
def test_a_folder_whose_name_cannot_be_shown_is_refused(own: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(own, tmp_path / name)
    shutil.copytree(own, tmp_path / "mine")
    (tmp_path / "mine" / "1").rename(tmp_path / "mine" / name)
    for folder in (tmp_path / name, tmp_path / "mine"):
        with pytest.raises(InputError, match="which is not 1 to 255 printable characters; rename it") as error:
            load_dataset(str(folder))
        assert str(error.value).isprintable()


def test_a_rehearsal_is_a_tenth_new(own: Path, digits: Dataset) -> None:
    dataset = load_dataset(str(own))
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
    tuned, shipped = load_checkpoint(tmp_path / "saved_models" / "mine_fine-tune_final.pth"), load_checkpoint(SHIPPED)
    assert (tuned.dataset, tuned.train_config["preset"]) == ("mine", "fine-tune")
    mnist, mine = load_dataset("mnist", mnist_data), load_dataset(str(own))
    on_mnist = [evaluate(c.build_model(), mnist.test, mnist.classes)[0].accuracy for c in (shipped, tuned)]
    assert on_mnist[1] > on_mnist[0] - 0.001
    on_mine = [evaluate(c.build_model(), mine.train, mine.classes)[0].loss for c in (shipped, tuned)]
    assert on_mine[1] < on_mine[0]


WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.mark.parametrize("words", [WORDS, ("one", "seven")])
def test_a_model_of_named_classes_scores_its_folders_by_name(
    program: Program, own: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    save_checkpoint(dataclasses.replace(load_checkpoint(SHIPPED), classes=WORDS, dataset="d"), tmp_path / "words.pth")
    linked(tmp_path / "written", own, {word: str(WORDS.index(word)) for word in words})
    result = program("evaluate.py", "--checkpoint", "words.pth", "--dataset", "written")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "saved_models" / "words_on_written.json").read_text(encoding="utf-8"))
    assert [score["name"] for score in report["classes"]] == list(WORDS)
    assert [score["support"] for score in report["classes"]] == [5 * (word in words) for word in WORDS]
    assert report["accuracy"] >= 0.9
    assert report["loss"] < 1


def test_two_digits_are_scored_as_two_of_ten(program: Program, own: Path, tmp_path: Path) -> None:
    linked(tmp_path / "some", own, {"1": "1", "7": "7"})
    result = program("evaluate.py", "--dataset", "some")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "saved_models" / "mnist_cnn_final_on_some.json").read_text(encoding="utf-8"))
    assert [score["support"] for score in report["classes"]] == [0, 5, 0, 0, 0, 0, 0, 5, 0, 0]
    assert report["accuracy"] >= 0.9


def test_classes_of_other_names_are_refused(program: Program, own: Path, tmp_path: Path) -> None:
    linked(tmp_path / "written", own, {word: str(digit) for digit, word in enumerate(WORDS)})
    result = program("evaluate.py", "--dataset", "written")
    assert_one_line_error(
        result, "has classes 0, 1, 2,", "written has eight, five, four,", "rename its folders", "--dataset"
    )
    assert not (tmp_path / "saved_models").exists() or not list((tmp_path / "saved_models").iterdir())


def test_garments_are_no_digits(program: Program, mnist_data: Path) -> None:
    if not (mnist_data / "FashionMNIST").is_dir():
        pytest.skip("Fashion-MNIST is not on this machine")
    result = program("evaluate.py", "--dataset", "fashion-mnist", "--data-dir", mnist_data)
    assert_one_line_error(result, "has classes 0, 1, 2,", "fashion-mnist has T-shirt/top, Trouser,", "--dataset")


@pytest.mark.parametrize(
    ("classes", "words"), [("ab", "no class of few has five pictures"), ("a", "few has one class, a: nothing to tell")]
)
@pytest.mark.parametrize("command", [("main.py",), ("study.py", "--output", "rows.jsonl")])
def test_too_few_pictures_or_classes_are_refused_before_training(
    program: Program, own: Path, tmp_path: Path, command: tuple[str, ...], classes: str, words: str
) -> None:
    for name in classes:
        (tmp_path / "few" / name).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "few" / name / f"{number}.jpg").symlink_to(own / "4" / f"{number}.jpg")
    result = program(*command, "--dataset", "few", "--preset", "fast")
    assert_one_line_error(result, words)


def test_fine_tuning_numbers_the_classes_as_the_model_does(digits: Dataset, tmp_path: Path) -> None:
    model = dataclasses.replace(load_checkpoint(SHIPPED), classes=tuple("9876543210"), dataset="digits")
    save_checkpoint(model, tmp_path / "reversed.pth")
    mixed = with_rehearsal(tmp_path / "reversed.pth", digits, None)
    assert mixed.classes == model.classes
    assert torch.equal(mixed.test.labels, 9 - digits.test.labels)
    assert torch.equal(torch.bincount(mixed.train.labels), torch.bincount(digits.train.labels).flip(0) * 2)


def test_fine_tuning_needs_the_same_classes(program: Program, own: Path, tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    for name, source in (("cross", "4"), ("ring", "0")):
        (tmp_path / "two" / name).symlink_to(own / source, target_is_directory=True)
    result = program("main.py", "--dataset", tmp_path / "two", "--init-from", SHIPPED)
    assert_one_line_error(result, "two has cross, ring", "--init-from")
