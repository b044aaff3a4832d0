"""Results become pictures: one style, titles that say the finding, colours that survive colour-blindness and print."""

import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from mnist_cnn.common.console import pluralize
from mnist_cnn.common.files import atomic_write
from mnist_cnn.common.names import printable
from mnist_cnn.data_loader import Dataset, Split
from mnist_cnn.metrics import Floats, Ints, Report, reliability, wilson_interval

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#999999"  # Okabe and Ito's colour-blind safe palette (2008)
STYLE = "mnist_cnn.plots"  # plots.mplstyle beside this file; plt.style.use takes the same name
MOST_ERRORS_SHOWN = 50
LETTERS, AXIS = 11.4, 5  # of a title: letters an inch, and letters whose place an axis and its name take
LONGEST_NAME, LONGEST_OF_PAIR = 16, 11  # letters of a class beside an axis, and above an image


def draw_all(
    folder: Path,
    model: str,
    trained_on: str,
    dataset: Dataset,
    report: Report,
    probabilities: Floats,
    history: Sequence[dict[str, float]],
) -> None:
    """Draw every figure of an evaluation on the test split into a folder; all name their data and the model.

    An average of networks has no history, and then no figure of it.
    """
    title = f"{dataset.name} test split, {model}"
    labels = dataset.test.labels.numpy()
    if history:
        with saved(folder / "loss_vs_epoch.png", (7, 4)) as figure:
            loss_vs_epoch(figure, f"{trained_on} train split, {model}", history)
    with saved(folder / "confusion_matrix.png", (7.5, 7)) as figure:
        confusion_matrix(figure, title, report)
    with saved(folder / "per_class_metrics.png", (7, 5)) as figure:
        per_class_metrics(figure, title, report)
    with saved(folder / "misclassified.png", (10, 7.5)) as figure:
        misclassified(figure, title, dataset.test, probabilities, dataset.classes)
    with saved(folder / "reliability_diagram.png", (7, 6)) as figure:
        reliability_diagram(figure, title, probabilities, labels, report)
    with saved(folder / "sample_digits.png", (7.5, 7.5)) as figure:
        sample_digits(figure, dataset)


@contextmanager
def saved(path: Path, size: tuple[float, float]) -> Iterator[Figure]:
    """Yield a figure of `size` inches in the project's style; afterwards write it whole to `path`."""
    with style.context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        with atomic_write(path) as temporary, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # a name in a script that the font lacks: it draws boxes
            figure.savefig(temporary, metadata={"Software": None})


def heading(figure: Figure, *lines: str, beside: int = 4) -> str:
    """Break lines so that they fit between what stands beside the axes, so many letters, and a figure's right edge."""
    width = int(LETTERS * figure.get_figwidth()) - beside - AXIS
    return "\n".join(textwrap.fill(plain(line), width) for line in lines)


def plain(name: str, letters: int | None = None) -> str:
    """Spell a name so that matplotlib shows it as it is: dollars would make it a formula. Cut what is too long."""
    name = printable(name)
    shown = name if letters is None or len(name) <= letters else f"{name[: letters - 1]}…"
    return shown.replace("$", r"\$")


def loss_vs_epoch(figure: Figure, title: str, history: Sequence[dict[str, float]]) -> None:
    """Draw the losses on train and validation images against epochs.

    The first is of images as a step learns from them, distorted, with the weights of that moment; the second is of
    images as they are, with the weights at the epoch's end. So the distance between the lines says nothing.
    """
    epochs = [int(record["epoch"]) for record in history]
    last = history[-1]
    axes = figure.subplots()
    for key, name, color, marker in (
        ("train_loss", "train, while learning, images as distorted", ORANGE, "s"),
        ("val_loss", "validation, after the epoch, images as they are", BLUE, "o"),
    ):
        losses = [record[key] for record in history]
        axes.plot(epochs, losses, color=color, marker=marker, markersize=4, label=name)
    after = f"after {pluralize(len(epochs), 'epoch')}"
    finding = f"Validation loss {last['val_loss']:.3f}, accuracy {last['val_accuracy']:.2%} {after}"
    axes.set_title(heading(figure, finding, title))
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean cross-entropy (nats)")
    axes.set_ylim(bottom=0)
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(title="measured differently, not to be compared", alignment="left")


def confusion_matrix(figure: Figure, title: str, report: Report) -> None:
    """Draw the counts: the diagonal quiet, zeros empty, errors coloured by how many there are."""
    names = [plain(score.name, LONGEST_NAME) for score in report.classes]
    counts = np.array(report.confusion_matrix)
    errors = counts.astype(float)
    np.fill_diagonal(errors, 0)
    axes = figure.subplots()
    axes.grid(visible=False)
    shown = np.ma.masked_equal(errors, 0)
    axes.imshow(shown, cmap="Oranges", norm=LogNorm(vmin=0.7, vmax=max(8.0, errors.max() * 4)))
    for row, column in np.argwhere(counts):
        right = row == column
        axes.text(
            column, row, f"{counts[row, column]:,}", ha="center", va="center",
            color=GREY if right else "black", weight="normal" if right else "bold",
        )  # fmt: skip
    true, predicted = np.unravel_index(errors.argmax(), errors.shape)
    finding = f"{pluralize(report.errors, 'error')} in {report.count:,}"
    if errors.any():
        pair = f"{report.classes[true].name} read as {report.classes[predicted].name}"
        finding += f"; most often {pair} ({int(errors.max())})"
    axes.set_title(heading(figure, finding, title, beside=max(map(len, names))))
    axes.set_xticks(range(len(names)), names, rotation=0 if max(map(len, names)) < 4 else 60)
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#e5e5e5")
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")


def per_class_metrics(figure: Figure, title: str, report: Report) -> None:
    """Draw precision, recall and F1, with 95 % Wilson intervals, on an axis where 0.99 and 0.999 differ.

    Classes without an image have no place there.
    """
    axes = figure.subplots()
    classes = [score for score in report.classes if score.support]
    there = [score.support > 0 for score in report.classes]
    scores = {
        "precision": ([score.precision for score in classes], ORANGE, "s", -0.2),
        "recall": ([score.recall for score in classes], BLUE, "o", 0.0),
        "F1": ([score.f1 for score in classes], "black", "D", 0.2),
    }
    counts = np.array(report.confusion_matrix)
    trials = {"precision": counts.sum(axis=0)[there], "recall": counts.sum(axis=1)[there]}
    closest = 10 ** np.floor(-np.log10(max(score.support for score in classes)))  # stands for a perfect score
    rows = np.arange(len(classes))
    for name, (values, color, marker, shift) in scores.items():
        distance = np.maximum(1 - np.array(values), closest)
        axes.scatter(distance, rows + shift, color=color, marker=marker, s=34, label=name, zorder=3)
        if name in trials:
            right_of = zip(counts.diagonal()[there], np.maximum(trials[name], 1), strict=True)
            bounds = [wilson_interval(int(right), int(of)) for right, of in right_of]
            far, near = (np.maximum(1 - np.array(ends), closest) for ends in zip(*bounds, strict=True))
            axes.hlines(rows + shift, near, far, color=color, alpha=0.4, linewidth=1.2)
    hardest = min(classes, key=lambda score: score.f1)
    alike = hardest.f1 == max(score.f1 for score in classes)
    finding = f"{'No class is harder' if alike else f'Hardest class: {hardest.name}'} (F1 {hardest.f1:.4f})"
    row_names = [f"{plain(score.name, LONGEST_NAME)}  (n={score.support:,})" for score in classes]
    axes.set_title(heading(figure, finding, title, beside=max(map(len, row_names))))
    axes.set_xscale("log")
    farthest = max(20 * closest, 3 * max(1 - min(values) for values, *_ in scores.values()))
    axes.set_xlim(farthest, closest / 1.4)
    steps = closest * np.array([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000])
    axes.set_xticks(steps[steps <= farthest], ["1", *(f"{1 - step:.4g}" for step in steps[1:][steps[1:] <= farthest])])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(rows, row_names)
    axes.invert_yaxis()
    axes.set_xlabel("score; each step to the right halves the distance from 1, or nearly")
    axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.12))


def misclassified(figure: Figure, title: str, split: Split, probabilities: Floats, classes: Sequence[str]) -> None:
    """Show every error, or the 50 whose true class was given the least probability, worst first."""
    labels = split.labels.numpy()
    predicted = probabilities.argmax(axis=1)
    of_true = probabilities[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(of_true[wrong], kind="stable")][:MOST_ERRORS_SHOWN]
    columns = 10
    rows = max(1, -(-len(worst) // columns))
    figure.set_size_inches(10, 0.8 + 1.25 * rows)
    figure.suptitle(heading(figure, errors_shown(len(worst), len(wrong)), title), x=0.01, ha="left")
    axes = figure.subplots()
    names = [plain(name, LONGEST_OF_PAIR) for name in classes]
    places = show_tiles(axes, split.images[worst, 0].numpy(), rows, columns, above=15)
    for index, (x, y) in zip(worst, places, strict=False):
        answer = predicted[index]
        axes.text(
            x, y, f"{names[labels[index]]} > {names[answer]}\n{probabilities[index, answer]:.1%}  #{index}",
            fontsize=8 if max(map(len, classes)) < 4 else 6, ha="center", va="bottom",
        )  # fmt: skip


def errors_shown(shown: int, all_of_them: int) -> str:
    """Say which errors a figure shows and how."""
    if not all_of_them:
        return "No errors"
    some = f"The {shown} worst of {all_of_them:,} errors" if shown < all_of_them else f"All {shown} errors"
    which = f"{some}, the worst first" if all_of_them > 1 else "The only error"
    return f"{which}: true > predicted, probability of the answer, index"


def show_image(axes: Axes, split: Split, index: int) -> None:
    """Show one image dark on light, as ink on paper."""
    axes.imshow(split.images[index, 0].numpy(), cmap="Greys", vmin=0, vmax=255)
    axes.axis("off")


def show_tiles(
    axes: Axes, images: npt.NDArray[np.uint8], rows: int, columns: int, above: int = 4
) -> list[tuple[float, float]]:
    """Show images dark on light, as ink on paper, side by side on one sheet, with `above` pixels free over each.

    Returns:
        The middle of each image's upper edge, as x and y.
    """
    side, gap = images.shape[1], 4
    sheet = np.zeros((rows, above + side, columns, side + gap), np.uint8)
    places = [divmod(number, columns) for number in range(rows * columns)]
    for image, (row, column) in zip(images, places, strict=False):
        sheet[row, above:, column, :side] = image
    axes.imshow(sheet.reshape(rows * (above + side), columns * (side + gap)), cmap="Greys", vmin=0, vmax=255)
    axes.axis("off")
    return [(column * (side + gap) + side / 2, row * (above + side) + above - 1) for row, column in places]


def reliability_diagram(figure: Figure, title: str, probabilities: Floats, labels: Ints, report: Report) -> None:
    """Draw accuracy against confidence, and below it how many answers have that confidence."""
    confidence, accuracy, count = reliability(probabilities, labels)
    used = count > 0
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfectly calibrated")
    bounds = [wilson_interval(round(a * n), int(n)) for a, n in zip(accuracy[used], count[used], strict=True)]
    reach = np.abs(np.array(bounds) - accuracy[used, None]).T
    upper.errorbar(
        confidence[used], accuracy[used], yerr=reach,
        color=BLUE, marker="o", linestyle="none", capsize=3, label="this model, with 95 % Wilson interval",
    )  # fmt: skip
    surer = float((confidence * count).sum() / count.sum()) - report.accuracy
    verdict = "more" if surer > 0 else "less"
    finding = f"On average {abs(surer):.2%} {verdict} sure than right; calibration error {report.calibration_error:.2%}"
    upper.set_title(heading(figure, finding, title))
    upper.set_ylabel("accuracy")
    upper.set_ylim(-0.02, 1.02)
    figure.legend(loc="outside lower center", ncols=2)
    bins = len(count)
    lower.bar((np.arange(bins) + 0.5) / bins, count, width=0.9 / bins, color=BLUE)
    lower.set_yscale("log")
    lower.set_ylabel("answers")
    lower.set_xlabel("probability of the answer")
    lower.set_xlim(0, 1)


def sample_digits(figure: Figure, dataset: Dataset, columns: int = 12) -> None:
    """Show the first training images of each class, a class a row."""
    figure.set_size_inches(7.5, 0.4 + 7.5 * len(dataset.classes) / columns)
    labels = dataset.train.labels.numpy()
    first = pluralize(min(columns, np.bincount(labels).max()), "training image")
    figure.suptitle(heading(figure, f"The first {first} of each class: {dataset.name}"), x=0.01, ha="left")
    images = np.zeros((len(dataset.classes), columns, *dataset.train.images.shape[2:]), np.uint8)
    for label, row in enumerate(images):
        found = dataset.train.images[np.flatnonzero(labels == label)[:columns], 0].numpy()
        row[: len(found)] = found
    show_tiles(figure.subplots(), images.reshape(-1, *images.shape[2:]), len(images), columns)
