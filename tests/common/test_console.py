"""Commands in unusual environments: closed pipes, full devices, limited encodings, no home directory."""

import functools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

import forked
from calls import CALLS, HELP, PHOTO, call, sayings, train_two
from conftest import environment
from mnist_cnn.common.console import pluralize
from mnist_cnn.common.names import printable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes, devices and users of Unix")
PROGRAM = str(Path(sys.executable).with_name("mnist-cnn"))
WRITTEN = {
    "train": "trained/saved_models/digits_fast_final.json",
    "evaluate": "evaluated/images/confusion_matrix.png",
    "predict": "steps/0000_own_digit.png",
    "export": "exported/model.onnx",
    "ensemble": "ensembled/model.pth",
    "compare": "compared/curves.png",
    "study": "studied/rows.jsonl",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    train_two(folder)
    return folder


def head(descriptor: int) -> None:
    """Read the first line."""
    os.read(descriptor, 1)
    os.close(descriptor)


def to_descriptor(descriptor: str, arguments: Sequence[str]) -> None:
    """Run `mnist-cnn` with a standard output that takes nothing, buffered as that of a pipe is."""
    if "pipe" in descriptor:
        read, write = os.pipe()
        os.dup2(write, 1)
        os.close(write)
        if descriptor == "pipe to head":
            threading.Thread(target=head, args=[read], daemon=True).start()
        else:
            os.close(read)
    elif descriptor == "full device":
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    if descriptor == "closed":
        os.close(1)
        sys.stdout = None  # as the interpreter does
    forked.COMMANDS["mnist-cnn"](arguments)


def end_of(arguments: Sequence[str], descriptor: str, folder: Path, said: Path) -> tuple[int | None, list[str]]:
    """Run a command; return its exit code and the lines of stderr that are no progress."""
    process = call(list(arguments), folder, said, functools.partial(to_descriptor, descriptor))
    process.join(200)
    return process.exitcode, sayings((said / "err").read_text())


@pytest.mark.parametrize("name", [*CALLS, *HELP])
def test_a_closed_pipe_ends_every_command_quietly_and_loses_nothing(runs: Path, tmp_path: Path, name: str) -> None:
    pipe = "pipe to head" if name == "train" else "closed pipe"  # training ends at once where its first line fails
    assert end_of((CALLS | HELP)[name], pipe, runs, tmp_path) == (141, [])
    if name in WRITTEN:
        assert (runs / WRITTEN[name]).stat().st_size > 0
    assert not list(runs.rglob("*unfinished*"))


@pytest.mark.parametrize("name", ["help", "train --help", "predict", "train"])
def test_a_full_device_is_named_and_a_closed_output_is_no_fault(runs: Path, tmp_path: Path, name: str) -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("this system has no /dev/full")
    code, lines = end_of((CALLS | HELP)[name], "full device", runs, tmp_path)
    assert (code, len(lines)) == (2, 1)
    assert lines[0].startswith("error: No space left on device: standard output; ")
    (tmp_path / "err").unlink()
    assert end_of((CALLS | HELP)[name], "closed", runs, tmp_path) == (0, [])


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--help"], ["predict", PHOTO], ["predict", "--help"]], ids=" ".join)
def test_the_interpreter_ends_quietly_too(arguments: list[str], unbuffered: str) -> None:
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [PROGRAM, *arguments], stdout=write, stderr=subprocess.PIPE, env=environment(PYTHONUNBUFFERED=unbuffered)
    )
    os.close(write)
    assert (result.returncode, result.stderr) == (141, b"")


@pytest.fixture
def umlaut(tmp_path: Path) -> Path:
    """A picture whose name ASCII and Latin-1 do not hold, beside one whose name no UTF-8 is."""
    for name in ("\u00e4\u6570.png", os.fsdecode(b"\xff.png")):
        with Image.open(PHOTO) as photo:
            photo.convert("L").resize((60, 60)).save(tmp_path / "a.png")
        (tmp_path / "a.png").rename(tmp_path / name)
    return tmp_path


LIKE_OTHERS: list[dict[str, str]] = [
    {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": ""},
    {"PYTHONIOENCODING": "latin-1"},
    {"TERM": "dumb", "COLUMNS": "20"},
]


@pytest.mark.parametrize(
    "changes",
    [
        {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"},
        {"PYTHONIOENCODING": "ascii"},
        *(pytest.param(changes, marks=pytest.mark.long) for changes in LIKE_OTHERS),
        {"HOME": "/proc/none"},
    ],
    ids=lambda changes: " ".join(f"{name}={value}" for name, value in changes.items()),
)
def test_predict_works_in_every_environment(umlaut: Path, changes: dict[str, str]) -> None:
    command = [PROGRAM, "predict", "."]
    for arguments in (command, [*command, "--json"], [*command, "--csv"]):
        result = subprocess.run(arguments, cwd=umlaut, env=environment(**changes), capture_output=True)
        assert (result.returncode, result.stderr) == (0, b"")
        assert len(result.stdout.splitlines()) == 2 + ("--csv" in arguments)
    helped = subprocess.run([PROGRAM, "predict", "--help"], env=environment(**changes), capture_output=True)
    assert (helped.returncode, helped.stderr) == (0, b"")
    assert len(helped.stdout.splitlines()) < 60, "not a letter a line, however narrow the terminal"


def as_somebody(home: str | None, arguments: Sequence[str]) -> None:
    """Run `mnist-cnn` without a home, as a user who may write nowhere but to /tmp."""
    os.environ.pop("HOME", None)
    if home:
        os.environ["HOME"] = home
    os.setgroups([])
    os.setresuid(65534, 65534, 65534)
    forked.COMMANDS["mnist-cnn"](arguments)


@pytest.mark.parametrize("home", [None, "/nonexistent"])
def test_another_user_reads_a_checkout_and_is_told_where_to_write(runs: Path, tmp_path: Path, home: str | None) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")

    def run(name: str, *more: str) -> tuple[int | None, str]:
        (tmp_path / "err").unlink(missing_ok=True)
        process = call([*CALLS[name][:-2], *more], runs, tmp_path, functools.partial(as_somebody, home))
        process.join(200)
        return process.exitcode, (tmp_path / "err").read_text()

    for folder in (runs, runs.parent, *runs.rglob("*/")):
        folder.chmod(0o755)
    for name in ("evaluate", "train"):
        code, said = run(name)
        assert code == 2
        assert said == "error: cannot write to .: Permission denied; name another place with --output-dir\n"
    mine = runs / f"mine {home}".replace("/", "")
    mine.mkdir()
    mine.chmod(0o777)
    assert run("evaluate", "--output-dir", mine.name) == (0, "")
    assert json.loads((mine / "saved_models" / "digits_fast_final.json").read_text())["count"] == 360


@pytest.mark.parametrize("home", [None, "/nonexistent"])
def test_predict_needs_no_place_to_write(tmp_path: Path, home: str | None) -> None:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can give the rights of root away, and only Linux's setpriv does so")
    (tmp_path / "of another").mkdir()
    os.chown(tmp_path / "of another", 65534, 65534)
    command = ["setpriv", "--bounding-set=-dac_override", PROGRAM, "predict", PHOTO]
    where = {name: value for name, value in environment().items() if name != "HOME"} | ({"HOME": home} if home else {})
    result = subprocess.run(command, cwd=tmp_path / "of another", env=where, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{PHOTO}: 4 (97.9%)\n", "")


def test_control_characters_and_bidirectional_overrides_are_escaped() -> None:
    assert printable("4 \u00e4\u6570.png") == "4 \u00e4\u6570.png"
    assert printable(ValueError("a\nb" * 9), 5) == r"a\nba\n"
    assert printable("a\x1b[2J\nb\tc\u202ed\udcff\x7f\x9b") == r"a\x1b[2J\nb\tc\u202ed\udcff\x7f\x9b"


def test_one_is_singular() -> None:
    assert [pluralize(number, "error") for number in (0, 1, 2000)] == ["0 errors", "1 error", "2,000 errors"]
