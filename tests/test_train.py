"""Training learns, repeats itself, goes on where it stopped, and looks at nothing it should not."""

import csv
import dataclasses
import json
import math
import re
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR

from mnist_cnn.cnn_model import CNN, ModelConfig
from mnist_cnn.common.errors import InputError
from mnist_cnn.evaluate import infer
from mnist_cnn.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mnist_cnn.splits import Dataset, Split
from mnist_cnn.train import fit
from mnist_cnn.training.augment import AugmentConfig
from mnist_cnn.training.config import PRESETS, TrainConfig
from mnist_cnn.training.learner import build_learner, train_step
from mnist_cnn.training.resume import EpochRecord
from mnist_cnn.training.run_dir import RunDir


def config(folder: Path, **changes: Any) -> TrainConfig:
    settings = TrainConfig(preset="fast", epochs=2, batch_size=128, output_dir=folder, device="cpu", deterministic=True)
    return dataclasses.replace(settings, **changes)


def assert_same_weights(first: Checkpoint, second: Checkpoint) -> None:
    torch.testing.assert_close(first.state_dict, second.state_dict, rtol=0, atol=0)


@pytest.mark.parametrize(
    "change",
    [
        *({"epochs": 0}, {"epochs": -3}, {"batch_size": 1}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}),
        *({"filter_learning_rate": 0.0}, {"filter_learning_rate": float("inf")}),
        *({"weight_decay": -0.1}, {"label_smoothing": 1.0}, {"val_size": 0}, {"val_size": -5}, {"seed": -1}),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, Any]) -> None:
    flag = next(iter(change)).replace("_", "-")
    with pytest.raises(InputError, match=re.escape(f"--{flag} is {next(iter(change.values()))}; it must be")):
        TrainConfig(**change)


def test_every_preset_can_be_named() -> None:
    assert set(get_args(get_type_hints(TrainConfig)["preset"])) == set(PRESETS)
    assert all(preset.train.preset == name for name, preset in PRESETS.items())
    assert PRESETS["default"].train == TrainConfig()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_on_one_batch_lowers_its_loss(digits: Dataset, precision: Any) -> None:
    settings = TrainConfig(precision=precision, device="cpu", epochs=1, batch_size=64, learning_rate=0.003)
    learner = build_learner(CNN(ModelConfig(stages=((8,), (16,)))), settings, images=64 * 30)
    batch = digits.train[torch.arange(64)]
    loss = [
        torch.nn.functional.cross_entropy(train_step(learner, batch.images, batch.labels, 0.0), batch.labels).item()
        for _ in range(30)
    ]
    assert loss[-1] < loss[0] / 4


def test_label_smoothing_is_in_the_gradient_and_not_in_the_history(tmp_path: Path, digits: Dataset) -> None:
    plain = fit(digits, config(tmp_path / "plain", label_smoothing=0.0))
    smooth = fit(digits, config(tmp_path / "smooth", label_smoothing=0.2))
    assert not torch.equal(plain.state_dict["classifier.weight"], smooth.state_dict["classifier.weight"])
    sure = [infer(c.build_model(), digits.test).softmax(1).max(1).values.mean() for c in (plain, smooth)]
    assert sure[1] < sure[0]


def test_a_teachers_probabilities_are_the_targets_and_the_labels_are_not(tmp_path: Path, digits: Dataset) -> None:
    teacher = fit(digits, config(tmp_path / "teacher", epochs=8))
    save_checkpoint(teacher, tmp_path / "teacher.pth")
    misled = dataclasses.replace(digits, train=Split(digits.train.images, digits.train.labels.roll(1)))
    settings = config(tmp_path / "pupil", epochs=8, teacher=str(tmp_path / "teacher.pth"))
    pupil = fit(misled, settings)
    expected, found = (infer(one.build_model(), digits.test).argmax(dim=1) for one in (teacher, pupil))
    assert (expected == digits.test.labels).float().mean() > 0.9
    assert (found == expected).float().mean() > 0.9
    assert pupil.train_config["teacher"] == settings.teacher
    with pytest.raises(InputError, match=r"teacher was .*teacher\.pth and is None"):
        fit(misled, dataclasses.replace(settings, teacher=None, resume=True))


def test_a_teacher_that_cannot_teach_is_refused(tmp_path: Path, digits: Dataset) -> None:
    save_checkpoint(fit(digits, config(tmp_path / "teacher", epochs=1)), tmp_path / "teacher.pth")
    letters = dataclasses.replace(digits, classes=tuple("abcdefghij"))
    with pytest.raises(InputError, match=r"the teacher .*teacher\.pth knows other classes than the dataset"):
        fit(letters, config(tmp_path / "pupil", teacher=str(tmp_path / "teacher.pth"), augment=AugmentConfig(serif=0)))


def test_one_seed_gives_bit_identical_weights(tmp_path: Path, digits: Dataset) -> None:
    first = fit(digits, config(tmp_path / "a"))
    assert_same_weights(first, fit(digits, config(tmp_path / "b")))
    other = fit(digits, config(tmp_path / "c", seed=1))
    assert not torch.equal(first.state_dict["classifier.weight"], other.state_dict["classifier.weight"])


def test_the_test_split_is_held_out(tmp_path: Path, digits: Dataset) -> None:
    class HeldOut(Split):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"training looked at {name} of the test split")

    held_out = dataclasses.replace(digits, test=HeldOut(digits.test.images, digits.test.labels))
    assert_same_weights(fit(held_out, config(tmp_path / "a")), fit(digits, config(tmp_path / "b")))


def test_history_is_in_the_checkpoint_and_as_csv(tmp_path: Path, digits: Dataset) -> None:
    checkpoint = fit(digits, config(tmp_path))
    models = tmp_path / "saved_models"
    assert [row["epoch"] for row in checkpoint.history] == [1, 2]
    assert set(checkpoint.history[0]) == {field.name for field in dataclasses.fields(EpochRecord)}
    with (models / "digits_fast_history.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows == checkpoint.history
    lines = (models / "digits_fast_history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == checkpoint.history
    last_epoch = load_checkpoint(models / "checkpoints" / "digits_fast_epoch_2.pth")
    assert last_epoch.history == checkpoint.history
    today = datetime.now(timezone.utc).date()
    assert {today, date.fromisoformat(checkpoint.trained or "")} <= {today, today - timedelta(days=1)}  # midnight
    assert last_epoch.trained is None, "its training has not ended"
    losses = [row["val_loss"] for row in checkpoint.history]
    assert losses[1] < losses[0] or checkpoint.history[1]["val_accuracy"] > checkpoint.history[0]["val_accuracy"]


def test_only_the_last_checkpoint_is_kept_and_it_can_be_resumed(tmp_path: Path, digits: Dataset) -> None:
    final = fit(digits, config(tmp_path))
    files = list((tmp_path / "saved_models" / "checkpoints").glob("*.pth"))
    assert [file.name for file in files] == ["digits_fast_epoch_2.pth"]
    assert load_checkpoint(files[0]).training_state is not None
    assert final.training_state is None
    assert_same_weights(final, load_checkpoint(files[0]))


def test_a_finished_run_resumes_to_itself(tmp_path: Path, digits: Dataset) -> None:
    finished = fit(digits, config(tmp_path))
    resumed = fit(digits, config(tmp_path, resume=True))
    assert_same_weights(finished, resumed)
    assert resumed.history == finished.history


def test_a_finished_run_is_extended_on_the_schedule_of_more_epochs(tmp_path: Path, digits: Dataset) -> None:
    finished = fit(digits, config(tmp_path))
    extended = fit(digits, config(tmp_path, epochs=4, resume=True))
    assert extended.history[:2] == finished.history
    assert [row["epoch"] for row in extended.history] == [1, 2, 3, 4]
    steps = math.ceil(1317 / 128)
    planned = OneCycleLR(SGD([torch.zeros(1)], 0.01), 0.01, total_steps=4 * steps, cycle_momentum=False)
    for _ in range(3 * steps):
        planned.optimizer.step()
        planned.step()
    assert extended.history[2]["learning_rate"] == pytest.approx(planned.get_last_lr()[0])
    assert not torch.equal(extended.state_dict["classifier.weight"], finished.state_dict["classifier.weight"])
    with pytest.raises(InputError, match="epochs was 4 and is 3; resume with the same flags"):
        fit(digits, config(tmp_path, epochs=3, resume=True))


def test_the_first_step_of_an_extension_has_its_learning_rate(digits: Dataset) -> None:
    settings = TrainConfig(epochs=1, batch_size=64, device="cpu")
    network, batch = CNN(ModelConfig(stages=((4,),))), digits.train[torch.arange(64)]
    short = build_learner(network, settings, images=64 * 5)
    for _ in range(5):
        train_step(short, batch.images, batch.labels, 0.0)
    long = build_learner(network, dataclasses.replace(settings, epochs=2), images=64 * 5)
    rates = [long.learning_rate]
    for _ in range(5):
        train_step(long, batch.images, batch.labels, 0.0)
        rates.append(long.learning_rate)
    extended = build_learner(network, dataclasses.replace(settings, epochs=2), images=64 * 5)
    extended.load_state(network.state_dict(), short.state(), longer=True)
    assert extended.learning_rate == rates[5] > 2 * short.learning_rate
    assert extended.optimizers[0].param_groups[0]["lr"] == rates[5]


def test_resuming_something_else_names_what_differs(tmp_path: Path, digits: Dataset) -> None:
    fit(digits, config(tmp_path))
    changed = config(tmp_path, resume=True, learning_rate=0.02, augment=AugmentConfig(shift=0.3))
    with pytest.raises(InputError, match=r"learning_rate was 0.01 and is 0.02; augment.shift was 0.06 and is 0.3; res"):
        fit(digits, changed)
    relabelled = dataclasses.replace(digits, train=Split(digits.train.images, digits.train.labels.flip(0)))
    with pytest.raises(InputError, match=r"data was [0-9a-f]{64} and is [0-9a-f]{64}; "):
        fit(relabelled, config(tmp_path, resume=True))
    with pytest.raises(InputError, match=r"network\.stages was"):
        fit(digits, config(tmp_path, resume=True), ModelConfig(stages=((4,),)))


@pytest.mark.parametrize("state", [None, {}, {"optimizers": 3}, {"optimizers": [{}], "schedulers": [], "progress": {}}])
def test_a_checkpoint_without_the_state_of_a_training_is_not_resumed(
    tmp_path: Path, digits: Dataset, state: dict[str, Any] | None
) -> None:
    settings = config(tmp_path, epochs=1)
    fit(digits, settings)
    path = tmp_path / "saved_models" / "checkpoints" / "digits_fast_epoch_1.pth"
    save_checkpoint(dataclasses.replace(load_checkpoint(path), training_state=state), path)
    with pytest.raises(
        InputError, match=r"cannot resume in .*checkpoints: the newest checkpoint has no valid training state"
    ):
        fit(digits, dataclasses.replace(settings, resume=True))


def test_nothing_to_resume_is_reported(tmp_path: Path, digits: Dataset) -> None:
    with pytest.raises(InputError, match=r"nothing to resume in .*checkpoints; leave out --resume"):
        fit(digits, config(tmp_path, resume=True))


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(tmp_path: Path, digits: Dataset) -> None:
    settings = config(tmp_path, precision="float32", learning_rate=3e4, checkpoint_every_steps=1)
    with pytest.raises(
        InputError, match=r"the loss is (nan|inf) in step \d+ of epoch \d, at learning rate .*; try a lo"
    ):
        fit(digits, settings)
    weights = [
        load_checkpoint(path).state_dict for path in RunDir(tmp_path / "saved_models", "digits_fast").newest_first()
    ]
    assert weights
    assert all(tensor.isfinite().all() for state in weights for tensor in state.values())


def test_a_new_training_sets_the_checkpoints_of_an_earlier_one_aside(tmp_path: Path, digits: Dataset) -> None:
    first = fit(digits, config(tmp_path))
    fit(digits, config(tmp_path, seed=1, epochs=1))
    checkpoints = tmp_path / "saved_models" / "checkpoints"
    assert [path.name for path in checkpoints.glob("*.pth")] == ["digits_fast_epoch_1.pth"]
    assert_same_weights(first, load_checkpoint(checkpoints / "earlier" / "checkpoints" / "digits_fast_epoch_2.pth"))


def test_fast_preset_on_real_mnist(tmp_path: Path, mnist: Dataset) -> None:
    checkpoint = fit(mnist, dataclasses.replace(PRESETS["fast"].train, output_dir=tmp_path, epochs=1))
    assert checkpoint.history[-1]["val_accuracy"] > 0.98
    assert (round(checkpoint.model_config.mean, 3), round(checkpoint.model_config.std, 3)) == (0.131, 0.308)
