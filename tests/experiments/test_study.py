"""A study writes one row per seed, resumes, and sums up what it measured."""

import dataclasses
import json
import statistics
from pathlib import Path

import pytest

from conftest import Program, assert_one_line_error
from mnist_cnn.experiments.study import read_options, read_rows, row_of, run_seed, summary
from mnist_cnn.splits import Dataset
from mnist_cnn.training.config import PRESETS

STUDY = ("study.py", "--preset", "fast", "--dataset", "digits", "--output", "rows.jsonl")


def test_a_study_resumes_and_its_summary_is_that_of_its_rows(program: Program, tmp_path: Path, digits: Dataset) -> None:
    first = program(*STUDY, "--seeds", "1")
    assert first.returncode == 0, first.stderr
    kept = (tmp_path / "rows.jsonl").read_text()
    second = program(*STUDY, "--seeds", "3")
    assert second.returncode == 0, second.stderr
    assert second.stderr.count("epoch 1/20") < first.stderr.count("epoch 1/20") * 3
    text = (tmp_path / "rows.jsonl").read_text()
    assert text.startswith(kept)
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["recipe"]["seed"] for row in rows] == [0, 1, 2]
    for row in rows:
        assert len(row["misclassified"]) == round((1 - row["accuracy"]) * len(digits.test))
    accuracy = [100 * row["accuracy"] for row in rows]
    assert f"{statistics.mean(accuracy):.3f} +- {statistics.stdev(accuracy):.3f} % (n = 3" in second.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "rows.jsonl"]


def test_a_row_tells_what_made_it(tmp_path: Path, digits: Dataset) -> None:
    row = run_seed(digits, dataclasses.replace(PRESETS["fast"].train, output_dir=tmp_path))
    assert row["recipe"] == PRESETS["fast"].train.recipe()
    assert row["hardware"]
    assert row["versions"]["torch"]
    assert summary([row]).startswith(f"fast on digits: {100 * row['accuracy']:.3f} % (n = 1")


def test_a_study_takes_the_flags_of_a_training(program: Program, tmp_path: Path) -> None:
    result = program(*STUDY, "--seeds", "2", "--seed", "4", "--epochs", "1", "--augment.rotation", "8", "--lr", "0.02")
    assert result.returncode == 0, result.stderr
    rows = read_rows(tmp_path / "rows.jsonl")
    fast = PRESETS["fast"].train
    changed = dataclasses.replace(fast, learning_rate=0.02, augment=dataclasses.replace(fast.augment, rotation=8.0))
    assert [row["recipe"] for row in rows] == [dataclasses.replace(changed, seed=seed).recipe() for seed in (4, 5)]
    assert [row["count"] for row in rows] == [360, 360]


def test_a_study_is_of_mnist_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"dataset": "digits"}')
    assert read_options(["--output", "a.jsonl"], "study")[0].train.dataset == "mnist"
    told = ["--output", "a.jsonl", "--config", str(tmp_path / "mine.json")]
    assert read_options(told, "study")[0].train.dataset == "digits"


def test_rows_of_another_model_to_start_from_are_others(digits: Dataset) -> None:
    config = PRESETS["fine-tune"].train
    row = {"dataset": "digits", "recipe": config.recipe(), "init_from": "a.pth"}
    assert row_of(dataclasses.replace(config, init_from=Path("a.pth")), digits, [row]) == row
    assert row_of(dataclasses.replace(config, init_from=Path("b.pth")), digits, [row]) is None
    assert row_of(config, digits, [row]) is None


@pytest.mark.parametrize("content", ["not json", "[1]", '{"dataset": "digits"}'])
def test_a_foreign_file_is_refused_and_kept(program: Program, tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.jsonl").write_text(content)
    assert_one_line_error(program(*STUDY), "rows.jsonl does not hold the rows of a study", "--output")
    assert (tmp_path / "rows.jsonl").read_text() == content


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--preset", "huge"], "invalid choice 'huge'"),
        (["--seeds", "0"], "--seeds is 0"),
        (["--resume"], "--resume is for a single training"),
        (["--output-dir", "a"], "--output-dir is for a single training"),
        (["--augment.rotatoin", "3"], "perhaps you meant --augment.rotation"),
    ],
)
def test_impossible_studies_are_refused(program: Program, flags: list[str], words: str) -> None:
    assert_one_line_error(program(*STUDY, *flags), words)


def test_no_rows_where_there_is_no_file(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "none.jsonl") == []
