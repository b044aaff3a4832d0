"""What a parameter buys: networks of many sizes, one recipe, several seeds each."""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from matplotlib.ticker import StrMethodFormatter
from tqdm import tqdm

from mnist_cnn.cnn_model import ModelConfig
from mnist_cnn.console import exit_codes, parse_call
from mnist_cnn.data_loader import load
from mnist_cnn.plots import BLUE, saved
from mnist_cnn.recipe import PRESETS
from mnist_cnn.study import Row, read_rows, run_seed, write_rows

NETWORKS = {
    "4-4-4": ModelConfig(stages=((4,), (4,), (4,))),
    "8-8-8": ModelConfig(stages=((8,), (8,), (8,))),
    "16-16-32": ModelConfig(stages=((16,), (16,), (32,))),
    "fast": PRESETS["fast"].model,
    "default": PRESETS["default"].model,
    "default + 256": ModelConfig(stages=(*PRESETS["default"].model.stages, (256,))),
    "default + 256, 256": ModelConfig(stages=(*PRESETS["default"].model.stages, (256, 256))),
}


def statistics_of(rows: Sequence[Row]) -> list[tuple[str, int, list[float], list[float]]]:
    """Gather, for each network measured, its name, parameters, accuracies in percent and seconds."""
    return [
        (name, own[0]["parameters"], [100 * row["accuracy"] for row in own], [row["seconds"] for row in own])
        for name in NETWORKS
        if (own := [row for row in rows if row["network"] == name])
    ]


def table(rows: Sequence[Row]) -> str:
    """Lay out mean, standard deviation and extremes of each network."""
    lines = [
        "| network | channels | parameters | n | accuracy % | min to max | seconds (median) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, parameters, accuracy, seconds in statistics_of(rows):
        channels = " / ".join(", ".join(map(str, stage)) for stage in NETWORKS[name].stages)
        spread = f" ± {statistics.stdev(accuracy):.3f}" if len(accuracy) > 1 else ""
        lines.append(
            f"| {name} | {channels} | {parameters:,} | {len(accuracy)} | {statistics.mean(accuracy):.3f}{spread} | "
            f"{min(accuracy):.2f} to {max(accuracy):.2f} | {statistics.median(seconds):.1f} |"
        )
    recipe = rows[0]["recipe"]
    lines += ["", f"Recipe `default`, {recipe['epochs']} epochs, {rows[0]['dataset']}, {rows[0]['hardware']}."]
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw mean and standard deviation against parameters."""
    with saved(path, (7, 4.5)) as figure:
        axes = figure.subplots()
        for name, parameters, accuracy, _ in statistics_of(rows):
            spread = statistics.stdev(accuracy) if len(accuracy) > 1 else 0
            axes.errorbar(parameters, statistics.mean(accuracy), spread, fmt="o", color=BLUE, capsize=4)
            axes.annotate(name, (parameters, statistics.mean(accuracy)), xytext=(6, -12), textcoords="offset points")
        axes.set(xscale="log", xlabel="parameters (log)", ylabel="test accuracy (%)")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.margins(x=0.12, y=0.12)
        title = "Mean and standard deviation over seeds, one recipe for all sizes"
        axes.set_title(f"{title}\n{rows[0]['dataset']} test split, {rows[0]['recipe']['epochs']} epochs")


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
    data = load(dataset, data_dir)
    for seed, name in tqdm([(seed, name) for seed in range(seeds) for name in only], desc="trainings"):
        config = dataclasses.replace(PRESETS["default"].train, seed=seed, epochs=epochs)
        if (name, config.recipe(), data.name) not in done:
            with TemporaryDirectory() as folder:
                row = run_seed(data, dataclasses.replace(config, output_dir=Path(folder)), NETWORKS[name])
            rows.append({"network": name, **row})
            write_rows(rows, path)
    (output / "accuracy_vs_parameters.md").write_text(table(rows), encoding="utf-8")
    draw(rows, output / "accuracy_vs_parameters.png")
    print(table(rows))


if __name__ == "__main__":
    with exit_codes():
        parse_call(command, None, "accuracy_vs_parameters.py")()
