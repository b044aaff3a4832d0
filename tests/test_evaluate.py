"""Evaluation counts every image once, leaves the model as it was, and works as a command."""

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from conftest import ROOT, Program, assert_one_line_error
from mnist_cnn.cnn_model import CNN, ModelConfig, build
from mnist_cnn.data_loader import DIGITS, load_dataset
from mnist_cnn.evaluate import evaluate, infer, predict, warn_out_of_distribution
from mnist_cnn.metrics import score
from mnist_cnn.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mnist_cnn.models.ood import PASS_RATE, fit_ood_detector
from mnist_cnn.predictions import write_predictions
from mnist_cnn.sources import FILES
from mnist_cnn.splits import Dataset, Split, all_as_test, split_off
from test_data_loader import idx

FIGURES = {
    "loss_vs_epoch.png",
    "confusion_matrix.png",
    "per_class_metrics.png",
    "misclassified.png",
    "reliability_diagram.png",
    "sample_digits.png",
}


@pytest.fixture
def model() -> CNN:
    torch.manual_seed(0)
    return CNN(ModelConfig(stages=((4,), (8,))))


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored_and_no_statistics_change(model: CNN, digits: Dataset, training: bool) -> None:
    model.train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    infer(model, digits.test)
    assert model.training is training
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


def test_logits_are_in_order_whatever_the_batch_size(model: CNN, digits: Dataset) -> None:
    at_once = infer(model, digits.test, batch_size=1000)
    assert at_once.dtype == torch.float32
    torch.testing.assert_close(infer(model, digits.test, batch_size=7), at_once)
    torch.testing.assert_close(infer(model, digits.test[torch.tensor([5])]), at_once[5:6])


def test_every_image_counts_once(model: CNN, digits: Dataset) -> None:
    report, probabilities = evaluate(model, digits.test, digits.classes)
    assert report.count == len(digits.test) == sum(map(sum, report.confusion_matrix))
    assert probabilities.shape == (360, 10)
    right = (infer(model, digits.test).argmax(dim=1) == digits.test.labels).sum().item()
    assert report.errors == 360 - right


def test_the_shipped_model_is_what_its_report_says(mnist: Dataset) -> None:
    checkpoint = load_checkpoint(ROOT / "saved_models" / "mnist_cnn_final.pth")
    shipped = json.loads((ROOT / "saved_models" / "mnist_cnn_final.json").read_text(encoding="utf-8"))
    report, _ = evaluate(checkpoint.build_model(), mnist.test, mnist.classes, checkpoint.temperature)
    assert report.count == shipped["count"] == 10_000
    assert report.confusion_matrix == shipped["confusion_matrix"]
    assert report.loss == pytest.approx(shipped["loss"], rel=1e-3)
    assert checkpoint.train_config == shipped["train_config"]
    assert checkpoint.history == shipped["history"]


def test_the_command_after_a_clone_evaluates_the_shipped_model(
    program: Program, tmp_path: Path, mnist_data: Path
) -> None:
    result = program("evaluate.py", MNIST_CNN_DATA=str(mnist_data))
    assert result.returncode == 0, result.stderr
    shipped = json.loads((ROOT / "saved_models" / "mnist_cnn_final.json").read_text(encoding="utf-8"))
    assert f"10,000 images, {shipped['errors']} errors" in result.stdout
    written = json.loads((tmp_path / "saved_models" / "mnist_cnn_final.json").read_text(encoding="utf-8"))
    assert written["confusion_matrix"] == shipped["confusion_matrix"]
    assert {path.name for path in (tmp_path / "images").iterdir()} == FIGURES


def test_the_shipped_model_is_evaluated_on_the_bundled_digits_where_mnist_is_not(
    program: Program, tmp_path: Path
) -> None:
    result = program("evaluate.py")
    assert result.returncode == 0, result.stderr
    assert "bundled digits, not MNIST" in result.stderr
    assert "digits test split, mnist_cnn_final.pth: 360 images" in result.stdout
    assert (tmp_path / "saved_models" / "mnist_cnn_final_on_digits.json").is_file()
    assert {path.name for path in (tmp_path / "images").iterdir()} == FIGURES
    assert not (tmp_path / "saved_models" / "mnist_cnn_final.json").exists()


LIKE_MNIST: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda images: images,
    "dark on light": lambda images: 255 - images,
    "of little contrast": lambda images: images // 4 + 100,
}
UNLIKE_MNIST: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda images: images.transpose(2, 3).contiguous(),
    "turned": lambda images: torch.rot90(images, 1, (2, 3)).contiguous(),
    "mirrored": lambda images: images.flip(3),
    "upside down": lambda images: images.flip(2),
    "shifted": lambda images: images.roll(6, 3),
    "rows of another width": lambda images: images.flatten().roll(300).view(images.shape).roll(9, 2),
    "noise": lambda images: torch.randint(256, images.shape, generator=torch.Generator().manual_seed(0)).byte(),
    "blank": torch.zeros_like,
}


@pytest.mark.parametrize("change", LIKE_MNIST | UNLIKE_MNIST)
def test_an_out_of_distribution_dataset_is_warned_about(
    mnist: Dataset, shipped: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    model = load_checkpoint(shipped)
    images = (LIKE_MNIST | UNLIKE_MNIST)[change](mnist.test.images[:2000])
    split = Split(images, mnist.test.labels[:2000])
    report, _ = evaluate(model.build_model(), split, mnist.classes, model.temperature, model.ood_detector)
    warn_out_of_distribution(report, "theirs")
    errors = capsys.readouterr().err
    assert ("theirs is unlike what this model was trained on: transposed" in errors) == (change in UNLIKE_MNIST)
    assert (f"{report.trusted:.1%} of predictions are trusted" in errors) == (change in UNLIKE_MNIST)


def test_real_digits_are_not_warned_about(
    real_digits: Path, digits: Dataset, shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_checkpoint(shipped)
    for split in (digits.test, all_as_test(load_dataset(str(real_digits))).test):
        report, _ = evaluate(model.build_model(), split, DIGITS, model.temperature, model.ood_detector)
        warn_out_of_distribution(report, "theirs")
    assert "WARNING" not in capsys.readouterr().err


def test_few_untrusted_predictions_are_not_warned_about(capsys: pytest.CaptureFixture[str]) -> None:
    report = score(np.eye(2), np.array([0, 1]), ("a", "b"))
    for trusted, count, hint in (
        (0.5, 4, False),
        (0.0, 4, True),
        (0.7, 50, False),
        (0.7, 5000, True),
        (1.0, 50, False),
    ):
        warn_out_of_distribution(dataclasses.replace(report, trusted=trusted, count=count), "theirs")
        assert bool(capsys.readouterr().err) == hint


def test_the_command_warns_about_a_transposed_folder(program: Program, mnist: Dataset, tmp_path: Path) -> None:
    (tmp_path / "emnist").mkdir()
    for file in FILES:
        split = mnist.train if file.startswith("train") else mnist.test
        array = split.images[:500, 0].transpose(1, 2) if "images" in file else split.labels[:500]
        (tmp_path / "emnist" / file).write_bytes(idx(array.numpy()))
    result = program("evaluate.py", "--dataset", "emnist")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "saved_models" / "mnist_cnn_final_on_emnist.json").read_text(encoding="utf-8"))
    assert report["trusted"] < 0.6
    assert result.stderr.startswith("\nWARNING: emnist is unlike what this model was trained on: transposed")
    assert f"{report['trusted']:.1%} of predictions are trusted" in result.stderr


def test_an_ensemble_counts_its_trusted_predictions_in_one_pass(digits: Dataset) -> None:
    torch.manual_seed(0)
    model = build(ModelConfig(stages=((4,), (8,)), members=2)).eval()
    train, val = split_off(digits.train, 0.3)
    ood_detector = fit_ood_detector(model, train, val, 1.0)
    report, probabilities = evaluate(model, val, digits.classes, 1.0, ood_detector)
    assert report.trusted == pytest.approx(PASS_RATE, abs=0.005)
    np.testing.assert_array_equal(probabilities, evaluate(model, val, digits.classes)[1])


def test_any_checkpoint_on_any_dataset_of_its_classes(program: Program, tmp_path: Path, model: CNN) -> None:
    history = [{"epoch": 1, "train_loss": 2.0, "val_loss": 2.0, "val_accuracy": 0.1}]
    checkpoint = Checkpoint(
        dataset="mine",
        classes=DIGITS,
        model_config=model.config,
        state_dict=model.state_dict(),
        train_config={},
        data_sha256="",
        history=history,
        temperature=1.0,
    )
    save_checkpoint(checkpoint, tmp_path / "mine.pth")
    result = program("evaluate.py", "--checkpoint", tmp_path / "mine.pth", "--dataset", "digits", "--output-dir", "out")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "out" / "saved_models" / "mine_on_digits.json").read_text())
    assert (report["count"], report["trusted"]) == (360, None)
    assert "WARNING" not in result.stderr

    three = CNN(dataclasses.replace(model.config, classes=3))
    other = dataclasses.replace(
        checkpoint, classes=("a", "b", "c"), model_config=three.config, state_dict=three.state_dict()
    )
    save_checkpoint(other, tmp_path / "three.pth")
    result = program("evaluate.py", "--checkpoint", "three.pth", "--dataset", "digits")
    assert_one_line_error(result, "three.pth has classes a, b, c, digits has 0, 1, 2, 3", "--dataset")


@pytest.fixture
def pictures(tmp_path: Path, digits: Dataset) -> Path:
    """Write five pictures of each of three digits, one of a name that a spreadsheet would compute."""
    folder = tmp_path / "written"
    for digit in range(3):
        (folder / str(digit)).mkdir(parents=True)
        for number, index in enumerate((digits.test.labels == digit).nonzero()[:5, 0]):
            image = Image.fromarray(digits.test.images[int(index), 0].numpy())
            image.save(folder / str(digit) / f"{number}.png")
    return folder


def test_predictions_of_every_image_as_csv(program: Program, tmp_path: Path, pictures: Path) -> None:
    result = program("evaluate.py", "--dataset", "written", "--predictions", "answers/all.csv", "--output-dir", "out")
    assert result.returncode == 0, result.stderr
    with (tmp_path / "answers" / "all.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    report = json.loads((tmp_path / "out/saved_models/mnist_cnn_final_on_written.json").read_text())
    assert [row["index"] for row in rows] == [str(index) for index in range(15)]
    assert {Path(row["file"]) for row in rows} == {path.relative_to(tmp_path) for path in pictures.rglob("*.png")}
    assert [Path(row["file"]).parent.name for row in rows] == [row["true"] for row in rows]
    assert [int(row["index"]) for row in rows if row["true"] != row["predicted"]] == report["misclassified"]
    probabilities = np.array([[float(row[f"probability_{digit}"]) for digit in range(10)] for row in rows])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-7)
    assert [str(digit) for digit in probabilities.argmax(axis=1)] == [row["predicted"] for row in rows]
    truth = np.array([int(row["true"]) for row in rows])
    assert report["loss"] == pytest.approx(-np.log(probabilities[np.arange(15), truth]).mean(), rel=1e-4)
    assert {row["confident"] for row in rows} <= {"true", "false"}
    assert sum(row["confident"] == "true" for row in rows) == round(report["trusted"] * 15)


def test_predictions_as_arrays_with_logits(digits: Dataset, model: CNN, tmp_path: Path) -> None:
    found = predict(model, digits.test, temperature=2.0)
    write_predictions(found, digits.test, digits.classes, tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz", allow_pickle=False) as arrays:
        logits = infer(model, digits.test).double()
        np.testing.assert_array_equal(arrays["logits"], logits.numpy())
        np.testing.assert_allclose(arrays["probabilities"], (logits / 2).softmax(dim=1).numpy())
        assert arrays["true"].tolist() == [str(label) for label in digits.test.labels.tolist()]
        assert arrays["predicted"].tolist() == [str(label) for label in logits.argmax(dim=1).tolist()]
        assert arrays["index"].tolist() == list(range(360))
        assert set(arrays["file"]) == {""}
        assert arrays["classes"].tolist() == list(digits.classes)
        assert "confident" not in arrays, "this model has no thresholds"


def test_predictions_as_parquet(digits: Dataset, model: CNN, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="PyArrow is an extra")
    few = digits.test[torch.arange(50)]
    found = predict(model, few)
    write_predictions(found, few, digits.classes, tmp_path / "all.parquet")
    table = parquet.read_table(tmp_path / "all.parquet")
    assert table.column_names == ["index", "file", "true", "predicted", *(f"probability_{n}" for n in range(10))]
    np.testing.assert_array_equal(table["probability_3"].to_numpy(), found.probabilities[:, 3])
    assert table["true"].to_pylist() == [str(label) for label in few.labels.tolist()]


def test_text_that_a_spreadsheet_computes_is_quoted(digits: Dataset, model: CNN, tmp_path: Path) -> None:
    few = dataclasses.replace(digits.test[torch.arange(2)], files=np.array(["=1+1/a.png", "b.png"]))
    classes = ("+", *digits.classes[1:])
    write_predictions(predict(model, few), few, classes, tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["'=1+1/a.png", "b.png"]
    assert not any(value.startswith("+") for row in rows for value in row.values())


def test_predictions_need_a_known_format_and_a_place(program: Program, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    for name, words in (
        ("a.txt", "--predictions is a.txt; its name must end in .csv, .npz, .parquet"),
        ("taken/a.csv", "cannot write to taken"),
    ):
        assert_one_line_error(program("evaluate.py", "--dataset", "digits", "--predictions", name), words)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("names", [("zero", "one", "two"), ("T-shirt/top".replace("/", "_"), "Trouser", "Pullover")])
def test_classes_of_other_names_are_refused_not_scored(
    program: Program, tmp_path: Path, pictures: Path, names: tuple[str, ...]
) -> None:
    for digit, name in enumerate(names):
        (pictures / str(digit)).rename(pictures / name)
    result = program("evaluate.py", "--dataset", "written", "--output-dir", "out")
    assert_one_line_error(result, "has classes 0, 1, 2", f"written has {', '.join(sorted(names))}", "rename")
    assert not list(tmp_path.rglob("*.json"))
