"""A network from outside is trained, kept, resumed, evaluated, studied and exported like those of this program."""

import dataclasses
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import ROOT, Program, assert_one_line_error
from mnist_cnn.classifier import Classifier
from mnist_cnn.cnn_model import CNN, ModelConfig, build
from mnist_cnn.common.errors import InputError
from mnist_cnn.evaluate import evaluate, infer
from mnist_cnn.experiments.study import read_rows
from mnist_cnn.models.checkpoint import load_checkpoint, save_checkpoint, write_archive
from mnist_cnn.own_network import MAX_FEATURES, OwnConfig, OwnNetwork
from mnist_cnn.splits import Dataset
from mnist_cnn.train import add_ood_detector, fit
from mnist_cnn.training.config import PRESETS, TrainConfig

PAGE = (ROOT / "docs" / "own_network.md").read_text(encoding="utf-8")
MY_NET, FROM_PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^mnist-cnn (.*)$", PAGE, re.MULTILINE)


class Tiny(nn.Module):
    """Has what makes care necessary: `view`, dropout, tied weights, a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 8, 5, stride=2)
        self.frozen = nn.Conv2d(8, 8, 1).requires_grad_(False)
        self.hidden, self.again = nn.Linear(8 * 36, 8 * 36), nn.Linear(8 * 36, 8 * 36)
        self.again.weight = self.hidden.weight
        self.last = nn.Linear(8 * 36, 10)

    def forward(self, images: Tensor) -> Tensor:
        pooled = nn.functional.max_pool2d(self.frozen(self.convolution(images)).relu(), 2)
        hidden: Tensor = self.hidden(pooled.view(len(images), -1)).relu()
        return self.last(nn.functional.dropout(self.again(hidden).relu(), 0.1, self.training))  # type: ignore[no-any-return]


def config(folder: Path, **changes: Any) -> TrainConfig:
    fast = dataclasses.replace(PRESETS["fast"].train, epochs=2, device="cpu", precision="float32", deterministic=True)
    return dataclasses.replace(fast, output_dir=folder, learning_rate=0.003, **changes)


def test_a_module_is_trained_in_place_and_comes_back_from_its_file(tmp_path: Path, digits: Dataset) -> None:
    torch.manual_seed(0)
    network = Tiny()
    frozen = network.frozen.weight.clone()
    checkpoint = add_ood_detector(fit(digits, config(tmp_path), network=network), digits)
    assert torch.equal(network.frozen.weight, frozen)
    save_checkpoint(checkpoint, tmp_path / "mine.pth")
    loaded = load_checkpoint(tmp_path / "mine.pth", network=Tiny())
    model = loaded.build_model()
    assert isinstance(model, OwnNetwork)
    assert isinstance(model.network, Tiny)
    assert model.network.again.weight is model.network.hidden.weight, "tied weights stay tied"
    logits = infer(model, digits.test)
    expected = infer(nn.Sequential(model.normalize, network), digits.test)
    torch.testing.assert_close(logits, expected, rtol=0, atol=0)
    accuracy = (logits.argmax(dim=1) == digits.test.labels).float().mean()
    assert accuracy > 0.4
    report, _ = evaluate(model, digits.test, digits.classes, loaded.temperature, loaded.ood_detector)
    assert report.accuracy == pytest.approx(accuracy.item())
    assert report.trusted is not None
    assert loaded.train_config["network"] == f"{Tiny.__module__}:Tiny"


def test_features_are_what_the_last_linear_layer_gets(digits: Dataset) -> None:
    own = OwnConfig(network="a.py:A", classes=10, mean=0.13, std=0.31)
    network = OwnNetwork(own, Tiny()).eval()
    images = digits.test.images[:5]
    features, last = network.features(images), network.network.last
    assert isinstance(last, nn.Linear)
    torch.testing.assert_close(last(features), network(images))
    without = OwnNetwork(own, nn.Sequential(nn.Conv2d(1, 10, 28), nn.Flatten()))
    torch.testing.assert_close(without.features(images), without(images))
    wide = OwnNetwork(own, nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 28 * 28, 10)))
    assert MAX_FEATURES < 8 * 28 * 28
    torch.testing.assert_close(wide.features(images), wide(images))


@pytest.mark.parametrize("average", [False, True])
def test_features_of_the_networks_here_give_their_logits(digits: Dataset, average: bool) -> None:
    single = CNN(ModelConfig(stages=((4,), (8,)), average=average)).eval()
    features = single.features(digits.test.images[:3])
    torch.testing.assert_close(single.classifier(features), single(digits.test.images[:3]))
    ensemble = build(ModelConfig(stages=((4,), (8,)), average=average, members=2)).eval()
    assert ensemble.features(digits.test.images[:3]).shape == (3, 2 * features.shape[1])


def test_a_stopped_training_of_a_module_resumes_to_the_same_weights(tmp_path: Path, digits: Dataset) -> None:
    def fresh() -> Tiny:
        torch.manual_seed(0)
        return Tiny()

    whole = fit(digits, config(tmp_path / "whole", epochs=3), network=fresh())
    fit(digits, config(tmp_path / "parts"), network=fresh())
    extended = fit(digits, config(tmp_path / "parts", epochs=3, resume=True), network=Tiny())
    assert extended.history[0]["train_loss"] == pytest.approx(whole.history[0]["train_loss"], rel=0.2)
    again = fit(digits, config(tmp_path / "whole", epochs=3, resume=True), network=Tiny())
    torch.testing.assert_close(again.state_dict, whole.state_dict, rtol=0, atol=0)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with the page's file."""
    (tmp_path / "my_net.py").write_text(MY_NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.long
def test_the_commands_of_the_page(here: Path, program: Program) -> None:
    train, evaluate, *_, export = (shlex.split(command) for command in COMMANDS)
    result = program("mnist-cnn", *train, "--epochs", "8")
    assert result.returncode == 0, result.stderr
    files = {path.name for path in (here / "saved_models").iterdir()}
    assert {"digits_fast_MyNet_final.pth", "digits_fast_MyNet_final.json", "digits_fast_MyNet_history.csv"} <= files
    report = json.loads((here / "saved_models" / "digits_fast_MyNet_final.json").read_text())
    assert report["accuracy"] > 0.85
    result = program("mnist-cnn", *evaluate)
    assert f"360 images, {report['errors']} errors" in result.stdout, result.stderr
    result = program("mnist-cnn", *export)
    assert result.returncode == 0, result.stderr
    assert Classifier.load(here / "mine.onnx").predict(ROOT / "images" / "own_digit.jpg").probability > 0

    (here / "my_net.py").write_text(f"open('ran', 'w')\n{MY_NET}")
    for command in (("evaluate", "--dataset", "digits"), ("predict", ROOT / "images" / "own_digit.jpg")):
        result = program("mnist-cnn", *command, "--checkpoint", "saved_models/digits_fast_MyNet_final.pth")
        assert_one_line_error(result, "holds the weights of my_net.py:MyNet, not its code", "--network")
    assert not (here / "ran").exists(), "code is run only because somebody names it"


@pytest.mark.usefixtures("here")
def test_a_study_of_the_network_compared_with_one_of_ours(program: Program) -> None:
    for command in COMMANDS[2:4]:
        result = program("mnist-cnn", *shlex.split(command.replace("--seeds 3", "--seeds 2 --epochs 1")))
        assert result.returncode == 0, result.stderr
    assert [row["recipe"]["network"] for row in read_rows(Path("runs/mine.jsonl"))] == ["my_net.py:MyNet"] * 2
    result = program("mnist-cnn", *shlex.split(COMMANDS[4]))
    assert result.returncode == 0, result.stderr
    assert re.search(r"^network +my_net.py:MyNet +-$", result.stdout, re.MULTILINE)
    assert "Welch's t-test over 2 and 2 seeds" in result.stdout


def test_the_python_of_the_page(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(here)
    exec(compile(FROM_PYTHON, "page", "exec"), {"__name__": "page"})  # noqa: S102
    lines = capsys.readouterr().out.splitlines()
    assert float(lines[0].split()[0]) > 0.9
    assert lines[1] == "torch.Size([5, 1568])"
    for example in (MY_NET, FROM_PYTHON):
        assert len([line for line in example.splitlines() if line]) <= 20, "it is said to be of twenty lines"


def test_code_for_a_checkpoint_that_has_none_of_its_own_is_refused() -> None:
    with pytest.raises(InputError, match="without code of its own; leave out --network"):
        load_checkpoint(ROOT / "saved_models" / "mnist_cnn_final.pth", network=Tiny())


WRONG = {
    "none.py:A": "none.py:A cannot be made: FileNotFoundError",
    "empty.py:A": "empty.py:A cannot be made: AttributeError",
    "torn.py:A": "torn.py:A cannot be made: SyntaxError",
    "nowhere.to.be:A": "nowhere.to.be:A cannot be made: ModuleNotFoundError",
    "wrong.py:Number": "wrong.py:Number is int, no torch.nn.Module",
    "wrong.py:Fails": r"wrong.py:Fails fails on images [2, 1, 28, 28]: RuntimeError",
    "wrong.py:Seven": "wrong.py:Seven gives [2, 7] for images [2, 1, 28, 28], expected float logits [2, 10]",
    "wrong.py:Pair": "wrong.py:Pair gives tuple",
    "wrong.py:Blank": "wrong.py:Blank has no parameter to train",
    "wrong.py:Raises": "wrong.py:Raises cannot be made: ZeroDivisionError: division by zero (wrong.py, line 13)",
    "wrong.py": "--network is wrong.py; it must be FILE.py:CLASS or MODULE:CLASS",
}
WRONG_PY = """
from torch import nn
class Pair(nn.Linear):
    def __init__(self):
        super().__init__(28, 10)
    def forward(self, images):
        return images, images
Number = lambda: 3
Fails = lambda: nn.Linear(7, 10)
Seven = lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 7))
Blank = nn.Flatten
def Raises():
    return 1 / 0
"""


def test_what_is_wrong_with_a_network_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Dataset
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.py").touch()
    (tmp_path / "torn.py").write_text("def (:")
    (tmp_path / "wrong.py").write_text(WRONG_PY)
    for spec, words in WRONG.items():
        with pytest.raises(InputError) as error:
            fit(digits, config(tmp_path, network=spec))
        assert str(error.value).startswith(words), str(error.value)
        assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("*.pth"))


def test_only_filters_need_no_other_optimizer(tmp_path: Path, digits: Dataset) -> None:
    network = nn.Sequential(nn.Conv2d(1, 10, 28, bias=False), nn.Flatten())
    checkpoint = fit(digits, config(tmp_path), network=network)
    assert np.isfinite(checkpoint.history[-1]["val_loss"])
    assert checkpoint.history[-1]["val_accuracy"] > 0.3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": 3}, "network is 3"),
        ({"std": float("nan")}, "std nan"),
        ({"classes": 10**12}, "10 class names for 1000000000000 logits"),
        ({"more": 1}, "more"),
    ],
)
def test_a_damaged_record_of_a_network_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    own = {"network": "a.py:A", "classes": 10, "mean": 0.1, "std": 0.3} | changes
    content = {
        "dataset": "digits",
        "classes": tuple("0123456789"),
        "model_config": own,
        "state_dict": {},
        "train_config": {},
        "data_sha256": "",
        "history": [],
        "temperature": 1.0,
        "ood_detector": None,
        "training_state": None,
    }
    write_archive(content, tmp_path / "mine.pth")
    with pytest.raises(InputError, match=rf"mine.pth is not a model of this program \(.*{words}"):
        load_checkpoint(tmp_path / "mine.pth", network=Tiny())
