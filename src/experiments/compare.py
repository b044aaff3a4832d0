"""Compares finished trainings, or studies over seeds: the settings that differ, the results, a test, a picture."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.names import printable
from mnist_cnn.evaluate import IMAGES
from mnist_cnn.experiments.compare_figure import save_figure
from mnist_cnn.experiments.run_report import Run, find_report, read_run, titles
from mnist_cnn.experiments.significance import Difference, mcnemar, welch
from mnist_cnn.experiments.study_report import SUFFIX, Study, read_study

MISSING = "-"
SIGNIFICANT = 0.05


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


def read_all(paths: Sequence[Path]) -> Sequence[Run] | Sequence[Study]:
    """Read the runs, or the studies, that paths name.

    Raises:
        InputError: one cannot be read, comes twice, or some are runs and some are studies.
    """
    of_studies = [path.suffix == SUFFIX for path in paths]
    if any(of_studies) and not all(of_studies):
        raise InputError(f"some are studies ({SUFFIX}) and some are single runs; compare one kind with its own")
    files = list(paths) if all(of_studies) and paths else [find_report(path) for path in paths]
    check_distinct(files)
    named = list(zip(files, titles(files), strict=True))
    if all(of_studies):
        return [read_study(file, title) for file, title in named]
    return [read_run(file, title) for file, title in named]


def as_text(compared: Sequence[Run] | Sequence[Study]) -> str:
    """Format the comparison for a terminal."""
    names = [printable(one.title) for one in compared]
    differing = {
        name: values
        for name, values in rows([one.settings for one in compared]).items()
        if any(value != values[0] for value in values)
    }
    lines = table("settings that differ", names, differing) if differing else ["no setting differs"]
    results = table("results", names, rows([one.results for one in compared]))
    return "\n".join([*lines, "", *results, *(verdict(*compared) if len(compared) == 2 else [])])


def rows(columns: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Transpose columns into rows, in the order in which the names first appear."""
    names = dict.fromkeys(name for column in columns for name in column)
    return {name: [column.get(name, MISSING) for column in columns] for name in names}


def table(corner: str, head: Sequence[str], body: dict[str, list[Any]]) -> list[str]:
    """Align rows in columns, one column per run or study."""
    lines = [[corner, *head], *([name, *map(formatted, values)] for name, values in body.items())]
    first, *others = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        f"{name:<{first}}" + "".join(f"{value:>{width + 3}}" for value, width in zip(values, others, strict=True))
        for name, *values in lines
    ]


def formatted(value: object) -> str:
    """Format the value of a setting or a result."""
    return printable(str(round(value, 6) if isinstance(value, float) else value))


def verdict(first: Run | Study, second: Run | Study) -> list[str]:
    """Tell how two runs or studies differ on the same test images, and whether more than by chance; else nothing."""
    if any(first.results[name] != second.results[name] for name in ("evaluated on", "images")):
        return []
    difference = tested(first, second)
    if isinstance(difference, str):
        return ["", f"no test: {difference}"]
    assert first.count
    low, high = (100 * bound for bound in difference.interval)
    images, sign = difference.mean * first.count, 1 if difference.mean >= 0 else -1
    fewest, most = sorted(sign * first.count * bound for bound in difference.interval)
    points = f"{100 * difference.mean:+.3f} points of accuracy for {printable(second.title)}"
    chance = "significant at 5 %" if difference.p < SIGNIFICANT else "it may be chance"
    effect = f"{abs(images):.1f} of {first.count:,} images {'fewer' if sign > 0 else 'more'} misclassified"
    return [
        "",
        f"difference: {points} (95 % interval {low:+.3f} to {high:+.3f})",
        f"p-value: {difference.p:.2g}, {chance} ({difference.test})",
        f"effect: {effect} (95 % interval {fewest:.1f} to {most:.1f})",
    ]


def tested(first: Run | Study, second: Run | Study) -> Difference | str:
    """Test the difference in accuracy, over seeds or paired over images; return why not where that cannot be."""
    if isinstance(first, Study) and isinstance(second, Study):
        if not first.count:
            return "the number of test images is not in the rows"
        if len(first.accuracies) == len(second.accuracies) == 1:
            return mcnemar(first.misclassified[0], second.misclassified[0], first.count)
        alike = "both studies need two seeds or more, and one of them seeds that do not all score the same"
        return welch(first.accuracies, second.accuracies) or alike
    assert isinstance(first, Run)
    assert isinstance(second, Run)
    if first.misclassified is None or second.misclassified is None:
        old = first if first.misclassified is None else second
        return f"the report of {printable(old.title)} does not list what it misclassifies; mnist-cnn evaluate does"
    return mcnemar(first.misclassified, second.misclassified, first.count)


def command(
    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN...", help_behavior_hint="")],
    output: Path = IMAGES / "compare.png",
) -> None:
    """Print trainings or studies side by side: settings that differ, results and, of two, whether they differ.

    Runs are tested image by image (McNemar's exact test), studies over their seeds (Welch's t-test).

    Args:
        runs: Two or more output folders of trainings, or reports, the .json files beside models; or two or more
            studies, the .jsonl files of mnist-cnn study.
        output: The figure, a .png: validation loss and error rate over epochs, or the test scores of each seed.
    """
    compared = read_all(runs)
    if output.suffix != ".png":
        raise InputError(f"--output is {output}; it must end in .png")
    drawn = [one for one in compared if isinstance(one, Study) or one.epochs]
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
