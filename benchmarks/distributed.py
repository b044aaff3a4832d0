"""One training on one and on two processes, a study on one and on two, and what more processes would bring."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from results import keep
from torch import distributed as dist
from tqdm import tqdm

from mnist_cnn.cnn_model import CNN
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.distributed import process_group, rank, world_size
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.experiments.study import environment
from mnist_cnn.train import train_steps
from mnist_cnn.training.config import PRESETS
from mnist_cnn.training.learner import build_learner
from mnist_cnn.training.resume import Progress

SETTINGS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1)}
TORCHRUN = str(Path(sys.executable).with_name("torchrun"))
SUMS = 50  # gradients' sums timed in a row
LINKS = {"8 GPUs with NVLink": (8, 300e9, 5e-6), "64 GPUs, 8 a machine, 400 Gbit/s": (64, 50e9, 15e-6)}
"""How many, bytes a second, seconds a message: round figures of the makers' data sheets, not measured."""
GPU_STEP = (0.5e-3, 2e-3)  # seconds of compute for 256 images, assumed: kernels of a small network wait for launches


def work(images: int) -> None:
    """Train an epoch on some images as one of the processes, and time it; rank 0 prints the result."""
    config = PRESETS["default"].train
    train = load_dataset("mnist").train[torch.arange(images)]
    with process_group(60):
        learner = build_learner(CNN(PRESETS["default"].model), config, images)
        list(train_steps(learner, train[torch.arange(1024)], config, Progress(epoch=1)))
        start = time.perf_counter()
        steps = len(list(train_steps(learner, train, config, Progress(epoch=1))))
        seconds = time.perf_counter() - start
        gradients = torch.ones(sum(parameter.numel() for parameter in learner.network.parameters()))
        start = time.perf_counter()
        for _ in range(SUMS if world_size() > 1 else 0):
            dist.all_reduce(gradients)
        sums = (time.perf_counter() - start) / SUMS
        if rank() == 0:
            print(json.dumps({"seconds": seconds, "steps": steps, "sum": sums, "bytes": 4 * gradients.numel()}))


def run(processes: int, threads: int, images: int) -> dict[str, Any]:
    """Time an epoch on some processes."""
    command = [TORCHRUN, "--standalone", f"--nproc-per-node={processes}", __file__, "--work", str(images)]
    variables = os.environ | {"OMP_NUM_THREADS": str(threads)}
    result = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    row: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return row


def seconds_of_a_study(processes: int) -> float:
    """Time four seeds of `tiny` on the bundled digits, each process with one thread."""
    with TemporaryDirectory() as folder:
        command = [TORCHRUN, "--standalone", f"--nproc-per-node={processes}", "-m", "mnist_cnn.experiments.study"]
        command += ["--preset", "tiny", "--dataset", "digits", "--seeds", "4", "--output", f"{folder}/rows.jsonl"]
        start = time.perf_counter()
        subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, check=True)
        return time.perf_counter() - start


def projection(payload: int) -> list[str]:
    """Lay out what a ring of GPUs would spend on a step: compute shared out, gradients summed."""
    lines = [
        "| GPUs | global batch | compute, ms | sum of gradients, ms | images a second, times one GPU |",
        "|---|---|---|---|---|",
    ]
    launch, compute = GPU_STEP
    for name, (count, bandwidth, latency) in LINKS.items():
        share = 2 * (count - 1) / count
        communicate = share * payload / bandwidth + 2 * (count - 1) * latency
        for batch in (256, 256 * count):
            alone = max(launch, compute * batch / 256)
            step = max(launch, compute * batch / 256 / count) + communicate
            milliseconds = f"{1000 * (step - communicate):.2f} | {1000 * communicate:.2f}"
            lines.append(f"| {name} | {batch:,} | {milliseconds} | {alone / step:.1f} |")
    return lines


def table(result: dict[str, Any]) -> str:
    """Lay out medians, ranges and ratios, and the projection."""
    slowest = next(iter(SETTINGS))
    lines = ["| an epoch | n | seconds (median, range) | times faster |", "|---|---|---|---|"]
    for name, rows in result["epochs"].items():
        seconds = [row["seconds"] for row in rows]
        ratio = statistics.median(a["seconds"] / b for a, b in zip(result["epochs"][slowest], seconds, strict=True))
        middle, low, high = statistics.median(seconds), min(seconds), max(seconds)
        lines.append(f"| {name} | {len(seconds)} | {middle:.1f} ({low:.1f} to {high:.1f}) | {ratio:.2f} |")
    lines += ["", "| a study of four seeds | n | seconds (median, range) | times faster |", "|---|---|---|---|"]
    for name, seconds in result["studies"].items():
        ratio = statistics.median(a / b for a, b in zip(result["studies"]["1 process"], seconds, strict=True))
        middle, low, high = statistics.median(seconds), min(seconds), max(seconds)
        lines.append(f"| {name} | {len(seconds)} | {middle:.1f} ({low:.1f} to {high:.1f}) | {ratio:.2f} |")
    two = result["epochs"]["2 processes, 1 thread each"]
    payload, steps = two[0]["bytes"], two[0]["steps"]
    summing, step = (statistics.median(row[key] for row in two) for key in ("sum", "seconds"))
    note = (
        f"A step sums {payload:,} bytes of gradients: {1000 * summing:.1f} ms between two processes here (gloo), "
        f"{summing / (step / steps):.1%} of a step of {1000 * step / steps:.0f} ms."
    )
    return "\n".join([*lines, "", note, "", *projection(payload), "", result["hardware"] + "."]) + "\n"


def command(rounds: int = 5, images: int = 12_800, output: Path = Path("benchmarks")) -> None:
    """Time epochs and studies on one and on two processes, alternating.

    Args:
        rounds: Of everything.
        images: In an epoch.
        output: Gets distributed.json and .md.
    """
    epochs: dict[str, list[dict[str, Any]]] = {name: [] for name in SETTINGS}
    studies: dict[str, list[float]] = {"1 process": [], "2 processes": []}
    for _ in tqdm(range(rounds), desc="rounds"):
        for name, (processes, threads) in SETTINGS.items():
            epochs[name].append(run(processes, threads, images))
        for count, name in enumerate(studies, start=1):
            studies[name].append(seconds_of_a_study(count))
    about = environment(PRESETS["default"].train)
    result = {"images": images, "epochs": epochs, "studies": studies, **about}
    keep(output, "distributed", result, table(result))


if __name__ == "__main__":
    with exit_codes():
        if sys.argv[1:2] == ["--work"]:
            work(int(sys.argv[2]))
        else:
            parse_call(command, None, "distributed.py")()
