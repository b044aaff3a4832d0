"""What a training shows of itself: TensorBoard's files read back by TensorBoard, the trace as JSON."""

import json
from pathlib import Path

import pytest

from conftest import Program
from mnist_cnn.checkpoint import load_checkpoint

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
    lines = result.stdout.split("operation ")[1].split("trace: ")[0].splitlines()[1:]
    assert len(lines) == 10
    assert any("conv" in line for line in lines)
    milliseconds = [float(line.split()[-2]) for line in lines]
    assert milliseconds == sorted(milliseconds, reverse=True)
    trace = json.loads((tmp_path / "out" / "profile.json").read_text())
    assert len(trace["traceEvents"]) > 100
