"""Compilers for computer and chips, and what the programs that they make answer."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mnist_cnn.pictures.image_io import Pixels

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror")
SANITIZED = ("-O2", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def need(tool: str, promised: bool = False) -> str:
    """Return a tool's name; skip where it is missing, but not in CI if it is `promised` there."""
    if shutil.which(tool) is None:
        if promised and "CI" in os.environ:
            pytest.fail(f"{tool} is missing, which CI must have")
        pytest.skip(f"{tool} is not installed")
    return tool


def compile_program(folder: Path, compiler: str, *flags: str) -> Path:
    """Compile an exported folder's program for this computer, warnings being errors."""
    program = folder / "program"
    command = [compiler, *STRICT, *flags, "main.c", "mnist_cnn.c", "-o", str(program)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return program


def as_idx(images: Pixels) -> bytes:
    """Write images as the content of an IDX file."""
    return np.array([0x803, *images.shape], ">u4").tobytes() + images.tobytes()


def parsed(output: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Read the program's lines: classes [N] and logits [N, classes]."""
    rows = np.array([line.split() for line in output.splitlines()], np.int64)
    return rows[:, 0], rows[:, 1:]


def answers(command: Sequence[str | Path], images: Pixels) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Run a program on images [N, 28, 28] and return classes [N] and logits [N, classes]."""
    result = subprocess.run(command, input=as_idx(images), capture_output=True, timeout=200)
    assert result.returncode == 0, result.stderr
    return parsed(result.stdout.decode())
