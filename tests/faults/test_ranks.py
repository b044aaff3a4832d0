"""Many processes, one training: the same steps, the same answers, and no fault of one of them loses anything."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from job import final, same_end

from conftest import ROOT, Tried, environment
from mnist_cnn.models.checkpoint import load_checkpoint
from mnist_cnn.training.run_dir import RunDir

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torchrun's gloo is for Linux and macOS here")
TORCHRUN = str(Path(sys.executable).with_name("torchrun"))
Popen = subprocess.Popen[str]
STEPS = ROOT / "tests" / "faults" / "steps.py"
TRAIN = (
    *(ROOT / "src" / "main.py", "--dataset", "digits", "--preset", "fast", "--deterministic", "--device", "cpu"),
    *("--epochs", "3", "--batch-size", "64"),
)


def command(count: int, *arguments: str | Path, flags: tuple[str, ...] = ()) -> list[str]:
    """Say how to start some processes on this machine."""
    return [TORCHRUN, "--standalone", f"--nproc-per-node={count}", *flags, *map(str, arguments)]


def torchrun(folder: Path, count: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run some processes to their end."""
    return subprocess.run(
        command(count, *arguments), cwd=folder, env=environment(), capture_output=True, text=True, timeout=200
    )


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, list[float]]]:
    """Train the same network with one process and with three."""
    folder, results = tmp_path_factory.mktemp("steps"), {}
    for count in (1, 3):
        result = torchrun(folder, count, STEPS, f"{count}.json")
        assert result.returncode == 0, result.stderr
        results[count] = json.loads((folder / f"{count}.json").read_text())
    return results


def test_processes_agree_step_by_step(steps: dict[int, dict[str, list[float]]]) -> None:
    """The last batch of 1,201 images has one image, so that some processes must borrow it."""
    alone, together = steps[1], steps[3]
    assert len(alone["losses"]) == 25
    assert together["order"] == alone["order"]
    np.testing.assert_allclose(together["losses"], alone["losses"], rtol=2e-5)
    assert together["correct"] == alone["correct"]
    np.testing.assert_allclose(together["weights"], alone["weights"], rtol=0, atol=1e-4)


def test_every_image_is_evaluated_once_and_in_order(steps: dict[int, dict[str, list[float]]]) -> None:
    """359 images do not divide by 3."""
    assert np.array(steps[3]["logits"]).shape == (359, 10)
    np.testing.assert_allclose(steps[3]["logits"], steps[1]["logits"], rtol=0, atol=1e-3)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train with two processes, undisturbed."""
    folder = tmp_path_factory.mktemp("pair")
    result = torchrun(folder, 2, *TRAIN)
    assert result.returncode == 0, result.stderr
    (folder / "log").write_text(result.stdout)
    (folder / "errors").write_text(result.stderr)
    return folder


def test_two_processes_train_one_model_and_speak_once(pair: Path) -> None:
    log, errors = (pair / "log").read_text(), (pair / "errors").read_text()
    report = json.loads((pair / "saved_models" / "digits_fast_final.json").read_text())
    assert report["count"] == 360
    assert report["accuracy"] > 0.9
    for line in ("training on digits", "360 images", "model: ", "report: "):
        assert log.count(line) == 1
    assert errors.count("validation: loss") == 3
    assert not [path for path in pair.rglob("*") if "unfinished" in path.name]


def wait_for_steps(folder: Path, count: int, process: Popen) -> None:
    """Wait until so many steps are saved."""
    models = RunDir(folder / "saved_models", "digits_fast")
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        newest = models.newest_first()
        if newest and any(int(step) >= count for step in re.findall(r"step_(\d+)", newest[0].name)):
            return
        time.sleep(0.02)
    pytest.fail(f"no step {count}")


def pid_of_rank(rank: int, folder: Path) -> int:
    """Find a process of a training in a folder by its environment."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == folder and f"\0RANK={rank}\0".encode() in (
                b"\0" + (process / "environ").read_bytes()
            ):
                return int(process.name)
        except OSError:
            continue
    pytest.fail(f"no rank {rank}")


@pytest.fixture
def running() -> Iterator[list[Popen]]:
    """Collect processes, and end their groups."""
    processes: list[Popen] = []
    yield processes
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)
        if process.stderr:
            process.stderr.close()


def launch(folder: Path, running: list[Popen], *flags: str, more: tuple[str, ...] = ()) -> Popen:
    """Start two processes that save every second step."""
    arguments = command(2, *TRAIN, "--checkpoint-every-steps", "2", *more, flags=flags)
    process = subprocess.Popen(
        arguments, cwd=folder, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip
    running.append(process)
    return process


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="looks ranks up in /proc")
def test_a_killed_process_is_started_again_and_the_end_is_the_same(
    pair: Path, tmp_path: Path, running: list[Popen], tried: Tried
) -> None:
    process = launch(tmp_path, running, "--max-restarts=2")
    wait_for_steps(tmp_path, 4, process)
    os.kill(pid_of_rank(0, tmp_path), signal.SIGKILL)
    _, errors = process.communicate(timeout=150)
    assert process.returncode == 0, errors
    assert errors.count("epoch 1/3:   0%") == 1, "it began anew instead of going on"
    lost = not same_end(final(tmp_path), final(pair))
    tried("SIGKILL of one of two processes of a training, torchrun --max-restarts", 1, lost)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="looks ranks up in /proc")
def test_a_process_that_hangs_is_named(tmp_path: Path, running: list[Popen], tried: Tried) -> None:
    process = launch(tmp_path, running, more=("--worker-timeout", "3"))
    wait_for_steps(tmp_path, 4, process)
    hung = pid_of_rank(1, tmp_path)
    os.kill(hung, signal.SIGSTOP)
    lines = []
    assert process.stderr
    for line in process.stderr:
        lines.append(line)
        if "error: " in line:
            break
    os.kill(hung, signal.SIGKILL)
    assert "rank 0 stopped: no answer from rank 1" in lines[-1], "".join(lines)[-3000:]
    lost = RunDir(tmp_path / "saved_models", "digits_fast").read_newest() is None
    tried("a process that hangs, named after --worker-timeout", 1, lost)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="looks ranks up in /proc")
def test_sigterm_to_torchrun_saves_the_same_step_on_all(
    pair: Path, tmp_path: Path, running: list[Popen], tried: Tried
) -> None:
    process = launch(tmp_path, running)
    wait_for_steps(tmp_path, 4, process)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert len(re.findall(r"stopped in epoch \d of 3, after step (\d+); progress is saved", errors)) >= 1, errors
    result = torchrun(tmp_path, 2, *TRAIN, "--resume")
    assert result.returncode == 0, result.stderr
    tried("SIGTERM of torchrun with two processes", 1, not same_end(final(tmp_path), final(pair)))


@pytest.fixture
def two_hosts() -> Iterator[tuple[str, str]]:
    """Make two hosts of network namespaces with a cable between them: 10.77.0.1 and 10.77.0.2."""
    names = (f"mnist-a-{os.getpid()}", f"mnist-b-{os.getpid()}")
    link = [f"va{os.getpid()}"[:15], f"vb{os.getpid()}"[:15]]
    steps = [
        *(["ip", "netns", "add", name] for name in names),
        ["ip", "link", "add", link[0], "type", "veth", "peer", "name", link[1]],
    ]
    for number, (name, end) in enumerate(zip(names, link, strict=True), start=1):
        inside = ["ip", "-n", name]
        steps += [
            ["ip", "link", "set", end, "netns", name],
            [*inside, "address", "add", f"10.77.0.{number}/24", "dev", end],
            [*inside, "link", "set", end, "up"],
            [*inside, "link", "set", "lo", "up"],
        ]
    try:
        for step in steps:
            made = subprocess.run(step, capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"no network namespaces here: {made.stderr.strip()}")
        yield names
    except FileNotFoundError:
        pytest.skip("ip is not installed")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="needs network namespaces")
def test_two_machines_train_one_model(
    pair: Path, tmp_path: Path, two_hosts: tuple[str, str], running: list[Popen]
) -> None:
    flags = ("--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-endpoint=10.77.0.1:29400")
    hosts = []
    for number, name in enumerate(two_hosts):
        folder = tmp_path / str(number)
        folder.mkdir()
        interface = subprocess.run(
            ["ip", "-n", name, "-o", "-4", "address", "show", "scope", "global"], capture_output=True, text=True
        ).stdout.split()[1]
        hosts.append(
            subprocess.Popen(
                ["ip", "netns", "exec", name, TORCHRUN, *flags, f"--node-rank={number}",
                 f"--local-addr=10.77.0.{number + 1}",
                    f"--rdzv-conf=is_host={number == 0}", *map(str, TRAIN)],
                cwd=folder, env=environment(GLOO_SOCKET_IFNAME=interface, OMP_NUM_THREADS="1"), stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL, text=True, start_new_session=True,
            )
        )  # fmt: skip
    running += hosts
    for host in hosts:
        errors = host.communicate(timeout=150)[1]
        assert host.returncode == 0, errors
    (saved,) = tmp_path.rglob("digits_fast_final.pth")
    assert same_end(load_checkpoint(saved), final(pair))
