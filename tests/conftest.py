"""Fixtures: the real data, and the program as a process of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from filelock import FileLock

import forked
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.download import MirrorError
from mnist_cnn.models.checkpoint import SHIPPED
from mnist_cnn.splits import Dataset
from mnist_cnn.synthetic.glyphs import Glyphs, make_glyphs
from mnist_cnn.synthetic.schools import School, make_school

pytest_plugins = ("page_fixtures",)
ROOT = Path(__file__).parent.parent
CLOSED_PORT = "http://127.0.0.1:9"
# A machine without a network: nothing but loopback can be reached.
OFFLINE = {"HTTPS_PROXY": CLOSED_PORT, "HTTP_PROXY": CLOSED_PORT, "NO_PROXY": "127.0.0.1"}

Program = Callable[..., subprocess.CompletedProcess[str]]


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment without the data's variables and without a network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MNIST_CNN_")}
    return kept | OFFLINE | {"PYTHONUTF8": "1"} | changes


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a person fuzz for longer than CI does."""
    parser.addoption(
        "--mutations", type=int, default=2400, help="files that the fuzz test of the picture reader corrupts"
    )
    parser.addoption("--long", action="store_true", help="run what takes long, too; `make test-long` does")
    parser.addoption("--faults", type=int, default=20, help="times that a training is killed in the test of it")
    parser.addoption("--fault-table", type=Path, help="file for what was tried and lost; add -n 0")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long, unless it is asked for."""
    if not config.getoption("--long"):
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def pytest_configure() -> None:
    """Give every process one thread, as many run at once as there are cores, and no test a deadline."""
    hypothesis.settings.register_profile("untimed", deadline=None)
    hypothesis.settings.load_profile("untimed")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)


Tried = Callable[[str, int, int], None]
TABLE = pytest.StashKey[dict[str, list[int]]]()


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Tried:
    """Note a fault, how often it was tried, and how often data was lost; the latter must be never."""

    def note(fault: str, times: int, lost: int) -> None:
        row = request.config.stash.setdefault(TABLE, {}).setdefault(fault, [0, 0])
        row[:] = row[0] + times, row[1] + lost
        assert lost == 0, f"{fault}: data was lost {lost} times in {times}"

    return note


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table of faults where it was asked for."""
    path, faults = session.config.getoption("--fault-table"), session.config.stash.get(TABLE, {})
    if path and faults:
        rows = [f"| {fault} | {times:,} | {lost} |" for fault, (times, lost) in sorted(faults.items())]
        path.write_text("\n".join(["| fault | times tried | data lost |", "|---|---|---|", *rows]) + "\n")


@pytest.fixture
def program(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Run a script of src/ in an empty folder, offline."""

    def run(script: str, *args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        said = tmp_path_factory.mktemp("said")
        out, err = said / "out", said / "err"
        process = forked.start(forked.COMMANDS[script], args, tmp_path, environment(**env), out, err)
        process.join(280)
        process.kill()
        assert process.exitcode is not None, f"{script} does not end"
        return subprocess.CompletedProcess(
            [script, *args], process.exitcode, out.read_text("utf-8"), err.read_text("utf-8")
        )

    return run


@pytest.fixture(scope="session")
def mnist_data() -> Path:
    """Name the folder with the real MNIST files; skip where there is none, unless one was promised."""
    folder = Path(os.environ.get("MNIST_CNN_DATA", ROOT / "data")).resolve()
    if "MNIST_CNN_DATA" not in os.environ and not (folder / "MNIST").is_dir():
        pytest.skip("MNIST is not on this machine; set MNIST_CNN_DATA to the folder that has it")
    return folder


@pytest.fixture(scope="session")
def mnist(mnist_data: Path) -> Dataset:
    """Load the real MNIST."""
    try:
        return load_dataset("mnist", mnist_data)
    except MirrorError as error:
        pytest.fail(f"MNIST_CNN_DATA promised MNIST: {error}")


@pytest.fixture(scope="session")
def real_digits() -> Path:
    """Name the folder with pictures people wrote, a subfolder per digit; skip where there is none."""
    if "MNIST_CNN_REAL_DIGITS" not in os.environ:
        pytest.skip("set MNIST_CNN_REAL_DIGITS to a folder of real pictures with a subfolder per digit")
    folder = Path(os.environ["MNIST_CNN_REAL_DIGITS"]).resolve()
    assert folder.is_dir()
    return folder


@pytest.fixture(scope="session")
def real_numbers() -> Path:
    """Name the folder with pictures of numbers and a manifest; skip where there is none."""
    if "MNIST_CNN_REAL_NUMBERS" not in os.environ:
        pytest.skip("set MNIST_CNN_REAL_NUMBERS to a folder of real pictures of numbers with a manifest.csv")
    return Path(os.environ["MNIST_CNN_REAL_NUMBERS"]).resolve()


@pytest.fixture(scope="session")
def shipped() -> Path:
    """Name the model of the repository; skip where a training has replaced it, but never in CI."""
    changes = ["git", "-C", str(ROOT), "diff", "--quiet", "HEAD", "--", str(SHIPPED)]
    if subprocess.run(changes, capture_output=True).returncode == 1 and "CI" not in os.environ:
        pytest.skip("saved_models/ holds a model that was trained here; `git checkout saved_models images` undoes that")
    return SHIPPED


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Name a folder that all processes of this run of the tests have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def web_runtime(shared_folder: Path) -> Path:
    """Install the npm packages that the page without a server needs; skip where that cannot be."""
    folder, npm = shared_folder / "npm", shutil.which("npm")
    package = folder / "node_modules" / "onnxruntime-web"
    with FileLock(shared_folder / "npm.lock"):
        folder.mkdir(exist_ok=True)
        if npm and not package.is_dir():
            command = [npm, "install", "--ignore-scripts", "onnxruntime-web", "xz-decompress"]
            subprocess.run(command, cwd=folder, capture_output=True, timeout=250)
    if not package.is_dir():
        pytest.skip("npm cannot install onnxruntime-web and xz-decompress here")
    return package


@pytest.fixture(scope="session")
def static_site(shared_folder: Path, web_runtime: Path) -> Path:
    """Export the page without a server."""
    folder = shared_folder / "site"
    with FileLock(shared_folder / "site.lock"):
        if not folder.is_dir():
            command: list[str | Path] = [
                sys.executable,
                "-m",
                "mnist_cnn.export",
                "--web",
                folder,
                "--runtime",
                web_runtime,
            ]
            export = subprocess.run(command, capture_output=True, text=True, timeout=250)
            assert export.returncode == 0, export.stderr
    return folder


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """Load the bundled digits, which are everywhere."""
    return load_dataset("digits")


@pytest.fixture(scope="session")
def glyphs(digits: Dataset) -> Glyphs:
    """Make glyphs of a few bundled digits."""
    return few_glyphs(digits)


@pytest.fixture(scope="session")
def school(digits: Dataset) -> School:
    """Make a school of a hundred bundled digits, of the forms to train on."""
    return few_school(digits, held_out=False)


def few_school(digits: Dataset, held_out: bool) -> School:
    """Make a school of a hundred bundled digits."""
    few = digits.train[torch.arange(100)]
    return make_school(few.images[:, 0].numpy(), few.labels.numpy().astype(np.uint8), 100, held_out)


def few_glyphs(digits: Dataset, first: int = 0) -> Glyphs:
    """Make glyphs of a hundred bundled digits."""
    few = digits.train[torch.arange(first, first + 100)]
    return make_glyphs(few.images[:, 0].numpy(), few.labels.numpy().astype(np.uint8))


def assert_one_line_error(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Check what wrong input gets: exit code 2 and one clear line."""
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]
