"""What a training shows of itself: TensorBoard's files read back by TensorBoard, the trace as JSON."""

import json
from pathlib import Path

import pytest
import torch
from torch.profiler import profile, record_function

from conftest import Program
from mnist_cnn.models.checkpoint import load_checkpoint
from mnist_cnn.training.tracking import show_profile

FAST = ("--dataset", "digits", "--preset", "fast", "--epochs", "3", "--batch-size", "128", "--device", "cpu")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TensorBoard's own
def test_tensorboard_reads_scalars_and_figures(program: Program, tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = program("main.py", *FAST, "--tensorboard")
    assert result.returncode == 0, result.stderr
    log = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    log.Reload()
    history = load_checkpoint(tmp_path / "saved_models" / "digits_fast_final.pth").history
    for name in ("train_loss", "val_loss", "val_accuracy", "learning_rate", "seconds"):
        logged = [(event.step, event.value) for event in log.Scalars(name)]
        assert logged == [(row["epoch"], pytest.approx(row[name], rel=1e-6)) for row in history]
    assert set(log.Tags()["images"]) == {"confusion_matrix", "misclassified"}


def test_the_profile_names_ten_operations_and_writes_a_trace(program: Program, tmp_path: Path) -> None:
    result = program("main.py", *FAST, "--profile", "--output-dir", "out")
    assert result.returncode == 0, result.stderr
    assert "USDT" not in result.stderr
    lines = result.stdout.split("operation ")[1].split("trace: ")[0].splitlines()[1:]
    assert len(lines) == 10
    assert any("conv" in line for line in lines)
    milliseconds = [float(line.split()[-2]) for line in lines]
    assert milliseconds == sorted(milliseconds, reverse=True)
    trace = json.loads((tmp_path / "out" / "profile.json").read_text())
    assert len(trace["traceEvents"]) > 100


def test_a_training_of_one_step_says_that_it_has_no_profile(program: Program) -> None:
    result = program("main.py", *FAST, "--profile", "--epochs", "1", "--batch-size", "2000")
    assert result.returncode == 0, result.stderr
    assert "no profile: the training has too few steps" in result.stdout


def test_names_of_operations_are_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a_name_longer_than_any_column_" * 4
    with profile() as measured, record_function(name):
        torch.ones(8, 8).sum()
    show_profile(tmp_path / "profile.json", measured)
    lines = capsys.readouterr().out.strip().splitlines()[:-1]
    assert any(line.startswith(f"{name} ") for line in lines)
    assert len({len(line) for line in lines}) == 1
