"""Checkpoints survive a round trip, and nothing else is taken for one."""

import dataclasses
import hashlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import Program, assert_one_line_error
from mnist_cnn.checkpoint import FORMAT_VERSION, Checkpoint, load_checkpoint, save_checkpoint, sealed
from mnist_cnn.cnn_model import CNN, ModelConfig
from mnist_cnn.data_loader import DIGITS
from mnist_cnn.errors import InputError


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
        familiarity=None,
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


def write_sealed(content: Any, path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.write_bytes(sealed(buffer.getvalue()))


def test_the_seal_is_the_comment_of_an_archive_that_torch_and_zip_read(tmp_path: Path) -> None:
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
    assert "more than 1073741824 bytes" in refused(tmp_path / "model.pth")


class Bomb:
    """What a stranger's pickle may hold."""

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


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "model.pth"
    save_checkpoint(make_checkpoint(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "is damaged" in refused(path)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_refused(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "model.pth"
    start = [b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04"][seed % 4]
    path.write_bytes(
        start + torch.randint(0, 256, (500,), generator=torch.Generator().manual_seed(seed)).numpy().tobytes()
    )
    assert "is damaged" in refused(path)


@pytest.mark.parametrize("format", ["pickle", "zip", "inside a real checkpoint"])
def test_pickled_code_is_refused_and_not_run(tmp_path: Path, format: str) -> None:  # noqa: A002
    path, touched = tmp_path / "model.pth", tmp_path / "touched"
    if format == "pickle":
        path.write_bytes(sealed(pickle.dumps(Bomb(touched)) + b"\0\0"))
    elif format == "zip":
        write_sealed(Bomb(touched), path)
    else:
        save_checkpoint(dataclasses.replace(make_checkpoint(), train_config={"x": Bomb(touched)}), path)
    assert "holds pickled code" in refused(path)
    assert not touched.exists()


@pytest.mark.parametrize("content", [{}, [1, 2], {"format_version": FORMAT_VERSION + 1}, torch.zeros(3)])
def test_another_format_is_refused(tmp_path: Path, content: Any) -> None:
    write_sealed(content, tmp_path / "model.pth")
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


@pytest.mark.parametrize(
    "name", [field.name for field in dataclasses.fields(Checkpoint) if field.name != "training_state"]
)
def test_a_missing_entry_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.pth"
    save_checkpoint(make_checkpoint(), path)
    content = torch.load(path, weights_only=True)
    del content[name]
    write_sealed(content, path)
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
        program("evaluate.py", "--checkpoint", "model.pth", "--dataset", "digits"), "model.pth is damaged"
    )
    assert not (tmp_path / "saved_models").exists()
