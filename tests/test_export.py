"""What is exported answers as the checkpoint does, or is not written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from test_checkpoint import make_checkpoint

from conftest import ROOT, Program, assert_one_line_error, environment
from mnist_cnn.classifier import WEIGHT, Classifier
from mnist_cnn.cnn_model import CNN, ModelConfig, build
from mnist_cnn.common.errors import InputError
from mnist_cnn.data_loader import DIGITS
from mnist_cnn.export import Quantized, check_equal, export, serialized
from mnist_cnn.models.checkpoint import DEFAULT, SHIPPED, Checkpoint, save_checkpoint
from mnist_cnn.models.inference_graph import fold_batch_norm, to_onnx
from mnist_cnn.models.onnx_model import PACKAGED, load_onnx, parse
from mnist_cnn.models.ood import fit_ood_detector
from mnist_cnn.models.quantize import to_float16, to_int8
from mnist_cnn.models.torch_model import TorchModel, load_torch
from mnist_cnn.serving.static_page import RUNTIME, decompressor
from mnist_cnn.splits import Dataset, split_off


def untrained(config: ModelConfig, digits: Dataset) -> Checkpoint:
    """Make a model whose batch norms turn some signs round, which cannot be folded through a pooling."""
    torch.manual_seed(0)
    network = build(config).eval()
    for norm in (layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)):
        torch.nn.init.normal_(norm.weight)
    for layer in (layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)):
        torch.nn.init.normal_(layer.weight, std=3)
    ood_detector = fit_ood_detector(network, *split_off(digits.train, 0.2), 2.0)
    return Checkpoint(
        dataset="digits",
        classes=DIGITS,
        model_config=config,
        state_dict=network.state_dict(),
        train_config={"val_size": 0.2},
        data_sha256="",
        history=[],
        temperature=2.0,
        ood_detector=ood_detector,
    )


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(stages=((4, 8), (8, 8), (16,)), shared=True, average=True),
        pytest.param(ModelConfig(stages=((4,), (8,)), members=2), marks=pytest.mark.long),
        ModelConfig(stages=((4,), (12, 12), (12,)), looped=True, average=True, class_maps=True),
        pytest.param(
            ModelConfig(stages=((6,), (6, 6), (6, 6), (8,)), looped=True, average=True), marks=pytest.mark.long
        ),
    ],
)
def test_any_network_gives_the_checkpoints_answers(config: ModelConfig, digits: Dataset, tmp_path: Path) -> None:
    save_checkpoint(untrained(config, digits), tmp_path / "model.pth")
    export(tmp_path / "model.pth", tmp_path / "model.onnx")
    images = digits.test.images[:, 0].numpy()
    found, expected = load_onnx(tmp_path / "model.onnx").infer(images), load_torch(tmp_path / "model.pth").infer(images)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-4)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-3)
    export(tmp_path / "model.pth", tmp_path / "half.onnx", "float16")
    assert np.abs(load_onnx(tmp_path / "half.onnx").infer(images)[0] - expected[0]).mean() < 0.002
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half.onnx", "model.onnx", "model.pth"]


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(stages=((4, 8), (8, 8), (8,)), shared=True, average=True, members=2),
        ModelConfig(stages=((6,), (6, 6), (8,)), looped=True),
    ],
)
@pytest.mark.parametrize(("form", "error"), [("int8", 0.05), ("float16", 0.002)])
def test_a_quantized_network_is_read_again(
    form: Quantized, error: float, config: ModelConfig, digits: Dataset, tmp_path: Path
) -> None:
    checkpoint, images = untrained(config, digits), digits.test.images[:20, 0].numpy()
    save_checkpoint(checkpoint, tmp_path / "model.pth")
    expected = TorchModel(checkpoint, tmp_path / "model.pth")
    graph = to_float16(to_onnx(expected)) if form == "float16" else to_int8(to_onnx(expected, stride=False), images)
    found = parse(serialized(graph, expected.metadata), "model.onnx")
    assert np.abs(found.infer(images)[0] - expected.infer(images)[0]).mean() < error


@pytest.mark.parametrize("shared", [False, True])
def test_folding_keeps_logits_and_leaves_no_norm(shared: bool) -> None:
    network = CNN(ModelConfig(stages=((4, 4), (8,)), shared=shared)).eval()
    torch.nn.init.uniform_(network.get_parameter("stages.0.5.weight"), 0.5, 2)
    images = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    expected = network(images)
    fold_batch_norm(network)
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules())


def test_the_shipped_file_copies_no_pixels_and_has_no_norm_left() -> None:
    operators = {node.op_type for node in onnx.load(PACKAGED).graph.node}
    assert "Conv" in operators
    assert not operators & {"Transpose", "SpaceToDepth", "BatchNormalization"}


def test_other_answers_are_refused() -> None:
    expected = np.array([[0.9, 0.1], [0.2, 0.8]])
    check_equal(expected + 5e-5, expected)
    with pytest.raises(InputError, match=r"differ by 2.0e-04 and 0 of 2"):
        check_equal(expected + 2e-4, expected)
    with pytest.raises(InputError, match=r"differ by 7.0e-01 and 1 of 2"):
        check_equal(np.array([[0.2, 0.8], [0.2, 0.8]]), expected)


@pytest.mark.long
def test_eight_bits_are_kept_only_where_they_are_worth_it(program: Program, tmp_path: Path, mnist_data: Path) -> None:
    result = program("export.py", "--output", "small.onnx", "--quantize", "int8", MNIST_CNN_DATA=str(mnist_data))
    assert "int8: " in result.stderr
    if result.returncode:  # a processor without instructions for it
        assert "no file was written" in result.stderr
        assert not (tmp_path / "small.onnx").exists()
    else:
        small = Classifier.load(tmp_path / "small.onnx")
        assert (tmp_path / "small.onnx").stat().st_size < SHIPPED.stat().st_size
        assert float(small.model.metadata["accuracy"]) > float(load_onnx(PACKAGED).metadata["accuracy"]) - 0.001


def test_weights_too_large_for_half_precision_stay_whole(digits: Dataset, tmp_path: Path) -> None:
    checkpoint = untrained(ModelConfig(stages=((4,), (8,))), digits)
    checkpoint.state_dict["classifier.weight"][0, 0] = 1e5
    save_checkpoint(checkpoint, tmp_path / "model.pth")
    proto = to_float16(to_onnx(TorchModel(checkpoint, tmp_path / "model.pth")))
    stored = {one.name: one.data_type for one in proto.graph.initializer}
    assert stored["network.classifier.weight"] == onnx.TensorProto.FLOAT
    assert onnx.TensorProto.FLOAT16 in stored.values()


def test_what_cannot_be_exported_is_refused(program: Program, tmp_path: Path) -> None:
    save_checkpoint(make_checkpoint(), tmp_path / "half.pth")
    assert_one_line_error(program("export.py", "--checkpoint", "half.pth"), "half.pth", "has not ended")
    assert_one_line_error(program("export.py", "--output", "model.pth"), "must end in .onnx")
    assert not (tmp_path / "half.onnx").exists()


def test_a_page_needs_its_runtime_before_anything_is_written(program: Program, tmp_path: Path) -> None:
    refused = program("export.py", "--web", "site")
    assert_one_line_error(refused, "no ort.wasm.min.mjs", "npm install onnxruntime-web xz-decompress")
    assert not list(tmp_path.iterdir())


def test_a_page_has_the_model_that_is_named(program: Program, tmp_path: Path, mnist_data: Path) -> None:
    dist = tmp_path / "runtime" / "dist"
    dist.mkdir(parents=True)
    for name in RUNTIME:
        (dist / name).touch()
    decompressor(dist.parent).parent.mkdir(parents=True)
    decompressor(dist.parent).touch()
    page = ("--runtime", "runtime", "--web")
    assert program("export.py", *page, "packaged").returncode == 0
    assert (tmp_path / "packaged" / "web" / "mnist_cnn.onnx").read_bytes() == PACKAGED.read_bytes()
    own = program("export.py", *page, "own", "--checkpoint", SHIPPED, MNIST_CNN_DATA=str(mnist_data))
    assert own.returncode == 0, own.stderr
    models = [json.loads((tmp_path / name / "web" / "model.json").read_text())["model"] for name in ("packaged", "own")]
    assert [model["weight"] for model in models] == [WEIGHT, 1]  # a model that a person names decides alone
    one = program("export.py", *page, "one", "--single-file", "--checkpoint", SHIPPED, MNIST_CNN_DATA=str(mnist_data))
    assert one.returncode == 0, one.stderr
    assert {path.name for path in (tmp_path / "one").rglob("*")} == {"index.html", "mnist_cnn.onnx"}


@pytest.mark.long
def test_an_install_that_is_no_checkout_finds_the_models_of_the_folder_it_is_run_in(
    tmp_path: Path, mnist_data: Path
) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "mnist_cnn", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "mnist_cnn.export", "--output", str(tmp_path / "model.onnx")]
    where = environment(PYTHONPATH=str(tmp_path), MNIST_CNN_DATA=str(mnist_data))
    inside = subprocess.run(command, cwd=ROOT, env=where, capture_output=True, text=True)
    assert inside.returncode == 0, inside.stderr
    assert "mnist_cnn_final.pth" in inside.stdout
    outside = subprocess.run(command, cwd=tmp_path, env=where, capture_output=True, text=True)
    assert_one_line_error(outside, f"no checkpoint at {DEFAULT}")
