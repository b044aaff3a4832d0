"""Figures of results: one style, titles that state the finding, colours safe for colour-blindness and print."""

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
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from mnist_cnn.common.console import pluralize
from mnist_cnn.common.files import atomic_write
from mnist_cnn.common.names import printable
from mnist_cnn.metrics import Floats, Ints, Report, reliability, wilson_interval
from mnist_cnn.splits import Dataset, Split

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#999999"  # Okabe and Ito's colour-blind safe palette (2008)
STYLE = "mnist_cnn.plots"  # plots.mplstyle beside this file; plt.style.use takes the same name
MAX_ERRORS = 50  # shown
TITLE_DENSITY, AXIS_WIDTH = 11.4, 5  # characters per inch of a title, and characters that an axis with its label takes
MAX_TICK_LABEL, MAX_TILE_LABEL = 16, 11  # characters of a class name beside an axis, and above an image


def draw_all(
    folder: Path,
    model: str,
    trained_on: str,
    dataset: Dataset,
    report: Report,
    probabilities: Floats,
    history: Sequence[dict[str, float]],
) -> None:
    """Draw every figure of an evaluation on the test split into a folder; each names its data and the model.

    An ensemble has no history, and no figure of it.
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
    """Yield a figure of `size` inches in the project's style, then write it atomically to `path`."""
    with style.context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        with atomic_write(path) as temporary, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # missing from the font: drawn as boxes
            figure.savefig(temporary, metadata={"Software": None})


def title_text(figure: Figure, *lines: str, tick_label: int = 4) -> str:
    """Wrap a title's lines to the width of the axes, left of which tick labels have so many characters."""
    width = int(TITLE_DENSITY * figure.get_figwidth()) - tick_label - AXIS_WIDTH
    return "\n".join(textwrap.fill(plain(line), width) for line in lines)


def plain(name: str, limit: int | None = None) -> str:
    """Truncate a name and escape its dollars, which start a formula in matplotlib."""
    name = printable(name)
    short = name if limit is None or len(name) <= limit else f"{name[: limit - 1]}…"
    return short.replace("$", r"\$")


def loss_vs_epoch(figure: Figure, title: str, history: Sequence[dict[str, float]]) -> None:
    """Plot training and validation loss by epoch; the axis is logarithmic, so that the first does not squeeze the rest.

    Their difference is no generalization gap: the training loss is of augmented images under the weights of each step,
    the validation loss of unchanged images under the weights at the end of the epoch.
    """
    epochs, last, axes = [int(record["epoch"]) for record in history], history[-1], figure.subplots()
    for key, name, color, marker in (
        ("train_loss", "train, while learning, images as distorted", ORANGE, "s"),
        ("val_loss", "validation, after the epoch, images as they are", BLUE, "o"),
    ):
        losses = [record[key] for record in history]
        axes.plot(epochs, losses, color=color, marker=marker, markersize=4, label=name)
    after = f"after {pluralize(len(epochs), 'epoch')}"
    finding = f"Validation loss {last['val_loss']:.3f}, accuracy {last['val_accuracy']:.2%} {after}"
    axes.set(title=title_text(figure, finding, title), xlabel="epoch", ylabel="mean cross-entropy (nats)")
    axes.set(xlim=(epochs[0] - 0.5, epochs[-1] + 0.5), yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(title="measured differently, not to be compared", alignment="left")


def confusion_matrix(figure: Figure, title: str, report: Report) -> None:
    """Draw the counts: the diagonal grey, zeros empty, errors coloured by their number."""
    names = [plain(score.name, MAX_TICK_LABEL) for score in report.classes]
    longest = max(map(len, names))
    counts = np.array(report.confusion_matrix)
    errors = counts.astype(float)
    np.fill_diagonal(errors, 0)
    axes = figure.subplots()
    axes.grid(visible=False)
    norm = LogNorm(vmin=0.7, vmax=max(8.0, errors.max() * 4))
    axes.imshow(np.ma.masked_equal(errors, 0), cmap="Oranges", norm=norm)
    for row, column in np.argwhere(counts):
        color, weight = (GREY, "normal") if row == column else ("black", "bold")
        axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=color, weight=weight)
    true, predicted = np.unravel_index(errors.argmax(), errors.shape)
    finding = f"{pluralize(report.errors, 'error')} in {report.count:,}"
    if errors.any():
        pair = f"{report.classes[true].name} read as {report.classes[predicted].name}"
        finding += f"; most often {pair} ({int(errors.max())})"
    axes.set_title(title_text(figure, finding, title, tick_label=longest))
    axes.set_xticks(range(len(names)), names, rotation=0 if longest < 4 else 60)
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#e5e5e5")
    axes.tick_params(which="both", length=0)
    axes.set(xlabel="predicted class", ylabel="true class")


def per_class_metrics(figure: Figure, title: str, report: Report) -> None:
    """Plot precision, recall and F1 with 95 % Wilson intervals on a logarithmic axis of the distance from 1.

    Classes without images are left out.
    """
    axes = figure.subplots()
    counts = np.array(report.confusion_matrix)
    classes = [score for score in report.classes if score.support]
    present = [score.support > 0 for score in report.classes]
    closest = 10 ** np.floor(-np.log10(max(score.support for score in classes)))  # stands for a perfect score
    rows = np.arange(len(classes))
    for name, trials, color, marker, shift in (
        ("precision", counts.sum(axis=0), ORANGE, "s", -0.2),
        ("recall", counts.sum(axis=1), BLUE, "o", 0.0),
        ("F1", None, "black", "D", 0.2),
    ):
        distance = np.maximum([1 - getattr(score, name.lower()) for score in classes], closest)
        axes.scatter(distance, rows + shift, color=color, marker=marker, s=34, label=name, zorder=3)
        if trials is not None:
            proportions = zip(counts.diagonal()[present], np.maximum(trials[present], 1), strict=True)
            intervals = np.array([wilson_interval(int(correct), int(total)) for correct, total in proportions])
            far, near = np.maximum(1 - intervals.T, closest)
            axes.hlines(rows + shift, near, far, color=color, alpha=0.4, linewidth=1.2)
    hardest = min(classes, key=lambda score: score.f1)
    equal = hardest.f1 == max(score.f1 for score in classes)
    finding = f"{'No class is harder' if equal else f'Hardest class: {hardest.name}'} (F1 {hardest.f1:.4f})"
    row_names = [f"{plain(score.name, MAX_TICK_LABEL)}  (n={score.support:,})" for score in classes]
    axes.set_title(title_text(figure, finding, title, tick_label=max(map(len, row_names))))
    axes.set_xscale("log")
    lowest = min(min(score.precision, score.recall, score.f1) for score in classes)
    farthest = max(20 * closest, 3 * (1 - lowest))
    axes.set_xlim(farthest, closest / 1.4)
    steps = closest * np.array([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000])
    axes.set_xticks(steps[steps <= farthest], ["1", *(f"{1 - step:.4g}" for step in steps[1:][steps[1:] <= farthest])])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(rows, row_names)
    axes.invert_yaxis()
    axes.set_xlabel("score; each step to the right halves the distance from 1, or nearly")
    axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.12))


def misclassified(figure: Figure, title: str, split: Split, probabilities: Floats, classes: Sequence[str]) -> None:
    """Show every error, or the 50 with the highest probability of the wrong answer, highest first."""
    labels = split.labels.numpy()
    predicted, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:MAX_ERRORS]
    columns = 10
    rows = max(1, -(-len(worst) // columns))
    figure.set_size_inches(10, 0.8 + 1.25 * rows)
    figure.suptitle(title_text(figure, errors_shown(len(worst), len(wrong)), title), x=0.01, ha="left")
    axes = figure.subplots()
    names = [plain(name, MAX_TILE_LABEL) for name in classes]
    places = show_tiles(axes, split.images[worst, 0].numpy(), rows, columns, above=15)
    fontsize = 8 if max(map(len, classes)) < 4 else 6
    for index, (x, y) in zip(worst, places, strict=False):
        answer = predicted[index]
        text = f"{names[labels[index]]} > {names[answer]}\n{probabilities[index, answer]:.1%}  #{index}"
        axes.text(x, y, text, fontsize=fontsize, ha="center", va="bottom")


def errors_shown(shown: int, all_of_them: int) -> str:
    """Describe which errors a figure shows, and their captions."""
    if not all_of_them:
        return "No errors"
    some = f"The {shown} surest of {all_of_them:,} errors" if shown < all_of_them else f"All {shown} errors"
    which = f"{some}, the surest first" if all_of_them > 1 else "The only error"
    return f"{which}: true > predicted, probability of the answer, index"


def show_image(axes: Axes, split: Split, index: int) -> None:
    """Show an image with inverted greys, as ink on paper."""
    axes.imshow(split.images[index, 0].numpy(), cmap="Greys", vmin=0, vmax=255)
    axes.axis("off")


def show_tiles(
    axes: Axes, images: npt.NDArray[np.uint8], rows: int, columns: int, above: int = 4
) -> list[tuple[float, float]]:
    """Show images [N, H, H] in a grid with inverted greys, with `above` empty pixels over each.

    Returns:
        The centre of each image's upper edge, as x and y.
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
    """Plot accuracy against confidence (reliability diagram), and below it the histogram of confidence."""
    confidence, accuracy, count = reliability(probabilities, labels)
    used = count > 0  # bins
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfectly calibrated")
    intervals = [wilson_interval(round(a * n), int(n)) for a, n in zip(accuracy[used], count[used], strict=True)]
    errors = np.abs(np.array(intervals) - accuracy[used, None]).T
    label = "this model, with 95 % Wilson interval"
    upper.errorbar(confidence[used], accuracy[used], errors, color=BLUE, fmt="o", capsize=3, label=label)
    bias = float((confidence * count).sum() / count.sum()) - report.accuracy
    verdict = "more" if bias > 0 else "less"
    finding = f"On average {abs(bias):.2%} {verdict} sure than right; calibration error {report.calibration_error:.2%}"
    upper.set(title=title_text(figure, finding, title), ylabel="accuracy", ylim=(-0.02, 1.02))
    figure.legend(loc="outside lower center", ncols=2)
    bins = len(count)
    lower.bar((np.arange(bins) + 0.5) / bins, count, width=0.9 / bins, color=BLUE)
    lower.set(yscale="log", ylabel="answers", xlabel="probability of the answer", xlim=(0, 1))


def sample_digits(figure: Figure, dataset: Dataset, columns: int = 12) -> None:
    """Show the first training images of each class, one class per row."""
    figure.set_size_inches(7.5, 0.4 + 7.5 * len(dataset.classes) / columns)
    labels = dataset.train.labels.numpy()
    first = pluralize(min(columns, np.bincount(labels).max()), "training image")
    figure.suptitle(title_text(figure, f"The first {first} of each class: {dataset.name}"), x=0.01, ha="left")
    images = np.zeros((len(dataset.classes), columns, *dataset.train.images.shape[2:]), np.uint8)
    for label, row in enumerate(images):
        found = dataset.train.images[np.flatnonzero(labels == label)[:columns], 0].numpy()
        row[: len(found)] = found
    show_tiles(figure.subplots(), images.reshape(-1, *images.shape[2:]), len(images), columns)
