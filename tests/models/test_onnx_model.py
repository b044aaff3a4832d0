"""The packaged .onnx is the reader; damaged and foreign files get one clear line; PyTorch stays out."""

import asyncio
import errno
import json
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import ROOT, Program, assert_one_line_error, environment
from mnist_cnn.classifier import Classifier
from mnist_cnn.common.errors import InputError
from mnist_cnn.models.onnx_model import MAX_FILE_BYTES, PACKAGED, OnnxModel, load_onnx, parse, with_checksum
from mnist_cnn.models.torch_model import load_torch
from mnist_cnn.serving.batching import Answer, Batcher
from mnist_cnn.splits import Dataset
from mnist_cnn.training.config import PRESETS

PICTURE = Path("images", "own_digit.jpg")
HEAVY = ("torch", "sklearn", "scipy", "matplotlib", "pooch", "requests", "onnx")


@pytest.fixture(scope="module")
def packaged() -> OnnxModel:
    return load_onnx(PACKAGED)


def test_the_packaged_file_reads_as_its_report_says(packaged: OnnxModel, mnist: Dataset) -> None:
    report = json.loads((ROOT / "benchmarks" / "reader.json").read_text())
    probabilities, _ = packaged.infer(mnist.test.images[:, 0].numpy())
    accuracy = float((probabilities.argmax(axis=1) == mnist.test.labels.numpy()).mean())
    assert float(packaged.metadata["accuracy"]) == accuracy
    assert accuracy == pytest.approx(report["accuracy"], abs=2e-4)  # its weights are rounded to half precision
    recipe = json.loads(json.dumps(PRESETS["reader"].train.recipe()))
    assert report["train_config"] == recipe, "train the reader again"


@pytest.mark.parametrize("kind", ["onnx", "pth"])
def test_a_model_predicts_the_same_in_a_worker_process(kind: str, shipped: Path) -> None:
    model = load_onnx(PACKAGED) if kind == "onnx" else load_torch(shipped)
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype(np.uint8)
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        for found, expected in zip(workers.apply(model.infer, (images,)), model.infer(images), strict=True):
            np.testing.assert_array_equal(found, expected)
    copy = pickle.loads(pickle.dumps(Classifier(model)))  # noqa: S301
    np.testing.assert_array_equal(copy.probabilities(images), model.infer(images)[0])
    assert copy.model.metadata == model.metadata


def test_its_metadata_name_the_checkpoint(packaged: OnnxModel) -> None:
    assert packaged.classes == tuple("0123456789")
    assert (packaged.metadata["dataset"], packaged.metadata["name"]) == ("mnist", "mnist_reader_final")
    assert PACKAGED.stat().st_size < 1_500_000


def test_it_holds_no_path_and_one_operator_set() -> None:
    proto = onnx.load(PACKAGED)
    assert str(ROOT).encode() not in PACKAGED.read_bytes()
    assert not any(node.op_type == "BatchNormalization" for node in proto.graph.node)
    assert [operators.domain for operators in proto.opset_import] == [""]


def test_the_batch_can_have_any_size(packaged: OnnxModel) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 28, 28)).astype(np.uint8)
    together = packaged.infer(images)[0]
    for image, row in zip(images, together, strict=True):
        np.testing.assert_allclose(packaged.infer(image[None])[0][0], row, atol=1e-5)


def test_every_flipped_byte_and_every_cut_is_found() -> None:
    content, rng = PACKAGED.read_bytes(), random.Random(0)
    for place in [*rng.sample(range(len(content)), 60), *range(len(content) - 80, len(content))]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
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
    helper.set_model_props(proto, {"classes": "a", "probability_threshold": "0.5", "ood_threshold": "9"})
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    "body", [b"", b"random bytes" * 9, other_model("logits"), other_model("probabilities")], ids=map(str, range(4))
)
def test_foreign_contents_under_a_valid_checksum_are_refused(body: bytes) -> None:
    with pytest.raises(InputError, match="is not a model of this program"):
        parse(with_checksum(body), "model.onnx")


Change = Callable[[onnx.ModelProto], object]


def crafted(change: Change) -> bytes:
    """Change the packaged model, keep its metadata, renew its checksum: what anybody can do."""
    proto = onnx.load(PACKAGED)
    assert proto.metadata_props.pop().key == "sha256"
    change(proto)
    return with_checksum(proto.SerializeToString())


def add(operator: str, *inputs: str, **attributes: Any) -> Change:
    """Insert an operation on a value that is there; no output depends on it, but ONNX Runtime would look at it."""

    def change(proto: onnx.ModelProto) -> None:
        proto.graph.node.append(helper.make_node(operator, inputs, [f"made{len(proto.graph.node)}"], **attributes))

    return change


def constant(name: str, values: object, dtype: str = "int64") -> Change:
    return lambda proto: proto.graph.initializer.append(numpy_helper.from_array(np.array(values, dtype), name))


def both(*changes: Change) -> Change:
    return lambda proto: [change(proto) for change in changes]


def concatenated_again_and_again(proto: onnx.ModelProto) -> None:
    value = "view"
    for _ in range(40):
        add("Concat", value, value, axis=1)(proto)
        value = proto.graph.node[-1].output[0]


def loop(condition: str) -> Change:
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["on"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("going", 9, [])],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, [])],
    )
    return lambda proto: proto.graph.node.append(helper.make_node("Loop", ["", condition], [], body=body))


def declare(proto: onnx.ModelProto) -> None:
    relu = next(value for value in proto.graph.value_info if value.name == "relu")
    relu.type.tensor_type.shape.dim[1].dim_value = 1


def filled(name: str, value: float) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        (old,) = (one for one in proto.graph.initializer if one.name == name)
        values = np.full(old.dims, value, numpy_helper.to_array(old).dtype)
        old.CopyFrom(numpy_helper.from_array(values, old.name))

    return change


def first(proto: onnx.ModelProto, operator: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(node for node in proto.graph.node if node.op_type == operator)
    return found


def attribute(operator: str, name: str, value: object) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        node = first(proto, operator)
        kept = [one for one in node.attribute if one.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def external(proto: onnx.ModelProto) -> None:
    old = proto.graph.initializer[0]
    old.ClearField("raw_data")
    old.data_location = TensorProto.EXTERNAL
    old.external_data.add(key="location", value="/etc/passwd")


PROGRAMS: dict[str, Change] = {
    "an endless loop": both(constant("true", True, "bool"), loop("true")),
    "a loop without other faults": loop("gt"),
    "a branch": lambda proto: proto.graph.node.append(
        helper.make_node("If", ["gt"], ["x"], then_branch=onnx.GraphProto(), else_branch=onnx.GraphProto())
    ),
    "a huge constant": both(constant("shape", [10**6, 10**6]), add("ConstantOfShape", "shape")),
    "a huge expansion": both(constant("shape", [10**5, 10**5]), add("Expand", "val_72", "shape")),
    "a huge tiling": both(constant("times", [10**6, 10**6]), add("Tile", "lifted_tensor_0", "times")),
    "a huge padding": both(constant("pads", [10**6] * 4), add("Pad", "lifted_tensor_0", "pads")),
    "a huge range": both(constant("n", 10**12), add("Range", "val_1", "n", "val_1")),
    "an outer product": both(
        constant("column", np.ones((20000, 1)), "float32"),
        constant("row", np.ones((1, 20000)), "float32"),
        add("MatMul", "column", "row"),
    ),
    "an outer sum": both(
        constant("column", np.ones((20000, 1)), "float32"),
        constant("row", np.ones((1, 20000)), "float32"),
        add("Add", "column", "row"),
    ),
    "much to multiply": both(constant("m", np.ones((2500, 2500)), "float32"), add("MatMul", "m", "m")),
    "images by images": add("MatMul", "view", "cat_1"),
    "concatenated again and again": concatenated_again_and_again,
    "concatenated images": add("Concat", "view", "view", axis=0),
    "a huge shape": both(constant("shape", [2**31 - 1, 2**31 - 1]), add("Reshape", "view", "shape")),
    "a shape of zeros": both(constant("shape", [0, 0]), add("Reshape", "view", "shape")),
    "a shape with two gaps": both(constant("shape", [-1, -1]), add("Reshape", "view", "shape")),
    "a computed shape": add("Reshape", "view", "view"),
    "a place that is no place": both(constant("place", [0, 1]), add("Gather", "view", "place", axis=1)),
    "another axis": both(constant("axis", [7]), add("ReduceMean", "view", "axis", keepdims=0)),
    "nine axes": both(constant("axes", range(8)), add("Unsqueeze", "view", "axes")),
    "huge pads": attribute("Conv", "pads", [10**6] * 4),
    "negative pads": attribute("Conv", "pads", [-1] * 4),
    "strides of zero": attribute("Conv", "strides", [0, 0]),
    "dilations": attribute("Conv", "dilations", [10**6] * 2),
    "other groups": attribute("Conv", "group", 3),
    "automatic pads": attribute("Conv", "auto_pad", "SAME_UPPER"),
    "pooled with pads": attribute("MaxPool", "pads", [1, 1, 1, 1, 1]),
    "a transposed product": attribute("Gemm", "transA", 1),
    "an unknown attribute": attribute("Relu", "alpha", 1.0),
    "an attribute of tensors": attribute("Relu", "value", helper.make_tensor("t", 1, [1], [1.0])),
    "5,000 operations more": lambda proto: [add("Relu", "view")(proto) for _ in range(5_000)],
    "an unknown operator": add("Mish", "view"),
    "an operator of another domain": add("Relu", "view", domain="com.microsoft"),
    "another operator set": lambda proto: proto.opset_import.add(domain="com.microsoft", version=1),
    "a later operator set": lambda proto: proto.opset_import[0].CopyFrom(helper.make_opsetid("", 21)),
    "a function": lambda proto: proto.functions.add(name="f", domain="d"),
    "training": lambda proto: proto.training_info.add(),
    "a sparse constant": lambda proto: proto.graph.sparse_initializer.add(),
    "a constant in another file": external,
    "a constant without its data": lambda proto: proto.graph.initializer[0].ClearField("raw_data"),
    "a constant of another size": lambda proto: proto.graph.initializer[0].dims.append(2),
    "a constant of texts": lambda proto: setattr(proto.graph.initializer[0], "data_type", TensorProto.STRING),
    "a constant there twice": lambda proto: proto.graph.initializer.append(proto.graph.initializer[0]),
    "a value made twice": lambda proto: proto.graph.node.append(first(proto, "Relu")),
    "a value out of nothing": add("Relu", "nothing"),
    "a circle": lambda proto: first(proto, "Relu").input.__setitem__(0, "relu"),
    "an operation of nothing": add("Relu"),
    "a second input": lambda proto: proto.graph.input.append(helper.make_tensor_value_info("x", 1, [1])),
    "larger images": lambda proto: setattr(proto.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 10**6),
    "an output less": lambda proto: proto.graph.output.pop(),
    "another shape than declared": declare,
    "weights that are no numbers": filled("network.classifier.weight_float16", np.nan),
    "infinite weights": filled("network.classifier.bias", np.inf),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_only_programs_of_the_exporter_reach_the_runtime(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: pytest.fail("ONNX Runtime has the program"))
    with pytest.raises(InputError, match=r"^model.onnx is not a model of this program \([^\n]+\); export") as error:
        parse(crafted(PROGRAMS[program]), "model.onnx")
    assert len(str(error.value)) < 500


def test_the_packaged_model_as_it_is_passes_the_same_way() -> None:
    assert parse(crafted(lambda _: None), "model.onnx").batch_size == 128
    assert crafted(lambda _: None) == PACKAGED.read_bytes()


def test_a_crafted_model_ends_the_command_in_one_line(program: Program, tmp_path: Path) -> None:
    image = ROOT / "images" / "own_digit.jpg"
    for name in ("an endless loop", "a huge constant", "weights that are no numbers"):
        (tmp_path / "crafted.onnx").write_bytes(crafted(PROGRAMS[name]))
        result = program("predict.py", "--checkpoint", "crafted.onnx", image)
        assert_one_line_error(result, "crafted.onnx is not a model of this program")
        assert result.stdout == ""


def test_any_corrupted_byte_under_a_valid_checksum_is_refused_or_harmless() -> None:
    whole, rng, images = PACKAGED.read_bytes()[:-76], random.Random(0), np.zeros((2, 28, 28), np.uint8)
    names = [
        place for place in range(len(whole)) if whole[place : place + 7] in (b"network", b"val_75\x12", b"Unsqueez")
    ]
    for place in [
        *rng.choices(range(len(whole)), k=60),
        *rng.choices(names, k=60),
        *rng.choices(range(9000), k=300),
    ]:
        corrupted = bytearray(whole)
        corrupted[place + rng.randrange(-9, 9)] = rng.randrange(256)
        try:
            parse(with_checksum(bytes(corrupted)), "model.onnx").infer(images)
        except InputError as error:
            assert "\n" not in str(error)


def test_millions_of_fields_cost_a_second() -> None:
    with pytest.raises(InputError, match="more than 262,144 fields"):
        parse(with_checksum(b"\x42\x00" * 2**24), "model.onnx")


def about(**changes: str) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        kept = {entry.key: entry.value for entry in proto.metadata_props} | changes
        del proto.metadata_props[:]
        helper.set_model_props(proto, kept)

    return change


DIGITS = "\n".join("0123456789")
ESCAPES = ("", "\x1b[2J", "a\tb", "\u202e1", "\x7f", "\u2028", "x" * 256)


@pytest.mark.parametrize(
    "changes",
    [
        *({"classes": DIGITS.replace("7", name)} for name in (*ESCAPES, "8", "7\n")),
        *({key: text} for key in ("name", "dataset", "version") for text in ESCAPES),
        {"classes": "\n".join(map(str, range(5000)))},
        {"classes": "\n".join(map(str, range(11)))},
        *({"temperature": text} for text in ("nan", "inf", "0", "-1", "", "1\x1b")),
        *({"accuracy": text} for text in ("nan", "1.1", "-0.1", "99%")),
        *({"probability_threshold": text} for text in ("nan", "2", "-1")),
        *({"ood_threshold": text} for text in ("nan", "inf", "0")),
        *({"trained": text} for text in ("", "2026-02-30", "20261129", "2026-11-29\n")),
        *({"checkpoint_sha256": text} for text in ("", "g" * 64, "a" * 63)),
    ],
    ids=lambda changes: ascii(changes)[-40:],
)
def test_metadata_that_cannot_be_shown_or_meant_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"^model.onnx is not a model of this program") as error:
        parse(crafted(about(**changes)), "model.onnx")
    assert str(error.value).isprintable()


@pytest.mark.parametrize("key", ["name", "dataset", "version", "classes", "temperature", "ood_threshold"])
def test_metadata_there_twice_or_not_at_all_are_refused(key: str) -> None:
    def without(proto: onnx.ModelProto) -> None:
        (entry,) = (entry for entry in proto.metadata_props if entry.key == key)
        proto.metadata_props.remove(entry)

    for change in (without, lambda proto: proto.metadata_props.add(key=key, value="1")):
        with pytest.raises(InputError, match="is not a model of this program"):
            parse(crafted(change), "model.onnx")


def test_names_of_other_languages_and_with_signs_are_read() -> None:
    classes = ("<b>&amp;</b>", "T-shirt/top", "ноль", "零", "शून्य", "é", " a b ", "😀", "8", "9")
    assert parse(crafted(about(classes="\n".join(classes))), "model.onnx").classes == classes


def test_answers_that_are_not_finite_are_no_answers(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(crafted(filled("network.stages.0.0.bias", 3e38)))
    with pytest.raises(InputError, match="not finite"):
        Classifier.load(tmp_path / "model.onnx")
    reader = Classifier(load_onnx(tmp_path / "model.onnx"))
    for call in (
        lambda: reader.probabilities(np.zeros((1, 28, 28), np.uint8)),
        lambda: reader.predict([ROOT / PICTURE]),
    ):
        with pytest.raises(InputError, match="not finite"):
            call()


async def asked(reader: Classifier, times: int) -> list[Answer]:
    """Ask a service's batcher, one question after the other."""
    batcher = Batcher(reader, several=False)
    work = asyncio.create_task(batcher.run())
    answers = [(await asyncio.wait_for(batcher.read([(ROOT / PICTURE, "picture")]), 60))[0] for _ in range(times)]
    work.cancel()
    return answers


def test_a_service_outlives_answers_that_are_not_finite(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(crafted(filled("network.stages.0.0.bias", 3e38)))
    answers = asyncio.run(asked(Classifier(load_onnx(tmp_path / "model.onnx")), 2))
    assert all(isinstance(answer, InputError) and "not finite" in str(answer) for answer in answers)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (other_model("logits"), "another program wrote"),
        (other_model("logits")[:-40], "cut off"),
        (PACKAGED.read_bytes()[:5000], "cut off"),
        (PACKAGED.read_bytes()[:-10], "is damaged"),
        (b"\x89PNG\r\n\x1a\n", "is no ONNX file"),
        (b"PK\x03\x04 a checkpoint", "is no ONNX file"),
        (b"hello", "is no ONNX file"),
        (b"ORTM" * 30, "is no ONNX file"),
    ],
    ids=range(9),
)
def test_what_a_file_is_instead_is_reported(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"^model.onnx [^;]*{message}"):
        parse(content, "model.onnx")


def test_paths_that_are_no_model_are_refused_in_one_line(program: Program, tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "folder.pth").mkdir()
    for name in ("model.pt", "model.txt", "model", "model.onnx.bak"):
        (tmp_path / name).write_bytes(PACKAGED.read_bytes())
    message = {
        "folder.onnx": "no model at folder.onnx, which is a folder",
        "folder.pth": "no checkpoint at folder.pth, which is a folder",
        "x" * 300 + ".onnx": "cannot read",
        **dict.fromkeys(("model.pt", "model.txt", "model", "model.onnx.bak"), "neither .onnx nor .pth"),
    }
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe.onnx")
        (tmp_path / "zero.pth").symlink_to("/dev/zero")
        message |= {"pipe.onnx": "which is not a regular file", "zero.pth": "which is not a regular file"}
    for name, words in message.items():
        assert_one_line_error(program("predict.py", "--checkpoint", name, ROOT / PICTURE), name, words)
    (tmp_path / "MODEL.ONNX").write_bytes(PACKAGED.read_bytes())
    assert program("predict.py", "--checkpoint", "MODEL.ONNX", ROOT / PICTURE).stdout.startswith(f"{ROOT / PICTURE}: 4")


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model.onnx", "model.pth"):
        (tmp_path / name).write_bytes(b"secret")
        (tmp_path / name).chmod(0)
        if os.access(tmp_path / name, os.R_OK):  # the superuser may read anything
            monkeypatch.setattr(Path, "read_bytes", denied)
        with pytest.raises(InputError, match=f"^cannot read .*{name}: Permission denied"):
            Classifier.load(tmp_path / name)


def denied(_: Path) -> bytes:
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_huge_and_a_missing_file_are_refused(program: Program, tmp_path: Path) -> None:
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
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
