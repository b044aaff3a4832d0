"""Every figure can be drawn from any result; whether it is worth looking at, people decide."""

import re
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from mnist_cnn import plots
from mnist_cnn.data_loader import GARMENTS, Dataset, Split
from mnist_cnn.metrics import Floats, score

RECORD = {"epoch": 1, "train_loss": 0.4, "val_loss": 0.2, "val_accuracy": 0.95}


def probabilities_with_errors(split: Split, errors: int) -> Floats:
    """Answer surely and rightly, but for the first `errors` images."""
    answers = split.labels.numpy().copy()
    answers[:errors] = (answers[:errors] + 1) % 10
    return np.asarray(np.eye(10)[answers] * 0.9 + 0.01, dtype=np.float64)


@pytest.mark.parametrize(("errors", "epochs"), [(0, 1), (1, 30), (7, 10), (60, 2), (360, 1)])
def test_all_figures_for_any_number_of_errors(tmp_path: Path, digits: Dataset, errors: int, epochs: int) -> None:
    probabilities = probabilities_with_errors(digits.test, errors)
    report = score(probabilities, digits.test.labels.numpy(), digits.classes)
    history = [RECORD | {"epoch": epoch + 1} for epoch in range(epochs)]
    plots.draw_all(tmp_path / "images", "model.pth", "mnist", digits, report, probabilities, history)
    files = sorted((tmp_path / "images").iterdir())
    assert len(files) == 6
    for file in files:
        pixels = matplotlib.image.imread(file)
        assert pixels.shape[0] > 200
        assert pixels.std() > 0.02, f"{file.name} is blank"
        assert file.stat().st_size < 1_000_000


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


def test_confusion_matrix_shows_counts_and_leaves_zeros_empty(digits: Dataset) -> None:
    report = score(probabilities_with_errors(digits.test, 3), digits.test.labels.numpy(), GARMENTS)
    figure = Figure()
    plots.confusion_matrix(figure, "title", report)
    counts = sorted(text.get_text() for text in figure.axes[0].texts)
    assert counts == sorted(str(n) for row in report.confusion_matrix for n in row if n)
    assert "3 errors in 360" in texts(figure)
    assert "Ankle boot" in texts(figure)


def test_misclassified_shows_true_predicted_and_probability_of_every_error(digits: Dataset) -> None:
    probabilities = probabilities_with_errors(digits.test, 12)
    figure = Figure()
    plots.misclassified(figure, "title", digits.test, probabilities, digits.classes)
    for index in range(12):
        label = int(digits.test.labels[index])
        assert f"{label} > {(label + 1) % 10}\n91.0%  #{index}" in texts(figure)
    assert "All 12 errors" in texts(figure)


def test_classes_without_images_are_no_hardest_class(digits: Dataset) -> None:
    split = digits.test[torch.isin(digits.test.labels, torch.tensor([1, 7]))]
    probabilities = probabilities_with_errors(split, 3)
    figure = Figure()
    plots.per_class_metrics(figure, "title", score(probabilities, split.labels.numpy(), digits.classes))
    names = [label.get_text()[:1] for label in figure.axes[0].get_yticklabels()]
    assert names == ["1", "7"]
    assert re.search("Hardest class: [17]", texts(figure))


def test_titles_name_the_data(tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []

    def keep_text(figure: Figure, path: Path, **_: Any) -> None:
        titles.append(texts(figure))
        path.touch()

    monkeypatch.setattr(Figure, "savefig", keep_text)
    probabilities = probabilities_with_errors(digits.test, 2)
    report = score(probabilities, digits.test.labels.numpy(), digits.classes)
    plots.draw_all(tmp_path, "model.pth", "digits", digits, report, probabilities, [RECORD])
    assert len(titles) == 6
    assert all("digits" in title for title in titles)


def test_a_mid_scale_score_and_a_near_perfect_one_stand_apart(digits: Dataset) -> None:
    labels = np.repeat(np.arange(10), 1000)
    answers = labels.copy()
    answers[:10] = 1  # class 0: recall 0.99
    answers[1000:1001] = 0  # class 1: recall 0.999
    report = score(np.asarray(np.eye(10)[answers], dtype=np.float64), labels, digits.classes)
    figure = Figure(figsize=(7, 5))
    plots.per_class_metrics(figure, "title", report)
    axes = figure.axes[0]
    place = [axes.transData.transform((1 - value, 0))[0] for value in (0.99, 0.999)]
    assert place[1] - place[0] > 0.2 * axes.bbox.width
