"""README and the pages of docs/ do what they say: their commands run, their numbers are the reports'."""

import dataclasses
import importlib.metadata
import json
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from scipy.stats import ttest_ind

from conftest import ROOT, Program, environment
from mnist_cnn.cnn_model import CNN
from mnist_cnn.experiments.study import read_rows
from mnist_cnn.training.config import PRESETS
from server import serving

sys.path.insert(0, str(ROOT / "scripts"))
import readme

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = sorted((ROOT / "docs").rglob("*.md"))
OTHER_PAGES = [ROOT / name for name in ("MODEL_CARD.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
ALL = "\n".join([README, *(path.read_text(encoding="utf-8") for path in DOCS)])


def bash(text: str) -> list[str]:
    """Return the lines of the bash blocks of a text."""
    return [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def commands(heading: str) -> list[str]:
    """Return the lines of the bash blocks below a heading of README."""
    return bash(README.split(f"\n## {heading}\n")[1].split("\n## ")[0])


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
    pages = readme.filled_pages()
    for path, text in pages.items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run `make readme`"
    assert "<!-- /results -->" in pages[ROOT / "README.md"]
    assert "<!-- /results -->" in pages[ROOT / "MODEL_CARD.md"]
    shown = set(re.findall(r"<!-- (.+) -->\n[^<]", "\n".join(pages.values())))
    assert {"headline", "presets", "output", *(path.stem for path in (ROOT / "benchmarks").glob("*.md"))} <= shown


@pytest.mark.parametrize(
    ("sentence", "row"),
    [
        (r"Of 120\s+real cheque amounts (\d+) %", "cheque amounts | 120"),
        (r"of 45 handwritten rows and pages (\d+) %", "several, handwritten | 45"),
    ],
)
def test_shares_of_real_numbers_are_those_of_the_table(sentence: str, row: str) -> None:
    (said,) = re.findall(sentence, README)
    (line,) = re.findall(rf"^\| {re.escape(row)} \|(.*)", ALL, re.MULTILINE)
    assert int(said) == round(float(line.split("|")[1]))


def test_only_noise_and_blank_paper_are_told_by_the_detector_alone() -> None:
    rows = json.loads((ROOT / "benchmarks" / "robustness.json").read_text(encoding="utf-8"))["reader"]["no digits"]
    assert all(row["1 - probability"] > 0.97 for row in rows.values())
    assert {name for name, row in rows.items() if row["out-of-distribution score"] > 0.9} == {"noise", "blank paper"}


def test_what_c_loses_is_what_was_measured() -> None:
    said = re.search(r"`micro` reads between ([\d.]+) points less and ([\d.]+) more; no other[\w\s]+ ([\d.]+)\.", ALL)
    assert said
    rows = json.loads((ROOT / "benchmarks" / "chip.json").read_text(encoding="utf-8"))
    lost = [(row["recipe"]["preset"], 100 * (row["float_accuracy"] - row["accuracy"])) for row in rows]
    micro, others = ([points for name, points in lost if (name == "micro") is own] for own in (True, False))
    assert [f"{points:.2f}" for points in (max(micro), -min(micro), max(others))] == list(said.groups())


def test_epochs_take_longer_as_the_page_says() -> None:
    said = re.search(r"(\d+) times as long for (\d+) times as many", ALL)
    assert said
    rows = json.loads((ROOT / "benchmarks" / "scaling.json").read_text(encoding="utf-8"))["rows"]
    fewest, *_, most = [row for row in rows if row["axis"] == "images"]
    seconds = [statistics.median(row["seconds"]) for row in (fewest, most)]
    assert list(map(int, said.groups())) == [round(seconds[1] / seconds[0]), most["value"] // fewest["value"]]


STUDIES = [path for kind in ("seeds", "taught") for path in sorted((ROOT / "benchmarks").glob(f"*_{kind}.jsonl"))]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_rows_are_of_the_presets_as_they_are(path: Path) -> None:
    name, kind = path.stem.rsplit("_", 1)
    preset, teacher = PRESETS[name], "saved_models/mnist_cnn_final.pth" if kind == "taught" else None
    for seed, row in enumerate(read_rows(path)):
        recipe = dataclasses.replace(preset.train, seed=seed, teacher=teacher).recipe()
        assert row["recipe"] == json.loads(json.dumps(recipe)), "run the study again"
        assert row["parameters"] == CNN(preset.model).parameter_count()


def test_what_tiny_gains_from_a_teacher() -> None:
    text = " ".join((ROOT / "docs" / "how-to" / "train.md").read_text(encoding="utf-8").split())
    rows = [read_rows(ROOT / "benchmarks" / f"tiny_{kind}.jsonl") for kind in ("taught", "seeds")]
    accuracy, val = (np.array([[row[of] for row in own] for own in rows]) for of in ("accuracy", "val_accuracy"))
    p_value = ttest_ind(*accuracy, equal_var=False).pvalue
    assert f"Welch's p-value over the five seeds of each is {p_value:.2f}," in text
    (taught, by_labels), (spread, other) = 100 * val.mean(axis=1), 100 * val.std(axis=1, ddof=1)
    assert f"it reads {taught:.2f} ± {spread:.2f} % instead of {by_labels:.2f} ± {other:.2f}:" in text


@pytest.mark.skipif(sys.platform == "win32", reason="make is for Linux and macOS")
def test_every_command_of_the_quick_start(clone: Path) -> None:
    path = f"{Path(sys.executable).parent}:{environment()['PATH']}"
    first = commands("Quick start")
    assert first[:2] == ["pip install -r requirements.txt", "python src/main.py"]
    for command in [*first, "python src/evaluate.py"]:
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


INLINE = re.findall(r"`(mnist-cnn [a-z][^`]*)`", ALL)
COMMANDS = sorted({line for line in [*bash(ALL), *INLINE] if line.startswith("mnist-cnn ")})


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_of_every_command_exist(command: str, program: Program) -> None:
    result = program(*shlex.split(command), "--help")
    assert result.returncode == 0, result.stderr


def test_readme_is_short_and_every_file_of_its_commands_exists() -> None:
    assert len(README.split()) <= 1200
    words = [word.rpartition("@")[2] for line in bash(README) for word in shlex.split(line)]
    files = [word for word in words if re.fullmatch(r"\w[\w/]*\.\w{2,4}|\w+/[\w/.]+", word) and "runs/" not in word]
    assert {"images/own_digit.jpg", "samples/page.png", "requirements.txt", "src/main.py"} <= set(files)
    for file in files:
        assert (ROOT / file).is_file(), file


def test_every_verb_that_the_pages_name_is_one_of_the_makefile() -> None:
    verbs = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([\w-]+)", ALL, re.MULTILINE))
    assert {"train", "test", "docs", "verify-models"} <= named <= verbs


def python(page: str, number: int) -> str:
    """Return a Python example of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return textwrap.dedent(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[number])


def run_python(example: str, **changes: str) -> list[str]:
    """Run an example; return the lines that it prints."""
    result = subprocess.run(
        [sys.executable, "-c", example], cwd=ROOT, env=environment(**changes), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_the_example_of_scoring_runs(mnist_data: Path) -> None:
    (said,) = run_python(python("docs/how-to/train.md", -1), MNIST_CNN_DATA=str(mnist_data))
    report = readme.read_report(ROOT / "saved_models" / "mnist_cnn_final.json")[1]
    assert float(said.split()[0]) == report.accuracy


def test_the_examples_of_reading_run() -> None:
    said = run_python(python("README.md", 0))
    assert [line.split()[0] for line in said] == ["4", "17324", "17324"]
    assert run_python(python("docs/reference/python.md", 0))[0].startswith("4 ")
    assert "81080502" in run_python(python("docs/tutorials/engineer.md", 0))[0]


def test_the_example_of_asking_the_service_runs() -> None:
    with serving() as (url, _):
        example = python("docs/reference/rest.md", 0)
        assert "http://127.0.0.1:8000" in example
        assert run_python(example.replace("http://127.0.0.1:8000", url)) == ["4"]


def test_the_pictures_are_read_as_the_page_says(tmp_path: Path) -> None:
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


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_local_link_leads_somewhere() -> None:
    generated = ROOT / "docs" / "reference" / "commands.md"  # when the site is built
    links = [
        (page, (page.parent / path).resolve() if path else page, anchor)
        for page in [ROOT / "README.md", *OTHER_PAGES, *DOCS]
        for path, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))
    ]
    assert len(links) > 100
    for page, path, anchor in links:
        assert path.exists() or path == generated, f"{page} links to {path}"
        assert not anchor or path == generated or anchor in anchors(path), f"{page} links to {path}#{anchor}"


def test_each_question_is_answered_two_clicks_from_readme() -> None:
    assert "](docs/faq.md)" in README
    for question in re.split(r"^## ", (ROOT / "docs" / "faq.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, _, answer = question.partition("\n")
        assert len(answer.split()) > 5, f"{heading}: here or behind a link"


def test_constraints_name_a_fitting_version_of_every_requirement() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    versions = {canonicalize_name(name): version for name, version in pins.items()}
    requirements = [Requirement(text) for text in importlib.metadata.requires("mnist-cnn") or ()]
    assert len(requirements) > 20
    for requirement in requirements:
        if requirement.name != "mnist-cnn":
            assert versions[canonicalize_name(requirement.name)] in requirement.specifier, "run `make lock`"
    locked = (ROOT / "deploy" / "requirements.txt").read_text(encoding="utf-8")
    deployed = dict(re.findall(r"^(\S+)==(\S+)", locked, re.MULTILINE))
    assert {name: versions[name] for name in deployed} == deployed
    needed = {canonicalize_name(item.name) for item in requirements if not item.marker or "serve" in str(item.marker)}
    assert needed <= deployed.keys()


def test_committed_files_stay_small() -> None:
    for folder in ("images", "saved_models", "benchmarks"):
        for path in (ROOT / folder).glob("*.*"):
            assert path.stat().st_size < 1_000_000, path


def test_every_place_names_the_same_version() -> None:
    def found(pattern: str, page: str) -> str:
        match = re.search(pattern, (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert match, page
        return match[1]

    version = found(r'^version = "(.*)"$', "pyproject.toml")
    assert found(r"^version: (.*)$", "CITATION.cff") == version
    assert found(r"^## \[(\d.*?)\]", "CHANGELOG.md") == version
    assert found(r"^## \[\d.*?\] - (.*)$", "CHANGELOG.md") == found(r'^date-released: "(.*)"$', "CITATION.cff")
