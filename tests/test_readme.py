"""README does what it says: its commands run, its numbers are the reports'."""

import ast
import dataclasses
import importlib.metadata
import json
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conftest import ROOT, Program, environment
from mnist_cnn.cnn_model import CNN
from mnist_cnn.experiments.study import read_rows
from mnist_cnn.training.config import PRESETS

sys.path.insert(0, str(ROOT / "scripts"))
import readme

README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(heading: str) -> list[str]:
    """Return the lines of the bash blocks below a heading."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line for block in re.findall(r"```bash\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Copy what is committed or about to be; lend it this environment as its .venv."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    if not (Path(sys.prefix) / "pyvenv.cfg").is_file():
        pytest.skip("this is not a virtual environment")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        (tmp_path / ".venv" / part.name).symlink_to(part)
    for marker in ("installed", "installed-dev"):
        (tmp_path / ".venv" / marker).unlink(missing_ok=True)
        (tmp_path / ".venv" / marker).touch()
    return tmp_path


@pytest.mark.usefixtures("shipped")
def test_pages_say_what_was_measured() -> None:
    for path, text in readme.filled_pages().items():
        assert path.read_text(encoding="utf-8") == text, "run `make readme`"
        assert f"<!-- /{'chip' if path.stem == 'chip' else 'results'} -->" in text


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*_seeds.jsonl")), ids=lambda path: path.stem)
def test_rows_are_of_the_presets_as_they_are(path: Path) -> None:
    preset = PRESETS[path.stem.removesuffix("_seeds")]
    for seed, row in enumerate(read_rows(path)):
        recipe = dataclasses.replace(preset.train, seed=seed).recipe()
        assert row["recipe"] == json.loads(json.dumps(recipe)), "run the study again"
        assert row["parameters"] == CNN(preset.model).parameter_count()


@pytest.mark.skipif(sys.platform == "win32", reason="make is for Linux and macOS")
def test_every_command_of_the_quick_start(clone: Path) -> None:
    path = f"{Path(sys.executable).parent}:{environment()['PATH']}"
    for command in commands("Quick start"):
        if command == "make test":
            continue  # it is what is running
        if command.startswith("pip install"):  # everything is installed: look up, change nothing
            command = f"{sys.executable} -m {command} --dry-run --no-deps --no-build-isolation"
        result = subprocess.run(
            shlex.split(command), cwd=clone, env=environment(PATH=path), capture_output=True, text=True, timeout=200
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    assert (clone / "saved_models" / "digits_cnn_final.pth").is_file()


@pytest.mark.long
def test_no_other_command_changes_what_git_tracks(clone: Path, mnist_data: Path) -> None:
    git = ["git", "-C", str(clone), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "as cloned"]):
        subprocess.run([*git, *arguments], check=True)
    where = environment(MNIST_CNN_DATA=str(mnist_data))
    for command in ("train --preset fast --dataset digits", "evaluate --dataset digits"):
        arguments = [str(Path(sys.executable).with_name("mnist-cnn")), *command.split()]
        result = subprocess.run(arguments, cwd=clone, env=where, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    assert (clone / "saved_models" / "digits_fast_final.pth").is_file()
    assert (clone / "images" / "digits_fast" / "confusion_matrix.png").is_file()
    for name in ("my-digits.onnx", "node_modules/a.js", "package-lock.json", "site/index.html", "images/compare.png"):
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).touch()
    status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    assert not status.stdout


PARTS = (
    "Things to try",
    "When it is interrupted",
    "Read your own digits",
    "Use it in your program",
    "Draw one in the browser",
)
OTHER = [command for part in PARTS for command in commands(part)]


@pytest.mark.parametrize("command", [line for line in OTHER if line.startswith("mnist-cnn") and "evaluate" not in line])
def test_flags_of_every_other_command_exist(command: str, program: Program) -> None:
    result = program(*shlex.split(command), "--help")
    assert result.returncode == 0, result.stderr


def test_the_python_example_runs(mnist_data: Path) -> None:
    reading, example = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    ast.parse(reading)
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(example)],
        cwd=ROOT, env=environment(MNIST_CNN_DATA=str(mnist_data)), capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    accuracy = float(result.stdout.split()[0])
    assert accuracy == readme.read_report(ROOT / "saved_models" / "mnist_cnn_final.json")[1].accuracy


def test_the_pictures_are_read_as_the_page_says(tmp_path: Path) -> None:
    reading = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    lines = [line for line in commands("Read your own digits") if "images/own" in line or "samples/" in line]
    assert len(lines) == 4
    for command in lines:
        program, *arguments = shlex.split(command.replace("runs", str(tmp_path)))
        call = [str(Path(sys.executable).with_name(program)), *arguments]
        result = subprocess.run(call, cwd=ROOT, env=environment(), capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert result.stdout in README
    assert (tmp_path / "steps").is_dir()
    assert (tmp_path / "boxes").is_dir()
    result = subprocess.run(
        [sys.executable, "-c", reading], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["4", "17324", "17324"], result.stderr


def test_every_local_link_leads_somewhere() -> None:
    for page in ("README.md", "MODEL_CARD.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{page} links to {target}"


def test_constraints_name_a_fitting_version_of_every_requirement() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    versions = {canonicalize_name(name): version for name, version in pins.items()}
    requirements = [Requirement(text) for text in importlib.metadata.requires("mnist-cnn") or ()]
    assert len(requirements) > 20
    for requirement in requirements:
        if requirement.name != "mnist-cnn":
            assert versions[canonicalize_name(requirement.name)] in requirement.specifier, "run `make lock`"


def test_committed_files_stay_small() -> None:
    for folder in ("images", "saved_models", "benchmarks"):
        for path in (ROOT / folder).glob("*.*"):
            assert path.stat().st_size < 1_000_000, path
