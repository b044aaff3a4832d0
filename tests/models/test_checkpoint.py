"""Checkpoints survive a round trip, and nothing else is taken for one."""

import codecs
import copy
import dataclasses
import hashlib
import io
import math
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import ROOT, Program, assert_one_line_error
from mnist_cnn.classifier import Classifier
from mnist_cnn.cnn_model import CNN, ModelConfig
from mnist_cnn.common.errors import InputError
from mnist_cnn.data_loader import DIGITS
from mnist_cnn.models.checkpoint import (
    FORMAT_VERSION,
    SHIPPED,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
    with_checksum,
)
from mnist_cnn.models.onnx_model import PACKAGED


def make_checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    model = CNN(ModelConfig(stages=((4,), (8,))))
    return Checkpoint(
        dataset="digits",
        classes=DIGITS,
        model_config=model.config,
        state_dict=model.state_dict(),
        train_config={"epochs": 2, "augment": {"shift": 0.1}},
        data_sha256="00",
        history=[{"epoch": 1, "val_loss": 0.5}],
        temperature=0.7,
        ood_detector=None,
        training_state={"optimizers": [{"momentum": torch.ones(3)}]},
    )


def test_round_trip(tmp_path: Path) -> None:
    saved = make_checkpoint()
    save_checkpoint(saved, tmp_path / "folder" / "model.pth")
    loaded = load_checkpoint(tmp_path / "folder" / "model.pth")
    for field in dataclasses.fields(Checkpoint):
        expected, found = getattr(saved, field.name), getattr(loaded, field.name)
        torch.testing.assert_close(found, expected, rtol=0, atol=0) if field.name == "state_dict" else None
        assert field.name in ("state_dict", "training_state") or found == expected
    images = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    assert isinstance(saved.model_config, ModelConfig)
    original = CNN(saved.model_config)
    original.load_state_dict(saved.state_dict)
    assert torch.equal(loaded.build_model()(images), original.eval()(images))
    assert not loaded.build_model().training


def test_building_a_model_draws_no_random_numbers() -> None:
    checkpoint = make_checkpoint()
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    checkpoint.build_model()
    assert torch.equal(torch.rand(1), expected)


def write_with_checksum(content: Any, path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.write_bytes(with_checksum(buffer.getvalue()))


def test_the_checksum_is_the_comment_of_an_archive_that_torch_and_zip_read(tmp_path: Path) -> None:
    save_checkpoint(make_checkpoint(), tmp_path / "model.pth")
    assert torch.load(tmp_path / "model.pth", weights_only=True)["dataset"] == "digits"
    with zipfile.ZipFile(tmp_path / "model.pth") as archive:
        assert archive.testzip() is None
        assert archive.comment.decode() == hashlib.sha256((tmp_path / "model.pth").read_bytes()[:-64]).hexdigest()


def test_a_flip_of_any_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    save_checkpoint(make_checkpoint(), path)
    whole = path.read_bytes()
    places = {*range(0, len(whole), len(whole) // 500), *range(len(whole) - 200, len(whole))}
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert "is damaged" in refused(path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "model.pth").open("wb") as file:
        file.truncate(1 << 40)
    assert "more than 1,073,741,824 bytes" in refused(tmp_path / "model.pth")


class Bomb:
    """A class that a crafted pickle may hold."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        load_checkpoint(path)
    message = str(error.value)
    assert str(path) in message
    assert "--checkpoint" in message
    assert "\n" not in message
    return message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no checkpoint at" in refused(tmp_path / "missing.pth")
    assert "no checkpoint at" in refused(tmp_path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "model.pth"
    save_checkpoint(make_checkpoint(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "is damaged" in refused(path)


STARTS = {
    b"": "no PyTorch archive",
    b"PK\x03\x04": "is damaged",
    b"\x80\x02": "bare pickle",
    b"\x80\x04": "bare pickle",
}


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_refused(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "model.pth"
    start, message = list(STARTS.items())[seed % 4]
    path.write_bytes(
        start + torch.randint(0, 256, (500,), generator=torch.Generator().manual_seed(seed)).numpy().tobytes()
    )
    assert message in refused(path)


@pytest.mark.parametrize("format", ["pickle", "zip", "inside a real checkpoint"])
def test_pickled_code_is_refused_and_not_run(tmp_path: Path, format: str) -> None:  # noqa: A002
    path, touched = tmp_path / "model.pth", tmp_path / "touched"
    if format == "pickle":
        path.write_bytes(with_checksum(pickle.dumps(Bomb(touched)) + b"\0\0"))
    elif format == "zip":
        write_with_checksum(Bomb(touched), path)
    else:
        save_checkpoint(dataclasses.replace(make_checkpoint(), train_config={"x": Bomb(touched)}), path)
    assert ("bare pickle" if format == "pickle" else "holds pickled code") in refused(path)
    assert not touched.exists()


@pytest.mark.parametrize("content", [{}, [1, 2], {"format_version": FORMAT_VERSION + 1}, torch.zeros(3)])
def test_another_format_is_refused(tmp_path: Path, content: Any) -> None:
    write_with_checksum(content, tmp_path / "model.pth")
    assert f"this program reads {FORMAT_VERSION}" in refused(tmp_path / "model.pth")


@pytest.mark.parametrize(
    "change",
    [
        {"model_config": ModelConfig(stages=((4,), (16,)))},
        {"model_config": ModelConfig(stages=((4,),))},
        {"classes": ("a", "b")},
        {"state_dict": {}},
        {"temperature": 0.0},
    ],
)
def test_other_shapes_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    save_checkpoint(dataclasses.replace(make_checkpoint(), **change), tmp_path / "model.pth")
    assert "is not a model of this program" in refused(tmp_path / "model.pth")


def weights(change: Callable[[Tensor], object], name: str = "classifier.weight") -> dict[str, Any]:
    state = dict(make_checkpoint().state_dict)
    return {"state_dict": state | {name: change(state[name])}}


def quantised(tensor: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch will not have such tensors much longer
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


def shape(**changes: Any) -> dict[str, Any]:
    return {"model_config": dataclasses.asdict(make_checkpoint().model_config) | changes}


def limits(**changes: Any) -> dict[str, Any]:
    plain = {"means": torch.zeros(10, 8), "whitening": torch.eye(8), "ood_threshold": 9.0, "probability_threshold": 0.5}
    return {"ood_detector": plain | changes}


def nested(value: Any, depth: int, times: int) -> Any:
    for _ in range(depth):
        value = [value] * times
    return value


CLASSES = {
    "twice": ("7",) * 10,
    "in a list": list("0123456789"),
    "that are no texts": tuple(range(10)),
    "that clear the screen": ("\x1b[2J", *"123456789"),
    "of two lines": ("a\nb", *"123456789"),
    "that turn the line round": ("\u202e1", *"123456789"),
    "without a name": ("", *"123456789"),
    "of long names": ("0" * 256, *"123456789"),
}
GARBAGE: dict[str, dict[str, Any]] = {
    "weights that are no numbers": weights(lambda old: old * math.nan),
    "infinite weights": weights(lambda old: old + math.inf),
    "doubles": weights(Tensor.double),
    "halves": weights(Tensor.half),
    "integers": weights(Tensor.long),
    "integers as statistics": weights(Tensor.long, "stages.0.2.running_mean"),
    "statistics that are no numbers": weights(lambda old: old * math.nan, "stages.0.2.running_var"),
    "one number again and again": weights(lambda old: torch.zeros(1).expand(old.shape)),
    "one number for ever": {"training_state": {"x": torch.zeros(1).expand(10**12)}},
    "sparse weights": weights(Tensor.to_sparse),
    "quantised weights": weights(quantised),
    "weights with gradients": weights(lambda old: old.clone().requires_grad_()),
    "weights that are texts": weights(str),
    "no weights": {"state_dict": [1, 2]},
    **{f"classes {kind}": {"classes": classes} for kind, classes in CLASSES.items()},
    "a dataset of two lines": {"dataset": "a\nb"},
    "a dataset that is no text": {"dataset": 3},
    "a temperature that is no number": {"temperature": math.nan},
    "an infinite temperature": {"temperature": math.inf},
    "a temperature that is a text": {"temperature": "1"},
    "a recipe that is a list": {"train_config": [1]},
    "a history that is a number": {"history": 3},
    "a history of texts": {"history": ["epoch 1"]},
    "a hash that is a number": {"data_sha256": 7},
    "a date that is a number": {"trained": 20261129},
    "a date of no calendar": {"trained": "2026-02-30"},
    "a date with an escape sequence": {"trained": "2026-11-29\x1b[2J"},
    "a state of training that is a list": {"training_state": [1]},
    "limits that are no numbers": limits(ood_threshold=math.nan),
    "infinite limits": limits(ood_threshold=math.inf),
    "means that are no numbers": limits(means=torch.full((10, 8), math.nan)),
    "means in doubles": limits(means=torch.zeros(10, 8).double()),
    "means in a list": limits(means=[1]),
    "no limits of trust": {"ood_detector": {}},
    "a mean that is no number": shape(mean=math.nan),
    "an infinite deviation": shape(std=math.inf),
    "a deviation that is no number": shape(std=math.nan),
    "stages that are a number": shape(stages=3),
    "stages of texts": shape(stages=(("4",), ("8",))),
    "stages of fractions": shape(stages=((4.5,), (8,))),
    "a million stages": shape(stages=((4,),) * 10**5),
    "wide stages": shape(stages=((4096,) * 50, (4096,) * 50), members=100),
    "a shape of another network": shape(depth=3),
    "values nested deep": {"training_state": {"x": nested(1, 100, 1)}},
    "values repeated again and again": {"training_state": {"x": nested(1, 19, 1000)}},
    "an integer of a million digits": {"training_state": {"x": 1 << 3_000_000}},
    "a pickle of many values": {"training_state": {"x": [*range(2 * 10**6)]}},
}


@pytest.mark.parametrize("changes", GARBAGE.values(), ids=GARBAGE)
def test_garbage_under_a_valid_checksum_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_with_checksum(raw() | changes, tmp_path / "model.pth")
    assert refused(tmp_path / "model.pth").isprintable()


def raw() -> dict[str, Any]:
    """Return what is in the file of a trained model."""
    content = {**vars(make_checkpoint()), **shape(), **limits(), "training_state": None}
    del content["network"]  # never in a file
    return {"format_version": FORMAT_VERSION, **content}


def test_what_the_garbage_was_made_of_is_a_model(tmp_path: Path) -> None:
    write_with_checksum(raw(), tmp_path / "model.pth")
    assert Classifier.load(tmp_path / "model.pth").classes == DIGITS


def test_weights_whose_logits_overflow_give_no_answer(tmp_path: Path) -> None:
    write_with_checksum(raw() | weights(lambda old: old * 0 + 3e38), tmp_path / "model.pth")
    with pytest.raises(InputError, match=r"the model model gives probabilities or OOD scores that are not finite"):
        Classifier.load(tmp_path / "model.pth").probabilities(torch.eye(28).mul(255).byte()[None].numpy())


def saved(content: Any, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **settings)
    return buffer.getvalue()


def test_no_command_takes_such_weights_or_a_missing_recipe_for_a_model(program: Program, tmp_path: Path) -> None:
    write_with_checksum(raw() | weights(lambda old: old * 0 + 3e38), tmp_path / "model.pth")
    for script, *flags in (
        ("evaluate.py", "--checkpoint", "model.pth", "--dataset", "digits"),
        ("predict.py", "--checkpoint", "model.pth", str(ROOT / "images" / "own_digit.jpg")),
    ):
        assert_one_line_error(program(script, *flags), "not finite")
    result = program("ensemble.py", "model.pth", "model.pth", "--output", "ensemble.pth")
    assert_one_line_error(result, "model.pth does not record its seed and val_size")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["model.pth"]


def archived(content: Any) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(saved(content)))


def test_records_that_unpack_to_more_than_the_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in (archive := archived(raw())).namelist():
            bomb.writestr(name, bytes(10**8) if name.endswith("/0") else archive.read(name))
    path.write_bytes(with_checksum(path.read_bytes()))
    assert path.stat().st_size < 10**6
    assert "not one that torch.save writes" in refused(path)


def test_records_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w") as bomb:
        bomb.writestr("archive/data.pkl", archived(raw()).read("archive/data.pkl"))
        bomb.writestr("archive/data/0", bytes(10**5))
        for number in range(1, 1000):
            record = copy.copy(bomb.filelist[1])
            record.filename = f"archive/data/{number}"
            bomb.filelist.append(record)
    path.write_bytes(with_checksum(path.read_bytes()))
    assert "not one that torch.save writes" in refused(path)


def test_records_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(saved(raw()))
    with zipfile.ZipFile(path, "a") as more:
        record = copy.copy(more.getinfo("archive/version"))
        more.filelist.append(record)
        more.writestr("archive/x", b"")
    path.write_bytes(with_checksum(path.read_bytes()))
    assert "not one that torch.save writes" in refused(path)


@pytest.mark.parametrize("claim", [10**3, 10**9, 10**15])
def test_tensors_that_claim_more_than_their_record_are_refused(tmp_path: Path, claim: int) -> None:
    archive = archived(raw() | {"training_state": {"x": torch.ones(77)}})
    pickled = archive.read("archive/data.pkl")
    assert pickled.count(b"K\x4d") == 2  # the size of the storage and the shape of the tensor
    claimed = pickled.replace(b"K\x4d", b"\x8a\x08" + claim.to_bytes(8, "little"))
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w") as claiming:
        for name in archive.namelist():
            claiming.writestr(name, claimed if name.endswith("data.pkl") else archive.read(name))
    path.write_bytes(with_checksum(path.read_bytes()))
    assert "is no archive that PyTorch can read" in refused(path)


class Call:
    """What PyTorch lets a pickle call, and what this program's files never do."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


@pytest.mark.parametrize(
    "call", [Call(bytearray, 10**10), Call(codecs.encode, "x" * 10**6, "punycode"), Call(torch.Tensor, 10**10)]
)
def test_calls_that_pytorch_allows_are_refused_and_not_made(tmp_path: Path, call: Call) -> None:
    write_with_checksum(raw() | {"training_state": {"x": call}}, tmp_path / "model.pth")
    assert "holds pickled code" in refused(tmp_path / "model.pth")


def arrays() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, weights=np.ones(3))
    return buffer.getvalue()


NETWORK = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
WEIGHTS, OURS = saved(NETWORK.state_dict()), SHIPPED.read_bytes()
FILES: dict[str, tuple[bytes, str]] = {
    "another's weights": (WEIGHTS, "another program wrote it"),
    "another's training": (saved({"model": NETWORK.state_dict(), "epoch": 3}), "another program wrote it"),
    "another's model": (saved(NETWORK), "of another program, which was not run (__builtin__ set, "),
    "another's, changed": (with_checksum(WEIGHTS.replace(b"X", b"\xff")), "is damaged or cut off ("),
    "another's, cut off": (WEIGHTS[:-300], "is damaged or cut off"),
    "weights of PyTorch 1.5": (saved(NETWORK.state_dict(), _use_new_zipfile_serialization=False), "is a bare pickle"),
    "an archive of arrays": (arrays(), "not one that torch.save writes"),
    "ours, changed": (OURS[:9000] + bytes([OURS[9000] ^ 1]) + OURS[9001:], "is damaged (wrong SHA-256)"),
    "ours, cut off": (OURS[:-300], "is damaged (wrong SHA-256)"),
    "an old one without a checksum": (
        saved({"format_version": 2, "weights": torch.ones(3)}),
        "has checkpoint format 2, ",
    ),
    "an old one": (with_checksum(saved({"format_version": 3})), "has checkpoint format 3, this program reads 5"),
    "a new one": (
        with_checksum(saved({"format_version": 99, "x": {1}})),
        "has checkpoint format 99, this program reads 5",
    ),
    "nothing": (b"", "is empty"),
    "a picture": (b"\x89PNG\r\n\x1a\n", "begins with b'\\x89PNG"),
    "a text": (b"hello", "begins with b'hello': no PyTorch archive"),
    "an .onnx": (PACKAGED.read_bytes(), "is an ONNX model"),
    "safetensors": (b"\x40\0\0\0\0\0\0\0{", "no PyTorch archive"),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_what_a_file_is_instead_is_reported(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "model.pth").write_bytes(content)
    assert message in refused(tmp_path / "model.pth")


@pytest.mark.parametrize("kind", ["another's weights", "a picture", "ours, cut off"])
def test_predict_says_what_a_file_is_instead(program: Program, tmp_path: Path, kind: str) -> None:
    content, message = FILES[kind]
    (tmp_path / "model.pth").write_bytes(content)
    picture = ROOT / "images" / "own_digit.jpg"
    assert_one_line_error(program("predict.py", "--checkpoint", "model.pth", picture), "model.pth ", message)


MAY_MISS = ("trained", "training_state", "network")


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Checkpoint) if field.name not in MAY_MISS])
def test_a_missing_entry_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.pth"
    save_checkpoint(make_checkpoint(), path)
    content = torch.load(path, weights_only=True)
    del content[name]
    write_with_checksum(content, path)
    assert "is not a model of this program" in refused(path)


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no RLIMIT_FSIZE")
    path = tmp_path / "model.pth"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            save_checkpoint(make_checkpoint(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_commands_refuse_in_one_line(program: Program, tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(b"not a model")
    assert_one_line_error(
        program("evaluate.py", "--checkpoint", "model.pth", "--dataset", "digits"), "model.pth begins with b'not a mo'"
    )
    assert not (tmp_path / "saved_models").exists()
