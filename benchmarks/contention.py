"""How many threads, and how they should wait: seconds of an epoch alone, and beside a program that takes a core."""

import datetime
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from results import spread
from tqdm import tqdm

from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.experiments.study import Row, environment, read_rows, write_rows
from mnist_cnn.training.config import TrainConfig

ALL_CORES = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
POLICIES: dict[str, dict[str, str]] = {
    "all cores, 300,000 spins (libgomp's)": ALL_CORES,
    "all cores, 1,000 spins": ALL_CORES | {"GOMP_SPINCOUNT": "1000"},
    "all cores, passive": ALL_CORES | {"OMP_WAIT_POLICY": "passive"},
    "cores that are free": {},
}
OPENMP = set[str]().union(*POLICIES.values())
PROGRAM = Path(sys.executable).with_name("mnist-cnn")


@contextmanager
def core_taken() -> Iterator[None]:
    """Keep another process busy inside the block."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def epoch_seconds(policy: str, busy: bool, dataset: str, epochs: int) -> list[float]:
    """Train `fast` in a process of its own; return the seconds of each epoch but the first."""
    variables = {name: value for name, value in os.environ.items() if name not in OPENMP}
    with TemporaryDirectory() as folder, core_taken() if busy else nullcontext():
        flags = ["--preset", "fast", "--dataset", dataset, "--epochs", str(epochs), "--output-dir", folder]
        subprocess.run([PROGRAM, "train", *flags], env=variables | POLICIES[policy], check=True, capture_output=True)
        (history,) = Path(folder).rglob("*_history.jsonl")
        return [json.loads(line)["seconds"] for line in history.read_text(encoding="utf-8").splitlines()[1:]]


def table(rows: Sequence[Row]) -> str:
    """Lay out the median of each policy's epochs, idle and busy; to libgomp's is the median ratio in the same round."""
    medians = {
        (row["recipe"]["policy"], row["recipe"]["busy"], row["recipe"]["round"]): statistics.median(row["seconds"])
        for row in rows
    }
    rounds = sorted({number for *_, number in medians})
    own = next(iter(POLICIES))
    lines = ["| threads | n | idle, s | times libgomp's | a core taken, s | times idle |", "|---" * 6 + "|"]
    for policy in POLICIES:
        idle, busy = ([medians[policy, taken, number] for number in rounds] for taken in (False, True))
        to_own = statistics.median(medians[policy, False, number] / medians[own, False, number] for number in rounds)
        slower = statistics.median(b / i for b, i in zip(busy, idle, strict=True))
        lines.append(
            f"| {policy} | {len(rounds)} | {spread(idle, 2)} | {to_own:.2f} | {spread(busy, 2)} | {slower:.1f} |"
        )
    about = rows[0]
    note = f"An epoch of `fast`, {about['hardware']}, {about['precision']}, PyTorch {about['versions']['torch']}"
    return "\n".join([*lines, "", f"{note}, {about['date']}."]) + "\n"


def command(rounds: int = 5, dataset: str = "mnist", epochs: int = 3, output: Path = Path("benchmarks")) -> None:
    """Time epochs under each policy in turn, idle and busy, once per round; go on where an earlier run stopped.

    Args:
        rounds: Trainings per policy, idle and busy.
        dataset: What is trained on.
        epochs: Of each training; the first is not measured.
        output: Gets contention.jsonl and .md.
    """
    path = output / "contention.jsonl"
    rows = read_rows(path)
    done = [row["recipe"] for row in rows]
    plan = [(policy, busy, number) for number in range(rounds) for policy in POLICIES for busy in (False, True)]
    for policy, busy, number in tqdm(plan, desc="trainings", unit="training"):
        recipe = {"policy": policy, "busy": busy, "round": number, "epochs": epochs}
        if recipe not in done:
            seconds = epoch_seconds(policy, busy, dataset, epochs)
            today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
            rows.append(
                {"dataset": dataset, "recipe": recipe, "seconds": seconds, "date": today, **environment(TrainConfig())}
            )
            write_rows(rows, path)
    (output / "contention.md").write_text(table(rows), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    with exit_codes():
        parse_call(command, None, "contention.py")()
