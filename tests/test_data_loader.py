"""Data files against bytes written by hand, and the real datasets."""

import gzip
import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from mnist_cnn.common.errors import InputError
from mnist_cnn.data_files import parse_idx
from mnist_cnn.data_loader import load_dataset, load_folder, pair, read_unverified
from mnist_cnn.download import find_files
from mnist_cnn.sources import FILES
from mnist_cnn.splits import Dataset, Split, batches, fingerprint, pixel_statistics, split_off

LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1])
IMAGES = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255])


def idx(array: np.ndarray) -> bytes:
    """Write the IDX format independently of the program."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def write_dataset(folder: Path, train: int = 40, test: int = 10, classes: int = 4) -> Path:
    """Write a small dataset of random images, two files packed and two not."""
    generator = np.random.default_rng(0)
    for file in FILES:
        count = train if file.startswith("train") else test
        shape = (count, 28, 28) if "images" in file else (count,)
        array = generator.integers(0, 256, shape) if "images" in file else np.arange(count) % classes
        content = idx(array)
        if "labels" in file:
            (folder / f"{file}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / file).write_bytes(content)
    return folder


def test_parse_bytes_written_by_hand() -> None:
    assert parse_idx(LABELS, "labels").tolist() == [7, 2, 1]
    assert parse_idx(IMAGES, "images").tolist() == [[[1, 2, 3]], [[4, 5, 255]]]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"<!DOCTYPE html>",
        b"\0\0\x0d\x01\0\0\0\x01\0",
        LABELS[:7],
        LABELS[:-1],
        LABELS + b"\0",
        b"\0\0\x08\0",
    ],
)
def test_what_is_not_idx_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="some file"):
        parse_idx(content, "some file")


@given(st.binary(max_size=200) | st.builds(lambda body: b"\0\0\x08" + body, st.binary(max_size=200)))
@example(LABELS)
@example(b"\0\0\x08\x03" + b"\xff" * 4 + b"\0" * 4 + b"\xff" * 4)
@example(b"\0\0\x08\xff" + b"\0" * 1020)
def test_any_bytes_are_an_array_or_the_clear_error(content: bytes) -> None:
    try:
        array = parse_idx(content, "some file")
    except InputError as error:
        assert str(error).startswith("some file")
        assert "\n" not in str(error)
    else:
        assert content == idx(array)


@given(st.binary(max_size=64), st.integers(0, 400))
def test_mutated_files_of_a_folder_are_a_dataset_or_the_clear_error(noise: bytes, place: int) -> None:
    content = bytearray(gzip.compress(idx(np.arange(10)), mtime=0))
    content[place % len(content) : place % len(content) + len(noise)] = noise
    with TemporaryDirectory() as name:
        folder = write_dataset(Path(name))
        (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(bytes(content))
        try:
            dataset = load_folder(folder)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert len(dataset.test) == 10


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_of_idx_files_is_a_dataset(tmp_path: Path, kind: Callable[[Path], str | Path]) -> None:
    dataset = load_dataset(kind(write_dataset(tmp_path)))
    assert (dataset.name, dataset.classes) == (tmp_path.name, ("0", "1", "2", "3"))
    assert (len(dataset.train), len(dataset.test)) == (40, 10)
    assert dataset.train.images.dtype == torch.uint8
    assert dataset.train.images.shape == (40, 1, 28, 28)
    assert dataset.test.labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


NAMES: dict[str, Callable[[str], str]] = {
    "7-zip": lambda file: file.replace("-idx", ".idx"),
    "Chrome, a second time": lambda file: f"{file} (1).gz",
    "Firefox, a second time": lambda file: f"{file}(1).gz",
    "Safari, a second time": lambda file: f"{file}-2.gz",
    "Kaggle": lambda file: f"{file}/{file}",
    "Kaggle, 7-zip": lambda file: f"{file}/{file.replace('-idx', '.idx')}",
    "upper case": lambda file: file.upper(),
    "dots": lambda file: file.replace("-", ".") + ".gz",
}
"""What programs call the four files, by what called them so."""


def renamed(folder: Path, target: Path, program: str) -> Path:
    """Copy a dataset as a program leaves it."""
    for file in FILES:
        path = target / NAMES[program](file)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = read_unverified(find_files([folder])[file])
        path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return target


@pytest.mark.parametrize("program", NAMES)
def test_files_are_found_under_the_names_that_programs_give_them(tmp_path: Path, program: str) -> None:
    (tmp_path / "own").mkdir()
    own, other = (
        load_dataset(str(write_dataset(tmp_path / "own"))),
        renamed(tmp_path / "own", tmp_path / "other", program),
    )
    dataset = load_dataset(str(other))
    assert torch.equal(dataset.train.images, own.train.images)
    assert torch.equal(dataset.test.labels, own.test.labels)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["archive.zip"], "found '{}/archive.zip': unpack archives"),
        (["emnist-digits-test-images-idx3-ubyte.gz"], "'{}/emnist-digits-test-images-idx3-ubyte.gz'"),
        (["train-images-idx3-ubyte.gz.crdownload"], "'{}/train-images-idx3-ubyte.gz.crdownload'"),
        (["raw/t10k-labels-idx1-ubyte.gz"], "'{}/raw/t10k-labels-idx1-ubyte.gz'"),
        (["mnist.npz", "train.csv"], "found '{0}/mnist.npz', '{0}/train.csv'"),
        (["0/1.mov", "1/2.MOV"], "in its subfolders: 2 .mov files"),
        (["train/0/1.png", "train/1/2.png"], "in its subfolders: 2 nested folders"),
        ([f"{number}.csv" for number in range(20)], "'{}/15.csv', ...: unpack"),
    ],
)
def test_a_folder_that_is_no_dataset_says_what_was_seen(tmp_path: Path, files: list[str], words: str) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(InputError, match=f"lacks {', '.join(FILES)}") as error:
        load_dataset(str(tmp_path))
    assert words.format(tmp_path) in str(error.value)


def test_a_folder_cannot_pass_for_mnist(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    assert load_dataset(str(write_dataset(tmp_path / "mnist"))).name == "mnist-folder"


def test_a_path_is_a_folder_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no dataset 'digits' "):
        load_dataset(Path("digits"))
    Path("digits").mkdir()
    assert load_dataset(write_dataset(Path("digits")), data_dir=str(tmp_path)).name == "digits-folder"


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    (tmp_path / FILES[0]).unlink()
    with pytest.raises(InputError, match=f"lacks {FILES[0]}"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "near"),
    [
        *(("mnits", "mnist"), ("MNIST", "mnist"), ("fashionmnist", "fashion-mnist"), ("emnist", "emnist-digits")),
        *(("upss", "usps"), ("digit", "digits"), ("/none/at/all", None)),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, near: str | None) -> None:
    meant = f" (do you mean {near}?)" if near else ""
    with pytest.raises(InputError, match=re.escape(f"no dataset '{name}'{meant}: use auto, digits, mnist")):
        load_dataset(name)


def as_table(split: Split) -> npt.NDArray[np.int64]:
    return np.column_stack([split.labels.numpy(), split.images.flatten(1).numpy().astype(np.int64)])


def test_csv_as_kaggle_has_it(tmp_path: Path, digits: Dataset) -> None:
    few = digits.train[torch.arange(60)]
    header = ",".join(["label", *(f"pixel{number}" for number in range(784))])
    np.savetxt(tmp_path / "a_train.csv", as_table(few), "%d", delimiter=",", header=header, comments="")
    np.savetxt(tmp_path / "a_test.csv", as_table(digits.test[torch.arange(9)]), "%d", delimiter=",")
    dataset = load_dataset(str(tmp_path / "a_train.csv"))
    assert (dataset.name, dataset.classes) == ("a_train", digits.classes)
    assert torch.equal(dataset.train.images, few.images)
    assert torch.equal(dataset.train.labels, few.labels)
    assert torch.equal(dataset.test.images, digits.test.images[:9])


def test_of_one_csv_every_fifth_of_a_class_is_for_the_test(tmp_path: Path, digits: Dataset) -> None:
    few = digits.train[torch.arange(100)]
    table = np.roll(as_table(few), -1, axis=1)  # the label last, as OpenML has it
    header = ",".join([*(f"pixel{number}" for number in range(784)), '"label"'])
    np.savetxt(tmp_path / "mnist.csv", table, "%d", delimiter=",", header=header, comments="", encoding="utf-8-sig")
    dataset = load_dataset(tmp_path / "mnist.csv")
    assert dataset.name == "mnist-file", "not to be taken for MNIST"
    for label in range(10):
        of_label = few.images[few.labels == label]
        assert torch.equal(dataset.test.images[dataset.test.labels == label], of_label[4::5])
        assert len(dataset.train.images[dataset.train.labels == label]) == len(of_label) - len(of_label) // 5


def test_npz_as_keras_has_it(tmp_path: Path, digits: Dataset) -> None:
    arrays: dict[str, Any] = {
        "x_train": digits.train.images[:50, 0].numpy(),
        "y_train": digits.train.labels[:50].numpy().astype(np.uint8),
        "x_test": digits.test.images[:20, 0].numpy(),
        "y_test": digits.test.labels[:20].numpy(),
    }
    np.savez_compressed(tmp_path / "keras.npz", **arrays)
    dataset = load_dataset(tmp_path / "keras.npz")
    assert torch.equal(dataset.train.images, digits.train.images[:50])
    assert dataset.test.labels.tolist() == digits.test.labels[:20].tolist()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


BLANK, ONE = np.zeros((2, 28, 28), np.uint8), np.array([0, 1])
LINE = ",".join(["1"] + ["0"] * 784)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("a.csv", b"", "has 0 lines of"),
        ("a.csv", b"1,2,3\n4,5,6\n", "has 2 lines of 3 numbers; give a label and 784 pixels"),
        ("a.csv", b"label,b\n", "a.csv"),
        ("a.csv", f"{LINE}\n1,2\n".encode(), "cannot be read as CSV"),
        ("a.csv", f"{LINE}x\n".encode(), "cannot be read as CSV"),
        ("a.csv", f"{LINE}999\n".encode(), "pixels outside 0..255"),
        ("a.csv", b"\xff\xfe\x00", "cannot be read as CSV"),
        ("a.npz", b"PK\x03\x04", "cannot be read as .npz"),
        ("a.npz", npz(a=BLANK), "lacks the arrays x_train, y_train, x_test, y_test (it has a)"),
        (
            "a.npz",
            npz(x_train=BLANK / 2, y_train=ONE, x_test=BLANK, y_test=ONE),
            "images of float64 and labels of int64",
        ),
        ("a.npz", npz(x_train=BLANK, y_train=-ONE, x_test=BLANK, y_test=ONE), "has label -1"),
        ("a.npz", npz(x_train=BLANK, y_train=np.array([{}, 1]), x_test=BLANK, y_test=ONE), "cannot be read as .npz"),
        ("a.txt", b"", "a.txt is no dataset: give a .csv, an .npz or a folder"),
    ],
)
def test_files_that_hold_something_else_are_refused(tmp_path: Path, file: str, content: bytes, words: str) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError) as error:
        load_dataset(tmp_path / file)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_an_npz_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnist_cnn.data_files.MAX_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "bomb.npz", x_train=np.zeros(1 << 21, np.uint8))
    with pytest.raises(InputError, match="holds more than 1048576 bytes"):
        load_dataset(tmp_path / "bomb.npz")


def test_a_split_is_a_dataset_for_torchs_loader(digits: Dataset) -> None:
    image, label = digits.test[7]
    assert torch.equal(image, digits.test.images[7])
    assert label == digits.test.labels[7]
    loader: DataLoader[tuple[torch.Tensor, torch.Tensor]] = DataLoader(digits.test, batch_size=100)  # type: ignore[arg-type]
    images, labels = zip(*loader, strict=True)
    assert [len(batch) for batch in images] == [100, 100, 100, 60]
    assert torch.equal(torch.cat(images), digits.test.images)
    assert torch.equal(torch.cat(labels), digits.test.labels)


@pytest.mark.parametrize("cut", [0, 5, -1])
def test_a_cut_gzip_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = write_dataset(tmp_path) / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match="train-labels"):
        load_dataset(str(tmp_path))


def test_a_gzip_bomb_is_refused_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnist_cnn.data_loader.MAX_BYTES", 1 << 20)
    path = write_dataset(tmp_path) / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(bytes(1 << 22)))
    with pytest.raises(InputError, match="more than 1048576 bytes"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 28, 28)), np.zeros(4), "3 images but 4 labels"),
        (np.zeros((0, 28, 28)), np.zeros(0), "0 images but 0 labels"),
        (np.zeros((3, 8, 8)), np.zeros(3), r"shape \[3, 8, 8\], expected \[N, 28, 28\]"),
        (np.zeros((3, 28)), np.zeros(3), r"shape \[3, 28\]"),
        (np.zeros((2, 28, 28)), np.array([3, 10]), r"label 10, expected 0\.\.9"),
        (np.zeros((2, 28, 28)), np.zeros((2, 1)), "2 images but 2 labels"),
    ],
)
def test_files_that_disagree_are_refused(images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pair(images.astype(np.uint8), labels.astype(np.uint8), 10, "it")


def test_split_is_disjoint_balanced_and_always_the_same(digits: Dataset) -> None:
    numbered = Split(torch.arange(len(digits.train)), digits.train.labels)
    rest, cut = split_off(numbered, 200)
    assert sorted([*rest.images.tolist(), *cut.images.tolist()]) == list(range(len(numbered)))
    assert len(cut) == 200
    torch.manual_seed(1)
    assert torch.equal(cut.images, split_off(numbered, 200)[1].images)
    shares = torch.bincount(numbered.labels) * 200 / len(numbered)
    assert (torch.bincount(cut.labels) - shares).abs().max() <= 1


def test_split_by_share(digits: Dataset) -> None:
    assert len(split_off(digits.train, 0.25)[1]) == -(-len(digits.train) // 4)


@pytest.mark.parametrize("size", [5, 1437, 1435, 10000])
def test_impossible_split_is_refused(digits: Dataset, size: int) -> None:
    with pytest.raises(InputError, match="--val-size"):
        split_off(digits.train, size)


def test_batches_hold_every_image_once() -> None:
    numbered = Split(torch.arange(100), torch.arange(100))
    in_order = list(batches(numbered, 32))
    assert [len(batch) for batch in in_order] == [32, 32, 32, 4]
    assert torch.cat([batch.images for batch in in_order]).tolist() == list(range(100))
    assert torch.cat([batch.labels for batch in in_order]).tolist() == list(range(100))


def test_the_fingerprint_is_that_of_the_bytes(digits: Dataset) -> None:
    everything = digits.train.images.numpy().tobytes() + digits.train.labels.numpy().tobytes()
    assert fingerprint(digits.train) == hashlib.sha256(everything).hexdigest()


def test_pixel_statistics_agree_with_torch(digits: Dataset) -> None:
    pixels = digits.train.images.double() / 255
    assert pixel_statistics(digits.train.images) == pytest.approx(
        (pixels.mean().item(), pixels.std(correction=0).item())
    )


def test_bundled_digits(digits: Dataset) -> None:
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    assert digits.train.images.shape == (1437, 1, 28, 28)
    margin = digits.train.images.clone()
    margin[:, :, 4:24, 4:24] = 0
    assert margin.max() == 0
    assert digits.train.images.max() == 255
    assert torch.equal(load_dataset("digits").test.images, digits.test.images)


def test_real_mnist(mnist: Dataset) -> None:
    assert (len(mnist.train), len(mnist.test)) == (60_000, 10_000)
    assert mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert torch.bincount(mnist.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    mean, std = pixel_statistics(mnist.train.images)
    assert (round(mean, 4), round(std, 4)) == (0.1307, 0.3081)


def test_real_fashion_mnist(mnist_data: Path) -> None:
    if not (mnist_data / "FashionMNIST").is_dir():
        pytest.skip("Fashion-MNIST is not on this machine")
    dataset = load_dataset("fashion-mnist", mnist_data)
    assert (len(dataset.train), len(dataset.test)) == (60_000, 10_000)
    assert dataset.classes[dataset.train.labels[0]] == "Ankle boot"
