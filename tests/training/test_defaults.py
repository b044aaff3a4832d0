"""The settings that flags override come from a preset, a file of one's own or the report of a run."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, Program, assert_one_line_error
from mnist_cnn.common.errors import InputError
from mnist_cnn.main import read_config
from mnist_cnn.training.config import PRESETS, TrainConfig

REPORT = ROOT / "saved_models" / "mnist_cnn_final.json"


def write(folder: Path, content: Any) -> Path:
    path = folder / "mine.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_file_overrides_the_preset_and_flags_override_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, {"preset": "fast", "epochs": 7, "augment": {"rotation": 8}, "deterministic": True})
    found, enough_epochs = read_config(["--config", str(path), "--augment.rotation", "9", "--seed", "3"], "train")
    fast = PRESETS["fast"].train
    augment = dataclasses.replace(fast.augment, rotation=9.0)
    expected = dataclasses.replace(fast, config=path, epochs=7, augment=augment, deterministic=True, seed=3)
    assert found == expected
    assert not enough_epochs, "the file says how many"
    assert read_config([f"--config={path}", "--no-deterministic"], "train")[0].deterministic is False


@pytest.mark.parametrize("preset", ["fast", "tiny", "reader"])
def test_the_report_of_a_run_gives_its_recipe_again(tmp_path: Path, preset: str) -> None:
    config = dataclasses.replace(PRESETS[preset].train, epochs=3, learning_rate=0.123, seed=5, precision="float32")
    path = write(tmp_path, {"trained_on": "digits", "train_config": config.recipe(), "errors": 3})
    found = read_config(["--config", str(path)], "train")[0]
    assert found.recipe() == config.recipe()
    assert found.dataset == "digits"


def test_the_report_that_ships_is_of_the_default_recipe() -> None:
    found = read_config(["--config", str(REPORT)], "train")[0]
    assert found == dataclasses.replace(TrainConfig(), config=REPORT, dataset="mnist")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3}, "mine.json: Unrecognized options: --epoch=3; perhaps you meant --epochs"),
        ({"epochs": "many"}, "mine.json: --epochs: not a whole number: 'many'"),
        ({"epochs": 0}, "mine.json: --epochs is 0; it must be 1 or more"),
        ({"preset": "huge"}, "mine.json: invalid choice 'huge'"),
        ({"augment": {"rotation": [1]}}, "mine.json: --augment.rotation: not a number"),
        ([1], "mine.json holds no settings; name the report of a run"),
        ({"train_config": 3}, "mine.json holds no settings"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(InputError, match=words.replace("[", r"\[")) as error:
        read_config(["--config", str(write(tmp_path, content))], "train")
    assert "\n" not in str(error.value)


def test_a_file_of_another_preset_than_the_flag_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"preset": "tiny"})
    with pytest.raises(InputError, match="is of preset 'tiny', --preset is fast; leave out one"):
        read_config(["--config", str(path), "--preset", "fast"], "train")


def test_a_file_that_cannot_be_read_is_a_line(program: Program, tmp_path: Path) -> None:
    (tmp_path / "torn.json").write_text('{"epochs"')
    assert_one_line_error(program("main.py", "--config", "torn.json"), "torn.json cannot be read as JSON")
    assert_one_line_error(program("main.py", "--config", "none.json"), "cannot read none.json: No such file")
    assert_one_line_error(program("main.py", "--config"), "Missing value for argument '--config'")


def test_the_habit_of_the_field_is_an_alias() -> None:
    assert read_config(["--lr", "0.5"], "train")[0] == dataclasses.replace(TrainConfig(), learning_rate=0.5)
