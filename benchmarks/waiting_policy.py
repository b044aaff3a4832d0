"""How OpenMP's threads should wait: seconds of a training epoch on an idle machine, and with a core taken."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from results import keep
from tqdm import tqdm

from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.experiments.study import environment
from mnist_cnn.training.config import PRESETS

POLICIES = {
    "libgomp's own": {"OMP_WAIT_POLICY": "", "GOMP_SPINCOUNT": ""},
    "10,000 spins": {"OMP_WAIT_POLICY": "", "GOMP_SPINCOUNT": "10000"},
    "1,000 spins": {"OMP_WAIT_POLICY": "", "GOMP_SPINCOUNT": "1000"},
    "passive": {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": ""},
}
"""Environment of each policy; an empty value leaves the variable to the library."""
TRAIN = "from mnist_cnn.main import main; main()"  # not the command, which sets a policy of its own


@contextmanager
def a_core_taken(taken: bool) -> Iterator[None]:
    """Keep another process busy inside the block, if asked to."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if taken else None
    try:
        yield
    finally:
        if process:
            process.kill()
            process.wait()


def seconds_of_an_epoch(policy: dict[str, str], taken: bool, preset: str, epochs: int) -> float:
    """Train in a process of its own; return the median of its epochs but the first."""
    kept = {name: value for name, value in {**os.environ, **policy}.items() if value or name not in policy}
    with TemporaryDirectory() as folder, a_core_taken(taken):
        command = [sys.executable, "-c", TRAIN, "--preset", preset, "--epochs", str(epochs), "--output-dir", folder]
        subprocess.run(command, env=kept, check=True, capture_output=True)
        (history,) = Path(folder).glob("*_history.jsonl")
        lines = history.read_text(encoding="utf-8").splitlines()[1:]
    return statistics.median(float(json.loads(line)["seconds"]) for line in lines)


def table(rows: list[dict[str, object]], about: dict[str, object], preset: str) -> str:
    """Lay out the medians of each policy, idle and busy, and their ratios."""
    seconds: dict[tuple[object, object], list[float]] = {}
    for row in rows:
        seconds.setdefault((row["policy"], row["busy"]), []).append(float(str(row["seconds"])))
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    own = medians["libgomp's own", False]
    lines = ["| policy | n | idle, s | to libgomp's own | a core taken, s | to idle |", "|---|---|---|---|---|---|"]
    for name in POLICIES:
        idle, busy = medians[name, False], medians[name, True]
        count = len(seconds[name, False])
        lines.append(f"| {name} | {count} | {idle:.2f} | {idle / own:.2f} | {busy:.2f} | {busy / idle:.2f} |")
    note = f"An epoch of `{preset}`, median, {about['hardware']}, {about['precision']}."
    return "\n".join([*lines, "", note]) + "\n"


def command(rounds: int = 5, preset: str = "default", epochs: int = 3, output: Path = Path("benchmarks")) -> None:
    """Time epochs under each policy, idle and busy in turn, once per round.

    Args:
        rounds: Trainings per policy, idle and busy.
        preset: What is trained.
        epochs: Of each training; the first one is not measured.
        output: Gets waiting_policy.json and .md.
    """
    runs = [(name, busy) for _ in range(rounds) for name in POLICIES for busy in (False, True)]
    rows: list[dict[str, object]] = []
    for name, busy in tqdm(runs, unit=" trainings"):
        seconds = seconds_of_an_epoch(POLICIES[name], busy, preset, epochs)
        rows.append({"policy": name, "busy": busy, "seconds": seconds})
    about = environment(PRESETS[preset].train)
    keep(output, "waiting_policy", {**about, "preset": preset, "rows": rows}, table(rows, about, preset))


if __name__ == "__main__":
    with exit_codes():
        parse_call(command, None, "waiting_policy.py")()
