"""The base install and `serve` work on the Pythons that are here, with today's dependencies and the lowest allowed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, environment
from server import PHOTO, post, serving

UV = Path(sys.executable).with_name("uv")
INTERPRETERS = ("3.10", "3.12", "3.13")


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.long
@pytest.mark.parametrize("resolution", ["highest", "lowest-direct"])
@pytest.mark.parametrize("version", INTERPRETERS)
def test_base_and_service(tmp_path: Path, version: str, resolution: str) -> None:
    found = subprocess.run([UV, "python", "find", "--no-python-downloads", version], capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"no Python {version} here")
    if (version, resolution) == ("3.13", "lowest-direct"):
        pytest.skip("the lowest versions have no wheels for 3.13")
    python = tmp_path / "venv" / "bin" / "python"
    run(UV, "venv", "--python", found.stdout.strip(), tmp_path / "venv")
    run(UV, "pip", "install", "--python", python, "--resolution", resolution, f"{ROOT}[serve]")
    program = python.with_name("mnist-cnn")
    assert re.search(r": 4 \(\d", run(program, "predict", PHOTO, env=environment()))
    form = ROOT / "samples" / "form.png"
    assert ": 81080502" in run(program, "read", form, "--grid", "1x8", env=environment())
    with serving(program=(program, "serve")) as (url, _):
        assert post(url, PHOTO.read_bytes(), "image/jpeg").json()["results"][0]["text"] == "4"
