"""An ensemble of networks gives the mean of their logits, in one file that evaluate and predict load."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import Program, assert_one_line_error
from mnist_cnn.classifier import Classifier
from mnist_cnn.cnn_model import ModelConfig
from mnist_cnn.evaluate import infer
from mnist_cnn.experiments.ensemble import build_ensemble
from mnist_cnn.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mnist_cnn.splits import Dataset
from mnist_cnn.train import fit
from mnist_cnn.training.config import PRESETS

STUDY = ("study.py", "--preset", "fast", "--dataset", "digits", "--output", "rows.jsonl", "--keep", "kept")


@pytest.fixture(scope="module")
def members(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Checkpoint]:
    shape = ModelConfig(stages=((4,), (8,)))
    folder = tmp_path_factory.mktemp("members")
    configs = [dataclasses.replace(PRESETS["fast"].train, seed=seed, output_dir=folder) for seed in range(3)]
    return [fit(digits, config, shape) for config in configs]


def test_logits_are_the_mean_of_the_members_scaled_logits(members: list[Checkpoint], digits: Dataset) -> None:
    scaled = [infer(member.build_model(), digits.test) / member.temperature for member in members]
    ensemble = build_ensemble(members, digits)
    found = infer(ensemble.build_model(), digits.test)
    np.testing.assert_allclose(found.numpy(), torch.stack(scaled).mean(dim=0).numpy(), rtol=1e-4, atol=1e-4)
    assert ensemble.build_model().parameter_count() == 3 * members[0].build_model().parameter_count()
    assert ensemble.train_config["seed"] == [0, 1, 2]


def test_kept_models_of_a_study_become_one_that_evaluate_and_predict_load(
    program: Program, tmp_path: Path, digits: Dataset
) -> None:
    assert program(*STUDY, "--seeds", "2").returncode == 0
    kept = sorted((tmp_path / "kept").iterdir())
    assert [path.name for path in kept] == ["digits_fast_seed_0.pth", "digits_fast_seed_1.pth"]
    made = program("ensemble.py", *kept, "--output", "one/ensemble.pth")
    assert made.returncode == 0, made.stderr
    evaluated = program("evaluate.py", "--checkpoint", "one/ensemble.pth")
    assert evaluated.returncode == 0, evaluated.stderr
    assert "digits test split, ensemble.pth" in evaluated.stdout
    classifier = Classifier.load(tmp_path / "one" / "ensemble.pth")
    probabilities = classifier.probabilities(digits.test.images[:100, 0].numpy())
    model = load_checkpoint(tmp_path / "one" / "ensemble.pth").build_model()
    expected = infer(model, digits.test[torch.arange(100)]).argmax(dim=1)
    assert probabilities.argmax(axis=1).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset": "mnist"}, "another dataset"),
        ({"model_config": ModelConfig(stages=((4,), (8,)), mean=0.5)}, "another network"),
        ({"train_config": {"val_size": 0.5, "seed": 1}}, "another validation split"),
    ],
)
def test_unlike_models_are_refused(
    program: Program, tmp_path: Path, members: list[Checkpoint], change: dict[str, object], words: str
) -> None:
    save_checkpoint(members[0], tmp_path / "a.pth")
    save_checkpoint(dataclasses.replace(members[1], **change), tmp_path / "b.pth")  # type: ignore[arg-type]
    assert_one_line_error(program("ensemble.py", "a.pth", "b.pth", "--output", "c.pth"), words, "b.pth")
    assert not (tmp_path / "c.pth").exists()


def test_one_model_and_ensembles_are_refused(
    program: Program, tmp_path: Path, members: list[Checkpoint], digits: Dataset
) -> None:
    save_checkpoint(members[0], tmp_path / "a.pth")
    save_checkpoint(build_ensemble(members[:2], digits), tmp_path / "two.pth")
    both = load_checkpoint(tmp_path / "two.pth").model_config
    assert isinstance(both, ModelConfig)
    assert both.members == 2
    assert_one_line_error(program("ensemble.py", "a.pth", "--output", "c.pth"), "two or more")
    assert_one_line_error(program("ensemble.py", "two.pth", "a.pth", "--output", "c.pth"), "an ensemble already")
