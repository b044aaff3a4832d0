"""`mnist-cnn` offers every command, and every setting as a flag."""

import dataclasses
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, Program, assert_one_line_error, environment
from mnist_cnn.cli import COMMANDS
from mnist_cnn.training.augment import AugmentConfig
from mnist_cnn.training.config import TrainConfig

PROGRAM = Path(sys.executable).with_name("mnist-cnn")


def mnist_cnn(*args: str) -> subprocess.CompletedProcess[str]:
    command = [str(PROGRAM), *args]
    return subprocess.run(command, env=environment(), capture_output=True, encoding="utf-8", timeout=120)


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_help_names_every_command(args: list[str]) -> None:
    result = mnist_cnn(*args)
    assert result.returncode == 0
    assert all(f"  {command} " in result.stdout for command in COMMANDS)


def test_version() -> None:
    assert mnist_cnn("--version").stdout.strip() == importlib.metadata.version("mnist-cnn")


def test_an_unknown_command_is_refused() -> None:
    assert_one_line_error(mnist_cnn("trian"), "no command 'trian'; there are train, evaluate, predict")


def test_every_setting_is_a_flag_of_train(program: Program) -> None:
    text = program("mnist-cnn", "train", "--help").stdout
    for field in dataclasses.fields(TrainConfig):
        flag = f"--{field.name.replace('_', '-')}"
        assert flag in text or field.name == "augment"
    for field in dataclasses.fields(AugmentConfig):
        assert f"--augment.{field.name}" in text


def test_a_preset_sets_the_defaults_of_the_other_flags(program: Program) -> None:
    assert "(default: 512)" in program("mnist-cnn", "train", "--preset", "fast", "--help").stdout
    assert "(default: 10)" in program("mnist-cnn", "train", "--help").stdout


def test_a_wrong_flag_names_the_command_to_ask() -> None:
    assert_one_line_error(mnist_cnn("evaluate", "--foo"), "--foo", "mnist-cnn evaluate --help")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_defaults_that_a_person_would_type(program: Program, command: str) -> None:
    text = program("mnist-cnn", command, "--help").stdout
    assert not re.search(r"\d\.\d{6}|\{None\}|\(default: \)|\[\[", text)
    assert str(ROOT / "src") not in text


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--epochs", "0"], "error: --epochs is 0; it must be 1 or more; see "),
        (["--epochs", "1.5"], "error: --epochs: not a whole number: '1.5'; see "),
        (["--weight-decay", "much"], "error: --weight-decay: not a number: 'much'; see "),
        (["--preset"], "error: Missing value for argument '--preset'. Give one; see "),
    ],
)
def test_what_is_wrong_with_a_flag_is_said_plainly(program: Program, arguments: list[str], line: str) -> None:
    result = program("mnist-cnn", "train", *arguments)
    assert_one_line_error(result, line)
    assert result.stderr.startswith(line)
