"""Figures of a comparison: learning curves over epochs, or one point per training where there is no curve."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from mnist_cnn import plots
from mnist_cnn.common.errors import InputError
from mnist_cnn.experiments.run_report import Run
from mnist_cnn.experiments.significance import mean_interval
from mnist_cnn.experiments.study_report import Study

MARKERS = "os^Dv<>P"
LINE_STYLES = ("-", "--")  # the second after all colours are used
TITLE_WIDTH, LEGEND_WIDTH, ROW_WIDTH = 52, 104, 24  # characters
POINTS_TITLE_WIDTH = TITLE_WIDTH - ROW_WIDTH // 2  # as the names of the rows stand left of the axes


def save_figure(compared: Sequence[Run | Study], path: Path) -> None:
    """Save the figure.

    Raises:
        InputError: it cannot be written.
    """
    try:
        with plots.saved(path, (10, 4.5)) as figure:
            draw(figure, compared)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; name another picture with --output") from None


def draw(figure: Figure, compared: Sequence[Run | Study]) -> None:
    """Draw runs as curves of the validation split or, of one epoch each, as points; studies as a point per seed."""
    runs = [run for run in compared if isinstance(run, Run)]
    studies = [study for study in compared if isinstance(study, Study)]
    if studies:
        errors = [[1 - accuracy for accuracy in study.accuracies] for study in studies]
        draw_points(figure, "test", studies, [study.losses for study in studies], errors)
    elif max(run.epochs[-1] for run in runs) == 1:
        losses = [run.val_loss for run in runs]
        draw_points(figure, "validation", runs, losses, [run.val_errors for run in runs])
    else:
        draw_runs(figure, runs)


def draw_runs(figure: Figure, runs: Sequence[Run]) -> None:
    """Draw loss and error rate on the validation split over epochs, one line per run."""
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.06})
    draw_curves(left, runs, [run.val_loss for run in runs])
    left.set_title(headline("Lowest loss at the end, {:.4f}", runs, [run.val_loss[-1] for run in runs]))
    left.set_ylabel("validation loss (nats)")
    left.yaxis.set_major_formatter("{x:.4g}")
    draw_curves(right, runs, [run.val_errors for run in runs])
    right.set_title(headline("Fewest errors at the end, {:.2%}", runs, [run.val_errors[-1] for run in runs]))
    right.set_ylabel("validation error rate (%)")
    right.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g}")
    names = [plots.plain(f"{run.dataset}, {run.title}") for run in runs]
    columns = max(1, LEGEND_WIDTH // (max(map(len, names)) + 8))
    figure.legend(left.lines, names, loc="outside lower center", ncols=columns)


def draw_curves(axes: Axes, runs: Sequence[Run], curves: Sequence[Sequence[float]]) -> None:
    """Draw one value per epoch for each run, on a logarithmic axis unless a value is 0."""
    for number, (run, curve) in enumerate(zip(runs, curves, strict=True)):
        line_style = LINE_STYLES[number // len(rcParams["axes.prop_cycle"]) % len(LINE_STYLES)]
        axes.plot(run.epochs, curve, line_style, marker=MARKERS[number % len(MARKERS)], markersize=4)
    axes.set_xlabel("epoch")
    axes.set_xlim(0.5, max(run.epochs[-1] for run in runs) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if min(map(min, curves)) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.yaxis.set_minor_locator(NullLocator())


def draw_points(
    figure: Figure,
    split: str,
    compared: Sequence[Run | Study],
    losses: Sequence[Sequence[float]],
    errors: Sequence[Sequence[float]],
) -> None:
    """Draw the loss and the error rate of each training as a point, a row per run or study.

    Several points of a row get their mean and its 95 % interval (Student's t).
    """
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.06})
    means = [float(np.mean(row)) for row in losses]
    draw_rows(left, losses)
    left.set_title(headline("Lowest mean loss, {:.4f}", compared, means, POINTS_TITLE_WIDTH))
    left.set_xlabel(f"{split} loss (nats)")
    left.xaxis.set_major_formatter("{x:.4g}")
    means = [float(np.mean(row)) for row in errors]
    draw_rows(right, errors)
    right.set_title(headline("Fewest errors on average, {:.2%}", compared, means, POINTS_TITLE_WIDTH))
    right.set_xlabel(f"{split} error rate (%)")
    right.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g}")
    names = [textwrap.fill(plots.plain(f"{one.dataset}, {one.title}"), ROW_WIDTH) for one in compared]
    left.set_yticks(range(len(names)), names)
    left.set_ylim(len(names) - 0.4, -0.6)
    if max(map(len, losses)) > 1:
        figure.supxlabel("a circle per seed; bar: mean and its 95 % interval", fontsize=9)


def draw_rows(axes: Axes, rows: Sequence[Sequence[float]]) -> None:
    """Draw a row of points per sequence of values, and below several their mean and its interval."""
    for number, values in enumerate(rows):
        several = len(values) > 1
        line = axes.plot(values, [number] * len(values), "o", alpha=0.7, fillstyle="none" if several else "full")
        if several:
            low, high = mean_interval(values)
            mean = float(np.mean(values))
            spread = [[mean - low], [high - mean]]
            axes.errorbar([mean], [number + 0.2], xerr=spread, fmt="|", capsize=3, color=line[0].get_color())
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.margins(x=0.1)


def headline(template: str, compared: Sequence[Run | Study], values: Sequence[float], width: int = TITLE_WIDTH) -> str:
    """Name the run or study with the lowest value, or count them on a tie; wrapped to `width` characters."""
    best = [one.title for one, value in zip(compared, values, strict=True) if value == min(values)]
    winner = best[0] if len(best) == 1 else f"{len(best)} runs"
    return textwrap.fill(plots.plain(f"{template.format(min(values))}: {winner}"), width)
