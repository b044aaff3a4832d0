"""Evaluation counts every image once, leaves the model as it was, and works as a command."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from conftest import ROOT, Program, assert_one_line_error
from mnist_cnn.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mnist_cnn.cnn_model import CNN, ModelConfig
from mnist_cnn.data_loader import DIGITS, Dataset
from mnist_cnn.evaluate import evaluate, infer

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
    assert json.loads((tmp_path / "out" / "saved_models" / "mine_on_digits.json").read_text())["count"] == 360

    three = CNN(dataclasses.replace(model.config, classes=3))
    other = dataclasses.replace(
        checkpoint, classes=("a", "b", "c"), model_config=three.config, state_dict=three.state_dict()
    )
    save_checkpoint(other, tmp_path / "three.pth")
    result = program("evaluate.py", "--checkpoint", "three.pth", "--dataset", "digits")
    assert_one_line_error(result, "three.pth tells 3 classes apart, digits has 10", "--dataset")
