"""Training of the spotter: it learns, resumes to the same bits, stops when asked to, and explains itself."""

import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import forked
from conftest import Program, assert_one_line_error, environment, few_glyphs
from mnist_cnn import train_spotter
from mnist_cnn.common.console import exit_codes
from mnist_cnn.common.errors import InputError
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.models.checkpoint import SHIPPED
from mnist_cnn.splits import Dataset, Split, fingerprint
from mnist_cnn.synthetic.glyphs import Glyphs
from mnist_cnn.training.spotter_checkpoint import save, start_or_resume
from mnist_cnn.training.spotter_examples import DrawnBatches
from mnist_cnn.training.spotter_run import SpotterConfig, SpotterRun, batch_loss, learning_rate, start, train_step

CONFIG = SpotterConfig(steps=40, batch_size=4, seed=3)
EVERY = 15
Pair = tuple[Glyphs, Glyphs]


@pytest.fixture(scope="module")
def pair(digits: Dataset) -> Pair:
    """Glyphs for training and validation."""
    return few_glyphs(digits), few_glyphs(digits, 100)


@pytest.fixture(scope="module")
def split(digits: Dataset) -> Split:
    return digits.train


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, split: Split, pair: Pair) -> SpotterRun:
    """A training that nothing disturbed."""
    return train_spotter.fit(CONFIG, split, pair, tmp_path_factory.mktemp("whole") / "s.pth", EVERY)


def train_few(arguments: Sequence[str]) -> None:
    """Be a process that trains on few glyphs, alone in its group but for its worker."""
    if hasattr(os, "setsid"):
        os.setsid()
    with exit_codes():
        digits = load_dataset("digits")
        pair = few_glyphs(digits), few_glyphs(digits, 100)
        train_spotter.fit(CONFIG, digits.train, pair, Path(arguments[0]), EVERY)


def begun(path: Path) -> BaseProcess:
    """Start that process and wait for its first checkpoint."""
    folder = path.parent
    process = forked.start(train_few, [path], folder, environment(), folder / "out", folder / "err")
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert path.exists(), (folder / "err").read_text()
    return process


def assert_same(run: SpotterRun, other: SpotterRun) -> None:
    """Check that two trainings have the same weights, to the last bit."""
    for one, two in ((run.net, other.net), (run.averaged, other.averaged)):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, two.state_dict()[name]), name


def test_thirty_steps_lower_the_loss(glyphs: Glyphs) -> None:
    config = SpotterConfig(steps=30, batch_size=8)
    run = start(config)
    batches = DrawnBatches(glyphs, config.seed, config.batch_size, 0, config.steps)
    before = batch_loss(run.net.eval(), batches[0]).item()
    losses = [train_step(run, batches[number]) for number in range(config.steps)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:2])
    assert batch_loss(run.averaged, batches[0]).item() < 0.7 * before


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [learning_rate(SpotterConfig(steps=100), step) for step in range(100)]
    assert rates[:6] == pytest.approx([0.0008, 0.0016, 0.0024, 0.0032, 0.004, 0.004])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert 0 < rates[-1] < 1e-5


@pytest.mark.long
def test_a_killed_training_ends_with_the_same_weights(
    tmp_path: Path, split: Split, pair: Pair, whole: SpotterRun
) -> None:
    path = tmp_path / "s.pth"
    process = begun(path)
    process.kill()
    process.join(60)
    killed = start_or_resume(CONFIG, fingerprint(split), path)
    assert EVERY <= killed.step < CONFIG.steps
    resumed = train_spotter.fit(CONFIG, split, pair, path, EVERY)
    assert resumed.step == CONFIG.steps
    assert_same(resumed, whole)
    assert_same(train_spotter.fit(CONFIG, split, pair, path, EVERY), whole)


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends_with_one_line(
    tmp_path: Path, split: Split, pair: Pair, whole: SpotterRun, number: signal.Signals
) -> None:
    path = tmp_path / "s.pth"
    process = begun(path)
    assert process.pid
    os.killpg(process.pid, number)  # as a terminal does
    process.join(60)
    assert process.exitcode == 128 + number
    last = (tmp_path / "err").read_text().splitlines()[-1]
    assert "progress is saved, repeat the command to continue" in last
    assert "Traceback" not in (tmp_path / "err").read_text()
    stopped = start_or_resume(CONFIG, fingerprint(split), path)
    assert last.startswith(f"stopped after step {stopped.step} of {CONFIG.steps}; ")
    assert_same(train_spotter.fit(CONFIG, split, pair, path, EVERY), whole)


def test_other_settings_or_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.pth"
    save(start(CONFIG), "a" * 64, path)
    with pytest.raises(
        InputError, match=r"steps was 40 and is 8000; batch_size was 4 and is 48; seed was 3 and is 0; use"
    ):
        start_or_resume(SpotterConfig(), "a" * 64, path)
    with pytest.raises(InputError, match=r"data was aaa.* and is bbb"):
        start_or_resume(CONFIG, "b" * 64, path)


def test_a_damaged_or_foreign_checkpoint_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "s.pth"
    save(start(CONFIG), "a" * 64, path)
    archive = path.read_bytes()
    changed = bytearray(archive)
    changed[len(changed) // 2] ^= 1
    cases = {
        "damaged": bytes(changed),
        "damaged (wrong SHA-256)": archive[: len(archive) // 2],
        "empty": b"",
        "not a checkpoint of a spotter": SHIPPED.read_bytes(),
    }
    for words, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(InputError, match=re.escape(words)) as error:
            start_or_resume(CONFIG, "a" * 64, path)
        assert str(error.value).startswith(str(path))
        assert "remove it to start afresh, or name another file with --output" in str(error.value)
        assert "\n" not in str(error.value)
        assert path.read_bytes() == content
    with pytest.raises(InputError, match="is not a file"):
        start_or_resume(CONFIG, "a" * 64, tmp_path)


def test_two_trainings_do_not_write_one_file(tmp_path: Path) -> None:
    with (
        train_spotter.locked(tmp_path / "s.pth"),
        pytest.raises(InputError, match="another training is writing"),
        train_spotter.locked(tmp_path / "s.pth"),
    ):
        pass


def test_a_trained_spotter_is_exported_and_validated(
    tmp_path: Path, split: Split, pair: Pair, whole: SpotterRun, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "s.onnx"
    save(whole, fingerprint(split), output.with_suffix(".pth"))
    train_spotter.train(CONFIG, split, pair, output, val_pages=4)
    first, rates, _ = capsys.readouterr().out.splitlines()
    assert first == f"{output}: {output.stat().st_size:,} bytes"
    assert rates.startswith("missed ")
    session = onnxruntime.InferenceSession(output, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["data_sha256"] == fingerprint(split)
    contrast = torch.randn(1, 1, 40, 64)
    with torch.no_grad():
        expected = whole.averaged(contrast).numpy()
    np.testing.assert_allclose(session.run(None, {"contrast": contrast.numpy()})[0], expected, atol=1e-3)


def test_samples_are_readable_pictures(tmp_path: Path, glyphs: Glyphs, capsys: pytest.CaptureFixture[str]) -> None:
    train_spotter.show(glyphs, 0, tmp_path)
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(paths) == sorted(tmp_path.iterdir())
    assert len(paths) == 3
    for path in paths:
        with Image.open(path) as picture:
            assert (picture.format, picture.mode) == ("PNG", "RGB")
            assert min(picture.size) > 500


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output", "s.pth"], "--output is s.pth; its name must end in .onnx"),
        (["--steps", "0"], "--steps is 0; it must be 1 or more"),
        (["--seed", "-1"], "--seed is -1; it must be 0 to 4294967295"),
        (["--val-pages", "0"], "--val-pages is 0; it must be 1 or more"),
        (["--show-samples", "file"], "cannot write to file: "),
    ],
)
def test_what_is_wrong_with_a_flag_is_said_in_one_line(
    program: Program, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "file").touch()
    assert_one_line_error(program("train_spotter.py", *arguments), words)


def test_training_and_validation_pages_are_of_different_training_images(mnist: Dataset) -> None:
    few = Split(mnist.train.images[-700:], mnist.train.labels[-700:])
    training, validation = train_spotter.split_glyphs(few, 200)
    expected = few.images[:, 0].numpy()
    for glyphs, images in ((training, expected[:-200]), (validation, expected[-200:])):
        used = {image.tobytes() for of_class in glyphs.images for image in of_class}
        assert used == {image.tobytes() for image in images}
    assert train_spotter.VAL_SIZE == 5000
