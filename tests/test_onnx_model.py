"""The packaged .onnx is the shipped checkpoint; damaged and foreign files get one clear line; PyTorch stays out."""

import hashlib
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from conftest import ROOT, Program, assert_one_line_error, environment
from mnist_cnn.data_loader import Dataset
from mnist_cnn.errors import InputError
from mnist_cnn.onnx_model import MOST_BYTES, PACKAGED, OnnxModel, load_onnx, parse, sealed
from mnist_cnn.torch_model import load_torch

HEAVY = ("torch", "sklearn", "scipy", "matplotlib", "pooch", "requests", "onnx")


@pytest.fixture(scope="module")
def packaged() -> OnnxModel:
    return load_onnx(PACKAGED)


def test_the_packaged_file_is_the_shipped_checkpoint(packaged: OnnxModel, mnist: Dataset, shipped: Path) -> None:
    images = mnist.test.images[:, 0].numpy()
    (probabilities, distance), (expected, places) = packaged.look(images), load_torch(shipped).look(images)
    assert np.array_equal(probabilities.argmax(axis=1), expected.argmax(axis=1))
    assert np.abs(probabilities - expected).max() <= 1e-4
    np.testing.assert_allclose(distance, places, rtol=1e-3)
    accuracy = float((probabilities.argmax(axis=1) == mnist.test.labels.numpy()).mean())
    assert float(packaged.about["accuracy"]) == accuracy


def test_its_metadata_name_the_checkpoint(packaged: OnnxModel, shipped: Path) -> None:
    assert packaged.about["checkpoint_sha256"] == hashlib.sha256(shipped.read_bytes()).hexdigest()
    assert packaged.classes == tuple("0123456789")
    assert (packaged.about["dataset"], packaged.about["name"]) == ("mnist", "mnist_cnn_final")
    assert PACKAGED.stat().st_size < 2**20


def test_it_holds_no_path_and_one_operator_set() -> None:
    proto = onnx.load(PACKAGED)
    assert str(ROOT).encode() not in PACKAGED.read_bytes()
    assert not any(node.op_type == "BatchNormalization" for node in proto.graph.node)
    assert [operators.domain for operators in proto.opset_import] == [""]


def test_the_batch_can_have_any_size(packaged: OnnxModel) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 28, 28)).astype(np.uint8)
    together = packaged.look(images)[0]
    for image, row in zip(images, together, strict=True):
        np.testing.assert_allclose(packaged.look(image[None])[0][0], row, atol=1e-5)


def test_every_flipped_byte_and_every_cut_is_found() -> None:
    content, dice = PACKAGED.read_bytes(), random.Random(0)
    for place in [*dice.sample(range(len(content)), 60), *range(len(content) - 80, len(content))]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << dice.randrange(8)
        with pytest.raises(InputError, match=r"damaged|cut off"):
            parse(bytes(flipped), "model.onnx")
    for length in (0, 1, 75, 76, 1000, len(content) - 1):
        with pytest.raises(InputError, match=r"damaged|cut off"):
            parse(content[:length], "model.onnx")


def other_model(output: str) -> bytes:
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 28, 28])
    made = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", 28, 28])
    node = helper.make_node("Cast", ["pixels"], [output], to=TensorProto.FLOAT)
    proto = helper.make_model(helper.make_graph([node], "g", [pixels], [made]), ir_version=8)
    helper.set_model_props(proto, {"classes": "a", "least_probability": "0.5", "most_distance": "9"})
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    "body", [b"", b"random bytes" * 9, other_model("logits"), other_model("probabilities")], ids=map(str, range(4))
)
def test_foreign_contents_under_a_right_seal_are_refused(body: bytes) -> None:
    with pytest.raises(InputError, match="is not a model of this program"):
        parse(sealed(body), "model.onnx")


def test_a_huge_and_a_missing_file_are_refused(program: Program, tmp_path: Path) -> None:
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    image = ROOT / "images" / "own_digit.jpg"
    assert_one_line_error(program("predict.py", "--checkpoint", "huge.onnx", image), "huge.onnx has more than")
    assert_one_line_error(program("predict.py", "--checkpoint", "none.onnx", image), "no model at none.onnx")


def test_predict_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys; from mnist_cnn.cli import main; main(['predict', sys.argv[1]]); print(*sys.modules)"
    command = [sys.executable, "-c", code, str(ROOT / "images" / "own_digit.jpg")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(), cwd=tmp_path)
    answer, modules = result.stdout.splitlines()
    assert "own_digit.jpg: 4" in answer
    assert not set(HEAVY) & set(modules.split())
    assert "onnxruntime" in modules.split()
