"""Devices and precisions."""

import pytest
import torch

from mnist_cnn.common.device import pick_device, pick_dtype
from mnist_cnn.common.errors import InputError

CPU = torch.device("cpu")


def test_auto_finds_a_device_that_computes() -> None:
    assert torch.ones(2, device=pick_device("auto")).sum().item() == 2


@pytest.mark.parametrize("name", ["gpu", "cpu:7:7", "cuda:99", "meta"])
def test_a_device_that_is_not_here_is_named(name: str) -> None:
    with pytest.raises(InputError, match=f"device '{name}' is not on this machine .*cpu"):
        pick_device(name)


def test_precision() -> None:
    assert pick_dtype("float32", CPU) == torch.float32
    assert pick_dtype("bfloat16", CPU) == torch.bfloat16
    native = torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16")
    assert (pick_dtype("auto", CPU) == torch.bfloat16) == bool(native)
