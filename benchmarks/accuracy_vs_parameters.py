"""What a parameter buys: networks of many sizes, one recipe, several seeds each."""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from matplotlib.ticker import StrMethodFormatter
from tqdm import tqdm

from mnist_cnn.cnn_model import ModelConfig
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.experiments.study import Row, read_rows, run_seed, write_rows
from mnist_cnn.plots import BLUE, ORANGE, saved
from mnist_cnn.training.config import PRESETS

SHAPES = (
    ((4,), (4,), (4,)),
    ((8,), (8,), (8,)),
    ((16,), (16,), (32,)),
    ((16,), (32,), (64,)),
    ((16, 32), (64, 64), (128,)),
    ((16, 32), (64, 64), (128,), (256,)),
    ((16, 32), (64, 64), (128,), (256, 256)),
)
NETWORKS = {"-".join(",".join(map(str, stage)) for stage in stages): ModelConfig(stages=stages) for stages in SHAPES}


def statistics_of(rows: Sequence[Row]) -> list[tuple[str, int, list[float]]]:
    """Gather, for each network measured, its name, parameters and accuracies in percent."""
    return [
        (name, own[0]["parameters"], [100 * row["accuracy"] for row in own])
        for name in NETWORKS
        if (own := [row for row in rows if row["network"] == name])
    ]


def table(rows: Sequence[Row]) -> str:
    """Lay out mean, standard deviation and extremes of each network."""
    lines = [
        "| channels | parameters | n | accuracy % | min to max |",
        "|---|---|---|---|---|",
    ]
    for name, parameters, accuracy in statistics_of(rows):
        spread = f" ± {statistics.stdev(accuracy):.3f}" if len(accuracy) > 1 else ""
        lines.append(
            f"| {name} | {parameters:,} | {len(accuracy)} | {statistics.mean(accuracy):.3f}{spread} | "
            f"{min(accuracy):.2f} to {max(accuracy):.2f} |"
        )
    recipe = rows[0]["recipe"]
    lines += ["", f"Recipe `default`, {recipe['epochs']} epochs, {rows[0]['dataset']}, {rows[0]['hardware']}."]
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[Row], studies: Sequence[list[Row]], path: Path) -> None:
    """Draw mean and standard deviation of the error against parameters; studies are of presets' own recipes."""
    one_recipe = [(f"{parameters:,}", parameters, accuracy, BLUE) for _, parameters, accuracy in statistics_of(rows)]
    own_recipes = [
        (own[0]["recipe"]["preset"], own[0]["parameters"], [100 * row["accuracy"] for row in own], ORANGE)
        for own in studies
    ]
    with saved(path, (8, 5)) as figure:
        axes = figure.subplots()
        for name, parameters, accuracy, color in (*one_recipe, *own_recipes):
            spread = statistics.stdev(accuracy) if len(accuracy) > 1 else 0
            error = 100 - statistics.mean(accuracy)
            axes.errorbar(parameters, error, spread, fmt="o", color=color, capsize=4)
            offset, side = ((7, 6), "left") if color == BLUE else ((-7, -4), "right")
            axes.annotate(
                name, (parameters, error), offset, textcoords="offset points", ha=side, color=color, size="small"
            )
        axes.set(xscale="log", yscale="log", xlabel="parameters (log)", ylabel="test error (%, log)")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
        axes.margins(x=0.15, y=0.12)
        title = f"Mean and standard deviation over seeds, {rows[0]['dataset']} test split"
        axes.set_title(
            f"{title}\nblue: one recipe, {rows[0]['recipe']['epochs']} epochs; orange: presets, each with its own"
        )


def command(
    seeds: int = 5,
    epochs: int = 10,
    only: tuple[str, ...] = tuple(NETWORKS),
    dataset: str = "mnist",
    data_dir: Path | None = None,
    output: Path = Path("benchmarks"),
) -> None:
    """Train every network with seeds 0 to N-1; go on where an earlier run stopped.

    Args:
        seeds: How many.
        epochs: Of each training.
        only: Which networks.
        dataset: mnist, fashion-mnist, digits or a folder of IDX files.
        data_dir: Folder with the data, looked in before $MNIST_CNN_DATA and ./data.
        output: Gets accuracy_vs_parameters.jsonl, .md and .png.
    """
    path = output / "accuracy_vs_parameters.jsonl"
    rows = read_rows(path)
    done = [(row["network"], row["recipe"], row["dataset"]) for row in rows]
    data = load_dataset(dataset, data_dir)
    for seed, name in tqdm([(seed, name) for seed in range(seeds) for name in only], desc="trainings"):
        config = dataclasses.replace(PRESETS["default"].train, seed=seed, epochs=epochs)
        if (name, config.recipe(), data.name) not in done:
            with TemporaryDirectory() as folder:
                row = run_seed(data, dataclasses.replace(config, output_dir=Path(folder)), NETWORKS[name])
            rows.append({"network": name, **row})
            write_rows(rows, path)
    (output / "accuracy_vs_parameters.md").write_text(table(rows), encoding="utf-8")
    studies = [read_rows(output / f"{preset}_seeds.jsonl") for preset in PRESETS]
    studies = [own for own in studies if own and own[0]["dataset"] == data.name]
    draw(rows, studies, output / "accuracy_vs_parameters.png")
    print(table(rows))


if __name__ == "__main__":
    with exit_codes():
        parse_call(command, None, "accuracy_vs_parameters.py")()
