"""Disks that fill up, bytes that flip, clocks that jump, and two trainings in one folder."""

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from job import final, same_end, train

import forked
from calls import CALLS, FAST, PHOTO, call, sayings, train_two
from conftest import Tried
from mnist_cnn.common.console import exit_codes
from mnist_cnn.evaluate import write_report
from mnist_cnn.experiments.study import write_rows
from mnist_cnn.metrics import Report
from mnist_cnn.models.checkpoint import load_checkpoint
from mnist_cnn.training.config import TrainConfig
from mnist_cnn.training.resume import EpochRecord
from mnist_cnn.training.run_dir import RunDir, write_history
from mnist_cnn.training.tracking import tensorboard_log

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
SHORT = ("--epochs", "2", "--batch-size", "128")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 600 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root on Linux can mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_ends_in_one_line_and_keeps_the_last_checkpoint(small_disk: Path, tried: Tried) -> None:
    """Two checkpoints fit on it, and no third one beside them."""
    process = train(small_disk, "--epochs", "5")
    process.join(100)
    assert process.exitcode == 2
    log = (small_disk / "log").read_text()
    assert log.splitlines()[-1].startswith("error: No space left on device"), log
    assert "Traceback" not in log
    folder = RunDir(small_disk / "saved_models", "digits_fast")
    lost = folder.read_newest() is None
    assert not list(small_disk.rglob("*unfinished*"))
    tried("a disk that is full", 1, lost)


MODEL = Path("a", "saved_models", "digits_fast_final.pth")
RECORDS = [EpochRecord(epoch, 0.4, 0.2, 0.95, 0.01, 3.5) for epoch in range(300)]


def report(path: Path) -> None:
    result = Report(1, 0, 1.0, (0.2, 1.0), 0.1, 0.0, [[0] * 30] * 30, [])
    write_report(result, load_checkpoint(MODEL), 1, MODEL, "digits", path)


def history(path: Path, epochs: int) -> None:
    write_history([vars(record) for record in RECORDS[:epochs]], path.with_suffix(""))


def log(folder: Path) -> None:
    with tensorboard_log(TrainConfig(tensorboard=True, output_dir=folder.parent)) as note:
        for record in RECORDS:
            note(record)


# What is written, of which at most so many bytes get onto the disk: by a command, or by a function where a command
# writes something larger before.
KINDS: dict[str, tuple[int, Sequence[str] | Callable[[Path], None]]] = {
    "trained/saved_models/checkpoints/digits_fast_epoch_1.pth": (20_000, CALLS["train"]),
    "evaluated/images/loss_vs_epoch.png": (15_000, CALLS["evaluate"]),
    "steps/0000_own_digit.png": (5000, ["predict", PHOTO, "--show-steps", "steps"]),
    "boxes/0000_own_digit.png": (5000, ["predict", PHOTO, "--annotate", "boxes"]),
    "exported/model.onnx": (20_000, CALLS["export"]),
    "ensembled/model.pth": (20_000, CALLS["ensemble"]),
    "compared/curves.png": (5000, CALLS["compare"]),
    "profiled/profile.json": (20_000, ["train", *FAST, "--profile", "--output-dir", "profiled"]),
    "report.json": (4000, report),
    "history.csv": (4000, functools.partial(history, epochs=300)),
    "history.jsonl": (4000, functools.partial(history, epochs=40)),
    "rows.jsonl": (4000, lambda path: write_rows([{"dataset": "digits", "recipe": {}}] * 300, path)),
    "logged/tensorboard": (4000, log),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    train_two(folder)
    return folder


def limited(name: str, arguments: Sequence[str]) -> None:
    """Write on a disk that takes the first bytes of any file."""
    import resource

    limit, write = KINDS[name]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if callable(write):
        with exit_codes():
            write(Path(name))
    else:
        forked.COMMANDS["mnist-cnn"](arguments)


@pytest.mark.parametrize("name", KINDS)
def test_a_disk_that_fills_is_one_line_with_the_path_and_keeps_the_older_file(
    runs: Path, tmp_path: Path, name: str, tried: Tried
) -> None:
    path, write = runs / name, KINDS[name][1]
    path.parent.mkdir(parents=True, exist_ok=True)
    if name != "logged/tensorboard":  # a folder
        path.write_text("older")
    process = call([] if callable(write) else list(write), runs, tmp_path, functools.partial(limited, name))
    process.join(100)
    log = (tmp_path / "err").read_text()
    errors = sayings(log)
    assert process.exitcode == 2, log
    assert len(errors) == 1, log
    assert errors[0].startswith("error: ")
    assert name in errors[0]
    assert not list(runs.rglob("*unfinished*"))
    tried("a disk that fills, at each kind of file", 1, path.is_file() and path.read_text() != "older")


def test_a_flipped_byte_is_noticed_and_the_checkpoint_before_is_gone_on_with(tmp_path: Path, tried: Tried) -> None:
    whole, flipped = tmp_path / "whole", tmp_path / "flipped"
    every = ("--checkpoint-every-steps", "5")
    for folder in (whole, flipped):
        folder.mkdir()
        process = train(folder, *SHORT, *every)
        process.join(100)
        assert process.exitcode == 0
    lost = 0
    for place in (0.01, 0.5, 0.999):
        models = flipped / "saved_models"
        process = train(flipped, *SHORT, *every)
        while len(RunDir(models, "digits_fast").newest_first()) < 2:
            process.join(0.01)
        process.kill()
        process.join()
        newest = RunDir(models, "digits_fast").newest_first()[0]
        content = bytearray(newest.read_bytes())
        content[int(place * len(content))] ^= 1
        newest.write_bytes(content)
        (flipped / "log").unlink()
        process = train(flipped, *SHORT, *every, "--resume")
        process.join(100)
        log = (flipped / "log").read_text()
        assert process.exitcode == 0, log
        assert f"{newest} is damaged".removeprefix(f"{flipped}/") in log
        lost += not same_end(final(flipped), final(whole))
    tried("a flipped byte in the newest checkpoint", 3, lost)


@pytest.mark.parametrize("clock", ["stands still", "jumps back"])
def test_checkpoints_are_told_apart_whatever_the_clock_says(tmp_path: Path, clock: str, tried: Tried) -> None:
    process = train(tmp_path, *SHORT, "--checkpoint-every-steps", "2")
    folder = RunDir(tmp_path / "saved_models", "digits_fast")
    while len(folder.newest_first()) < 2:
        process.join(0.01)
    process.kill()
    process.join()
    newest, before = folder.newest_first()
    os.utime(newest, (0, 0))
    os.utime(before, (0, 0) if clock == "stands still" else (2**31, 2**31))
    content = folder.read_newest()
    tried(f"a clock that {clock} between checkpoints", 1, content != newest.read_bytes())


def test_the_second_training_in_a_folder_is_refused(tmp_path: Path, tried: Tried) -> None:
    first = train(tmp_path, "--epochs", "30", "--batch-size", "32")
    while not RunDir(tmp_path / "saved_models", "digits_fast").newest_first():
        first.join(0.01)
    second = train(tmp_path, *SHORT)
    second.join(60)
    assert second.exitcode == 2
    assert (
        "error: another training of digits_fast is writing to saved_models; wait for it"
        in (tmp_path / "log").read_text()
    )
    assert first.is_alive()
    first.terminate()
    first.join(20)
    tried("two trainings in one folder", 1, first.exitcode != 143)
