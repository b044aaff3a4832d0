"""The networks that ship are those whose hashes are committed, and a changed one is noticed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

SCRIPT = Path("scripts") / "verify_models.py"


def verify(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, folder / SCRIPT, *arguments], capture_output=True, text=True)


@pytest.mark.usefixtures("shipped")
def test_the_networks_that_ship_are_those_committed() -> None:
    result = verify(ROOT)
    assert result.returncode == 0, f"{result.stdout}run scripts/verify_models.py --write if that is meant"
    networks = {path.relative_to(ROOT).as_posix() for path in (ROOT / "src").rglob("*.onnx")}
    checked = set(re.findall(r"^(\S+): as committed", result.stdout, re.MULTILINE))
    assert checked == networks | {"saved_models/mnist_cnn_final.pth"}


def test_a_changed_network_is_noticed_and_can_be_accepted(tmp_path: Path) -> None:
    for name in (SCRIPT, *map(Path, ("saved_models/mnist_cnn_final.pth", "src/mnist_cnn.onnx", "src/spotter.onnx"))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    assert verify(tmp_path, "--write").returncode == 0
    with (tmp_path / "src" / "spotter.onnx").open("ab") as file:
        file.write(b"\0")
    result = verify(tmp_path)
    assert result.returncode == 1
    assert [line.split(":")[0] for line in result.stdout.splitlines() if "NOT" in line] == ["src/spotter.onnx"]
    assert verify(tmp_path, "--write").returncode == 0
    assert verify(tmp_path).returncode == 0
