"""The wheel reads a photo in an empty environment: no checkout, no PyTorch, no network."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import requests

from conftest import ROOT, environment
from server import serving

PHOTO = ROOT / "images" / "own_digit.jpg"


def run(folder: Path, *command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)], cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=280
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as a person would, from a copy of the sources."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    built = run(folder, sys.executable, "-m", "build")
    if built.returncode and "CI" not in os.environ:
        pytest.skip("no wheel can be built here: without a network pip has no setuptools")
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = (folder / "dist").glob("*.whl")
    return file


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an empty environment; return the folder with its programs."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=True)
    pip = run(folder, folder / "bin" / "python", "-m", "pip", "install", "--quiet", wheel)
    assert pip.returncode == 0, pip.stderr
    return folder / "bin"


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 3_000_000


def test_the_wheel_holds_every_file_of_the_page(wheel: Path) -> None:
    folder = ROOT / "src" / "serving" / "web"
    own = {f"mnist_cnn/serving/web/{path.relative_to(folder)}" for path in folder.rglob("*") if path.is_file()}
    assert own <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize("name", ["mnist_cnn.onnx", "spotter.onnx"])
def test_the_networks_hold_no_path_of_a_machine(name: str) -> None:
    content = (ROOT / "src" / name).read_bytes()
    assert not [path for path in (b"site-packages", b"/home/", b"/root/", b".py") if path in content]


def test_a_photo_is_read_without_checkout_torch_and_network(empty: Path, tmp_path: Path) -> None:
    assert run(tmp_path, empty / "python", "-c", "import torch").returncode == 1
    result = subprocess.run(
        [empty / "mnist-cnn", "predict", PHOTO], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert f"{PHOTO}: 4 (" in result.stdout
    assert not result.stderr


@pytest.mark.parametrize(("command", "extra"), [("train", "train"), ("export", "export"), ("study", "train")])
def test_a_command_names_the_extra_that_it_misses(empty: Path, tmp_path: Path, command: str, extra: str) -> None:
    result = run(tmp_path, empty / "mnist-cnn", command)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert f"run pip install -e '.[{extra}]' in the checkout" in result.stderr


def test_a_pth_needs_torch_and_says_so(empty: Path, tmp_path: Path) -> None:
    checkpoint = ROOT / "saved_models" / "mnist_cnn_final.pth"
    result = run(tmp_path, empty / "mnist-cnn", "predict", PHOTO, "--checkpoint", checkpoint)
    assert result.returncode == 2
    assert "needs torch: run pip install -e '.[train]' in the checkout" in result.stderr


def test_a_pdf_needs_its_extra_and_says_so(empty: Path, tmp_path: Path) -> None:
    (tmp_path / "scan.pdf").write_bytes(b"%PDF-1.7")
    result = run(tmp_path, empty / "mnist-cnn", "predict", "scan.pdf")
    said = "error: scan.pdf: a PDF needs pypdfium2; run pip install -e '.[pdf]' in the checkout\n"
    assert (result.returncode, result.stderr) == (2, said)


def test_the_page_is_served_from_the_wheel_with_what_deployments_install(empty: Path, tmp_path: Path) -> None:
    requirements = ROOT / "deploy" / "requirements.txt"
    pip = run(tmp_path, empty / "python", "-m", "pip", "install", "--quiet", "--require-hashes", "-r", requirements)
    assert pip.returncode == 0, pip.stderr
    check = run(tmp_path, empty / "python", "-m", "pip", "check")
    assert check.returncode == 0, check.stdout
    with serving(program=(empty / "mnist-cnn", "serve")) as (url, _):
        assert "Draw a digit" in requests.get(url, timeout=9).text
        assert requests.get(f"{url}/docs/ui/swagger-ui.css", timeout=9).ok
        answer = requests.post(f"{url}/api/v1/predict", files={"file": PHOTO.read_bytes()}, timeout=30)
        assert answer.json()["results"][0]["text"] == "4"
