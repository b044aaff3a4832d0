"""What is set before PyTorch loads is what it gets."""

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, environment
from mnist_cnn.common.signals import WAITING_VARIABLES

COMMAND = [str(Path(sys.executable).with_name("mnist-cnn")), "train"]
SCRIPT = [sys.executable, str(ROOT / "src" / "main.py")]


@pytest.mark.skipif(sys.platform != "linux", reason="GCC's OpenMP library is Linux's")
@pytest.mark.parametrize(
    ("program", "own", "spins"),
    [
        (COMMAND, {}, "1000"),
        (SCRIPT, {}, "1000"),
        (COMMAND, {"GOMP_SPINCOUNT": "77"}, "77"),
        (COMMAND, {"OMP_WAIT_POLICY": "active"}, "30000000000"),
    ],
)
def test_openmp_waits_as_set_before_pytorch_loads(program: list[str], own: dict[str, str], spins: str) -> None:
    variables = {name: value for name, value in environment().items() if name not in WAITING_VARIABLES}
    variables |= {"OMP_DISPLAY_ENV": "verbose"} | own  # the library then says what it has read
    with subprocess.Popen(
        [*program, "--help"], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        said = next((line for line in process.stderr if "GOMP_SPINCOUNT" in line), "nothing")
        process.kill()
    assert said.split(" = ")[1:] == [f"'{spins}'\n"]
