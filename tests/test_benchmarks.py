"""Every benchmark runs at a small size, resumes, and its table is that of its rows."""

import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from conftest import ROOT, environment


def bench(name: str, folder: Path, data: Path, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / f"{name}.py", "--output", folder, *arguments],
        env=environment(MNIST_CNN_DATA=str(data)), capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    text = (folder / f"{name}.md").read_text()
    assert text.strip() in result.stdout
    undrawn = ("inference", "reading", "serving", "page", "contention", "chip")
    assert name in undrawn or (folder / f"{name}.png").stat().st_size > 10_000
    return text


@pytest.mark.long
def test_training_speed(mnist_data: Path, tmp_path: Path) -> None:
    small = ("--images", "600", "--rounds")
    bench("training_speed", tmp_path, mnist_data, *small, "1", "--only", "fast", "plain, 10 epochs", "ExtraTrees")
    text = bench("training_speed", tmp_path, mnist_data, *small, "2", "--only", "ExtraTrees")
    rows = [json.loads(line) for line in (tmp_path / "training_speed.jsonl").read_text().splitlines()]
    assert [row["recipe"]["contestant"] for row in rows] == [
        "fast",
        "plain, 10 epochs",
        "ExtraTrees",
        "ExtraTrees",
    ]
    assert [row["recipe"]["seed"] for row in rows] == [0] * 3 + [1]
    assert all(row["accuracy"] > 0.7 for row in rows if row["recipe"]["contestant"] != "fast")
    assert [line.split(" | ")[1] for line in text.splitlines()[2:5]] == ["1", "1", "2"]
    assert text.splitlines()[2].split(" | ")[4] == "1.0"


@pytest.mark.long
def test_accuracy_vs_parameters(mnist_data: Path, tmp_path: Path) -> None:
    small = ("--dataset", "digits", "--epochs", "1", "--only", "4-4-4", "16-16-32", "--seeds")
    bench("accuracy_vs_parameters", tmp_path, mnist_data, *small, "1")
    kept = (tmp_path / "accuracy_vs_parameters.jsonl").read_text()
    text = bench("accuracy_vs_parameters", tmp_path, mnist_data, *small, "2")
    assert (tmp_path / "accuracy_vs_parameters.jsonl").read_text().startswith(kept)
    rows = [json.loads(line) for line in (tmp_path / "accuracy_vs_parameters.jsonl").read_text().splitlines()]
    assert [row["parameters"] for row in rows] == [826, 10_506] * 2
    mean = statistics.mean(100 * row["accuracy"] for row in rows if row["network"] == "16-16-32")
    assert f"| 16-16-32 | 10,506 | 2 | {mean:.3f} ±" in text


@pytest.mark.long
def test_scaling(mnist_data: Path, tmp_path: Path) -> None:
    text = bench("scaling", tmp_path, mnist_data, "--images", "512", "--rounds", "2")
    rows = json.loads((tmp_path / "scaling.json").read_text())["rows"]
    assert [row["images"] for row in rows if row["axis"] == "images"] == [64, 128, 256, 512, 1024, 2048]
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in rows)
    assert text.count("| batch size |") == 6
    operations = {row["value"]: row["operations"] for row in rows if row["axis"] == "preset"}
    assert operations["default"] == pytest.approx(3 * 2 * 1.61e6, rel=0.05)
    assert all(f"| {preset} | {count / 1e6:.1f} |" in text for preset, count in operations.items())


def test_robustness(mnist_data: Path, tmp_path: Path) -> None:
    text = bench("robustness", tmp_path, mnist_data, "--images", "100")
    result = json.loads((tmp_path / "robustness.json").read_text())
    reader, default = result["reader"], result["default"]
    assert min(default["corrupted"]["clean"]["accuracy"], reader["corrupted"]["clean"]["accuracy"]) > 0.98
    assert all(row["accuracy"] > 0.85 for row in reader["corrupted"].values())
    assert all(row["away"] > 0.85 and row["1 - probability"] > 0.8 for row in reader["no digits"].values())
    assert all(name in text for name in (*reader["corrupted"], *reader["no digits"]))
    for name in ("robustness.png", "robustness_strokes.png"):
        assert cv2.imread(str(tmp_path / name)) is not None


@pytest.mark.long
def test_inference(mnist_data: Path, tmp_path: Path) -> None:
    only = ("ONNX Runtime, float32", "OpenVINO", "PyTorch, eager")
    text = bench("inference", tmp_path, mnist_data, "--images", "200", "--rounds", "2", "--only", *only)
    result = json.loads((tmp_path / "inference.json").read_text())
    assert set(result["one"]) == set(only)
    assert 3.2e6 < result["operations"] < 3.3e6
    assert "| its peak memory, MiB | " in text


def test_reading(mnist_data: Path, tmp_path: Path) -> None:
    text = bench("reading", tmp_path, mnist_data, "--pictures", "3")
    scores = json.loads((tmp_path / "reading.json").read_text())["scores"]
    own = {group: readings["MNIST CNN Classifier"] for group, readings in scores.items()}
    assert sum(score["exact"] for score in own["handwritten row"] + own["printed row"]) >= 4
    assert all(score["errors"] == 0 for score in own["blank paper"])
    for group, row in own.items():
        assert f"| {group} | {statistics.mean(score['exact'] for score in row):.1%} (" in text


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("hey"), reason="the load generator hey is not installed")
def test_serving(mnist_data: Path, tmp_path: Path) -> None:
    text = bench("serving", tmp_path, mnist_data, "--requests-a-round", "300", "--rounds", "1")
    result = json.loads((tmp_path / "serving.json").read_text())
    for name, (run,) in result["beside"].items():
        assert f"clients posting {name}, ms | {run['p99']:.1f} (" in text
        assert (run["failed"], run["requests"]) == (0, 300)
        assert set(run["heavy"]) <= {"200", "413", "503"}
    mixed = result["mixed"]
    assert mixed["wrong"] == mixed["server_error"] == 0
    assert mixed["right"] > 200
    assert mixed["refused"] > 10
    assert "failed of" in text


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium on this machine")
def test_page(mnist_data: Path, web_runtime: Path, tmp_path: Path) -> None:
    bench("page", tmp_path, mnist_data, "--digits", "1", "--rounds", "1", "--runtime", str(web_runtime))
    forms = json.loads((tmp_path / "page.json").read_text())["forms"]
    assert len(forms) == 2
    for form in forms.values():
        assert form["points"] > 30
        assert 0 < form["p50"] <= form["p95"] < 10_000


@pytest.mark.long
def test_contention(mnist_data: Path, tmp_path: Path) -> None:
    small = ("--dataset", "digits", "--epochs", "2", "--rounds", "1")
    text = bench("contention", tmp_path, mnist_data, *small)
    kept = (tmp_path / "contention.jsonl").read_text()
    rows = [json.loads(line) for line in kept.splitlines()]
    assert [row["recipe"]["busy"] for row in rows] == [False, True] * 4
    assert all(len(row["seconds"]) == 1 for row in rows)
    assert f"| all cores, passive | 1 | {rows[4]['seconds'][0]:.2f} (" in text
    assert bench("contention", tmp_path, mnist_data, *small) == text
    assert (tmp_path / "contention.jsonl").read_text() == kept


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="there is no qemu-system-arm on this machine")
@pytest.mark.skipif(not shutil.which("riscv64-unknown-elf-gcc"), reason="there is no compiler for RISC-V here")
def test_chip(mnist_data: Path, tmp_path: Path) -> None:
    small = ("--only", "fast", "--seeds", "1", "--epochs", "1", "--keep-models", str(tmp_path))
    text = bench("chip", tmp_path, mnist_data, *small)
    (row,) = json.loads((tmp_path / "chip.json").read_text())
    assert abs(row["accuracy"] - row["float_accuracy"]) < 0.005
    assert 0.95 < row["accuracy"] < 1
    small_core, large_core = row["cores"].values()
    assert large_core["instructions"] < small_core["instructions"] < small_core["cycles"]
    assert small_core["flash"] > row["tables"]
    assert f"| {small_core['flash']:,} |" in text
    assert all(size > row["tables"] for size in row["risc_v"].values())
