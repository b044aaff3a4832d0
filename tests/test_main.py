"""The whole job as a person runs it: a process, files, flags, Ctrl-C, a full disk."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from conftest import ROOT, Program, assert_one_line_error, environment
from mnist_cnn.models.checkpoint import load_checkpoint
from test_evaluate import FIGURES

FAST = ("--dataset", "digits", "--preset", "fast", "--deterministic", "--device", "cpu")


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)).replace(os.sep, "/") for path in folder.rglob("*") if path.is_file()}


def test_the_whole_job(program: Program, tmp_path: Path) -> None:
    result = program("main.py", "--dataset", "digits", "--epochs", "2")
    assert result.returncode == 0, result.stderr
    assert "epoch 2/2" in result.stderr
    assert "images/s" in result.stderr
    for word in ("digits test split, digits_cnn_final.pth: 360 images", "Wilson interval", "precision", "confusion"):
        assert word in result.stdout
    models = {
        "digits_cnn_final.pth",
        "digits_cnn_final.json",
        "digits_cnn_history.csv",
        "digits_cnn_history.jsonl",
        "checkpoints/digits_cnn_epoch_2.pth",
        "checkpoints/.digits_cnn.lock",
    }
    expected = {f"saved_models/{name}" for name in models} | {f"images/{name}" for name in FIGURES}
    assert files_in(tmp_path) == expected
    report = json.loads((tmp_path / "saved_models" / "digits_cnn_final.json").read_text(encoding="utf-8"))
    final = load_checkpoint(tmp_path / "saved_models" / "digits_cnn_final.pth")
    assert (report["count"], report["trained_on"], report["evaluated_on"]) == (360, "digits", "digits test split")
    assert report["history"] == final.history
    assert final.train_config["epochs"] == 2

    again = program("evaluate.py", "--checkpoint", tmp_path / "saved_models" / "digits_cnn_final.pth")
    assert again.returncode == 0, again.stderr
    assert f"360 images, {report['errors']} errors" in again.stdout
    assert json.loads((tmp_path / "saved_models" / "digits_cnn_final.json").read_text(encoding="utf-8")) == report
    assert files_in(tmp_path) == expected


def test_the_results_of_mnist_stay_where_another_dataset_comes(program: Program, tmp_path: Path) -> None:
    mnist = [tmp_path / "saved_models" / f"mnist_cnn_final{suffix}" for suffix in (".pth", ".json")]
    mnist += [tmp_path / "images" / name for name in FIGURES]
    for path in mnist:
        path.parent.mkdir(exist_ok=True)
        path.write_text("of mnist")
    result = program("main.py", *FAST, "--epochs", "1")
    assert result.returncode == 0, result.stderr
    assert {path.read_text() for path in mnist} == {"of mnist"}
    assert {path.name for path in (tmp_path / "images" / "digits_fast").iterdir()} == FIGURES


def test_without_data_or_network_it_says_so_and_trains_on_the_bundled_digits(program: Program, tmp_path: Path) -> None:
    result = program("main.py", "--preset", "fast", "--epochs", "1")
    assert result.returncode == 0, result.stderr
    assert "using scikit-learn's 1,797 bundled digits, not MNIST" in result.stderr
    assert "training on digits" in result.stdout
    assert not [name for name in files_in(tmp_path) if "mnist_cnn" in name]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--epoch", "3"], ["Unrecognized options: --epoch", "main.py --help"]),
        (["--epochs", "0"], ["--epochs is 0; it must be 1 or more"]),
        (["--epochs", "-1"], ["--epochs is -1; it must be 1 or more"]),
        (["--epochs", "many"], ["--epochs", "many"]),
        (["--device", "cuda:9"], ["device 'cuda:9' is not on this machine"]),
        (["--preset", "huge"], ["huge", "default"]),
        (["--dataset", "mnits"], ["no dataset 'mnits'"]),
        (["--dataset", "digits", "--val-size", "9000"], ["cannot set 9000", "--val-size"]),
        (["--dataset", "digits", "--resume"], ["nothing to resume"]),
        (["--dataset", "digits", "--output-dir", "a_file"], ["cannot write to a_file", "--output-dir"]),
    ],
)
def test_wrong_flags_get_one_line_and_write_nothing(
    program: Program, tmp_path: Path, flags: list[str], words: list[str]
) -> None:
    (tmp_path / "a_file").write_text("mine")
    assert_one_line_error(program("main.py", *flags), *words)
    assert files_in(tmp_path) == {"a_file"}
    assert (tmp_path / "a_file").read_text() == "mine"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "saved_models" / "digits_fast_final.pth").state_dict


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_keeps_the_last_step_and_resuming_ends_bit_identical(program: Program, tmp_path: Path) -> None:
    flags = [*FAST, "--epochs", "30"]
    assert program("main.py", *flags, "--output-dir", "whole").returncode == 0

    command = [sys.executable, str(ROOT / "src" / "main.py"), *flags, "--output-dir", "parts"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    checkpoints = tmp_path / "parts" / "saved_models" / "checkpoints"
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("digits_fast_epoch_*.pth")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    place = re.search(
        r"stopped in epoch (\d+) of 30, after step (\d+); progress is saved, continue with --resume$", errors
    )
    assert place, errors
    assert (checkpoints / f"digits_fast_epoch_{place[1]}_step_{place[2]}.pth").is_file()
    assert not (tmp_path / "parts" / "saved_models" / "digits_fast_final.pth").exists()

    result = program("main.py", *flags, "--output-dir", "parts", "--resume")
    assert result.returncode == 0, result.stderr
    assert f"epoch {int(place[1]) - 1}/30" not in result.stderr
    torch.testing.assert_close(weights(tmp_path / "parts"), weights(tmp_path / "whole"), rtol=0, atol=0)


@pytest.mark.long
def test_a_disk_that_fills_up_leaves_no_half_file(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="Windows has no RLIMIT_FSIZE")
    limited = (
        "import resource, sys, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "sys.argv[0] = 'main.py'; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    )
    command = [sys.executable, "-c", limited, str(ROOT / "src" / "main.py"), *FAST]
    result = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120)
    assert result.returncode == 2, result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: File too large")
    assert "Traceback" not in result.stderr
    assert files_in(tmp_path) == {
        *("saved_models/digits_fast_history.csv", "saved_models/digits_fast_history.jsonl"),
        "saved_models/checkpoints/.digits_fast.lock",
    }


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a read-only folder")
def test_a_read_only_folder_is_named_before_training(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "frozen"
    folder.mkdir()
    folder.chmod(0o555)
    if os.access(folder, os.W_OK):  # root may write anyway: freeze it as a mount
        mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("neither permissions nor a mount can make a folder read-only here")
    try:
        assert_one_line_error(program("main.py", *FAST, "--output-dir", folder), f"cannot write to {folder}")
    finally:
        if folder.is_mount():
            subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.long
def test_both_scripts_from_another_folder_with_absolute_paths(program: Program, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere"
    result = program("main.py", *FAST, "--epochs", "1", "--output-dir", out)
    assert result.returncode == 0, result.stderr
    model = out / "saved_models" / "digits_fast_final.pth"
    result = program("evaluate.py", "--checkpoint", model, "--output-dir", out)
    assert result.returncode == 0, result.stderr
    assert all(name.startswith("elsewhere/") for name in files_in(tmp_path))
