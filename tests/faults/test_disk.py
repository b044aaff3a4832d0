"""Disks that fill up, bytes that flip, clocks that jump, and two trainings in one folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from job import final, same_end, train

from conftest import Tried
from mnist_cnn.run_folder import RunFolder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
SHORT = ("--epochs", "2", "--batch-size", "128")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 600 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root on Linux can mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_ends_in_one_line_and_keeps_the_last_checkpoint(small_disk: Path, tried: Tried) -> None:
    """Two checkpoints fit on it, and no third one beside them."""
    process = train(small_disk, "--epochs", "5")
    process.join(100)
    assert process.exitcode == 2
    said = (small_disk / "said").read_text()
    assert said.splitlines()[-1].startswith("error: No space left on device"), said
    assert "Traceback" not in said
    folder = RunFolder(small_disk / "saved_models", "digits_fast")
    lost = folder.read_newest() is None
    assert not list(small_disk.rglob("*unfinished*"))
    tried("a disk that is full", 1, lost)


def test_a_flipped_byte_is_noticed_and_the_checkpoint_before_is_gone_on_with(tmp_path: Path, tried: Tried) -> None:
    whole, flipped = tmp_path / "whole", tmp_path / "flipped"
    every = ("--checkpoint-every-steps", "5")
    for folder in (whole, flipped):
        folder.mkdir()
        process = train(folder, *SHORT, *every)
        process.join(100)
        assert process.exitcode == 0
    lost = 0
    for place in (0.01, 0.5, 0.999):
        models = flipped / "saved_models"
        process = train(flipped, *SHORT, *every)
        while len(RunFolder(models, "digits_fast").newest_first()) < 2:
            process.join(0.01)
        process.kill()
        process.join()
        newest = RunFolder(models, "digits_fast").newest_first()[0]
        content = bytearray(newest.read_bytes())
        content[int(place * len(content))] ^= 1
        newest.write_bytes(content)
        (flipped / "said").unlink()
        process = train(flipped, *SHORT, *every, "--resume")
        process.join(100)
        said = (flipped / "said").read_text()
        assert process.exitcode == 0, said
        assert f"{newest} is damaged".removeprefix(f"{flipped}/") in said
        lost += not same_end(final(flipped), final(whole))
    tried("a flipped byte in the newest checkpoint", 3, lost)


@pytest.mark.parametrize("clock", ["stands still", "jumps back"])
def test_checkpoints_are_told_apart_whatever_the_clock_says(tmp_path: Path, clock: str, tried: Tried) -> None:
    process = train(tmp_path, *SHORT, "--checkpoint-every-steps", "2")
    folder = RunFolder(tmp_path / "saved_models", "digits_fast")
    while len(folder.newest_first()) < 2:
        process.join(0.01)
    process.kill()
    process.join()
    newest, before = folder.newest_first()
    os.utime(newest, (0, 0))
    os.utime(before, (0, 0) if clock == "stands still" else (2**31, 2**31))
    content = folder.read_newest()
    tried(f"a clock that {clock} between checkpoints", 1, content != newest.read_bytes())


def test_the_second_training_in_a_folder_is_refused(tmp_path: Path, tried: Tried) -> None:
    first = train(tmp_path, "--epochs", "30", "--batch-size", "32")
    while not RunFolder(tmp_path / "saved_models", "digits_fast").newest_first():
        first.join(0.01)
    second = train(tmp_path, *SHORT)
    second.join(60)
    assert second.exitcode == 2
    assert (
        "error: another training of digits_fast is writing to saved_models; wait for it"
        in (tmp_path / "said").read_text()
    )
    assert first.is_alive()
    first.terminate()
    first.join(20)
    tried("two trainings in one folder", 1, first.exitcode != 143)
