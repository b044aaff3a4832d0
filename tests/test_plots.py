"""Every figure can be drawn from any result."""

import dataclasses
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from mnist_cnn import plots
from mnist_cnn.data_loader import GARMENTS
from mnist_cnn.metrics import Floats, score
from mnist_cnn.splits import Dataset, Split

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


def test_errors_are_in_the_order_of_the_probability_that_is_printed(digits: Dataset) -> None:
    few = digits.test[torch.arange(60)]
    sure = np.random.default_rng(0).uniform(0.4, 0.99, len(few))
    probabilities = np.zeros((len(few), 10))
    for index, label in enumerate(few.labels.tolist()):
        probabilities[index] = (1 - sure[index]) / 9
        probabilities[index, (label + 1) % 10] = sure[index]
    figure = Figure()
    plots.misclassified(figure, "title", few, probabilities, digits.classes)
    printed = [float(share) for share in re.findall(r"\n([\d.]+)%  #", texts(figure))]
    assert printed == sorted(printed, reverse=True)
    assert printed == [round(100 * share, 1) for share in sorted(sure, reverse=True)[:50]]
    assert "The 50 surest of 60 errors, the surest first" in texts(figure)


def test_the_first_epoch_does_not_squeeze_the_others() -> None:
    losses = [1.2, 0.06, 0.04, 0.035, 0.03]
    history = [
        {"epoch": epoch, "train_loss": loss, "val_loss": loss / 2, "val_accuracy": 0.99}
        for epoch, loss in enumerate(losses, start=1)
    ]
    figure = Figure()
    plots.loss_vs_epoch(figure, "title", history)
    axes = figure.axes[0]
    heights = axes.transAxes.inverted().transform([axes.transData.transform((1, loss)) for loss in losses])[:, 1]
    assert heights[0] - heights[1] < 0.7, "on a linear axis it takes 96 %"
    assert 0 < heights.min() < heights.max() < 1
    low, high = axes.get_ylim()
    assert len([tick for tick in axes.get_yticks() if low <= tick <= high]) >= 4


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


def drawn(digits: Dataset, errors: int, epochs: int, classes: Sequence[str], folder: Path) -> dict[str, Figure]:
    """Draw all figures; return them by the name of their file."""
    figures: dict[str, Figure] = {}

    @contextmanager
    def keep(path: Path, size: tuple[float, float]) -> Iterator[Figure]:
        with saved(path, size) as figure:
            yield figure
        figures[path.stem] = figure

    probabilities = probabilities_with_errors(digits.test, errors)
    report = score(probabilities, digits.test.labels.numpy(), tuple(classes))
    history = [RECORD | {"epoch": epoch + 1} for epoch in range(epochs)]
    saved = plots.saved
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "saved", keep)
        dataset = dataclasses.replace(digits, classes=tuple(classes), name="my$set$of pictures")
        plots.draw_all(folder, f"{'long_name_' * 9}.pth", "mnist", dataset, report, probabilities, history)
    return figures


STRANGE = ("$x^$", "\u4e2d\u6587", "a\x1b[31m", "T-shirt/top and a good deal more", *"456789")


@pytest.mark.parametrize("errors", [0, 1, 60])
def test_titles_fit_into_the_figure_and_names_are_no_formulas(digits: Dataset, tmp_path: Path, errors: int) -> None:
    for name, figure in drawn(digits, errors, 2, STRANGE, tmp_path).items():
        canvas = FigureCanvasAgg(figure)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of glyphs, which draw_all kept quiet
            canvas.draw()
        titles = [text for text in figure.findobj(Text) if isinstance(text, Text) and "long" in text.get_text()]
        assert titles or name == "sample_digits"
        for title in titles:
            assert title.get_window_extent(canvas.get_renderer()).x1 <= figure.bbox.x1, f"{name}: {title.get_text()}"
            assert not any("\x1b" in text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


def test_one_epoch_and_one_error_are_singular_and_none_has_no_worst(digits: Dataset, tmp_path: Path) -> None:
    one = {name: texts(figure) for name, figure in drawn(digits, 1, 1, digits.classes, tmp_path).items()}
    assert "after 1 epoch" in one["loss_vs_epoch"]
    assert "1 error in 360" in one["confusion_matrix"]
    assert "The only error: true" in one["misclassified"]
    none = {name: texts(figure) for name, figure in drawn(digits, 0, 2, digits.classes, tmp_path).items()}
    assert "No errors" in none["misclassified"]
    assert "surest" not in none["misclassified"]
    assert "Hardest" not in none["per_class_metrics"]


def test_a_single_epoch_is_the_only_tick(digits: Dataset, tmp_path: Path) -> None:
    axes = drawn(digits, 1, 1, digits.classes, tmp_path)["loss_vs_epoch"].axes[0]
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


def test_the_two_losses_are_not_offered_as_a_gap(digits: Dataset, tmp_path: Path) -> None:
    """One is of distorted images while the weights change, the other of images as they are."""
    said = texts(drawn(digits, 1, 3, digits.classes, tmp_path)["loss_vs_epoch"])
    assert "not to be compared" in said
    assert "distorted" in said
