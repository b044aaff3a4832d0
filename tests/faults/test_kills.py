"""SIGKILL at any moment: what was saved is whole, and who goes on ends as if nothing had happened."""

import itertools
import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest
from job import final, run_study, same_end, train

from conftest import Tried
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import UNFINISHED
from mnist_cnn.models.checkpoint import Checkpoint, load_checkpoint
from mnist_cnn.training.run_dir import RunDir

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither fork nor SIGKILL")
RECIPE = ("--epochs", "3", "--batch-size", "64")
OFTEN = (*RECIPE, "--checkpoint-every-steps", "2")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Train once without a fault."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process = train(folder, *RECIPE)
    process.join(200)
    assert process.exitcode == 0, (folder / "log").read_text()
    return final(folder)


def damage(folder: RunDir) -> int:
    """Count the checkpoints that cannot be read, and temporary files beyond the one under way."""
    unreadable = 0
    for path in folder.newest_first():
        try:
            load_checkpoint(path)
        except InputError:
            unreadable += 1
    files = [path.name for path in (*folder.models.glob(".*"), *folder.checkpoints.glob(".*"))]
    return unreadable + max(0, sum(bool(UNFINISHED.fullmatch(name)) for name in files) - 1)


def test_trainings_that_are_killed_end_bit_identical(
    tmp_path: Path, undisturbed: Checkpoint, pytestconfig: pytest.Config, tried: Tried
) -> None:
    choose, kills, lost = random.Random(0), 0, 0
    times = pytestconfig.getoption("--faults")
    folder = RunDir(tmp_path / "saved_models", "digits_fast")
    for life in itertools.count():
        assert life < 10 * times, "hardly any training lives long enough to be killed"
        begun = folder.newest_first()
        process = train(tmp_path, *OFTEN, *(["--resume"] if begun else []))
        process.join(choose.uniform(0.1, 1.2) if kills < times else 200)
        if process.is_alive():
            process.kill()
            process.join()
            kills += 1
            newest = folder.newest_first()
            lost += damage(folder) + (bool(begun) and newest[0] not in (begun[0], *set(newest) - set(begun)))
        else:
            assert process.exitcode == 0, (tmp_path / "log").read_text()[-2000:]
            lost += not same_end(final(tmp_path), undisturbed)
            if kills >= times:
                break
            shutil.rmtree(tmp_path / "saved_models")
    tried("SIGKILL of a training, at any time, also while it writes", kills, lost)
    assert not [path for path in tmp_path.rglob(".*") if UNFINISHED.fullmatch(path.name)]


@pytest.mark.long
def test_studies_that_are_killed_lose_and_double_no_row(
    tmp_path: Path, pytestconfig: pytest.Config, tried: Tried
) -> None:
    """Two processes share ten seeds; one after the other is killed and started again."""
    choose, kills, times = random.Random(1), 0, max(1, pytestconfig.getoption("--faults") // 4)
    arguments, seeds = ("--output", "rows.jsonl", "--seeds", "10"), list(range(10))
    workers = [run_study(tmp_path, *arguments) for _ in range(2)]
    while kills < times:
        workers[0].join(choose.uniform(0.5, 2.5))
        if not workers[0].is_alive():
            assert workers[0].exitcode == 0, (tmp_path / "log").read_text()[-2000:]
            (tmp_path / "rows.jsonl").unlink(missing_ok=True)  # all rows are there: begin again
            for worker in workers:
                worker.join(100)
        workers[0].kill()
        workers[0].join()
        kills += 1
        workers = [workers[1], run_study(tmp_path, *arguments)]
    for worker in workers:
        worker.join(200)
        assert worker.exitcode == 0, (tmp_path / "log").read_text()[-2000:]
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    found = sorted(row["recipe"]["seed"] for row in rows)
    tried("SIGKILL of one of two processes of a study", kills, len(set(seeds) - set(found)) + len(found) - len(seeds))
    assert {path.name for path in tmp_path.iterdir()} == {"rows.jsonl", "log"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_step(tmp_path: Path, undisturbed: Checkpoint, number: signal.Signals, tried: Tried) -> None:
    folder, choose, lost = RunDir(tmp_path / "saved_models", "digits_fast"), random.Random(2), 0
    times = 3
    for _ in range(times):
        shutil.rmtree(folder.models, ignore_errors=True)
        process = train(tmp_path, *RECIPE)
        while process.is_alive() and not folder.newest_first():
            process.join(0.02)
        process.join(choose.uniform(0, 0.05))
        assert process.pid
        os.kill(process.pid, number)
        process.join(20)
        assert process.exitcode == 128 + number, (tmp_path / "log").read_text()[-2000:]
        resumed = train(tmp_path, *RECIPE, "--resume")
        resumed.join(200)
        lost += not same_end(final(tmp_path), undisturbed)
    tried(f"{number.name}, saved and ended with {128 + number}", times, lost)
