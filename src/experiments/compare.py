"""Compares finished trainings: the settings that differ, the results, and the learning curves."""

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from tyro.conf import Positional, arg

from mnist_cnn import plots
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.names import printable
from mnist_cnn.evaluate import IMAGES
from mnist_cnn.experiments.run_report import Run, find_report, read_run, titles

MISSING = "-"
MARKERS = "os^Dv<>P"
LINE_STYLES = ("-", "--")  # the second after all colours are used
TITLE_WIDTH, LEGEND_WIDTH = 52, 104  # characters


def check_distinct(reports: Sequence[Path]) -> None:
    """Check that there are two or more distinct runs.

    Raises:
        InputError: there is only one, or one is repeated.
    """
    if len(reports) < 2:
        raise InputError("nothing to compare with; name two runs or more, each by its --output-dir or its report")
    files = [report.resolve() for report in reports]
    for report, file in zip(reports, files, strict=True):
        if files.count(file) > 1:
            raise InputError(f"{report} comes twice; name each run once")


def as_text(runs: Sequence[Run]) -> str:
    """Format the comparison for a terminal."""
    names = [printable(run.title) for run in runs]
    differing = {
        name: values
        for name, values in rows([run.settings for run in runs]).items()
        if any(value != values[0] for value in values)
    }
    lines = table("settings that differ", names, differing) if differing else ["no setting differs"]
    return "\n".join([*lines, "", *table("results", names, rows([run.results for run in runs])), *verdict(runs)])


def rows(columns: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Transpose columns into rows, in the order in which the names first appear."""
    names = dict.fromkeys(name for column in columns for name in column)
    return {name: [column.get(name, MISSING) for column in columns] for name in names}


def table(corner: str, head: Sequence[str], body: dict[str, list[Any]]) -> list[str]:
    """Align rows in columns, one column per run."""
    lines = [[corner, *head], *([name, *map(formatted, values)] for name, values in body.items())]
    first, *others = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        f"{name:<{first}}" + "".join(f"{value:>{width + 3}}" for value, width in zip(values, others, strict=True))
        for name, *values in lines
    ]


def formatted(value: object) -> str:
    """Format the value of a setting or a result."""
    return printable(str(round(value, 6) if isinstance(value, float) else value))


def verdict(runs: Sequence[Run]) -> list[str]:
    """State whether the intervals of two runs on one test split overlap; empty for other runs."""
    if len(runs) > 2 or any(runs[0].results[name] != runs[1].results[name] for name in ("evaluated on", "images")):
        return []
    worse, better = sorted(runs, key=lambda run: run.interval)
    if worse.interval[1] < better.interval[0]:
        name = printable(better.title)
        return ["", f"the 95 % intervals do not overlap: {name} is significantly better"]
    return ["", "the 95 % intervals overlap: the difference may be chance"]


def draw(figure: Figure, runs: Sequence[Run]) -> None:
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


def headline(template: str, runs: Sequence[Run], last: Sequence[float]) -> str:
    """Name the run with the lowest last value, or count them on a tie."""
    best = [run.title for run, value in zip(runs, last, strict=True) if value == min(last)]
    winner = best[0] if len(best) == 1 else f"{len(best)} runs"
    return textwrap.fill(plots.plain(f"{template.format(min(last))}: {winner}"), TITLE_WIDTH)


def save_figure(runs: Sequence[Run], path: Path) -> None:
    """Save the figure.

    Raises:
        InputError: it cannot be written.
    """
    try:
        with plots.saved(path, (10, 4.5)) as figure:
            draw(figure, runs)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; name another picture with --output") from None


def command(
    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN...", help_behavior_hint="")],
    output: Path = IMAGES / "compare.png",
) -> None:
    """Print finished trainings side by side, settings that differ and results; draw their learning curves.

    Args:
        runs: Two or more output folders of trainings, or reports, the .json files beside models.
        output: The figure of validation loss and error rate over epochs, a .png.
    """
    reports = [find_report(run) for run in runs]
    check_distinct(reports)
    if output.suffix != ".png":
        raise InputError(f"--output is {output}; it must end in .png")
    compared = [read_run(report, title) for report, title in zip(reports, titles(reports), strict=True)]
    drawn = [run for run in compared if run.epochs]
    if drawn:
        save_figure(drawn, output)
    print(as_text(compared))
    print(f"\nfigure: {printable(str(output))}" if drawn else "\nno figure: none of them has a history")


def main(argv: Sequence[str] | None = None, prog: str = "compare.py") -> None:
    """Run the command line."""
    with exit_codes():
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
